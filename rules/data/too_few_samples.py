"""NN108: fewer samples than the network can learn from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Run


class TooFewSamples(Rule):
    """A network that starts from nothing gets very few samples of each class.

    ## What it is

    The size of the training data is divided by the number of classes that came, and set against the number of
    parameters that are trained.

    ## Why it hurts training

    A network with many more parameters than samples learns the samples by heart: the training loss goes to zero and
    the validation loss rises. Point 7 of the checklist wants about 1000 samples of each class to train from nothing.

    ## How it is told apart from code that only looks alike

    - Weights that were loaded (fine-tuning) need far less; such runs are not judged.
    - Data sets that make their samples while they are read have no size.
    - Contrastive learning counts pairs, and no loss of classes is used; it is not judged.
    - It is a rule of thumb: only likely, advice, and off by default.

    Fewer than 100 samples of a class and more than 100 parameters for each sample are reported; both are options.

    ## What to do

    Start from pretrained weights, augment, take a smaller network, or collect more. First let the network learn one
    batch by heart, to know that the rest is right.
    """

    code = "NN108"
    name = "too-few-samples"
    points = (9,)
    severity = Severity.INFO
    options = {"samples": 100, "parameters": 100}

    def watch(self, run: Run) -> Iterator[Finding]:
        if not any(use.with_graph and use.classes for use in run.losses):
            return
        trained = [p for p in run.parameters if p.trainable and p.steps]
        weights = sum(p.size for p in trained)
        if any(p.loaded for p in trained):
            return
        for loader in run.loaders:
            if loader.line is None or not loader.trains or not loader.samples or len(loader.labels) < 2:
                continue
            each = loader.samples / len(loader.labels)
            if each >= self.number("samples") or weights < self.number("parameters") * loader.samples:
                continue
            yield self.finding(
                loader.line,
                f"{loader.samples} samples of {len(loader.labels)} classes ({each:.0f} of each) train {weights} "
                f"parameters from nothing, {weights / loader.samples:.0f} for each sample: the network can learn them "
                "all by heart.",
                "Start from pretrained weights, augment, or take a smaller network; watch the validation loss.",
                evidence=[Hop("training reads the samples here", loader.read_at, f"{loader.iterations} epochs")],
                confidence=Confidence.LIKELY,
            )
