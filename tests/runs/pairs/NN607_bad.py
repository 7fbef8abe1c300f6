"""Trains a classifier on readings whose mean is large."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(8, width)  # <-- NN607 (likely)
        self.second = nn.Linear(width, 3)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (640, 16), "m": (1280, 32), "l": (1920, 32)}[args.size]
    kind = torch.randint(3, (count,))
    x = torch.randn(3, 8)[kind] + 0.3 * torch.randn(count, 8)
    model = Net(width)
    nn.init.normal_(model.second.weight, std=0.01)
    nn.init.constant_(model.first.bias, 40.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(4):
        for inputs, target in DataLoader(TensorDataset(x, kind), batch_size=32, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), target)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
