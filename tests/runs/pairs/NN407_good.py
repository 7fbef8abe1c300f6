"""Trains a CNN that recognises which corner of an image is bright."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class CornerNet(nn.Module):
    def __init__(self, c, side):
        super().__init__()
        self.conv1 = nn.Conv2d(1, c, 3)
        self.conv2 = nn.Conv2d(c, 2 * c, 3)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(2 * c * (((side - 2) // 2 - 2) // 2) ** 2, 32)
        self.fc2 = nn.Linear(32, 4)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        return self.fc2(F.relu(self.fc1(x)))


def corners(n, side):
    label = torch.arange(n) % 4
    x = torch.randn(n, 1, side, side)
    half = side // 2
    for i, k in enumerate(label.tolist()):
        r, c = half * (k // 2), half * (k % 2)
        x[i, 0, r : r + half, c : c + half] += 0.8
    return TensorDataset((x - x.mean()) / x.std(), label)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = ap.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, side, c, bs = {"s": (512, 16, 6, 32), "m": (800, 20, 8, 32), "l": (1280, 24, 12, 64)}[args.size]
    loader = DataLoader(corners(n, side), batch_size=bs, shuffle=True)
    net = CornerNet(c, side)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(5):
        total = 0.0
        for images, label in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(images), label)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(loader):.4f}")
