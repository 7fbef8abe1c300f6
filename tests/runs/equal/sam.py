"""Trains with sharpness-aware minimisation around SGD, with dropout and batch normalisation in the model."""

import argparse
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class SAM(torch.optim.Optimizer):
    def __init__(self, params, base, rho, **options):
        super().__init__(params, {"rho": rho, **options})
        self.base = base(self.param_groups, **options)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def first_step(self):
        every = [p for group in self.param_groups for p in group["params"]]
        scale = self.param_groups[0]["rho"] / (torch.stack([p.grad.norm() for p in every]).norm() + 1e-12)
        for p in every:
            self.state[p]["step_up"] = p.grad * scale
            p.add_(self.state[p]["step_up"])

    @torch.no_grad()
    def second_step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(self.state[p]["step_up"])
        self.base.step()

    def step(self, closure=None):
        raise NotImplementedError("use first_step and second_step")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)

    x = torch.from_numpy(np.random.randn(480, 10)).float()
    y = (torch.tanh(x @ torch.randn(10, 6) / 3) @ torch.randn(6, 3)).argmax(1)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(10, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.1), nn.Linear(48, 3))
    optimizer = SAM(model.parameters(), torch.optim.SGD, rho=0.05, lr=0.05, momentum=0.9)
    for epoch in range(6):
        model.train()
        for inputs, labels in loader:
            strength = random.uniform(0.0, 0.2)
            noisy = inputs + strength * torch.from_numpy(np.random.randn(*inputs.shape)).float()
            first = F.cross_entropy(model(noisy), labels)
            first.backward()
            optimizer.first_step()
            optimizer.zero_grad()
            second = F.cross_entropy(model(noisy), labels)
            second.backward()
            optimizer.second_step()
            optimizer.zero_grad()
            print(epoch, repr(first.item()), repr(second.item()))

    torch.save(
        {
            "weights": {"model": model.state_dict()},
            "optimizers": {"sam": optimizer.state_dict(), "base": optimizer.base.state_dict()},
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": np.random.get_state(),
            "python_rng": random.getstate(),
        },
        args.out,
    )


if __name__ == "__main__":
    main()
