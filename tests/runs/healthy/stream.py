"""Trains on an endless stream of examples from an IterableDataset, counted in steps."""

import argparse
import itertools

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset


class Stream(IterableDataset):
    def __init__(self, centres, seed):
        self.centres = centres
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self):
        while True:
            label = torch.randint(len(self.centres), (), generator=self.generator)
            noise = torch.randn(self.centres.size(1), generator=self.generator)
            yield self.centres[label] + noise, label


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
steps, width = {"s": (150, 32), "m": (500, 96), "l": (1200, 256)}[args.size]

centres = torch.randn(8, 10)
stream = iter(DataLoader(Stream(centres, args.seed + 1), batch_size=32))
fresh = iter(DataLoader(Stream(centres, args.seed + 2), batch_size=256))
model = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, 8))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

running = 0.0
for step, (x, y) in enumerate(itertools.islice(stream, steps), start=1):
    model.train()
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    running += loss.item()
    if step % (steps // 5) == 0:
        model.eval()
        x_val, y_val = next(fresh)
        with torch.no_grad():
            val = criterion(model(x_val), y_val).item()
        print(f"step {step}: train {running / (steps // 5):.4f} fresh {val:.4f}")
        running = 0.0
