"""Fits a small network to a noisy wave with L-BFGS on the full batch."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()

torch.set_num_threads(1)
torch.manual_seed(args.seed)
points, width = {"s": (200, 16), "m": (1000, 32), "l": (4000, 64)}[args.size]

x = torch.linspace(-1, 1, points, dtype=torch.float64).unsqueeze(1)
x = x[torch.randperm(points)]
y = torch.sin(4 * x) + 0.3 * x**2 + 0.1 * torch.randn_like(x)
x_train, y_train = x[: points * 4 // 5], y[: points * 4 // 5]
x_val, y_val = x[points * 4 // 5 :], y[points * 4 // 5 :]

net = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)).double()
criterion = nn.MSELoss()
optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=4, history_size=10)


def closure():
    optimizer.zero_grad()
    loss = criterion(net(x_train), y_train) + 1e-4 * sum((p**2).sum() for p in net.parameters())
    loss.backward()
    return loss


for epoch in range(70):
    net.train()
    loss = optimizer.step(closure)
    if epoch % 10 == 0 or epoch == 69:
        net.eval()
        with torch.no_grad():
            val = criterion(net(x_val), y_val)
        print(f"epoch {epoch:3d} loss {loss.item():.5f} val {val.item():.5f}")
