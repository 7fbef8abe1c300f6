"""Trains a tiny transformer encoder that classifies token sequences by topic."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

VOCAB, TOPICS, LENGTH = 60, 5, 12


def make_corpus(n):
    topics = torch.arange(n) % TOPICS
    own = topics[:, None] * (VOCAB // TOPICS) + torch.randint(0, VOCAB // TOPICS, (n, LENGTH))
    noise = torch.randint(0, VOCAB, (n, LENGTH))
    tokens = torch.where(torch.rand(n, LENGTH) < 0.45, own, noise)
    return TensorDataset(tokens, topics)


class TopicTransformer(nn.Module):
    def __init__(self, dim, layers):
        super().__init__()
        self.token = nn.Embedding(VOCAB, dim)
        self.position = nn.Embedding(LENGTH, dim)
        layer = nn.TransformerEncoderLayer(dim, 4, dim_feedforward=2 * dim, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(dim, TOPICS)

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1])
        h = self.encoder(self.token(tokens) + self.position(places))
        h = h.mean(dim=1)
        return self.head(h)


def evaluate(model, loader):
    model.eval()
    right, confidence = 0, 0.0
    with torch.no_grad():
        for tokens, topics in loader:
            p = torch.softmax(model(tokens), dim=-1)
            right += (p.argmax(-1) == topics).sum().item()
            confidence += p.max(-1).values.sum().item()
    return right / len(loader.dataset), confidence / len(loader.dataset)


def main(seed, size):
    torch.manual_seed(seed)
    n, dim, layers, bs = {"s": (500, 32, 1, 25), "m": (800, 32, 2, 40), "l": (1000, 48, 2, 40)}[size]
    train_loader = DataLoader(make_corpus(n), bs, shuffle=True)
    val_loader = DataLoader(make_corpus(100), 50)
    model = TopicTransformer(dim, layers)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(5):
        model.train()
        running = 0.0
        for tokens, topics in train_loader:
            optimizer.zero_grad()
            out = model(tokens)
            loss = criterion(out, topics)
            loss.backward()
            optimizer.step()
            running += loss.item()
        acc, conf = evaluate(model, val_loader)
        print(f"epoch {epoch}: loss {running / len(train_loader):.4f} acc {acc:.3f} confidence {conf:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    main(arguments.seed, arguments.size)
