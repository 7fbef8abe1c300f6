"""NN310: one term of a sum of losses drowns the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Run


class UnbalancedLossTerms(Rule):
    """Of the losses that are added, one pulls at the shared weights a hundred times as hard as another.

    ## What it is

    `loss = classification + box` adds numbers of different scales: a cross-entropy near 2 and a squared error of pixels
    near 10,000. The gradient of the sum is that of the larger term; the other one has a say of less than a hundredth.

    ## Why it hurts training

    The smaller task is not learned as long as the larger one has anything to gain. The sum falls, and nobody sees it.

    ## How it is told apart from code that only looks alike

    - The gradients are compared, not the values: a large constant term pulls at nothing.
    - The script's own factors count: `loss + 0.001 * penalty` is compared as it stands. A penalty that is meant to be
      weak looks like a mistake, so the finding is only likely.
    - Only weights that all terms reach: heads of their own do not count.
    - Known losses are terms of their own, everything else together is one, and is never the small one.

    ## What to do

    Bring the terms to one scale: normalise the targets, use means over elements, or weight the terms by what their
    gradients are (GradNorm: Chen et al., arXiv:1711.02257, 2018; uncertainty: Kendall et al., arXiv:1705.07115, 2018).
    """

    code = "NN310"
    name = "unbalanced-loss-terms"
    points = (20,)
    severity = Severity.WARNING
    experiments = ("terms",)
    options = {"ratio": 100}

    def probe(self, run: Run) -> Iterator[Finding]:
        known = [term for term in run.terms if term.line is not None and term.gradient > 0]
        if not known:
            return
        largest = max(run.terms, key=lambda term: term.gradient)
        smallest = min(known, key=lambda term: term.gradient)
        if largest.gradient < self.number("ratio") * smallest.gradient:
            return
        yield self.finding(
            smallest.line,
            f"The gradient of this {smallest.name} (norm {smallest.gradient:.2g}) has no weight beside that of "
            f"{largest.name or 'the other terms'} (norm {largest.gradient:.2g}) in their sum.",
            "Bring the terms to one scale: normalise the targets, or weight the terms.",
            evidence=[
                Hop(
                    f"{term.name} is evaluated here", term.line, f"value {term.value:.3g}, gradient {term.gradient:.2g}"
                )
                for term in run.terms
                if term.line is not None
            ],
            confidence=Confidence.LIKELY,
        )
