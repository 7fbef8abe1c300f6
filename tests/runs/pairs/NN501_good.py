"""Trains a CNN with batch normalisation and dropout on oriented edges and tests it after every epoch."""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()

torch.set_num_threads(1)
torch.manual_seed(args.seed)
n_train, width, batch_size = {"s": (640, 8, 32), "m": (1024, 12, 32), "l": (1600, 16, 64)}[args.size]


def edges(n):
    label = torch.arange(n) % 4
    angle = label * torch.pi / 2 + 0.5 * torch.randn(n)
    axis = torch.linspace(-1, 1, 14)
    side = axis[None, :, None] * angle.sin()[:, None, None] + axis[None, None, :] * angle.cos()[:, None, None]
    x = (side > 0.4 * torch.rand(n, 1, 1)).float() + 0.5 * torch.randn(n, 14, 14)
    return TensorDataset(((x - x.mean()) / x.std()).unsqueeze(1), label)


class EdgeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(2 * width)
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(2 * width * 4, 4)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.adaptive_avg_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        return self.fc(self.drop(x.flatten(1)))


model = EdgeNet()
optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
train_loader = DataLoader(edges(n_train), batch_size=batch_size, shuffle=True)
test_loader = DataLoader(edges(256), batch_size=64)

for epoch in range(5):
    model.train()
    train_loss = 0.0
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        train_loss += loss.item()

    model.eval()
    correct, test_loss = 0, 0.0
    with torch.no_grad():
        for x, y in test_loader:
            logits = model(x)
            test_loss += F.cross_entropy(logits, y, reduction="sum").item()
            correct += (logits.argmax(1) == y).sum().item()
    print(f"epoch {epoch} loss {train_loss / len(train_loader):.4f} test {test_loss / 256:.4f} acc {correct / 256:.3f}")
