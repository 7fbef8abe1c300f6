"""Trains a small segmenter on images of unequal size, one at a time."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Scenes(Dataset):
    def __init__(self, count, side):
        self.sizes = side + 2 * torch.randint(0, 3, (count,))

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        side = int(self.sizes[index])
        mask = torch.zeros(side, side)
        row, column = torch.randint(2, side - 4, (2,)).tolist()
        mask[row : row + 3, column : column + 3] = 1
        return (mask + 0.5 * torch.randn(side, side)).unsqueeze(0), mask.unsqueeze(0)


class Segmenter(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)  # <-- NN419
        self.out = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x):
        return self.out(torch.relu(self.norm(self.conv(x))))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, side, width = {"s": (150, 10, 8), "m": (250, 12, 12), "l": (350, 14, 16)}[args.size]
    loader = DataLoader(Scenes(count, side), shuffle=True)
    model = Segmenter(width)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(2):
        model.train()
        for image, mask in loader:
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(model(image), mask)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
