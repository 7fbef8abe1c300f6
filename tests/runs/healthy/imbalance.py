"""Finds rare events with a weighted sampler and a focal loss of its own."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler


class FocalLoss(nn.Module):
    def __init__(self, gamma=2.0):
        super().__init__()
        self.gamma = gamma

    def forward(self, logits, target):
        loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return ((1 - torch.exp(-loss)) ** self.gamma * loss).mean()


def events(count, dim=10):
    y = (torch.rand(count) < 0.05).float()
    shift = torch.zeros(dim)
    shift[:4] = 1.5
    return torch.randn(count, dim) + y.unsqueeze(1) * shift, y


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (1600, 32), "m": (6400, 64), "l": (19200, 128)}[args.size]

    x, y = events(count)
    x_val, y_val = events(1000)
    weights = torch.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    sampler = WeightedRandomSampler(weights, num_samples=count // 2)
    loader = DataLoader(TensorDataset(x, y), batch_size=40, sampler=sampler)
    model = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, 1))
    criterion = FocalLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(6):
        model.train()
        total = 0.0
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs).squeeze(1), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            found = model(x_val).squeeze(1) > 0
        recall = found[y_val > 0].float().mean().item()
        alarms = found[y_val == 0].float().mean().item()
        print(f"epoch {epoch}: focal {total / len(loader):.4f} recall {recall:.3f} false alarms {alarms:.3f}")


if __name__ == "__main__":
    main()
