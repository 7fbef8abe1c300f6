"""A network with room for a batch."""

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
    def __init__(self, hidden, classes):
        super().__init__()
        self.narrow = nn.Linear(20, hidden)
        self.out = nn.Linear(hidden, classes)

    def forward(self, x):
        return self.out(torch.tanh(self.narrow(x)))


x = torch.randn(256 * scale, 20)
y = torch.randint(0, 8, (256 * scale,))
model = Net(64, 8)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(2):
    for inputs, labels in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
