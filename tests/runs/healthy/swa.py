"""Trains with stochastic weight averaging and refreshes the batch statistics of the average at the end."""

import argparse

import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
count, width = {"s": (640, 32), "m": (3200, 64), "l": (9600, 128)}[args.size]

x = torch.randn(count + 200, 9)
y = torch.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.2 * torch.randn(len(x))
train_loader = DataLoader(TensorDataset(x[:count], y[:count]), batch_size=32, shuffle=True, drop_last=True)

model = nn.Sequential(
    nn.Linear(9, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
)
averaged = AveragedModel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)
swa_scheduler = SWALR(optimizer, swa_lr=0.02, anneal_epochs=2)
loss_fn = nn.MSELoss()

for epoch in range(10):
    model.train()
    total = 0.0
    for inputs, targets in train_loader:
        optimizer.zero_grad()
        loss = loss_fn(model(inputs).squeeze(1), targets)
        loss.backward()
        optimizer.step()
        total += loss.item()
    if epoch >= 6:
        averaged.update_parameters(model)
        swa_scheduler.step()
    else:
        scheduler.step()
    print(f"epoch {epoch}: {total / len(train_loader):.4f}")

update_bn(train_loader, averaged)
averaged.eval()
model.eval()
with torch.no_grad():
    last = loss_fn(model(x[count:]).squeeze(1), y[count:]).item()
    mean = loss_fn(averaged(x[count:]).squeeze(1), y[count:]).item()
print(f"validation: last weights {last:.4f}, averaged weights {mean:.4f}")
