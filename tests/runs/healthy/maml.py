"""Meta-learns an initialisation for sine waves, with one inner step by torch.autograd.grad."""

import argparse
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

INNER_LR = 0.05


def sine_task(points):
    amplitude, phase = 0.5 + 2 * torch.rand(()), math.pi * torch.rand(())
    x = 6 * torch.rand(2, points, 1) - 3
    return x, amplitude * torch.sin(x + phase)


def adapt(model, x, y, steps=1, create_graph=True):
    weights = dict(model.named_parameters())
    for _ in range(steps):
        loss = F.mse_loss(functional_call(model, weights, (x,)), y)
        grads = torch.autograd.grad(loss, list(weights.values()), create_graph=create_graph)
        weights = {name: w - INNER_LR * g for (name, w), g in zip(weights.items(), grads, strict=True)}
    return weights


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    iterations, width = {"s": (40, 40), "m": (100, 64), "l": (200, 128)}[args.size]

    model = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
    meta = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(5):
        total = 0.0
        for _ in range(iterations):
            meta.zero_grad()
            outer = 0.0
            for _ in range(4):
                (x_in, x_out), (y_in, y_out) = sine_task(10)
                outer = outer + F.mse_loss(functional_call(model, adapt(model, x_in, y_in), (x_out,)), y_out) / 4
            outer.backward()
            meta.step()
            total += outer.item()
        print(f"epoch {epoch}: loss after one step {total / iterations:.4f}")

    before = after = 0.0
    for _ in range(20):
        (x_in, x_out), (y_in, y_out) = sine_task(10)
        weights = adapt(model, x_in, y_in, steps=3, create_graph=False)
        with torch.no_grad():
            before += F.mse_loss(model(x_out), y_out).item() / 20
            after += F.mse_loss(functional_call(model, weights, (x_out,)), y_out).item() / 20
    print(f"new tasks: before {before:.4f} after three steps {after:.4f}")


if __name__ == "__main__":
    main()
