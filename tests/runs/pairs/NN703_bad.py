"""Trains a recurrent cell written by hand that updates its state in place."""

import argparse

import torch
from torch import nn


class Cell(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.inp = nn.Linear(4, width)
        self.rec = nn.Linear(width, width)
        self.out = nn.Linear(width, 1)

    def forward(self, sequence):
        state = torch.zeros(len(sequence), self.width)
        for step in sequence.unbind(1):
            new = torch.sigmoid(self.inp(step) + self.rec(state))
            new += 0.1 * state
            state = new
        return self.out(state)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    steps, width = {"s": (60, 16), "m": (80, 24), "l": (100, 32)}[args.size]
    model = Cell(width)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        sequence = torch.randn(32, 6, 4)
        loss = nn.functional.mse_loss(model(sequence), sequence.mean((1, 2)).unsqueeze(1))
        optimizer.zero_grad()
        loss.backward()  # <-- NN703
        optimizer.step()
    print(f"loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
