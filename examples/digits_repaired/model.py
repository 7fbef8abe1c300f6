"""A small residual network for images of 8 x 8 pixels."""

from __future__ import annotations

import torch
from torch import nn


class ResidualBlock(nn.Module):
    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.dropout(self.norm(self.conv(x)).relu())


class DigitNet(nn.Module):
    def __init__(self, channels: int = 16, depth: int = 2, dropout: float = 0.3, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, kernel_size=3, padding=1)
        self.blocks = nn.ModuleList([ResidualBlock(channels, dropout) for _ in range(depth)])
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels * 16, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.stem(images).relu()
        for block in self.blocks:
            x = block(x)
        x = nn.functional.max_pool2d(x, 2).flatten(1)
        return self.classifier(self.dropout(x))


def build_model(depth: int) -> DigitNet:
    return DigitNet(depth=depth)
