"""Trains a patch-mixing MLP on small images, tests it and prints which pixels matter."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SIDE = 8


class PatchMixer(nn.Module):
    def __init__(self, dim, classes):
        super().__init__()
        self.embed = nn.Conv2d(1, dim, 2, stride=2)
        self.mix = nn.Linear((SIDE // 2) ** 2, (SIDE // 2) ** 2)
        self.dropout = nn.Dropout(0.1)
        self.out = nn.Linear(dim, classes)

    def forward(self, x):
        h = self.embed(x).flatten(2)
        h = h + torch.nn.functional.gelu(self.mix(h))
        return self.out(self.dropout(torch.nn.functional.gelu(h).amax(2)))


def glyphs(n, classes, shapes):
    label = torch.arange(n) % classes
    x = shapes[label] + 0.7 * torch.randn(n, 1, SIDE, SIDE)
    return TensorDataset((x - x.mean()) / x.std(), label)


def test(model, loader):
    model.eval()
    right = 0
    for x, label in loader:
        with torch.no_grad():
            logits = model(x)
        right += (logits.argmax(1) == label).sum().item()
    return right / len(loader.dataset)


def saliency(model, x, label):
    """Mean absolute input gradient of the score of the right class."""
    model.eval()
    x = x.clone().requires_grad_(True)
    score = model(x).gather(1, label[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, x)
    return gradient.abs().mean(0).flatten()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, dim, bs = {"s": (640, 48, 32), "m": (1024, 64, 32), "l": (2048, 96, 64)}[args.size]
    shapes = torch.randn(5, 1, SIDE, SIDE)
    train_loader = DataLoader(glyphs(n, 5, shapes), batch_size=bs, shuffle=True)
    test_loader = DataLoader(glyphs(200, 5, shapes), batch_size=50, shuffle=False)
    probe = next(iter(DataLoader(glyphs(40, 5, shapes), batch_size=40)))

    model = PatchMixer(dim, 5)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(5):
        model.train()
        running = 0.0
        for x, label in train_loader:
            loss = criterion(model(x), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item()
        accuracy = test(model, test_loader)
        pixel = saliency(model, *probe).argmax().item()
        print(f"epoch {epoch} loss {running / len(train_loader):.4f} acc {accuracy:.3f} strongest pixel {pixel}")


if __name__ == "__main__":
    main()
