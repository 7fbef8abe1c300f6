"""NN313: after the training the loss is that of the best constant answer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Loader, LossUse, Run


class NoBetterThanConstant(Rule):
    """The loss fell, and stopped where an answer that ignores the input would stand.

    ## What it is

    From the labels that the training loader gave, the loss of the best constant answer is computed: for cross-entropy
    the entropy of the frequencies of the classes. The mean loss of the last third of the training is no lower.

    ## Why it hurts training

    The network has learned how often each class comes, and nothing from the input. The loss curve looks like learning:
    it falls from the random start and flattens. Accuracy equals the share of the largest class.

    ## How it is told apart from code that only looks alike

    - A loss that never fell at all is `loss-not-decreasing`; this rule is silent then.
    - Weights, label smoothing, sums over samples and several losses have other constants and are not judged.
    - Labels must be one integer for each sample, all of them classes of the loss, and the sampler must draw them as
      they come.
    - A loss that is still falling over the last third (Mann-Kendall test) is on its way through that value.
    - It is told when the script has ended, after at least 3 epochs and 100 steps.

    Reported if the last third is above 97 % of the constant's loss (three standard errors granted) and the beginning
    was at least 5 % higher; the numbers are the project's own choice.

    ## What to do

    Check that inputs and labels belong together, that the loss reaches the first layers (`nnaudit trace` says where it
    does not), and that the inputs are not all alike. Let the network learn ten samples by heart.
    """

    code = "NN313"
    name = "no-better-than-constant"
    points = (16, 21)
    severity = Severity.ERROR
    symptom = True
    options = {"steps": 100, "epochs": 3, "share": 0.97, "fall": 1.05, "z": 2}

    def watch(self, run: Run) -> Iterator[Finding]:
        uses = [use for use in run.losses if use.with_graph]
        loaders = [loader for loader in run.loaders if loader.training_batches]
        if not run.finished or len(uses) != 1 or len(loaders) != 1 or run.nonfinite:
            return
        use, loader = uses[0], loaders[0]
        stream = run.stream("loss", use.key)
        constant = _constant(use, loader)
        if stream is None or constant is None or run.steps < self.number("steps"):
            return
        if loader.line is None or loader.iterations < self.number("epochs"):
            return
        losses = [row[0] for row in stream.rows if math.isfinite(row[0])]
        if len(losses) < 30:
            return
        last, early = losses[-len(losses) // 3 :], max(losses[:5])
        mean, variance = evidence.moments(last)
        error = math.sqrt(variance / len(last))
        if early < self.number("fall") * mean or mean + 3 * error < constant:
            return
        if mean < self.number("share") * constant:
            return
        if evidence.mann_kendall(last[:: max(1, len(last) // 400)]) < -self.number("z"):
            return  # it is on its way through
        yield self.finding(
            use.line,
            f"The loss fell from {early:.4g} to {mean:.4g} over the last third of {run.steps} steps, and always giving "
            f"the frequencies of the {len(loader.labels)} classes costs {constant:.4g}: the network has learned "
            "nothing from its input.",
            "Check that inputs and labels belong together and that the loss reaches the first layers; let the network "
            "learn ten samples by heart.",
            evidence=[
                Hop("the loss is computed here", use.line, f"{mean:.4g} +/- {error:.2g}"),
                Hop("inputs and labels are read here", loader.read_at or loader.line, f"entropy {constant:.4g}"),
            ],
        )


def _constant(use: LossUse, loader: Loader) -> float | None:
    """The cross-entropy of the best constant answer; None where it is not known."""
    total = sum(loader.labels.values())
    if use.weighted or use.reduction != "mean" or total < 100 or loader.sampler not in _AS_THEY_COME:
        return None
    if use.function == "cross_entropy":
        fits = len(use.target_shape) == 1 and use.classes is not None and 2 <= len(loader.labels) <= use.classes
    else:
        fits = use.function.startswith("binary_cross_entropy") and loader.labels.keys() == {"0", "1"}
    if not fits:
        return None
    return -sum(n / total * math.log(n / total) for n in loader.labels.values())


_AS_THEY_COME = ("RandomSampler", "SequentialSampler")
