"""NN413: forward is called by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import forwards
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class ForwardCalledDirectly(Rule):
    """`model.forward(x)` is called instead of `model(x)`, which leaves out everything that hangs on the call.

    ## What it is

    `model(x)` runs `nn.Module.__call__`, which runs hooks, then `forward`, then more hooks. `model.forward(x)` runs
    the bare function.

    ## Why it hurts training

    Forward hooks do not run: spectral and weight normalisation of the older kind, profilers, feature extractors,
    quantisation, and nnaudit's own tracer. `DistributedDataParallel` and `FullyShardedDataParallel` prepare the
    reduction of gradients in the call: without it, each process trains a model of its own. `torch.compile` is passed
    by. As long as nothing of that is used, nothing happens; hence this is advice.

    ## How it is told apart from code that only looks alike

    - `super().forward(x)` inside `forward` extends the forward pass of the base class.
    - `forward` of something that is no `nn.Module` (a chain of transforms, a player) is just a method.
    - Calling another method of the model (`model.encode(x)`) is a question of taste.

    ## What to do

    Call the module like a function; it hands its arguments on to `forward`, and hooks get their turn:

    ```python
    output = model(x)
    ```
    """

    code = "NN413"
    name = "forward-called-directly"
    points = (22,)
    severity = Severity.INFO
    triggers = ("forward",)

    bad = [
        Example(
            """
            import torch
            from torch import nn

            model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
            output = model.forward(torch.rand(2, 4))  # <-- NN413
            """,
            why="A container of torch, in a flat script.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(784, 10)

                def forward(self, x):
                    return F.log_softmax(self.fc(x.flatten(1)), dim=1)


            def train(loader):
                net = Net()
                optimizer = torch.optim.SGD(net.parameters(), lr=0.003)
                for images, labels in loader:
                    optimizer.zero_grad()
                    output = net.forward(images)  # <-- NN413
                    loss = F.nll_loss(output, labels)
                    loss.backward()
                    optimizer.step()
            """,
            why="A model of the project, in a training function.",
        ),
        Example(
            """
            from torch import nn


            class Decoder(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.embedding = nn.Embedding(100, 16)
                    self.out = nn.Linear(16, 100)

                def forward(self, x):
                    x = self.embedding.forward(x)  # <-- NN413
                    return self.out(x)
            """,
            why="A layer inside a module.",
        ),
        Example(
            """
            # file: net.py
            from torch import nn


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(8, 2)

                def forward(self, x):
                    return self.fc(x)
            # file: predict.py
            import torch

            from net import Net


            class Predictor:
                def __init__(self, path):
                    self.net = Net()
                    self.net.eval()

                def __call__(self, x):
                    with torch.no_grad():
                        return self.net.forward(x).argmax(1)  # <-- NN413


            Predictor("net.pt")(torch.rand(3, 8))
            """,
            why="A predictor around a model from another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn

            model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
            output = model(torch.rand(2, 4))
            """,
            why="The module itself is called.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Base(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(4, 4)

                def forward(self, x):
                    return self.fc(x)


            class Scaled(Base):
                def forward(self, x):
                    return 2 * super().forward(x)


            class Old(Base):
                def forward(self, x):
                    return Base.forward(self, x) + x


            print(Scaled()(torch.rand(1, 4)), Old()(torch.rand(1, 4)))
            """,
            why="The forward pass of the base class is extended.",
        ),
        Example(
            """
            class Player:
                def __init__(self, tracks):
                    self.tracks = tracks
                    self.position = 0

                def forward(self, seconds):
                    self.position += seconds


            def skip(player, model):
                player.forward(10)
                model.forward(3)


            skip(Player([]), Player([]))
            """,
            why="A method of that name on things that are no modules.",
        ),
        Example(
            """
            # file: ops.py
            import torch


            class Double(torch.autograd.Function):
                @staticmethod
                def forward(ctx, x):
                    return 2 * x

                @staticmethod
                def backward(ctx, grad):
                    return 2 * grad
            # file: use.py
            import torch

            from ops import Double

            y = Double.apply(torch.rand(3, requires_grad=True))
            z = Double.forward(None, torch.rand(3))
            """,
            why="An autograd function has a forward of its own.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for site, module in forwards.called_by_name(program):
            yield self.finding(
                site,
                f"`forward` of {program.class_name(module)} is called by name: hooks, DistributedDataParallel and "
                "`torch.compile` hang on the call of the module itself and are passed by.",
                "Call the module: `model(x)`.",
                evidence=[Hop("the call", site)],
            )
