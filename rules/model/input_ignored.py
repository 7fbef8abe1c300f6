"""NN414: from a layer on, all samples look the same."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Run, Stream


class InputIgnored(Rule):
    """At a layer the differences between the samples of a batch vanish: what comes behind cannot see the input.

    ## What it is

    For every layer the part of its output that differs from sample to sample is measured, relative to the whole. It is
    there in one layer and gone in the next: the units are all dead, saturated, or drowned by a bias that dwarfs them.

    ## Why it hurts training

    Whatever the input is, the network gives one answer. The layers behind learn the best constant, the loss settles
    at its value, and the layers before get no gradient.

    ## How it is told apart from code that only looks alike

    - Layers that get the same input for all samples (a condition, positions, queries that are learned) had no
      differences to lose: the layers before must have them, and none of the layers behind may have them again.
    - Pooling, gates and attention narrow differences, but do not remove them. Less than a hundred-thousandth must
      be left (rounding alone leaves a millionth of float32 numbers).
    - A batch of one sample has no differences and is not counted.
    - In single steps it may happen; it must be so in each of the last 10 looks.

    In an experiment the model is given random numbers of the same mean and deviation as the batch, in evaluation mode.
    Weights that begin with zeros on purpose are made small random numbers before.

    ## What to do

    Look at the inputs and biases of the layer that is named; lower the learning rate, normalise before it, and use an
    activation that lets something through for negative inputs.
    """

    code = "NN414"
    name = "input-ignored"
    points = (2,)
    severity = Severity.ERROR
    experiments = ("input",)
    options = {"looks": 10, "left": 1e-5, "before": 1e-3}

    def watch(self, run: Run) -> Iterator[Finding]:
        for layers in evidence.chains(run, whole=True).values():
            shares = [(module, _share(stream, int(self.number("looks")))) for module, stream in layers]
            known = [(module, share) for module, share in shares if share is not None]
            for index, ((before, had), (module, left)) in enumerate(pairwise(known), 1):
                if had <= self.number("before") or left >= self.number("left"):
                    continue
                # A layer on the side, of a condition or of queries, has the same input for all samples.
                if any(share > 100 * self.number("left") for _, share in known[index:]):
                    continue
                yield self.finding(
                    module.line,
                    f"All samples look the same behind `{module.name}`: of its output a share of {left:.1g} differs "
                    f"between samples, of that of `{before.name}` before it still {had:.2g}.",
                    "Look at the scale of its inputs and biases; lower the learning rate, normalise before it, or use "
                    "an activation that lets negative inputs through.",
                    evidence=[
                        Hop(f"`{before.name}` still tells samples apart", before.line, f"{had:.2g}"),
                        Hop(f"`{module.name}` does not", module.line, f"{left:.1g}"),
                    ],
                )
                break

    def probe(self, run: Run) -> Iterator[Finding]:
        for blind in run.blinds:
            yield self.finding(
                blind.line,
                f"`{blind.module}` gives the same for the batch and for random numbers in its place (relative "
                f"difference {blind.left:.1g}; in the layer before it {blind.before:.1g}): before the first step the "
                "network does not see its input.",
                "Look for a wrong variable in `forward`, for units that are all dead or saturated, and for weights or "
                "biases of the wrong scale.",
                evidence=[Hop(f"`{blind.module}` is the first layer that does so", blind.line, f"{blind.left:.1g}")],
            )


def _share(stream: Stream, looks: int) -> float | None:
    """The largest share of the output that differed between samples, in the latest looks."""
    rows = [row for row in stream.rows[-looks:] if row[0] > 0]
    return max(row[4] / row[0] for row in rows) if len(stream.rows) >= looks and rows else None
