"""Questions about collate functions: whether the parts of a batch still belong together, sample by sample.

A collate function is run once on an opaque list of samples (``library._collate``); there, and only there, ``sorted``,
``list.sort`` and conditions of comprehensions leave a node around what they rearrange.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from .knowledge import tensors
from .values import Const, Data, Mapping, Obj, Sequence, Value, alternatives

if TYPE_CHECKING:
    from .program import Program

MAX_NODES = 200
SORTED, FILTERED = "sorted", "filtered"
_ORDERS = frozenset(("argsort", "randperm", "permutation"))
_WITH_INDICES = frozenset(("sort", "topk"))


@dataclass(frozen=True, slots=True)
class OutOfStep:
    """A batch one part of which is ``sorted``, ``filtered`` or put into another ``order``, and another part is not."""

    kind: str
    site: Site
    loader: Obj
    moved: object
    """Field of the samples that is rearranged: its index or key."""
    left: object
    """Field that stays in the order of the samples."""


def out_of_step(program: Program) -> Iterator[OutOfStep]:
    """Batches of collate functions that rearrange one field of the samples and leave another as it was."""
    seen: set[Site] = set()
    for loader, result in program.notes.collated.items():
        for batch in alternatives(result):
            for found in _compare(program, loader, batch):
                if found.site not in seen and program.untouched(loader):
                    seen.add(found.site)
                    yield found


def _compare(program: Program, loader: Obj, batch: Value) -> Iterator[OutOfStep]:
    if type(batch) is Sequence:
        parts = list(batch.items)
    elif type(batch) is Mapping:
        parts = [v for _, v in batch.items]
    else:
        return
    known = [a for a in (_arrangement(v) for v in parts) if a is not None and len(a.fields) == 1]
    plain = [a for a in known if not a.moves]
    for moved in known:
        (field,) = moved.fields
        other = next((f for a in plain for f in a.fields if f != field), None)
        # Whoever is handed the order can undo it.
        handed = any(order in parts for _, _, order in moved.moves)
        if moved.moves and other is not None and not handed and not any(moved.fields == a.fields for a in plain):
            kind, site, _ = next(iter(moved.moves))
            yield OutOfStep(kind, site or loader.site, loader, field, other)


@dataclass(slots=True)
class _Arrangement:
    fields: set[object]
    moves: dict[tuple[str, Site | None, Value | None], None]


def _arrangement(part: Value) -> _Arrangement | None:
    """Which fields of the samples a part of the batch holds, and what put them into another order; None: unknown."""
    found = _Arrangement(set(), {})
    queue, seen = [part], {part}
    while queue:
        value = queue.pop()
        if len(seen) > MAX_NODES:
            return None
        if type(value) is Sequence:
            new = list(value.items)
        elif type(value) is Data:
            step = _step(value, found)
            if step is None:
                return None
            new = step
        else:
            new = [v for v in alternatives(value) if v is not value]
        for each in new:
            if each not in seen and type(each) is not Const:
                seen.add(each)
                queue.append(each)
    return found


def _step(value: Data, found: _Arrangement) -> list[Value] | None:
    """Note what one operation says, and what lies behind it; None where the arrangement cannot be known."""
    if value.op in tensors.COUNTS:
        return []
    if value.op in (SORTED, FILTERED) and value.site is not None:
        found.moves[value.op, value.site, None] = None
        return list(value.inputs)
    if value.op in _WITH_INDICES or value.op in _ORDERS:
        return None
    if value.op == "[]" and len(value.inputs) == 2:
        base, index = value.inputs
        if type(base) is Data and base.op in ("element", "zip") and _is_samples(base.inputs[0]):
            if type(index) is not Const:
                return None
            found.fields.add(index.value)
            moved = base.inputs[0]
            return [moved] if type(moved) is Data and moved.op in (SORTED, FILTERED) else []
        order = _order(index)
        if order is not None:
            found.moves["order", order.site, index] = None
            return [base]
    return [v for v in value.inputs if type(v) is not Const]


def _is_samples(value: Value) -> bool:
    while type(value) is Data and value.op in (SORTED, FILTERED):
        value = value.inputs[0]
    return type(value) is Data and value.op == "samples"


def _order(index: Value) -> Data | None:
    """The sort or draw that an index comes from; None for anything else."""
    if type(index) is not Data:
        return None
    if index.op in _ORDERS:
        return index
    if index.op == "[]" and type(index.inputs[0]) is Data and index.inputs[0].op in _WITH_INDICES:
        return index.inputs[0]
    return None
