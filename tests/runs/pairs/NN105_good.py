"""Trains a small convolutional network on images that come with their channels last."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Patches(Dataset):
    """Coloured patches as an image library gives them: (height, width, channels)."""

    def __init__(self, count, side):
        self.kind = torch.randint(3, (count,))
        tint = torch.eye(3)[self.kind][:, None, None, :]
        self.image = 0.5 * tint + 0.5 * torch.randn(count, side, side, 3)

    def __len__(self):
        return len(self.kind)

    def __getitem__(self, index):
        return self.image[index].permute(2, 0, 1), self.kind[index]


class Net(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.first = nn.Conv2d(channels, width, kernel_size=3, padding=1)
        self.second = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.head = nn.Linear(width, 3)

    def forward(self, image):
        x = torch.relu(self.second(torch.relu(self.first(image))))
        return self.head(x.mean((2, 3)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, side, width = {"s": (300, 12, 16), "m": (600, 16, 24), "l": (900, 20, 32)}[args.size]
    data = Patches(count, side)
    model = Net(3, width)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(3):
        for image, kind in DataLoader(data, batch_size=20, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(image), kind)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
