"""Trains with gradients accumulated over four small batches."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ACCUMULATE = 4


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (480, 32), "m": (1920, 64), "l": (5760, 128)}[args.size]

    x = torch.randn(count, 8)
    y = (x[:, :1] * x[:, 1:2] + x[:, 2:3]).squeeze(1) + 0.1 * torch.randn(count)
    loader = DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True)
    model = nn.Sequential(nn.Linear(8, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))
    criterion = nn.MSELoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)

    for epoch in range(8):
        total = 0.0
        optimizer.zero_grad()
        for i, (inputs, targets) in enumerate(loader, start=1):
            loss = criterion(model(inputs).squeeze(1), targets)
            (loss / ACCUMULATE).backward()
            total += loss.item()
            if i % ACCUMULATE == 0 or i == len(loader):
                nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimizer.step()
                optimizer.zero_grad()
        print(f"epoch {epoch}: mse {total / len(loader):.4f}")


if __name__ == "__main__":
    main()
