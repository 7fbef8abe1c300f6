"""NN701: a number that is not finite reached the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..finding import Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import NonFinite, Run

_WHY = {
    "log": "log of zero is -inf, of a negative number NaN",
    "log2": "log of zero is -inf, of a negative number NaN",
    "log10": "log of zero is -inf, of a negative number NaN",
    "sqrt": "the root of a negative number is NaN",
    "rsqrt": "the inverse root of zero is inf",
    "div": "division by zero gives inf, 0/0 NaN",
    "reciprocal": "1/0 is inf",
    "exp": "exp of more than 88 overflows float32",
    "pow": "a negative base with a fractional exponent gives NaN, zero with a negative one inf",
    "acos": "outside of [-1, 1] it is NaN",
    "asin": "outside of [-1, 1] it is NaN",
}
_CURE = {
    "log": "Clamp its argument (`x.clamp_min(1e-8)`), or use `log_softmax`, `logsigmoid` or `log1p`.",
    "sqrt": "Add a small number inside the root: `(x + 1e-5).sqrt()`.",
    "rsqrt": "Add a small number inside the root: `(x + 1e-5).rsqrt()`.",
    "div": "Keep the divisor away from zero: add a small number, or `clamp_min`.",
    "reciprocal": "Keep the argument away from zero: add a small number, or `clamp_min`.",
    "exp": "Bound its argument (`x.clamp(max=...)`), or stay in logarithms (`logsumexp`).",
}


class NanOrInf(Rule):
    """The loss became NaN or infinite; this is the operation that made the first such number.

    ## What it is

    Some operation got ordinary numbers and put out NaN or infinity: the logarithm of zero, a division by zero, the
    exponential of a large number. Everything computed from that number is not finite either, and the next optimizer
    step writes NaN into every weight.

    ## Why it hurts training

    From then on the network is lost: no later batch brings it back. Often the script goes on for hours, prints `nan`,
    and saves the result. Where the loss shows NaN is not where it was made, and the operation is one of thousands.

    ## How it is told apart from code that only looks alike

    - Infinity is used on purpose in masks (`masked_fill(mask, -inf)`) and disappears in the softmax: only what
      reaches the loss counts.
    - A GradScaler tries factors that are too large, sees infinite *gradients*, and leaves out the step; the loss
      itself stays finite.
    - NaN that was in the data already is reported where it enters the model.
    - Weights that are not finite were ruined by a step before: then the learning rate, or an exploding gradient, is
      the cause.

    There is no threshold. At the first loss that is not finite, the forward pass is repeated from the same inputs,
    generators and buffers, and every operation is looked at until one makes a bad number from good ones.

    ## What to do

    Keep arguments away from the edge of the domain:

    ```python
    entropy = -(p * p.clamp_min(1e-8).log()).sum(dim=1)
    scaled = centred / (variance + 1e-5).sqrt()
    log_p = logits.log_softmax(dim=1)  # not softmax(...).log()
    ```
    """

    code = "NN701"
    name = "nan-or-inf"
    points = (37,)
    severity = Severity.ERROR

    def watch(self, run: Run) -> Iterator[Finding]:
        for found in run.nonfinite[:1]:
            if found.where == "input":
                yield self._input(run, found)
            elif found.where == "weights":
                yield self._weights(run, found)
            else:
                yield self._operation(run, found)

    def _operation(self, run: Run, found: NonFinite) -> Finding:
        when = f"at step {found.step + 1}"
        if not found.operation:
            return self.finding(
                found.line or found.loss_line,
                f"The loss is not finite {when}, and the weights and the inputs still are: an operation between the "
                "model's input and the loss makes NaN or infinity. The next step writes it into every weight.",
                "Look for log, sqrt, division, exp and pow of unbounded numbers on the way to the loss, and bound "
                "them; `torch.autograd.set_detect_anomaly(True)` names the operation.",
                evidence=[Hop("the loss is not finite here", found.loss_line, when)],
            )
        operation = found.operation.lower().removesuffix("_").removeprefix("_")
        why = _WHY.get(operation, "")
        seen = ""
        if found.low is not None and found.high is not None:
            seen = f" from arguments between {found.low:.4g} and {found.high:.4g}"
        count = f"{found.count} of {found.size} numbers" if found.size else "the first number"
        return self.finding(
            found.line or found.loss_line,
            f"`{operation}` makes {count} NaN or infinite{seen}" + (f" ({why})" if why else "") + f", {when}. The loss "
            "is not finite from there on, and the next step writes NaN into every weight.",
            _CURE.get(operation, "Bound the arguments of this operation, or keep them off the edge of its domain."),
            evidence=[
                Hop(f"`{operation}` makes the first one", found.line or found.loss_line, seen.strip() or None),
                Hop("it reaches the loss here", found.loss_line, when),
            ],
        )

    def _input(self, run: Run, found: NonFinite) -> Finding:
        return self.finding(
            found.line or found.loss_line,
            f"NaN or infinity enters the model with its input at step {found.step + 1}: the data of this batch is not "
            "finite. The loss is not finite either, and the next step writes NaN into every weight.",
            "Check the data (`torch.isfinite(x).all()`) where it is loaded and normalised, and drop or fill what is "
            "missing.",
            evidence=[
                Hop("it enters here", found.line, f"step {found.step + 1}"),
                Hop("it reaches the loss here", found.loss_line),
            ],
        )

    def _weights(self, run: Run, found: NonFinite) -> Finding:
        steppers = [optimizer for optimizer in run.optimizers if optimizer.steps]
        return self.finding(
            found.loss_line,
            f"The weights are not finite (`{found.detail}`) when the loss first is not, at step {found.step + 1}: the "
            "step before has written NaN or infinity into them.",
            "Lower the learning rate, clip the gradients (`clip_grad_norm_`), and look at what has a finite value but "
            "an infinite derivative: sqrt, norm and pow at zero.",
            evidence=[
                Hop("the loss is not finite here", found.loss_line, f"step {found.step + 1}"),
                *(Hop("the step is made here", o.step_line, f"{o.steps} steps") for o in steppers[:1]),
            ],
        )
