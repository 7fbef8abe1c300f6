"""NN308: the first loss is far from that of guessing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import LossUse, Run


class LossOffChance(Rule):
    """Before the first step the loss is far above, or far below, that of a network that guesses.

    ## What it is

    A network that was just initialised knows nothing: cross-entropy over C classes begins near ln C, binary
    cross-entropy near ln 2. Here it begins many times higher, or far lower.

    ## Why it hurts training

    Far above: the scores are huge and confident for no reason, mostly because inputs are not scaled or weights are
    badly initialised; the first steps only undo that, if they do not destroy the network. Far below: the network
    knows the answer before it has learned anything: the label is in the input, or most targets are trivial.

    ## How it is told apart from code that only looks alike

    - Weighted losses, label smoothing, sums over samples and loaded weights begin elsewhere and are not judged.
    - A first loss is one number with noise: a factor of 5 above is reported as certain; below a third, as likely.
    - Only the loss before the first step counts.

    "Verify loss at init" is the advice of Karpathy, "A Recipe for Training Neural Networks" (2019); the factors are
    the project's own choice.

    In an experiment the labels are exchanged between the samples of the batch: where that brings the loss of a guess,
    it was not one before.

    ## What to do

    Normalise the inputs, initialise the last layer with small weights (`nn.init.zeros_(head.bias)`), and look for
    the label in the input if the loss begins too low.
    """

    code = "NN308"
    name = "loss-off-chance"
    points = (17,)
    severity = Severity.WARNING
    experiments = ("chance",)
    symptom = True
    options = {"above": 5, "below": 0.33}

    def watch(self, run: Run) -> Iterator[Finding]:
        if any(module.loaded for module in run.modules):
            return
        for use in run.losses:
            chance = _chance(use)
            stream = run.stream("loss", use.key)
            if chance is None or stream is None or stream.steps[0] != 0 or not use.with_graph:
                continue
            first = stream.rows[0][0]
            if not math.isfinite(first) or self.number("below") * chance < first < self.number("above") * chance:
                continue
            high = first > chance
            words = f"ln {use.classes}" if use.classes else "ln 2"
            yield self.finding(
                use.line,
                f"The first loss is {first:.4g}, and guessing would give {chance:.3g} ({words}): "
                + (
                    "the untrained scores are far too large."
                    if high
                    else "the network knows the answer before the first step."
                ),
                "Scale the inputs to mean 0 and deviation 1, and initialise the last layer with small weights."
                if high
                else "Look for the label in the input, or for targets that are nearly all the same.",
                evidence=[Hop("the loss is computed here", use.line, f"scores {use.low:.3g} to {use.high:.3g} so far")],
                confidence=Confidence.CERTAIN if high else Confidence.LIKELY,
            )

    def probe(self, run: Run) -> Iterator[Finding]:
        if any(module.loaded for module in run.modules):
            return
        for chance in run.chances:
            if not (chance.real < 0.5 * chance.expected and chance.exchanged > 0.8 * chance.expected):
                continue
            yield self.finding(
                chance.line,
                f"Before the first step the loss is {chance.real:.4g}, and with labels exchanged between samples "
                f"it is {chance.exchanged:.4g} (a guess: {chance.expected:.3g}): the untrained "
                "network knows the labels.",
                "Look for the label in the input.",
                evidence=[Hop("the loss is computed here", chance.line, f"{chance.real:.4g}")],
            )


def _chance(use: LossUse) -> float | None:
    """The loss of a guess; None where it is not known."""
    if use.weighted or use.reduction != "mean":
        return None
    if use.function == "cross_entropy" and use.classes and use.classes > 1 and "int" in use.target_dtype:
        return math.log(use.classes)
    inside = 0 <= use.target_low <= use.target_high <= 1
    if use.function in ("binary_cross_entropy", "binary_cross_entropy_with_logits") and inside:
        return math.log(2)
    return None
