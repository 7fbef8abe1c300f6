"""Trains with warm-up, a cosine schedule, validation and early stopping, then tests the best weights."""

import argparse
import copy

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset, random_split


class EarlyStopping:
    def __init__(self, patience):
        self.patience, self.best, self.bad, self.state = patience, float("inf"), 0, None

    def update(self, value, model):
        if value < self.best:
            self.best, self.bad, self.state = value, 0, copy.deepcopy(model.state_dict())
        else:
            self.bad += 1
        return self.bad >= self.patience


def evaluate(model, loader, criterion):
    model.eval()
    total = seen = 0
    with torch.no_grad():
        for x, y in loader:
            total += criterion(model(x), y).item() * len(x)
            seen += len(x)
    return total / seen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width, epochs = {"s": (500, 32, 16), "m": (2500, 96, 20), "l": (6000, 256, 25)}[args.size]

    x = torch.randn(count, 10)
    y = (torch.tanh(x @ torch.randn(10, 8) / 2) @ torch.randn(8, 3) + 0.8 * torch.randn(count, 3)).argmax(1)
    train, val, test = random_split(TensorDataset(x, y), [0.7, 0.15, 0.15])
    train_loader = DataLoader(train, batch_size=25, shuffle=True)
    val_loader, test_loader = DataLoader(val, batch_size=100), DataLoader(test, batch_size=100)

    model = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 3))
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-2)
    warmup_steps, all_steps = len(train_loader), epochs * len(train_loader)
    scheduler = optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=warmup_steps),
            optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=all_steps - warmup_steps),
        ],
        milestones=[warmup_steps],
    )
    stopper = EarlyStopping(patience=5)

    for epoch in range(epochs):
        model.train()
        total = 0.0
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item() * len(inputs)
        val_loss = evaluate(model, val_loader, criterion)
        rate = optimizer.param_groups[0]["lr"]
        print(f"epoch {epoch}: train {total / len(train):.4f} val {val_loss:.4f} lr {rate:.5f}")
        if stopper.update(val_loss, model):
            print("early stop")
            break

    model.load_state_dict(stopper.state)
    print(f"test {evaluate(model, test_loader, criterion):.4f}")


if __name__ == "__main__":
    main()
