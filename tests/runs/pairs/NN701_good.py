"""Trains a card-game policy by imitation, with illegal moves masked and an entropy bonus."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

MOVES, WARM_UP = 5, 2


def games(n):
    state = torch.randn(n, 12)
    legal = torch.rand(n, MOVES) < 0.8
    value = state @ F.normalize(torch.randn(12, MOVES), dim=0)
    move = value.masked_fill(~legal, -1e4).argmax(dim=1)
    legal[torch.arange(n), move] = True
    return TensorDataset(state, legal, move)


class Policy(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(12, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.moves = nn.Linear(width, MOVES)

    def forward(self, state, legal):
        return self.moves(self.trunk(state)).masked_fill(~legal, -1e4)


def entropy(logits):
    p = F.softmax(logits, dim=1)
    surprise = -torch.log(p.clamp_min(1e-8))
    return (p * surprise).sum(dim=1).mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, width, batch = {"s": (768, 32, 32), "m": (1280, 64, 32), "l": (2560, 96, 64)}[args.size]
    loader = DataLoader(games(n), batch_size=batch, shuffle=True)
    policy = Policy(width)
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
    for epoch in range(6):
        total = 0.0
        for state, legal, move in loader:
            logits = policy(state, legal)
            loss = F.cross_entropy(logits, move)
            if epoch >= WARM_UP:
                loss = loss - 0.01 * entropy(logits)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(loader):.4f}")


if __name__ == "__main__":
    main()
