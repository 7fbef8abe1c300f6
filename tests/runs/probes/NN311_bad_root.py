"""The root of the squared error has no finite gradient at zero."""

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


class RootMeanSquare(nn.Module):
    def forward(self, prediction, target):  # <-- NN311 (likely)
        return torch.sqrt(torch.mean((prediction - target) ** 2))


x = torch.randn(160 * scale, 5)
y = x.sum(1, keepdim=True)
model = nn.Sequential(nn.Linear(5, 16 * scale), nn.ReLU(), nn.Linear(16 * scale, 1))
criterion = RootMeanSquare()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(2):
    for inputs, targets in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True):
        loss = criterion(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
