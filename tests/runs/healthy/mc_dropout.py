"""Trains a regressor and measures its uncertainty with dropout left on, on purpose, while evaluating."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(width, 1),
        )

    def forward(self, x):
        return self.layers(x).squeeze(-1)


def enable_dropout(model):
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.train()


@torch.no_grad()
def predict(model, x, draws=20):
    model.eval()
    enable_dropout(model)
    samples = torch.stack([model(x) for _ in range(draws)])
    return samples.mean(0), samples.std(0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (640, 48), "m": (3200, 96), "l": (9600, 192)}[args.size]

    x = 2 * torch.rand(count + 200, 2) - 1
    y = torch.sin(3 * x[:, 0]) * x[:, 1] * 2 + 0.05 * torch.randn(len(x))
    loader = DataLoader(TensorDataset(x[:count], y[:count]), batch_size=32, shuffle=True)
    model = Net(width)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(8):
        model.train()
        total = 0.0
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs), targets)
            loss.backward()
            optimizer.step()
            total += loss.item()
        mean, spread = predict(model, x[count:])
        error = (mean - y[count:]).abs().mean().item()
        print(
            f"epoch {epoch}: mse {total / len(loader):.4f} | error {error:.4f} uncertainty {spread.mean().item():.4f}"
        )
    far = predict(model, 3 + torch.rand(100, 2))[1].mean().item()
    print(f"uncertainty far from the data {far:.4f}")


if __name__ == "__main__":
    main()
