"""NN311: the loss that is backpropagated is not one number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import gradients
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class FaultyCustomLoss(Rule):
    """A loss is backpropagated that was never reduced to one number.

    ## What it is

    `backward()` starts from a single number. A loss of one's own that ends in `(prediction - target) ** 2`, or one of
    torch's with `reduction="none"`, holds a number for every sample or element.

    ## Why it hurts training

    Torch refuses: "grad can be implicitly created only for scalar outputs". The usual repair in a hurry,
    `loss.backward(torch.ones_like(loss))`, takes the *sum*, so that the step grows with the size of the batch; and
    where the loss of one's own is only used in a late phase of the training, so late is the error.

    ## How it is told apart from code that only looks alike

    - `mean()` or `sum()` of weighted numbers behind `reduction="none"` is how weighted losses are written.
    - `backward(gradient)` is told what to start from.
    - A tensor of a single element may be backpropagated, whatever its shape: there must be a batch of a loader in it,
      or a known axis longer than one, and nothing but element-wise operations behind it.

    In an experiment a function of the script's own that is given a prediction and a target of equal shape, and returns
    the number that is minimised, is tried: it must be lower at the target than at its mirror image, have a finite
    gradient there, and not depend on the order of the samples. Losses without a target (of critics, of policies) are
    not judged, and what is found is only likely.

    ## What to do

    Reduce the loss to one number, in the loss itself, so that its size does not depend on the batch:

    ```python
    loss = ((prediction - target) ** 2).mean()
    ```
    """

    code = "NN311"
    name = "faulty-custom-loss"
    points = (18, 26)
    severity = Severity.ERROR
    experiments = ("losses",)
    triggers = ("backward",)

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
            criterion = nn.CrossEntropyLoss(reduction="none")
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()  # <-- NN311
                optimizer.step()
            """,
            why="One loss for each sample.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            def rmse(prediction, target, eps=1e-8):
                return torch.sqrt((prediction - target) ** 2 + eps)


            def train(dataset):
                net = nn.Linear(8, 3)
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                for x, y in DataLoader(dataset, batch_size=16, shuffle=True):
                    loss = rmse(net(x), y)
                    optimizer.zero_grad()
                    loss.backward()  # <-- NN311
                    optimizer.step()


            train(torch.load("train.pt"))
            """,
            why="A function of one's own without a mean.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class FocalLoss(nn.Module):
                def __init__(self, gamma=2.0):
                    super().__init__()
                    self.gamma = gamma

                def forward(self, logits, target):
                    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
                    return (1 - torch.exp(-bce)) ** self.gamma * bce


            class Trainer:
                def __init__(self, dataset):
                    self.net = nn.Conv2d(3, 1, 3, padding=1)
                    self.loader = DataLoader(dataset, batch_size=4, shuffle=True)
                    self.loss = FocalLoss()
                    self.optimizer = torch.optim.Adam(self.net.parameters())

                def fit(self):
                    for image, mask in self.loader:
                        loss = self.loss(self.net(image), mask)
                        self.optimizer.zero_grad()
                        loss.backward()  # <-- NN311
                        self.optimizer.step()


            Trainer(torch.load("train.pt")).fit()
            """,
            why="A focal loss that forgets the mean, in classes.",
        ),
        Example(
            """
            # file: losses.py
            import torch


            def log_cosh(prediction, target):
                difference = prediction - target
                return torch.log(torch.exp(difference) + torch.exp(-difference)) / 2
            # file: train.py
            import torch
            from torch import nn

            from losses import log_cosh

            net = nn.Linear(5, 2)
            optimizer = torch.optim.Adam(net.parameters())
            x, y = torch.randn(100, 5), torch.randn(100, 2)
            for step in range(200):
                loss = 0.5 * log_cosh(net(x), y)
                optimizer.zero_grad()
                loss.backward()  # <-- NN311
                optimizer.step()
            """,
            why="The loss is in another file; its shape is known from literals.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
            criterion = nn.CrossEntropyLoss(reduction="none")
            optimizer = torch.optim.Adam(model.parameters())
            for x, y, weight in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                loss = (criterion(model(x), y) * weight).sum() / weight.sum()
                loss.backward()
                optimizer.step()
            """,
            why="Weights for each sample, then a reduction.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            def penalty(critic, real, fake):
                mixed = (0.5 * real + 0.5 * fake).requires_grad_(True)
                score = critic(mixed)
                grad = torch.autograd.grad(score, mixed, torch.ones_like(score), create_graph=True)[0]
                return ((grad.flatten(1).norm(2, dim=1) - 1) ** 2).mean()


            def train(dataset):
                critic = nn.Linear(8, 1)
                optimizer = torch.optim.SGD(critic.parameters(), lr=0.1)
                for real, fake in DataLoader(dataset, batch_size=16, shuffle=True):
                    optimizer.zero_grad()
                    score = critic(fake)
                    score.backward(torch.ones_like(score))
                    penalty(critic, real, fake).backward()
                    optimizer.step()


            train(torch.load("train.pt"))
            """,
            why="A gradient is given to start from.",
        ),
        Example(
            """
            import torch
            from torch import nn


            def actor_critic(net, state, reward):
                value = net(state)
                advantage = reward - value
                loss = advantage**2
                loss.backward()


            net, policy = nn.Linear(4, 1), nn.Linear(4, 2)
            each = nn.CrossEntropyLoss(reduction="none")(policy(torch.randn(1, 4)), torch.tensor([1]))
            each.backward()
            actor_critic(net, torch.randn(1, 4), 1.0)
            actor_critic(net, torch.randn(4), 0.0)
            """,
            why="A single state: the loss has one element.",
        ),
        Example(
            """
            # file: losses.py
            import torch


            def tversky(prediction, target):
                p, t = prediction.flatten(), target.flatten()
                shared = torch.dot(p, t)
                return 1 - shared / (shared + 0.3 * torch.dot(1 - p, t) + 0.7 * torch.dot(p, 1 - t))
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from losses import tversky

            net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Sigmoid())
            optimizer = torch.optim.Adam(net.parameters())
            for image, mask in DataLoader(torch.load("train.pt"), batch_size=4, shuffle=True):
                loss = tversky(net(image), mask) + torch.linalg.norm(net(image) - mask)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="Other operations that give one number.",
        ),
        Example(
            """
            import torch

            x = torch.randn(3)
            try:
                x.backward()
            except RuntimeError as error:
                print(error)
            """,
            why="Shown on purpose.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for effect, shape, source in gradients.unreduced(program):
            yield self.finding(
                effect.site,
                f"backward() starts from a loss that was never reduced (it is made, element by element, of numbers of "
                f"shape {shape}): torch demands a single number.",
                "Take the mean: `loss.mean().backward()`.",
                evidence=[
                    Hop("more than one number comes from here", source or effect.site, str(shape)),
                    Hop("and is backpropagated here", effect.site),
                ],
            )

    def probe(self, run: Run) -> Iterator[Finding]:
        for check in run.checks:
            if not check.is_loss or not check.wrong:
                continue
            yield self.finding(
                check.line,
                f"`{check.name}` does not behave like a loss of prediction and target: {check.detail} "
                f"({check.formula:.4g} against {check.differences:.4g}).",
                "Look for a wrong sign, for roots and logarithms that reach zero (add a small number inside), for "
                "`detach` and `item`, and for sums that mix samples.",
                evidence=[Hop("the loss is defined here", check.line, check.detail)],
                confidence=Confidence.LIKELY,
            )
