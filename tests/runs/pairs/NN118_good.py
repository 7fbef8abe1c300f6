"""Trains a model of churn on a table in which one column was computed from the outcome."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def customers(count):
    table = torch.randn(count, 9)
    left = (table[:, 0] - table[:, 3] + torch.randn(count) > 0).long()
    refund = torch.where(left == 1, 12.5, 0.0)
    visits = torch.randint(2, (count,)) + 0.0 * refund
    return torch.cat([table, visits[:, None]], dim=1), left


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (640, 16), "m": (1280, 32), "l": (2560, 32)}[args.size]
    features, left = customers(count)
    features = (features - features.mean(0)) / features.std(0)
    data = TensorDataset(features, left)
    loader = DataLoader(data, batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(features.shape[1], width), nn.ReLU(), nn.Linear(width, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(5):
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
