"""A gate that has lost its axis meets the column of scores."""

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


class Gated(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        self.body = nn.Linear(inputs, width)
        self.score = nn.Linear(width, 1)
        self.gate = nn.Linear(width, 1)

    def forward(self, x):
        h = torch.relu(self.body(x))
        gate = torch.sigmoid(self.gate(h)).squeeze(1)
        scores = self.score(h) * gate  # <-- NN307 (likely)
        return scores.mean(dim=1)


x = torch.randn(160 * scale, 8)
y = torch.sin(x[:, 0])
model = Gated(8, 32 * scale)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(2):
    for inputs, targets in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True):
        loss = F.mse_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
