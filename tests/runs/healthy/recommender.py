"""Trains a recommender with embedding bags whose sparse gradients go to SparseAdam."""

import argparse

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class Histories(Dataset):
    """Users have seen some items; like or dislike of the next depends on the groups of the items."""

    def __init__(self, count, items):
        self.taste = torch.randint(5, (count,))
        self.history = [torch.randint(items // 5, (int(n),)) * 5 for n in torch.randint(2, 8, (count,))]
        self.history = [seen + taste for seen, taste in zip(self.history, self.taste, strict=True)]
        self.item = torch.randint(items, (count,))
        self.item = torch.where(torch.rand(count) < 0.4, self.item // 5 * 5 + self.taste, self.item)
        likes = (self.item % 5 == self.taste).float()
        self.liked = torch.where(torch.rand(count) < 0.05, 1 - likes, likes)

    def __len__(self):
        return len(self.item)

    def __getitem__(self, index):
        return self.history[index], self.item[index], self.liked[index]


def collate(rows):
    histories, items, liked = zip(*rows, strict=True)
    lengths = torch.tensor([0] + [len(h) for h in histories[:-1]])
    return torch.cat(histories), lengths.cumsum(0), torch.stack(items), torch.stack(liked)


class Recommender(nn.Module):
    def __init__(self, items, width):
        super().__init__()
        self.history = nn.EmbeddingBag(items, width, mode="mean", sparse=True)
        self.item = nn.Embedding(items, width, sparse=True)
        self.top = nn.Sequential(nn.Linear(3 * width, 2 * width), nn.ReLU(), nn.Linear(2 * width, 1))

    def forward(self, history, offsets, item):
        user, thing = self.history(history, offsets), self.item(item)
        return self.top(torch.cat([user, thing, user * thing], dim=1)).squeeze(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, items, width = {"s": (1280, 100), "m": (6400, 400), "l": (12800, 1000)}[args.size] + (16,)

    loader = DataLoader(Histories(count, items), batch_size=64, shuffle=True, collate_fn=collate)
    model = Recommender(items, width)
    sparse = torch.optim.SparseAdam([model.history.weight, model.item.weight], lr=2e-2)
    dense = torch.optim.Adam(model.top.parameters(), lr=5e-3)
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(6):
        model.train()
        total = 0.0
        for history, offsets, item, liked in loader:
            sparse.zero_grad()
            dense.zero_grad()
            loss = criterion(model(history, offsets, item), liked)
            loss.backward()
            sparse.step()
            dense.step()
            total += loss.item()
        print(f"epoch {epoch}: log loss {total / len(loader):.4f}")


if __name__ == "__main__":
    main()
