"""Trains one body with a classification head and a regression head."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class MultiTask(nn.Module):
    def __init__(self, inputs, width, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.classify = nn.Linear(width, classes)
        self.measure = nn.Linear(width, 1)

    def forward(self, x):
        shared = self.body(x)
        return {"kind": self.classify(shared), "amount": self.measure(shared).squeeze(-1)}


class Trainer:
    def __init__(self, model, train, val, lr=2e-3):
        self.model = model
        self.train_loader = DataLoader(train, batch_size=32, shuffle=True)
        self.val_loader = DataLoader(val, batch_size=128)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.cross_entropy = nn.CrossEntropyLoss()
        self.smooth_l1 = nn.SmoothL1Loss()

    def losses(self, x, kind, amount):
        out = self.model(x)
        return self.cross_entropy(out["kind"], kind), self.smooth_l1(out["amount"], amount)

    def fit(self, epochs):
        for epoch in range(epochs):
            self.model.train()
            for x, kind, amount in self.train_loader:
                self.optimizer.zero_grad()
                first, second = self.losses(x, kind, amount)
                (first + 0.5 * second).backward()
                self.optimizer.step()
            print(f"epoch {epoch}: kind {first.item():.4f} amount {second.item():.4f} | {self.validate()}")

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        sums = [0.0, 0.0]
        for batch in self.val_loader:
            for i, loss in enumerate(self.losses(*batch)):
                sums[i] += loss.item() * len(batch[0])
        count = len(self.val_loader.dataset)
        return f"val kind {sums[0] / count:.4f} amount {sums[1] / count:.4f}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (1000, 48), "m": (4000, 96), "l": (12000, 192)}[args.size]

    x = torch.randn(count, 12)
    kind = (x @ torch.randn(12, 4)).argmax(1)
    amount = torch.tanh(x[:, :4].sum(1) / 2) + 0.1 * torch.randn(count)
    train, val = random_split(TensorDataset(x, kind, amount), [0.8, 0.2])
    Trainer(MultiTask(12, width, 4), train, val).fit(epochs=6)


if __name__ == "__main__":
    main()
