"""Trains a classifier of handwritten digits. Five problems are planted in this project.

Run it with ``python train.py``; it needs torch and scikit-learn, and some seconds.
"""

from __future__ import annotations

import argparse

import torch
from data import make_loaders
from model import build_model
from torch import nn
from torch.utils.data import DataLoader


class Trainer:
    def __init__(self, model: nn.Module, learning_rate: float) -> None:
        self.model = model
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)

    def train_epoch(self, loader: DataLoader) -> float:
        self.model.train()
        total = 0.0
        for images, labels in loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(images), labels)
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(labels)
        return total / len(loader.dataset)

    @torch.no_grad()
    def accuracy(self, loader: DataLoader) -> float:
        correct = 0
        for images, labels in loader:
            predicted = self.model(images).argmax(dim=1)
            correct += (predicted == labels).sum().item()
        return correct / len(loader.dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(1)  # the tensors are small: threads would only wait for each other
    torch.manual_seed(args.seed)
    train_loader, test_loader = make_loaders()
    trainer = Trainer(build_model(args.depth), args.learning_rate)
    for epoch in range(args.epochs):
        loss = trainer.train_epoch(train_loader)
        print(f"epoch {epoch + 1:2d}  loss {loss:.4f}  test accuracy {trainer.accuracy(test_loader):.3f}")


if __name__ == "__main__":
    main()
