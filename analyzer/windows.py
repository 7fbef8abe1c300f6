"""Questions about windows: whether pieces of a series that share values are divided at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import splits
from .values import Const, Data, Mapping, Obj, Sequence, Value, alternatives, constant

if TYPE_CHECKING:
    from .program import Program

MAX_NODES = 300


@dataclass(frozen=True, slots=True)
class SplitWindows:
    """Overlapping windows of a series that are divided at random: where they are divided, and where they are cut."""

    split: Site
    cut: Site


def split_windows(program: Program) -> Iterator[SplitWindows]:
    """``x[i:i + length]`` for each ``i``, then a random split."""
    seen: set[Site] = set()
    for site, value in _random_splits(program):
        cut = _windows(program, value) if site not in seen else None
        if cut is not None:
            seen.add(site)
            yield SplitWindows(site, cut)


def _random_splits(program: Program) -> Iterator[tuple[Site, Value]]:
    """Divisions that certainly mix the samples."""
    ordered = {d.site for d in program.operations("part") if constant(d.option("shuffle")) is False}
    unknown = {d.site for d in program.operations("part") if d.option("shuffle") not in (None, *_constants(d))}
    for effect, _ in program.effects("split"):
        owner = effect.result
        if owner is None:
            if effect.site not in ordered | unknown:
                yield effect.site, effect.subject
        elif type(owner) is Obj and owner.cls in _FOLDS and constant(owner.argument("shuffle")) is True:
            yield effect.site, effect.subject


_FOLDS = ("sklearn.model_selection.KFold", "sklearn.model_selection.StratifiedKFold")


def _constants(data: Data) -> tuple[Value, ...]:
    return tuple(v for _, v in data.options if type(v) is Const)


def _windows(program: Program, value: Value) -> Site | None:
    """Where the samples of a value are cut as overlapping windows."""
    queue = list(alternatives(value))
    seen: set[Value] = set()
    while queue and len(seen) < MAX_NODES:
        item = queue.pop(0)
        if item in seen or type(item) is Const:
            continue
        seen.add(item)
        if type(item) is Data:
            if _is_window(program, item):
                return program.sliced_at(item)
            if item.op in ("part", "touched?", "call"):
                continue
        if type(item) is Obj and not program.untouched(item):
            continue
        queue.extend(v for c in _behind(program, item) for v in alternatives(c))
    return None


def _behind(program: Program, item: Value) -> Iterator[Value]:
    if type(item) is Obj and item in program.samples:
        sample = program.samples[item]
        yield from sample.items if type(sample) is Sequence else ()
        yield from (v for _, v in sample.items) if type(sample) is Mapping else ()
        if isinstance(sample, Data):
            yield sample
    else:
        yield from splits.carriers(item)


def _is_window(program: Program, item: Data) -> bool:
    """``x[i:i + length]`` where ``i`` runs through all numbers, and the length is more than 1."""
    if item.op != "[]" or len(item.inputs) != 2:
        return False
    index = item.inputs[1]
    if type(index) is Sequence and index.items:
        index = index.items[0]
    if type(index) is not Data or index.op != "[:]":
        return False
    lower, upper = index.inputs[:2]
    if type(upper) is not Data or upper.op != "+" or lower not in upper.inputs or not _runs(program, lower):
        return False
    length = next((v for v in upper.inputs if v is not lower), None)
    return length is not None and constant(length) != 1


def _runs(program: Program, index: Value) -> bool:
    """Whether a position takes all values one after the other."""
    if type(index) is not Data or index.op != "index":
        return False
    counted = program.ranges.get(index)
    if counted is None:
        return program.is_sample_index(index)
    return len(counted.inputs) < 3 or constant(counted.inputs[2]) == 1
