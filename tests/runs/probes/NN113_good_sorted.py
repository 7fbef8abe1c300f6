"""The collate function sorts whole samples by length."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
scale = {"s": 1, "m": 2, "l": 4}[args.size]


class Words(Dataset):
    def __init__(self, count):
        self.lengths = torch.randint(3, 12, (count,)).tolist()
        self.texts = [torch.randint(1, 30, (n,)) for n in self.lengths]
        self.scores = [text.float().mean() / 30 for text in self.texts]

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, index):
        return self.texts[index], self.scores[index]


def pad(batch):
    texts, scores = zip(*sorted(batch, key=lambda sample: -len(sample[0])), strict=True)
    return nn.utils.rnn.pad_sequence(texts, batch_first=True), torch.stack(scores)


class Regressor(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.embed = nn.Embedding(30, width, padding_idx=0)
        self.out = nn.Linear(width, 1)

    def forward(self, tokens):
        return self.out(self.embed(tokens).mean(1)).squeeze(1)


loader = DataLoader(Words(160 * scale), batch_size=16, shuffle=True, collate_fn=pad)
model = Regressor(16 * scale)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for _ in range(2):
    for tokens, scores in loader:
        loss = F.mse_loss(model(tokens), scores)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
