"""Trains a classifier and shows its accuracy on a progress bar."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (640, 24), "m": (1280, 32), "l": (2560, 32)}[args.size]
    kind = torch.randint(4, (count,))
    x = 2 * torch.randn(4, 16)[kind] + torch.randn(count, 16)
    loader = DataLoader(TensorDataset(x, kind), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(3):
        right = seen = 0
        bar = tqdm(loader, desc=f"epoch {epoch}", disable=None)
        for inputs, labels in bar:
            optimizer.zero_grad()
            scores = model(inputs)
            loss = nn.functional.cross_entropy(scores, labels)
            loss.backward()
            optimizer.step()
            right += (scores.argmax(1) == labels).sum().item()
            seen += len(labels)
            bar.set_postfix(loss=loss.item(), acc=100 * right / seen)
    print(f"accuracy {right / seen:.3f}")


if __name__ == "__main__":
    main()
