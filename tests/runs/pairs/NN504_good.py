"""Trains a network that sorts molecules' fingerprints, in the style of a two-phase training function."""

import argparse

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


def fingerprints(n, bits):
    groups = torch.randint(0, 2, (4, bits)).float()
    label = torch.randint(0, 4, (n,))
    flips = (torch.rand(n, bits) < 0.25).float()
    x = (groups[label] - flips).abs()
    return TensorDataset((x - 0.5) / 0.5, label)


def train_model(model, loaders, criterion, optimizer, num_epochs):
    for epoch in range(num_epochs):
        for phase in ["train", "val"]:
            if phase == "train":
                model.train()
            else:
                model.eval()
            running_loss, running_corrects, seen = 0.0, 0, 0
            for inputs, labels in loaders[phase]:
                if phase == "train":
                    optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    loss = criterion(outputs, labels)
                    preds = outputs.argmax(1)
                if phase == "train":
                    loss.backward()
                    optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += (preds == labels).sum().item()
                seen += inputs.size(0)
            print(f"epoch {epoch} {phase} loss: {running_loss / seen:.4f} acc: {running_corrects / seen:.3f}")


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = ap.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, bits, hidden, bs = {"s": (640, 24, 32, 32), "m": (1024, 32, 64, 32), "l": (2048, 48, 96, 64)}[args.size]
    data = fingerprints(n + 128, bits)
    train_part, val_part = torch.utils.data.random_split(data, [n, 128])
    loaders = {"train": DataLoader(train_part, bs, shuffle=True), "val": DataLoader(val_part, 64)}
    model = nn.Sequential(
        nn.Linear(bits, hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 4)
    )
    train_model(model, loaders, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=2e-3), num_epochs=5)
