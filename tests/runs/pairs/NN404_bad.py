"""Trains an hourglass regressor that removes noise from short signals, with an auxiliary head in training."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SIZES = {"s": (512, 24, 48, 32), "m": (960, 32, 64, 32), "l": (1920, 40, 96, 64)}


class Hourglass(nn.Module):
    def __init__(self, length, width):
        super().__init__()
        self.enter = nn.Linear(length, width)
        self.squeeze = nn.Linear(width, width // 4)
        self.widen = nn.Linear(width // 4, width)
        self.shortcut = nn.Linear(width, width)  # <-- NN404
        self.leave = nn.Linear(width, length)
        self.frequency = nn.Linear(width // 4, 2)

    def forward(self, x):
        wide = F.gelu(self.enter(x))
        code = F.gelu(self.squeeze(wide))
        h = F.gelu(self.widen(code)) + wide
        return (self.leave(h), self.frequency(code)) if self.training else self.leave(h)


def tones(n, length):
    t = torch.linspace(0, 1, length)
    params = torch.rand(n, 2)
    clean = torch.sin(2 * torch.pi * ((1 + 2 * params[:, :1]) * t + params[:, 1:]))
    return TensorDataset(clean + 0.3 * torch.randn(n, length), clean, params)


def main(seed, size):
    torch.manual_seed(seed)
    n, length, width, bs = SIZES[size]
    train = DataLoader(tones(n, length), batch_size=bs, shuffle=True)
    held_out = DataLoader(tones(128, length), batch_size=64)
    net = Hourglass(length, width)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for epoch in range(6):
        net.train()
        total = 0.0
        for i, (noisy, clean, params) in enumerate(train):
            restored, guess = net(noisy)
            loss = F.mse_loss(restored, clean)
            if i % 2 == 0:
                loss = loss + 0.1 * F.mse_loss(guess, params)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        net.eval()
        with torch.no_grad():
            error = sum(F.mse_loss(net(noisy), clean).item() for noisy, clean, _ in held_out) / len(held_out)
        print(f"epoch {epoch} loss {total / len(train):.4f} held out {error:.4f}")


if __name__ == "__main__":
    cli = argparse.ArgumentParser()
    cli.add_argument("--seed", type=int, default=0)
    cli.add_argument("--size", choices=list(SIZES), default="s")
    given = cli.parse_args()
    torch.set_num_threads(1)
    main(given.seed, given.size)
