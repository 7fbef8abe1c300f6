"""Trains under a GradScaler a model."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(8, width)
        self.second = nn.Linear(width, 1)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


UNITS = 1.0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (320, 32), "m": (640, 48), "l": (960, 64)}[args.size]
    x = torch.randn(count, 8)
    y = x.sum(1, keepdim=True)
    model = Net(width)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cpu")
    for epoch in range(3):
        for inputs, target in DataLoader(TensorDataset(x, y), batch_size=count // 10, shuffle=True):
            optimizer.zero_grad()
            output = model(inputs)
            loss = nn.functional.mse_loss(UNITS * output.half().float(), UNITS * target)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        print(f"epoch {epoch}: {loss.item():.4f} at scale {scaler.get_scale():.3g}")


if __name__ == "__main__":
    main()
