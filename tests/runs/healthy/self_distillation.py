"""Learns representations without labels or negatives (BYOL), then fits a linear probe on them."""

import argparse
import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def mlp(inputs, hidden, outputs):
    return nn.Sequential(nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def view(x):
    return x * (torch.rand_like(x) > 0.15) + 0.2 * torch.randn_like(x)


class BYOL(nn.Module):
    def __init__(self, dim, width):
        super().__init__()
        self.online = nn.Sequential(mlp(dim, width, width), mlp(width, width, 16))
        self.predictor = mlp(16, width, 16)
        self.target = copy.deepcopy(self.online)
        for p in self.target.parameters():
            p.requires_grad = False

    def half(self, a, b):
        with torch.no_grad():
            goal = F.normalize(self.target(b), dim=1)
        return 2 - 2 * (F.normalize(self.predictor(self.online(a)), dim=1) * goal).sum(1).mean()

    def forward(self, x):
        a, b = view(x), view(x)
        return (self.half(a, b) + self.half(b, a)) / 2

    @torch.no_grad()
    def move_target(self, tau=0.97):
        for slow, fast in zip(self.target.parameters(), self.online.parameters(), strict=True):
            slow.mul_(tau).add_(fast, alpha=1 - tau)


def probe(features, labels):
    layer = nn.Linear(features.size(1), 5)
    optimizer = torch.optim.Adam(layer.parameters(), lr=2e-2)
    for step in range(80):
        optimizer.zero_grad()
        loss = F.cross_entropy(layer(features), labels)
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(f"probe step {step}: {loss.item():.4f}")
    return layer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (768, 48), "m": (3072, 96), "l": (9216, 192)}[args.size]

    centres = torch.randn(5, 30)
    y = torch.randint(5, (count,))
    x = centres[y] + 0.6 * torch.randn(count, 30)
    model = BYOL(30, width)
    optimizer = torch.optim.AdamW([*model.online.parameters(), *model.predictor.parameters()], lr=2e-3)
    for epoch in range(6):
        model.train()
        total = 0.0
        loader = DataLoader(TensorDataset(x), batch_size=64, shuffle=True, drop_last=True)
        for (batch,) in loader:
            loss = model(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            model.move_target()
            total += loss.item()
        print(f"epoch {epoch}: {total / len(loader):.4f}")

    model.eval()
    with torch.no_grad():
        features = model.online[0](x)
    cut = count * 3 // 4
    layer = probe(features[:cut], y[:cut])
    with torch.no_grad():
        print(f"probe accuracy {(layer(features[cut:]).argmax(1) == y[cut:]).float().mean().item():.3f}")


if __name__ == "__main__":
    main()
