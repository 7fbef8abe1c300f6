"""Attention weights are normalised over the batch."""

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


class Pooling(nn.Module):
    def __init__(self, features, width, classes):
        super().__init__()
        self.body = nn.Linear(features, width)
        self.score = nn.Linear(width, 1)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        h = torch.tanh(self.body(x))
        weights = torch.softmax(self.score(h), dim=0)  # <-- NN406
        return self.head((weights * h).sum(dim=1))


x = torch.randn(128 * scale, 7, 10)
y = (x.mean(1) @ torch.randn(10, 3)).argmax(1)
model = Pooling(10, 16 * scale, 3)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(3):
    for inputs, labels in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True):
        loss = F.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
