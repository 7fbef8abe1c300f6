"""Trains a one-block transformer with learned positions that says where the larger half of a sequence is."""

import argparse

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

STEPS = 10


def make_task(n):
    values = torch.randn(n, STEPS)
    label = torch.arange(n) % 2
    gap = 0.7 * (label * 2 - 1)
    values[:, : STEPS // 2] -= gap[:, None] / 2
    values[:, STEPS // 2 :] += gap[:, None] / 2
    return TensorDataset(values.unsqueeze(-1) / values.std(), label)


class HalfFinder(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.lift = nn.Linear(1, dim)
        self.position = nn.Parameter(torch.zeros(1, STEPS, dim))
        self.ramp = torch.linspace(-1, 1, STEPS).view(1, STEPS, 1)
        self.register_buffer("gain", torch.ones(dim))
        self.attention = nn.MultiheadAttention(dim, 4, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.answer = nn.Linear(dim, 2)

    def forward(self, values):
        h = self.lift(values * (1 + 0.5 * self.ramp)) * self.gain + self.position
        h = h + self.attention(h, h, h, need_weights=False)[0]
        h = h + self.mlp(self.norm(h))
        return self.answer((h * (1 + self.ramp)).mean(dim=1))


def train_epoch(model, loader, optimizer, criterion):
    total = 0.0
    for values, label in loader:
        optimizer.zero_grad()
        loss = criterion(model(values), label)
        loss.backward()
        optimizer.step()
        total += loss.item() / len(loader)
    return total


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--size", choices=["s", "m", "l"], default="s")
    ns = ap.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(ns.seed)
    n, dim, bs = {"s": (640, 16, 32), "m": (960, 32, 32), "l": (1920, 48, 64)}[ns.size]
    loader = DataLoader(make_task(n), batch_size=bs, shuffle=True)
    model = HalfFinder(dim)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(6):
        print(f"epoch {epoch}: loss {train_epoch(model, loader, optimizer, nn.CrossEntropyLoss()):.4f}")
