"""Questions about shapes that do not fit: layers in a chain, axes that were mistaken, views that mix samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from .knowledge import shapes as known
from .knowledge import tensors
from .shapes import BATCH, Shape, batched, integer, setting
from .values import Const, Data, Obj, Value, alternatives, is_none

if TYPE_CHECKING:
    from .program import Program


# ---------------------------------------------------------------------------- layers in a chain


@dataclass(frozen=True, slots=True, eq=False)
class Mismatch:
    """A layer that was made for another size than what reaches it."""

    site: Site
    layer: str
    expected: int
    arrives: int
    what: str
    shape: Shape
    source: Site | None


def mismatches(program: Program) -> Iterator[Mismatch]:
    """Layers whose literal input size is not the size of what the layer before them puts out."""
    for op, (name, position, what) in known.INPUT_SIZES.items():
        for data in _certain_layers(program, op):
            expected = integer(setting(data, name, position))
            shape = program.shapes.of(data.inputs[0]) if data.inputs else None
            if expected is None or shape is None or data.site is None:
                continue
            arrives = shape.dim(known.axis_of(op, shape.rank))
            if isinstance(arrives, int) and arrives != expected:
                yield Mismatch(data.site, op, expected, arrives, what, shape, program.site_of(data.inputs[0]))


def _certain_layers(program: Program, op: str) -> list[Data]:
    """Uses of layers where it is known which layer it is, and where an error is not awaited."""
    return [d for d in program.operations(op) if d not in program.notes.unsure]


# ---------------------------------------------------------------------------- the axis of the batch


@dataclass(frozen=True, slots=True, eq=False)
class WrongAxis:
    """A layer for sequences that takes the batch for time, or time for the batch."""

    site: Site
    layer: str
    batch_first: bool
    shape: Shape
    source: Site | None


def mistaken_axes(program: Program) -> Iterator[WrongAxis]:
    """Recurrent and attention layers whose ``batch_first`` contradicts where the batch is."""
    for op in known.SEQUENCE_LAYERS:
        for data in _certain_layers(program, op):
            if len(data.inputs) > 1 and op in known.RECURRENT and not is_none(data.inputs[1]):
                continue  # a state that is handed on: rows of a loader may be steps of time
            first = _batch_first(data)
            shape = program.shapes.of(data.inputs[0]) if data.inputs else None
            if first is None or shape is None or data.site is None or shape.rank not in (None, 3) or _goes_on(data):
                continue
            leading, second = shape.dim(0), shape.dim(1)
            if (leading == BATCH and second != BATCH and not first) or (second == BATCH and leading != BATCH and first):
                yield WrongAxis(data.site, op, first, shape, program.site_of(data.inputs[0]))


def _goes_on(data: Data) -> bool:
    """Whether a recurrent layer starts from a state that it was given: batches may be pieces of one long sequence."""
    state = data.option("hx", 1) if data.op in known.RECURRENT else None
    return state is not None and not all(is_none(v) for v in alternatives(state))


def _batch_first(data: Data) -> bool | None:
    given = data.option("batch_first")
    layer = data.option("encoder_layer") or data.option("decoder_layer") or data.option("0")
    if data.op in known.STACKS:
        if type(layer) is not Obj or layer.hidden or not isinstance(layer.cls, str):
            return None
        given = layer.argument("batch_first")
    if any(k in ("*", "**") or (k.isdigit() and data.op not in known.STACKS) for k, _ in data.options):
        return None
    if given is None:
        return False
    return given.value if type(given) is Const and isinstance(given.value, bool) else None


# ---------------------------------------------------------------------------- squeeze without a dimension


@dataclass(frozen=True, slots=True, eq=False)
class Squeezed:
    """``squeeze()`` of something that has a batch axis, which a last batch of one sample loses."""

    site: Site
    shape: Shape
    loader: Obj
    loss: Site | None
    """A loss that the result goes into and that does not take a batch without its axis."""


def squeezed_batches(program: Program) -> Iterator[Squeezed]:
    """Every ``squeeze()`` without a dimension on a batch of a loader that keeps its last, incomplete batch."""
    strict = _strict_losses(program)
    used = program.trained_on | program.ancestry(v for op in tensors.SCORES for v in program.operations(op))
    for data in program.operations("squeeze"):
        if len(data.inputs) != 1 or data.options or data.site is None:
            continue
        shape = program.shapes.of(data.inputs[0])
        if shape is None or shape.dim(0) != BATCH:
            continue
        loaders = [v for v in program.loaders(data.inputs[0]) if batched(program, v)]
        if loaders and all(keeps_last(v) for v in loaders) and (data in strict or data in used):
            yield Squeezed(data.site, shape, loaders[0], strict.get(data))


def keeps_last(loader: Obj) -> bool:
    """Whether a loader hands out its last batch even where that is smaller."""
    given = loader.argument("drop_last")
    return given is None or (type(given) is Const and given.value is False)


def _strict_losses(program: Program) -> dict[Value, Site]:
    """What goes straight into losses that refuse arguments of unequal shape."""
    found: dict[Value, Site] = {}
    for use in program.losses:
        if use.loss.function in known.STRICT_LOSSES:
            for value in (use.prediction, use.target):
                for v in alternatives(value) if value is not None else ():
                    while type(v) is Data and v.op in known.SAME_SHAPE and v.inputs:
                        v = v.inputs[0]
                    found.setdefault(v, use.site)
    return found


# ---------------------------------------------------------------------------- softmax


@dataclass(frozen=True, slots=True, eq=False)
class Softmax:
    """A softmax over an axis that holds no classes. ``fault``: ``batch``, ``single``, ``implicit`` or ``unsaid``."""

    site: Site
    op: str
    fault: str
    shape: Shape | None

    @property
    def certain(self) -> bool:
        """Weights over one place are 1, and code for any number of places (heads, clusters, positions) may mean it."""
        rank = self.shape.rank if self.shape is not None else None
        return self.fault != "single" or (rank is not None and rank < 3)


def softmaxes(program: Program) -> Iterator[Softmax]:
    """Softmax over the batch, over a single number, or over an axis that torch had to guess."""
    for op in known.SOFTMAXES:
        for data in program.operations(op):
            if data.site is None or not data.inputs or any(k in ("*", "**") for k, _ in data.options):
                continue
            given = data.option("dim") if op[:1].isupper() else data.option("dim", 1)
            shape = program.shapes.of(data.inputs[0])
            if given is None or (type(given) is Const and given.value is None):
                fault = "implicit" if shape is not None and shape.rank == 3 else "unsaid"
                if not any(k.isdigit() for k, _ in data.options):
                    yield Softmax(data.site, op, fault, shape)
            elif shape is not None and (at := integer(given)) is not None:
                size = shape.dim(at)
                if size == 1:
                    yield Softmax(data.site, op, "single", shape)
                elif size == BATCH and _only_batch(shape):
                    yield Softmax(data.site, op, "batch", shape)


def _only_batch(shape: Shape) -> bool:
    """Whether the scores are one row of classes for each sample."""
    return shape.rank == 2 and shape.dim(0) == BATCH and isinstance(shape.dim(1), int) and shape.dim(1) != 1
