"""Predicts counts of visits with a Poisson loss over log rates, after a feature pipeline of its own."""

import argparse

import torch
from torch import nn


class Batches:
    """A loader of its own instead of DataLoader: shuffles once an epoch and slices."""

    def __init__(self, x, y, size):
        self.x, self.y, self.size = x, y, size

    def __len__(self):
        return -(-len(self.x) // self.size)

    def __iter__(self):
        order = torch.randperm(len(self.x))
        for rows in order.split(self.size):
            yield self.x[rows], self.y[rows]


def visits(count):
    hour = 24 * torch.rand(count)
    weekend = (torch.rand(count) < 2 / 7).float()
    rain = torch.rand(count)
    log_rate = 1.5 + torch.sin((hour - 9) / 24 * 6.2832) + 0.5 * weekend - 0.8 * rain
    features = torch.stack(
        [torch.sin(hour / 24 * 6.2832), torch.cos(hour / 24 * 6.2832), 2 * weekend - 1, 2 * rain - 1], dim=1
    )
    return features, torch.poisson(log_rate.exp())


def fit(model, batches, val, epochs):
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)
    criterion = nn.PoissonNLLLoss(log_input=True)
    for epoch in range(epochs):
        model.train()
        losses = []
        for x, y in batches:
            optimizer.zero_grad()
            loss = criterion(model(x).squeeze(-1), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        model.eval()
        with torch.no_grad():
            val_loss = criterion(model(val[0]).squeeze(-1), val[1]).item()
        print(f"epoch {epoch}: train {torch.stack(losses).mean().item():+.4f} val {val_loss:+.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (800, 24), "m": (4000, 48), "l": (12000, 96)}[args.size]
    model = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 1))
    fit(model, Batches(*visits(count), size=64), visits(300), epochs=8)
