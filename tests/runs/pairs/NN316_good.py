"""Trains a tagger on sentences of unequal length, filled up with zeros."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

TAGS, WORDS = 6, 60


class Sentences(Dataset):
    def __init__(self, count, longest):
        self.lengths = torch.randint(3, longest + 1, (count,)).tolist()
        self.words = [torch.randint(1, WORDS, (n,)) for n in self.lengths]

    def __len__(self):
        return len(self.words)

    def __getitem__(self, index):
        words = self.words[index]
        return words, 1 + words % (TAGS - 1)


def collate(samples):
    words, tags = zip(*samples, strict=True)
    pad = nn.utils.rnn.pad_sequence
    return pad(list(words), batch_first=True), pad(list(tags), batch_first=True, padding_value=0)


class Tagger(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.embed = nn.Embedding(WORDS, width, padding_idx=0)
        self.rnn = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, TAGS)

    def forward(self, words):
        return self.out(self.rnn(self.embed(words))[0])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, longest, width = {"s": (480, 14, 16), "m": (960, 18, 24), "l": (1440, 20, 32)}[args.size]
    loader = DataLoader(Sentences(count, longest), batch_size=32, shuffle=True, collate_fn=collate)
    model = Tagger(width)
    criterion = nn.CrossEntropyLoss(ignore_index=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(3):
        for words, tags in loader:
            optimizer.zero_grad()
            loss = criterion(model(words).flatten(0, 1), tags.flatten())
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
