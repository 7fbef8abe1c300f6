"""Trains a wide network on a handful of examples of each class."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Grains(Dataset):
    """Synthetic images of grains: the class is the direction of the stripes."""

    def __init__(self, each, classes):
        self.kind = torch.arange(classes).repeat_interleave(each)
        angle = self.kind * torch.pi / classes
        y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
        phase = 9 * (x * angle.cos()[:, None, None] + y * angle.sin()[:, None, None])
        self.image = torch.sin(phase + 6 * torch.rand(len(angle), 1, 1)) + 0.2 * torch.randn(len(angle), 16, 16)

    def __len__(self):
        return len(self.kind)

    def __getitem__(self, index):
        return self.image[index].unsqueeze(0), self.kind[index]


def train(model, loader, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for epoch in range(epochs):
        for image, kind in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(image), kind)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    classes, width = {"s": (4, 32), "m": (6, 48), "l": (8, 64)}[args.size]
    grains = Grains(each=150, classes=classes)
    loader = DataLoader(grains, batch_size=8, shuffle=True)
    net = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(width * 64, classes * 4),
        nn.ReLU(), nn.Linear(classes * 4, classes),
    )  # fmt: skip
    train(net, loader, epochs=6)
