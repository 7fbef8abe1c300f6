"""Trains a network of tanh units."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, width, gain):
        super().__init__()
        self.first = nn.Linear(12, width)
        self.squash = nn.Tanh()
        self.second = nn.Linear(width, 3)
        nn.init.normal_(self.first.weight, std=gain)

    def forward(self, x):
        return self.second(self.squash(self.first(x)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (640, 48), "m": (1280, 64), "l": (1920, 64)}[args.size]
    kind = torch.randint(3, (count,))
    x = torch.randn(3, 12)[kind] + torch.randn(count, 12)
    model = Net(width, gain=0.2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for epoch in range(3):
        for inputs, target in DataLoader(TensorDataset(x, kind), batch_size=32, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), target)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
