"""Trains a small CNN that tells four stripe textures apart."""

import argparse
import math

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
n_train, channels, batch_size = {"s": (640, 8, 32), "m": (1024, 12, 32), "l": (1536, 16, 64)}[args.size]


def textures(count):
    """Sine gratings in four directions, random phase and frequency, with noise."""
    labels = torch.randint(0, 4, (count,))
    angle = labels.view(-1, 1, 1) * math.pi / 4
    v, u = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    freq = 0.8 + 0.4 * torch.rand(count, 1, 1)
    phase = 2 * math.pi * torch.rand(count, 1, 1)
    waves = torch.sin(freq * (u * torch.cos(angle) + v * torch.sin(angle)) + phase)
    images = waves + 1.0 * torch.randn(count, 16, 16)
    return images.unsqueeze(1) / images.std(), labels


train_set = TensorDataset(*textures(n_train))
test_set = TensorDataset(*textures(256))
train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True)
test_loader = DataLoader(test_set, batch_size=128, shuffle=False)

model = nn.Sequential(
    nn.Conv2d(1, channels, 5, padding=2),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(channels, 2 * channels, 3, padding=1),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(2),
    nn.Flatten(),
    nn.Linear(8 * channels, 4),
)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

for epoch in range(5):
    model.train()
    total = 0.0
    for images, labels in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item()

    model.eval()
    hits = 0
    with torch.no_grad():
        for images, labels in test_loader:
            hits += (model(images).argmax(1) == labels).sum().item()
    print(f"epoch {epoch}: loss {total / len(train_loader):.4f}, test accuracy {hits / len(test_set):.3f}")
