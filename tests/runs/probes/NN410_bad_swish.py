"""The derivative of an activation lacks a term."""

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


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod  # <-- NN410 (likely)
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return gradient * (s + x * s)


class Net(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.first = nn.Linear(6, hidden)
        self.last = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.last(Swish.apply(self.first(x)))


x = torch.randn(160 * scale, 6)
y = x.prod(1, keepdim=True)
model = Net(24 * scale)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(2):
    for inputs, targets in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True):
        loss = F.mse_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
