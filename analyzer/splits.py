"""Questions about divided data: which share of a data set a value holds, and which shares are held out.

A *share* is what one division (``train_test_split``, ``random_split``, a fold of ``KFold``, complementary slices, a
column that says "test", files named after their part) makes of some data. Two shares of one division have no sample
in common; whether a share is held out is known by the convention of the call, or by its name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from .knowledge import splitting, tensors, training
from .values import (
    UNKNOWN,
    Const,
    Data,
    Library,
    Mapping,
    Obj,
    Sequence,
    Value,
    alternatives,
    constant,
    is_none,
)

if TYPE_CHECKING:
    from .program import Program

MAX_NODES = 400
MAX_CHAIN = 6
BY_COLUMN = "column"
_LEAVES = splitting.SOURCES | splitting.BLANK


@dataclass(frozen=True, slots=True)
class Share:
    """One share of a division: ``index`` 0 trains by convention; ``held_out`` is None where there is no convention."""

    division: object
    whole: Value
    index: object
    site: Site | None
    held_out: bool | None
    words: str


def shares(program: Program, value: Value) -> frozenset[Share | None]:
    """The nearest shares that the samples of a value come from; None among them: samples of no known share."""
    found: dict[Share | None, None] = {}
    queue = list(alternatives(value))
    seen: set[Value] = set()
    while queue:
        item = queue.pop()
        if item in seen or type(item) is Const:
            continue
        seen.add(item)
        if len(seen) > MAX_NODES:
            return frozenset((None,))
        share = share_of(program, item)
        behind = () if share is not None else tuple(carriers(item))
        if share is not None or not behind:
            found[share] = None
        queue.extend(v for c in behind for v in alternatives(c))
    return frozenset(found) or frozenset((None,))


def held_out(program: Program, value: Value, depth: int = 0) -> Share | None:
    """The share that a value's samples come from, if all of them were held out."""
    share = _one(shares(program, value))
    if share is None or depth > 6:
        return None
    if share.held_out:
        return share
    above = held_out(program, share.whole, depth + 1)
    return above and share


def for_training(program: Program, value: Value, depth: int = 0) -> Share | None:
    """The share that a value's samples come from, if by convention it is the one to train on."""
    share = _one(shares(program, value))
    if share is None or share.held_out is not False or depth > 6:
        return None
    return None if held_out(program, share.whole, depth + 1) else share


def _one(found: Collection[Share | None]) -> Share | None:
    """The only share, or one of several files that are the same part by their names (of a download, say)."""
    known = [s for s in found if s is not None]
    if len(known) != len(found) or not known:
        return None
    same = len({(s.index, s.held_out) for s in known}) == 1 and isinstance(known[0].index, str)
    return min(known, key=lambda s: s.words) if len(known) == 1 or same else None


def chain(program: Program, value: Value) -> list[Share]:
    """The shares that a value comes from, the last division first."""
    found: list[Share] = []
    while len(found) < MAX_CHAIN:
        share = _one(shares(program, value))
        if share is None:
            break
        found.append(share)
        value = share.whole
    return found


def carriers(value: Value) -> Iterator[Value]:
    """What the samples of a value come from, one operation back."""
    if type(value) is Sequence:
        yield from value.items
    elif type(value) is Mapping:
        yield from (v for _, v in value.items)
    elif type(value) is Obj:
        yield from _held(value)
    elif type(value) is not Data or value.op in _LEAVES or not value.inputs:
        return
    elif value.op in splitting.OF_SECOND:
        yield from value.inputs[1:2]
    elif value.op in splitting.ARITHMETIC:
        yield from (v for v in value.inputs if type(v) is not Const and not _is_statistic(v))
    elif value.op in splitting.JOINS:
        yield from value.inputs
        yield from (v for _, v in value.options)
    else:
        yield value.inputs[0]


def _held(obj: Obj) -> Iterator[Value]:
    """What a data set or loader of a library was made of."""
    if not isinstance(obj.cls, str):
        return
    if obj.cls == training.LOADER or obj.cls.startswith("torch.utils.data."):
        yield from (v for name, v in obj.arguments if name in ("dataset", "datasets") or name.isdigit())


def _is_statistic(value: Value) -> bool:
    if type(value) is Data and (value.op in ("+", "clip", "clamp", "maximum", "[]") or value.op in tensors.PASSES):
        return bool(value.inputs) and _is_statistic(value.inputs[0])
    return type(value) is Data and (value.op in tensors.STATISTICS or value.op.endswith("_"))


# ---------------------------------------------------------------------------- one division


def share_of(program: Program, value: Value) -> Share | None:
    """The share that a value is by itself."""
    if type(value) is Obj:
        return _of_object(program, value)
    if type(value) is not Data:
        return None
    if value.op == "part":
        return _part(value)
    if value.op == "[]" and len(value.inputs) == 2:
        return _item(program, value)
    if value.op in splitting.READERS and value.inputs and (read := _path(value.inputs[0])) is not None:
        path, folder = read
        return _named(path, folder, value.op, value.site, f"read from {path!r}")
    if value.op == "datasets.load_dataset" and isinstance(part := constant(value.option("split")), str):
        return _named(part, UNKNOWN, repr(value.inputs), value.site, f"the part {part!r}")
    return None


def _path(value: Value) -> tuple[str, Value] | None:
    """The literal end of a path, and the folder (unknown where the path is literal or downloaded)."""
    text = constant(value)
    if isinstance(text, str):
        return text, UNKNOWN
    if type(value) is not Data:
        return None
    if value.op in splitting.DOWNLOADS:
        text = constant(value.option("filename", 1))
        return (text, UNKNOWN) if isinstance(text, str) else None
    if value.op not in splitting.PATH_JOINS or len(value.inputs) < 2:
        return None
    text = constant(value.inputs[-1])
    return (text, value.inputs[0]) if isinstance(text, str) else None


def _part(value: Data) -> Share:
    by = value.option("by")
    ordered = type(by) is Library and by.path in splitting.TRAINING_FIRST
    index = constant(value.inputs[1])
    return Share(value.site, value.inputs[0], index, value.site, index != 0 if ordered else None, "split off")


def _of_object(program: Program, value: Obj) -> Share | None:
    if value.cls == "torch.utils.data.Subset":
        base, indices = value.argument("dataset"), value.argument("indices")
        if base is not None and indices is not None:
            return _by_index(program, base, indices, value.site)
    if isinstance(value.cls, str) and value.cls.startswith("torchvision.datasets."):
        return _of_torchvision(value)
    return None


def _of_torchvision(value: Obj) -> Share | None:
    """``CIFAR10(root, train=False)``, ``Food101(root, split="test")``, ``ImageFolder("data/test")``."""
    name = str(value.cls).rsplit(".", 1)[-1]
    flag = value.argument("train") or (value.argument("1") if name in splitting.TRAIN_FLAG else None)
    trains = constant(flag) if flag is not None else (name in splitting.TRAIN_FLAG and not value.hidden) or ...
    if isinstance(trains, bool):
        words = "the training part" if trains else "the test part"
        return Share((name, "train"), UNKNOWN, trains, value.site, not trains, words)
    split = value.argument("split")
    text = constant(split) if split is not None else None
    if isinstance(text, str):
        return _named(text, UNKNOWN, name, value.site, f"the part {text!r}")
    folder = constant(value.argument("root"))
    if name in ("ImageFolder", "DatasetFolder") and isinstance(folder, str):
        return _named(folder, UNKNOWN, "folder", value.site, f"read from {folder!r}")
    return None


def _item(program: Program, value: Data) -> Share | None:
    base, index = value.inputs
    if type(base) is Data and base.op in splitting.INDEXERS and base.inputs:
        base = base.inputs[0]
    if type(index) is Data and index.op == "[:]":
        return _slice(program, base, index, value)
    if type(index) is Sequence and index.items:  # x[rows, :]
        return _item_of_rows(program, base, index.items[0], value)
    text = constant(index)
    if type(base) is Data and base.op == "train_test_split" and text in ("train", "test"):  # of Hugging Face's datasets
        return Share(base, base.inputs[0], int(text == "test"), base.site, text == "test", "split off")
    if isinstance(text, str) and type(base) is Data:
        sibling = _sibling_key(program, value, text)
        return _named(text, base, "key", value.site, f"the part {text!r}") if sibling else None
    return _item_of_rows(program, base, index, value)


def _item_of_rows(program: Program, base: Value, index: Value, value: Data) -> Share | None:
    if type(index) is Data and index.op == "[:]":
        return _slice(program, base, index, value)
    return _by_index(program, base, index, value.site)


def _sibling_key(program: Program, value: Data, text: str) -> bool:
    """Whether the same thing is also asked for another part by its name (``data["train"]`` and ``data["test"]``)."""
    role = splitting.role(text)
    if role is None:
        return False
    return any(
        other.inputs[0] is value.inputs[0]
        and isinstance(word := constant(other.inputs[1]), str)
        and splitting.role(word) not in (None, role)
        for other in program.operations("[]")
        if len(other.inputs) == 2
    )


def _by_index(program: Program, base: Value, index: Value, site: Site | None) -> Share | None:
    """Rows chosen by an index array or a mask: a fold, a share of the indices, a column that names the part."""
    if type(index) is not Data:
        return None
    fold = _fold(index)
    if fold is not None:
        owner, number = fold
        return Share(owner, base, number, owner.site, number != 0, f"a fold of {_short(owner)}")
    named = _named_by_column(index)
    if named is not None:
        return _named(named, base, BY_COLUMN, site, f"the rows marked {named!r}")
    inner = shares(program, index)
    if len(inner) == 1 and (share := next(iter(inner))) is not None:
        return Share(share.division, base, share.index, share.site, share.held_out, share.words)
    negated = index.op == "unary~"
    mask = index.inputs[0] if negated else index
    if type(mask) is Data and mask.op in ("<", ">", "<=", ">=", "isin", "==", "&", "|"):
        return Share(mask, base, not negated, site, None, "the rows of a mask")
    return None


def _fold(index: Value) -> tuple[Data, int] | None:
    """``(splitter.split(...), 0 or 1)`` behind an index array of cross-validation."""
    for _ in range(4):
        if type(index) is not Data or index.op != "[]" or len(index.inputs) != 2:
            return None
        number = constant(index.inputs[1])
        inner = index.inputs[0]
        if type(inner) is Data and inner.op in ("element", "[]") and number in (0, 1) and inner.inputs:
            source = inner.inputs[0]
            if type(source) is Data and source.op == "split" and _is_splitter(source.inputs[0]):
                return source, int(number)
        index = inner
    return None


def _is_splitter(value: Value) -> bool:
    return type(value) is Obj and isinstance(value.cls, str) and value.cls.startswith("sklearn.model_selection.")


def _short(split: Data) -> str:
    owner = split.inputs[0]
    return str(owner.cls).rsplit(".", 1)[-1] if type(owner) is Obj else "the splitter"


def _named_by_column(mask: Data) -> str | None:
    """``"test"`` behind ``frame["split"] == "test"``."""
    if mask.op != "==" or len(mask.inputs) != 2:
        return None
    text = constant(mask.inputs[1])
    return text if isinstance(text, str) and splitting.role(text) is not None else None


def _slice(program: Program, base: Value, index: Data, value: Data) -> Share | None:
    """``x[:n]`` and ``x[n:]``, if both are taken somewhere: by custom the first rows train."""
    lower, upper, step = index.inputs
    if not is_none(step):
        return None
    borders = program.borders.get(base, {})
    if is_none(lower) and not is_none(upper) and (end := bound(upper)) in borders:
        return Share((base, "slices"), base, 0, borders[end], None, "the first rows")
    if not is_none(lower) and (start := bound(lower)) in borders:
        return Share((base, "slices"), base, start, borders[start], None, "the last rows")
    return None


def bound(value: Value) -> object:
    """What two equal bounds of slices share, wherever they are computed: ``-n`` twice, ``a + b`` twice."""
    if type(value) is Data and value.op in _COMPUTED:
        return (value.op, *(bound(v) for v in value.inputs))
    return value


_COMPUTED = frozenset(("+", "-", "*", "//", "/", "unary-", "int()", "round()", "len()"))


def borders(program: Program) -> dict[Value, dict[object, Site]]:
    """Where arrays are cut in adjacent pieces: the array, and each bound that ends one piece and begins another."""
    ends: dict[tuple[Value, object], Site] = {}
    starts: set[tuple[Value, object]] = set()
    for data, site in program.row_slices:
        base, (lower, upper, step) = data
        if not is_none(step):
            continue
        if not is_none(upper):
            ends.setdefault((base, bound(upper)), site)
        if not is_none(lower):
            starts.add((base, bound(lower)))
    found: dict[Value, dict[object, Site]] = {}
    for (base, edge), site in ends.items():
        if (base, edge) in starts:
            found.setdefault(base, {})[edge] = site
    return found


# ---------------------------------------------------------------------------- names of parts


def _named(text: str, whole: Value, kind: str, site: Site | None, words: str) -> Share | None:
    role = splitting.role(text)
    if role is None:
        return None
    return Share((kind, splitting.without_role(text), whole), whole, role, site, role != splitting.TRAINING, words)


def is_test(share: Share) -> bool:
    """Whether a share is the test part by its name."""
    return share.index == "test" or (share.held_out is True and share.index is False)


# ---------------------------------------------------------------------------- use of shares


def trained_on(program: Program) -> frozenset[Share]:
    """Shares that models are trained on: by ``fit`` of an estimator, or by a backward pass."""
    found: set[Share | None] = set()
    for effect, _ in program.effects("fit"):
        owner = effect.subject
        if type(owner) is Obj and isinstance(owner.cls, str) and splitting.is_estimator(owner.cls):
            for value in effect.inputs[:1]:
                found |= shares(program, value)
    for effect, _ in program.effects("backward"):
        for value in program.history(effect.subject):
            if type(value) is Obj and value.cls == training.LOADER:
                found |= shares(program, value)
            elif type(value) is Data and value.op in ("[]", "part"):
                found.add(share_of(program, value))
    return frozenset(s for s in found if s is not None)
