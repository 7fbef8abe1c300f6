"""Trains a network with a classifier after each stage; only the last one is used at test time."""

import argparse
import itertools

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class Stages(nn.Module):
    def __init__(self, inputs, width, classes, stages=3):
        super().__init__()
        sizes = [inputs] + [width] * stages
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), nn.LayerNorm(b), nn.ReLU()) for a, b in itertools.pairwise(sizes)
        )
        self.heads = nn.ModuleList(nn.Linear(width, classes) for _ in range(stages))

    def forward(self, x):
        outputs = []
        for stage, head in zip(self.stages, self.heads, strict=True):
            x = stage(x)
            outputs.append(head(x))
        return outputs if self.training else outputs[-1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (960, 48), "m": (3200, 96), "l": (9600, 192)}[args.size]

    x = torch.randn(count, 14)
    y = (torch.sin(x @ torch.randn(14, 6) / 6) @ torch.randn(6, 4)).argmax(1)
    train, val = random_split(TensorDataset(x, y), [0.8, 0.2])
    model = Stages(14, width, 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    weights = (0.2, 0.3, 1.0)
    for epoch in range(8):
        model.train()
        for inputs, labels in DataLoader(train, batch_size=48, shuffle=True):
            losses = [F.cross_entropy(out, labels) for out in model(inputs)]
            loss = sum(w * one for w, one in zip(weights, losses, strict=True))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        model.eval()
        right = 0
        with torch.no_grad():
            for inputs, labels in DataLoader(val, batch_size=96):
                right += (model(inputs).argmax(1) == labels).sum().item()
        print(f"epoch {epoch}: losses {[round(v.item(), 3) for v in losses]} val accuracy {right / len(val):.3f}")


if __name__ == "__main__":
    main()
