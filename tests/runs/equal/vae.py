"""Trains a variational autoencoder with a warm-up of the KL term."""

import argparse
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Bars(Dataset):
    def __init__(self, count):
        self.images = np.zeros((count, 8, 8), dtype=np.float32)
        for image in self.images:
            image[np.random.randint(8)] = 1
            image[:, np.random.randint(8)] = 1

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        if random.random() < 0.5:
            image = image.T
        image = np.abs(image - (np.random.rand(8, 8) < 0.02))
        return torch.from_numpy(image.astype(np.float32)).flatten()


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ELU(), nn.Dropout(0.05))
        self.mean, self.log_var = nn.Linear(64, 6), nn.Linear(64, 6)
        self.decoder = nn.Sequential(nn.Linear(6, 64), nn.ELU(), nn.Linear(64, 64))

    def forward(self, x):
        hidden = self.encoder(x)
        mean, log_var = self.mean(hidden), self.log_var(hidden)
        code = torch.distributions.Normal(mean, torch.exp(0.5 * log_var)).rsample()
        return self.decoder(code), mean, log_var


def run(seed, out):
    torch.set_num_threads(1)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    loader = DataLoader(Bars(480), batch_size=40, shuffle=True)
    model = VAE()
    optimizer = torch.optim.Adamax(model.parameters(), lr=5e-3)
    step = 0
    for epoch in range(8):
        model.train()
        for x in loader:
            recon, mean, log_var = model(x)
            reconstruction = F.binary_cross_entropy_with_logits(recon, x, reduction="sum") / len(x)
            kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1).mean()
            loss = reconstruction + min(1.0, step / 40) * kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            print(epoch, repr(loss.item()), repr(kl.item()))
    model.eval()
    with torch.no_grad():
        sample = model.decoder(torch.randn(5, 6)).sigmoid()
    print(repr(sample.mean().item()))
    torch.save(
        {
            "weights": {"vae": model.state_dict()},
            "optimizers": {"adamax": optimizer.state_dict()},
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": np.random.get_state(),
            "python_rng": random.getstate(),
        },
        out,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    run(arguments.seed, arguments.out)
