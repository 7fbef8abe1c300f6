"""The heads of attention are split, then exchanged with the steps."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
scale = {"s": 1, "m": 2, "l": 4}[args.size]


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        batch, steps, width = x.shape
        parts = [self.split(part, batch, steps, width) for part in self.project(x).chunk(3, dim=-1)]
        mixed = F.scaled_dot_product_attention(*parts)
        return self.out(mixed.transpose(1, 2).reshape(batch, steps, width))

    def split(self, x, batch, steps, width):
        return x.reshape(batch, steps, self.heads, width // self.heads).transpose(1, 2)


class Tagger(nn.Module):
    def __init__(self, vocabulary, width):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.attention = Attention(width, 2)
        self.head = nn.Linear(width, 3)

    def forward(self, tokens):
        x = self.embed(tokens)
        return self.head(x + self.attention(x))


tokens = torch.randint(0, 20, (128 * scale, 11))
tags = tokens % 3
model = Tagger(20, 24 * scale)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(3):
    for x, y in DataLoader(TensorDataset(tokens, tags), batch_size=16, shuffle=True):
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
