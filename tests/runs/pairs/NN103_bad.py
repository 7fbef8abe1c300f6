"""Fits a regression MLP to a noisy nonlinear function of ten variables."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_dataset(n):
    x = torch.randn(n, 10)
    y = torch.sin(x[:, 0]) + x[:, 1] * 0.8 - 0.5 * x[:, 2].abs() + 0.05 * torch.randn(n)
    return TensorDataset(x, ((y - y.mean()) / y.std()).unsqueeze(1))


def make_loader(dataset, batch_size, seed):
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(dataset, batch_size=batch_size, shuffle=True, generator=generator)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--size", choices=("s", "m", "l"), default="s")
    args = ap.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    n, width, batch_size = {"s": (512, 32, 32), "m": (1024, 64, 32), "l": (2048, 128, 64)}[args.size]
    dataset = make_dataset(n)
    steps_per_epoch = n // batch_size
    net = nn.Sequential(nn.Linear(10, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-4)
    mse = nn.MSELoss()

    for epoch in range(5):
        running = 0.0
        for _ in range(steps_per_epoch):
            x, y = next(iter(make_loader(dataset, batch_size, args.seed)))  # <-- NN103
            opt.zero_grad()
            loss = mse(net(x), y)
            loss.backward()
            opt.step()
            running += loss.item()
        print(f"epoch {epoch}  mse {running / steps_per_epoch:.4f}")


if __name__ == "__main__":
    main()
