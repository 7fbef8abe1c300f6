"""Distils a teacher's answers into a small network by their divergence."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn


def teacher(x):
    scores = torch.stack([x[:, 0] * 2, x[:, 1] * x[:, 2], x[:, 3] - x[:, 4], x[:, 5].abs()], dim=1)
    return F.softmax(scores, dim=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    steps, width = {"s": (120, 32), "m": (200, 64), "l": (300, 96)}[args.size]
    student = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 4))
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    for _ in range(steps):
        x = torch.randn(64, 8)
        with torch.no_grad():
            wanted = teacher(x)
        answer = F.log_softmax(student(x), dim=1)
        loss = F.kl_div(answer, wanted, reduction="batchmean")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"divergence {loss.item():.4f}")


if __name__ == "__main__":
    main()
