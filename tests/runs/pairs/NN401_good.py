"""Trains a convolutional encoder and a linear head and keeps a moving average for evaluation."""

import argparse
import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ap = argparse.ArgumentParser()
ap.add_argument("--seed", type=int, default=0)
ap.add_argument("--size", choices=["s", "m", "l"], default="s")
opts = ap.parse_args()
torch.set_num_threads(1)
torch.manual_seed(opts.seed)
n, width, bs = {"s": (512, 8, 32), "m": (960, 12, 32), "l": (1600, 16, 64)}[opts.size]


def crosses(count):
    """A plus or a cross or a box, at a random place of a 14x14 image."""
    plus = torch.tensor([[0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0]])
    diag = torch.eye(5, dtype=torch.long) | torch.eye(5, dtype=torch.long).flip(0)
    box = torch.ones(5, 5, dtype=torch.long)
    box[1:4, 1:4] = 0
    shapes = torch.stack([plus, diag, box]).float()
    labels = torch.arange(count) % 3
    images = 0.2 * torch.randn(count, 1, 14, 14)
    for i, (r, c) in enumerate(torch.randint(0, 9, (count, 2)).tolist()):
        images[i, 0, r : r + 5, c : c + 5] += shapes[labels[i]]
    return TensorDataset((images - images.mean()) / images.std(), labels)


encoder = nn.Sequential(
    nn.Conv2d(1, width, 3), nn.ReLU(), nn.Conv2d(width, 2 * width, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(2), nn.Flatten()
)
head = nn.Linear(8 * width, 3)
network = nn.ModuleDict({"encoder": encoder, "head": head})
average = copy.deepcopy(network).requires_grad_(False)
optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=3e-3)

train_loader = DataLoader(crosses(n), batch_size=bs, shuffle=True)
test_loader = DataLoader(crosses(150), batch_size=75)

for epoch in range(6):
    network.train()
    running = 0.0
    for images, labels in train_loader:
        network.zero_grad()
        loss = F.cross_entropy(head(encoder(images)), labels)
        loss.backward()
        optimizer.step()
        running += loss.item()
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
                slow.lerp_(fast, 0.1)

    average.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in test_loader:
            scores = average["head"](average["encoder"](images))
            correct += (scores.argmax(1) == labels).sum().item()
    print(f"epoch {epoch} loss {running / len(train_loader):.4f} averaged accuracy {correct / 150:.3f}")
