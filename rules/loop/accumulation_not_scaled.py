"""NN510: gradients are summed over several batches and not divided by their number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import optimizers
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class AccumulationNotScaled(Rule):
    """Gradients of several batches are accumulated before each step, and the loss is not divided by their number.

    ## What it is

    `backward()` adds to the gradients. A loop that steps only at every n-th batch steps with the *sum* of n gradients,
    n times as long as that of the large batch that it stands for.

    ## Why it hurts training

    With SGD the learning rate is n times higher than it says, and changes whenever n is changed; clipping and weight
    decay are out of proportion too. Adam hides the factor, but not in its epsilon and in clipping. It may be meant (a
    rate tuned for it), so this is advice (`info`), off unless selected.

    ## How it is told apart from code that only looks alike

    - A loss that is divided by the number of batches, or multiplied by a weight, is left alone.
    - A loss that is summed over samples (`reduction="sum"`) is not a mean in the first place.
    - Accelerate's `accumulate` and Lightning's `accumulate_grad_batches` divide by themselves.
    - The step and the clearing must both be in a branch that counts the batches (`i % n`).

    ## What to do

    ```python
    loss = criterion(model(x), y) / accumulate
    loss.backward()
    if (i + 1) % accumulate == 0:
        optimizer.step()
        optimizer.zero_grad()
    ```
    """

    code = "NN510"
    name = "accumulation-not-scaled"
    points = (11, 36)
    severity = Severity.INFO
    triggers = ("backward",)

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Linear(64, 10)
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            optimizer.zero_grad()
            for i, (x, y) in enumerate(DataLoader(torch.load("digits.pt"), batch_size=16, shuffle=True)):
                loss = criterion(model(x), y)
                loss.backward()  # <-- NN510
                if (i + 1) % 4 == 0:
                    optimizer.step()
                    optimizer.zero_grad()
            """,
            why="Four batches are summed.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def train(model, loader, optimizer, every):
                model.train()
                optimizer.zero_grad()
                for step, (x, y) in enumerate(loader):
                    F.cross_entropy(model(x), y).backward()  # <-- NN510
                    if step % every == every - 1:
                        optimizer.step()
                        optimizer.zero_grad()


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--accumulate", type=int, default=8)
                args = parser.parse_args()
                model = nn.Linear(30, 2)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
                train(model, DataLoader(torch.load("cells.pt"), 8, shuffle=True), optimizer, args.accumulate)


            main()
            """,
            why="The number is an option.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self):
                    self.model = nn.Linear(768, 3).cuda()
                    self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
                    self.scaler = torch.amp.GradScaler("cuda")

                def fit(self, loader):
                    for i, (x, y) in enumerate(loader):
                        with torch.autocast("cuda", dtype=torch.float16):
                            loss = nn.functional.cross_entropy(self.model(x.cuda()), y.cuda())
                        self.scaler.scale(loss).backward()  # <-- NN510
                        if (i + 1) % 2 == 0:
                            self.scaler.step(self.optimizer)
                            self.scaler.update()
                            self.optimizer.zero_grad()


            Trainer().fit(DataLoader(torch.load("sentences.pt"), batch_size=8, shuffle=True))
            """,
            why="With mixed precision, in a class.",
        ),
        Example(
            """
            # file: losses.py
            import torch.nn.functional as F


            def loss_of(model, x, y):
                return F.mse_loss(model(x), y)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from losses import loss_of

            model = nn.Linear(9, 1)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            for i, (x, y) in enumerate(DataLoader(torch.load("proteins.pt"), batch_size=4, shuffle=True), start=1):
                loss_of(model, x, y).backward()  # <-- NN510
                if i % 16 == 0:
                    optimizer.step()
                    optimizer.zero_grad()
            """,
            why="The loss comes from another file as it is.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            ACCUMULATE = 4
            model = nn.Linear(64, 10)
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            optimizer.zero_grad()
            for i, (x, y) in enumerate(DataLoader(torch.load("digits.pt"), batch_size=16, shuffle=True)):
                loss = criterion(model(x), y) / ACCUMULATE
                loss.backward()
                if (i + 1) % ACCUMULATE == 0:
                    optimizer.step()
                    optimizer.zero_grad()
            """,
            why="Divided.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def train(model, loader, optimizer, total):
                for i, (x, y) in enumerate(loader):
                    loss = F.cross_entropy(model(x), y, reduction="sum")
                    loss.backward()
                    if (i + 1) % 4 == 0:
                        optimizer.step()
                        optimizer.zero_grad()


            def log_every(model, loader, optimizer):
                for i, (x, y) in enumerate(loader):
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                    if i % 100 == 0:
                        print(loss.item())


            def main():
                model = nn.Linear(30, 2)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
                loader = DataLoader(torch.load("cells.pt"), 8, shuffle=True)
                train(model, loader, optimizer, 4)
                log_every(model, loader, optimizer)


            main()
            """,
            why="A sum over samples, and a branch that only prints.",
        ),
        Example(
            """
            import torch
            from accelerate import Accelerator
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self):
                    self.accelerator = Accelerator(gradient_accumulation_steps=4)
                    model = nn.Linear(768, 3)
                    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
                    loader = DataLoader(torch.load("sentences.pt"), batch_size=8, shuffle=True)
                    self.model, self.optimizer, self.loader = self.accelerator.prepare(model, optimizer, loader)

                def fit(self):
                    for x, y in self.loader:
                        with self.accelerator.accumulate(self.model):
                            loss = nn.functional.cross_entropy(self.model(x), y)
                            self.accelerator.backward(loss)
                            self.optimizer.step()
                            self.optimizer.zero_grad()


            Trainer().fit()
            """,
            why="Accelerate divides.",
        ),
        Example(
            """
            # file: losses.py
            import torch.nn.functional as F


            def loss_of(model, x, y, batches):
                return F.mse_loss(model(x), y) / batches
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from losses import loss_of

            model = nn.Linear(9, 1)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            for i, (x, y) in enumerate(DataLoader(torch.load("proteins.pt"), batch_size=4, shuffle=True), start=1):
                loss_of(model, x, y, 16).backward()
                if i % 16 == 0:
                    optimizer.step()
                    optimizer.zero_grad()
            """,
            why="Divided in another file.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Advice for losses that are accumulated as they are."""
        for backward, step in optimizers.unscaled_accumulations(program):
            yield self.finding(
                backward.site,
                "Gradients of several batches are summed before the step at {0}, and the loss is not divided by their "
                "number: the step is as many times longer as batches are accumulated.",
                "Divide the loss by the number of accumulated batches before `backward()`.",
                evidence=[Hop("the step is made at every n-th batch only", step.site)],
            )
