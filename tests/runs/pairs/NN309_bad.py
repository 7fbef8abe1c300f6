"""Trains a 1-D convolutional encoder and a head that count the pulses in a signal."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
COUNT, CHANNELS, BATCH = {"s": (640, 12, 32), "m": (1024, 16, 32), "l": (2048, 24, 64)}[args.size]
LENGTH, MAX_PULSES = 48, 4


def make_signals(count):
    number = torch.arange(count) % MAX_PULSES
    slots = torch.rand(count, 6).argsort(dim=1)
    active = (slots < number[:, None] + 1).float()
    wave = torch.tensor([0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0])
    signal = (active[:, :, None] * wave).flatten(1) + 0.1 * torch.randn(count, LENGTH)
    return ((signal - signal.mean()) / signal.std()).unsqueeze(1), number


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(1, CHANNELS, 5, stride=2, padding=2)
        self.conv2 = nn.Conv1d(CHANNELS, CHANNELS, 5, stride=2, padding=2)

    def forward(self, x):
        return F.leaky_relu(self.conv2(F.leaky_relu(self.conv1(x)))).mean(dim=2)


encoder = Encoder()
head = nn.Sequential(nn.Linear(CHANNELS, 32), nn.ReLU(), nn.Linear(32, MAX_PULSES))
optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=1e-2)
loader = DataLoader(TensorDataset(*make_signals(COUNT)), batch_size=BATCH, shuffle=True)

for epoch in range(6):
    losses, code_norms = [], []
    for signal, number in loader:
        code = encoder(signal)
        code = code.detach()
        code_norms.append(code.detach().norm(dim=1).mean().item())
        loss = F.cross_entropy(head(code), number)
        optimizer.zero_grad()
        loss.backward()  # <-- NN309
        optimizer.step()
        losses.append(loss.item())
    print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f} code norm {sum(code_norms) / len(code_norms):.3f}")
