"""NN603: gradients grow by orders of magnitude."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import optimizers
from ...tracer import evidence
from ..finding import Finding, Hop, Line, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Optimizer, Run


class ExplodingGradients(Rule):
    """The norm of the gradients grows by orders of magnitude, and nothing limits it.

    ## What it is

    Going backwards through a recurrent or a very deep network multiplies the gradient by one matrix per step. When
    these matrices stretch, the product grows exponentially with the length of the way. A learning rate that is too
    high does the same from step to step: each update makes the next gradient larger.

    ## Why it hurts training

    One huge gradient throws the weights far away from everything that was learned; adaptive optimizers remember its
    square for hundreds of steps and nearly stop. The loss jumps or grows, and often ends in NaN.

    ## How it is told apart from code that only looks alike

    - Gradients that begin tiny (zero-initialised heads) and become ordinary grow by a large factor as well: an
      absolute size is demanded too.
    - Losses that are summed over a batch, or targets in large units, have large gradients from the beginning: they
      must also grow.
    - A single spike that is over again is not growth: the last tenth of the steps counts, and the trend as a whole.
    - With clipping at the right place the steps see limited gradients only, and nothing is reported.

    In the source, a loop that trains through an LSTM, GRU or RNN, in a project that nowhere clips, hooks or reads a
    gradient, gets advice (`info`, off unless selected): it is a precaution that is missing, no bug.

    In a run, the norm is that of all gradients of an optimizer together, as its step found them. The median over the
    last tenth of the steps (5 at least) must be above 1000 and above 1000 times that of the first tenth, and the
    Mann-Kendall test must find an increase (z above 5, one-sided p below 3e-7). Pascanu, Mikolov and Bengio ("On the
    difficulty of training recurrent neural networks", 2013) clip at 0.5 to 10 times the usual norm, so a factor of
    1000 is far outside of what any such limit lets through; the absolute size is the project's own choice.

    ## What to do

    Limit the norm, and look for the cause: the scale of recurrent weights, missing normalisation, the learning rate.

    ```python
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    optimizer.step()
    ```
    """

    code = "NN603"
    name = "exploding-gradients"
    points = (35,)
    severity = Severity.ERROR
    triggers = ("backward",)
    options = {"steps": 20, "norm": 1000.0, "growth": 1000.0, "z": 5.0}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            rnn = nn.LSTM(7, 64, batch_first=True)
            head = nn.Linear(64, 1)
            optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=1e-3)
            for series, target in DataLoader(torch.load("ett.pt"), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(head(rnn(series)[0][:, -1]), target)
                loss.backward()  # <-- NN603
                optimizer.step()
            """,
            why="An LSTM without clipping.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Tagger(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.embedding = nn.Embedding(5000, 64)
                    self.gru = nn.GRU(64, 64, batch_first=True, bidirectional=True)
                    self.out = nn.Linear(128, 9)

                def forward(self, words):
                    return self.out(self.gru(self.embedding(words))[0])


            def train(model, loader, optimizer):
                for words, tags in loader:
                    loss = F.cross_entropy(model(words).flatten(0, 1), tags.flatten())
                    optimizer.zero_grad()
                    loss.backward()  # <-- NN603
                    optimizer.step()


            def main():
                model = Tagger()
                loader = DataLoader(torch.load("conll.pt"), batch_size=16, shuffle=True)
                train(model, loader, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))


            main()
            """,
            why="A tagger with a GRU.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Agent:
                def __init__(self):
                    self.memory = nn.RNN(8, 32, batch_first=True)
                    self.policy = nn.Linear(32, 4)
                    self.optimizer = torch.optim.RMSprop([*self.memory.parameters(), *self.policy.parameters()])

                def learn(self, episodes):
                    for states, actions, returns in episodes:
                        scores = self.policy(self.memory(states)[0])
                        picked = scores.log_softmax(-1).gather(-1, actions)
                        self.optimizer.zero_grad()
                        (-picked * returns).mean().backward()  # <-- NN603
                        self.optimizer.step()


            Agent().learn(torch.load("episodes.pt"))
            """,
            why="An agent with a plain RNN.",
        ),
        Example(
            """
            # file: model.py
            from torch import nn


            class Forecaster(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.rnn = nn.LSTM(6, 48, num_layers=3, batch_first=True)
                    self.out = nn.Linear(48, 12)

                def forward(self, series):
                    states, _ = self.rnn(series)
                    return self.out(states[:, -1])
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from model import Forecaster

            model = Forecaster()
            optimizer = torch.optim.Adam(model.parameters())
            for series, target in DataLoader(torch.load("load.pt"), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                F.l1_loss(model(series), target).backward()  # <-- NN603
                optimizer.step()
            """,
            why="The recurrent model is defined in another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            rnn = nn.LSTM(7, 64, batch_first=True)
            head = nn.Linear(64, 1)
            optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=1e-3)
            for series, target in DataLoader(torch.load("ett.pt"), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(head(rnn(series)[0][:, -1]), target)
                loss.backward()
                nn.utils.clip_grad_norm_([*rnn.parameters(), *head.parameters()], 1.0)
                optimizer.step()
            """,
            why="The same, clipped.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Tagger(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.gru = nn.GRU(64, 64, batch_first=True)
                    self.out = nn.Linear(64, 9)

                def forward(self, words):
                    return self.out(self.gru(words)[0])


            def main():
                model = Tagger()
                for p in model.parameters():
                    p.register_hook(lambda gradient: gradient.clamp(-1, 1))
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for words, tags in DataLoader(torch.load("conll.pt"), batch_size=16, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(words).flatten(0, 1), tags.flatten()).backward()
                    optimizer.step()


            main()
            """,
            why="A hook clamps each gradient.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self):
                    self.encoder = nn.GRU(16, 32, batch_first=True).requires_grad_(False)
                    self.head = nn.Linear(32, 2)
                    self.optimizer = torch.optim.Adam(self.head.parameters())

                def fit(self, loader):
                    for series, label in loader:
                        with torch.no_grad():
                            features = self.encoder(series)[1][-1]
                        self.optimizer.zero_grad()
                        nn.functional.cross_entropy(self.head(features.detach()), label).backward()
                        self.optimizer.step()


            Trainer().fit(DataLoader(torch.load("ecg.pt"), batch_size=32, shuffle=True))
            """,
            why="No gradient goes through the recurrent part.",
        ),
        Example(
            """
            # file: steps.py
            from torch.nn.utils import clip_grad_value_


            def apply(loss, model, optimizer):
                optimizer.zero_grad()
                loss.backward()
                clip_grad_value_(model.parameters(), 0.5)
                optimizer.step()
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from steps import apply

            model = nn.LSTM(6, 6, batch_first=True)
            optimizer = torch.optim.Adam(model.parameters())
            for series, target in DataLoader(torch.load("load.pt"), batch_size=32, shuffle=True):
                apply(F.l1_loss(model(series)[0], target), model, optimizer)
            """,
            why="Clipped by a helper of another file.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Advice for loops that train through a recurrent layer and clip nothing."""
        for backward, layer in optimizers.unclipped_recurrences(program):
            assert layer.site is not None
            yield self.finding(
                backward.site,
                "This trains through the recurrent layer at {0} and limits no gradient: one long or unusual sequence "
                "can throw the weights far away.",
                "Call `torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)` between `backward()` and `step()`.",
                evidence=[Hop("the gradient goes back through all time steps here", layer.site, layer.op)],
                severity=Severity.INFO,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for optimizer in run.optimizers:
            stream = run.stream("gradient", optimizer.key)
            if stream is None:
                continue
            steps, values = evidence.norms(stream)
            if len(values) < self.number("steps"):
                continue
            part = max(5, len(values) // 10)
            first, last = evidence.median(values[:part]), evidence.median(values[-part:])
            if last < self.number("norm") or last < self.number("growth") * first or first <= 0:
                continue
            thin = values[:: max(1, len(values) // 200)]
            z = evidence.mann_kendall(thin)
            if z < self.number("z"):
                continue
            began = next(s for s, v in zip(steps, values, strict=True) if v > 100 * first)
            yield self._report(run, optimizer, first, last, z, began)

    def _report(self, run: Run, optimizer: Optimizer, first: float, last: float, z: float, began: int) -> Finding:
        place = evidence.backward_of(run, optimizer)
        worst = _worst(run, optimizer)
        return self.finding(
            place.line if place else optimizer.step_line,
            f"Gradients explode: their norm was {first:.3g} at the beginning and is {last:.3g} now, 10 to the power "
            f"of {math.log10(last / first):.0f} times as much, over {optimizer.steps} steps (Mann-Kendall z = {z:.1f}, "
            f"p = {evidence.tail(z):.1g}); it left its range at step {began}. The updates destroy what was learned.",
            "Clip before the step, `torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)`, and lower the learning "
            "rate or the scale of the weights that multiply the gradient.",
            evidence=[
                Hop("the gradients come from here", place.line if place else None, f"norm {last:.3g}"),
                *([Hop(f"`{worst[0]}` has the largest", worst[1], f"norm {worst[2]:.3g}")] if worst else []),
                Hop("and are used here without a limit", optimizer.step_line, f"{optimizer.steps} steps"),
            ],
        )


def _worst(run: Run, optimizer: Optimizer) -> tuple[str, Line | None, float] | None:
    stream = run.stream("gradient", optimizer.key)
    if stream is None:
        return None
    row = stream.last
    known = [(value, key) for key, value in zip(stream.layout, row, strict=False) if math.isfinite(value)]
    if not known:
        return None
    value, key = max(known)
    p = run.of("parameter", key)
    return (p.name, p.line, value) if p is not None and p.name else None
