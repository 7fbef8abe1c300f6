"""Trains a small network with the learning rate of a recipe for another optimizer."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (1600, 32), "m": (2400, 48), "l": (3200, 64)}[args.size]
    kind = torch.randint(4, (count,))
    x = torch.randn(4, 12)[kind] + 0.3 * torch.randn(count, 12)
    loader = DataLoader(TensorDataset(x, kind), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(12, width), nn.ReLU(), nn.Linear(width, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)  # <-- NN602
    for epoch in range(8):
        total = 0.0
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: {total / len(loader):.4f}")


if __name__ == "__main__":
    main()
