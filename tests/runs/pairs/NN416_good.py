"""Trains a deep stack of layers with weights drawn by hand."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Stack(nn.Module):
    def __init__(self, width, depth, std):
        super().__init__()
        self.inp = nn.Linear(16, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.out = nn.Linear(width, 4)
        for layer in [self.inp, *self.hidden]:
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        x = self.inp(x).relu()
        for layer in self.hidden:
            x = layer(x).relu()
        return self.out(x)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width, depth = {"s": (512, 64, 6), "m": (768, 96, 6), "l": (1024, 128, 7)}[args.size]
    kind = torch.randint(4, (count,))
    x = torch.randn(4, 16)[kind] + 0.5 * torch.randn(count, 16)
    model = Stack(width, depth, std=(2 / width) ** 0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(2):
        for inputs, target in DataLoader(TensorDataset(x, kind), batch_size=32, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), target)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
