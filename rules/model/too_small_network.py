"""NN415: the network has too little room for one batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..finding import Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Run


class TooSmallNetwork(Rule):
    """A copy of the model cannot learn one batch by heart, though a plain network with one hidden layer can.

    ## What it is

    Two samples are learned, so gradients, loss and rate are sound. The whole batch is not, and a network with one
    hidden layer of 256 units learns the very same inputs and targets. What is missing is capacity: too few units, a
    bottleneck, or no activation between layers, so that they are one linear map.

    ## Why it hurts training

    The loss settles at what the network can hold, however long it is trained and however good the data are.

    ## How it is told apart from code that only looks alike

    - The plain network proves that the targets of the batch can be told from its inputs.
    - All trainings must have settled, with the script's own optimizer and with Adam at four rates.
    - Networks that are regularised by their shape (linear models, small ones for few data) are a choice, and this is a
      warning: at half of the constant's loss it is still said nothing.

    ## What to do

    More units or layers, and an activation between linear layers; look for the narrowest layer.
    """

    code = "NN415"
    name = "too-small-network"
    points = (24,)
    severity = Severity.WARNING
    experiments = ("overfit",)
    options = {"left": 0.5, "reference": 0.2}

    def probe(self, run: Run) -> Iterator[Finding]:
        for fit in run.fits:
            smaller = [f for f in run.fits if f.line == fit.line and f.data == "batch" and f.samples < fit.samples]
            if fit.data != "batch" or not fit.settled or fit.reference is None or not smaller:
                continue
            left = self.number("left")
            if any(f.best > left * f.constant for f in smaller) or fit.best <= left * fit.constant:
                continue
            if fit.reference > self.number("reference") * fit.constant:
                continue
            yield self.finding(
                fit.line,
                f"A copy of `{fit.model}` ({fit.parameters:,} trained parameters) cannot learn {fit.samples} samples "
                f"by heart: the best loss is {fit.best:.4g}, a constant reaches {fit.constant:.4g}; a plain network "
                f"with one hidden layer reaches {fit.reference:.4g} on the same samples.",
                "Give it more units or layers, and an activation between linear layers.",
                evidence=[
                    Hop("the loss is computed here", fit.line, f"{fit.best:.4g} after {fit.steps} steps"),
                    Hop("fewer samples are learned", fit.line, f"{smaller[-1].samples}: {smaller[-1].best:.4g}"),
                ],
            )
