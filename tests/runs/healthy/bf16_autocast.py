"""Trains a small image classifier under bfloat16 autocast."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()

torch.set_num_threads(1)
torch.manual_seed(args.seed)
count, width = {"s": (600, 8), "m": (1500, 16), "l": (3000, 32)}[args.size]

# four kinds of pictures: a bright patch in one of the quarters
labels = torch.randint(4, (count,))
images = 0.7 * torch.randn(count, 3, 12, 12)
for i, label in enumerate(labels.tolist()):
    row, column = divmod(label, 2)
    images[i, :, row * 6 + 1 : row * 6 + 5, column * 6 + 1 : column * 6 + 5] += 1.0

cut = int(0.8 * count)
mean, std = images[:cut].mean((0, 2, 3), keepdim=True), images[:cut].std((0, 2, 3), keepdim=True)
images = (images - mean) / std
train_loader = DataLoader(TensorDataset(images[:cut], labels[:cut]), batch_size=32, shuffle=True)
val_loader = DataLoader(TensorDataset(images[cut:], labels[cut:]), batch_size=100)

model = nn.Sequential(
    nn.Conv2d(3, width, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(width, width, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(width * 9, 4),
)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

for epoch in range(5):
    model.train()
    running = 0.0
    for x, y in train_loader:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        running += loss.item()
    model.eval()
    correct = 0
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for x, y in val_loader:
            correct += (model(x).argmax(1) == y).sum().item()
    print(f"epoch {epoch + 1}: train loss {running / len(train_loader):.4f}, accuracy {correct / (count - cut):.3f}")
