"""NN418: more regularisation than a network can learn under."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer.knowledge import modules, training
from ...analyzer.values import Data, Value, constant
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run, Stream


class ExcessiveRegularization(Rule):
    """Dropout or weight decay is so strong that the network may not be able to fit its training data.

    ## What it is

    Dropout that drops 70 % and more, L2 regularisation (`weight_decay` of SGD or Adam) of 0.1 and more, or
    dropout directly before a batch normalisation.

    ## Why it hurts training

    Regularisation keeps a network from fitting noise. Too much keeps it from fitting anything: the training loss stays
    high, higher than the evaluation loss. Coupled weight decay of 0.1 outweighs the gradient of the loss for most
    layers. Dropout before batch normalisation changes the variance that the normalisation learns: in evaluation
    the variance is another one, and the score is worse than it should be.

    This is advice, off by default: first see that the network can overfit, then add what keeps it from that.

    ## How it is told apart from code that only looks alike

    - `AdamW` decays decoupled from the gradient, scaled by the rate: 0.1 is a usual value there.
    - Rates that are not literals are not judged.
    - Dropout *after* batch normalisation, or in another branch, is usual.

    In a run: the same loss is computed in training and in evaluation, and over the last quarter of the run it is
    30 % and 0.2 higher in training (options `ratio` and `gap`), with layers that behave differently there. Easier
    evaluation data looks the same, so it is only likely.

    In an experiment (`--probe regularisers`) copies are trained on one batch for 60 steps, with dropout and weight
    decay and without. Without, the loss must halve; with them, it must stay above four fifths of where it began
    without.

    ## What to do

    Start without regularisation, then dropout of 0.1 to 0.5 and weight decay of 1e-5 to 1e-3.
    """

    code = "NN418"
    name = "excessive-regularization"
    points = (30,)
    severity = Severity.INFO
    experiments = ("regularisers",)
    triggers = ("Dropout", "dropout", "Dropout2d", "SGD", "Adam", "RMSprop")
    options = {"dropout": 0.7, "weight_decay": 0.1, "ratio": 1.3, "gap": 0.2}

    bad = [
        Example(
            """
            from torch import nn

            model = nn.Sequential(
                nn.Linear(100, 256),
                nn.ReLU(),
                nn.Dropout(0.8),  # <-- NN418
                nn.Linear(256, 10),
            )
            """,
            why="Four of five units are dropped.",
        ),
        Example(
            """
            import torch
            from torch import nn


            def configure(model: nn.Module):
                return torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=0.5)  # <-- NN418
            """,
            why="Coupled weight decay of 0.5.",
        ),
        Example(
            """
            import torch.nn as nn


            class Block(nn.Module):
                def __init__(self, a, b):
                    super().__init__()
                    self.conv = nn.Conv2d(a, b, 3, padding=1)
                    self.drop = nn.Dropout2d(0.2)
                    self.norm = nn.BatchNorm2d(b)

                def forward(self, x):
                    x = self.drop(self.conv(x))
                    return self.norm(x)  # <-- NN418
            """,
            why="Dropout before batch normalisation.",
        ),
        Example(
            """
            # file: config.py
            DECAY = 0.2
            # file: train.py
            import torch
            from torch import nn

            from config import DECAY


            class Trainer:
                def __init__(self):
                    self.model = nn.Linear(3, 1)
                    self.optimizer = torch.optim.SGD(  # <-- NN418
                        self.model.parameters(), lr=0.1, weight_decay=DECAY
                    )


            Trainer()
            """,
            why="The number is in another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn

            model = nn.Sequential(nn.Linear(9, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.5), nn.Linear(9, 2))
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
            """,
            why="AdamW, and dropout behind the normalisation.",
        ),
        Example(
            """
            import torch
            from torch import nn


            def build(rate, decay):
                net = nn.Sequential(nn.Dropout(rate), nn.Linear(4, 4))
                return net, torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=decay)
            """,
            why="The numbers are not known.",
        ),
        Example(
            """
            import torch.nn as nn


            class Block(nn.Module):
                def __init__(self, a, b):
                    super().__init__()
                    self.left = nn.Conv2d(a, b, 3)
                    self.right = nn.Conv2d(a, b, 3)
                    self.norm = nn.BatchNorm2d(b)
                    self.drop = nn.Dropout2d(0.2)

                def forward(self, x):
                    return self.norm(self.left(x)) + self.drop(self.right(x))
            """,
            why="Dropout in another branch.",
        ),
        Example(
            """
            # file: config.py
            DECAY = 5e-4
            # file: train.py
            import torch
            from torch import nn

            from config import DECAY

            net = nn.Linear(3, 1)
            optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=DECAY)
            """,
            why="A usual value from another file.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for obj in program.objects:
            rate = constant(obj.argument("p") or obj.argument("0")) if obj.cls in modules.DROPOUTS else None
            if isinstance(rate, float) and self.number("dropout") <= rate < 1:
                yield self.finding(
                    obj.site,
                    f"Dropout drops {rate:.0%} of its input: what is left may not be enough to fit the training data.",
                    "Start with 0.1 to 0.5.",
                    evidence=[Hop("the rate", obj.site, str(rate))],
                )
            decay = constant(obj.argument("weight_decay")) if obj.cls in training.COUPLED_DECAY else None
            if isinstance(decay, (int, float)) and decay >= self.number("weight_decay"):
                yield self.finding(
                    obj.site,
                    f"weight_decay={decay} of {program.class_name(obj)} is added to the gradient and outweighs that of "
                    "the loss: the weights are pulled to zero.",
                    "Use 1e-5 to 1e-3, or AdamW, where it is decoupled.",
                    evidence=[Hop("the optimizer", obj.site, str(decay))],
                )
        yield from self._before_norm(program)

    def _before_norm(self, program: Program) -> Iterator[Finding]:
        for name in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"):
            for norm in program.operations(name):
                dropped = _dropped(norm.inputs[0]) if norm.inputs else None
                if dropped is not None and norm.site is not None and dropped.site is not None:
                    yield self.finding(
                        norm.site,
                        f"{name} comes right behind a dropout: it learns a variance that evaluation does not have.",
                        "Put the dropout behind the normalisation.",
                        evidence=[Hop("the dropout", dropped.site), Hop("the normalisation", norm.site)],
                    )

    def watch(self, run: Run) -> Iterator[Finding]:
        """A training loss that stays above the evaluation loss: what is trained is not what is evaluated."""
        if not any(module.train_dependent for module in run.modules):
            return
        for use in run.losses:
            training = run.stream("loss", use.key)
            if training is None or use.reduction != "mean":
                continue
            for other in run.losses:
                held = run.stream("evaluated", other.key)
                if held is None or other.function != use.function or other.reduction != "mean":
                    continue
                ours, theirs = _late(training), _late(held)
                if (
                    ours is None
                    or theirs is None
                    or ours < max(self.number("ratio") * theirs, theirs + self.number("gap"))
                ):
                    continue
                yield self.finding(
                    use.line,
                    f"Over the last quarter of the run the training loss is {ours:.4g} on average and the evaluation "
                    f"loss {theirs:.4g}: dropout and its like cost more in training than there is to gain.",
                    "Lower the dropout rates, the augmentation or the weight decay, and see whether both fall.",
                    evidence=[
                        Hop("the training loss", use.line, f"{ours:.4g}"),
                        Hop("the evaluation loss", other.line, f"{theirs:.4g}"),
                    ],
                    confidence=Confidence.LIKELY,
                )
                break

    def probe(self, run: Run) -> Iterator[Finding]:
        for own, others in evidence.trials(run, "regularisers"):
            off = max(others, key=evidence.fall, default=own)
            # The first loss under heavy dropout is a large number by chance: without it stands the one to compare with.
            if evidence.fall(off) < 0.5 or own.last < 0.8 * off.first:
                continue
            yield self.finding(
                own.line,
                f"With dropout and weight decay the loss of one batch is still {own.last:.4g} after {own.steps} steps; "
                f"without them it falls from {off.first:.4g} to {off.last:.4g}.",
                "Lower the dropout rate and the weight decay until the training loss falls.",
                evidence=[Hop("copies were trained here", own.line, f"dropout or weight decay up to {own.value:g}")],
                confidence=Confidence.LIKELY,
            )


def _dropped(value: Value) -> Data | None:
    """The dropout that a value comes from, with nothing but activations between."""
    while type(value) is Data and value.op in ("relu", "ReLU", "gelu", "GELU", "LeakyReLU", "leaky_relu"):
        value = value.inputs[0]
    return value if type(value) is Data and f"torch.nn.{value.op}" in modules.DROPOUTS else None


def _late(stream: Stream) -> float | None:
    """The mean over the last quarter; None for fewer than 40 values."""
    values = [row[0] for row in list(stream.rows)[-len(stream.rows) // 4 :] if math.isfinite(row[0])]
    return sum(values) / len(values) if len(values) >= 10 else None
