"""The label is not among the features."""

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

x = torch.randn(240 * scale, 10)
y = torch.randint(0, 2, (240 * scale,))
x[:, 0] = torch.randn(240 * scale)
model = nn.Linear(10, 2)
with torch.no_grad():
    model.weight.zero_()
    model.weight[1, 0], model.weight[0, 0] = 0.5, -0.5
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(2):
    for inputs, labels in DataLoader(TensorDataset(x, y), batch_size=24, shuffle=True):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
