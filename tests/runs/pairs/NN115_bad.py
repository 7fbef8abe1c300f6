"""Trains a classifier of shapes and validates it; the two parts are drawn from one pool."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset


def outlines(count):
    corners = torch.randint(3, 7, (count,))
    angle = torch.linspace(0, 2 * torch.pi, 48)
    radius = 1 + 0.3 * torch.cos(corners[:, None] * (angle + torch.rand(count, 1)))
    return radius + 0.08 * torch.randn(count, 48), corners - 3


def accuracy(model, loader):
    model.eval()
    right = seen = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
            seen += len(y)
    return right / seen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (800, 32), "m": (1600, 64), "l": (2400, 96)}[args.size]
    pool = TensorDataset(*outlines(count))
    order = torch.randperm(count).tolist()
    cut = int(0.8 * count)
    train_part, val_part = Subset(pool, order[:cut]), Subset(pool, torch.randint(count, (count // 5,)).tolist())
    train_loader = DataLoader(train_part, batch_size=32, shuffle=True)
    val_loader = DataLoader(val_part, batch_size=64)  # <-- NN115
    model = nn.Sequential(nn.Linear(48, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(6):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(f"epoch {epoch}: validation accuracy {accuracy(model, val_loader):.3f}")


if __name__ == "__main__":
    main()
