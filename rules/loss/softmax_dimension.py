"""NN312: softmax over an axis that holds no classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import fitting
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class SoftmaxDimension(Rule):
    """Softmax is taken over the batch, over a single number, or over an axis that torch has to guess.

    ## What it is

    Softmax makes the numbers along one axis sum to 1. Which axis, says `dim`. Here it is the axis of the samples
    (`dim=0` of scores of shape `(N, classes)`), an axis of length 1, or `dim` was left out: then torch takes axis 0
    for one and three dimensions and axis 1 for two and four, prints a warning once, and goes on.

    ## Why it hurts training

    Over the batch, the samples compete with each other: a sample's probability depends on which others happen to be
    beside it, and the classes of one sample do not sum to 1. The loss still falls a little. Over a single number the
    result is 1, whatever the network computes, and no gradient flows. With `(N, T, classes)` and no `dim`, the guess
    is the batch.

    ## How it is told apart from code that only looks alike

    - `dim=0` of a single sample, of attention weights over time-first sequences or over the nodes of a graph is
      right: the first axis must be known to be the batch of a loader, and the second one a known number of classes.
    - `dim=0` of a square table of similarities (contrastive losses) is meant.
    - `dim=-1` and `dim=1` of two dimensions are the same.
    - Code for any number of heads, clusters or positions may be used with one: over an axis of length 1 of three or
      more dimensions the finding is likely, not certain.
    - Where `dim` is missing and the number of dimensions is not known to be three, it is advice only (off by
      default): the guess may be right.

    In a run: the columns of what the loss gets (or of its exponentials) sum to 1 and the rows do not, in at least 5
    evaluations.

    ## What to do

    Say `dim=-1` where the classes come last, `dim=1` for `(N, classes, ...)`. A network with one output needs a
    sigmoid.
    """

    code = "NN312"
    name = "softmax-dimension"
    points = (19, 25)
    severity = Severity.ERROR
    triggers = ("softmax", "log_softmax", "Softmax", "LogSoftmax")
    options = {"evaluations": 5}

    bad = [
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc1 = nn.Linear(784, 64)
                    self.fc2 = nn.Linear(64, 10)

                def forward(self, x):
                    x = F.relu(self.fc1(x.view(x.size(0), -1)))
                    return F.log_softmax(self.fc2(x), dim=0)  # <-- NN312


            net = Net()
            optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
            for x, y in DataLoader(torch.load("mnist.pt"), batch_size=64, shuffle=True):
                loss = F.nll_loss(net(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The classes of a sample do not sum to 1, the samples do.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Decoder(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.out = nn.Linear(32, 1000)
                    self.softmax = nn.LogSoftmax()

                def forward(self, states):
                    return self.softmax(self.out(states))  # <-- NN312


            def train():
                net = Decoder()
                print(net(torch.zeros(8, 20, 32)))


            train()
            """,
            why="Three dimensions and no dim: torch takes the first axis.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            x, y = torch.randn(500, 20), torch.randint(0, 2, (500, 1)).float()
            model = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 1), nn.Softmax(dim=1))  # <-- NN312
            criterion = nn.BCELoss()
            optimizer = torch.optim.Adam(model.parameters())
            for features, label in DataLoader(TensorDataset(x, y), batch_size=10, shuffle=True):
                optimizer.zero_grad()
                loss = criterion(model(features), label)
                loss.backward()
                optimizer.step()
            """,
            why="The softmax of one output is always 1.",
        ),
        Example(
            """
            # file: net.py
            import torch
            from torch import nn


            class Policy(nn.Module):
                def __init__(self, actions=4):
                    super().__init__()
                    self.body = nn.Linear(8, 32)
                    self.out = nn.Linear(32, actions)

                def forward(self, x):
                    return torch.softmax(self.out(torch.tanh(self.body(torch.flatten(x, 1)))), 0)  # <-- NN312
            # file: train.py
            import torch
            from torch.utils.data import DataLoader

            from net import Policy


            def clone(policy, loader):
                optimizer = torch.optim.Adam(policy.parameters())
                for states, actions in loader:
                    loss = -(policy(states).gather(1, actions) + 1e-8).log().mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()


            clone(Policy(), DataLoader(torch.load("expert.pt"), batch_size=128, shuffle=True))
            """,
            why="The axis is a positional argument, and the loader is in another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc1 = nn.Linear(784, 64)
                    self.fc2 = nn.Linear(64, 10)

                def forward(self, x):
                    x = F.relu(self.fc1(x.view(x.size(0), -1)))
                    return F.log_softmax(self.fc2(x), dim=1)


            net = Net()
            optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
            for x, y in DataLoader(torch.load("mnist.pt"), batch_size=64, shuffle=True):
                loss = F.nll_loss(net(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                first = net.fc2(torch.rand(64))
                print(F.softmax(first, dim=0))
            """,
            why="Over the classes; and a single sample, whose classes are its first axis.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def clip_loss(image, text):
                logits = image @ text.t()
                rows, columns = logits.log_softmax(dim=1), logits.log_softmax(dim=0)
                return -(rows.diag() + columns.diag()).mean()


            left, right = nn.Linear(512, 64), nn.Linear(300, 64)
            optimizer = torch.optim.Adam([*left.parameters(), *right.parameters()])
            for image, text in DataLoader(torch.load("pairs.pt"), batch_size=256, shuffle=True):
                loss = clip_loss(F.normalize(left(image), dim=1), F.normalize(right(text), dim=1))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="Both directions of a table of similarities.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class AttentionPool(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.rnn = nn.GRU(width, 64)
                    self.score = nn.Linear(64, 1)

                def forward(self, x):
                    states, _ = self.rnn(x)
                    weights = torch.softmax(self.score(states), dim=0)
                    return (weights * states).sum(0)


            class Bag(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.score = nn.Linear(512, 1)

                def forward(self, bag):
                    return torch.softmax(self.score(bag), dim=0).t() @ bag
            """,
            why="Time comes first, or all the instances are one bag.",
        ),
        Example(
            """
            # file: functional.py
            def softmax(x):
                return x / x.sum()
            # file: use.py
            import numpy as np
            from scipy.special import softmax as scipy_softmax

            from functional import softmax

            scores = np.random.rand(3, 4, 5)
            print(softmax(scores), scipy_softmax(scores))
            """,
            why="Functions of that name that are not torch's.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in fitting.softmaxes(program):
            shape = str(found.shape) if found.shape is not None else "?"
            message, advice = _TEXTS[found.fault]
            yield self.finding(
                found.site,
                message.format(op=f"`{found.op}`", shape=shape),
                advice,
                evidence=[Hop("the axis is chosen here", found.site, shape)],
                severity=Severity.INFO if found.fault == "unsaid" else None,
                confidence=Confidence.CERTAIN if found.certain else Confidence.LIKELY,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for use in run.losses:
            least = self.number("evaluations")
            if not use.with_graph or use.by_column < max(least, use.measured):
                continue
            if use.log_probabilities or use.probabilities:
                continue
            yield self.finding(
                use.line,
                f"The probabilities that {use.function} gets sum to 1 along the batch, not over the classes, in all "
                f"{use.by_column} evaluations looked at: the samples of a batch compete for each class.",
                "Take the softmax over the classes: `dim=1` for (samples, classes), `dim=-1` otherwise.",
                evidence=[Hop("the loss gets them here", use.line, use.made_by or None)],
            )


_TEXTS = {
    "batch": (
        (
            "{op} of scores of shape {shape} is taken over the batch: the samples compete with each other, and the "
            "classes of a sample do not sum to 1."
        ),
        "Say `dim=1` (or `dim=-1`).",
    ),
    "single": (
        (
            "{op} of scores of shape {shape} is taken over an axis of length 1: the result is always 1 (its logarithm "
            "0), and no gradient flows."
        ),
        "Use a sigmoid for one output, or give the network one output for each class.",
    ),
    "implicit": (
        (
            "{op} of scores of shape {shape} has no `dim`: for three dimensions torch takes the first axis, which is "
            "usually the batch."
        ),
        "Say `dim=-1` (or the axis of the classes).",
    ),
    "unsaid": (
        (
            "{op} has no `dim`: torch guesses the axis by the number of dimensions, 0 for one and three, 1 for two and "
            "four."
        ),
        "Say `dim=-1` (or the axis of the classes).",
    ),
}
