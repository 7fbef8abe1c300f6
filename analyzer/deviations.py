"""Questions about spread: over how many numbers a standard deviation is taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import fitting
from .knowledge import tensors
from .notes import Conditions
from .shapes import BATCH, integer
from .values import Const, Data, Value, alternatives, constant
from .values import Sequence as Items

if TYPE_CHECKING:
    from .program import Program

_ASKS_COUNT = frozenset(("len()", "numel", "size", ".shape", "nelement"))
_NUMPY_ONLY = frozenset(("axis", "ddof", "keepdims"))
MAX_STEPS = 20


@dataclass(frozen=True, slots=True, eq=False)
class OfOne:
    """A spread over what is one number (``kind`` ``always``) or can be (``batch`` of ``made``, a loader; ``list``)."""

    site: Site
    kind: str
    op: str
    made: Site | None = None


def spreads_of_one(program: Program) -> Iterator[OfOne]:
    """Unbiased standard deviations and variances, on the way to a loss, of what may be a single number."""
    for op in tensors.SPREADS:
        for data in program.operations(op):
            if data.site is not None and data.inputs and data in program.trained_on and _is_unbiased(data):
                found = _of_one(program, data)
                if found is not None and not _guarded(program, data):
                    yield found


def _is_unbiased(data: Data) -> bool:
    """Torch's default, which divides by the count minus one; NumPy's divides by the count."""
    names = {k for k, _ in data.options}
    if names & _NUMPY_ONLY or names & {"*", "**"}:
        return False
    correction = data.option("correction")
    given = [v for v in (data.option("unbiased"), *data.inputs[1:]) if v is not None]
    known = all(type(v) is Const and v.value is not False for v in given)
    return known and (correction is None or constant(correction) == 1)


def _of_one(program: Program, data: Data) -> OfOne | None:
    assert data.site is not None
    given = data.option("dim", 1)
    whole = given is None or constant(given) is True
    axis = None if whole else integer(given)
    shape = program.shapes.of(data.inputs[0])
    if shape is not None and _is_tensor(data.inputs[0]):
        sizes = shape.dims if whole else None if axis is None else (shape.dim(axis),)
        if sizes and all(size == 1 for size in sizes):
            return OfOne(data.site, "always", data.op)
        if sizes and all(size in (1, BATCH) for size in sizes):
            loader = next((v for v in program.loaders(data.inputs[0]) if fitting.keeps_last(v)), None)
            return OfOne(data.site, "batch", data.op, loader.site) if loader is not None else None
    if whole or axis == 0:
        made = _grown(data.inputs[0])
        return OfOne(data.site, "list", data.op, made.site) if made is not None else None
    return None


def _is_tensor(value: Value) -> bool:
    """Whether a value is torch's: on its way nothing turned it into an array of NumPy's."""
    for _ in range(MAX_STEPS):
        if type(value) is not Data or value.op in ("numpy", "array", "asarray"):
            return False
        if value.op not in tensors.PASSES and value.op not in tensors.GRADED:
            return True
        if not value.inputs or type(value.inputs[0]) is not Data:
            return value.op in ("tensor", "as_tensor")
        value = value.inputs[0]
    return False


def _grown(value: Value) -> Data | None:
    """The tensor made of a list that a loop has filled with single numbers, as many as there happened to be."""
    for _ in range(MAX_STEPS):
        if type(value) is not Data or not value.inputs:
            return None
        if value.op in ("tensor", "as_tensor"):
            held = alternatives(value.inputs[0])
            flat = all(type(v) is Items and not any(type(i) is Items for i in v.items) for v in held)
            return value if flat and any(type(v) is Items and v.open for v in held) else None
        if value.op not in ("float", "to", "cuda", "cpu", "detach", "double", "clone"):
            return None
        value = value.inputs[0]
    return None


def _guarded(program: Program, data: Data) -> bool:
    """Whether every visit stands under a condition on how many there are."""
    visits: list[Conditions] = program.notes.operations.get(data, [])
    return any(any(_asks_count(program, condition) for condition, _ in visit) for visit in visits)


def _asks_count(program: Program, condition: Value) -> bool:
    return any(type(v) is Data and v.op in _ASKS_COUNT for v in program.history(condition))
