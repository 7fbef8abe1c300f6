"""NN107: one class is far more frequent than another, and nothing makes up for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Loader, LossUse, Run

UNIFORM = ("RandomSampler", "SequentialSampler", "DistributedSampler")


class ClassImbalance(Rule):
    """The classes are very unequal, the loader draws them as they come, and the loss weighs them alike.

    ## What it is

    The labels that the training loader gave are counted. The largest class has many times the samples of the smallest
    one, the sampler is uniform, and no loss of the run has class weights.

    ## Why it hurts training

    Always answering the large class is nearly as good as the best answer, and it is the first thing that a network
    finds. Accuracy looks fine, and the rare class, often the one that matters, is never predicted.

    ## How it is told apart from code that only looks alike

    - A `WeightedRandomSampler` or a batch sampler of the script's own, `weight=` or `pos_weight=`, and losses written
      by hand (focal loss) are taken for an answer.
    - Labels that no known loss of classes takes are not judged.
    - A class counts as small only if that is no accident: three standard deviations of its count are granted.
    - Many data sets are unequal by nature and are trained on as they are: this is advice, off by default.

    The ratio of 10 is the default of SageMaker Debugger's ClassImbalance rule (`threshold_imbalance`); at least 200
    labels must have been seen.

    ## What to do

    ```python
    criterion = nn.CrossEntropyLoss(weight=counts.sum() / (len(counts) * counts))
    ```

    or draw all classes alike with `WeightedRandomSampler`, and report recall class by class.
    """

    code = "NN107"
    name = "class-imbalance"
    points = (8,)
    severity = Severity.INFO
    options = {"ratio": 10, "samples": 200}

    def watch(self, run: Run) -> Iterator[Finding]:
        uses = [use for use in run.losses if use.with_graph]
        if not uses or any(use.weighted or use.function not in evidence.OF_CLASSES for use in uses):
            return
        for loader in run.loaders:
            if loader.line is None or not loader.trains or loader.sampler not in UNIFORM:
                continue
            counts = loader.labels
            if len(counts) < 2 or sum(counts.values()) < self.number("samples") or not _fit(counts, uses[0]):
                continue
            least, most = min(counts, key=lambda c: counts[c]), max(counts, key=lambda c: counts[c])
            granted = counts[least] + 3 * counts[least] ** 0.5 + 3
            if counts[most] < self.number("ratio") * granted:
                continue
            yield self.finding(
                loader.line,
                f"Class {most} came {counts[most]} times and class {least} {counts[least]} times "
                f"({counts[most] / counts[least]:.0f} to 1); the sampler is uniform and the loss has no weights: "
                "answering the large class is nearly as good as knowing the answer.",
                "Weigh the classes in the loss (`weight=`, `pos_weight=`) or draw them alike "
                "(`WeightedRandomSampler`), and report recall class by class.",
                evidence=[
                    Hop("training reads the samples here", loader.read_at, _histogram(loader)),
                    Hop("the loss weighs all classes alike", uses[0].line, uses[0].function),
                ],
            )


def _fit(counts: dict[str, int], use: LossUse) -> bool:
    """Whether the labels can be the classes of the loss: one for each sample, and no more than it has scores."""
    if use.function in ("cross_entropy", "nll_loss"):
        return len(use.target_shape) == 1 and use.classes is not None and len(counts) <= use.classes
    return len(counts) == 2


def _histogram(loader: Loader) -> str:
    ordered = sorted(loader.labels.items(), key=lambda pair: -pair[1])
    shown = [*ordered[:3], *ordered[-2:]] if len(ordered) > 5 else ordered
    return ", ".join(f"{label}: {count}" for label, count in shown) + (" (of more)" if len(ordered) > 5 else "")
