"""NN602: the learning rate is far from what the optimizer can use."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import optimizers
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class LearningRateOutOfRange(Rule):
    """A literal learning rate lies outside of the range that is of use for this optimizer.

    ## What it is

    `Adam(model.parameters(), lr=0.1)`: a rate that suits SGD, handed to an optimizer whose every step is about as long
    as the rate itself. Or a rate so small that nothing moves (`lr=1e-8`), often a slip of the keyboard. Or a rate of
    1e-3 for fine-tuning a whole pretrained transformer, which wipes out what it has learned.

    ## Why it hurts training

    With Adam each weight moves by about the rate in each step, whatever the gradient: 0.1 is larger than most weights,
    so the loss jumps and stays at the level of a constant prediction. A rate that is too small looks like a model that
    cannot learn.

    ## How it is told apart from code that only looks alike

    - A rate that a scheduler or the script itself changes is only a factor (`lr=1.0` with a `LambdaLR`).
    - Images, latent codes and single parameters are often optimized at high rates; only modules are judged.
    - A model of one or two layers can take a high rate; at least three layers with weights must be known.
    - SGD has a wide range: 20 or 30 is usual for language models with LSTM.
    - LBFGS, Adadelta, Adagrad and Rprop have ranges of their own and are not judged.

    The ranges are wide, and are a heuristic all the same: the finding is `likely`.

    In a run: at least 200 steps at one rate, each of which changes the weights by less than a 30,000th of their
    size (a thousandth is usual: Karpathy, CS231n notes), while the loss moves by less than 5 % in all. Where all steps
    together change less than a 10,000th, nothing was trained: that is `loss-not-decreasing`.

    In an experiment (`--probe rates`) copies are trained on one batch for 20 steps, at rates from 1e-6 to 10: the own
    rate must change the loss by less than a twentieth of what the best one does, and be thirty times away from it.

    ## What to do

    Start at 1e-3 for Adam, at 0.01 to 0.1 for SGD with momentum, and at 2e-5 to 5e-5 for fine-tuning a transformer, and
    try a tenth and ten times of it.
    """

    code = "NN602"
    name = "learning-rate-out-of-range"
    points = (29, 36)
    severity = Severity.WARNING
    experiments = ("rates",)
    triggers = ("backward",)
    options = {"steps": 200, "ratio": 3.3e-05, "fall": 0.05, "movement": 1e-4}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
            optimizer = torch.optim.Adam(model.parameters(), lr=0.1)  # <-- NN602
            for x, y in DataLoader(torch.load("digits.pt"), batch_size=64, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            """,
            why="A rate for SGD, given to Adam.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def make_optimizer(model, lr=1e-8):
                return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)  # <-- NN602


            def main():
                model = nn.Linear(30, 2)
                optimizer = make_optimizer(model)
                for x, y in DataLoader(torch.load("cells.pt"), batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()


            main()
            """,
            why="Adam's epsilon in place of a rate.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from transformers import AutoModelForSequenceClassification


            class FineTuner:
                def __init__(self, name):
                    self.model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=2)
                    self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)  # <-- NN602

                def fit(self, loader):
                    for batch in loader:
                        self.optimizer.zero_grad()
                        self.model(**batch).loss.backward()
                        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                        self.optimizer.step()


            FineTuner("bert-base-uncased").fit(DataLoader(torch.load("imdb.pt"), batch_size=16, shuffle=True))
            """,
            why="The default rate of Adam for a whole BERT.",
        ),
        Example(
            """
            # file: settings.py
            LEARNING_RATE = 0.5
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from settings import LEARNING_RATE

            model = nn.Sequential(nn.Linear(9, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
            optimizer = torch.optim.RMSprop(model.parameters(), LEARNING_RATE)  # <-- NN602
            for x, y in DataLoader(torch.load("proteins.pt"), batch_size=64, shuffle=True):
                optimizer.zero_grad()
                F.mse_loss(model(x), y).backward()
                optimizer.step()
            """,
            why="The rate is a constant of another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            line = nn.Linear(1, 1)
            fit = torch.optim.Adam(line.parameters(), lr=0.1)
            for x, y in DataLoader(torch.load("digits.pt"), batch_size=64, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
                fit.zero_grad()
                nn.functional.mse_loss(line(x[:, :1]), x[:, 1:2]).backward()
                fit.step()
            """,
            why="A usual rate, and a straight line that takes a high one.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def warm_up(step, dim=512, warmup=4000):
                step = max(step, 1)
                return dim**-0.5 * min(step**-0.5, step * warmup**-1.5)


            def main():
                model = nn.Transformer(d_model=512)
                optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
                scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up)
                for source, target in DataLoader(torch.load("pairs.pt"), batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    F.mse_loss(model(source, target[:-1]), target[1:]).backward()
                    optimizer.step()
                    scheduler.step()


            main()
            """,
            why="The schedule makes the rate.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class WordModel:
                def __init__(self):
                    self.embedding = nn.Embedding(33000, 200)
                    self.rnn = nn.LSTM(200, 200, 2)
                    self.out = nn.Linear(200, 33000)
                    parts = [*self.embedding.parameters(), *self.rnn.parameters(), *self.out.parameters()]
                    self.optimizer = torch.optim.SGD(parts, lr=20)

                def loss(self, words):
                    scores = self.out(self.rnn(self.embedding(words[:-1]))[0])
                    return nn.functional.cross_entropy(scores.flatten(0, 1), words[1:].flatten())

                def fit(self, loader):
                    for words in loader:
                        self.optimizer.zero_grad()
                        self.loss(words).backward()
                        nn.utils.clip_grad_norm_(self.rnn.parameters(), 0.25)
                        self.optimizer.step()


            def dream(image):
                optimizer = torch.optim.Adam([image.requires_grad_()], lr=0.1)
                for _ in range(100):
                    optimizer.zero_grad()
                    (image - image.mean()).abs().sum().backward()
                    optimizer.step()


            WordModel().fit(DataLoader(torch.load("wiki.pt"), batch_size=20))
            dream(torch.load("image.pt"))
            """,
            why="SGD for a language model, and the pixels of an image.",
        ),
        Example(
            """
            # file: schedule.py
            def set_rate(optimizer, epoch, base):
                for group in optimizer.param_groups:
                    group["lr"] = base * 0.5 ** (epoch // 10)
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from schedule import set_rate

            model = nn.Sequential(nn.Linear(9, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
            optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
            for epoch in range(50):
                set_rate(optimizer, epoch, 1e-3)
                for x, y in DataLoader(torch.load("proteins.pt"), batch_size=64, shuffle=True):
                    optimizer.zero_grad()
                    F.mse_loss(model(x), y).backward()
                    optimizer.step()
            """,
            why="The script of another file sets the rate.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Literal rates far outside of the usual range."""
        for found in optimizers.unusual_rates(program):
            name = optimizers.short_name(found.optimizer)
            yield self.finding(
                found.optimizer.site,
                f"A learning rate of {found.rate:g} is {_WHY[found.kind].format(name=name, bound=found.bound)}",
                _ADVICE[found.kind],
                evidence=[Hop(f"{name} steps here", found.step.site, f"lr = {found.rate:g}")],
                confidence=Confidence.LIKELY,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        """A loss that gets nowhere, because the steps are tiny."""
        for optimizer in run.optimizers:
            if optimizer.steps < self.number("steps") or len(optimizer.rates) != 1 or optimizer.without_gradient:
                continue
            place, ratio = evidence.backward_of(run, optimizer), evidence.update_ratio(run, optimizer)
            rates = run.stream("rate", optimizer.key)
            stream = run.stream("objective", place.key) if place is not None else None
            if place is None or stream is None or ratio is None or (rates is not None and len(rates.rows) > 1):
                continue
            losses = [row[0] for row in stream.rows if math.isfinite(row[0])]
            if ratio > self.number("ratio") or ratio <= 0 or len(losses) < 20:
                continue
            if ratio * optimizer.steps < self.number("movement"):
                continue  # all steps together change nothing: that is a loss that does not fall
            third = len(losses) // 3
            first, last = evidence.moments(losses[:third])[0], evidence.moments(losses[-third:])[0]
            if first <= 0 or abs(first - last) >= self.number("fall") * first:
                continue
            if any(p.loaded for p in evidence.members(run, optimizer)):
                continue
            rate = optimizer.rates[0]
            yield self.finding(
                optimizer.line,
                f"The learning rate of {rate:.3g} is far too low here: a step changes the weights by {ratio:.1g} of "
                f"their size (a thousandth is usual), and in {optimizer.steps} steps the loss went from {first:.4g} to "
                f"{last:.4g}.",
                f"Try {rate * 10:.1g}, {rate * 100:.1g} and {rate * 1000:.1g}.",
                evidence=[
                    Hop("the steps are made here", optimizer.step_line, f"update:weight {ratio:.1g}"),
                    Hop("the loss is differentiated here", place.line, f"{first:.4g} -> {last:.4g}"),
                ],
            )

    def probe(self, run: Run) -> Iterator[Finding]:
        for own, others in evidence.trials(run, "rate"):
            best = max(others, key=evidence.fall, default=own)
            far = max(best.value, own.value) / max(min(best.value, own.value), 1e-12)
            if evidence.fall(best) < 0.2 or evidence.fall(own) > 0.05 * evidence.fall(best) or far < 30:
                continue
            good = [t.value for t in others if evidence.fall(t) > 0.5 * evidence.fall(best)]
            yield self.finding(
                own.line,
                f"{own.steps} steps on one batch at the learning rate {own.value:g} change the loss from "
                f"{own.first:.4g} to {own.last:.4g}; at {best.value:g} it falls to {best.last:.4g}.",
                f"Try a rate from {min(good):g} to {max(good):g}.",
                evidence=[Hop(f"{own.setting} was tried on a copy", own.line, f"{len(others)} rates")],
                confidence=Confidence.LIKELY,
            )


_WHY = {
    "high": "far above what {name} can use for a network of several layers ({bound:g} at most): each step moves every "
    "weight by about that much, and the loss will not fall.",
    "low": "far below what moves any weight with {name} ({bound:g} at least): the model stays as it was initialised.",
    "pretrained": "so high for a whole pretrained transformer that its first steps wipe out what it has learned (usual "
    "are 2e-5 to 5e-5).",
}
_ADVICE = {
    "high": "Start at 1e-3, and try a tenth and ten times of it.",
    "low": "Start at 1e-3 for Adam and RMSprop, at 0.01 for SGD.",
    "pretrained": "Use a rate of 2e-5 to 5e-5, or train only a new head at the high one.",
}
