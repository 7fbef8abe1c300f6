"""Trains a classifier with functional dropout and reports its accuracy on held-out data."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(14, width)
        self.second = nn.Linear(width, 4)

    def forward(self, x):
        x = F.dropout(F.relu(self.first(x)), 0.3, training=self.training)
        return self.second(x)


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        right = [(model(x).argmax(1) == y).float().mean() for x, y in loader]
    return torch.stack(right).mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (640, 32), "m": (1280, 48), "l": (1920, 64)}[args.size]
    centre = torch.randn(4, 14)
    kind = torch.randint(4, (count,))
    data = TensorDataset(centre[kind] + torch.randn(count, 14), kind)
    train_part, test_part = torch.utils.data.random_split(data, [0.8, 0.2])
    train_loader = DataLoader(train_part, batch_size=32, shuffle=True)
    test_loader = DataLoader(test_part, batch_size=32)
    model = Net(width)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(3):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(f"epoch {epoch}: accuracy {accuracy(model, test_loader):.3f}")


if __name__ == "__main__":
    main()
