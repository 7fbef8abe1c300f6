"""NN110: the inputs hardly say anything about the labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Run


class WeakSignal(Rule):
    """Simple classifiers are no better on the labels than on labels that were exchanged between samples.

    ## What it is

    A logistic regression and a random forest are trained on part of the data set and asked about the rest. What they
    get right is no more than what they get right when the labels are dealt out anew, and no more than the largest
    class.

    ## Why it hurts training

    If no simple classifier finds anything, inputs and labels may have nothing to do with each other: files that were
    matched by the wrong key, labels of another column, features that were lost on the way. A network then learns the
    samples by heart, and the loss on held-out data never falls.

    ## How it is told apart from code that only looks alike

    - Some tasks are hard for simple classifiers and not for networks (small objects in large pictures, audio): the
      finding is only likely.
    - Only for one class for each sample and inputs of at most 4096 numbers; 200 samples at least.
    - The difference must lie within two standard errors.

    ## What to do

    Look at ten samples with their labels. If they belong together, this says that the task is hard; a larger network
    and more data are in order. Otherwise mend how inputs and labels are joined.
    """

    code = "NN110"
    name = "weak-signal"
    points = (5,)
    severity = Severity.WARNING
    experiments = ("labels",)
    options = {"errors": 2.0}

    def probe(self, run: Run) -> Iterator[Finding]:
        for labels in run.labels:
            margin = self.number("errors") * (0.25 / labels.samples) ** 0.5
            if labels.accuracy > max(labels.exchanged, labels.largest) + margin:
                continue
            yield self.finding(
                labels.line,
                f"Simple classifiers get {labels.accuracy:.0%} of {labels.samples:,} samples right that they have not "
                f"seen, and {labels.exchanged:.0%} when the labels are exchanged; the largest class has "
                f"{labels.largest:.0%}.",
                "Look at ten samples with their labels: do they belong together?",
                evidence=[
                    Hop("the batch that was trained on came from here", labels.line, f"{labels.classes} classes")
                ],
                confidence=Confidence.LIKELY,
            )
