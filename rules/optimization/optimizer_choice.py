"""NN605: the optimizer has a relative that does the same thing better."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import optimizers
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class OptimizerChoice(Rule):
    """Plain SGD trains a deep network without momentum, or Adam gets a weight decay that it does not decay with.

    ## What it is

    - `SGD(model.parameters(), lr=...)` on a network of several layers, with no momentum.
    - `Adam(..., weight_decay=0.01)`: Adam adds the decay to the gradient and then divides it by the gradient's size,
      so that weights with large gradients hardly decay. `AdamW` decays all weights alike.

    ## Why it hurts training

    Without momentum SGD needs many times the epochs on an ill-conditioned loss, and is often taken for a model that
    does not learn. With Adam's decay, the regularisation that the number promises does not take place. Neither is a
    bug, so this is advice (`info`), off unless selected.

    ## How it is told apart from code that only looks alike

    - SGD with momentum, or for a model of one or two layers, is fine.
    - `Adam` without decay is fine; so is `AdamW` with it.
    - A rate or decay that is not a literal is not judged.

    In an experiment (`--probe optimizers`) copies are trained on one batch for 60 steps: the own optimizer must get
    less than a third as far as the best of four usual ones.

    ## What to do

    ```python
    torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    ```
    """

    code = "NN605"
    name = "optimizer-choice"
    points = (34,)
    severity = Severity.INFO
    experiments = ("optimizers",)
    triggers = ("backward",)

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)  # <-- NN605
            for x, y in DataLoader(torch.load("digits.pt"), batch_size=64, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            """,
            why="No momentum for three layers.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def main():
                model = nn.Linear(30, 2)
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-2)  # <-- NN605
                for x, y in DataLoader(torch.load("cells.pt"), batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()


            main()
            """,
            why="Adam with decay.",
        ),
        Example(
            """
            import torch
            from torch import nn, optim
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self):
                    first, second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
                    self.model = nn.Sequential(first, second, nn.Flatten(), nn.Linear(6272, 10))
                    self.optimizer = optim.SGD(self.model.parameters(), 0.1, momentum=0)  # <-- NN605

                def fit(self, loader):
                    for x, y in loader:
                        self.optimizer.zero_grad()
                        nn.functional.cross_entropy(self.model(x), y).backward()
                        self.optimizer.step()


            Trainer().fit(DataLoader(torch.load("cifar.pt"), batch_size=128, shuffle=True))
            """,
            why="A momentum of zero, in a class.",
        ),
        Example(
            """
            # file: build.py
            from torch.optim import Adam


            def optimizer_of(model):
                return Adam(model.parameters(), lr=3e-4, weight_decay=0.05)  # <-- NN605
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from build import optimizer_of

            model = nn.Linear(9, 1)
            optimizer = optimizer_of(model)
            for x, y in DataLoader(torch.load("proteins.pt"), batch_size=64, shuffle=True):
                optimizer.zero_grad()
                F.mse_loss(model(x), y).backward()
                optimizer.step()
            """,
            why="Made in another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
            for x, y in DataLoader(torch.load("digits.pt"), batch_size=64, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            """,
            why="With momentum.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def main(decay=0.0):
                model = nn.Linear(30, 2)
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=decay)
                slow = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
                for x, y in DataLoader(torch.load("cells.pt"), batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                    slow.step()


            main()
            """,
            why="Adam without decay, SGD for one layer.",
        ),
        Example(
            """
            import torch
            from torch import nn, optim
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, momentum):
                    first, second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
                    self.model = nn.Sequential(first, second, nn.Flatten(), nn.Linear(6272, 10))
                    self.optimizer = optim.SGD(self.model.parameters(), 0.1, momentum)

                def fit(self, loader):
                    for x, y in loader:
                        self.optimizer.zero_grad()
                        nn.functional.cross_entropy(self.model(x), y).backward()
                        self.optimizer.step()


            def main(momentum):
                Trainer(momentum).fit(DataLoader(torch.load("cifar.pt"), batch_size=128, shuffle=True))


            main(torch.load("settings.pt")["momentum"])
            """,
            why="The momentum is a setting.",
        ),
        Example(
            """
            # file: build.py
            from torch.optim import AdamW


            def optimizer_of(model):
                return AdamW(model.parameters(), lr=3e-4, weight_decay=0.05)
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from build import optimizer_of

            model = nn.Linear(9, 1)
            optimizer = optimizer_of(model)
            for x, y in DataLoader(torch.load("proteins.pt"), batch_size=64, shuffle=True):
                optimizer.zero_grad()
                F.mse_loss(model(x), y).backward()
                optimizer.step()
            """,
            why="AdamW decays.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Optimizers whose relative does it better."""
        for optimizer, kind in optimizers.choices(program):
            message, advice = _TEXTS[kind]
            yield self.finding(
                optimizer.site, message, advice, evidence=[Hop("the optimizer is made here", optimizer.site)]
            )

    def probe(self, run: Run) -> Iterator[Finding]:
        for own, others in evidence.trials(run, "optimizer"):
            best = max(others, key=evidence.fall, default=own)
            if evidence.fall(best) < 0.3 or evidence.fall(own) > 0.3 * evidence.fall(best):
                continue
            yield self.finding(
                own.line,
                f"In {own.steps} steps on one batch {own.setting} at {own.value:g} brings the loss from "
                f"{own.first:.4g} to {own.last:.4g}, {best.setting} with usual settings to {best.last:.4g}.",
                f"Try {best.setting}, or another learning rate.",
                evidence=[Hop("copies were trained here", own.line, f"{len(others)} optimizers")],
                confidence=Confidence.LIKELY,
            )


_TEXTS = {
    "decay": (
        "Adam divides its `weight_decay` by the size of the gradients: weights with large gradients hardly decay.",
        "Use `torch.optim.AdamW`, which decays all weights alike.",
    ),
    "momentum": (
        "SGD without momentum trains a network of several layers: it needs many times the epochs.",
        "Add `momentum=0.9`, or use `torch.optim.AdamW`.",
    ),
}
