"""Trains a Wasserstein GAN with gradient penalty on a ring of eight Gaussians."""

import argparse
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SIZES = {"s": (1280, 64), "m": (6400, 128), "l": (9600, 256)}
LATENT = 4
PENALTY = 1.0
CRITIC_STEPS = 5


def ring(count):
    angle = torch.randint(8, (count,)) * (2 * math.pi / 8)
    centre = torch.stack([angle.cos(), angle.sin()], dim=1)
    return centre * 1.4 + 0.05 * torch.randn(count, 2)


def mlp(inputs, width, outputs):
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, outputs),
    )


def gradient_penalty(critic, real, fake):
    mix = torch.rand(real.size(0), 1)
    between = (mix * real + (1 - mix) * fake).requires_grad_(True)
    scores = critic(between)
    (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    return ((gradient.norm(2, dim=1) - 1) ** 2).mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=SIZES, default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = SIZES[args.size]

    loader = DataLoader(TensorDataset(ring(count)), batch_size=64, shuffle=True, drop_last=True)
    generator, critic = mlp(LATENT, width, 2), mlp(2, width, 1)
    opt_g = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.9))
    opt_c = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9))

    step = 0
    for epoch in range(18):
        loss_c = loss_g = torch.zeros(())
        for (real,) in loader:
            fake = generator(torch.randn(real.size(0), LATENT)).detach()
            loss_c = critic(fake).mean() - critic(real).mean() + PENALTY * gradient_penalty(critic, real, fake)
            opt_c.zero_grad()
            loss_c.backward()
            opt_c.step()
            step += 1
            if step % CRITIC_STEPS == 0:
                loss_g = -critic(generator(torch.randn(real.size(0), LATENT))).mean()
                opt_g.zero_grad()
                loss_g.backward()
                opt_g.step()
        print(f"epoch {epoch}: critic {loss_c.item():+.4f} generator {loss_g.item():+.4f}")

    generator.eval()
    with torch.no_grad():
        radius = generator(torch.randn(500, LATENT)).norm(dim=1)
    print(f"mean radius of samples {radius.mean().item():.3f} (data 1.4)")


if __name__ == "__main__":
    main()
