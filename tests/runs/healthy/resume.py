"""Trains half of the epochs, saves everything, and resumes with new objects from the checkpoint."""

import argparse
import os
import tempfile

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Trainer:
    def __init__(self, dataset, width):
        self.model = nn.Sequential(nn.Linear(7, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.head = nn.Linear(width, 2)
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam([*self.model.parameters(), *self.head.parameters()], lr=5e-3)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, step_size=3, gamma=0.5)
        self.loader = DataLoader(dataset, batch_size=32, shuffle=True)
        self.epoch = 0

    def train_until(self, epochs):
        while self.epoch < epochs:
            self.model.train()
            self.head.train()
            total = 0.0
            for x, y in self.loader:
                self.optimizer.zero_grad()
                loss = self.criterion(self.head(self.model(x)), y)
                loss.backward()
                self.optimizer.step()
                total += loss.item()
            self.scheduler.step()
            print(f"epoch {self.epoch}: {total / len(self.loader):.4f}")
            self.epoch += 1

    def save(self, path):
        parts = ("model", "head", "optimizer", "scheduler")
        torch.save({"epoch": self.epoch, **{name: getattr(self, name).state_dict() for name in parts}}, path)

    def load(self, path):
        checkpoint = torch.load(path, weights_only=True)
        self.epoch = checkpoint.pop("epoch")
        for name, state in checkpoint.items():
            getattr(self, name).load_state_dict(state)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (640, 32), "m": (3200, 64), "l": (9600, 128)}[args.size]
    x = torch.randn(count, 7)
    energy = x.pow(2) @ torch.rand(7)
    y = (energy > energy.median()).long()
    dataset = TensorDataset(x, y)

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "last.pt")
        first = Trainer(dataset, width)
        first.train_until(4)
        first.save(path)
        second = Trainer(dataset, width)
        second.load(path)
        print(f"resumed at epoch {second.epoch}")
        second.train_until(8)


if __name__ == "__main__":
    main()
