"""NN109: the same input comes with different labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Run


class NoisyLabels(Rule):
    """Equal inputs come with unequal labels.

    ## What it is

    Samples of the training loader are remembered by a digest of their input. Some inputs came again, in the same
    epoch or in a later one, with another label.

    ## Why it hurts training

    No network can give two answers to one input. The best loss is above zero, the training accuracy stops below 100 %,
    and what the network learns there is how often each of the labels came. Contradictions are also the visible part of
    labels that are wrong elsewhere.

    ## How it is told apart from code that only looks alike

    - Inputs that are one single number over and over (padding, empty images), or of fewer than 8 numbers, repeat by
      nature and are not compared.
    - Augmented inputs differ from each other and are never equal.
    - Labels that no known loss of classes takes (a time step, a length) are not judged.

    At most 8192 samples are remembered. At least 5 inputs, and one in a hundred of those remembered, must be
    contradicted; the numbers are the project's own choice.

    In an experiment (`--probe labels`) the data set is read anew, and classifiers from scikit-learn judge samples that
    they have not seen (confident learning: Northcutt et al., 2019; by cleanlab where it is installed). They must be
    right for three quarters: what a bad classifier doubts says nothing.

    ## What to do

    Look at the samples that contradict each other: merge the labels (a soft target), keep the majority, or drop them.
    Where a label is drawn at random in the data set, that is the mistake.
    """

    code = "NN109"
    name = "noisy-labels"
    points = (6,)
    severity = Severity.WARNING
    experiments = ("labels",)
    options = {"inputs": 5, "share": 0.01}

    def watch(self, run: Run) -> Iterator[Finding]:
        uses = [use for use in run.losses if use.with_graph and use.function in evidence.OF_CLASSES]
        if not uses:
            return
        for loader in run.loaders:
            if loader.line is None or not loader.trains or loader.conflicting < self.number("inputs"):
                continue
            if loader.conflicting < self.number("share") * loader.distinct:
                continue
            yield self.finding(
                loader.line,
                f"{loader.conflicting} of {loader.distinct} different inputs looked at came with more than one label: "
                "no network can learn both, and the loss cannot reach zero.",
                "Look at these samples; merge, correct or drop their labels. If the data set draws labels at random, "
                "draw them once.",
                evidence=[
                    Hop("the samples are read here", loader.read_at, f"{loader.conflicting} contradictions"),
                    Hop("the loss takes the labels here", uses[0].line, uses[0].function),
                ],
            )

    def probe(self, run: Run) -> Iterator[Finding]:
        for labels in run.labels:
            share = labels.doubted / labels.samples
            if labels.accuracy < 0.75 or share < 0.05:
                continue
            yield self.finding(
                labels.line,
                f"Of {labels.samples:,} samples {labels.doubted:,} ({share:.0%}) have a label that a simple "
                f"classifier, which has not seen them and is right for {labels.accuracy:.0%}, confidently takes for "
                "another one.",
                "Look at these samples: `cleanlab` lists them all.",
                evidence=[
                    Hop("the batch that was trained on came from here", labels.line, f"{labels.classes} classes")
                ],
                confidence=Confidence.LIKELY,
            )
