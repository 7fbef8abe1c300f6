"""Cross-validates a classifier over four folds, with a new model for each fold."""

import argparse

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def make_model(width):
    return nn.Sequential(nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 1))


def run_fold(x_train, y_train, x_val, y_val, width, epochs):
    mean, std = x_train.mean(0), x_train.std(0)
    x_train, x_val = (x_train - mean) / std, (x_val - mean) / std
    loader = DataLoader(TensorDataset(x_train, y_train), batch_size=25, shuffle=True, drop_last=True)
    model = make_model(width)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(epochs):
        model.train()
        losses = []
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x).flatten(), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            logits = model(x_val).flatten()
            val_loss = criterion(logits, y_val).item()
            accuracy = ((logits > 0) == (y_val > 0.5)).float().mean().item()
        print(f"  epoch {epoch}: train {np.mean(losses):.4f} val {val_loss:.4f} accuracy {accuracy:.3f}")
    return accuracy


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    count, width = {"s": (600, 32), "m": (2000, 64), "l": (6000, 128)}[args.size]

    raw = rng.normal(size=(count, 8)) * rng.uniform(1, 50, 8) + rng.uniform(-100, 100, 8)
    unit = (raw - raw.mean(0)) / raw.std(0)
    labels = (unit[:, 0] * unit[:, 1] + unit[:, 2] - 0.5 * unit[:, 3] + 0.2 * rng.normal(size=count) > 0).astype("f4")
    x, y = torch.tensor(raw, dtype=torch.float32), torch.tensor(labels)

    folds = np.array_split(rng.permutation(count), 4)
    scores = []
    for number, held_out in enumerate(folds):
        rest = np.concatenate([fold for i, fold in enumerate(folds) if i != number])
        print(f"fold {number}")
        scores.append(run_fold(x[rest], y[rest], x[held_out], y[held_out], width, epochs=5))
    print(f"accuracy {np.mean(scores):.3f} +- {np.std(scores):.3f}")


if __name__ == "__main__":
    main()
