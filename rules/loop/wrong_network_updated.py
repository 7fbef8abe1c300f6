"""NN519: with two networks, the loss of one moves the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import updates
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class WrongNetworkUpdated(Rule):
    """In a loop that trains two networks, a step uses the gradients of the other network's loss, or of none.

    ## What it is

    Two networks with an optimizer each, as in a GAN. Either the discriminator's loss is computed on samples that were
    not detached, and the gradients that it leaves in the generator are still there when the generator steps; or the
    step after the discriminator's backward pass is that of the generator's optimizer.

    ## Why it hurts training

    In the first case the generator follows the sum of its own gradient and of the discriminator's, which pull in
    opposite directions: it learns to help the discriminator. In the second the discriminator never learns, and the
    generator's optimizer steps on empty or stale gradients. Both look like the usual instability of a GAN.

    ## How it is told apart from code that only looks alike

    - Samples that are detached, or made under `no_grad`, carry nothing back.
    - Without `detach`, gradients that are cleared before the generator's own backward pass only cost time.
    - One loss for both networks, followed by both steps, is joint training.
    - A loss of the trunk with several heads is no game: both losses must run through both networks.

    Both networks and both optimizers must be made where they can be seen, and what each loss is made of must be known.

    ## What to do

    Detach the samples in the discriminator's loss, and clear each optimizer before its own backward pass:

    ```python
    d_optimizer.zero_grad()
    (criterion(D(real), ones) + criterion(D(fake.detach()), zeros)).backward()
    d_optimizer.step()
    g_optimizer.zero_grad()
    criterion(D(fake), ones).backward()
    g_optimizer.step()
    ```
    """

    code = "NN519"
    name = "wrong-network-updated"
    points = (23,)
    severity = Severity.ERROR
    triggers = ("backward",)

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            generator = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 2))
            discriminator = nn.Sequential(nn.Linear(2, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1))
            g_optimizer = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
            d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
            criterion = nn.BCEWithLogitsLoss()

            for epoch in range(100):
                for (real,) in DataLoader(torch.load("moons.pt"), batch_size=128, shuffle=True):
                    ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
                    g_optimizer.zero_grad()
                    d_optimizer.zero_grad()
                    fake = generator(torch.randn(len(real), 64))
                    d_loss = criterion(discriminator(real), ones) + criterion(discriminator(fake), zeros)
                    d_loss.backward(retain_graph=True)  # <-- NN519
                    d_optimizer.step()
                    fake = generator(torch.randn(len(real), 64))
                    g_loss = criterion(discriminator(fake), ones)
                    g_loss.backward()
                    g_optimizer.step()
            """,
            why="Not detached, and cleared only at the start of the batch.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Generator(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.net = nn.Sequential(nn.Linear(100, 256), nn.ReLU(), nn.Linear(256, 784), nn.Tanh())

                def forward(self, z):
                    return self.net(z)


            class Discriminator(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.net = nn.Sequential(nn.Linear(784, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))

                def forward(self, x):
                    return self.net(x)


            def train(loader, epochs):
                G, D = Generator(), Discriminator()
                opt_g = torch.optim.Adam(G.parameters(), lr=2e-4)
                opt_d = torch.optim.Adam(D.parameters(), lr=2e-4)
                for epoch in range(epochs):
                    for images, _ in loader:
                        real = images.flatten(1)
                        fake = G(torch.randn(real.size(0), 100))
                        opt_d.zero_grad()
                        F.softplus(-D(real)).mean().backward()
                        opt_d.step()
                        opt_d.zero_grad()
                        F.softplus(D(fake.detach())).mean().backward()  # <-- NN519
                        opt_g.step()
                        opt_g.zero_grad()
                        g_loss = F.softplus(-D(G(torch.randn(real.size(0), 100)))).mean()
                        g_loss.backward()
                        opt_g.step()


            train(DataLoader(torch.load("mnist.pt"), batch_size=64, shuffle=True), 50)
            """,
            why="The step after the discriminator's second backward pass is copied from the generator's.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class WGAN:
                def __init__(self, dim=32):
                    self.dim = dim
                    self.generator = nn.Sequential(nn.Linear(dim, 64), nn.ReLU(), nn.Linear(64, 16))
                    self.critic = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 1))
                    self.g_opt = torch.optim.RMSprop(self.generator.parameters(), lr=5e-5)
                    self.c_opt = torch.optim.RMSprop(self.critic.parameters(), lr=5e-5)

                def critic_step(self, real):
                    self.c_opt.zero_grad()
                    fake = self.generator(torch.randn(len(real), self.dim))
                    loss = self.critic(fake).mean() - self.critic(real).mean()
                    loss.backward()  # <-- NN519
                    self.c_opt.step()

                def generator_step(self, size):
                    fake = self.generator(torch.randn(size, self.dim))
                    loss = -self.critic(fake).mean()
                    loss.backward()
                    self.g_opt.step()
                    self.g_opt.zero_grad()

                def fit(self, loader, epochs):
                    for _ in range(epochs):
                        for (real,) in loader:
                            self.critic_step(real)
                            self.generator_step(len(real))


            WGAN().fit(DataLoader(torch.load("tabular.pt"), batch_size=256, shuffle=True), 200)
            """,
            why="A critic's step leaves gradients in the generator, whose step clears only afterwards.",
        ),
        Example(
            """
            # file: networks.py
            from torch import nn


            def build():
                encoder = nn.Sequential(nn.Linear(50, 32), nn.ReLU(), nn.Linear(32, 8))
                adversary = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
                return encoder, adversary
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from networks import build


            def main():
                encoder, adversary = build()
                encoder_opt = torch.optim.Adam(encoder.parameters(), lr=1e-3)
                adversary_opt = torch.optim.Adam(adversary.parameters(), lr=1e-3)
                for x, domain in DataLoader(torch.load("domains.pt"), batch_size=64, shuffle=True):
                    for optimizer in (encoder_opt, adversary_opt):
                        optimizer.zero_grad()
                    F.cross_entropy(adversary(encoder(x)), domain).backward()  # <-- NN519
                    adversary_opt.step()
                    confusion = -F.cross_entropy(adversary(encoder(x)), domain)
                    confusion.backward()
                    encoder_opt.step()


            main()
            """,
            why="The adversary's loss runs through the encoder; both are cleared at the start.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            generator = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 784), nn.Tanh())
            discriminator = nn.Sequential(nn.Linear(784, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1), nn.Sigmoid())
            opt_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
            opt_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
            adversarial = nn.BCELoss()

            for epoch in range(100):
                for images, _ in DataLoader(torch.load("digits.pt"), batch_size=64, shuffle=True):
                    real, fake = torch.ones(len(images), 1), torch.zeros(len(images), 1)
                    opt_g.zero_grad()
                    made = generator(torch.randn(len(images), 64))
                    adversarial(discriminator(made), real).backward()
                    opt_d.step()

                    opt_d.zero_grad()
                    loss = adversarial(discriminator(images.flatten(1)), real)
                    loss += adversarial(discriminator(made.detach()), fake)
                    loss.backward()  # <-- NN519
                    opt_g.step()
            """,
            why="The two steps are exchanged: each network follows the other's loss.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            generator = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 2))
            discriminator = nn.Sequential(nn.Linear(2, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1))
            g_optimizer = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
            d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
            criterion = nn.BCEWithLogitsLoss()

            for epoch in range(100):
                for (real,) in DataLoader(torch.load("moons.pt"), batch_size=128, shuffle=True):
                    ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
                    fake = generator(torch.randn(len(real), 64))
                    d_optimizer.zero_grad()
                    criterion(discriminator(real), ones).backward()
                    criterion(discriminator(fake.detach()), zeros).backward()
                    d_optimizer.step()
                    g_optimizer.zero_grad()
                    criterion(discriminator(fake), ones).backward()
                    g_optimizer.step()
            """,
            why="Detached, and each cleared before its own backward pass.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class GAN:
                def __init__(self):
                    self.g = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 2))
                    self.d = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
                    self.g_opt = torch.optim.Adam(self.g.parameters(), lr=1e-3)
                    self.d_opt = torch.optim.Adam(self.d.parameters(), lr=1e-3)
                    self.bce = nn.BCEWithLogitsLoss()

                def fit(self, loader):
                    for (real,) in loader:
                        one, zero = torch.ones(len(real), 1), torch.zeros(len(real), 1)
                        self.d_opt.zero_grad()
                        fake = self.g(torch.randn(len(real), 32))
                        (self.bce(self.d(real), one) + self.bce(self.d(fake), zero)).backward()
                        self.d_opt.step()
                        self.g_opt.zero_grad()
                        self.bce(self.d(self.g(torch.randn(len(real), 32))), one).backward()
                        self.g_opt.step()


            GAN().fit(DataLoader(torch.load("moons.pt"), batch_size=128, shuffle=True))
            """,
            why="Not detached, but the generator is cleared before its own loss: only slower.",
        ),
        Example(
            """
            # file: parts.py
            from torch import nn


            def parts():
                return nn.Sequential(nn.Linear(40, 64), nn.ReLU()), nn.Linear(64, 3)
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from parts import parts


            def main():
                trunk, head = parts()
                slow = torch.optim.SGD(trunk.parameters(), lr=1e-3)
                fast = torch.optim.SGD(head.parameters(), lr=1e-1)
                for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                    slow.zero_grad()
                    fast.zero_grad()
                    F.cross_entropy(head(trunk(x)), y).backward()
                    fast.step()
                    slow.step()


            main()
            """,
            why="One loss, two optimizers, both stepped.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn


            class ActorCritic:
                def __init__(self):
                    self.actor = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 4))
                    self.critic = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 1))
                    self.actor_opt = torch.optim.Adam(self.actor.parameters(), lr=3e-4)
                    self.critic_opt = torch.optim.Adam(self.critic.parameters(), lr=1e-3)

                def update(self, batches):
                    for states, actions, returns in batches:
                        values = self.critic(states).squeeze(-1)
                        self.critic_opt.zero_grad()
                        F.mse_loss(values, returns).backward()
                        self.critic_opt.step()
                        advantage = (returns - values).detach()
                        picked = self.actor(states).log_softmax(-1).gather(1, actions).squeeze(1)
                        self.actor_opt.zero_grad()
                        (-picked * advantage).mean().backward()
                        self.actor_opt.step()


            ActorCritic().update(torch.load("batches.pt"))
            """,
            why="Actor and critic, each with a loss of its own.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Losses of one of two networks that move the other."""
        for found in updates.wrong_steps(program):
            message, advice, hop = _TEXTS[found.kind]
            yield self.finding(
                found.backward.site,
                message,
                advice,
                evidence=[
                    Hop(hop, found.step.site),
                    Hop("the optimizer of the network that this loss is for", found.mine.site),
                    Hop("the optimizer of the other network", found.other.site),
                ],
            )


_TEXTS = {
    "leak": (
        (
            "This loss is followed by the step of the optimizer made at {1}, but it also leaves gradients in the other "
            "network; nothing clears them before the step at {0} adds them to its own and follows both."
        ),
        (
            "Detach what comes from the other network (`fake.detach()`), or clear its gradients right before its own "
            "backward pass."
        ),
        "this step uses the gradients that were left behind",
    ),
    "other": (
        (
            "This loss gives gradients only to the network of the optimizer made at {1}, and the step at {0} that "
            "follows is that of the other network: the gradients are cleared unused."
        ),
        "Step the optimizer whose network the loss is for.",
        "the step that follows belongs to the other network",
    ),
    "mixed": (
        (
            "This loss gives gradients only to the network of the optimizer made at {1}, and the step at {0} that "
            "follows is that of the other network; the own step comes when the other network's loss has added its "
            "gradients, and follows the sum of both."
        ),
        "Step the optimizer whose network the loss is for, before the next loss is computed.",
        "the step that follows belongs to the other network",
    ),
}
