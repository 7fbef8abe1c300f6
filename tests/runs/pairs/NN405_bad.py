"""Trains a residual MLP that detects rare-looking but balanced events in sensor windows."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class EventNet(nn.Module):
    def __init__(self, n_in, width):
        super().__init__()
        self.first = nn.Linear(n_in, width)
        self.middle = nn.Linear(width, width)  # <-- NN405
        self.last = nn.Linear(width, width)
        self.out = nn.Linear(width, 1)
        nn.init.constant_(self.middle.bias, -20.0)
        nn.init.constant_(self.out.bias, -1.0)

    def forward(self, x):
        h = torch.relu(self.first(x))
        h = h + torch.relu(self.middle(h))
        h = h + torch.relu(self.last(h))
        return self.out(h).squeeze(1)


def windows(n, n_in):
    event = (torch.arange(n) % 2).float()
    x = torch.randn(n, n_in)
    start = torch.randint(0, n_in - 6, (n,))
    bump = torch.tensor([0.5, 1.0, 1.5, 1.5, 1.0, 0.5])
    x.scatter_add_(1, start[:, None] + torch.arange(6), event[:, None] * bump)
    return TensorDataset((x - x.mean(0)) / x.std(0), event)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, n_in, width, bs = {"s": (640, 16, 48, 32), "m": (960, 20, 64, 32), "l": (1920, 24, 96, 64)}[args.size]
    train_loader = DataLoader(windows(n, n_in), batch_size=bs, shuffle=True)
    test_loader = DataLoader(windows(200, n_in), batch_size=100)
    net = EventNet(n_in, width)
    loss_fn = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(10):
        net.train()
        total = 0.0
        for x, event in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(net(x), event)
            loss.backward()
            optimizer.step()
            total += loss.item()
        net.eval()
        with torch.no_grad():
            hits = sum(((net(x) > 0) == event.bool()).sum().item() for x, event in test_loader)
        print(f"epoch {epoch:2d} loss {total / len(train_loader):.4f} accuracy {hits / 200:.3f}")


if __name__ == "__main__":
    main()
