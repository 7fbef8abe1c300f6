"""Trains with accumulated gradients, clipping and an average of the weights kept beside the model."""

import argparse
import copy
import random

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", required=True)
args = parser.parse_args()
torch.set_num_threads(1)
random.seed(args.seed)
np.random.seed(args.seed)
torch.manual_seed(args.seed)

x = torch.from_numpy(np.random.randn(480, 8)).float()
y = x[:, 0] * x[:, 1] + torch.sin(x[:, 2]) + 0.1 * torch.randn(480)
loader = DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True)
model = nn.Sequential(nn.Linear(8, 48), nn.SiLU(), nn.Dropout(0.1), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1))
average = copy.deepcopy(model).requires_grad_(False)
criterion = nn.SmoothL1Loss()
optimizer = torch.optim.NAdam(model.parameters(), lr=3e-3)

for epoch in range(5):
    model.train()
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        if random.random() < 0.3:
            inputs = inputs + 0.05 * torch.from_numpy(np.random.randn(*inputs.shape)).float()
        loss = criterion(model(inputs).squeeze(1), targets) / 4
        loss.backward()
        if (i + 1) % 4 == 0:
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                    slow.lerp_(fast, 0.1)
            print(epoch, i, repr(4 * loss.item()), repr(norm.item()))
    average.eval()
    with torch.no_grad():
        print("average", repr(criterion(average(x).squeeze(1), y).item()))

torch.save(
    {
        "weights": {"model": model.state_dict(), "average": average.state_dict()},
        "optimizers": {"nadam": optimizer.state_dict()},
        "torch_rng": torch.get_rng_state(),
        "numpy_rng": np.random.get_state(),
        "python_rng": random.getstate(),
    },
    args.out,
)
