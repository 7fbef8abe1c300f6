"""NN410: a custom autograd function returns the wrong number of gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import custom
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class WrongCustomGradient(Rule):
    """The backward of a custom autograd function does not return one gradient for each argument of forward.

    ## What it is

    A subclass of `torch.autograd.Function` computes its own gradients. `backward` must return one value for each
    argument that `forward` takes behind `ctx`, in the same order, and None for what has no gradient (numbers, flags,
    labels). Here there are fewer, or more that are not None: an argument was added to `forward` and forgotten in
    `backward`.

    ## Why it hurts training

    Torch refuses at the first backward pass: "returned an incorrect number of gradients". If the function is used in a
    branch that is rarely taken, so rare is the error. As long as nobody differentiates through it, all seems well.

    ## How it is told apart from code that only looks alike

    - Additional None at the end are allowed.
    - An argument with a default may be left out of the call, and then needs no gradient.
    - `forward(ctx, *args)` takes any number.
    - With `setup_context`, `forward` has no `ctx`.
    - What `backward` returns must be seen as one tuple or one tensor on every path; a list that is built is not judged.
    - Surrogate gradients (straight-through, gradient reversal) are intended: values are not judged, only their number.

    In an experiment the gradients are compared with differences in float64, along random directions. Where the function
    hands its argument on unchanged (gradient reversal, scaling), or is a step (straight-through, spikes), any formula
    is a design. Otherwise a wrong one is still only likely: surrogates can be intended.

    ## What to do

    Return a tuple with one entry for each argument of `forward`, in their order:

    ```python
    @staticmethod
    def forward(ctx, x, scale): ...

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.scale, None  # one for x, one for scale
    ```
    """

    code = "NN410"
    name = "wrong-custom-gradient"
    points = (22, 26)
    severity = Severity.ERROR
    experiments = ("functions",)
    triggers = ("save_for_backward", "saved_tensors", "needs_input_grad", "ctx", "staticmethod")

    bad = [
        Example(
            """
            import torch


            class GradReverse(torch.autograd.Function):
                @staticmethod
                def forward(ctx, x, alpha):
                    ctx.alpha = alpha
                    return x.view_as(x)

                @staticmethod
                def backward(ctx, grad_output):  # <-- NN410
                    return grad_output.neg() * ctx.alpha


            def reverse(x):
                return GradReverse.apply(x, 0.5)
            """,
            why="The gradient of alpha is missing.",
        ),
        Example(
            """
            from torch.autograd import Function


            class Linear(Function):
                @staticmethod
                def forward(ctx, x, weight, bias):
                    ctx.save_for_backward(x, weight)
                    return x @ weight.t() + bias

                @staticmethod
                def backward(ctx, grad):  # <-- NN410
                    x, weight = ctx.saved_tensors
                    return grad @ weight, grad.t() @ x
            """,
            why="Two gradients for three tensors.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Quantise(torch.autograd.Function):
                @staticmethod
                def forward(ctx, x, bits, signed):
                    scale = 2**bits - 1
                    return torch.round(x * scale) / scale

                @staticmethod
                def backward(ctx, grad):  # <-- NN410
                    if ctx.needs_input_grad[0]:
                        return grad, None
                    return None, None


            class QuantLinear(nn.Module):
                def __init__(self, a, b):
                    super().__init__()
                    self.fc = nn.Linear(a, b)

                def forward(self, x):
                    return self.fc(Quantise.apply(x, 4, True))
            """,
            why="A flag was added to forward and not to backward.",
        ),
        Example(
            """
            # file: ops.py
            import torch


            class Clamp(torch.autograd.Function):
                @staticmethod
                def forward(ctx, x, low):
                    ctx.save_for_backward(x)
                    ctx.low = low
                    return x.clamp(min=low)

                @staticmethod
                def backward(ctx, grad):  # <-- NN410
                    (x,) = ctx.saved_tensors
                    inside = (x >= ctx.low).float()
                    return grad * inside, None, inside
            # file: model.py
            import torch

            from ops import Clamp


            def activate(x):
                return Clamp.apply(x, 0.0)
            """,
            why="A third value that is no gradient of anything.",
        ),
    ]

    good = [
        Example(
            """
            import torch


            class GradReverse(torch.autograd.Function):
                @staticmethod
                def forward(ctx, x, alpha):
                    ctx.alpha = alpha
                    return x.view_as(x)

                @staticmethod
                def backward(ctx, grad_output):
                    return grad_output.neg() * ctx.alpha, None


            class Round(torch.autograd.Function):
                @staticmethod
                def forward(ctx, x):
                    return torch.round(x)

                @staticmethod
                def backward(ctx, grad):
                    return grad, None, None


            class Sampled(torch.autograd.Function):
                @staticmethod
                def forward(ctx, x, offset, step=64):
                    ctx.save_for_backward(x, offset)
                    return x + offset

                @staticmethod
                def backward(ctx, grad):
                    if not grad.is_cuda:
                        raise NotImplementedError
                    return grad, grad


            y = Sampled.apply(torch.rand(3, requires_grad=True), torch.rand(3))
            """,
            why="One for each, and None at the end; an argument that is left out of the call.",
        ),
        Example(
            """
            import torch


            class Checkpoint(torch.autograd.Function):
                @staticmethod
                def forward(ctx, run, *args):
                    ctx.run = run
                    ctx.save_for_backward(*args)
                    return run(*args)

                @staticmethod
                def backward(ctx, *grads):
                    args = [a.detach().requires_grad_() for a in ctx.saved_tensors]
                    with torch.enable_grad():
                        out = ctx.run(*args)
                    torch.autograd.backward(out, grads)
                    return (None,) + tuple(a.grad for a in args)


            class Many(torch.autograd.Function):
                @staticmethod
                def forward(ctx, a, b, c):
                    ctx.save_for_backward(a, b, c)
                    return a * b * c

                @staticmethod
                def backward(ctx, grad):
                    grads = []
                    for i, t in enumerate(ctx.saved_tensors):
                        grads.append(grad * t if ctx.needs_input_grad[i] else None)
                    return tuple(grads)
            """,
            why="Any number of arguments, and gradients that are collected.",
        ),
        Example(
            """
            import torch


            class Square(torch.autograd.Function):
                @staticmethod
                def forward(x, power):
                    return x**power

                @staticmethod
                def setup_context(ctx, inputs, output):
                    x, power = inputs
                    ctx.save_for_backward(x)
                    ctx.power = power

                @staticmethod
                def backward(ctx, grad):
                    (x,) = ctx.saved_tensors
                    return grad * ctx.power * x ** (ctx.power - 1), None
            """,
            why="With setup_context, forward has no ctx.",
        ),
        Example(
            """
            # file: tape.py
            class Function:
                def __init__(self):
                    self.saved = []
            # file: ops.py
            from tape import Function


            class Multiply(Function):
                @staticmethod
                def forward(ctx, a, b):
                    ctx.saved = [a, b]
                    return a * b

                @staticmethod
                def backward(ctx, grad):
                    return grad
            """,
            why="A small automatic differentiation of one's own.",
        ),
        Example(
            """
            import torch
            from torch.autograd import Function


            class Mix(Function):
                @classmethod
                def forward(cls, ctx, one, other, gate):
                    ctx.save_for_backward(gate)
                    return one * gate + other * (1 - gate)

                @classmethod
                def backward(cls, ctx, grad):
                    (gate,) = ctx.saved_tensors
                    return grad * gate, grad * (1 - gate), None


            class Pool(Function):
                def __init__(self, height):
                    self.height = height
                    self.size = None

                def forward(self, features, boxes):
                    self.size = features.size()
                    return features.new(boxes.size(0), self.height).zero_()

                def backward(self, grad):
                    assert self.size is not None
                    return grad.new(*self.size).zero_(), None
            """,
            why="A class method has its class in front of the context.",
        ),
        Example(
            """
            import torch


            class Exchange(torch.autograd.Function):
                @staticmethod
                def forward(ctx, left, right, group, first, second):
                    ctx.places = left, right, group
                    return second.clone(), first.clone()

                @staticmethod
                def backward(ctx, *grads):
                    left, right, group = ctx.places
                    return (None, None, None) + Exchange.apply(right, left, group, *grads)


            a, b = torch.rand(3, requires_grad=True), torch.rand(3, requires_grad=True)
            sum(v.sum() for v in Exchange.apply(0, 1, None, a, b)).backward()
            """,
            why="The rest of the gradients comes from another call.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in custom.wrong_counts(program):
            yield self.finding(
                found.site,
                f"forward of {found.name} takes {found.expected} arguments behind `ctx`, and backward returns "
                f"{found.returned} gradients: torch refuses at the first backward pass.",
                "Return one value for each argument of forward, None where there is no gradient.",
                evidence=[
                    Hop(f"forward takes {found.expected} arguments", found.forward),
                    Hop(f"backward returns {found.returned} values", found.site),
                ],
            )

    def probe(self, run: Run) -> Iterator[Finding]:
        for check in run.checks:
            if check.is_loss or not check.wrong:
                continue
            yield self.finding(
                check.line,
                f"`{check.name}.backward` gives another derivative for argument {check.argument + 1} than `forward` "
                f"has: {check.formula:.4g} by formula, {check.differences:.4g} by differences, along one direction.",
                "Derive the formula anew, and test it: `torch.autograd.gradcheck` with float64 inputs.",
                evidence=[Hop("the formula stands here", check.line, f"{check.formula:.4g}")],
                confidence=Confidence.LIKELY,
            )
