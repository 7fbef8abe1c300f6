"""Trains a small denoising diffusion model on points of a spiral and samples from it."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Denoiser(nn.Module):
    def __init__(self, width, steps):
        super().__init__()
        self.time = nn.Embedding(steps, width)
        self.inner = nn.Linear(2, width)
        self.body = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.out = nn.Linear(width, 2)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x, t):
        h = self.inner(x) + self.time(t)
        for layer in self.body:
            h = h + nn.functional.silu(layer(h))
        return self.out(h)


class Diffusion:
    def __init__(self, model, steps):
        self.model, self.steps = model, steps
        self.beta = torch.linspace(1e-3, 0.12, steps)
        self.alpha_bar = torch.cumprod(1 - self.beta, dim=0)

    def loss(self, x):
        t = torch.randint(self.steps, (len(x),))
        noise = torch.randn_like(x)
        keep = self.alpha_bar[t].unsqueeze(1)
        return nn.functional.mse_loss(self.model(keep.sqrt() * x + (1 - keep).sqrt() * noise, t), noise)

    @torch.no_grad()
    def sample(self, count):
        x = torch.randn(count, 2)
        for step in reversed(range(self.steps)):
            noise = self.model(x, torch.full((count,), step))
            x = (x - self.beta[step] / (1 - self.alpha_bar[step]).sqrt() * noise) / (1 - self.beta[step]).sqrt()
            if step:
                x = x + self.beta[step].sqrt() * torch.randn_like(x)
        return x


def spiral(count):
    angle = 1.5 + 9 * torch.rand(count).sqrt()
    points = torch.stack([angle * angle.cos(), angle * angle.sin()], dim=1)
    points = points + 0.2 * torch.randn(count, 2)
    return (points - points.mean(0)) / points.std(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (2048, 64), "m": (8192, 128), "l": (16384, 256)}[args.size]

    loader = DataLoader(TensorDataset(spiral(count)), batch_size=128, shuffle=True)
    denoiser = Denoiser(width, steps=40)
    diffusion = Diffusion(denoiser, steps=40)
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=3e-3)
    for epoch in range(20):
        denoiser.train()
        losses = []
        for (x,) in loader:
            loss = diffusion.loss(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if epoch % 4 == 3 or epoch == 0:
            print(f"epoch {epoch}: {sum(losses) / len(losses):.4f}")
    denoiser.eval()
    samples = diffusion.sample(500)
    print("spread of samples", [round(v, 3) for v in samples.std(0).tolist()])
