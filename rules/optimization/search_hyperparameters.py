"""NN610: other settings get much further in a few steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Run


class SearchHyperparameters(Rule):
    """A small search found settings of the same optimizer that bring the loss of a batch much lower.

    ## What it is

    Copies of the model are trained on one batch for 20 steps, with other learning rates, weight decays and momenta.
    The best of them reaches less than half of the loss that the own settings reach.

    ## Why it hurts training

    Settings were guessed once and never looked at again; the training takes longer than it needs, or ends higher.

    ## How it is told apart from code that only looks alike

    - One batch is no data set: what is best on it may be too bold for a whole training. So this is advice, and likely.
    - A loss that hardly falls with any setting says nothing, and one that has nearly gone needs no better ones.

    ## What to do

    Search over the whole training with few epochs (Optuna, Ray Tune), beginning around the settings that are named.
    """

    code = "NN610"
    name = "search-hyperparameters"
    points = (29,)
    severity = Severity.INFO
    experiments = ("search",)
    options = {"left": 0.5}

    def probe(self, run: Run) -> Iterator[Finding]:
        for own, others in evidence.trials(run, "search"):
            best = max(others, key=evidence.fall, default=own)
            if (
                evidence.fall(best) < 0.3
                or evidence.fall(own) > 0.7
                or not 0 <= best.last < self.number("left") * own.last
            ):
                continue
            yield self.finding(
                own.line,
                f"In {own.steps} steps on one batch the own settings (rate {own.value:.2g}) bring the loss to "
                f"{own.last:.4g}; {best.setting}, rate {best.value:.2g}, to {best.last:.4g}.",
                "Search over a whole short training, beginning around these settings.",
                evidence=[Hop("copies were trained here", own.line, f"{len(others)} settings")],
                confidence=Confidence.LIKELY,
            )
