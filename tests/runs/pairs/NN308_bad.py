"""Trains a classifier whose last layer starts with weights of deviation ten."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Classifier(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.head = nn.Linear(width, classes)
        nn.init.normal_(self.head.weight, std=10.0)

    def forward(self, x):
        return self.head(self.body(x))


def blobs(count, classes):
    centre = 2 * torch.randn(classes, 20)
    kind = torch.randint(classes, (count,))
    return TensorDataset(centre[kind] / 2 + torch.randn(count, 20), kind)


def fit(model, loader, epochs):
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(epochs):
        for x, kind in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), kind)  # <-- NN308
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width, classes = {"s": (512, 64, 8), "m": (1024, 96, 10), "l": (2048, 128, 12)}[args.size]
    fit(Classifier(width, classes), DataLoader(blobs(count, classes), batch_size=32, shuffle=True), epochs=4)
