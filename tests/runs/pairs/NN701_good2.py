"""Trains a CNN with a contrast-normalising layer that grades the coarseness of microscope tiles."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class ContrastNorm(nn.Module):
    """Gives every map of every image zero mean and unit spread."""

    def __init__(self, channels):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, maps):
        centred = maps - maps.mean(dim=(2, 3), keepdim=True)
        variance = centred.square().mean(dim=(2, 3), keepdim=True)
        scaled = centred / (variance + 1e-5).sqrt()
        return scaled * self.gain


class Stage(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 3, padding=1, bias=False)
        self.norm = ContrastNorm(cout)

    def forward(self, x):
        return F.leaky_relu(self.norm(self.conv(x)), 0.1)


class TileNet(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.stages = nn.Sequential(Stage(1, c), nn.AvgPool2d(2), Stage(c, c))
        self.fc = nn.Linear(c * 4, 3)

    def forward(self, tiles):
        return self.fc(F.adaptive_max_pool2d(self.stages(tiles), 2).flatten(1))


def make_tiles(n):
    """Smoothed noise of three grain sizes; a few tiles are blank, as on a real slide."""
    grade = torch.arange(n) % 3
    tiles = torch.empty(n, 1, 12, 12)
    for k, grain in enumerate((12, 6, 3)):
        coarse = torch.randn(int((grade == k).sum()), 1, grain, grain)
        tiles[grade == k] = F.interpolate(coarse, size=12, mode="nearest")
    tiles = tiles + 0.2 * torch.randn_like(tiles)
    tiles[torch.randperm(n)[:3]] = 0.0
    return TensorDataset(tiles, grade)


def train(model, loader, epochs):
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(epochs):
        losses = []
        for tiles, grade in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(tiles), grade)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f}")


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = ap.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, c, bs = {"s": (600, 8, 30), "m": (960, 12, 32), "l": (1536, 16, 64)}[args.size]
    train(TileNet(c), DataLoader(make_tiles(n), batch_size=bs, shuffle=True), epochs=5)
