"""Trains an MLP on tabular clusters with a small Trainer class."""

import argparse
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


@dataclass
class Config:
    classes: int
    hidden: int
    epochs: int
    features: int = 20
    per_class: int = 24
    batch: int = 32


CONFIGS = {"s": Config(8, 48, 14), "m": Config(12, 64, 12), "l": Config(16, 128, 12)}


class ClusterSet(Dataset):
    """Gaussian clusters, stored class after class, each sample with its own noise level."""

    def __init__(self, cfg):
        centres = torch.randn(cfg.classes, cfg.features)
        self.labels = torch.arange(cfg.classes).repeat_interleave(cfg.per_class)
        self.difficulty = 0.2 + 0.6 * torch.rand(len(self.labels))
        noise = torch.randn(len(self.labels), cfg.features)
        rows = centres[self.labels] + self.difficulty[:, None] * noise
        self.rows = (rows - rows.mean(0)) / rows.std(0)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.rows[i], self.labels[i]


class Trainer:
    def __init__(self, cfg):
        self.cfg = cfg
        self.data = ClusterSet(cfg)
        self.net = nn.Sequential(
            nn.Linear(cfg.features, cfg.hidden),
            nn.ReLU(),
            nn.Linear(cfg.hidden, cfg.hidden),
            nn.ReLU(),
            nn.Linear(cfg.hidden, cfg.classes),
        )
        self.loss_fn = nn.CrossEntropyLoss()
        self.optim = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        self.loader = DataLoader(self.data, batch_size=cfg.batch, shuffle=False)  # <-- NN101

    def training_step(self, batch):
        rows, labels = batch
        self.optim.zero_grad()
        loss = self.loss_fn(self.net(rows), labels)
        loss.backward()
        self.optim.step()
        return loss.item()

    def fit(self):
        for epoch in range(self.cfg.epochs):
            losses = [self.training_step(batch) for batch in self.loader]
            print(f"[{epoch + 1}/{self.cfg.epochs}] loss={sum(losses) / len(losses):.4f}")


if __name__ == "__main__":
    cli = argparse.ArgumentParser()
    cli.add_argument("--seed", type=int, default=0)
    cli.add_argument("--size", default="s", choices=list(CONFIGS))
    opts = cli.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(opts.seed)
    Trainer(CONFIGS[opts.size]).fit()
