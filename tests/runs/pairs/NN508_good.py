"""Trains a character LSTM on sentences from a tiny grammar."""

import argparse
import random

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

ALPHABET = "abcdefghijklmnopqrstuvwxyz "
WORDS = ["the cat", "a dog", "my bird", "sees", "likes", "finds", "one fish", "the moon", "some tea"]


class Sentences(Dataset):
    def __init__(self, n, length):
        self.rows = []
        for _ in range(n):
            text = ""
            while len(text) <= length:
                pick = [random.choice(WORDS[k : k + 3]) for k in (0, 3, 6)]
                text += " ".join(pick) + " "
            self.rows.append(torch.tensor([ALPHABET.index(ch) for ch in text[: length + 1]]))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i][:-1], self.rows[i][1:]


class CharLSTM(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.chars = nn.Embedding(len(ALPHABET), dim)
        self.lstm = nn.LSTM(dim, hidden, batch_first=True)
        self.out = nn.Linear(hidden, len(ALPHABET))

    def forward(self, ids):
        states, _ = self.lstm(self.chars(ids))
        return self.out(states)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    n, length, hidden, bs = {"s": (320, 18, 48, 16), "m": (480, 20, 64, 16), "l": (800, 24, 96, 32)}[args.size]
    loader = DataLoader(Sentences(n, length), batch_size=bs, shuffle=True)
    model = CharLSTM(16, hidden)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    criterion = nn.CrossEntropyLoss(reduction="sum")
    for epoch in range(5):
        total, characters = 0.0, 0
        for ids, following in loader:
            optimizer.zero_grad()
            loss = criterion(model(ids).flatten(0, 1), following.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=5.0)
            optimizer.step()
            total += loss.item()
            characters += following.numel()
        print(f"epoch {epoch}: loss {total / characters:.4f} per character")


if __name__ == "__main__":
    main()
