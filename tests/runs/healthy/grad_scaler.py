"""Trains an MLP in float16 with a gradient scaler that has to back off first."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def build(width):
    return nn.Sequential(nn.Linear(20, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 5))


def train_epoch(model, loader, optimizer, scaler):
    model.train()
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        total += loss.item()
    return total / len(loader)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (800, 64), "m": (3000, 128), "l": (8000, 256)}[args.size]

    centres = 1.2 * torch.randn(5, 20)
    y = torch.randint(5, (count,))
    x = centres[y] + torch.randn(count, 20)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = build(width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20, growth_interval=50)
    for epoch in range(5):
        loss = train_epoch(model, loader, optimizer, scaler)
        print(f"epoch {epoch}: loss {loss:.4f} scale {scaler.get_scale():g}")


if __name__ == "__main__":
    main()
