"""NN520: a run is resumed without the state of its optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import optimizers
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class IncompleteResume(Rule):
    """Weights and epoch are restored and training goes on, but the optimizer starts anew.

    ## What it is

    A checkpoint gives back the weights and the number of the epoch, and the loop goes on from there. The optimizer's
    averages (of Adam, or of SGD with momentum) are not restored; they begin at zero in the middle of the training.

    ## Why it hurts training

    The first steps after a resume are those of a fresh optimizer with a late learning rate: Adam's are as long as the
    rate in every direction, and the loss jumps, sometimes for an epoch. A run that is interrupted is not the run that
    goes through. It may be meant, so this is advice (`info`), off unless selected.

    ## How it is told apart from code that only looks alike

    - Fine-tuning from pretrained weights starts at epoch 0; only a loop that begins at a number from the same file is
      resumed.
    - SGD without momentum has no state to lose.
    - An optimizer that is restored, or that unseen code got hold of, is left alone.

    ## What to do

    ```python
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, path)
    ...
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    ```
    """

    code = "NN520"
    name = "incomplete-resume"
    points = (32,)
    severity = Severity.INFO
    triggers = ("load_state_dict",)

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Linear(64, 10)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            checkpoint = torch.load("last.pt")
            model.load_state_dict(checkpoint["model"])  # <-- NN520
            for epoch in range(checkpoint["epoch"] + 1, 100):
                for x, y in DataLoader(torch.load("digits.pt"), batch_size=64, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
            why="Weights and epoch only.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--resume")
                args = parser.parse_args()
                model = nn.Linear(30, 2)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
                start = 0
                if args.resume:
                    state = torch.load(args.resume, map_location="cpu")
                    model.load_state_dict(state["state_dict"])  # <-- NN520
                    start = state["epoch"]
                for epoch in range(start, 50):
                    for x, y in DataLoader(torch.load("cells.pt"), batch_size=32, shuffle=True):
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()


            main()
            """,
            why="Resumed on demand.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, path):
                    self.model = nn.Linear(9, 1)
                    self.optimizer = torch.optim.AdamW(self.model.parameters())
                    blob = torch.load(path)
                    self.model.load_state_dict(blob["weights"])  # <-- NN520
                    self.epoch = blob["epoch"]

                def fit(self, loader):
                    for epoch in range(self.epoch, 200):
                        for x, y in loader:
                            self.optimizer.zero_grad()
                            nn.functional.mse_loss(self.model(x), y).backward()
                            self.optimizer.step()


            Trainer("run.pt").fit(DataLoader(torch.load("proteins.pt"), batch_size=64, shuffle=True))
            """,
            why="A trainer restores half.",
        ),
        Example(
            """
            # file: checkpoint.py
            import torch


            def resume(model, path):
                checkpoint = torch.load(path)
                model.load_state_dict(checkpoint["model"])  # <-- NN520
                return checkpoint["epoch"]
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from checkpoint import resume

            model = nn.Linear(20, 3)
            optimizer = torch.optim.RMSprop(model.parameters())
            for epoch in range(resume(model, "last.pt"), 30):
                for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
            why="A helper of another file gives back the epoch.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Linear(64, 10)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            checkpoint = torch.load("last.pt")
            model.load_state_dict(checkpoint["model"])
            optimizer.load_state_dict(checkpoint["optimizer"])
            for epoch in range(checkpoint["epoch"] + 1, 100):
                for x, y in DataLoader(torch.load("digits.pt"), batch_size=64, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
            why="All of it is restored.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def main():
                model = nn.Linear(30, 2)
                pretrained = torch.load("pretrained.pt")
                model.load_state_dict(pretrained["model"])
                print("pretrained for", pretrained["epoch"], "epochs")
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
                for epoch in range(10):
                    for x, y in DataLoader(torch.load("cells.pt"), batch_size=32, shuffle=True):
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()


            main()
            """,
            why="Fine-tuning starts afresh.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, path):
                    self.model = nn.Linear(9, 1)
                    self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
                    blob = torch.load(path)
                    self.model.load_state_dict(blob["weights"])
                    self.epoch = blob["epoch"]

                def fit(self, loader):
                    for epoch in range(self.epoch, 200):
                        for x, y in loader:
                            self.optimizer.zero_grad()
                            nn.functional.mse_loss(self.model(x), y).backward()
                            self.optimizer.step()


            Trainer("run.pt").fit(DataLoader(torch.load("proteins.pt"), batch_size=64, shuffle=True))
            """,
            why="Plain SGD has no state.",
        ),
        Example(
            """
            # file: checkpoint.py
            import torch


            def resume(path, **parts):
                checkpoint = torch.load(path)
                for name, part in parts.items():
                    part.load_state_dict(checkpoint[name])
                return checkpoint["epoch"]
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from checkpoint import resume

            model = nn.Linear(20, 3)
            optimizer = torch.optim.RMSprop(model.parameters())
            for epoch in range(resume("last.pt", model=model, optimizer=optimizer), 30):
                for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
            why="A helper of another file restores every part.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Advice for runs that go on with a fresh optimizer."""
        for restore, optimizer in optimizers.fresh_optimizers(program):
            yield self.finding(
                restore.site,
                "Weights and epoch are restored and training goes on, but the optimizer made at {0} starts anew: its "
                "averages are zero in the middle of the training, and the first steps are too long.",
                "Save `optimizer.state_dict()` with the weights, and restore it here (the scheduler's, too).",
                evidence=[Hop("this optimizer is not restored", optimizer.site)],
            )
