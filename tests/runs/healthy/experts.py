"""Trains a mixture of experts in which each example goes to one expert, so that some get nothing in a batch."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Mixture(nn.Module):
    def __init__(self, inputs, width, classes, experts):
        super().__init__()
        self.gate = nn.Linear(inputs, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, classes)) for _ in range(experts)
        )
        self.classes = classes

    def forward(self, x):
        chances = self.gate(x).softmax(dim=1)
        weight, chosen = chances.max(dim=1)
        out = x.new_zeros(len(x), self.classes)
        for index, expert in enumerate(self.experts):
            rows = torch.nonzero(chosen == index).squeeze(1)
            if len(rows):
                out = out.index_add(0, rows, expert(x[rows]) * weight[rows].unsqueeze(1))
        load = F.one_hot(chosen, len(self.experts)).float().mean(0)
        balance = len(self.experts) * (load * chances.mean(0)).sum()
        return out, balance


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width, experts = {"s": (800, 16, 4), "m": (3200, 32, 8), "l": (9600, 64, 16)}[args.size]

    region = torch.randint(experts, (count,))
    x = 1.5 * torch.randn(experts, 8)[region] + 0.6 * torch.randn(count, 8)
    scores = torch.einsum("nd,ndc->nc", x, torch.randn(experts, 8, 3)[region])
    y = ((scores - scores.mean(0)) / scores.std(0)).argmax(1)
    loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
    model = Mixture(8, width, 3, experts)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for epoch in range(6):
        model.train()
        total = 0.0
        for inputs, labels in loader:
            logits, balance = model(inputs)
            loss = F.cross_entropy(logits, labels) + 0.2 * balance
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(loader):.4f} balance {balance.item():.3f}")


if __name__ == "__main__":
    main()
