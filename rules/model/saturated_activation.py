"""NN417: sigmoid, tanh or softmax outputs lie where the function is flat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Run, Stream

FULL = {"Tanh": 1.0, "Sigmoid": 0.25}
"""The largest mean slope of the function: at zero."""


class SaturatedActivation(Rule):
    """A hidden sigmoid or tanh puts out its extreme values for nearly every input, from the first step on.

    ## What it is

    The mean slope of the function over a batch is computed from its outputs: y (1 - y) for the sigmoid, 1 - y^2 for
    tanh. It is next to zero: nearly all inputs lie in the flat parts.

    ## Why it hurts training

    A gradient is multiplied by that slope on its way back. The layers before a saturated one get next to none and stay
    as they were initialised; the layer itself is a row of switches.

    ## How it is told apart from code that only looks alike

    - The last layer may be sure of its answers; only activations behind which other layers with weights run count.
    - A network that has learned may use a few switches: it must be saturated in the first looks and still in the last.
    - Networks with loaded weights are not judged.

    Less than 5 % of the largest slope, in at least 10 looks, all of them. SageMaker Debugger's SaturatedActivation rule
    counts outputs beyond a limit in the same way; the share is the project's own choice.

    ## What to do

    Scale the inputs, initialise with `nn.init.xavier_normal_`, normalise before the activation, or use ReLU or GELU.
    """

    code = "NN417"
    name = "saturated-activation"
    points = (33, 35)
    severity = Severity.WARNING
    options = {"looks": 10, "share": 0.05}

    def watch(self, run: Run) -> Iterator[Finding]:
        last = {root: layers[-1][0].order for root, layers in evidence.chains(run, whole=True).items() if layers}
        for module in run.modules:
            stream = run.stream("activation", module.key)
            full = FULL.get(module.base)
            if stream is None or full is None or module.loaded or len(stream.rows) < self.number("looks"):
                continue
            if module.order >= last.get(evidence.root_of(module), 0) or stream.steps[0] != 0:
                continue
            slopes = _slopes(stream, module.base)
            if max(slopes) > self.number("share") * full:
                continue
            yield self.finding(
                module.line,
                f"`{module.name}` is saturated: the mean slope of its {module.class_name} is at most "
                f"{max(slopes):.2g} of at most {full:g} in {len(slopes)} looks from the first step on. The layers "
                "before it get next to no gradient.",
                "Scale what goes into it (inputs, initial weights, a normalisation before it), or use ReLU or GELU.",
                evidence=[
                    Hop(f"`{module.name}`", module.line, f"slope {slopes[0]:.2g} at first, {slopes[-1]:.2g} at last")
                ],
            )


def _slopes(stream: Stream, name: str) -> list[float]:
    """The mean slope at each look: outputs are y, rows hold their root mean square and mean."""
    return [(1.0 if name == "Tanh" else row[1]) - row[0] ** 2 for row in stream.rows]
