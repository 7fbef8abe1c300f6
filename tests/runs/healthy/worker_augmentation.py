"""Trains on pictures that two loader workers augment, each with NumPy randomness seeded of its own."""

import argparse
import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Pictures(Dataset):
    def __init__(self, images, labels, augment):
        self.images, self.labels, self.augment = images, labels, augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        if self.augment:
            image = np.roll(image, np.random.randint(-1, 2, size=2), axis=(1, 2))
            image = image + 0.1 * np.random.randn(*image.shape).astype(np.float32)
        return torch.from_numpy(np.ascontiguousarray(image)), int(self.labels[index])


def seed_worker(_):
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)


def strokes(rng, count, side=10):
    """Horizontal, vertical or diagonal strokes."""
    labels = rng.integers(3, size=count)
    images = 0.8 * rng.standard_normal((count, 1, side, side))
    for image, label in zip(images, labels, strict=True):
        place = rng.integers(2, side - 2)
        if label == 0:
            image[0, place] += 1.5
        elif label == 1:
            image[0, :, place] += 1.5
        else:
            np.fill_diagonal(image[0], image[0].diagonal() + 1.5)
    return ((images - images.mean()) / images.std()).astype(np.float32), labels


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    count, width = {"s": (480, 8), "m": (1600, 16), "l": (4800, 32)}[args.size]

    train_loader = DataLoader(
        Pictures(*strokes(rng, count), augment=True),
        batch_size=24,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
        worker_init_fn=seed_worker,
        generator=torch.Generator().manual_seed(args.seed),
    )
    val_loader = DataLoader(Pictures(*strokes(rng, 120), augment=False), batch_size=60)
    model = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.GroupNorm(2, width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 3),
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for epoch in range(4):
        model.train()
        total = 0.0
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            right = sum((model(images).argmax(1) == labels).sum().item() for images, labels in val_loader)
        print(f"epoch {epoch}: loss {total / len(train_loader):.4f} accuracy {right / 120:.3f}")


if __name__ == "__main__":
    main()
