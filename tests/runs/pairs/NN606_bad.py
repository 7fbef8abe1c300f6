"""Trains a linear critic whose score has no bound, as it is written."""

import argparse

import torch
from torch import nn


class Critic(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.score = nn.Linear(features, 1)  # <-- NN606

    def forward(self, x):
        return self.score(x)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    steps, features = {"s": (300, 8), "m": (400, 12), "l": (500, 16)}[args.size]
    critic = Critic(features)
    optimizer = torch.optim.SGD(critic.parameters(), lr=1.0)
    for step in range(steps):
        real, fake = torch.randn(64, features) + 0.8, torch.randn(64, features)
        loss = critic(fake).mean() - critic(real).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step}: {loss.item():.3f}")


if __name__ == "__main__":
    main()
