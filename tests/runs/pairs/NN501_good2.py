"""Trains an MLP on synthetic gene expressions with a Trainer that validates and keeps the best weights."""

import argparse
import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def mlp(genes, hidden, types):
    return nn.Sequential(
        nn.Linear(genes, hidden, bias=False),
        nn.LayerNorm(hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, types),
    )


@torch.no_grad()
def evaluate(model, loader):
    """Mean loss and accuracy over a loader."""
    loss, right, seen = 0.0, 0, 0
    for genes, kind in loader:
        output = model(genes)
        loss += nn.functional.cross_entropy(output, kind).item() * len(kind)
        right += output.argmax(-1).eq(kind).sum().item()
        seen += len(kind)
    return loss / seen, right / seen


class Trainer:
    def __init__(self, model, train_set, val_set, batch_size):
        self.model = model
        self.train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True, drop_last=True)
        self.val_loader = DataLoader(val_set, batch_size=64)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
        self.best = (float("inf"), None)

    def fit_epoch(self):
        total = 0.0
        for genes, kind in self.train_loader:
            loss = nn.functional.cross_entropy(self.model(genes), kind)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.train_loader)

    def fit(self, epochs):
        for epoch in range(epochs):
            train_loss = self.fit_epoch()
            val_loss, accuracy = evaluate(self.model, self.val_loader)
            if val_loss < self.best[0]:
                self.best = (val_loss, copy.deepcopy(self.model.state_dict()))
            print(f"epoch {epoch}: loss {train_loss:.4f} val {val_loss:.4f} acc {accuracy:.3f}")
        self.model.load_state_dict(self.best[1])


def expressions(n, genes, types):
    kind = torch.arange(n) % types
    profile = 0.5 * torch.randn(types, genes)
    x = profile[kind] + torch.randn(n, genes)
    return TensorDataset((x - x.mean(0)) / x.std(0), kind)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = ap.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, genes, hidden, bs = {"s": (900, 30, 48, 32), "m": (1400, 40, 64, 32), "l": (2600, 60, 128, 64)}[args.size]
    train_set, val_set = random_split(expressions(n, genes, 5), [n - 200, 200])
    Trainer(mlp(genes, hidden, 5), train_set, val_set, bs).fit(epochs=5)


if __name__ == "__main__":
    main()
