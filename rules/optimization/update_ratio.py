"""NN601: one step changes a layer by far too much, or by next to nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Optimizer, Parameter, Run


class UpdateRatio(Rule):
    """The ratio of update to weight of a layer is far from a thousandth for a long time.

    ## What it is

    For each matrix of weights the norm of what a step changed is divided by the norm of the weights. A thousandth is
    usual; here it is a factor of 30 away, as median over at least 100 steps.

    ## Why it hurts training

    Far above, a layer is overwritten every few steps: what it learned is lost, and the loss jumps. Far below, it stands
    still while the others learn.

    ## How it is told apart from code that only looks alike

    - Biases, norms and weights that began at zero have ratios of their own and are not judged.
    - Warm-up and decay pass through all ratios: the median over the run counts.
    - The thousandth is a rule of thumb (Karpathy, CS231n notes, "Ratio of weights:updates"): likely, advice, off by
      default.

    ## What to do

    Change the learning rate, or give the layer's parameters a group with a rate of their own.
    """

    code = "NN601"
    name = "update-ratio"
    points = (33, 36)
    severity = Severity.INFO
    options = {"usual": 1e-3, "factor": 30, "steps": 100, "looks": 20}

    def watch(self, run: Run) -> Iterator[Finding]:
        for optimizer in run.optimizers:
            if optimizer.steps < self.number("steps"):
                continue
            found = []
            for p in evidence.members(run, optimizer):
                ratio = self._ratio(run, optimizer, p)
                usual, factor = self.number("usual"), self.number("factor")
                if ratio is not None and not usual / factor <= ratio <= usual * factor:
                    found.append((p, ratio))
            if not found:
                continue
            p, ratio = max(found, key=lambda pair: abs(pair[1] - self.number("usual")))
            module = run.of("module", p.module)
            rate = optimizer.rates[0] if optimizer.rates else math.nan
            word = "more than" if ratio > self.number("usual") else "less than"
            yield self.finding(
                (module.line if module is not None else None) or p.line or optimizer.line,
                f"A step changes `{p.name}` by {ratio:.1g} of its norm (median over {optimizer.steps} steps), {word} a "
                f"thirtieth away from the usual thousandth; so it is for {len(found)} matrices of weights.",
                "Change the learning rate, or give these layers a parameter group with a rate of their own.",
                evidence=[
                    Hop(
                        "the steps are made here",
                        optimizer.step_line,
                        f"rate {rate:.3g}",
                    ),
                    Hop("the optimizer is made here", optimizer.line, evidence.listed(q.name for q, _ in found)),
                ],
                confidence=Confidence.LIKELY,
            )

    def _ratio(self, run: Run, optimizer: Optimizer, p: Parameter) -> float | None:
        updates, weights = run.stream("update", optimizer.key), run.stream("weight", optimizer.key)
        if updates is None or weights is None or len(p.shape) < 2 or len(updates.rows) < self.number("looks"):
            return None
        if p.key not in updates.layout or p.key not in weights.layout:
            return None
        above, below = updates.column(p.key).values, weights.column(p.key).values
        if not below or below[0] < 1e-8:
            return None
        ratios = [a / b for a, b in zip(above, below, strict=False) if b > 0 and a >= 0]
        return evidence.median(ratios) if ratios else None
