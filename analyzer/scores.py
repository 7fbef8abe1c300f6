"""Questions about the numbers that reach a loss: whether they can leave the interval of probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .knowledge import tensors
from .values import Data, Value, alternatives

if TYPE_CHECKING:
    from .program import Activation, Program


def raw(program: Program, value: Value) -> Activation | None:
    """Numbers that certainly are no probabilities: straight from a layer or an unbounded activation, never clamped."""
    found = program.activation(value)
    if found is None or found.site is None or found.kind not in (tensors.LOGITS, tensors.ACTIVATED):
        return None
    return found if all(_unbounded(v) for v in alternatives(value)) else None


def _unbounded(value: Value) -> bool:
    """Whether nothing between the layer and here brings the numbers into an interval."""
    while type(value) is Data:
        if value.op in tensors.OUTPUT:
            return value.op not in tensors.MAYBE_BOUNDED
        if value.op in tensors.BOUNDS or not value.inputs:
            return False
        value = value.inputs[1] if value.op == "output" else value.inputs[0]
    return False
