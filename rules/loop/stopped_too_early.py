"""NN511: the training ended while the loss was still falling."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Metric, Run


class StoppedTooEarly(Rule):
    """At the end of the run the training loss was still falling fast.

    ## What it is

    The trend of the loss over the last quarter of the steps is tested, and the second half of it is compared with the
    first.

    ## Why it hurts training

    What is evaluated and kept is a network in the middle of its training; comparisons between such runs compare
    speeds, not models.

    ## How it is told apart from code that only looks alike

    - A loss that falls slowly always falls a little: the last eighth must be a twentieth lower than the one before
      it.
    - A training loss may fall while the network overfits: where the script logs a loss of held-out data (`val_loss`
      through TensorBoard, wandb, Lightning, MLflow or tqdm) that rises, it is not reported.
    - A script that was killed has no end, and one with fewer than 200 steps no trend. Short experiments are stopped
      early on purpose: likely, advice, off by default.

    The test is that of Mann and Kendall; at z below -4 chance is ruled out.

    ## What to do

    Train on: more epochs, or a stop by patience on the validation loss, so that the end is decided by the curve and not
    by the number of epochs that was guessed before.
    """

    code = "NN511"
    name = "stopped-too-early"
    points = (31,)
    severity = Severity.INFO
    symptom = True
    options = {"steps": 200, "z": 4, "fall": 0.05}

    def watch(self, run: Run) -> Iterator[Finding]:
        stepped = [optimizer for optimizer in run.optimizers if optimizer.steps]
        if not run.finished or run.failures or len(stepped) != 1 or stepped[0].steps < self.number("steps"):
            return
        place = evidence.backward_of(run, stepped[0])
        stream = run.stream("objective", place.key) if place is not None else None
        if place is None or stream is None:
            return
        losses = [row[0] for row in stream.rows]
        quarter = losses[-len(losses) // 4 :]
        if len(quarter) < 15 or not all(map(math.isfinite, losses)):
            return
        z = evidence.mann_kendall(quarter[:: max(1, len(quarter) // 400)])
        half = len(quarter) // 2
        before, after = evidence.moments(quarter[:half])[0], evidence.moments(quarter[half:])[0]
        if z > -self.number("z") or before <= 0 or after > (1 - self.number("fall")) * before:
            return
        if any(_rises(run, metric) for metric in run.metrics):
            return
        yield self.finding(
            place.line,
            f"The loss was still falling when the training ended: from {before:.4g} to {after:.4g} over the last "
            f"quarter of {stepped[0].steps} steps (Mann-Kendall z = {z:.1f}).",
            "Train on: more epochs, or a stop by patience on the validation loss.",
            evidence=[Hop("the loss is differentiated here", place.line, f"{losses[0]:.4g} -> {losses[-1]:.4g}")],
            confidence=Confidence.LIKELY,
        )


def _rises(run: Run, metric: Metric) -> bool:
    """Whether it is a loss on held-out data, as the script logs it, that was rising at the end."""
    words = set(re.findall(r"[a-z]+", metric.name.lower()))
    stream = run.stream("metric", metric.key)
    if "loss" not in words or not words & _HELD_OUT or stream is None:
        return False
    values = [row[0] for row in stream.rows]
    return len(values) >= 4 and values[-1] > min(values) and evidence.mann_kendall(values[-len(values) // 2 :]) > 0


_HELD_OUT = frozenset(("val", "valid", "validation", "test", "eval", "dev"))
