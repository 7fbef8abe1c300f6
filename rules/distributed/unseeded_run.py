"""NN804: the generators of random numbers are not seeded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import parallel
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class UnseededRun(Rule):
    """No generator is seeded anywhere in a project that trains, so that no run can be repeated.

    ## What it is

    The first weights, the order of the samples, augmentation and dropout are drawn at random. Without
    `torch.manual_seed(...)` each run draws others.

    ## Why it hurts training

    Two runs that differ in one hyperparameter differ in all random draws, too: what looks like an improvement of half
    a percent may be luck, and a run that diverged cannot be run again to find out why. It is no mistake by itself,
    so this is advice (`info`), off unless selected.

    ## How it is told apart from code that only looks alike

    - One seed anywhere in the project is taken for enough, also in a helper (`set_seed`, `seed_everything`) that
      cannot be seen.
    - Code that trains nothing needs no seed.

    ## What to do

    ```python
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    ```

    and compare settings over several seeds rather than one.
    """

    code = "NN804"
    name = "unseeded-run"
    points = (29,)
    severity = Severity.INFO
    triggers = ("backward",)

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Linear(10, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()  # <-- NN804
                optimizer.step()
            """,
            why="A script without a seed.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def train(model, loader, optimizer):
                for x, y in loader:
                    loss = F.mse_loss(model(x), y)
                    optimizer.zero_grad()
                    loss.backward()  # <-- NN804
                    optimizer.step()


            def main():
                model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.1), nn.Linear(16, 1))
                optimizer = torch.optim.Adam(model.parameters())
                train(model, DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True), optimizer)


            main()
            """,
            why="Functions without a seed.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self):
                    self.model = nn.Linear(10, 2)
                    self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

                def step(self, x, y):
                    self.optimizer.zero_grad()
                    nn.functional.cross_entropy(self.model(x), y).backward()  # <-- NN804
                    self.optimizer.step()


            trainer = Trainer()
            for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                trainer.step(x, y)
            """,
            why="A class without a seed.",
        ),
        Example(
            """
            # file: model.py
            from torch import nn


            def build():
                return nn.Sequential(nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 3))
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from model import build

            model = build()
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()  # <-- NN804
                optimizer.step()
            """,
            why="Two files without a seed.",
        ),
        Example(
            """
            # file: classify.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Linear(10, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()  # <-- NN804
                optimizer.step()
            # file: compress.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            torch.manual_seed(0)
            model = nn.Linear(10, 10)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for x in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x), x).backward()
                optimizer.step()
            """,
            why="The other script of the project is seeded; this one is not.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            torch.manual_seed(0)
            model = nn.Linear(10, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            """,
            why="Seeded at the top.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def main(seed):
                generator = torch.Generator()
                generator.manual_seed(seed)
                model = nn.Linear(8, 1)
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in DataLoader(torch.load("train.pt"), 32, shuffle=True, generator=generator):
                    loss = F.mse_loss(model(x), y)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()


            main(3)
            """,
            why="A generator of its own is seeded.",
        ),
        Example(
            """
            import torch
            from lightning.pytorch import seed_everything
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, seed):
                    seed_everything(seed, workers=True)
                    self.model = nn.Linear(10, 2)
                    self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

                def fit(self, loader):
                    for x, y in loader:
                        self.optimizer.zero_grad()
                        nn.functional.cross_entropy(self.model(x), y).backward()
                        self.optimizer.step()


            Trainer(1).fit(DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True))
            """,
            why="Lightning's helper seeds all generators.",
        ),
        Example(
            """
            # file: utils.py
            import random

            import numpy as np
            import torch


            def set_seed(seed):
                random.seed(seed)
                np.random.seed(seed)
                torch.manual_seed(seed)
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from utils import set_seed

            set_seed(0)
            model = nn.Linear(20, 3)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            """,
            why="A helper of another file seeds.",
        ),
        Example(
            """
            # file: engine.py
            import torch.nn.functional as F


            def fit(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            # file: run.py
            import numpy as np
            import torch
            from engine import fit
            from torch import nn
            from torch.utils.data import DataLoader

            np.random.seed(1)
            torch.manual_seed(1)
            model = nn.Linear(10, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            fit(model, DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True), optimizer)
            """,
            why="The script that imports the loop sets the seeds.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """One piece of advice for each file that trains, in a project without any seed."""
        for backward, step in parallel.unseeded_trainings(program):
            yield self.finding(
                backward.site,
                "This project trains and seeds no generator: first weights, order of the samples and dropout differ "
                "from run to run, and no run can be repeated or compared.",
                "Call `torch.manual_seed(...)` (and seed `random` and NumPy where they are used) before the model is "
                "made.",
                evidence=[Hop("the optimizer steps here", step.site)],
            )
