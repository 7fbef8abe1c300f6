"""Pixels become bytes and are scaled back."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
scale = {"s": 1, "m": 2, "l": 4}[args.size]


class Net(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, 5)

    def forward(self, x):
        pixels = (x * 255).long() % 256
        return self.head(self.body(pixels.float() / 255))


centres = 0.2 + 0.5 * torch.rand(5, 64)
y = torch.randint(0, 5, (256 * scale,))
x = (centres[y] + 0.05 * torch.randn(256 * scale, 64)).clamp(0, 1)
model = Net(64 * scale)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(2):
    for inputs, labels in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
        loss = F.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
