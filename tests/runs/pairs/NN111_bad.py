"""Trains a classifier of gestures whose files number the gestures from one."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

GESTURES = 6


def recordings(n):
    kind = torch.randint(GESTURES, (n,))
    time = torch.linspace(0, 1, 40)
    waves = torch.sin(2 * torch.pi * (1 + kind[:, None]) * time + torch.rand(n, 1))
    return waves + 0.1 * torch.randn(n, 40), kind + 1


class Recogniser(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(40, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.scores = nn.Linear(width, GESTURES)

    def forward(self, wave):
        return self.scores(self.features(wave))


def fit(model, loader, epochs):
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    model.train()
    for epoch in range(epochs):
        for wave, gesture in loader:
            optimizer.zero_grad()
            loss = criterion(model(wave), gesture)  # <-- NN111
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, width, bs = {"s": (512, 32, 16), "m": (1024, 64, 32), "l": (2048, 128, 64)}[args.size]
    fit(Recogniser(width), DataLoader(TensorDataset(*recordings(n)), batch_size=bs, shuffle=True), epochs=4)
