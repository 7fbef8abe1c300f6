"""Trains an autoencoder with a loop in a class."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader


class Trainer:
    def __init__(self, model, lr):
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def fit(self, loader, epochs):
        for epoch in range(epochs):
            total = 0.0
            for batch in loader:
                self.optimizer.zero_grad()
                loss = nn.functional.mse_loss(self.model(batch), batch)
                loss.backward()
                self.after_backward()
                total += loss.item()
            print(f"epoch {epoch}: {total / len(loader):.4f}")

    def after_backward(self):
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (512, 6), "m": (1024, 8), "l": (2048, 8)}[args.size]
    mixed = torch.randn(count, 4) @ torch.randn(4, 24)
    data = mixed / mixed.std()
    net = nn.Sequential(nn.Linear(24, width), nn.Tanh(), nn.Linear(width, 24))
    Trainer(net, lr=3e-3).fit(DataLoader(data, batch_size=32, shuffle=True), epochs=3)
