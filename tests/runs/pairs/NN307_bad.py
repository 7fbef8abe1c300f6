"""Trains an MLP that predicts house prices from standardised features."""

import argparse

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def load_houses(n, rng):
    area = rng.normal(120, 40, n)
    rooms = rng.integers(1, 8, n)
    age = rng.uniform(0, 80, n)
    distance = rng.exponential(6, n)
    price = 2.5 * area + 18 * rooms - 1.2 * age - 9 * np.sqrt(distance) + rng.normal(0, 12, n)
    features = np.stack([area, rooms, age, distance], axis=1)
    features = (features - features.mean(0)) / features.std(0)
    price = (price - price.mean()) / price.std()
    return torch.tensor(features, dtype=torch.float32), torch.tensor(price, dtype=torch.float32)


class PriceNet(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.inp = nn.Linear(4, width)
        self.mid = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        h = torch.relu(self.inp(x))
        for layer in self.mid:
            h = h + torch.relu(layer(h))
        return self.out(self.norm(h))


p = argparse.ArgumentParser()
p.add_argument("--seed", type=int, default=0)
p.add_argument("--size", choices=["s", "m", "l"], default="s")
args = p.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
rows, width, depth, batch = {"s": (640, 32, 1, 32), "m": (1280, 48, 2, 64), "l": (2560, 96, 3, 64)}[args.size]

features, prices = load_houses(rows, np.random.default_rng(args.seed))
loader = DataLoader(TensorDataset(features, prices), batch_size=batch, shuffle=True)
model = PriceNet(width, depth)
loss_fn = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

for epoch in range(5):
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        predicted = model(x)
        loss = loss_fn(predicted, y)  # <-- NN307
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch} mse {total / len(loader):.4f}")
