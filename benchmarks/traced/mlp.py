"""Trains an MLP whose step, loader included, takes about a millisecond on one core."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

INPUTS, WIDTH, CLASSES, BATCH = 64, 256, 10, 112


def main():
    """Train for a number of steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    x = torch.randn(12800, INPUTS)
    y = (torch.tanh(x @ torch.randn(INPUTS, 16) / 8) @ torch.randn(16, CLASSES)).argmax(1)
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)
    model = nn.Sequential(
        nn.Linear(INPUTS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES)
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    model.train()
    step = 0
    while step < args.steps:
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            step += 1
            if step % 50 == 0:
                print(f"step {step}: {loss.item():.4f}")
            if step == args.steps:
                break


if __name__ == "__main__":
    main()
