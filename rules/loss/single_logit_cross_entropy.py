"""NN315: cross-entropy over one single class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..finding import Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Run


class SingleLogitCrossEntropy(Rule):
    """Cross-entropy gets one score per sample, and the softmax of one number is always 1.

    ## What it is

    A network for a yes-or-no question has one output. `nn.CrossEntropyLoss` expects one score for each class and
    applies softmax over them; over one score that gives 1, whatever the score is.

    ## Why it hurts training

    The loss is exactly zero from the first step on, and so are all gradients. Nothing is learned, and the log shows
    the best loss there can be. With a few metrics beside it, the model looks like one that has converged to
    guessing.

    ## How it is told apart from code that only looks alike

    - `BCEWithLogitsLoss` is the loss for one score per sample.
    - Two outputs with `CrossEntropyLoss` are right for a yes-or-no question too.
    - Contrastive losses have one column for each sample of the batch; the last batch may have one sample, and the
      batches before it had more.
    - In `(N, classes, length)` the second dimension holds the classes; a length of 1 does not matter.

    Three evaluations in training are demanded, all with a loss of exactly zero: then no batch can have had more
    classes. Three is the project's own choice.

    ## What to do

    Take the loss for one score, with float targets of the same shape:

    ```python
    loss = F.binary_cross_entropy_with_logits(model(x).squeeze(-1), y.float())
    ```

    or give the network one output for each class.
    """

    code = "NN315"
    name = "single-logit-cross-entropy"
    points = (19,)
    severity = Severity.ERROR
    options = {"evaluations": 3}

    def watch(self, run: Run) -> Iterator[Finding]:
        for use in run.losses:
            if use.function != "cross_entropy" or use.classes != 1 or len(use.input_shape) < 2 or not use.with_graph:
                continue
            values = run.stream("loss", use.key)
            if use.checked < self.number("evaluations") or values is None or use.first != 0 or use.last != 0:
                continue
            if any(row[0] != 0 for row in values.rows):
                continue
            module = run.of("module", use.maker)
            shape = "×".join(map(str, use.input_shape))
            evidence = [Hop("the loss is computed here", use.line, f"scores {shape}, loss always 0")]
            if module is not None:
                evidence.insert(0, Hop(f"`{module.name}` has one output", module.line or use.line, shape))
            yield self.finding(
                use.line,
                f"cross-entropy over one single class (scores of shape {shape}): the softmax of one number is 1, the "
                f"loss was 0 in all {use.evaluations} evaluations and has no gradient, so nothing is learned.",
                "Use `binary_cross_entropy_with_logits` (`BCEWithLogitsLoss`) with float targets, or give the model "
                "one output for each class.",
                evidence=evidence,
            )
