"""Trains a new head on a frozen, pretrained convolutional backbone."""

import argparse
import os
import tempfile

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class Backbone(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, width * 2, 3, padding=1, bias=False),
            nn.BatchNorm2d(width * 2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.features = width * 8

    def forward(self, x):
        return self.layers(x)


def gratings(count, classes):
    """Stripes whose direction is the class."""
    label = torch.randint(classes, (count,))
    angle = label.float().view(-1, 1, 1) * (3.14159 / classes)
    axis = torch.linspace(-3, 3, 12)
    phase = 6.283 * torch.rand(count, 1, 1)
    wave = torch.sin(2 * (axis.view(1, 1, -1) * angle.cos() + axis.view(1, -1, 1) * angle.sin()) + phase)
    return (wave + 0.5 * torch.randn_like(wave)).unsqueeze(1), label


def pretrain(path, width, count):
    images, labels = gratings(count, 8)
    backbone = Backbone(width)
    model = nn.Sequential(backbone, nn.Linear(backbone.features, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for epoch in range(4):
        running = 0.0
        for x, y in DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True, drop_last=True):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            running = loss.item()
        print(f"pretraining epoch {epoch}: {running:.4f}")
    torch.save(backbone.state_dict(), path)


def finetune(path, width, count):
    images, labels = gratings(count, 4)
    train, val = random_split(TensorDataset(images, labels), [0.8, 0.2])
    backbone = Backbone(width)
    backbone.load_state_dict(torch.load(path, weights_only=True))
    for parameter in backbone.parameters():
        parameter.requires_grad = False
    backbone.eval()
    head = nn.Linear(backbone.features, 4)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(5):
        head.train()
        total = 0.0
        for x, y in DataLoader(train, batch_size=16, shuffle=True):
            with torch.no_grad():
                features = backbone(x)
            loss = F.cross_entropy(head(features), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        head.eval()
        right = 0
        with torch.no_grad():
            for x, y in DataLoader(val, batch_size=64):
                right += (head(backbone(x)).argmax(1) == y).sum().item()
        print(f"epoch {epoch}: loss {total / len(train):.4f} val accuracy {right / len(val):.3f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    width, count = {"s": (8, 640), "m": (16, 1600), "l": (32, 3200)}[args.size]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "backbone.pt")
        pretrain(path, width, count)
        finetune(path, width, count // 2)


if __name__ == "__main__":
    main()
