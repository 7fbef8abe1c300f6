"""Trains a two-layer LSTM with dropout on packed sequences of different lengths."""

import argparse
import random

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader

VOCAB = 20


def sentence():
    words = np.random.randint(1, VOCAB, size=random.randint(4, 12))
    return torch.from_numpy(words), int(words[0] > VOCAB // 2)


def collate(rows):
    words, labels = zip(*rows, strict=True)
    words = [w.masked_fill(torch.rand(len(w)) < 0.05, 1) if random.random() < 0.3 else w for w in words]
    if np.random.rand() < 0.5:
        words = [torch.cat([w, w[-1:]]) for w in words]
    return pad_sequence(words, batch_first=True), torch.tensor([len(w) for w in words]), torch.tensor(labels)


class Classifier(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, width, padding_idx=0)
        self.lstm = nn.LSTM(width, width, num_layers=2, dropout=0.2, batch_first=True)
        self.out = nn.Linear(width, 2)

    def forward(self, words, lengths):
        packed = pack_padded_sequence(self.embed(words), lengths, batch_first=True, enforce_sorted=False)
        _, (hidden, _) = self.lstm(packed)
        return self.out(hidden[-1])


class Trainer:
    def __init__(self, out):
        self.out = out
        self.loader = DataLoader([sentence() for _ in range(400)], batch_size=25, shuffle=True, collate_fn=collate)
        self.model = Classifier(24)
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2, amsgrad=True)

    def run(self, epochs):
        for epoch in range(epochs):
            self.model.train()
            for words, lengths, labels in self.loader:
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(words, lengths), labels)
                loss.backward()
                nn.utils.clip_grad_value_(self.model.parameters(), 0.5)
                self.optimizer.step()
                print(epoch, repr(loss.item()))
        self.save()

    def save(self):
        torch.save(
            {
                "weights": {"model": self.model.state_dict()},
                "optimizers": {"adam": self.optimizer.state_dict()},
                "torch_rng": torch.get_rng_state(),
                "numpy_rng": np.random.get_state(),
                "python_rng": random.getstate(),
            },
            self.out,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    Trainer(args.out).run(epochs=6)
