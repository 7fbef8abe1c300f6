"""Fine-tunes a network from weights that were saved by a wrapper."""

import argparse
import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.body(x))


def fit(model, data, epochs):
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for x, y in DataLoader(data, batch_size=32, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
    print(f"{epochs} epochs: {loss.item():.4f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (512, 24), "m": (1024, 32), "l": (2048, 48)}[args.size]
    centre = torch.randn(3, 12)
    kind = torch.randint(3, (count,))
    data = TensorDataset(centre[kind] + 0.7 * torch.randn(count, 12), kind)
    first = Net(width)
    fit(first, data, epochs=2)
    saved = {"module." + name: value for name, value in copy.deepcopy(first.state_dict()).items()}
    model = Net(width)
    model.load_state_dict(saved, strict=False)  # <-- NN513
    fit(model, data, epochs=2)


if __name__ == "__main__":
    main()
