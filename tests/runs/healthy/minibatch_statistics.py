"""A discriminator that is shown how much the samples of a batch differ; fake and real batches."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Discriminator(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2))
        self.head = nn.Linear(65, 1)

    def forward(self, x):
        h = self.body(x)
        spread = h.std(dim=0).mean().expand(len(h), 1)
        return self.head(torch.cat([h, spread], dim=1)).squeeze(1)


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
scale = {"s": 1, "m": 2, "l": 4}[args.size]

real = torch.randn(640 * scale, 2) * torch.tensor([1.0, 0.2]) + torch.tensor([0.0, 1.0])
generator = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
discriminator = Discriminator(2)
g_optimizer = torch.optim.Adam(generator.parameters(), lr=5e-4, betas=(0.5, 0.99))
d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=5e-4, betas=(0.5, 0.99))
for epoch in range(6):
    for (batch,) in DataLoader(TensorDataset(real), batch_size=32, shuffle=True, drop_last=True):
        fake = generator(torch.randn(len(batch), 4))
        d_loss = F.softplus(-discriminator(batch)).mean() + F.softplus(discriminator(fake.detach())).mean()
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()
        g_loss = F.softplus(-discriminator(fake)).mean()
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()
    print(f"epoch {epoch}: {d_loss.item():.3f} {g_loss.item():.3f}")
