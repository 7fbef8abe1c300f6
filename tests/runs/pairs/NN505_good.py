"""Trains a GRU that forecasts the next value of a damped oscillation."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Forecaster(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.line = nn.Linear(hidden, 1)

    def forward(self, past):
        _, last = self.gru(past)
        return self.line(last.squeeze(0))


def oscillations(n, steps):
    t = torch.arange(float(steps + 1))
    frequency = 0.3 + 0.5 * torch.rand(n, 1)
    phase = 6.28 * torch.rand(n, 1)
    waves = torch.exp(-0.02 * t) * torch.sin(frequency * t + phase)
    waves = (waves - waves.mean()) / waves.std() + 0.02 * torch.randn(n, steps + 1)
    return TensorDataset(waves[:, :-1, None], waves[:, -1:])


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
n, steps, hidden, batch = {"s": (640, 14, 24, 8), "m": (960, 16, 32, 8), "l": (1600, 20, 48, 16)}[args.size]
ACCUMULATE = 4

loader = DataLoader(oscillations(n, steps), batch_size=batch, shuffle=True)
model = Forecaster(hidden)
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
optimizer.zero_grad()

for epoch in range(5):
    epoch_loss = 0.0
    for i, (past, future) in enumerate(loader, start=1):
        loss = criterion(model(past), future)
        (loss / ACCUMULATE).backward()
        if i % ACCUMULATE == 0:
            optimizer.step()
            optimizer.zero_grad()
        epoch_loss += loss.item()
    print(f"epoch {epoch}: loss {epoch_loss / len(loader):.4f}")
