"""Learns embeddings with in-batch InfoNCE between two noisy views of each item."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class TwoViews(Dataset):
    def __init__(self, count, dim):
        factors = torch.randn(count, 6)
        self.items = torch.tanh(factors @ torch.randn(6, dim) / 2)

    def __len__(self):
        return len(self.items)

    def augment(self, item):
        return (item + 0.2 * torch.randn_like(item)) * (torch.rand_like(item) > 0.1)

    def __getitem__(self, index):
        return self.augment(self.items[index]), self.augment(self.items[index])


class Encoder(nn.Module):
    def __init__(self, dim, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(dim, width), nn.LayerNorm(width), nn.GELU(), nn.Linear(width, width))
        self.head = nn.Linear(width, 32, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return F.normalize(self.head(F.gelu(self.body(x))), dim=1)


def info_nce(model, a, b):
    logits = model(a) @ model(b).t() * model.log_scale.exp()
    labels = torch.arange(len(a))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)) / 2


def main(seed, size):
    torch.manual_seed(seed)
    count, dim, width = {"s": (768, 32, 64), "m": (2048, 64, 128), "l": (4096, 128, 256)}[size]
    loader = DataLoader(TwoViews(count, dim), batch_size=64, shuffle=True, drop_last=True)
    model = Encoder(dim, width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(8):
        total = 0.0
        for a, b in loader:
            loss = info_nce(model, a, b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: InfoNCE {total / len(loader):.4f}, scale {model.log_scale.exp().item():.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", default="s", choices=["s", "m", "l"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    main(arguments.seed, arguments.size)
