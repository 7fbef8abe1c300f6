"""Trains softmax regression with a hidden layer by hand, without an optimizer."""

import argparse

import torch
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
count, width = {"s": (640, 32), "m": (3200, 64), "l": (9600, 128)}[args.size]

x = torch.randn(count, 6)
y = ((x.abs() - 0.8) @ torch.randn(6, 3)).argmax(1)
model = torch.nn.Sequential(torch.nn.Linear(6, width), torch.nn.ReLU(), torch.nn.Linear(width, 3))
lr, batch_size = 0.2, 32

for epoch in range(8):
    order = torch.randperm(count)
    total = 0.0
    for start in range(0, count, batch_size):
        rows = order[start : start + batch_size]
        loss = F.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= lr * p.grad
                p.grad = None
        total += loss.item() * len(rows)
    print("epoch", epoch, "loss", round(total / count, 4))
