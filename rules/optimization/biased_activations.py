"""NN607: the outputs of a layer lie all on one side of zero."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Run, Stream


class BiasedActivations(Rule):
    """The mean of what a layer puts out is many times its spread.

    ## What it is

    For each layer with weights but the last, the mean and the deviation of its outputs (before the activation) are
    measured. The mean is 10 times the deviation and more, in all of the last looks.

    ## Why it hurts training

    All units behind see nearly the same numbers for every sample, and their gradients have all the same sign: the
    weights can only move up together or down together (LeCun et al., "Efficient BackProp", 1998). An activation behind
    it is either always open or always shut.

    ## How it is told apart from code that only looks alike

    - ReLU and sigmoid outputs are positive by nature; only layers with weights are judged.
    - A layer of one unit has no spread over units; the last layer is not judged.

    It is a sign and no proof: likely, advice, and off by default.

    ## What to do

    Scale the inputs to mean 0, put a normalisation before or behind the layer, and initialise biases with zero.
    """

    code = "NN607"
    name = "biased-activations"
    points = (33,)
    severity = Severity.INFO
    options = {"looks": 10, "ratio": 10}

    def watch(self, run: Run) -> Iterator[Finding]:
        for layers in evidence.chains(run).values():
            for module, stream in layers:
                ratio = _ratio(stream, int(self.number("looks")))
                if ratio is None or ratio < self.number("ratio"):
                    continue
                yield self.finding(
                    module.line,
                    f"The outputs of `{module.name}` have a mean of {ratio:.0f} deviations and more: what comes behind "
                    "sees nearly the same numbers for every sample.",
                    "Scale the inputs to mean 0, normalise, and initialise biases with zero.",
                    evidence=[Hop(f"`{module.name}`", module.line, f"mean {stream.rows[-1][1]:.3g}")],
                    confidence=Confidence.LIKELY,
                )
                break


def _ratio(stream: Stream, looks: int) -> float | None:
    """The smallest ratio of mean to deviation in the latest looks."""
    rows = list(stream.rows)[-looks:]
    if len(stream.rows) < looks:
        return None
    ratios = [abs(row[1]) / max((row[0] ** 2 - row[1] ** 2), 1e-24) ** 0.5 for row in rows]
    return float(min(ratios))
