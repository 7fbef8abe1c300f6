"""Trains a normalising flow on a banana-shaped density; its loss, a negative log-likelihood, goes below zero."""

import argparse
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Coupling(nn.Module):
    def __init__(self, width, flip):
        super().__init__()
        self.flip = flip
        self.net = nn.Sequential(
            nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2)
        )
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        a, b = x.chunk(2, dim=1)
        if self.flip:
            a, b = b, a
        log_scale, shift = self.net(a).chunk(2, dim=1)
        log_scale = 3 * torch.tanh(log_scale / 3)
        b = b * log_scale.exp() + shift
        return torch.cat([b, a] if self.flip else [a, b], dim=1), log_scale.squeeze(1)


class Flow(nn.Module):
    def __init__(self, width, layers=4):
        super().__init__()
        self.layers = nn.ModuleList(Coupling(width, flip=bool(i % 2)) for i in range(layers))

    def log_prob(self, x):
        total = 0.0
        for layer in self.layers:
            x, log_det = layer(x)
            total = total + log_det
        return total - 0.5 * x.pow(2).sum(1) - math.log(2 * math.pi)


def banana(count):
    a = torch.randn(count)
    return torch.stack([0.5 * a, 0.6 * a**2 - 0.6 + 0.05 * torch.randn(count)], dim=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (1920, 32), "m": (6400, 64), "l": (19200, 128)}[args.size]
    loader = DataLoader(TensorDataset(banana(count)), batch_size=64, shuffle=True)
    held_out = banana(500)
    flow = Flow(width)
    optimizer = torch.optim.Adam(flow.parameters(), lr=4e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)
    for epoch in range(8):
        flow.train()
        total = 0.0
        for (x,) in loader:
            loss = -flow.log_prob(x).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            optimizer.step()
            total += loss.item()
        scheduler.step()
        flow.eval()
        with torch.no_grad():
            val = -flow.log_prob(held_out).mean().item()
        print(f"epoch {epoch}: nll {total / len(loader):+.4f} held out {val:+.4f}")


if __name__ == "__main__":
    main()
