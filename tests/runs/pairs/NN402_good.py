"""Trains a residual MLP that sorts points by the petal of a flower they lie in."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, width)

    def forward(self, h):
        return h + torch.relu(self.fc(self.norm(h)))


class PetalNet(nn.Module):
    def __init__(self, width, depth, petals):
        super().__init__()
        self.stem = nn.Linear(2, width)
        self.head = nn.Linear(width, petals)
        self.blocks = nn.ModuleList([Block(width) for _ in range(depth)])
        self.ends = [self.stem, self.head]
        self.squash = [torch.tanh, torch.relu]

    def forward(self, points):
        h = self.squash[0](self.stem(points))
        for block in self.blocks:
            h = block(h)
        return self.head(h)

    def describe(self):
        return " -> ".join(f"{m.in_features}:{m.out_features}" for m in self.ends)


def flower(n, petals):
    label = torch.arange(n) % petals
    angle = (label + 0.8 * torch.rand(n)) * 2 * torch.pi / petals
    radius = 0.3 + torch.rand(n)
    xy = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], 1)
    return TensorDataset(xy / xy.std(0), label)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, width, depth, bs = {"s": (640, 32, 2, 32), "m": (1280, 48, 3, 32), "l": (2560, 96, 4, 64)}[args.size]
    loader = DataLoader(flower(n, 5), batch_size=bs, shuffle=True)
    net = PetalNet(width, depth, 5)
    print(net.describe())
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=2e-3)
    for epoch in range(5):
        losses = []
        for xy, label in loader:
            loss = criterion(net(xy), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f}")


if __name__ == "__main__":
    main()
