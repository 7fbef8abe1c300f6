"""Trains a large teacher first and then distils it into a small student."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

TEMPERATURE = 3.0


def network(width, depth):
    layers = [nn.Linear(16, width), nn.ReLU()]
    for _ in range(depth):
        layers += [nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.1)]
    return nn.Sequential(*layers, nn.Linear(width, 6))


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def train_teacher(teacher, loader, epochs):
    optimizer = torch.optim.AdamW(teacher.parameters(), lr=2e-3)
    for epoch in range(epochs):
        teacher.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(teacher(x), y)
            loss.backward()
            optimizer.step()
        print(f"teacher epoch {epoch}: {loss.item():.4f}")


def distil(teacher, student, loader, epochs):
    teacher.eval()
    teacher.requires_grad_(False)
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    for epoch in range(epochs):
        student.train()
        for x, y in loader:
            with torch.no_grad():
                target = F.softmax(teacher(x) / TEMPERATURE, dim=1)
            logits = student(x)
            soft = F.kl_div(F.log_softmax(logits / TEMPERATURE, dim=1), target, reduction="batchmean")
            hard = F.cross_entropy(logits, y)
            loss = 0.7 * TEMPERATURE**2 * soft + 0.3 * hard
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"student epoch {epoch}: {loss.item():.4f} (soft {soft.item():.4f}, hard {hard.item():.4f})")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (1000, 64), "m": (4000, 128), "l": (12000, 256)}[args.size]

    x = torch.randn(count + 300, 16)
    y = (torch.tanh(x @ torch.randn(16, 12) / 4) @ torch.randn(12, 6)).argmax(1)
    loader = DataLoader(TensorDataset(x[:count], y[:count]), batch_size=50, shuffle=True)
    teacher, student = network(width, 2), network(width // 4, 1)
    train_teacher(teacher, loader, epochs=5)
    distil(teacher, student, loader, epochs=6)
    print(
        f"teacher {accuracy(teacher, x[count:], y[count:]):.3f} student {accuracy(student, x[count:], y[count:]):.3f}"
    )


if __name__ == "__main__":
    main()
