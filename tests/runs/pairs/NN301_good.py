"""Trains a functional-style MLP on three interleaved spirals."""

import argparse
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ap = argparse.ArgumentParser()
ap.add_argument("--seed", type=int, default=0)
ap.add_argument("--size", choices=["s", "m", "l"], default="s")
cfg = ap.parse_args()
torch.manual_seed(cfg.seed)
torch.set_num_threads(1)
POINTS, WIDTH, BATCH = {"s": (768, 48, 32), "m": (1200, 64, 48), "l": (1920, 96, 80)}[cfg.size]


def spirals(n):
    arm = torch.arange(n) % 3
    r = torch.rand(n).sqrt()
    angle = 3.0 * r + arm * 2 * math.pi / 3 + 0.1 * torch.randn(n)
    xy = torch.stack([r * angle.cos(), r * angle.sin()], dim=1)
    return (xy - xy.mean(0)) / xy.std(0), arm


class SpiralNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(2, WIDTH)
        self.fc2 = nn.Linear(WIDTH, WIDTH)
        self.fc3 = nn.Linear(WIDTH, 3)

    def forward(self, xy):
        h = F.gelu(self.fc1(xy))
        h = F.gelu(self.fc2(h))
        return self.fc3(h)


def train_one_epoch(model, loader, optimizer):
    model.train()
    total = 0.0
    for xy, arm in loader:
        scores = model(xy)
        loss = F.nll_loss(F.log_softmax(scores, dim=1), arm)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    right = sum((model(xy).argmax(1) == arm).sum().item() for xy, arm in loader)
    return right / len(loader.dataset)


train = DataLoader(TensorDataset(*spirals(POINTS)), batch_size=BATCH, shuffle=True)
valid = DataLoader(TensorDataset(*spirals(300)), batch_size=100)
model = SpiralNet()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(1, 7):
    mean_loss = train_one_epoch(model, train, optimizer)
    print(f"epoch {epoch} loss {mean_loss:.4f} accuracy {accuracy(model, valid):.3f}")
