"""Trains a variational autoencoder on pictures of crossing bars."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class VAE(nn.Module):
    def __init__(self, pixels, width, latent):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(pixels, width), nn.ReLU())
        self.fc_mu = nn.Linear(width, latent)
        self.fc_logvar = nn.Linear(width, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, pixels))

    def reparameterize(self, mu, logvar):
        return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = self.fc_mu(h), self.fc_logvar(h)
        return self.decoder(self.reparameterize(mu, logvar)), mu, logvar


def loss_function(recon, x, mu, logvar):
    bce = F.binary_cross_entropy_with_logits(recon, x, reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return bce + kld


def bars(count, side=10):
    x = torch.zeros(count, side, side)
    rows, columns = torch.randint(side, (2, count))
    each = torch.arange(count)
    x[each, rows] = 1
    x[each, :, columns] = 1
    return x.flatten(1)


parser = argparse.ArgumentParser(description="VAE")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
count, width = {"s": (1000, 96), "m": (4000, 192), "l": (12000, 384)}[args.size]

pictures = bars(count)
flips = torch.rand_like(pictures) < 0.02
train_set, test_set = random_split(TensorDataset((pictures - flips.float()).abs()), [0.85, 0.15])
train_loader = DataLoader(train_set, batch_size=50, shuffle=True)
test_loader = DataLoader(test_set, batch_size=150)
model = VAE(100, width, 8)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def train(epoch):
    model.train()
    train_loss = 0
    for (data,) in train_loader:
        optimizer.zero_grad()
        loss = loss_function(*model_and_data(data))
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
    print(f"====> Epoch: {epoch} Average loss: {train_loss / len(train_set):.4f}")


def model_and_data(data):
    recon, mu, logvar = model(data)
    return recon, data, mu, logvar


def test():
    model.eval()
    test_loss = 0
    with torch.no_grad():
        for (data,) in test_loader:
            test_loss += loss_function(*model_and_data(data)).item()
    print(f"====> Test set loss: {test_loss / len(test_set):.4f}")


for epoch in range(1, 9):
    train(epoch)
    test()
