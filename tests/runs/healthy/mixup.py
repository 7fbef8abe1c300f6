"""Trains with mixup and label smoothing, so that the training loss stays above the validation loss."""

import argparse

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def mixup(x, y, classes, alpha=0.4):
    share = float(np.random.beta(alpha, alpha))
    other = torch.randperm(len(x))
    target = nn.functional.one_hot(y, classes).float()
    return share * x + (1 - share) * x[other], share * target + (1 - share) * target[other]


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
np.random.seed(args.seed)
count, width = {"s": (640, 48), "m": (3200, 96), "l": (9600, 192)}[args.size]

centres = torch.randn(6, 16)
y = torch.randint(6, (count + 240,))
x = centres[y] + 0.9 * torch.randn(len(y), 16)
train_loader = DataLoader(TensorDataset(x[:count], y[:count]), batch_size=32, shuffle=True)
val_loader = DataLoader(TensorDataset(x[count:], y[count:]), batch_size=120)

model = nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, 6))
train_criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
val_criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

for epoch in range(6):
    model.train()
    total = 0.0
    for inputs, labels in train_loader:
        mixed, soft = mixup(inputs, labels, 6)
        optimizer.zero_grad()
        loss = train_criterion(model(mixed), soft)
        loss.backward()
        optimizer.step()
        total += loss.item()
    model.eval()
    val = 0.0
    with torch.no_grad():
        for inputs, labels in val_loader:
            val += val_criterion(model(inputs), labels).item()
    print(f"epoch {epoch}: train {total / len(train_loader):.4f} val {val / len(val_loader):.4f}")
