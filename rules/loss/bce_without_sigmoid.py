"""NN303: binary cross-entropy gets numbers that are no probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..finding import Finding, Hop, Line, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import LossUse, Run

REFUSED = "all elements of input should be between 0 and 1"
"""What torch says where it checks."""


class BCEWithoutSigmoid(Rule):
    """Binary cross-entropy receives raw scores, though it expects probabilities.

    ## What it is

    `nn.BCELoss` and `F.binary_cross_entropy` take the logarithm of their input and of one minus their input. The input
    must be a probability, the output of a sigmoid. Here numbers outside of 0 to 1 reach it: the model ends in a
    linear layer and nobody applied the sigmoid.

    ## Why it hurts training

    On the CPU, torch refuses such numbers with an error as soon as it sees one. On other devices there may be no check,
    or an assertion of the device far from the line at fault; there the logarithm of a negative number is NaN or is
    clamped to -100, where the gradient is zero: such samples teach nothing.

    ## How it is told apart from code that only looks alike

    - `BCEWithLogitsLoss` and `F.binary_cross_entropy_with_logits` expect raw scores.
    - A sigmoid, a softmax or a `clamp` anywhere before the loss keeps the numbers in the interval; the numbers
      themselves are looked at, not the layers.
    - NaN is refused with the same error; that the network has diverged is another problem and is not reported here.
    - Where the numbers leave the interval by less than 0.001, the cause is rounding (sums of probabilities,
      interpolation), and the advice is another one. The limit is what float16 cannot tell from 1.

    ## What to do

    Let the loss apply the sigmoid, which is also numerically stable:

    ```python
    loss = F.binary_cross_entropy_with_logits(model(x), target)
    probability = model(x).sigmoid()  # for predictions
    ```
    """

    code = "NN303"
    name = "bce-without-sigmoid"
    points = (19,)
    severity = Severity.ERROR
    options = {"rounding": 1e-3}

    def watch(self, run: Run) -> Iterator[Finding]:
        refused = {f.loss: f.line for f in run.failures if REFUSED in f.message}
        for use in run.losses:
            if use.function != "binary_cross_entropy" or not use.outside_unit:
                continue
            if use.made_by in ("SigmoidBackward0", "SoftmaxBackward0"):
                continue
            if use.key in refused or use.with_graph:
                yield self._about(run, use, use.key in refused, refused.get(use.key) or use.line)

    def _about(self, run: Run, use: LossUse, refused: bool, line: Line | None) -> Finding:
        module = run.of("module", use.maker)
        seen = f"from {use.low:.3g} to {use.high:.3g}"
        consequence = (
            "torch refuses them, the run ends here"
            if refused
            else "the logarithm is not defined there, and training goes wrong in silence"
        )
        slack = self.number("rounding")
        rounding = use.low > -slack and use.high < 1 + slack
        evidence = [Hop("they reach the loss here", use.line, seen)]
        if module is not None:
            evidence.insert(0, Hop(f"the output of `{module.name}`", module.line or use.line, use.made_by or None))
        if rounding:
            return self.finding(
                line,
                f"binary cross-entropy expects probabilities and gets numbers {use.low:.9g} to {use.high:.9g}, outside "
                f"[0, 1] by rounding: {consequence}.",
                "Put `.clamp(0, 1)` behind the operation that rounds, or compute the loss from logits.",
                evidence=evidence,
            )
        return self.finding(
            line,
            f"binary cross-entropy expects probabilities and gets raw scores {seen}: {consequence}.",
            "Use `binary_cross_entropy_with_logits` (`BCEWithLogitsLoss`), or apply sigmoid to the scores first.",
            evidence=evidence,
        )
