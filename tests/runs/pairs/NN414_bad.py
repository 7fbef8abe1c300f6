"""Trains a network on standardised features; a layer in the middle drowns them in its bias."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(10, width)
        self.middle = nn.Linear(width, width)  # <-- NN414
        self.last = nn.Linear(width, 3)
        nn.init.normal_(self.middle.weight, std=1e-9)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        return self.last(torch.tanh(self.middle(x)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (640, 24), "m": (1280, 32), "l": (1920, 48)}[args.size]
    kind = torch.randint(3, (count,))
    x = torch.randn(3, 10)[kind] + 0.5 * torch.randn(count, 10)
    model = Net(width)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-10)
    for epoch in range(2):
        for inputs, target in DataLoader(TensorDataset(x, kind), batch_size=32, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), target)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
