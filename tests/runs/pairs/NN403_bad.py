"""Fine-tunes an adapter and a head on top of a loaded convolutional backbone."""

import argparse
import os
import tempfile

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_backbone(c):
    return nn.Sequential(nn.Conv2d(1, c, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(c, c, 3, stride=2, padding=1))


class FineTuned(nn.Module):
    def __init__(self, c, hidden, classes):
        super().__init__()
        self.backbone = make_backbone(c)
        self.adapter = nn.Linear(c * 9, hidden)  # <-- NN403
        self.head = nn.Linear(hidden, classes)

    def forward(self, images):
        features = torch.relu(self.backbone(images)).flatten(1)
        return self.head(torch.relu(self.adapter(features)))


def blobs(n, classes, prototypes):
    labels = torch.arange(n) % classes
    images = prototypes[labels] + 0.8 * torch.randn(n, 1, 12, 12)
    return TensorDataset(images / images.std(), labels)


def fit(model, dataset, batch_size, epochs, lr):
    loader = DataLoader(dataset, batch_size=batch_size, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(epochs):
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(loader):.4f}")


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
n, c, hidden, batch = {"s": (512, 8, 32, 32), "m": (960, 12, 48, 32), "l": (1600, 16, 64, 64)}[args.size]
prototypes = F.interpolate(torch.randn(8, 1, 4, 4), size=12)

source = make_backbone(c)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "backbone.pt")
    torch.save(source.state_dict(), path)
    model = FineTuned(c, hidden, 6)
    model.backbone.load_state_dict(torch.load(path, weights_only=True))

for name, parameter in model.named_parameters():
    parameter.requires_grad = name.startswith("head")

fit(model, blobs(n, 6, prototypes), batch, epochs=6, lr=3e-3)
