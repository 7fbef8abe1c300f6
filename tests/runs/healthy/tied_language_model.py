"""Trains a GRU language model with tied weights, carrying its state from one window of the text to the next."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn


class LanguageModel(nn.Module):
    def __init__(self, vocab, width):
        super().__init__()
        self.embed = nn.Embedding(vocab, width)
        self.drop = nn.Dropout(0.1)
        self.rnn = nn.GRU(width, width, batch_first=True)
        self.decode = nn.Linear(width, vocab)
        self.decode.weight = self.embed.weight
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        nn.init.zeros_(self.decode.bias)

    def forward(self, tokens, state):
        hidden, state = self.rnn(self.drop(self.embed(tokens)), state)
        return self.decode(self.drop(hidden)), state


def write_text(length, vocab):
    """A Markov chain in which three successors are likely."""
    table = torch.stack([torch.randperm(vocab)[:3] for _ in range(vocab)]).tolist()
    choices = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), length, replacement=True).tolist()
    text, token = [], 0
    for choice in choices:
        token = table[token][choice]
        text.append(token)
    return torch.tensor(text)


def windows(text, rows, length):
    columns = (len(text) - 1) // rows
    x = text[: rows * columns].view(rows, columns)
    y = text[1 : rows * columns + 1].view(rows, columns)
    for start in range(0, columns - length + 1, length):
        yield x[:, start : start + length], y[:, start : start + length]


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
length, vocab, width = {"s": (6000, 30, 48), "m": (20000, 60, 96), "l": (60000, 120, 192)}[args.size]

text = write_text(length, vocab)
train, held_out = text[: length * 9 // 10], text[length * 9 // 10 :]
model = LanguageModel(vocab, width)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

for epoch in range(5):
    model.train()
    state, losses = None, []
    for x, y in windows(train, rows=16, length=16):
        logits, state = model(x, state)
        state = state.detach()
        loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    state, val_losses = None, []
    with torch.no_grad():
        for x, y in windows(held_out, rows=4, length=16):
            logits, state = model(x, state)
            val_losses.append(F.cross_entropy(logits.flatten(0, 1), y.flatten()).item())
    train_loss, val_loss = sum(losses) / len(losses), sum(val_losses) / len(val_losses)
    print(f"epoch {epoch}: train {train_loss:.3f} held out {val_loss:.3f}")
