"""Trains an LSTM on sequences that a loader gives as (samples, steps, features)."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Reader(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.lstm = nn.LSTM(4, width)  # <-- NN421
        self.out = nn.Linear(width, 2)

    def forward(self, x):
        states, _ = self.lstm(x)
        return self.out(states[:, -1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width, length = {"s": (480, 12, 10), "m": (960, 16, 14), "l": (1920, 24, 20)}[args.size]
    x = torch.randn(count, length, 4)
    y = (x[:, :, 0].sum(1) > 0).long()
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = Reader(width)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(3):
        for sequence, label in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(sequence), label)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
