"""NN307: the shapes of prediction and target differ, and the loss compares everything with everything."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING

from ...analyzer.values import Data, Obj, constant
from ...tracer import evidence
from ...tracer.evidence import PAIRWISE
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import LossUse, Program
    from ...analyzer.shapes import Shape
    from ...tracer.run import Backward, Run

ELEMENTWISE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss")


class LossBroadcast(Rule):
    """Prediction and target have shapes that broadcast to a table of all pairs.

    ## What it is

    A network with one output gives shape `(N, 1)`, the targets have shape `(N,)`. An element-wise loss (`mse_loss`,
    `l1_loss`, `smooth_l1_loss`, `huber_loss`) broadcasts the two to `(N, N)`: every prediction is compared with
    every target of the batch. Torch prints one warning and goes on.

    ## Why it hurts training

    What minimises the mean over all pairs is the same number for all samples: the mean (or median) of the targets.
    The network learns to ignore its input. The loss falls to the variance of the targets and stays there,
    which looks like data without any signal.

    ## How it is told apart from code that only looks alike

    - A scalar target, such as `torch.tensor(1.0)` for a discriminator, is compared with every output: intended.
    - A target that is repeated along a dimension which the prediction has (several samples of one posterior, an
      ensemble, a time axis) makes no pairs: the result is no larger than the prediction.
    - `x[:, None]` against `y[None, :]` is a table of pairs on purpose; where numbers of dimensions are equal and
      `reduction="none"` leaves the table to the script, as in quantile regression, nothing is said.
    - A last batch of one sample has no pairs.

    In the source, one side must be known to be a column (its last dimension is 1, and a batch lies before it) and the
    other one to have a single dimension: from literals, layers, tables and what loaders do. In a run, it counts when
    all evaluations looked at, at least 3, had unequal shapes whose broadcast is larger than both. Where
    the numbers of dimensions are equal it is only likely. In a loss of one's own, `((prediction - y) ** 2).mean()`, the
    graph shows a column that becomes a square table; the loop's own lines are run once more, in a process apart, to
    find the operation that makes it and the shapes that meet there. A column that meets another column on purpose,
    as in a ranking loss, has a graph on both sides. Three is the project's own choice: one odd
    batch is not training.

    In an experiment the batch flows through the model: a column and a vector of as many samples that meet there make a
    table of all pairs. Such tables can be meant (`x.unsqueeze(1) - x`), so that is only likely.

    ## What to do

    Give both the same shape:

    ```python
    loss = F.mse_loss(model(x).squeeze(-1), y)
    loss = F.mse_loss(model(x), y.unsqueeze(-1))  # or this way
    ```
    """

    code = "NN307"
    name = "loss-broadcast"
    points = (25,)
    severity = Severity.ERROR
    experiments = ("shapes",)
    triggers = ("MSELoss", "mse_loss", "L1Loss", "l1_loss", "SmoothL1Loss", "smooth_l1_loss", "HuberLoss", "backward")
    options = {"evaluations": 3}

    bad = [
        Example(
            """
            import pandas as pd
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            table = pd.read_csv("housing.csv")
            X = torch.tensor(table.drop(columns=["price"]).values, dtype=torch.float32)
            y = torch.tensor(table["price"].values, dtype=torch.float32)
            loader = DataLoader(TensorDataset(X, y), batch_size=64, shuffle=True)
            model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 1))
            criterion = nn.MSELoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for epoch in range(100):
                for features, price in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(features), price)  # <-- NN307
                    loss.backward()
                    optimizer.step()
            """,
            why="A column of a table is the target, in a flat script.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from sklearn.datasets import make_regression
            from sklearn.model_selection import train_test_split


            class Regressor(nn.Module):
                def __init__(self, inputs):
                    super().__init__()
                    self.fc1 = nn.Linear(inputs, 32)
                    self.fc2 = nn.Linear(32, 1)

                def forward(self, x):
                    return self.fc2(F.relu(self.fc1(x)))


            def main():
                X, y = make_regression(n_samples=1000, n_features=10)
                X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
                X_train, y_train = torch.FloatTensor(X_train), torch.FloatTensor(y_train)
                net = Regressor(10)
                optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
                for step in range(500):
                    loss = F.smooth_l1_loss(net(X_train), y_train)  # <-- NN307
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()


            main()
            """,
            why="The whole data set at once, split by scikit-learn.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms


            class Trainer:
                def __init__(self):
                    self.net = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.Tanh(), nn.Linear(64, 1))
                    self.optimizer = torch.optim.Adam(self.net.parameters())
                    self.mae = nn.L1Loss()
                    data = datasets.MNIST(".", transform=transforms.ToTensor())
                    self.loader = DataLoader(data, batch_size=128, shuffle=True)

                def fit(self):
                    for image, digit in self.loader:
                        prediction = self.net(image)
                        loss = self.mae(prediction.float(), digit.float())  # <-- NN307
                        self.optimizer.zero_grad()
                        loss.backward()
                        self.optimizer.step()


            Trainer().fit()
            """,
            why="Labels of a data set of torchvision have one dimension.",
        ),
        Example(
            """
            # file: net.py
            from torch import nn


            class Critic(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.out = nn.Linear(8, 1)

                def forward(self, x):
                    return self.out(x).squeeze(-1)
            # file: train.py
            import torch
            import torch.nn.functional as F

            from net import Critic

            net = Critic()
            optimizer = torch.optim.Adam(net.parameters())
            x = torch.randn(256, 8)
            target = x.sum(dim=1, keepdim=True)
            for step in range(1000):
                loss = F.mse_loss(net(x), target)  # <-- NN307
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The other way round: the prediction was squeezed, the target keeps its column.",
        ),
    ]

    good = [
        Example(
            """
            import pandas as pd
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            table = pd.read_csv("housing.csv")
            X = torch.tensor(table.drop(columns=["price"]).values, dtype=torch.float32)
            y = torch.tensor(table["price"].values, dtype=torch.float32)
            loader = DataLoader(TensorDataset(X, y), batch_size=64, shuffle=True)
            columns = DataLoader(TensorDataset(X, y.view(-1, 1)), batch_size=64, shuffle=True)
            model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 1))
            criterion = nn.MSELoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for epoch in range(100):
                for features, price in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(features).squeeze(1), price) + criterion(model(features), price[:, None])
                    loss.backward()
                    optimizer.step()
                for features, price in columns:
                    optimizer.zero_grad()
                    loss = criterion(model(features), price)
                    loss.backward()
                    optimizer.step()
            """,
            why="Squeezed predictions, or targets with a column.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn


            def discriminate(net, optimizer, real, fake):
                valid = torch.tensor(1.0)
                loss = F.mse_loss(net(real), valid.expand_as(net(real))) + F.mse_loss(net(fake), torch.tensor(0.0))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()


            net = nn.Linear(16, 1)
            discriminate(net, torch.optim.Adam(net.parameters()), torch.randn(64, 16), torch.randn(64, 16))
            """,
            why="A scalar target is meant for every output.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn


            class Quantiles(nn.Module):
                def __init__(self, n):
                    super().__init__()
                    self.out = nn.Linear(32, n)

                def forward(self, x):
                    return self.out(x)


            def quantile_huber(theta, target, tau):
                pairs = F.smooth_l1_loss(theta.unsqueeze(2), target.unsqueeze(1), reduction="none")
                weight = (tau - (target.unsqueeze(1) < theta.unsqueeze(2)).float().detach()).abs()
                return (weight * pairs).sum(2).mean()


            net = Quantiles(8)
            optimizer = torch.optim.Adam(net.parameters())
            x, y = torch.randn(64, 32), torch.randn(64, 8)
            loss = quantile_huber(net(x), y, torch.linspace(0.1, 0.9, 8).view(1, -1, 1))
            loss.backward()
            optimizer.step()
            """,
            why="Quantile regression compares all pairs of quantiles on purpose.",
        ),
        Example(
            """
            # file: data.py
            import torch
            from torch.utils.data import Dataset


            class Sines(Dataset):
                def __len__(self):
                    return 1000

                def __getitem__(self, index):
                    x = torch.rand(1)
                    return x, torch.sin(x)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from data import Sines

            net = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
            criterion = nn.MSELoss()
            optimizer = torch.optim.Adam(net.parameters())
            for x, y in DataLoader(Sines(), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                loss = criterion(net(x), y)
                loss.backward()
                optimizer.step()
            """,
            why="A data set of one's own makes targets with a column; their shape is not known here.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for use in program.losses:
            if use.loss.function not in ELEMENTWISE or _reduction(use) == "none":
                continue
            first, second = program.shapes.of(use.prediction), program.shapes.of(use.target)
            if (
                first is None
                or second is None
                or not (_column_and_row(first, second) or _column_and_row(second, first))
            ):
                continue
            made = program.site_of(use.prediction), use.target and program.site_of(use.target)
            yield self.finding(
                use.site,
                f"{use.loss.function} compares a prediction of shape {first} with a target of shape {second} and "
                "broadcasts both to a table of all pairs: every prediction is pulled to every target of the batch, so "
                "the network learns the mean of the targets and ignores its input.",
                "Give both the same shape, `prediction.squeeze(-1)` or `target.unsqueeze(-1)`.",
                evidence=[
                    Hop("the prediction", made[0] or use.site, str(first)),
                    Hop("the target", made[1] or use.site, str(second)),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        yield from filter(None, map(self._by_hand, run.backwards))
        for use in run.losses:
            if use.function not in ELEMENTWISE or not use.with_graph or use.checked < self.number("evaluations"):
                continue
            first, second = use.input_shape, use.target_shape
            if use.broadcast < use.checked or not first or not second:
                continue
            pairs = _together(first, second)
            if math.prod(pairs) <= max(math.prod(first), math.prod(second)):
                continue
            same_rank = len(first) == len(second)
            if same_rank and use.reduction == "none":
                continue
            module = run.of("module", use.maker)
            evidence = [Hop("prediction and target meet here", use.line, f"{_shape(first)} and {_shape(second)}")]
            if module is not None:
                evidence.insert(0, Hop(f"the output of `{module.name}`", module.line or use.line, _shape(first)))
            yield self.finding(
                use.line,
                f"{use.function} compares a prediction of shape ({_shape(first)}) with a target of shape "
                f"({_shape(second)}) and broadcasts both to ({_shape(pairs)}): every prediction is pulled to every "
                "target of the batch, so the network learns the mean of the targets and ignores its input.",
                "Give both the same shape, `prediction.squeeze(-1)` or `target.unsqueeze(-1)`.",
                evidence=evidence,
                confidence=Confidence.LIKELY if same_rank else Confidence.CERTAIN,
            )

    def _by_hand(self, place: Backward) -> Finding | None:
        """A loss of one's own: its arithmetic makes the table."""
        if place.pairs < max(self.number("evaluations"), place.compared) or len(place.pairs_shapes) != 2:
            return None
        first, second = place.pairs_shapes
        table = _together(first, second)
        what = {"sub": "difference", "mul": "product"}.get(place.pairs_operation, place.pairs_operation)
        return self.finding(
            place.pairs_line or place.line,
            f"The {what} of tensors of shapes ({_shape(first)}) and ({_shape(second)}), one of them from the network, "
            f"is a table of shape ({_shape(table)}) that goes into the loss: every prediction is compared with every "
            "target of the batch, so the network learns the mean of the targets and ignores its input.",
            "Give both the same shape, `prediction.squeeze(-1)` or `target.unsqueeze(-1)`.",
            evidence=[
                Hop("the table is made here", place.pairs_line, f"{_shape(table)}"),
                Hop("its mean or sum is differentiated here", place.line, f"{place.calls} calls"),
            ],
        )

    def probe(self, run: Run) -> Iterator[Finding]:
        for mix in run.mixes:
            if mix.operation not in PAIRWISE or mix.inputs[1:] != [1] or len(mix.outputs) != 2:
                continue
            yield self.finding(
                mix.line,
                f"In `{mix.module}` `{mix.operation.strip('_')}` makes a table of {evidence.shape(mix.outputs)} out "
                f"of a column of {evidence.shape(mix.inputs)} and a vector of {mix.inputs[0]}: every sample meets "
                "every other one.",
                "Bring both to one shape: `squeeze(1)` the column, or leave the axis of the vector in place.",
                evidence=[Hop("the batch flows through here", mix.line, evidence.shape(mix.outputs))],
                confidence=Confidence.LIKELY,
            )

    def refute(self, finding: Finding, run: Run) -> str:
        uses = evidence.at(run.losses, finding)
        if not uses or any(use.checked < 3 or use.broadcast or use.input_shape != use.target_shape for use in uses):
            return ""
        shape = _shape(uses[0].input_shape)
        return f"prediction and target had one shape, {shape}, in all {uses[0].checked} evaluations looked at"


def _column_and_row(column: Shape, row: Shape) -> bool:
    """Whether these are ``(N, 1)`` and ``(N,)``; with more unknown dimensions between, still a table."""
    behind_batch = column.rank == 2 or (column.open and bool(column.front))
    several = row.rank == 1 and row.dim(0) != 1 and column.dim(0) != 1
    return behind_batch and column.dim(-1) == 1 and several


def _reduction(use: LossUse) -> object:
    """The reduction, where it is a literal."""
    subject, result = use.effect.subject, use.effect.result
    given = subject.argument("reduction") if isinstance(subject, Obj) else None
    if given is None and isinstance(result, Data):
        given = result.option("reduction")
    return constant(given)


def _together(first: list[int], second: list[int]) -> list[int]:
    """The shape that two shapes broadcast to."""
    return [max(a, b) for a, b in zip_longest(reversed(first), reversed(second), fillvalue=1)][::-1]


def _shape(shape: list[int]) -> str:
    return ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
