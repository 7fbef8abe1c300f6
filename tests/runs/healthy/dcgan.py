"""Trains a small DCGAN on 16x16 pictures of soft blobs."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

p = argparse.ArgumentParser()
p.add_argument("--seed", type=int, default=0)
p.add_argument("--size", choices=["s", "m", "l"], default="s")
opt = p.parse_args()

torch.set_num_threads(1)
torch.manual_seed(opt.seed)
count, ngf, ndf = {"s": (640, 16, 8), "m": (1920, 16, 16), "l": (3840, 32, 32)}[opt.size]
nz = 16

axis = torch.arange(16.0)
cx, cy = 4 + 8 * torch.rand(count, 1, 1), 4 + 8 * torch.rand(count, 1, 1)
spread = 3 + 6 * torch.rand(count, 1, 1)
pictures = torch.exp(-((axis.view(1, 1, -1) - cx) ** 2 + (axis.view(1, -1, 1) - cy) ** 2) / spread)
pictures = (pictures * 2 - 1).unsqueeze(1)
dataloader = DataLoader(TensorDataset(pictures), batch_size=32, shuffle=True)


def weights_init(m):
    if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(m.weight, 0.0, 0.05)
    elif isinstance(m, nn.BatchNorm2d):
        nn.init.normal_(m.weight, 1.0, 0.02)
        nn.init.zeros_(m.bias)


netG = nn.Sequential(
    nn.ConvTranspose2d(nz, ngf * 2, 4, 1, 0, bias=False),
    nn.BatchNorm2d(ngf * 2),
    nn.ReLU(True),
    nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
    nn.BatchNorm2d(ngf),
    nn.ReLU(True),
    nn.ConvTranspose2d(ngf, 1, 4, 2, 1, bias=False),
    nn.Tanh(),
)
netD = nn.Sequential(
    nn.Conv2d(1, ndf, 4, 2, 1, bias=False),
    nn.LeakyReLU(0.2, inplace=True),
    nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
    nn.BatchNorm2d(ndf * 2),
    nn.LeakyReLU(0.2, inplace=True),
    nn.Conv2d(ndf * 2, 1, 4, 1, 0, bias=False),
    nn.Flatten(0),
)
netG.apply(weights_init)
netD.apply(weights_init)

criterion = nn.BCEWithLogitsLoss()
optimizerD = torch.optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.999))
optimizerG = torch.optim.Adam(netG.parameters(), lr=2e-3, betas=(0.5, 0.999))
fixed_noise = torch.randn(16, nz, 1, 1)

for epoch in range(8):
    for i, (real,) in enumerate(dataloader):
        # Update D: log(D(x)) + log(1 - D(G(z)))
        netD.zero_grad()
        ones, zeros = torch.ones(real.size(0)), torch.zeros(real.size(0))
        errD_real = criterion(netD(real), ones)
        errD_real.backward()
        with torch.no_grad():
            fake = netG(torch.randn(real.size(0), nz, 1, 1))
        errD_fake = criterion(netD(fake), zeros)
        errD_fake.backward()
        optimizerD.step()

        # Update G: log(D(G(z)))
        netG.zero_grad()
        errG = criterion(netD(netG(torch.randn(real.size(0), nz, 1, 1))), ones)
        errG.backward()
        optimizerG.step()
        if i % 10 == 0:
            errD = errD_real.item() + errD_fake.item()
            print(f"[{epoch}/8][{i}/{len(dataloader)}] Loss_D: {errD:.4f} Loss_G: {errG.item():.4f}")
    netG.eval()
    with torch.no_grad():
        sample = netG(fixed_noise)
    netG.train()
    print(f"sample mean {sample.mean().item():.3f}, data mean {pictures.mean().item():.3f}")
