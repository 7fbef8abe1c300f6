"""NN606: weights run away."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Run


class ParameterDistribution(Rule):
    """The weights or biases of a layer grow without end.

    ## What it is

    The root mean square of each parameter is recorded over the run. That of a layer grows to a hundred times its
    beginning and beyond anything useful, and is still growing.

    ## Why it hurts training

    Weights that run away saturate every activation behind them and make the loss insensitive to the input; in the end
    they overflow. A rate that is too high, a loss without a lower bound, or separable data without any regularisation
    drive them.

    ## How it is told apart from code that only looks alike

    - Biases, norms and heads that begin at zero grow from nothing: beside the growth, the size itself must be large.
    - Weights behind a normalisation grow slowly without harm; they do not reach such a size.

    A root mean square of 10 (weights are initialised near 0.05), a growth by 100, and a rise over the last third are
    asked for. TheDeepChecker (Ben Braiek and Khomh, 2023) watches parameters for divergence in this way.

    ## What to do

    Lower the learning rate, add weight decay, and look whether the loss has a lower bound.
    """

    code = "NN606"
    name = "parameter-distribution"
    points = (33,)
    severity = Severity.ERROR
    options = {"size": 10, "growth": 100, "looks": 20}

    def watch(self, run: Run) -> Iterator[Finding]:
        for optimizer in run.optimizers:
            stream = run.stream("weight", optimizer.key)
            if stream is None or len(stream.rows) < self.number("looks"):
                continue
            found = []
            for p in evidence.members(run, optimizer):
                if p.key not in stream.layout or p.loaded or len(p.shape) < 2:
                    continue
                sizes = [v / math.sqrt(p.size) for v in stream.column(p.key).values if math.isfinite(v)]
                if len(sizes) < self.number("looks") or sizes[0] <= 0:
                    continue
                rising = sizes[-1] > 1.1 * sizes[-len(sizes) // 3]
                if rising and sizes[-1] > self.number("size") and sizes[-1] > self.number("growth") * sizes[0]:
                    found.append((p, sizes))
            if not found:
                continue
            p, sizes = max(found, key=lambda pair: pair[1][-1])
            module = run.of("module", p.module)
            yield self.finding(
                (module.line if module is not None else None) or p.line or optimizer.line,
                f"The weights of `{p.name}` run away: from {sizes[0]:.2g} (root mean square) to {sizes[-1]:.3g} in "
                f"{optimizer.steps} steps, and on.",
                "Lower the learning rate, add weight decay, and look whether the loss has a lower bound.",
                evidence=[
                    Hop("the steps are made here", optimizer.step_line),
                    Hop("the optimizer is made here", optimizer.line, evidence.listed(q.name for q, _ in found)),
                ],
            )
