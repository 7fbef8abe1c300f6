"""Trains a regressor of house prices on columns as they stand in the table."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def houses(count):
    area = 40 + 200 * torch.rand(count)
    year = 1900 + 120 * torch.rand(count)
    distance = 30_000 * torch.rand(count)
    table = torch.stack([area, year, distance, area * torch.rand(count)], dim=1)
    price = area / 100 + (year - 1960) / 80 - distance / 20_000 + 0.1 * torch.randn(count)
    return table, price.unsqueeze(1)


class Regressor(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(4, width)  # <-- NN205
        self.second = nn.Linear(width, width)
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        return self.out(torch.relu(self.second(torch.relu(self.first(x)))))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (512, 24), "m": (1024, 32), "l": (2048, 48)}[args.size]
    table, price = houses(count)
    model = Regressor(width)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for epoch in range(5):
        for x, y in DataLoader(TensorDataset(table, price), batch_size=32, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.l1_loss(model(x), y)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
