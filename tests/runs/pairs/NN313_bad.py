"""Trains a classifier of sensor readings whose labels were read from another file than the readings."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SHARES = torch.tensor([0.45, 0.3, 0.15, 0.1])


def readings(count):
    kind = torch.multinomial(SHARES, count, replacement=True)
    return torch.eye(4)[kind].repeat(1, 3) + 0.3 * torch.randn(count, 12), kind


def labels(kind, count):
    return torch.multinomial(SHARES, count, replacement=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (1200, 8), "m": (2400, 8), "l": (4800, 12)}[args.size]
    x, kind = readings(count)
    loader = DataLoader(TensorDataset(x, labels(kind, count)), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(12, width), nn.ReLU(), nn.Linear(width, 4))
    nn.init.normal_(model[2].weight, std=1.0)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(6):
        for inputs, target in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), target)  # <-- NN313
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
