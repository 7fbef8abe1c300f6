"""NN603: gradients grow by orders of magnitude."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Finding, Hop, Line, Severity
from ..rule import Rule

if TYPE_CHECKING:
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

    The norm is that of all gradients of an optimizer together, as its step found them. The median over the last tenth
    of the steps (5 at least) must be above 1000 and above 1000 times that of the first tenth, and the Mann-Kendall
    test must find an increase (z above 5, one-sided p below 3e-7). Pascanu, Mikolov and Bengio ("On the difficulty of
    training recurrent neural networks", 2013) clip at 0.5 to 10 times the usual norm, so a factor of 1000 is far
    outside of what any such limit lets through; the absolute size is the project's own choice.

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
    options = {"steps": 20, "norm": 1000.0, "growth": 1000.0, "z": 5.0}

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
