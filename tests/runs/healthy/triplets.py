"""Learns a metric with triplets and measures retrieval on classes held out."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Triplets(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y
        self.of_class = {int(label): torch.nonzero(y == label).flatten() for label in y.unique()}

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        label = int(self.y[index])
        other = [c for c in self.of_class if c != label]
        same = self.of_class[label]
        different = self.of_class[other[torch.randint(len(other), ()).item()]]
        positive = same[torch.randint(len(same), ())]
        negative = different[torch.randint(len(different), ())]
        return self.x[index], self.x[positive], self.x[negative]


class Embedder(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 16))

    def forward(self, x):
        return F.normalize(self.net(x), dim=-1)


def recall(model, x, y):
    model.eval()
    with torch.no_grad():
        z = model(x)
        nearest = (z @ z.t() - 2 * torch.eye(len(z))).argmax(1)
    return (y[nearest] == y).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    each, width = {"s": (40, 48), "m": (120, 96), "l": (300, 192)}[args.size]

    centres = torch.zeros(16, 24)
    centres[:, :6] = torch.randn(16, 6)
    y = torch.arange(16).repeat_interleave(each)
    x = centres[y] + 0.8 * torch.randn(len(y), 24)
    seen = y < 10
    loader = DataLoader(Triplets(x[seen], y[seen]), batch_size=32, shuffle=True)
    model = Embedder(24, width)
    criterion = nn.TripletMarginLoss(margin=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(8):
        model.train()
        total = 0.0
        for anchor, positive, negative in loader:
            loss = criterion(model(anchor), model(positive), model(negative))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: triplet {total / len(loader):.4f} recall@1 {recall(model, x[~seen], y[~seen]):.3f}")


if __name__ == "__main__":
    main()
