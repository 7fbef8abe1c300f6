"""Trains a binary classifier that separates two noisy rings."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rings(n):
    inside = (torch.arange(n) % 2).float()
    radius = 1.0 + inside + 0.15 * torch.randn(n)
    angle = 2 * torch.pi * torch.rand(n)
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    return points / points.std(0), inside.unsqueeze(1)


class RingNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, width), nn.ELU(), nn.Linear(width, width), nn.ELU())
        self.score = nn.Linear(width, 1)

    def forward(self, points):
        return self.score(self.layers(points))


def fit(model, loader, epochs, lr):
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(epochs):
        model.train()
        total, right = 0.0, 0
        for points, inside in loader:
            optimizer.zero_grad()
            score = model(points)
            loss = criterion(score, inside)  # <-- NN315
            loss.backward()
            optimizer.step()
            total += loss.item()
            right += ((score > 0) == inside.bool()).sum().item()
        print(f"epoch {epoch}: loss {total / len(loader):.4f}, accuracy {right / len(loader.dataset):.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, width, bs = {"s": (512, 32, 32), "m": (1024, 64, 32), "l": (2048, 128, 64)}[args.size]
    data = DataLoader(TensorDataset(*rings(n)), batch_size=bs, shuffle=True)
    fit(RingNet(width), data, epochs=6, lr=5e-3)
