"""Trains a GRU that detects which motif a symbol sequence holds, beside a frozen teacher."""

import argparse
import io

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SYMBOLS, LENGTH, MOTIFS = 12, 14, 4


def sequences(n):
    motifs = torch.randint(0, SYMBOLS, (MOTIFS, 5))
    label = torch.arange(n) % MOTIFS
    tokens = torch.randint(0, SYMBOLS, (n, LENGTH))
    starts = torch.randint(0, LENGTH - 5, (n,))
    tokens.scatter_(1, starts[:, None] + torch.arange(5), motifs[label])
    return TensorDataset(tokens, label)


class Teacher(nn.Module):
    """Symbol statistics that another run has fitted."""

    def __init__(self, dim):
        super().__init__()
        self.table = nn.EmbeddingBag(SYMBOLS, dim)

    def forward(self, tokens):
        return torch.tanh(self.table(tokens))


def load_teacher(dim):
    checkpoint = io.BytesIO()
    torch.save(Teacher(dim).state_dict(), checkpoint)
    checkpoint.seek(0)
    teacher = Teacher(dim)
    teacher.load_state_dict(torch.load(checkpoint, weights_only=True))
    for p in teacher.parameters():
        p.requires_grad = False
    return teacher.eval()


class Trainer:
    def __init__(self, hidden, lr):
        self.embed = nn.Embedding(SYMBOLS, hidden)
        self.rnn = nn.GRU(hidden, hidden, batch_first=True)
        self.out = nn.Linear(hidden, MOTIFS)
        self.imitate = nn.Linear(hidden, 8)
        self.teacher = load_teacher(8)
        top = [*self.out.parameters(), *self.imitate.parameters()]
        self.optimizer = torch.optim.Adam([{"params": self.rnn.parameters()}, {"params": top}], lr=lr)
        self.embed_optimizer = torch.optim.Adagrad(self.embed.parameters(), lr=0.05)

    def loss(self, tokens, label):
        states, last = self.rnn(self.embed(tokens))
        with torch.no_grad():
            hint = self.teacher(tokens)
        distil = nn.functional.mse_loss(self.imitate(states.mean(1)), hint)
        return nn.functional.cross_entropy(self.out(states.amax(1) + last[-1]), label) + 0.2 * distil

    def train(self, loader, epochs):
        for epoch in range(epochs):
            total = 0.0
            for tokens, label in loader:
                loss = self.loss(tokens, label)
                self.optimizer.zero_grad()
                self.embed_optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.embed_optimizer.step()
                total += loss.item()
            print(f"epoch {epoch} | loss {total / len(loader):.4f}")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--size", choices=["s", "m", "l"], default="s")
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    n, hidden, bs = {"s": (512, 32, 32), "m": (768, 48, 32), "l": (1280, 64, 64)}[a.size]
    Trainer(hidden, lr=1e-2).train(DataLoader(sequences(n), batch_size=bs, shuffle=True), epochs=8)
