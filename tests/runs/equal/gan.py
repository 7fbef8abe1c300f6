"""Trains a GAN on points of two arcs, with dropout and spectral normalisation in the discriminator."""

import argparse
import random

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def arcs(count):
    angle = np.random.uniform(0, np.pi, size=count)
    side = np.array([random.choice([-1, 1]) for _ in range(count)])
    points = np.stack([np.cos(angle) + 0.5 * side, np.sin(angle) * side], axis=1)
    return torch.from_numpy(points).float() + 0.05 * torch.randn(count, 2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)

    generator = nn.Sequential(
        nn.Linear(4, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2)
    )
    discriminator = nn.Sequential(
        spectral_norm(nn.Linear(2, 48)),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.1),
        spectral_norm(nn.Linear(48, 48)),
        nn.LeakyReLU(0.2),
        nn.Linear(48, 1),
    )
    criterion = nn.BCEWithLogitsLoss()
    opt_g = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.RMSprop(discriminator.parameters(), lr=1e-3)

    for step in range(150):
        real = arcs(64)
        with torch.no_grad():
            fake = generator(torch.randn(64, 4))
        opt_d.zero_grad()
        loss_d = criterion(discriminator(real), torch.ones(64, 1)) + criterion(discriminator(fake), torch.zeros(64, 1))
        loss_d.backward()
        opt_d.step()

        opt_g.zero_grad()
        loss_g = criterion(discriminator(generator(torch.randn(64, 4))), torch.ones(64, 1))
        loss_g.backward()
        opt_g.step()
        print(step, repr(loss_d.item()), repr(loss_g.item()))

    torch.save(
        {
            "weights": {"generator": generator.state_dict(), "discriminator": discriminator.state_dict()},
            "optimizers": {"g": opt_g.state_dict(), "d": opt_d.state_dict()},
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": np.random.get_state(),
            "python_rng": random.getstate(),
        },
        args.out,
    )


if __name__ == "__main__":
    main()
