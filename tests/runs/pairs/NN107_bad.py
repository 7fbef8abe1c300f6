"""Trains a detector of faults in vibration spectra, where faults are rare."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SOUND, WORN, BROKEN = range(3)


def spectra(count):
    share = torch.tensor([0.94, 0.045, 0.015])
    kind = torch.multinomial(share, count, replacement=True)
    kind[:9] = torch.arange(9) % 3
    bins = torch.linspace(0, 1, 32)
    peaks = torch.exp(-200 * (bins - 0.2 - 0.25 * kind[:, None]) ** 2)
    return peaks + 0.25 * torch.randn(count, 32), kind


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (1500, 32), "m": (3000, 64), "l": (6000, 64)}[args.size]
    x, y = spectra(count)
    x = (x - x.mean(0)) / x.std(0)
    loader = DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True)  # <-- NN107
    model = nn.Sequential(nn.Linear(32, width), nn.ReLU(), nn.Linear(width, 3))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(4):
        model.train()
        total = 0.0
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            found = model(x).argmax(1)
        recall = [(found[y == k] == k).float().mean().item() for k in range(3)]
        print(f"epoch {epoch}: loss {total / len(loader):.4f}, recall {recall}")


if __name__ == "__main__":
    main()
