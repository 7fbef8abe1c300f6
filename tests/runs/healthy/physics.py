"""Solves a damped oscillator with a physics-informed network: the loss is made of derivatives by autograd."""

import argparse

import torch
from torch import nn

DAMPING, STIFFNESS = 0.4, 4.0


class Solution(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.last = nn.Linear(width, 1)

    def forward(self, t):
        # u(0) = 1 and u'(0) = 0 hold by construction
        return 1 + t**2 * self.last(self.layers(t - 1.5))


def residual(model, t):
    t = t.requires_grad_(True)
    u = model(t)
    (velocity,) = torch.autograd.grad(u.sum(), t, create_graph=True)
    (acceleration,) = torch.autograd.grad(velocity.sum(), t, create_graph=True)
    return acceleration + DAMPING * velocity + STIFFNESS * u


def exact(t):
    rate = (STIFFNESS - DAMPING**2 / 4) ** 0.5
    return torch.exp(-DAMPING / 2 * t) * (torch.cos(rate * t) + DAMPING / (2 * rate) * torch.sin(rate * t))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    points, width, steps = {"s": (64, 32, 600), "m": (256, 64, 1500), "l": (512, 96, 2000)}[args.size]
    model = Solution(width)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.1 ** (1 / steps))
    for step in range(steps):
        optimizer.zero_grad()
        loss = residual(model, 3 * torch.rand(points, 1)).pow(2).mean()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step % (steps // 5) == 0:
            print(f"step {step}: residual {loss.item():.5f}")
    grid = torch.linspace(0, 3, 100).unsqueeze(1)
    with torch.no_grad():
        print(f"largest error {(model(grid) - exact(grid)).abs().max().item():.4f}")
