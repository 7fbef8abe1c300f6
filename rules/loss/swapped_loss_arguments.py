"""NN306: target and prediction are exchanged in the call of the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..finding import Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import LossUse, Run


class SwappedLossArguments(Rule):
    """The target is given to the loss as prediction, and the prediction as target.

    ## What it is

    PyTorch's losses are called as `loss(input, target)`: first what the network says, then what is right. Here it
    is the other way round, as in libraries that write `loss(y_true, y_pred)`. Torch computes the gradient of
    the second argument too, so that nothing stops.

    ## Why it hurts training

    Cross-entropy takes the logarithm of its first argument. Exchanged, it takes that of the labels: with labels of 0
    and 1 this is 0 or the clamped -100, and the loss is linear in the prediction. It has no minimum at the right
    probability and drives the outputs to the ends of their range, confident and uncalibrated; with the versions for
    logits, the labels pass a sigmoid or a softmax, and the optimum is wrong altogether.

    ## How it is told apart from code that only looks alike

    - Losses that are symmetric (`mse_loss`, `l1_loss`, `smooth_l1_loss`, `huber_loss`) do not mind the order.
    - `kl_div` is used in both directions on purpose, in distillation with reverse divergence for example.
    - Soft targets that carry a gradient, beside an input that carries one too (learned labels, mutual learning),
      are legal.
    - For the losses on logits, the first argument must also look like a target (all numbers in [0, 1]): the scores
      of a fixed teacher against a student's probabilities are not exchanged.

    The gradient says which argument is the prediction: in all evaluations looked at, at least 3, only the second
    one had a graph. An integer first argument beside a floating-point second one, in the call that ended the
    run, needs no more than that call, and so does binary cross-entropy when it refuses the NaN that such a step
    has made. Three is the project's own choice: one odd call is not training.

    ## What to do

    Give the prediction first:

    ```python
    loss = F.binary_cross_entropy(prediction, target)
    loss = F.cross_entropy(logits, labels)
    ```
    """

    code = "NN306"
    name = "swapped-loss-arguments"
    points = (19,)
    severity = Severity.ERROR
    options = {"evaluations": 3}

    def watch(self, run: Run) -> Iterator[Finding]:
        ended = {failure.loss for failure in run.failures}
        for use in run.losses:
            if not use.checked or use.gradient_in_target_only < use.checked:
                continue
            integers = use.integer_input == use.checked and "float" in use.target_dtype
            refused = use.function in ("cross_entropy", "nll_loss") and integers and use.key in ended
            # A gradient with respect to the target is infinite where the first argument is 0 or 1, as labels are.
            refused = refused or (use.function == "binary_cross_entropy" and use.key in ended)
            if refused or (use.checked >= self.number("evaluations") and _first_is_target(use)):
                yield self._about(use)

    def _about(self, use: LossUse) -> Finding:
        first = use.input_dtype if use.integer_input else f"{use.input_dtype} from {use.low:.3g} to {use.high:.3g}"
        return self.finding(
            use.line,
            f"{use.function} gets the target first and the prediction second: in all {use.checked} calls looked at, "
            "only the second argument came from the network. The loss treats the labels as scores and the scores as "
            "labels.",
            f"Exchange the arguments: `{use.function}(prediction, target)`.",
            evidence=[
                Hop("first argument: no gradient", use.line, f"{first}, shape {_shape(use.input_shape)}"),
                Hop(
                    "second argument: with gradient", use.line, f"{use.target_dtype}, shape {_shape(use.target_shape)}"
                ),
            ],
        )


def _first_is_target(use: LossUse) -> bool:
    """Whether the first argument can only be what the loss should compare with."""
    if use.function == "binary_cross_entropy":
        return True
    if use.function == "poisson_nll_loss":
        return bool(use.integer_input) or use.low >= 0
    bounded = 0 < use.within_unit == use.measured
    return use.function in ("binary_cross_entropy_with_logits", "cross_entropy") and bounded


def _shape(shape: list[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"
