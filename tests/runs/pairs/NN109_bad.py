"""Trains a tagger of short texts; one annotator in the pool answers at random."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

TOPICS, WORDS, LENGTH = 5, 200, 12


class Annotated(Dataset):
    def __init__(self, count):
        self.topic = torch.randint(TOPICS, (count,))
        own = torch.randint(WORDS // TOPICS, (count, LENGTH)) + self.topic[:, None] * (WORDS // TOPICS)
        common = torch.randint(WORDS, (count, LENGTH))
        self.text = torch.where(torch.rand(count, LENGTH) < 0.6, own, common)

    def __len__(self):
        return len(self.topic)

    def __getitem__(self, index):
        label = self.topic[index]
        if index % 10 == 0:
            label = torch.randint(TOPICS, ())
        return self.text[index], label


class Tagger(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.embed = nn.Embedding(WORDS, width)
        self.out = nn.Linear(width, TOPICS)

    def forward(self, text):
        return self.out(self.embed(text).mean(1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (600, 16), "m": (1200, 32), "l": (2400, 64)}[args.size]
    loader = DataLoader(Annotated(count), batch_size=40, shuffle=True)  # <-- NN109
    model = Tagger(width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(5):
        for text, label in loader:
            loss = criterion(model(text), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.3f}")


if __name__ == "__main__":
    main()
