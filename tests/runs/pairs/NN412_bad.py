"""Trains a classifier whose last layer is made to the measure of what arrives."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, width), nn.ReLU())

    def forward(self, x):
        features = self.body(x)
        head = nn.Linear(features.shape[1], 3)  # <-- NN412
        return head(features)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (480, 16), "m": (960, 24), "l": (1920, 32)}[args.size]
    kind = torch.randint(3, (count,))
    x = 2 * torch.randn(3, 10)[kind] + torch.randn(count, 10)
    loader = DataLoader(TensorDataset(x, kind), batch_size=32, shuffle=True)
    model = Net(width)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(4):
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
