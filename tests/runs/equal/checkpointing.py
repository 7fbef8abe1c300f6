"""Trains a residual network whose blocks, with dropout inside, are recomputed in the backward pass."""

import argparse
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Dropout(0.1))

    def forward(self, x):
        return x + self.body(x)


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.stem = nn.Linear(10, width)
        self.new_style = nn.ModuleList(Residual(width) for _ in range(2))
        self.old_style = nn.ModuleList(Residual(width) for _ in range(2))
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        x = self.stem(x)
        for block in self.new_style:
            x = checkpoint(block, x, use_reentrant=False)
        for block in self.old_style:
            x = checkpoint(block, x, use_reentrant=True)
        return self.head(x)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)

    x = torch.from_numpy(np.random.randn(480, 10)).float()
    y = (torch.tanh(x @ torch.randn(10, 6) / 3) @ torch.randn(6, 3)).argmax(1)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = Net(48)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for epoch in range(6):
        model.train()
        for inputs, labels in loader:
            columns = random.sample(range(10), 1)
            inputs = inputs + 0.05 * torch.from_numpy(np.random.randn(*inputs.shape)).float()
            inputs[:, columns] *= 0.5
            loss = F.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(epoch, repr(loss.item()))
        model.eval()
        with torch.no_grad():
            hidden = model.stem(x)
            for block in [*model.new_style, *model.old_style]:
                hidden = block(hidden)
            print("eval", repr(F.cross_entropy(model.head(hidden), y).item()))

    torch.save(
        {
            "weights": {"net": model.state_dict()},
            "optimizers": {"adamw": optimizer.state_dict()},
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": np.random.get_state(),
            "python_rng": random.getstate(),
        },
        args.out,
    )


if __name__ == "__main__":
    main()
