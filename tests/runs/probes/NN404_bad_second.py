"""A second normalisation is made and the first one used twice."""

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


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.before = nn.LayerNorm(width)
        self.after = nn.LayerNorm(width)  # <-- NN404 (likely)
        self.one = nn.Linear(width, width)
        self.two = nn.Linear(width, 3)

    def forward(self, x):
        x = x + torch.relu(self.one(self.before(x)))
        return self.two(self.before(x))


x = torch.randn(160 * scale, 12)
y = (x @ torch.randn(12, 3)).argmax(1)
model = Block(12)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(2):
    for inputs, labels in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True):
        loss = F.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
