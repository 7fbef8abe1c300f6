"""Trains a wide-and-deep click model on categorical and numerical columns."""

import argparse
import random

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Clicks(Dataset):
    def __init__(self, n, items):
        self.item = torch.randint(0, items, (n,))
        self.user = torch.randn(n, 6)
        taste = torch.randn(items, 6)
        appeal = (taste[self.item] * self.user).sum(1) + 0.3 * torch.randn(n)
        self.clicked = (appeal > appeal.median()).float()

    def __len__(self):
        return len(self.item)

    def __getitem__(self, i):
        return {"item": self.item[i], "user": self.user[i], "clicked": self.clicked[i]}


class WideAndDeep(nn.Module):
    def __init__(self, items, dim, hidden):
        super().__init__()
        self.items = nn.Embedding(items, dim)
        self.users = nn.Linear(6, dim)
        self.wide = nn.Linear(2 * dim, hidden)
        self.deep = nn.Sequential(nn.Linear(3 * dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.extra = nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1)

    def forward(self, item, user):
        a, b = self.items(item), self.users(user)
        h = self.wide(torch.cat([a, b], dim=1))
        h = h + self.deep(torch.cat([a, b, a * b], dim=1))
        if not self.training or random.random() < 0.7:
            h = h + torch.tanh(self.extra(h))
        return self.score(h).squeeze(-1)


class Runner:
    criterion = nn.BCEWithLogitsLoss()

    def __init__(self, model, loader, lr):
        self.model, self.loader = model, loader
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr)

    def epoch(self):
        self.model.train()
        total = 0.0
        for row in self.loader:
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.criterion(self.model(row["item"], row["user"]), row["clicked"])
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.loader)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = ap.parse_args()
    torch.set_num_threads(1)
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    n, items, dim, hidden, bs = {
        "s": (640, 10, 12, 32, 32),
        "m": (1024, 12, 16, 48, 32),
        "l": (2048, 16, 16, 96, 64),
    }[args.size]
    loader = DataLoader(Clicks(n, items), batch_size=bs, shuffle=True)
    runner = Runner(WideAndDeep(items, dim, hidden), loader, lr=5e-3)
    for number in range(8):
        print(f"epoch {number} loss {runner.epoch():.4f}")


if __name__ == "__main__":
    main()
