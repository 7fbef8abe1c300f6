"""Trains a factorisation model that predicts ratings of users for films."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SIZES = {"s": (1600, 30, 8, 32), "m": (2400, 40, 12, 40), "l": (4800, 60, 16, 64)}


class Ratings(nn.Module):
    def __init__(self, users, films, rank):
        super().__init__()
        self.user = nn.Embedding(users, rank)
        self.film = nn.Embedding(films, rank)
        self.bias = nn.Embedding(films, 1)
        for table in (self.user, self.film):
            nn.init.normal_(table.weight, std=0.3)

    def forward(self, user, film):
        return (self.user(user) * self.film(film)).sum(1) + self.bias(film).squeeze(1)


def ratings(n, people):
    taste, style = torch.randn(people, 3), torch.randn(people, 3)
    user, film = torch.randint(0, people, (n,)), torch.randint(0, people, (n,))
    stars = (taste[user] * style[film]).sum(1) + 0.1 * torch.randn(n)
    return TensorDataset(user, film, (stars - stars.mean()) / stars.std())


def fit(model, loader, epochs, lr):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    loss_fn = nn.MSELoss()
    for epoch in range(epochs):
        total = 0.0
        for user, film, stars in loader:
            loss = loss_fn(model(user, film), stars)
            optimizer.zero_grad()
            loss.backward()  # <-- NN608
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(loader):.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=list(SIZES), default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, people, rank, batch = SIZES[args.size]
    data = DataLoader(ratings(n, people), batch_size=batch, shuffle=True)
    fit(Ratings(people, people, rank), data, epochs=8, lr=1e-9)
