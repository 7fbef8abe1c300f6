"""NN406: the output for one sample depends on the other samples of the batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer.evidence import OVER_TIME, VIEWS, shape
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Run

ALONG = frozenset("softmax log_softmax layer_norm group_norm cumsum cumprod logsumexp normalize".split())
"""Functions that are meant to run along features, classes or steps of one sample."""


class SamplesMixed(Rule):
    """An operation runs along the axis of the samples: what the network says of one depends on its neighbours.

    ## What it is

    One sample of a batch is exchanged for another one, and the outputs of samples that were not touched move. The first
    operation behind which that is so is a softmax, a normalisation or a running sum along the batch.

    ## Why it hurts training

    In training the network learns from who happens to be in the batch. Alone, or in other company, the same input
    gets another answer: scores in production, and on the last batch of an epoch, are worse than any that were measured.

    ## How it is told apart from code that only looks alike

    - The experiment is made in evaluation mode: batch normalisation with running statistics does not count.
    - Batch normalisation without running statistics, and tables of all pairs of samples (graphs, similarities within
      the batch, contrastive heads) are designs.
    - Means, deviations, gathered and rolled rows over the batch are designs too (statistics of a minibatch, messages
      along edges, negatives from the batch).
    - Only where every input and every output has one axis of the size of the batch. A loader must have made the batch:
      a sequence without a batch axis looks the same, and is only reported as likely.
    - A model that gives different results for the same input is not judged.
    - Views that mix axes are `reshape-instead-of-permute`; recurrent layers and attention along the samples are
      `batch-axis-mistaken`.

    ## What to do

    Give the operation the axis that is meant: `softmax(x, dim=-1)`, `dim=1`, `nn.LayerNorm(features)`.
    """

    code = "NN406"
    name = "samples-mixed"
    points = (4, 25)
    severity = Severity.ERROR
    experiments = ("crosstalk",)

    def probe(self, run: Run) -> Iterator[Finding]:
        for mix in run.mixes:
            if not mix.changed or mix.operation in VIEWS or mix.operation in OVER_TIME or mix.operation not in ALONG:
                continue
            yield self.finding(
                mix.line,
                f"With one of {mix.samples} samples exchanged, the outputs of {mix.changed} others move: "
                f"`{mix.operation}` in `{mix.module}` runs along the samples ({shape(mix.inputs)}).",
                "Give it the axis of the features or classes (`dim=-1`), not that of the batch.",
                evidence=[Hop("from here on samples know of each other", mix.line, shape(mix.outputs))],
                confidence=Confidence.CERTAIN if mix.sure else Confidence.LIKELY,
            )
