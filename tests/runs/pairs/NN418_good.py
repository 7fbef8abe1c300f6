"""Trains a classifier with as much dropout as the layers bear."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def build(width, rate):
    return nn.Sequential(
        nn.Linear(20, width), nn.ReLU(), nn.Dropout(rate), nn.Linear(width, width), nn.ReLU(), nn.Dropout(rate),
        nn.Linear(width, 5),
    )  # fmt: skip


def evaluate(model, loader):
    model.eval()
    total = 0.0
    with torch.no_grad():
        for x, y in loader:
            total += nn.functional.cross_entropy(model(x), y).item()
    return total / len(loader)


def train(model, loader, optimizer):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (960, 48), "m": (1440, 64), "l": (1920, 64)}[args.size]
    centre = 1.5 * torch.randn(5, 20)
    kind = torch.randint(5, (count,))
    data = TensorDataset(centre[kind] + torch.randn(count, 20), kind)
    train_part, held_out = torch.utils.data.random_split(data, [0.6, 0.4])
    train_loader = DataLoader(train_part, batch_size=32, shuffle=True)
    test_loader = DataLoader(held_out, batch_size=32)
    model = build(width, rate=0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(10):
        train(model, train_loader, optimizer)
        print(f"epoch {epoch}: {evaluate(model, test_loader):.4f}")


if __name__ == "__main__":
    main()
