"""The last states of both directions are joined with a view, which takes them from other samples."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
scale = {"s": 1, "m": 2, "l": 4}[args.size]


class Sentiment(nn.Module):
    def __init__(self, vocabulary, width):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.rnn = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, 2)

    def forward(self, tokens):
        _, state = self.rnn(self.embed(tokens))
        joined = state.view(tokens.size(0), -1)  # <-- NN408
        return self.head(joined)


tokens = torch.randint(0, 30, (160 * scale, 9))
labels = (tokens[:, 0] > 14).long()
model = Sentiment(30, 12 * scale)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for _ in range(3):
    for x, y in DataLoader(TensorDataset(tokens, labels), batch_size=20, shuffle=True):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
