"""NN411: layers are assigned before the constructor of nn.Module has run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import forwards
from ...analyzer.knowledge import modules
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class MissingSuperInit(Rule):
    """A module gets layers before `super().__init__()` was called, so there is nowhere to register them.

    ## What it is

    `nn.Module.__init__` makes the dictionaries in which a module keeps its parameters and sub-modules. A class that
    has a constructor of its own must call it, through `super().__init__()`, before the first layer or parameter is
    assigned. Here the call is missing, or it stands below the first assignment.

    ## Why it hurts training

    The first assignment ends the program: "cannot assign module before Module.__init__() call". If the class is made
    late (a decoder after an hour of preprocessing, an option of the configuration that nobody uses in tests), so late
    is the error. A class whose base forgets the call fails in a line that looks right.

    ## How it is told apart from code that only looks alike

    - `super(Net, self).__init__()`, `nn.Module.__init__(self)` and a base class that calls it are all right, also
      through several classes and mixins.
    - Numbers, strings and lists may be assigned before the call.
    - Classes with a base that cannot be seen, with `__new__` or with a `__setattr__` of their own are left alone.
    - A class without a constructor inherits that of its base.

    ## What to do

    Make it the first line of the constructor:

    ```python
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, 10)
    ```
    """

    code = "NN411"
    name = "missing-super-init"
    points = (22,)
    severity = Severity.ERROR
    triggers = modules.LAYER_WORDS

    bad = [
        Example(
            """
            import torch
            from torch import nn


            class Net(nn.Module):
                def __init__(self, features, classes):
                    self.fc1 = nn.Linear(features, 64)  # <-- NN411
                    self.fc2 = nn.Linear(64, classes)

                def forward(self, x):
                    return self.fc2(torch.relu(self.fc1(x)))


            net = Net(20, 4)
            optimizer = torch.optim.Adam(net.parameters())
            """,
            why="The call is missing, in a flat script.",
        ),
        Example(
            """
            import torch.nn as nn
            import torch.nn.functional as F


            class ResBlock(nn.Module):
                def __init__(self, channels, stride=1):
                    self.stride = stride
                    self.conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=1)  # <-- NN411
                    super(ResBlock, self).__init__()
                    self.norm = nn.BatchNorm2d(channels)

                def forward(self, x):
                    return F.relu(self.norm(self.conv(x)))


            def make_stage(channels, blocks):
                return nn.Sequential(*[ResBlock(channels) for _ in range(blocks)])
            """,
            why="The call stands below the first layer; nobody makes the class here.",
        ),
        Example(
            """
            import pytorch_lightning as pl
            import torch
            import torch.nn.functional as F
            from torch import nn


            class LitRegressor(pl.LightningModule):
                def __init__(self, lr=1e-3):
                    self.lr = lr
                    self.scale = nn.Parameter(torch.ones(1))  # <-- NN411
                    self.body = nn.Linear(10, 1)

                def training_step(self, batch, batch_idx):
                    x, y = batch
                    return F.mse_loss(self.scale * self.body(x).squeeze(1), y)

                def configure_optimizers(self):
                    return torch.optim.Adam(self.parameters(), lr=self.lr)
            """,
            why="A LightningModule, and a parameter comes first.",
        ),
        Example(
            """
            # file: base.py
            from torch import nn


            class Encoder(nn.Module):
                def __init__(self, width):
                    self.width = width
            # file: text.py
            from torch import nn

            from base import Encoder


            class TextEncoder(Encoder):
                def __init__(self, vocabulary, width):
                    super().__init__(width)
                    self.embedding = nn.Embedding(vocabulary, width)  # <-- NN411
                    self.rnn = nn.GRU(width, width, batch_first=True)

                def forward(self, tokens):
                    return self.rnn(self.embedding(tokens))[0]
            # file: train.py
            from text import TextEncoder

            encoder = TextEncoder(10_000, 128)
            """,
            why="The base class in another file forgets the call.",
        ),
    ]

    good = [
        Example(
            """
            # file: encoder.py
            import torch
            from blocks import Network


            class Described:
                def __init__(self):
                    self.channels = 3


            class Encoder(Network, Described):
                def __init__(self, width):
                    super().__init__(width)
                    self.width = width


            print(Encoder(16)(torch.zeros(1, 3, 8, 8)).shape)
            # file: blocks.py
            from torch import nn


            class Network(nn.Module):
                def __init__(self, width):
                    super(Network, self).__init__()
                    self.stem = nn.Conv2d(3, width, 3)

                def forward(self, x):
                    return self.stem(x)
            """,
            why="Behind Network comes nn.Module, and then only Described: that is the order in which `super()` goes.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Net(nn.Module):
                def __init__(self, features, classes):
                    self.features = features
                    self.sizes = [features, 64, classes]
                    super().__init__()
                    self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(self.sizes, self.sizes[1:]))

                def forward(self, x):
                    for layer in self.layers:
                        x = torch.relu(layer(x))
                    return x


            net = Net(20, 4)
            net.extra = nn.Linear(4, 4)
            """,
            why="Only numbers and a list come before the call.",
        ),
        Example(
            """
            import torch.nn as nn
            from torch.nn import Module


            class Old(nn.Module):
                def __init__(self, n):
                    nn.Module.__init__(self)
                    self.fc = nn.Linear(n, n)


            class Older(Old):
                def __init__(self, n):
                    Old.__init__(self, n)
                    self.more = nn.Linear(n, n)


            class Plain(Module):
                pass


            plain = Plain()
            plain.fc = nn.Linear(3, 3)
            older = Older(4)
            """,
            why="Other ways to run the constructor, and a class that inherits it.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from transformers import PreTrainedModel


            class Named:
                def __init__(self, name=None, **kwargs):
                    super().__init__(**kwargs)
                    self.name = name


            class Head(Named, nn.Module):
                def __init__(self, width, classes, **kwargs):
                    super().__init__(**kwargs)
                    self.out = nn.Linear(width, classes)

                def forward(self, x):
                    return self.out(x)


            class Tagger(PreTrainedModel):
                def __init__(self, config):
                    super().__init__(config)
                    self.head = Head(config.hidden_size, 9, name="tags")


            head = Head(32, 4, name="topics")
            """,
            why="A mixin hands the call on; a base class of a library does it.",
        ),
        Example(
            """
            # file: registry.py
            class Backend:
                def __init__(self, model):
                    self.model = model
                    self.layers = []
            # file: train.py
            from torch import nn
            from somewhere import BaseModel

            from registry import Backend


            class Wrapped(BaseModel):
                def __init__(self, width):
                    self.fc = nn.Linear(width, width)
                    super().__init__()


            class Runner(Backend):
                def __init__(self, width):
                    self.fc = nn.Linear(width, width)
                    self.model = nn.Linear(width, 2)


            Runner(4)
            Wrapped(4)
            """,
            why="A base that nobody can see, and a class that is no module.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in forwards.premature_layers(program):
            late = "only later" if found.later else "never"
            yield self.finding(
                found.site,
                f"`self.{found.name}` is assigned before the constructor of nn.Module has been run ({found.owner} "
                f'calls `super().__init__()` {late}): torch raises "cannot assign module before Module.__init__() '
                'call".',
                "Call `super().__init__()` in the first line of the constructor.",
                evidence=[
                    Hop(f"{found.owner} is an nn.Module", found.cls),
                    Hop("the first layer or parameter is assigned here", found.site),
                ],
            )
