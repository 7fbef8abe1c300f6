"""A classifier whose features are made alike for two domains by reversing a gradient."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.strength * gradient, None


class Net(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(inputs, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
        self.label = nn.Linear(32, classes)
        self.domain = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x, strength):
        h = torch.relu(self.features(x))
        return self.label(h), self.domain(Reverse.apply(h, strength)).squeeze(1)


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
scale = {"s": 1, "m": 2, "l": 4}[args.size]

weights = torch.randn(12, 4)
x = torch.randn(800 * scale, 12)
y = (x @ weights).argmax(1)
domain = torch.randint(0, 2, (len(x),)).float()
x = x + 0.7 * domain[:, None]
model = Net(12, 4)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
loader = DataLoader(TensorDataset(x, y, domain), batch_size=50, shuffle=True)
for epoch in range(8):
    right = 0
    for inputs, labels, domains in loader:
        logits, guess = model(inputs, min(0.3, 0.05 * epoch))
        known = domains == 0
        loss = F.cross_entropy(logits[known], labels[known]) + 0.3 * F.binary_cross_entropy_with_logits(guess, domains)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right += (logits.argmax(1) == labels).sum().item()
    print(f"epoch {epoch}: {right / len(x):.3f}")
