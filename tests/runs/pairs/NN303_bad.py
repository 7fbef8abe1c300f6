"""Trains a multi-label tagger on dense feature vectors."""

import argparse
from itertools import pairwise

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, random_split

TAGS = 6


class Tagger(nn.Module):
    def __init__(self, n_in, hidden, depth):
        super().__init__()
        sizes = [n_in] + [hidden] * depth
        self.body = nn.Sequential()
        for i, (a, b) in enumerate(pairwise(sizes)):
            self.body.add_module(f"fc{i}", nn.Linear(a, b))
            self.body.add_module(f"act{i}", nn.LeakyReLU(0.1))
        self.tags = nn.Linear(hidden, TAGS)

    def forward(self, x):
        return self.tags(self.body(x))


def build_data(n, n_in):
    x = torch.randn(n, n_in)
    directions = torch.randn(n_in, TAGS)
    return TensorDataset(x, (x @ directions > 0).float())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", default="s", choices=["s", "m", "l"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, n_in, hidden, depth, bs = {
        "s": (900, 12, 32, 1, 32),
        "m": (1500, 16, 64, 2, 32),
        "l": (3000, 20, 96, 2, 64),
    }[args.size]
    train_part, val_part = random_split(build_data(n, n_in), [n - 200, 200])
    train_loader = DataLoader(train_part, batch_size=bs, shuffle=True, drop_last=True)
    val_loader = DataLoader(val_part, batch_size=100)

    model = Tagger(n_in, hidden, depth)
    criterion = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for epoch in range(5):
        model.train()
        losses = []
        for x, y in train_loader:
            out = model(x)
            loss = criterion(out, y)  # <-- NN303
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            exact = sum(((model(x) > 0.5) == y.bool()).all(1).sum().item() for x, y in val_loader)
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f} exact match {exact / len(val_part):.3f}")


if __name__ == "__main__":
    main()
