"""Trains a small U-Net with batch normalisation to find discs, with cross-entropy and Dice."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def block(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.down1 = block(1, width)
        self.down2 = block(width, width * 2)
        self.up = nn.ConvTranspose2d(width * 2, width, 2, stride=2)
        self.up1 = block(width * 2, width)
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        fine = self.down1(x)
        coarse = self.down2(F.max_pool2d(fine, 2))
        return self.out(self.up1(torch.cat([fine, self.up(coarse)], dim=1)))


def dice_loss(logits, target):
    p = torch.sigmoid(logits)
    overlap = (p * target).sum((1, 2, 3))
    return 1 - ((2 * overlap + 1) / (p.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1)).mean()


def discs(count, side=20):
    axis = torch.arange(float(side))
    cx, cy = (5 + (side - 10) * torch.rand(count, 1, 1) for _ in range(2))
    radius = 2 + 3 * torch.rand(count, 1, 1)
    mask = ((axis.view(1, 1, -1) - cx) ** 2 + (axis.view(1, -1, 1) - cy) ** 2 < radius**2).float().unsqueeze(1)
    return 1.2 * (mask - 0.1) + 0.6 * torch.randn(count, 1, side, side), mask


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    both = either = 0.0
    for x, mask in loader:
        found = model(x) > 0
        both += (found & (mask > 0)).sum().item()
        either += (found | (mask > 0)).sum().item()
    return both / either


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (256, 4), "m": (800, 8), "l": (1600, 16)}[args.size]

    train_loader = DataLoader(TensorDataset(*discs(count)), batch_size=16, shuffle=True, drop_last=True)
    val_loader = DataLoader(TensorDataset(*discs(64)), batch_size=32)
    model = UNet(width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for epoch in range(5):
        model.train()
        total = 0.0
        for x, mask in train_loader:
            logits = model(x)
            loss = F.binary_cross_entropy_with_logits(logits, mask) + dice_loss(logits, mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(train_loader):.4f} IoU {evaluate(model, val_loader):.3f}")


if __name__ == "__main__":
    main()
