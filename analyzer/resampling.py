"""Questions about copies: whether rows were duplicated or synthesised before the data was divided at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import splits
from .knowledge import splitting
from .values import Const, Data, Obj, Sequence, Value, alternatives, constant, is_none

if TYPE_CHECKING:
    from .program import Program

MAX_NODES = 400


@dataclass(frozen=True, slots=True)
class Copies:
    """Rows multiplied before a division: where and how, and where the data is divided afterwards."""

    site: Site
    what: str
    split: Site


def resampled_before_split(program: Program) -> Iterator[Copies]:
    """Oversampling, drawing with replacement and concatenated copies whose result is divided at random."""
    seen: set[Site] = set()
    for site, value in random_divisions(program):
        if site in seen:
            continue  # the inputs are divided first, the labels beside them
        seen.add(site)
        for item in _before(value):
            what = _multiplies(program, item)
            if what is not None and item.site is not None and item.site not in seen:
                seen.add(item.site)
                yield Copies(item.site, what, site)


def random_divisions(program: Program) -> Iterator[tuple[Site, Value]]:
    """Every random division of data: where, and what is divided."""
    for effect, _ in program.effects("split"):
        owner = effect.result
        if owner is None or (type(owner) is Obj and str(owner.cls).startswith("sklearn.model_selection.")):
            yield effect.site, effect.subject
    for name in splitting.CROSS_VALIDATIONS:
        for data in program.operations(name):
            value = data.option("X", 1)
            if value is not None and data.site is not None:
                yield data.site, value
    for effect, _ in program.effects("fit"):
        owner = effect.subject
        if type(owner) is Obj and owner.cls in splitting.SEARCHES and effect.inputs:
            yield effect.site, effect.inputs[0]


def _before(value: Value) -> Iterator[Data]:
    """The operations that the samples of a value went through, behind data sets too, up to an earlier division."""
    queue = list(alternatives(value))
    seen: set[Value] = set()
    while queue and len(seen) < MAX_NODES:
        item = queue.pop()
        if item in seen or type(item) is Const:
            continue
        seen.add(item)
        if type(item) is Data:
            if item.op in ("part", "touched?"):
                continue
            yield item
        behind = list(splits.carriers(item))
        if type(item) is Obj:
            behind = behind[:1]  # of inputs and labels, the inputs
        queue.extend(v for c in behind for v in alternatives(c))


def _multiplies(program: Program, item: Data) -> str | None:
    """What an operation does to multiply rows, in words; None where it does not."""
    if any(type(v) is Data and v.op == "touched?" for v in item.inputs):
        return None
    if item.op in ("fit_resample", "fit_sample"):
        owner = item.inputs[0]
        if type(owner) is Obj and str(owner.cls).startswith(splitting.OVERSAMPLERS) and program.untouched(owner):
            return f"`{str(owner.cls).rsplit('.', 1)[-1]}` makes new rows out of pairs or copies of rows"
        return None
    if item.op == "sklearn.utils.resample":
        kept = constant(item.option("replace")) is False
        larger = item.option("n_samples") is not None
        return "`resample` draws rows with replacement" if larger and not kept else None
    if item.op == "sample" and constant(item.option("replace")) is True:
        return "`sample(replace=True)` draws rows several times"
    if item.op in ("concat", "cat", "concatenate", "pandas.concat", "vstack") and item.inputs:
        return _copies(item)
    return None


def _copies(item: Data) -> str | None:
    """Two pieces of a concatenation of rows are made from the same rows."""
    axis = item.option("axis") or item.option("dim") or item.option("axis", 1)
    if axis is not None and not is_none(axis) and constant(axis) != 0:
        return None
    pieces = item.inputs[0]
    if type(pieces) is not Sequence or len(pieces.items) < 2 or pieces.open:
        return None
    origins = [_rows(v) for v in pieces.items]
    known = [o for o in origins if o is not None]
    return "copies of the same rows are appended" if len(set(known)) < len(known) else None


def _is_noise(value: Value) -> bool:
    if type(value) is not Data:
        return type(value) is Const
    return value.op in splitting.NOISE or (value.op in splitting.ARITHMETIC and all(_is_noise(v) for v in value.inputs))


def _rows(value: Value) -> Value | None:
    """The array whose rows a piece holds, each of them once and in full; None where that cannot be told."""
    for _ in range(20):
        if type(value) is not Data:
            return None
        if value.op in splitting.ROWWISE and value.inputs:
            value = value.inputs[0]
        elif value.op in splitting.ARITHMETIC:
            data = [v for v in value.inputs if type(v) is Data and not _is_noise(v)]
            if len(data) != 1:
                return None
            value = data[0]
        else:
            return value if value.op not in splitting.NOISE and value.op != "call" else None
    return None
