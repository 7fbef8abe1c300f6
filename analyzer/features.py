"""Questions about tables: whether the column of the labels is among the inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import labels, shuffling
from .knowledge import splitting
from .values import Const, Data, Obj, Sequence, Value, alternatives, constant, is_none

if TYPE_CHECKING:
    from .program import Program

MAX_STEPS = 40


@dataclass(slots=True)
class Columns:
    """Which columns of a table a value holds: all but the dropped ones, or those that were chosen."""

    table: Value
    dropped: set[object] = field(default_factory=set)
    chosen: frozenset[object] | None = None
    bounds: tuple[int, int] | None = None
    site: Site | None = None
    rows: list[object] = field(default_factory=list)
    """How rows were chosen, the last choice first."""

    def holds(self, column: object) -> bool:
        """Whether the column is certainly among them."""
        if column in self.dropped or (isinstance(column, int) and (self.dropped or self.chosen is not None)):
            return False
        if self.bounds is not None:
            return isinstance(column, int) and self.bounds[0] <= column < self.bounds[1]
        return self.chosen is None or column in self.chosen


@dataclass(frozen=True, slots=True)
class Leak:
    """Inputs that hold the column of the labels."""

    site: Site
    column: object
    labels: Site
    used: str


def target_in_features(program: Program) -> Iterator[Leak]:
    """Inputs and labels of one table, where the inputs still have the column of the labels."""
    seen: set[Site] = set()
    for inputs, targets, site, used in shuffling.pairs(program):
        if used == shuffling.SIDE_BY_SIDE:
            continue
        held = _columns(program, labels.source(program, inputs) or inputs)
        label = _label(program, labels.source(program, targets) or targets)
        if held is None or label is None or held.table is not label.table or held.rows != label.rows:
            continue
        (column,) = label.chosen or (None,)
        place = held.site or site
        if held.holds(column) and place not in seen:
            seen.add(place)
            yield Leak(place, column, site, used)


def _label(program: Program, value: Value) -> Columns | None:
    """The table and the one column that labels were taken from."""
    rows: list[object] = []
    for _ in range(MAX_STEPS):
        options = alternatives(value)
        if len(options) != 1 or type(value) is not Data or not value.inputs:
            return None
        column = _one_column(value) if value.op == "[]" else None
        if column is not None:
            found = _columns(program, _behind_indexer(value.inputs[0]))
            if found is None or found.chosen is not None or found.bounds is not None:
                return None
            _note_rows(rows, value)
            return Columns(found.table, chosen=frozenset((column,)), rows=rows + found.rows)
        _note_rows(rows, value)
        inner = _same_rows(value)
        if inner is None:
            return None
        value = inner
    return None


def _note_rows(rows: list[object], value: Data) -> None:
    """Remember how an operation chooses rows."""
    if value.op == "part":
        rows.append((value.site, value.inputs[1]))
    elif value.op == "[]" and len(value.inputs) == 2:
        index = value.inputs[1]
        chosen = index.items[0] if type(index) is Sequence and len(index.items) == 2 else index
        everything = type(chosen) is Data and chosen.op == "[:]" and all(is_none(v) for v in chosen.inputs)
        if type(chosen) is Data and not everything:
            rows.append(chosen)


def _one_column(value: Data) -> object | None:
    """``table["y"]``, ``table[:, -1]``, ``table.iloc[:, 4]``."""
    index = value.inputs[1]
    if type(index) is Const and isinstance(index.value, str):
        return index.value
    if type(index) is Sequence and len(index.items) == 2 and not index.open:
        column = constant(index.items[1])
        if isinstance(column, (int, str)) and not isinstance(column, bool) and type(index.items[0]) is Data:
            return column
    return None


def _columns(program: Program, value: Value) -> Columns | None:
    """The columns that a value holds; None where that is not known."""
    found = Columns(value)
    for _ in range(MAX_STEPS):
        options = alternatives(value)
        if len(options) != 1 or type(value) is not Data or _changed_in_place(program, value):
            return None
        if value.site is not None and value.op not in splitting.READERS | splitting.CLEANING:
            found.site = value.site  # of all steps, the one nearest to the table
        if value.op in splitting.READERS or value.op == "pandas.DataFrame":
            found.table = value
            return found
        _note_rows(found.rows, value)
        inner = _step(found, value)
        if inner is None:
            return None
        value = inner
    return None


def _step(found: Columns, value: Data) -> Value | None:
    """One operation back, what it does to the columns noted."""
    if value.op == "drop":
        gone = _dropped(value)
        if gone is None or found.bounds is not None:
            return None
        found.dropped |= gone
        return value.inputs[0]
    if value.op == "[]" and len(value.inputs) == 2:
        index = value.inputs[1]
        names = _names(index)
        if names is not None:
            found.chosen = names if found.chosen is None else found.chosen & names
            return value.inputs[0]
        if type(index) is Sequence:
            return _behind_indexer(value.inputs[0]) if _by_position(found, index) else None
    return _same_rows(value)


def _names(index: Value) -> frozenset[object] | None:
    """``table[["a", "b"]]``: names of columns that are all literals."""
    if type(index) is not Sequence or index.open or not index.items:
        return None
    names = [constant(v) for v in index.items]
    return frozenset(names) if all(isinstance(n, str) for n in names) else None


def _by_position(found: Columns, index: Sequence) -> bool:
    """``table[:, 0:9]`` with literal bounds."""
    if len(index.items) != 2 or index.open or found.bounds is not None or found.chosen is not None:
        return False
    rows, columns = index.items
    if type(rows) is not Data or type(columns) is not Data or columns.op != "[:]" or not is_none(columns.inputs[2]):
        return False
    lower, upper = (constant(v) for v in columns.inputs[:2])
    if lower is None and upper is None:
        return True
    if (lower is None or type(lower) is int) and type(upper) is int and upper > 0 and (lower or 0) >= 0:
        found.bounds = (int(lower or 0), upper)
        return True
    return False


def _dropped(value: Data) -> frozenset[object] | None:
    """Literal names of columns that ``drop`` takes away."""
    given = value.option("columns")
    if given is None and constant(value.option("axis") or value.option("axis", 2)) in (1, "columns"):
        given = value.option("labels", 1)
    if given is None:
        return None
    if type(given) is Const:
        return frozenset((given.value,))
    return _names(given)


def _same_rows(value: Data) -> Value | None:
    """What an operation works on, if its result has the same columns."""
    if value.op == "[]" and len(value.inputs) == 2:
        index = value.inputs[1]
        return _behind_indexer(value.inputs[0]) if type(index) is Data else None
    if value.op == "part":
        return value.inputs[0]
    if value.op in ("fit_transform", "transform") and len(value.inputs) > 1:
        owner = value.inputs[0]
        scales = type(owner) is Obj and str(owner.cls).startswith("sklearn.preprocessing.")
        return value.inputs[1] if scales else None
    if value.op in splitting.SAME_COLUMNS and value.inputs:
        return value.inputs[0]
    return None


def _behind_indexer(value: Value) -> Value:
    if type(value) is Data and value.op in splitting.INDEXERS and value.inputs:
        return value.inputs[0]
    return value


def _changed_in_place(program: Program, value: Data) -> bool:
    """Whether columns are taken out of a table itself: ``pop``, ``del``, ``drop(..., inplace=True)``."""
    used = program.uses(value)
    if "pop" in used or value in program.removed_from:
        return True
    return "drop" in used and any(
        constant(d.option("inplace")) is True for d in program.operations("drop") if d.inputs[0] is value
    )
