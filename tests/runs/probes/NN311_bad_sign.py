"""A similarity is minimised instead of its negative."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
scale = {"s": 1, "m": 2, "l": 4}[args.size]


def correlation_loss(prediction, target):  # <-- NN311 (likely)
    p, t = prediction - prediction.mean(), target - target.mean()
    return (p * t).sum() / (p.norm() * t.norm() + 1e-8)


def train(model, loader):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for inputs, targets in loader:
        optimizer.zero_grad()
        prediction = model(inputs).squeeze(1)
        loss = correlation_loss(prediction, targets)
        loss.backward()
        optimizer.step()


x = torch.randn(300 * scale, 5)
model = nn.Sequential(nn.Linear(5, 16 * scale), nn.ReLU(), nn.Linear(16 * scale, 1))
for _ in range(2):
    train(model, DataLoader(TensorDataset(x, x.sum(1)), batch_size=30, shuffle=True))
