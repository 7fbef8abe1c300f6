"""Trains a policy of continuous control through a simulator that goes on from step to step."""

import argparse

import torch
from torch import nn


class Policy(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, state):
        return self.layers(state)


def simulate(state, force):
    position, speed = state.split(1, dim=1)
    speed = 0.9 * speed + 0.1 * force.tanh()
    return torch.cat([0.95 * position + 0.1 * speed, speed], dim=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    steps, width = {"s": (24, 8), "m": (30, 12), "l": (36, 16)}[args.size]
    policy = Policy(width)
    state = torch.randn(16, 2)
    loss = torch.zeros(())
    for _ in range(steps):
        state = simulate(state.detach(), policy(state.detach()))
        loss = state[:, 0].square().mean()
        policy.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in policy.parameters():
                p.data = p - 0.05 * p.grad
    print(f"cost {loss.item():.4f}")


if __name__ == "__main__":
    main()
