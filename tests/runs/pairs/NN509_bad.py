"""Trains a network and keeps the losses of the epoch for a plot."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def train(model, loader, optimizer, history):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()  # <-- NN509
        optimizer.step()
        history.append(loss)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (1280, 16), "m": (1920, 32), "l": (2560, 32)}[args.size]
    x = torch.randn(count, 6)
    y = (x[:, :1] - x[:, 1:2]).tanh()
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for epoch in range(3):
        train(model, loader, optimizer, history)
        print(f"epoch {epoch}: {float(history[-1]):.4f} after {len(history)} steps")


if __name__ == "__main__":
    main()
