"""An autoencoder with a codebook: gradients pass the choice of a code as if it were the identity."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Codes(nn.Module):
    def __init__(self, count, width):
        super().__init__()
        self.book = nn.Embedding(count, width)
        nn.init.uniform_(self.book.weight, -1, 1)

    def forward(self, z):
        nearest = torch.cdist(z, self.book.weight).argmin(dim=1)
        code = self.book(nearest)
        loss = F.mse_loss(code, z.detach()) + 0.25 * F.mse_loss(z, code.detach())
        return z + (code - z).detach(), loss


class Autoencoder(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(inputs, 48), nn.ReLU(), nn.Linear(48, width))
        self.codes = Codes(32, width)
        self.decode = nn.Sequential(nn.Linear(width, 48), nn.ReLU(), nn.Linear(48, inputs))

    def forward(self, x):
        code, loss = self.codes(self.encode(x))
        return self.decode(code), loss


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
scale = {"s": 1, "m": 2, "l": 4}[args.size]

centres = torch.randn(12, 10)
x = centres[torch.randint(0, 12, (768 * scale,))] + 0.1 * torch.randn(768 * scale, 10)
model = Autoencoder(10, 6)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for epoch in range(10):
    total = 0.0
    for (batch,) in DataLoader(TensorDataset(x), batch_size=48, shuffle=True):
        made, commitment = model(batch)
        loss = F.mse_loss(made, batch) + commitment
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch}: {total:.3f}")
