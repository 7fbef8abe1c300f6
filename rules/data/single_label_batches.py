"""NN106: each batch holds a single class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Loader, Run


class SingleLabelBatches(Rule):
    """Every training batch holds samples of one class only, though the data has several.

    ## What it is

    A batch sampler that draws whole classes, a stream that reads one folder after the other, or a collate function
    that groups by label: each batch has one single label, the next batch perhaps another one.

    ## Why it hurts training

    The gradient of such a batch says "always answer this class". The network follows, and is thrown over by the
    next batch; the loss inside the batch is small, accuracy in training looks perfect, and on mixed data
    the answer is the class of the latest batches. Batch normalisation collects the statistics of single classes
    and can even read the label off them: in evaluation, with statistics over all classes, it fails.

    ## How it is told apart from code that only looks alike

    - Contrastive and metric learning draw several classes with several samples each; that is more than one label.
    - Batches of fewer than 4 samples may well agree by chance and are not counted.
    - A data set of one class, and a loader for evaluation class by class, are no problem.
    - Integers beside the inputs that no classification loss of the run uses (a domain, a task, a length) are
      no labels.
    - A loader in stored order whose data is sorted by class is `unshuffled-training-data`; that is reported there.

    All of at least 5 batches must hold one label, and chance must not explain it: with the shares of the classes
    that the loader gave, the probability that all these batches of randomly drawn samples are pure must be below
    one in a million. With 4 samples of two balanced classes that takes 7 batches, with 1 % of a rare class in
    batches of 32 it takes 43. The numbers are the project's own choice.

    ## What to do

    Draw batches from all classes:

    ```python
    loader = DataLoader(dataset, batch_size=64, shuffle=True)
    ```

    or, where classes must be balanced, use `WeightedRandomSampler` or let the batch sampler take a share of each class.
    """

    code = "NN106"
    name = "single-label-batches"
    points = (10,)
    severity = Severity.ERROR
    options = {"batches": 5, "p": 1e-6}

    def watch(self, run: Run) -> Iterator[Finding]:
        if not any(use.function in evidence.OF_CLASSES and use.with_graph for use in run.losses):
            return
        for loader in run.loaders:
            batches = loader.labelled_batches
            if (
                loader.line is None
                or not loader.trains
                or batches < self.number("batches")
                or loader.single_label_batches < batches
                or len(loader.labels) < 2
                or loader.sampler == "SequentialSampler"
                or _pure(loader) ** batches > self.number("p")
            ):
                continue
            labels = ", ".join(sorted(loader.labels)[:5]) + (", ..." if len(loader.labels) > 5 else "")
            yield self.finding(
                loader.line,
                f"All {batches} labelled batches hold one class each, though the loader gave {len(loader.labels)} "
                f"classes ({labels}): every step pulls the network to one answer, and the next step to another.",
                "Mix the classes within each batch: `shuffle=True`, or a batch sampler that takes a share of every "
                "class.",
                evidence=[
                    Hop("training iterates over it here", loader.read_at, f"{batches} of {batches} batches"),
                    Hop("what puts the batches together", loader.line, loader.sampler),
                ],
            )


def _pure(loader: Loader) -> float:
    """Probability that a batch of randomly drawn samples holds one class; the smallest counted batch has 4."""
    total = sum(loader.labels.values())
    samples = max(4, total // max(1, loader.batches))
    return sum(float((count / total) ** samples) for count in loader.labels.values())
