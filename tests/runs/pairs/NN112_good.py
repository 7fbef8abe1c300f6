"""Trains a regressor of travel times in very few, very large batches."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def trips(count):
    x = torch.randn(count, 8)
    minutes = x[:, :1] * 2 + (x[:, 1:2] * x[:, 2:3]).tanh() + 0.1 * torch.randn(count, 1)
    return TensorDataset(x, minutes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (2400, 32), "m": (4800, 64), "l": (9600, 64)}[args.size]
    batch = 64
    loader = DataLoader(trips(count), batch_size=batch, shuffle=True)
    model = nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(10):
        for x, minutes in loader:
            optimizer.zero_grad()
            loss = nn.functional.smooth_l1_loss(model(x), minutes)
            loss.backward()
            optimizer.step()
    print(f"last loss {loss.item():.4f}")
