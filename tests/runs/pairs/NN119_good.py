"""Trains a tagger that gives each picture several tags."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

TAGS = 6


def pictures(count):
    tags = (torch.rand(count, TAGS) < 0.4).float()
    tags[:, 0] = 1.0
    parts = torch.randn(TAGS, 40)
    return (tags @ parts) / 3 + 0.3 * torch.randn(count, 40), tags


class Tagger(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(40, width), nn.GELU(), nn.LayerNorm(width))
        self.head = nn.Linear(width, TAGS)

    def forward(self, x):
        return self.head(self.body(x))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (512, 32), "m": (1024, 64), "l": (2048, 96)}[args.size]
    model = Tagger(width)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(4):
        for x, tags in DataLoader(TensorDataset(*pictures(count)), batch_size=32, shuffle=True):
            optimizer.zero_grad()
            loss = criterion(model(x), tags)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
