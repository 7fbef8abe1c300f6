"""Questions about metrics: what is compared with what, and what a count is divided by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from .knowledge import tensors, training
from .values import UNKNOWN, Const, Data, Obj, Union, Value, alternatives, constant

if TYPE_CHECKING:
    from .program import LossUse, Program


@dataclass(frozen=True, slots=True, eq=False)
class WrongScore:
    """``kind``: ``threshold`` (0.5 on scores), ``round``, ``batches`` (divided by their number) or ``axis``."""

    kind: str
    site: Site
    because: Site
    known: bool = True


def wrong_scores(program: Program) -> Iterator[WrongScore]:
    """Metrics that are certainly not what they are taken for."""
    yield from _thresholds(program)
    yield from _counts_per_batch(program)
    yield from _wrong_axes(program)


# ---------------------------------------------------------------------------- decisions on scores


def _thresholds(program: Program) -> Iterator[WrongScore]:
    """``outputs > 0.5`` and ``round(outputs)`` where the loss takes these outputs for unnormalised scores."""
    uses = [use for use in program.losses if use.loss.function == "binary_cross_entropy_with_logits"]
    if not uses:
        return
    for op in (">", ">=", "<", "<=", "gt", "ge"):
        for data in program.operations(op):
            site = data.site or program.compared_at(data)
            if site is not None and len(data.inputs) == 2 and constant(data.inputs[1]) == 0.5:
                use = _same_scores(program, data.inputs[0], uses)
                if use is not None:
                    yield WrongScore("threshold", site, use.site, data in program.scored)
    for op in ("round", "round()"):
        for data in program.operations(op):
            if data.site is not None and data.inputs and data in program.scored:
                use = _same_scores(program, data.inputs[0], uses)
                if use is not None:
                    yield WrongScore("round", data.site, use.site)


def _same_scores(program: Program, value: Value, uses: list[LossUse]) -> LossUse | None:
    """The use of a loss that takes the same kind of outputs of the same model."""
    ours = _plain(value)
    if type(ours) is not Data or ours.op not in ("output", "call"):
        return None
    activation = program.activation(ours)
    if activation is not None and activation.kind != tensors.LOGITS:
        return None
    for use in uses:
        theirs = _plain(use.prediction)
        if theirs is ours:
            return use
        if type(theirs) is Data and theirs.op == ours.op == "output" and theirs.inputs[0] is ours.inputs[0]:
            inner, other = ours.inputs[1], theirs.inputs[1]
            if type(inner) is Data and type(other) is Data and (inner.op, inner.site) == (other.op, other.site):
                return use
    return None


def _plain(value: Value) -> Value:
    """A value before changes of shape, place or type, and before it was cut off the graph."""
    for _ in range(20):
        if type(value) is not Data or not value.inputs or value.op not in _KEEPS:
            return value
        value = value.inputs[0]
    return value


_KEEPS = tensors.PASSES - {"[]", "stack", "cat", "concat", "concatenate", "Identity"} | {"numpy", "item", "detach"}


# ---------------------------------------------------------------------------- counts


def _counts_per_batch(program: Program) -> Iterator[WrongScore]:
    """The number of right answers, divided by the number of batches."""
    scaled = [d for op in ("/", "//", "*") for d in program.operations(op)]
    for data in program.operations("/"):
        if data.site is None or len(data.inputs) != 2:
            continue
        loader = _length_of_loader(program, data.inputs[1])
        counted = _counted(data.inputs[0], 0)
        if loader is None or counted is None or not program.untouched(loader):
            continue
        # What is divided once more (by the batch size) is all right in the end.
        further = [d for d in scaled if d.inputs[0] is data or (len(d.inputs) == 2 and d.inputs[1] is data)]
        if not any(_other_than_percent(d, data) for d in further):
            yield WrongScore("batches", data.site, loader.site)


def _other_than_percent(data: Data, quotient: Data) -> bool:
    other = next((v for v in data.inputs if v is not quotient), None)
    return not (data.op == "*" and constant(other) in (100, 100.0))


def _length_of_loader(program: Program, value: Value) -> Obj | None:
    if type(value) is not Data or value.op != "len()" or len(value.inputs) != 1:
        return None
    loader = value.inputs[0]
    if type(loader) is not Obj or loader.cls != training.LOADER or loader.hidden:
        return None
    size = loader.argument("batch_size")
    if size is None or constant(size) in (1, None) or loader.argument("batch_sampler") is not None:
        return None
    return loader


def _counted(value: Value, depth: int) -> Data | None:
    """The sum of a comparison that a running total adds up; None if it is anything else, or was divided."""
    if depth > 12:
        return None
    if type(value) is Union:
        # A literal, or what was forgotten of one, is where the count began.
        found = [_counted(v, depth + 1) for v in value.alternatives if type(v) is not Const and v is not UNKNOWN]
        return found[0] if found and all(found) else None
    if type(value) is not Data or not value.inputs:
        return None
    if value.op == "sum":
        inner = value.inputs[0]
        while type(inner) is Data and inner.op in _KEEPS and inner.inputs:
            inner = inner.inputs[0]
        whole = len(value.inputs) == 1 and value.option("dim") is None and value.option("axis") is None
        return value if whole and type(inner) is Data and inner.op in tensors.SCORES else None
    if value.op == "+":
        counts = [(v, _counted(v, depth + 1)) for v in value.inputs]
        found = [count for _, count in counts if count is not None]
        others = [v for v, count in counts if type(v) is Data and count is None]
        return found[0] if found and not others else None
    if value.op == "*" and any(constant(v) in (100, 100.0) for v in value.inputs):
        return next((f for v in value.inputs if (f := _counted(v, depth + 1)) is not None), None)
    if value.op in _KEEPS or value.op in ("float()", "int()"):
        return _counted(value.inputs[0], depth + 1)
    return None


# ---------------------------------------------------------------------------- no metric at all


def judged_by_loss_alone(program: Program) -> Iterator[tuple[Site, LossUse]]:
    """Evaluation loops of classifiers in whose files nothing but the loss is measured: the loop, and the loss."""
    for evaluation in program.evaluation_loops:
        own = program.own_effects(evaluation.loop)
        use = next((u for u in program.losses if u.effect in own and u.loss.function in _OF_CLASSES), None)
        if use is None or any(e.kind == "escape" for e in own):
            continue
        words = program.identifiers(evaluation.loop.root)
        decided = any(program.operations(op) for op in ("argmax", "topk", *tensors.SCORES))
        if not decided and not any(part in word.lower() for word in words for part in _SPEAKS_OF_METRICS):
            yield evaluation.site, use


_OF_CLASSES = frozenset(
    ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "multi_margin_loss")
)
_SPEAKS_OF_METRICS = (
    "acc",
    "metric",
    "f1",
    "auc",
    "iou",
    "dice",
    "score",
    "bleu",
    "perplexity",
    "ppl",
    "precision",
    "recall",
    "correct",
    "error_rate",
    "exp",
    "hits",
)


# ---------------------------------------------------------------------------- axes


def _wrong_axes(program: Program) -> Iterator[WrongScore]:
    """``argmax(0)`` of the very scores that a cross-entropy takes: the axis of the samples, not of the classes."""
    uses = [use for use in program.losses if use.loss.function in ("cross_entropy", "nll_loss")]
    predictions = {_uncut(v): use for use in uses for v in alternatives(use.prediction)}
    for op in ("argmax", "max"):
        for data in program.operations(op):
            if data.site is None or not data.inputs or data not in program.scored:
                continue
            axis = data.option("dim", 1) or data.option("axis")
            use = predictions.get(_uncut(data.inputs[0]))
            first = type(axis) is Const and type(axis.value) is int and axis.value == 0
            if first and use is not None and program.loaders(data):
                yield WrongScore("axis", data.site, use.site)


def _uncut(value: Value) -> Value:
    while type(value) is Data and value.op in ("detach", ".data", "cpu", "float") and value.inputs:
        value = value.inputs[0]
    return value
