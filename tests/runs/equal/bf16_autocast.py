"""Trains a convolutional network under bfloat16 autocast with random crops and dropout."""

import argparse
import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU()
        )
        self.drop = nn.Dropout(0.2)
        self.classify = nn.Linear(16 * 9, 3)

    def forward(self, x):
        return self.classify(self.drop(self.features(x).flatten(1)))


def crop(images):
    row, column = random.randrange(3), random.randrange(3)
    images = images[:, :, row : row + 10, column : column + 10]
    return images.flip(3) if np.random.rand() < 0.5 else images


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)

    labels = torch.randint(3, (384,))
    axis = torch.arange(12.0)
    waves = torch.sin(axis * 1.5)
    patterns = torch.stack([waves.expand(12, 12), waves.unsqueeze(1).expand(12, 12), torch.outer(waves, waves) * 1.4])
    images = patterns[labels].unsqueeze(1) + 0.8 * torch.randn(384, 1, 12, 12)
    loader = DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True)
    model = Net()
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    for epoch in range(6):
        model.train()
        for x, y in loader:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = criterion(model(crop(x)), y)
            loss.backward()
            optimizer.step()
            print(epoch, repr(loss.item()))
        model.eval()
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            print("eval", repr(criterion(model(images[:, :, 1:11, 1:11]), labels).item()))

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
