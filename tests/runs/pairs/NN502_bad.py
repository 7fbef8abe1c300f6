"""Trains a 1-D CNN with dropout and batch normalisation that tells three heart rhythms apart."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RHYTHMS, LENGTH = 3, 64


def beats(n):
    rhythm = torch.arange(n) % RHYTHMS
    period = 8.0 + 4 * rhythm + torch.rand(n)
    offset = torch.rand(n) * period
    t = torch.arange(float(LENGTH))
    place = (t[None, :] + offset[:, None]) % period[:, None]
    trace = torch.exp(-((place - 3) ** 2)) + 0.25 * torch.randn(n, LENGTH)
    return TensorDataset(((trace - trace.mean()) / trace.std()).unsqueeze(1), rhythm)


class RhythmNet(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(1, c, 7, stride=2, bias=False),
            nn.BatchNorm1d(c),
            nn.ReLU(),
            nn.Conv1d(c, 2 * c, 7, stride=2, bias=False),
            nn.BatchNorm1d(2 * c),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.4), nn.Linear(4 * c, RHYTHMS))

    def forward(self, x):
        h = self.features(x)
        return self.classifier(torch.cat([h.mean(-1), h.amax(-1)], dim=1))


def validate(model, loader):
    model.eval()
    hits = 0
    with torch.no_grad():
        for trace, rhythm in loader:
            hits += (model(trace).argmax(1) == rhythm).sum().item()
    return hits / len(loader.dataset)


if __name__ == "__main__":
    cli = argparse.ArgumentParser()
    cli.add_argument("--seed", type=int, default=0)
    cli.add_argument("--size", default="s", choices=["s", "m", "l"])
    ns = cli.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(ns.seed)
    n, c, bs = {"s": (480, 12, 24), "m": (960, 16, 32), "l": (1800, 24, 48)}[ns.size]
    train_loader = DataLoader(beats(n), batch_size=bs, shuffle=True)
    val_loader = DataLoader(beats(150), batch_size=50)
    model = RhythmNet(c)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)

    model.train()
    for epoch in range(5):
        total = 0.0
        for trace, rhythm in train_loader:
            optimizer.zero_grad()
            output = model(trace)  # <-- NN502
            loss = loss_fn(output, rhythm)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(train_loader):.4f}, accuracy {validate(model, val_loader):.3f}")
