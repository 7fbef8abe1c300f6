"""NN307: the shapes of prediction and target differ, and the loss compares everything with everything."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING

from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Backward, Run

ELEMENTWISE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss")


class LossBroadcast(Rule):
    """Prediction and target have shapes that broadcast to a table of all pairs.

    ## What it is

    A network with one output gives shape `(N, 1)`, the targets have shape `(N,)`. An element-wise loss (`mse_loss`,
    `l1_loss`, `smooth_l1_loss`, `huber_loss`) broadcasts the two to `(N, N)`: every prediction is compared with
    every target of the batch. Torch prints one warning and goes on.

    ## Why it hurts training

    What minimises the mean over all pairs is the same number for all samples: the mean (or median) of the targets.
    The network learns to ignore its input. The loss falls to the variance of the targets and stays there,
    which looks like data without any signal.

    ## How it is told apart from code that only looks alike

    - A scalar target, such as `torch.tensor(1.0)` for a discriminator, is compared with every output: intended.
    - A target that is repeated along a dimension which the prediction has (several samples of one posterior, an
      ensemble, a time axis) makes no pairs: the result is no larger than the prediction.
    - `x[:, None]` against `y[None, :]` is a table of pairs on purpose; where numbers of dimensions are equal and
      `reduction="none"` leaves the table to the script, as in quantile regression, nothing is said.
    - A last batch of one sample has no pairs.

    It counts when all evaluations looked at, at least 3, had unequal shapes whose broadcast is larger than both. Where
    the numbers of dimensions are equal it is only likely. In a loss of one's own, `((prediction - y) ** 2).mean()`, the
    graph shows a column that becomes a square table; the loop's own lines are run once more, in a process apart, to
    find the operation that makes it and the shapes that meet there. A column that meets another column on purpose,
    as in a ranking loss, has a graph on both sides. Three is the project's own choice: one odd
    batch is not training.

    ## What to do

    Give both the same shape:

    ```python
    loss = F.mse_loss(model(x).squeeze(-1), y)
    loss = F.mse_loss(model(x), y.unsqueeze(-1))  # or this way
    ```
    """

    code = "NN307"
    name = "loss-broadcast"
    points = (25,)
    severity = Severity.ERROR
    options = {"evaluations": 3}

    def watch(self, run: Run) -> Iterator[Finding]:
        yield from filter(None, map(self._by_hand, run.backwards))
        for use in run.losses:
            if use.function not in ELEMENTWISE or not use.with_graph or use.checked < self.number("evaluations"):
                continue
            first, second = use.input_shape, use.target_shape
            if use.broadcast < use.checked or not first or not second:
                continue
            pairs = _together(first, second)
            if math.prod(pairs) <= max(math.prod(first), math.prod(second)):
                continue
            same_rank = len(first) == len(second)
            if same_rank and use.reduction == "none":
                continue
            module = run.of("module", use.maker)
            evidence = [Hop("prediction and target meet here", use.line, f"{_shape(first)} and {_shape(second)}")]
            if module is not None:
                evidence.insert(0, Hop(f"the output of `{module.name}`", module.line or use.line, _shape(first)))
            yield self.finding(
                use.line,
                f"{use.function} compares a prediction of shape ({_shape(first)}) with a target of shape "
                f"({_shape(second)}) and broadcasts both to ({_shape(pairs)}): every prediction is pulled to every "
                "target of the batch, so the network learns the mean of the targets and ignores its input.",
                "Give both the same shape, `prediction.squeeze(-1)` or `target.unsqueeze(-1)`.",
                evidence=evidence,
                confidence=Confidence.LIKELY if same_rank else Confidence.CERTAIN,
            )

    def _by_hand(self, place: Backward) -> Finding | None:
        """A loss of one's own: its arithmetic makes the table."""
        if place.pairs < max(self.number("evaluations"), place.compared) or len(place.pairs_shapes) != 2:
            return None
        first, second = place.pairs_shapes
        table = _together(first, second)
        what = {"sub": "difference", "mul": "product"}.get(place.pairs_operation, place.pairs_operation)
        return self.finding(
            place.pairs_line or place.line,
            f"The {what} of tensors of shapes ({_shape(first)}) and ({_shape(second)}), one of them from the network, "
            f"is a table of shape ({_shape(table)}) that goes into the loss: every prediction is compared with every "
            "target of the batch, so the network learns the mean of the targets and ignores its input.",
            "Give both the same shape, `prediction.squeeze(-1)` or `target.unsqueeze(-1)`.",
            evidence=[
                Hop("the table is made here", place.pairs_line, f"{_shape(table)}"),
                Hop("its mean or sum is differentiated here", place.line, f"{place.calls} calls"),
            ],
        )


def _together(first: list[int], second: list[int]) -> list[int]:
    """The shape that two shapes broadcast to."""
    return [max(a, b) for a, b in zip_longest(reversed(first), reversed(second), fillvalue=1)][::-1]


def _shape(shape: list[int]) -> str:
    return ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
