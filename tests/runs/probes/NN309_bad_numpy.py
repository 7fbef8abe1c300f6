"""What the encoder gives goes through NumPy on the way to the head."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
scale = {"s": 1, "m": 2, "l": 4}[args.size]


def normalise(features):
    return torch.tensor((features / features.norm(dim=1, keepdim=True)).tolist())  # <-- NN309 (likely)


def training_step(encoder, head, batch):
    inputs, targets = batch
    features = normalise(encoder(inputs))
    return nn.functional.mse_loss(head(features), targets)


x = torch.randn(192 * scale, 8)
targets = torch.tanh(x[:, :2] * 2)
encoder = nn.Sequential(nn.Linear(8, 24 * scale), nn.Tanh())
head = nn.Linear(24 * scale, 2)
optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=0.05, momentum=0.9)
for _ in range(3):
    for batch in DataLoader(TensorDataset(x, targets), batch_size=16, shuffle=True):
        optimizer.zero_grad()
        loss = training_step(encoder, head, batch)
        loss.backward()
        optimizer.step()
