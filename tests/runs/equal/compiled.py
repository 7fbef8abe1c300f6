"""Trains a compiled model (eager backend) with dropout and batch normalisation."""

import argparse
import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(12, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(0.2)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, 1)

    def forward(self, x):
        x = self.drop(torch.relu(self.norm(self.first(x))))
        x = x + torch.tanh(self.second(x))
        return self.last(x).squeeze(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)

    x = torch.from_numpy(np.random.randn(480, 12)).float()
    y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).float()
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = Net(48)
    fast = torch.compile(model, backend="eager")
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for epoch in range(6):
        fast.train()
        for inputs, targets in loader:
            if random.random() < 0.5:
                inputs = inputs + 0.1 * torch.from_numpy(np.random.randn(*inputs.shape)).float()
            optimizer.zero_grad()
            loss = criterion(fast(inputs), targets)
            loss.backward()
            optimizer.step()
            print(epoch, repr(loss.item()))
        fast.eval()
        with torch.no_grad():
            print("eval", repr(criterion(fast(x), y).item()))

    torch.save(
        {
            "weights": {"net": model.state_dict()},
            "optimizers": {"sgd": optimizer.state_dict()},
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": np.random.get_state(),
            "python_rng": random.getstate(),
        },
        args.out,
    )


if __name__ == "__main__":
    main()
