"""Trains an adversarial autoencoder on correlated vectors with two optimizers."""

import argparse
from itertools import chain

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader


class AutoEncoder(nn.Module):
    def __init__(self, n_in, hidden, code):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_in, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, code))
        self.decoder = nn.Sequential(nn.Linear(code, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, n_in))

    def forward(self, x):
        code = self.encoder(x)
        return code, self.decoder(code)


def correlated(n, n_in, rank):
    x = torch.tanh(torch.randn(n, rank)) @ torch.randn(rank, n_in) + 0.05 * torch.randn(n, n_in)
    return (x - x.mean(0)) / x.std(0)


def train_batch(x, auto, critic, auto_optimizer, critic_optimizer):
    with torch.no_grad():
        fake = auto.encoder(x)
    prior = torch.randn_like(fake)
    scores = critic(torch.cat([prior, fake]))
    truth = torch.cat([torch.ones(len(prior), 1), torch.zeros(len(fake), 1)])
    critic_loss = F.binary_cross_entropy_with_logits(scores, truth)
    critic_loss.backward()
    critic_optimizer.step()

    code, decoded = auto(x)
    fool = F.binary_cross_entropy_with_logits(critic(code), torch.ones(len(x), 1))
    auto_loss = F.mse_loss(decoded, x) + 0.01 * fool
    auto_loss.backward()
    auto_optimizer.zero_grad()  # <-- NN505
    auto_optimizer.step()
    for p in chain(critic.parameters(), auto.parameters()):
        p.grad = None
    return auto_loss.item(), critic_loss.item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--size", choices=["s", "m", "l"], default="s")
    opt = ap.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(opt.seed)
    n, n_in, hidden, bs = {"s": (640, 20, 32, 32), "m": (1024, 32, 64, 32), "l": (2048, 48, 96, 64)}[opt.size]
    loader = DataLoader(correlated(n, n_in, 5), batch_size=bs, shuffle=True)
    auto = AutoEncoder(n_in, hidden, code=6)
    critic = nn.Sequential(nn.Linear(6, 24), nn.LeakyReLU(0.2), nn.Linear(24, 1))
    auto_optimizer = torch.optim.Adam(auto.parameters(), lr=3e-3)
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3)
    for epoch in range(6):
        log = [train_batch(x, auto, critic, auto_optimizer, critic_optimizer) for x in loader]
        auto_mean, critic_mean = (sum(column) / len(log) for column in zip(*log, strict=True))
        print(f"epoch {epoch}: loss {auto_mean:.4f} critic {critic_mean:.4f}")


if __name__ == "__main__":
    main()
