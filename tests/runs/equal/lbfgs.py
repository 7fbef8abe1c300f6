"""Fits a network with L-BFGS and a closure that draws dropout masks anew at each evaluation."""

import argparse
import random

import numpy as np
import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", required=True)
args = parser.parse_args()
torch.set_num_threads(1)
random.seed(args.seed)
np.random.seed(args.seed)
torch.manual_seed(args.seed)

x = torch.from_numpy(np.random.uniform(-1, 1, size=(256, 2))).float()
y = torch.sin(3 * x[:, :1]) * x[:, 1:] + 0.05 * torch.randn(256, 1)
model = nn.Sequential(nn.Linear(2, 24), nn.Tanh(), nn.Dropout(0.02), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))
criterion = nn.MSELoss()
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.3, max_iter=5, history_size=8)
evaluations = 0

for step in range(60):
    rows = torch.tensor(random.sample(range(256), 224))
    noise = torch.from_numpy(np.random.normal(0, 0.01, size=(224, 2))).float()

    def closure(rows=rows, noise=noise):
        global evaluations
        evaluations += 1
        optimizer.zero_grad()
        loss = criterion(model(x[rows] + noise), y[rows])
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    print(step, evaluations, repr(loss.item()))

torch.save(
    {
        "weights": {"model": model.state_dict()},
        "optimizers": {"lbfgs": optimizer.state_dict()},
        "torch_rng": torch.get_rng_state(),
        "numpy_rng": np.random.get_state(),
        "python_rng": random.getstate(),
    },
    args.out,
)
