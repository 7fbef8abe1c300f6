"""Trains a CNN that finds the quadrant of a bright spot in an 8-bit image."""

import argparse

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class SpotImages(Dataset):
    def __init__(self, n, side, rng):
        self.labels = np.tile(np.arange(4), n // 4)
        half = side // 2
        cy = rng.integers(2, half - 1, n) + half * (self.labels // 2)
        cx = rng.integers(2, half - 1, n) + half * (self.labels % 2)
        yy, xx = np.mgrid[:side, :side]
        spots = np.exp(-((yy - cy[:, None, None]) ** 2 + (xx - cx[:, None, None]) ** 2) / 6.0)
        grey = 150 * spots + 80 * rng.random((n, side, side))
        self.images = grey.clip(0, 240).astype(np.uint8)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = torch.from_numpy(self.images[index]) / 255
        return image.float().unsqueeze(0), int(self.labels[index])


class QuadrantNet(nn.Module):
    def __init__(self, channels, side):
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
        self.fc = nn.Linear(2 * channels * (side // 4) ** 2, 4)

    def forward(self, x):
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x))
        return self.fc(x.flatten(1))


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--size", choices="sml", default="s")
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    n, side, channels, bs = {"s": (640, 16, 8, 32), "m": (960, 16, 16, 32), "l": (1600, 20, 16, 64)}[a.size]

    train_data = DataLoader(SpotImages(n, side, np.random.default_rng(a.seed)), batch_size=bs, shuffle=True)
    net = QuadrantNet(channels, side)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)

    for epoch in range(7):
        net.train()
        epoch_loss, seen = 0.0, 0
        for images, target in train_data:
            optimizer.zero_grad()
            loss = criterion(net(images), target)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item() * len(target)
            seen += len(target)
        print(f"epoch={epoch} loss={epoch_loss / seen:.4f}")
