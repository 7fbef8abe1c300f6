"""Trains a denoiser with a learning rate left over from another optimizer."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Denoiser(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.encode = nn.Linear(32, width)  # <-- NN601 (likely)
        self.decode = nn.Linear(width, 32)

    def forward(self, x):
        return self.decode(torch.relu(self.encode(x)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width, batch = {"s": (1280, 48, 32), "m": (1920, 64, 48), "l": (2560, 96, 64)}[args.size]
    clean = torch.sin(torch.linspace(0, 6, 32) + 6 * torch.rand(count, 1))
    noisy = clean + 0.3 * torch.randn(count, 32)
    model = Denoiser(width)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    for epoch in range(4):
        for x, y in DataLoader(TensorDataset(noisy, clean), batch_size=batch, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
