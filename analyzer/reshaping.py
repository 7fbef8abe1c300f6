"""Questions about ``view`` and ``reshape``: whether they only split and merge axes, or mix what lies on them.

Merging neighbours and splitting an axis keep the order of axes. Whatever changes the order needs ``permute`` or
``transpose``: ``view`` would cut the numbers anew, and each new row would hold numbers of several old ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from .knowledge import shapes as known
from .shapes import BATCH, asked_size, integer
from .values import Const, Data, Value
from .values import Sequence as Items

if TYPE_CHECKING:
    from .program import Program

MAX_CHAIN = 12


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """A view that changes the order of axes."""

    site: Site
    op: str
    before: str
    after: str


def mixing_views(program: Program) -> Iterator[Mixed]:
    """Every view whose new axes stand in another order than the old ones."""
    ranks = _ranks(program)
    for op in ("view", "reshape"):
        for data in program.operations(op):
            sizes = _sizes(data)
            if data.site is None or len(sizes) < 2 or _only_measured(program, data):
                continue
            if (chain := _Chain.of(data.inputs[0], ranks)) is not None and chain.mixes(sizes):
                yield Mixed(data.site, op, chain.text(None), chain.text(sizes))
            elif (found := _permuted(program, data, sizes)) is not None:
                yield Mixed(data.site, op, *found)


def _only_measured(program: Program, data: Data) -> bool:
    """Whether nothing but the shape of a result is ever asked for, as in a lesson on tensors."""
    return any(v.inputs[:1] == (data,) for v in program.operations(".shape")) and not program.is_used(data)


def _sizes(data: Data) -> tuple[Value, ...]:
    given = data.inputs[1:]
    if len(given) == 1 and type(given[0]) is Items:
        given = given[0].items if not given[0].open else ()
    spread = any(type(v) is Data and v.op in ("star", ".shape", "size", "[:]") and len(v.inputs) < 2 for v in given)
    return () if spread else given


def _ranks(program: Program) -> dict[Value, int]:
    """Tensors whose sizes were unpacked into so many names: ``b, c, h, w = x.shape``."""
    return {
        value.inputs[0]: count
        for value, count in program.notes.unpacked.items()
        if type(value) is Data and value.op in (".shape", "size") and len(value.inputs) == 1
    }


# ---------------------------------------------------------------------------- sizes by name


@dataclass(frozen=True, slots=True)
class _Part:
    """One new axis: the old axes whose sizes it is made of; ``whole`` where it is exactly one of them."""

    lowest: int
    highest: int
    whole: bool


class _Chain:
    """A tensor that is viewed, and those that it was made from with the same axes (perhaps in another order)."""

    def __init__(self, places: dict[Value, list[int]], rank: int) -> None:
        self.places = places
        """Each tensor, with the place that each of its axes has in the viewed tensor."""
        self.rank = rank

    @classmethod
    def of(cls, viewed: Value, ranks: dict[Value, int]) -> _Chain | None:
        """The chain behind a tensor; None where the number of axes is nowhere said."""
        steps: list[Data] = []
        node: Value = viewed
        rank = ranks.get(node)
        while type(node) is Data and node.inputs and len(steps) < MAX_CHAIN and (inner := _same_axes(node)) is not None:
            steps.append(node)
            node = inner
            rank = rank or ranks.get(node)
        if rank is None:
            return None
        places = {viewed: list(range(rank))}
        for step in steps:
            moved = _moved(step, places[step], rank)
            inner = _same_axes(step)
            if moved is None or inner is None:
                break
            places.setdefault(inner, moved)
        return cls(places, rank)

    def mixes(self, sizes: tuple[Value, ...]) -> bool:
        """Whether the new axes certainly stand in another order than the old ones."""
        factors = self._factors(sizes)
        parts = [self._part(v) for v in sizes]
        reached = 0
        whole: set[int] = set()
        extra = False
        for value, part in zip(sizes, parts, strict=True):
            options = [part] if part is not None else factors.get(value, [])
            if not options:
                extra = extra or integer(value) != 1
                continue
            fitting = [p for p in options if p.lowest >= reached]
            if not fitting:
                return True
            chosen = min(fitting, key=lambda p: p.lowest)
            if chosen.whole and extra and whole == set(range(chosen.lowest)) and self._rest_moved(parts):
                return True
            if chosen.whole:
                whole.add(chosen.lowest)
            reached = chosen.highest
        return False

    def _rest_moved(self, parts: list[_Part | None]) -> bool:
        """Whether some old axis is not there as a whole, so that an unnamed size before may hold part of it."""
        named = {p.lowest for p in parts if p is not None and p.whole}
        merged = any(p is not None and not p.whole and p.lowest != p.highest for p in parts)
        return len(named) < self.rank and not merged

    def _part(self, value: Value) -> _Part | None:
        if type(value) is not Data:
            return None
        source, index = asked_size(value)
        if source is not None and index is not None:
            place = self.places.get(source)
            if place is None or not -self.rank <= index < self.rank:
                return None
            return _Part(place[index], place[index], True)
        if value.op == "*" and len(value.inputs) == 2:
            left, right = (self._part(v) for v in value.inputs)
            if left is None or right is None:
                return None
            return _Part(min(left.lowest, right.lowest), max(left.highest, right.highest), False)
        if value.op in ("//", "/", "int()") and value.inputs:
            inner = self._part(value.inputs[0])
            return None if inner is None else _Part(inner.lowest, inner.highest, inner.whole and value.op == "int()")
        return None

    def _factors(self, sizes: tuple[Value, ...]) -> dict[Value, list[_Part]]:
        """What an axis is divided by is a part of that axis: ``heads`` beside ``c // heads``."""
        found: dict[Value, list[_Part]] = {}
        for value in sizes:
            inner = value.inputs[0] if type(value) is Data and value.op == "int()" and value.inputs else value
            if type(inner) is Data and inner.op in ("//", "/") and len(inner.inputs) == 2:
                part = self._part(inner)
                if part is not None and not (type(inner.inputs[1]) is Const and inner.inputs[1].value == 1):
                    found.setdefault(inner.inputs[1], []).append(part)
        return found

    def text(self, sizes: tuple[Value, ...] | None) -> str:
        """The axes by letters: the old ones, or what the new ones are made of."""
        letters = "ABCDEFGH"
        if sizes is None:
            return f"({', '.join(letters[i] for i in range(self.rank))})"
        return f"({', '.join(self._letters(v, letters) for v in sizes)})"

    def _letters(self, value: Value, letters: str) -> str:
        part = self._part(value)
        if part is None:
            return str(value.value) if type(value) is Const else "?"
        if part.whole:
            return letters[part.lowest]
        if part.lowest == part.highest:
            return f"{letters[part.lowest]}/?"
        return "*".join(letters[part.lowest : part.highest + 1])


def _same_axes(data: Data) -> Value | None:
    """The tensor whose axes the result has, perhaps in another order."""
    if data.op in known.SAME_SHAPE or data.op in ("transpose", "permute", "Linear", "swapaxes"):
        return data.inputs[0]
    if data.op in known.CONVOLUTIONS:
        return data.inputs[0]
    if data.op == "[]" and type(inner := data.inputs[0]) is Data and inner.op in ("split", "chunk"):
        return inner.inputs[0] if inner.inputs else None
    return None


def _moved(step: Data, places: list[int], rank: int) -> list[int] | None:
    """Where the axes of the tensor behind a step end up."""
    if step.op in ("transpose", "swapaxes"):
        a, b = (integer(step.option(f"dim{i}", i + 1)) for i in (0, 1))
        if a is None or b is None or not (-rank <= a < rank and -rank <= b < rank):
            return None
        moved = list(places)
        moved[a], moved[b] = moved[b], moved[a]
        return moved
    if step.op == "permute":
        given = step.inputs[1:]
        if len(given) == 1 and type(given[0]) is Items:
            given = given[0].items
        order = [integer(v) for v in given]
        if sorted(i % rank for i in order if i is not None) != list(range(rank)) or len(order) != rank:
            return None
        moved = [0] * rank
        for place, axis in zip(places, order, strict=True):
            moved[(axis or 0) % rank] = place
        return moved
    return places


# ---------------------------------------------------------------------------- sizes by number


def _permuted(program: Program, data: Data, sizes: tuple[Value, ...]) -> tuple[str, str] | None:
    """The same literal sizes in another order: ``(N, 3, 32, 64)`` viewed as ``(-1, 32, 64, 3)``."""
    shape = program.shapes.of(data.inputs[0])
    new = [integer(v) for v in sizes[1:]]
    if shape is None or shape.dims is None or len(shape.dims) != len(sizes) or None in new:
        return None
    old = list(shape.dims[1:])
    first = integer(sizes[0])
    batch = shape.dims[0] == BATCH or first == shape.dims[0] or first == -1
    if not batch or not all(isinstance(d, int) for d in old) or 1 in old or old == new:
        return None
    if sorted(old) != sorted(n for n in new if n is not None):  # type: ignore[type-var]
        return None
    return str(shape), f"({', '.join(['N', *map(str, new)])})"
