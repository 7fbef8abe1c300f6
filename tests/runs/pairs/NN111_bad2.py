"""Trains a tagger on sequences of tokens; padding carries a label of its own that the loss does not know of."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

WORDS, TAGS, PAD = 60, 5, -1


def batch(n, length):
    words = torch.randint(1, WORDS, (n, length))
    tags = words % TAGS
    kept = torch.arange(length) < torch.randint(length // 2, length + 1, (n, 1))
    return words * kept, torch.where(kept, tags, PAD)


class Tagger(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.words = nn.Embedding(WORDS, width, padding_idx=0)
        self.context = nn.GRU(width, width, batch_first=True)
        self.tags = nn.Linear(width, TAGS)

    def forward(self, words):
        return self.tags(self.context(self.words(words))[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    steps, width, length = {"s": (60, 24, 10), "m": (90, 32, 12), "l": (120, 48, 16)}[args.size]
    model = Tagger(width)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.train()
    for step in range(steps):
        words, tags = batch(16, length)
        scores = model(words)
        loss = F.cross_entropy(scores.flatten(0, 1), tags.flatten())  # <-- NN111
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
