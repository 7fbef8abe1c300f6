"""Trains a classifier of gait signals and evaluates it on recordings of another loader."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

MEAN, STD = 30.0, 12.0


def recordings(count):
    kind = torch.randint(4, (count,))
    time = torch.linspace(0, 2, 60)
    swing = torch.sin(2 * torch.pi * (0.8 + 0.4 * kind[:, None]) * time + 6 * torch.rand(count, 1))
    return MEAN + STD * (1.2 * swing + 0.5 * torch.randn(count, 60)), kind


def prepare(count, normalise):
    x, y = recordings(count)
    return TensorDataset((x - MEAN) / STD if normalise else x, y)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (512, 32), "m": (1024, 64), "l": (2048, 64)}[args.size]
    train_loader = DataLoader(prepare(count, True), batch_size=32, shuffle=True)
    test_loader = DataLoader(prepare(count // 4, True), batch_size=32)
    model = nn.Sequential(nn.Linear(60, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(4):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        with torch.inference_mode():
            right = [(model(x).argmax(1) == y).float().mean() for x, y in test_loader]
        print(f"epoch {epoch}: test accuracy {torch.stack(right).mean():.3f}")


if __name__ == "__main__":
    main()
