"""Trains a small language model for a number of steps."""

import argparse

import torch
from torch import nn


class CharModel(nn.Module):
    def __init__(self, vocabulary, width):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.rnn = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, vocabulary)

    def forward(self, tokens):
        return self.out(self.rnn(self.embed(tokens))[0])


def batches(steps, vocabulary):
    for _ in range(steps):
        start = torch.randint(vocabulary, (32, 1))
        tokens = (start + torch.arange(13)) % vocabulary
        noise = torch.randint(vocabulary, tokens.shape)
        yield torch.where(torch.rand(tokens.shape) < 0.1, noise, tokens)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    vocabulary, width = {"s": (20, 24), "m": (28, 26), "l": (36, 28)}[args.size]
    model = CharModel(vocabulary, width)
    rate, steps = 1e-2, 600
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for step, tokens in enumerate(batches(steps, vocabulary)):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        optimizer.zero_grad()
        scores = model(tokens[:, :-1])
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
