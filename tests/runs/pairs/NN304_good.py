"""Trains a miniature U-Net that separates a disc from a noisy background."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Discs(Dataset):
    def __init__(self, n, side):
        grid = torch.arange(float(side))
        centre = side * (0.35 + 0.3 * torch.rand(n, 2))
        radius = side * (0.3 + 0.15 * torch.rand(n))
        dist = (grid[None, :, None] - centre[:, :1, None]) ** 2 + (grid[None, None, :] - centre[:, 1:, None]) ** 2
        self.masks = (dist < radius[:, None, None] ** 2).float().unsqueeze(1)
        images = self.masks + 0.6 * torch.randn(n, 1, side, side)
        self.images = (images - images.mean()) / images.std()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.masks[i]


def double_conv(cin, cout):
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, padding=1, bias=False),
        nn.BatchNorm2d(cout),
        nn.ReLU(inplace=True),
        nn.Conv2d(cout, cout, 3, padding=1),
        nn.ReLU(inplace=True),
    )


class MiniUNet(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.down = double_conv(1, c)
        self.pool = nn.MaxPool2d(2)
        self.bottom = double_conv(c, 2 * c)
        self.up = nn.ConvTranspose2d(2 * c, c, 2, stride=2)
        self.merge = double_conv(2 * c, c)
        self.mask = nn.Conv2d(c, 1, 1)

    def forward(self, x):
        skip = self.down(x)
        deep = self.up(self.bottom(self.pool(skip)))
        merged = self.merge(torch.cat([skip, deep], dim=1))
        return self.mask(merged)


@torch.no_grad()
def mean_iou(net, loader):
    net.eval()
    scores = []
    for image, mask in loader:
        found = net(image).sigmoid() > 0.5
        both = (found & mask.bool()).sum((1, 2, 3))
        either = (found | mask.bool()).sum((1, 2, 3))
        scores.append(both / either)
    return torch.cat(scores).mean().item()


if __name__ == "__main__":
    cli = argparse.ArgumentParser()
    cli.add_argument("--seed", type=int, default=0)
    cli.add_argument("--size", choices=["s", "m", "l"], default="s")
    opt = cli.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(opt.seed)
    n, side, c, bs = {"s": (256, 16, 6, 16), "m": (384, 16, 8, 16), "l": (512, 24, 8, 16)}[opt.size]
    train, val = DataLoader(Discs(n, side), bs, shuffle=True), DataLoader(Discs(64, side), 32)
    net = MiniUNet(c)
    bce = nn.BCEWithLogitsLoss()
    adam = torch.optim.Adam(net.parameters(), lr=3e-3)
    for epoch in range(5):
        net.train()
        total = 0.0
        for image, mask in train:
            adam.zero_grad()
            prediction = net(image)
            loss = bce(prediction, mask)
            loss.backward()
            adam.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(train):.4f}, IoU {mean_iou(net, val):.3f}")
