"""Trains a quantile regression of survival times with an own loss function and training engine."""

import argparse

import torch
from torch import nn
from torch.optim import Adam
from torch.utils.data import DataLoader, TensorDataset


def patients(n):
    records = torch.randn(n, 8)
    risk = 0.9 * records[:, 0] - 0.6 * records[:, 1] + 0.4 * records[:, 2] * records[:, 3]
    log_time = risk + 0.2 * torch.randn(n)
    return records, (log_time - log_time.mean()) / log_time.std()


class QuantileNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.centre = nn.Linear(width, 1)
        self.spread = nn.Linear(width, 2)

    def forward(self, records):
        h = self.net(records)
        centre, spread = self.centre(h), nn.functional.softplus(self.spread(h))
        return torch.cat([centre - spread[:, :1], centre, centre + spread[:, 1:]], dim=1)


def pinball(quantiles, target, levels=(0.1, 0.5, 0.9)):
    gap = target[:, None] - quantiles
    level = gap.new_tensor(levels)
    return torch.maximum(level * gap, (level - 1) * gap).mean()


def train_engine(model, loader, optimizer, epochs):
    for epoch in range(1, epochs + 1):
        meter = 0.0
        for records, target in loader:
            quantiles = model(records)
            loss = pinball(quantiles, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            meter += float(loss.detach())
        print(f"epoch {epoch}/{epochs}  loss {meter / len(loader):.4f}")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = ap.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, width, bs = {"s": (512, 32, 32), "m": (1024, 64, 32), "l": (2048, 128, 64)}[args.size]
    loader = DataLoader(TensorDataset(*patients(n)), batch_size=bs, shuffle=True)
    model = QuantileNet(width)
    train_engine(model, loader, Adam(model.parameters(), lr=5e-3), epochs=6)


if __name__ == "__main__":
    main()
