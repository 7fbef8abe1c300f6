"""Contrastive learning against a queue of earlier keys, with a slowly moving key encoder."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Contrast(nn.Module):
    """Query and key encoder, and the latest keys."""

    def __init__(self, inputs, width, length):
        super().__init__()
        self.query = nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, width))
        self.key = nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, width))
        for slow, fast in zip(self.key.parameters(), self.query.parameters(), strict=True):
            slow.data.copy_(fast.data)
            slow.requires_grad = False
        self.register_buffer("queue", F.normalize(torch.randn(length, width), dim=1))
        self.place = 0

    def forward(self, one, other):
        q = F.normalize(self.query(one), dim=1)
        with torch.no_grad():
            for slow, fast in zip(self.key.parameters(), self.query.parameters(), strict=True):
                slow.mul_(0.99).add_(fast, alpha=0.01)
            k = F.normalize(self.key(other), dim=1)
        alike = (q * k).sum(dim=1, keepdim=True)
        others = q @ self.queue.clone().T
        with torch.no_grad():
            self.queue[self.place : self.place + len(k)] = k
            self.place = (self.place + len(k)) % len(self.queue)
        return torch.cat([alike, others], dim=1) / 0.2


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
scale = {"s": 1, "m": 2, "l": 4}[args.size]

x = torch.randn(640 * scale, 16)
model = Contrast(16, 8, 256)
optimizer = torch.optim.SGD(model.query.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
for epoch in range(6):
    total = 0.0
    for (clean,) in DataLoader(TensorDataset(x), batch_size=32, shuffle=True, drop_last=True):
        logits = model(clean + 0.1 * torch.randn_like(clean), clean + 0.1 * torch.randn_like(clean))
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch}: {total:.3f}")
