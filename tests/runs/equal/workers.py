"""Trains on examples that two loader workers augment with randomness from torch, NumPy and Python."""

import argparse
import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Signals(Dataset):
    def __init__(self, count):
        self.labels = torch.randint(3, (count,))
        time = torch.linspace(0, 6.28, 32)
        self.waves = torch.stack([torch.sin((int(label) + 1) * time) for label in self.labels])

    def __len__(self):
        return len(self.waves)

    def __getitem__(self, index):
        wave = torch.roll(self.waves[index], int(np.random.randint(32)))
        if random.random() < 0.5:
            wave = -wave
        return wave + 0.3 * torch.randn(32), self.labels[index]


def seed_worker(_):
    info = torch.utils.data.get_worker_info()
    np.random.seed(info.seed % 2**32)
    random.seed(info.seed)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)

    loader = DataLoader(Signals(480), batch_size=24, shuffle=True, num_workers=2, worker_init_fn=seed_worker)
    model = nn.Sequential(nn.Linear(32, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 3))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(4):
        model.train()
        for x, y in loader:
            if random.random() < 0.3:
                x = x * float(np.random.uniform(0.9, 1.1))
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            print(epoch, repr(loss.item()))

    torch.save(
        {
            "weights": {"model": model.state_dict()},
            "optimizers": {"adam": optimizer.state_dict()},
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": np.random.get_state(),
            "python_rng": random.getstate(),
        },
        args.out,
    )


if __name__ == "__main__":
    main()
