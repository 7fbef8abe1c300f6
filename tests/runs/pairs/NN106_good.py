"""Trains an LSTM that names the waveform of a noisy signal."""

import argparse
import random

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WAVES = 4


def signals(count, length):
    label = torch.arange(count) % WAVES
    t = torch.linspace(0, 1, length) + torch.rand(count, 1)
    phase = 2 * torch.pi * 2 * t
    sine, saw = torch.sin(phase), 2 * ((2 * t) % 1) - 1
    shapes = torch.stack([sine, torch.sign(sine), saw, -saw], dim=1)
    picked = shapes[torch.arange(count), label] + 0.1 * torch.randn(count, length)
    return (picked / picked.std()).unsqueeze(-1), label


class ClassBatches:
    """Yields lists of indices, drawn anew in every epoch."""

    def __init__(self, labels, batch_size):
        self.groups = [torch.nonzero(labels == c).flatten() for c in labels.unique()]
        self.batch_size = batch_size

    def __len__(self):
        return sum(len(g) for g in self.groups) // self.batch_size

    def __iter__(self):
        shuffled = [g[torch.randperm(len(g))] for g in self.groups]
        share = self.batch_size // len(self.groups)
        columns = zip(*(g.split(share) for g in shuffled), strict=True)
        batches = [torch.cat(parts).tolist() for parts in columns]
        random.shuffle(batches)
        return iter(batches)


class WaveLSTM(nn.Module):
    def __init__(self, hidden, layers):
        super().__init__()
        self.lift = nn.Linear(4, hidden)
        self.lstm = nn.LSTM(hidden, hidden, num_layers=layers, batch_first=True)
        self.readout = nn.Linear(hidden, WAVES)

    def forward(self, x):
        frames = x.squeeze(-1).unfold(1, 4, 2)
        states, _ = self.lstm(torch.tanh(self.lift(frames)))
        return self.readout(states.mean(dim=1))


def run(seed, size):
    random.seed(seed)
    torch.manual_seed(seed)
    count, length, hidden, layers, batch = {
        "s": (512, 24, 24, 1, 32),
        "m": (768, 24, 32, 1, 32),
        "l": (1024, 32, 32, 2, 64),
    }[size]
    x, y = signals(count, length)
    loader = DataLoader(TensorDataset(x, y), batch_sampler=ClassBatches(y, batch))
    model = WaveLSTM(hidden, layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    objective = nn.CrossEntropyLoss()
    for epoch in range(8):
        losses = []
        for xb, yb in loader:
            loss = objective(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch:2d}  loss {sum(losses) / len(losses):.4f}")


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--size", choices=["s", "m", "l"], default="s")
    ns = ap.parse_args()
    torch.set_num_threads(1)
    run(ns.seed, ns.size)
