"""NN702: an operation of the loss is used at the edge of its domain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import numerics
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class UnsafeOperation(Rule):
    """The loss takes the logarithm of what can be 0, or the root of what is cut off at 0.

    ## What it is

    `torch.log(softmax(x))`, `torch.log(sigmoid(x))`, `torch.log(1 - sigmoid(x))` or `torch.log(relu(x))` on the way to
    a loss: in single precision the argument is exactly 0 as soon as the network is sure (or a unit is off), and the
    logarithm is minus infinity. Or `torch.sqrt(x.clamp(min=0))`: where the clamp cuts off, the derivative of the root
    is infinite, and infinity times the clamp's zero is NaN.

    ## Why it hurts training

    Training goes well until one sample hits the edge; then the loss or its gradient is infinite or NaN, the optimizer
    writes NaN into every weight, and all later results are NaN. In half precision it happens within a few steps. Even
    before, the difference of nearly equal numbers costs the digits that the gradient is made of.

    ## How it is told apart from code that only looks alike

    - With an epsilon (`log(p + 1e-8)`) or a clamp away from 0 (`log(p.clamp(min=1e-6))`) the edge is not reached.
    - `log_softmax`, `logsigmoid` and `BCEWithLogitsLoss` compute the same thing safely.
    - Outside of what is differentiated (perplexity, printed entropies) a minus infinity does no harm to the weights.
    - The logarithm of inputs, of parameters or of what cannot be traced is not judged.
    - Scores that keep within a few units (`10 * tanh(x)`) give no probability of 0.
    - `torch.norm` has a safe derivative at 0.

    It is likely where single probabilities are picked by an index: those of actions that were drawn are not 0, those
    of true classes can be.

    ## What to do

    Use the operation that does both steps at once:

    ```python
    log_p = F.log_softmax(scores, dim=-1)      # log(softmax(scores))
    log_p = F.logsigmoid(scores)               # log(sigmoid(scores))
    log_q = F.logsigmoid(-scores)              # log(1 - sigmoid(scores))
    distance = torch.sqrt(squared.clamp(min=1e-12))
    ```
    """

    code = "NN702"
    name = "unsafe-operation"
    points = (37,)
    severity = Severity.WARNING
    triggers = ("backward", "training_step")

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(50, 100), nn.ReLU(), nn.Linear(100, 20))
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            loader = DataLoader(torch.load("topics.pt"), batch_size=64, shuffle=True)

            for epoch in range(10):
                for x, target in loader:
                    p = torch.softmax(model(x), dim=1)
                    loss = -(target * torch.log(p)).sum(dim=1).mean()  # <-- NN702
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                print(epoch, loss.item())
            """,
            why="A cross-entropy with soft targets, written by hand.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F


            class Policy(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.hidden = nn.Linear(4, 128)
                    self.out = nn.Linear(128, 2)

                def forward(self, state):
                    return F.softmax(self.out(F.relu(self.hidden(state))), dim=-1)


            def update(policy, optimizer, states, actions, returns):
                probabilities = policy(states)
                picked = probabilities.gather(1, actions.unsqueeze(1)).squeeze(1)
                loss = -(torch.log(picked) * returns).mean()  # <-- NN702
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()


            def main():
                policy = Policy()
                optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
                for episode in range(1000):
                    update(policy, optimizer, *torch.load(f"episode{episode}.pt"))


            main()
            """,
            why="A policy gradient takes the logarithm of the softmax that another method made.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class MetricTrainer:
                def __init__(self, margin=1.0):
                    self.net = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 16))
                    self.margin = margin
                    self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01)

                def distances(self, z):
                    squares = (z**2).sum(dim=1)
                    squared = squares[:, None] + squares[None, :] - 2 * z @ z.t()
                    return torch.sqrt(torch.clamp(squared, min=0.0))  # <-- NN702

                def fit(self, loader):
                    for x, y in loader:
                        d = self.distances(self.net(x))
                        same = (y[:, None] == y[None, :]).float()
                        loss = (same * d + (1 - same) * torch.relu(self.margin - d)).mean()
                        self.optimizer.zero_grad()
                        loss.backward()
                        self.optimizer.step()


            MetricTrainer().fit(DataLoader(torch.load("faces.pt"), batch_size=64, shuffle=True))
            """,
            why="Pairwise distances: the diagonal is cut off at 0, its derivative is NaN.",
        ),
        Example(
            """
            # file: networks.py
            from torch import nn


            class Discriminator(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.net = nn.Sequential(nn.Linear(784, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1), nn.Sigmoid())

                def forward(self, x):
                    return self.net(x)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from networks import Discriminator

            D = Discriminator()
            G = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 784), nn.Tanh())
            d_opt = torch.optim.Adam(D.parameters(), lr=2e-4)
            g_opt = torch.optim.Adam(G.parameters(), lr=2e-4)

            for images, _ in DataLoader(torch.load("mnist.pt"), batch_size=64, shuffle=True):
                fake = G(torch.randn(len(images), 64))
                p_real, p_fake = D(images), D(fake.detach())
                d_loss = -torch.mean(torch.log(p_real) + torch.log(1 - p_fake))  # <-- NN702
                d_opt.zero_grad()
                d_loss.backward()
                d_opt.step()
                g_loss = torch.mean(torch.log(1 - D(fake)))  # <-- NN702
                g_opt.zero_grad()
                g_loss.backward()
                g_opt.step()
            """,
            why="The original GAN loss on the sigmoid of another file.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 5), nn.Softmax(dim=1))
            optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
            for x, y in DataLoader(torch.load("grains.pt"), batch_size=32, shuffle=True):
                picked = net(x).gather(1, y[:, None])
                loss = -torch.log(picked).mean()  # <-- NN702 likely
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The probability of an action that was drawn is not 0, that of a true class can be.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(50, 100), nn.ReLU(), nn.Linear(100, 20))
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            loader = DataLoader(torch.load("topics.pt"), batch_size=64, shuffle=True)

            for epoch in range(10):
                entropy = 0.0
                for x, target in loader:
                    scores = model(x)
                    log_p = F.log_softmax(scores, dim=1)
                    p = torch.softmax(scores, dim=1)
                    confidence = -(p * torch.log(p.clamp(min=1e-8))).sum(dim=1).mean()
                    loss = -(target * log_p).sum(dim=1).mean() - 0.01 * confidence
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    with torch.no_grad():
                        entropy += -(p * torch.log(p)).nansum(dim=1).mean().item()
                print(epoch, entropy / len(loader))
            """,
            why="log_softmax, a clamp, and an entropy that is only printed.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class VAE(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.encoder = nn.Linear(784, 40)
                    self.decoder = nn.Linear(20, 784)

                def forward(self, x):
                    mean, raw = self.encoder(x).chunk(2, dim=1)
                    std = F.softplus(raw) + 1e-4
                    z = mean + std * torch.randn_like(std)
                    kl = 0.5 * (mean**2 + std**2 - 2 * torch.log(std) - 1).sum(dim=1)
                    return torch.sigmoid(self.decoder(z)), kl.mean()


            def main(epsilon=1e-7):
                model = VAE()
                link = nn.Linear(20, 20)
                optimizer = torch.optim.Adam([*model.parameters(), *link.parameters()])
                for x, z, joined in DataLoader(torch.load("mnist.pt"), batch_size=128, shuffle=True):
                    p, kl = model(x)
                    dots = torch.clamp(torch.sigmoid((z * link(z)).sum(dim=1)), min=epsilon, max=1 - epsilon)
                    kl = kl - (joined * torch.log(dots) + (1 - joined) * torch.log(1 - dots)).mean()
                    likelihood = (x * torch.log(p + epsilon) + (1 - x) * torch.log(1 - p + epsilon)).sum(dim=1)
                    loss = kl - likelihood.mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()


            main()
            """,
            why="Softplus with a floor, a clamp on both sides, and an epsilon in each logarithm.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Siamese:
                def __init__(self):
                    self.net = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 16))
                    self.scale = nn.Parameter(torch.ones(1))
                    self.optimizer = torch.optim.SGD([*self.net.parameters(), self.scale], lr=0.01)

                def fit(self, loader):
                    for a, b, same in loader:
                        difference = self.net(a) - self.net(b)
                        near = torch.norm(difference, dim=1)
                        far = torch.sqrt(difference.pow(2).sum(dim=1).clamp(min=1e-12))
                        weight = torch.log1p(torch.relu(self.scale))
                        loss = weight * (same * near + (1 - same) * torch.relu(1.0 - far)).mean()
                        self.optimizer.zero_grad()
                        loss.backward()
                        self.optimizer.step()


            Siamese().fit(DataLoader(torch.load("pairs.pt"), batch_size=64, shuffle=True))
            """,
            why="norm is safe at 0, the clamp stays above it, and log1p of 0 is 0.",
        ),
        Example(
            """
            # file: losses.py
            import torch
            import torch.nn.functional as F


            def gan_losses(real, fake):
                d_loss = -(F.logsigmoid(real) + F.logsigmoid(-fake.detach())).mean()
                g_loss = -F.logsigmoid(fake).mean()
                return d_loss, g_loss


            def scaled(prices):
                return torch.log(prices)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from losses import gan_losses, scaled

            D = nn.Linear(32, 1)
            G = nn.Linear(8, 32)
            d_opt = torch.optim.Adam(D.parameters(), lr=2e-4)
            for (prices,) in DataLoader(torch.load("prices.pt"), batch_size=64, shuffle=True):
                d_loss, _ = gan_losses(D(scaled(prices)), D(G(torch.randn(64, 8))))
                d_opt.zero_grad()
                d_loss.backward()
                d_opt.step()
            """,
            why="logsigmoid; the logarithm of the data is a matter of the data.",
        ),
        Example(
            """
            import torch
            from torch import nn

            pointer = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 20))
            gate = nn.Linear(16, 20)
            optimizer = torch.optim.Adam([*pointer.parameters(), *gate.parameters()])
            for x, y in torch.load("routes.pt"):
                p = torch.softmax(10 * torch.tanh(pointer(x)), dim=-1)
                entropy = -(p * torch.log(p)).sum(-1).mean()
                q = torch.sigmoid(gate(x))
                q.data.clamp_(1e-6, 1 - 1e-6)
                loss = -(y * torch.log(q)).mean() - 0.01 * entropy
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="Scores that keep within a few units, and numbers that are kept off the edge in place.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Logarithms and roots at the edge of their domain, on the way to a loss."""
        for found in numerics.unsafe_operations(program):
            message, advice = _TEXTS[found.kind]
            yield self.finding(
                found.site,
                message,
                advice,
                evidence=[Hop(_HOPS.get(found.kind, "this can be exactly 0"), found.made or found.site)],
                confidence=Confidence.CERTAIN if found.certain else Confidence.LIKELY,
            )


_HOPS = {"cut": "what is cut off here is exactly 0", "one minus sigmoid": "this can be exactly 1"}
_LOG = (
    "The loss takes the logarithm of the {} made at {{0}}, which is exactly 0 in single precision as soon as {}: the "
    "loss is then infinite and its gradient NaN."
)
_TEXTS = {
    "softmax": (
        _LOG.format("softmax", "the network is sure"),
        "Use `log_softmax` on the scores instead of `log(softmax(...))`.",
    ),
    "sigmoid": (
        _LOG.format("sigmoid", "the network is sure"),
        "Use `F.logsigmoid` on the scores, or a loss on logits such as `BCEWithLogitsLoss`.",
    ),
    "one minus sigmoid": (
        (
            "The loss takes the logarithm of 1 minus the sigmoid made at {0}, which is exactly 0 in single precision "
            "as soon as the score exceeds 17: the loss is then infinite and its gradient NaN."
        ),
        "Use `F.logsigmoid(-scores)`, or a loss on logits such as `BCEWithLogitsLoss`.",
    ),
    "relu": (
        _LOG.format("ReLU output", "a unit is off"),
        "Add a small constant, or use `softplus`: `torch.log(x + 1e-8)`.",
    ),
    "cut": (
        (
            "The root of what {0} cuts off at 0: where it cuts, the derivative of the root is infinite, times 0 from "
            "the cut is NaN, and one such element makes all gradients NaN."
        ),
        "Cut off above 0: `torch.sqrt(x.clamp(min=1e-12))`.",
    ),
}
