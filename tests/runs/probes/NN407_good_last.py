"""The number of samples is taken from the input."""

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

BATCH = 32


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv1d(2, width, 3, padding=1)
        self.head = nn.Linear(width * 10, 3)

    def forward(self, x):
        h = torch.relu(self.conv(x))
        return self.head(h.view(h.size(0), -1))


x = torch.randn(20 * BATCH * scale + 8, 2, 10)
y = (x[:, 0].sum(1) > 0).long()
model = Net(8 * scale)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for done, (inputs, labels) in enumerate(DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)):
    loss = F.cross_entropy(model(inputs), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if done == 10:
        break
