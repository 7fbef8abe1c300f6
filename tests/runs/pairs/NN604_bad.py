"""Trains a deep MLP that classifies radial rings of ten-dimensional points."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class DeepNet(nn.Module):
    def __init__(self, n_in, width, depth, classes):
        super().__init__()
        self.first = nn.Linear(n_in, width)  # <-- NN604
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 2))
        self.last = nn.Linear(width, classes)

    def forward(self, x):
        h = torch.sigmoid(self.first(x))
        for layer in self.hidden:
            h = torch.sigmoid(layer(h))
        return self.last(h)


def rings(n, n_in):
    x = torch.randn(n, n_in)
    norms = x[:, :4].norm(dim=1)
    limits = norms.quantile(torch.tensor([1 / 3, 2 / 3]))
    return TensorDataset(x, torch.bucketize(norms, limits))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = ap.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, width, depth, bs = {"s": (768, 32, 8, 32), "m": (1280, 48, 10, 32), "l": (1920, 64, 12, 64)}[args.size]
    loader = DataLoader(rings(n, 10), batch_size=bs, shuffle=True)
    net = DeepNet(10, width, depth, 3)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(6):
        total = 0.0
        for x, ring in loader:
            optimizer.zero_grad()
            loss = criterion(net(x), ring)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(loader):.4f}")


if __name__ == "__main__":
    main()
