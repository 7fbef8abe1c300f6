"""Trains a denoising autoencoder on soft block patterns."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader


def patterns(n, side):
    """Images in [0.03, 0.97]: a coarse random 3x3 board, enlarged."""
    board = (torch.rand(n, 1, 3, 3) > 0.5).float()
    return F.interpolate(board, size=(side, side), mode="nearest") * 0.94 + 0.03


class DenoisingAE(nn.Module):
    def __init__(self, side, hidden, code):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(side * side, hidden), nn.ReLU(), nn.Linear(hidden, code), nn.Tanh())
        self.decode = nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, side * side), nn.Sigmoid())

    def forward(self, image):
        code = self.encode((image.flatten(1) - 0.5) / 0.5)
        return self.decode(code).view_as(image)


def step(net, clean, optimizer):
    noisy = clean + 0.2 * torch.randn_like(clean)
    restored = net(noisy)
    loss = F.binary_cross_entropy(clean, restored)  # <-- NN306
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def validate(net, loader):
    net.eval()
    with torch.inference_mode():
        errors = [F.mse_loss(clean, net(clean)).item() for clean in loader]
    net.train()
    return sum(errors) / len(errors)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--size", choices=("s", "m", "l"), default="s")
    args = ap.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    n, side, hidden, batch = {"s": (640, 12, 64, 32), "m": (1024, 12, 96, 32), "l": (2048, 15, 128, 64)}[args.size]
    train = DataLoader(patterns(n, side), batch_size=batch, shuffle=True)
    valid = DataLoader(patterns(128, side), batch_size=64)
    net = DenoisingAE(side, hidden, code=16)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(5):
        losses = [step(net, clean, optimizer) for clean in train]
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}  mse {validate(net, valid):.4f}")


if __name__ == "__main__":
    main()
