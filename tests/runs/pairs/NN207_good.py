"""Trains a classifier of digits drawn on a grid; the images are scaled on the way."""

import argparse

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class ToTensor:
    """Bytes (H, W) to floats in 0..1 (1, H, W)."""

    def __call__(self, image):
        return torch.from_numpy(image).float().div(255).unsqueeze(0)


class Bars(Dataset):
    def __init__(self, count, transforms, seed):
        rng = np.random.default_rng(seed)
        self.kind = rng.integers(0, 4, count)
        self.images = rng.integers(0, 60, (count, 12, 12)).astype(np.uint8)
        for image, kind in zip(self.images, self.kind, strict=True):
            image[2 + 2 * kind : 4 + 2 * kind, 2:10] = 255
        self.transforms = transforms

    def __len__(self):
        return len(self.kind)

    def __getitem__(self, index):
        image = self.images[index]
        for transform in self.transforms:
            image = transform(image)
        return image, int(self.kind[index])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (400, 8), "m": (800, 12), "l": (1200, 16)}[args.size]
    data = Bars(count, [ToTensor()], args.seed)
    loader = DataLoader(data, batch_size=20, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36 * width, 4)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(4):
        for image, kind in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(image), kind)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
