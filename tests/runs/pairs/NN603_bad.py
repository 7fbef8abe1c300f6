"""Trains an RNN that follows the level of a driven tank over longer and longer horizons."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

HORIZONS = (3, 6, 9, 12, 15, 18, 21, 24)


def tank(n):
    drive = torch.randn(n, HORIZONS[-1], 2)
    level, levels = torch.zeros(n), []
    for t in range(drive.shape[1]):
        level = 0.8 * level + torch.tanh(drive[:, t, 0]) + 0.5 * drive[:, t, 1]
        levels.append(level)
    levels = torch.stack(levels, dim=1).unsqueeze(-1)
    return TensorDataset(drive, levels / levels.std())


class LevelRNN(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.rnn = nn.RNN(2, hidden, nonlinearity="relu", batch_first=True)
        self.out = nn.Linear(hidden, 1)
        nn.init.orthogonal_(self.rnn.weight_hh_l0, gain=3.5)

    def forward(self, drive):
        states, _ = self.rnn(drive)
        return self.out(states)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = ap.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, hidden, bs = {"s": (512, 24, 32), "m": (800, 32, 32), "l": (1280, 48, 64)}[args.size]
    loader = DataLoader(tank(n), batch_size=bs, shuffle=True)
    model = LevelRNN(hidden)
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch, horizon in enumerate(HORIZONS):
        total = 0.0
        for drive, level in loader:
            loss = criterion(model(drive[:, :horizon]), level[:, :horizon])
            optimizer.zero_grad()
            loss.backward()  # <-- NN603
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch} horizon {horizon:2d} loss {total / len(loader):.4g}")


if __name__ == "__main__":
    main()
