"""Questions about padded sequences: what a collate function pads, and whether a loss leaves the padding out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .knowledge import tensors, training
from .values import Const, Data, Obj, Sequence, Value, alternatives, constant

if TYPE_CHECKING:
    from .program import LossUse, Program

PADS = "torch.nn.utils.rnn.pad_sequence"
COUNTS_ALL = frozenset(("cross_entropy", "nll_loss"))
IGNORED_BY_DEFAULT = -100


@dataclass(frozen=True, slots=True, eq=False)
class PaddedTarget:
    """A loss over padded targets that counts the padding."""

    use: LossUse
    padded: Data
    value: object


def padded_targets(program: Program) -> Iterator[PaddedTarget]:
    """Losses without ``ignore_index`` over targets that a loader's collate function has padded."""
    for use in program.losses:
        if use.loss.function not in COUNTS_ALL or use.effect.grad is not True or use.target is None:
            continue
        ignored = _ignored(use)
        if ignored is None:
            continue
        for value in alternatives(use.target):
            padded = _padded(program, value)
            filled = _fill(padded) if padded is not None else None
            if padded is not None and isinstance(filled, (int, float)) and filled != ignored:
                yield PaddedTarget(use, padded, filled)
                break


def _ignored(use: LossUse) -> object:
    """The index that the loss leaves out; None where it is not known, or where weights or a mask may do the same."""
    subject, result = use.effect.subject, use.effect.result
    options = dict(subject.arguments) if type(subject) is Obj else dict(result.options) if type(result) is Data else {}
    positional = any(key.isdigit() for key in options) or (type(result) is Data and len(result.inputs) > 2)
    if positional or {"weight", "*", "**"} & options.keys() or constant(options.get("reduction")) == "none":
        return None
    given = options.get("ignore_index")
    return IGNORED_BY_DEFAULT if given is None else given.value if type(given) is Const else None


def _padded(program: Program, target: Value) -> Data | None:
    """The ``pad_sequence`` that made a target, where nothing but reshaping and slices lies between."""
    while type(target) is Data:
        if target.op == PADS:
            return target
        if target.op == "[]" and type(batch := target.inputs[0]) is Data and batch.op == "element":
            return _collated(program, batch.inputs[0], target.inputs[1])
        if target.op == "[]" and not _is_cut(target.inputs[1]):
            return None
        if target.op not in tensors.PASSES and target.op not in ("long", "int"):
            return None
        target = target.inputs[0]
    return None


def _is_cut(index: Value) -> bool:
    """Whether an index is made of slices and numbers, rather than a mask."""
    parts = index.items if type(index) is Sequence else (index,)
    return all(type(v) is Const or (type(v) is Data and v.op == "[:]") for v in parts)


def _collated(program: Program, loader: Value, index: Value) -> Data | None:
    """What the collate function of a loader makes of one entry of a batch."""
    if type(loader) is not Obj or loader.cls != training.LOADER:
        return None
    results = alternatives(held) if (held := program.collated(loader)) is not None else ()
    found = []
    for result in results:
        at = constant(index)
        if type(result) is not Sequence or result.open or not isinstance(at, int) or not 0 <= at < len(result.items):
            return None
        found.append(_padded(program, result.items[at]))
    return found[0] if found and None not in found and len(set(found)) == 1 else None


def _fill(padded: Data) -> object:
    given = padded.option("padding_value", 2)
    return 0 if given is None else constant(given)
