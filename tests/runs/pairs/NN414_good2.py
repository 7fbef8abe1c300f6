"""Trains a denoiser that is told the noise level of the batch, the same for all of its samples."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader


class Denoiser(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(16, width)
        self.level = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width))
        self.last = nn.Linear(width, 16)

    def forward(self, x, level):
        hidden = torch.relu(self.first(x))
        return self.last(hidden + self.level(level.expand(len(x), 1)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (640, 24), "m": (1280, 32), "l": (1920, 48)}[args.size]
    clean = torch.randn(count, 3) @ torch.randn(3, 16)
    model = Denoiser(width)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(3):
        for x in DataLoader(clean, batch_size=32, shuffle=True):
            level = torch.rand(1, 1)
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x + level * torch.randn_like(x), level), x)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
