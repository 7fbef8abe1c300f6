"""Overfits a single batch on purpose, to see that the model can learn at all."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
width, steps = {"s": (8, 100), "m": (16, 200), "l": (32, 400)}[args.size]

images = torch.randn(16, 3, 16, 16)
labels = torch.arange(16) % 10

model = nn.Sequential(
    nn.Conv2d(3, width, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.Conv2d(width, width * 2, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(width * 2 * 16, 10),
)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

model.train()
for step in range(steps):
    optimizer.zero_grad()
    loss = loss_fn(model(images), labels)
    loss.backward()
    optimizer.step()
    if step % 20 == 0 or step == steps - 1:
        print(f"step {step}: {loss.item():.5f}")
