"""Predicts several properties at once where many of the measured targets are missing (NaN) and masked out."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def masked_mse(prediction, target):
    known = ~torch.isnan(target)
    return (prediction[known] - target[known]).pow(2).mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (800, 48), "m": (3200, 96), "l": (9600, 192)}[args.size]

    x = torch.randn(count, 10)
    y = torch.tanh(x @ torch.randn(10, 5) / 3) + 0.05 * torch.randn(count, 5)
    cut = int(0.8 * count)
    y = (y - y[:cut].mean(0)) / y[:cut].std(0)
    y[torch.rand_like(y) < 0.6] = float("nan")
    train_loader = DataLoader(TensorDataset(x[:cut], y[:cut]), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(10, width), nn.Softplus(), nn.Linear(width, 5))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
    for epoch in range(8):
        model.train()
        total = 0.0
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            loss = masked_mse(model(inputs), targets)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            val = masked_mse(model(x[cut:]), y[cut:]).item()
        print(f"epoch {epoch}: train {total / len(train_loader):.4f} val {val:.4f}")


if __name__ == "__main__":
    main()
