"""NN514: the model cannot even learn data that are known to be learnable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..finding import Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Run


class FailsOnSolvableData(Rule):
    """A copy of the model does not learn made data in which each class has a pattern of its own.

    ## What it is

    The inputs of the batch are replaced by a fixed random pattern for each class under some noise, of the same shape,
    mean and deviation; the labels by those of the patterns. A linear map can tell them apart. A copy of the model,
    trained by Adam at four rates, gets no further than a guess.

    ## Why it hurts training

    It says where to look: not at the data. What cannot learn these cannot learn yours. If the model does learn them and
    still fails on your data, the data (labels, pairing, scale) are at fault.

    ## How it is told apart from code that only looks alike

    - Only for one class for each sample, one input, and cross-entropy without weights.
    - Every training must have settled, and its best loss be above nine tenths of that of a guess.
    - Dropout is off; models and losses that draw random numbers are left out.

    ## What to do

    Mend what else is found in the model and the loss first: a path that is cut, an input that is ignored, axes that are
    mixed. Then try the model on the smallest data set of its kind that others have learned.
    """

    code = "NN514"
    name = "fails-on-solvable-data"
    points = (1, 24)
    severity = Severity.ERROR
    experiments = ("solvable",)
    symptom = True
    options = {"left": 0.9}

    def probe(self, run: Run) -> Iterator[Finding]:
        for fit in run.fits:
            if fit.data != "pattern" or not fit.settled or fit.best <= self.number("left") * fit.constant:
                continue
            yield self.finding(
                fit.line,
                f"A copy of `{fit.model}` cannot learn made data in which each class has a pattern of its own: "
                f"the best loss is {fit.best:.4g} after {fit.steps} steps, a guess gives {fit.constant:.4g}. The "
                "data are not at fault.",
                "Look at the model and the loss.",
                evidence=[Hop("the loss is computed here", fit.line, f"{fit.optimizer}, learning rate {fit.rate:g}")],
            )
