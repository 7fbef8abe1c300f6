"""NN512: not even a handful of samples can be learned by heart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Run


class CannotOverfitSmallSet(Rule):
    """A copy of the model, trained on a few samples only, does not learn them by heart.

    ## What it is

    Any network that can learn at all can memorise a few samples: there are far more weights than targets. Here the
    loss stays near that of the best constant, with the script's own optimizer and with Adam at four rates, until it
    stopped falling.

    ## Why it hurts training

    What cannot be learned from two samples cannot be learned from two million. The fault is in the model or the loss:
    a path that is cut, a wrong axis, an activation behind the last layer that cannot reach the targets, inputs that are
    ignored, targets of another kind or shape than the output.

    ## How it is told apart from code that only looks alike

    - Only losses whose least value is zero are judged: cross-entropy and binary cross-entropy of hard targets, squared
      and absolute errors. Class weights, label smoothing, soft targets and further terms of unknown kind are left out.
    - Dropout is off; losses that draw random numbers are left out.
    - Equal inputs with different targets cannot be fitted by any model, and are left out; so are samples that all have
      one target.
    - Every training must have settled within its time.

    "Overfit a single batch of only a few examples" is the advice of Karpathy, "A Recipe for Training Neural
    Networks" (2019). The share of the constant's loss is the project's own choice: above nine tenths certain, above
    one half likely.

    ## What to do

    Mend what else is found first: it mostly explains this. Else follow two samples through the model by hand, and
    compare the range of the output with that of the targets.
    """

    code = "NN512"
    name = "cannot-overfit-small-set"
    points = (16, 27)
    severity = Severity.ERROR
    experiments = ("overfit",)
    symptom = True
    options = {"certain": 0.9, "likely": 0.5}

    def probe(self, run: Run) -> Iterator[Finding]:
        smallest = {fit.line: fit for fit in reversed(run.fits) if fit.data == "batch"}
        for fit in smallest.values():
            if not fit.settled:
                continue
            share = fit.best / fit.constant
            if share <= self.number("likely"):
                continue
            worst = f" {fit.worst[0].upper()}{fit.worst[1:]} is fitted least." if fit.worst else ""
            yield self.finding(
                fit.line,
                f"A copy of `{fit.model}` that is trained on {fit.samples} samples only cannot learn them by heart: "
                f"the best loss is {fit.best:.4g}, a constant reaches {fit.constant:.4g}.{worst}",
                "Follow these samples through the model: a path that is cut, a wrong axis, or an output that cannot "
                "reach the targets.",
                evidence=[
                    Hop("the loss is computed here", fit.line, f"{fit.best:.4g} after {fit.steps} steps"),
                    Hop("best way to train it", fit.line, f"{fit.optimizer}, learning rate {fit.rate:g}"),
                ],
                confidence=Confidence.CERTAIN if share > self.number("certain") else Confidence.LIKELY,
            )
