"""Trains a classifier on adversarial examples made with the fast gradient sign method."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

criterion = nn.CrossEntropyLoss()


def fgsm(model, x, y, epsilon):
    x = x.clone().requires_grad_(True)
    loss = criterion(model(x), y)
    (gradient,) = torch.autograd.grad(loss, x)
    return (x + epsilon * gradient.sign()).detach()


def attack_accuracy(model, loader, epsilon):
    model.eval()
    clean = robust = seen = 0
    for x, y in loader:
        attacked = fgsm(model, x, y, epsilon)
        with torch.no_grad():
            clean += (model(x).argmax(1) == y).sum().item()
            robust += (model(attacked).argmax(1) == y).sum().item()
        seen += len(y)
    return clean / seen, robust / seen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    parser.add_argument("--epsilon", type=float, default=0.3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (800, 48), "m": (3200, 96), "l": (9600, 192)}[args.size]

    centres = torch.randn(5, 20)
    y = torch.randint(5, (count + 200,))
    x = centres[y] + 1.4 * torch.randn(len(y), 20)
    train_loader = DataLoader(TensorDataset(x[:count], y[:count]), batch_size=40, shuffle=True)
    test_loader = DataLoader(TensorDataset(x[count:], y[count:]), batch_size=100)
    model = nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)

    for epoch in range(6):
        model.train()
        total = 0.0
        for inputs, labels in train_loader:
            model.eval()
            attacked = fgsm(model, inputs, labels, args.epsilon)
            model.train()
            optimizer.zero_grad()
            loss = 0.5 * criterion(model(inputs), labels) + 0.5 * criterion(model(attacked), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        clean, robust = attack_accuracy(model, test_loader, args.epsilon)
        print(f"epoch {epoch}: loss {total / len(train_loader):.4f} clean {clean:.3f} attacked {robust:.3f}")


if __name__ == "__main__":
    main()
