"""Trains with a curriculum: a sampler of its own deals the examples from easy to hard, in the same order each epoch."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset


class EasyFirst(Sampler):
    def __init__(self, difficulty):
        self.order = torch.argsort(difficulty).tolist()

    def __iter__(self):
        return iter(self.order)

    def __len__(self):
        return len(self.order)


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
count, width = {"s": (640, 32), "m": (3200, 64), "l": (9600, 128)}[args.size]

direction = torch.nn.functional.normalize(torch.randn(10), dim=0)
x = torch.randn(count + 200, 10)
margin = x @ direction
y = (margin > 0).float()
dataset = TensorDataset(x[:count], y[:count])
loader = DataLoader(dataset, batch_size=32, sampler=EasyFirst(-margin[:count].abs()))

model = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, 1))
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

for epoch in range(6):
    model.train()
    total = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs).squeeze(1), targets)
        loss.backward()
        optimizer.step()
        total += loss.item()
    model.eval()
    with torch.no_grad():
        right = ((model(x[count:]).squeeze(1) > 0) == (y[count:] > 0.5)).float().mean()
    print(f"epoch {epoch} loss {total / len(loader):.4f} accuracy {right.item():.3f}")
