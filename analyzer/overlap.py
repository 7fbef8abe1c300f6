"""Questions about overlap: whether data that is evaluated on has samples of the data that is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import lineage, splits
from .knowledge import splitting, training
from .splits import Share
from .values import UNKNOWN, Class, Const, Data, Obj, Value, alternatives, is_none

if TYPE_CHECKING:
    from .program import Program

MAX_STEPS = 40


@dataclass(frozen=True, slots=True)
class Origin:
    """Where samples come from: the whole that they were taken from, and the shares taken of it, the first one first."""

    leaf: object
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Overlap:
    """An evaluation with samples of the training data: where its data is set up, and that of the training."""

    site: Site
    trained: Site
    why: str
    used: Site


def overlaps(program: Program) -> Iterator[Overlap]:
    """Loaders that drive the selection, or that should hold out what was split off, over data that is trained on."""
    yield from _trainers(program)
    training_loaders = list(lineage.training_loaders(program))
    known = {loader for loader, _ in training_loaders}
    seen: set[Obj] = set()
    for loader, used, decides in _evaluated(program):
        if loader in known or loader in seen or not _plain(program, loader):
            continue
        trained = _trained_beside(training_loaders, loader, used)
        reasons = [_reason(program, other, loader, decides) for other in trained if _plain(program, other)]
        if reasons and len(reasons) == len(trained) and all(reasons):
            seen.add(loader)
            yield Overlap(loader.site, trained[0].site, str(reasons[0]), used)


def _trained_beside(training_loaders: list[tuple[Obj, Site]], evaluated: Obj, used: Site) -> list[Obj]:
    """The loaders that the same script trains on: other scripts of the project are experiments of their own."""
    files = {evaluated.site.file, used.file}
    beside = [loader for loader, site in training_loaders if {loader.site.file, site.file} & files]
    return list(dict.fromkeys(beside or (loader for loader, _ in training_loaders)))


def _trainers(program: Program) -> Iterator[Overlap]:
    """``Trainer(train_dataset=data, eval_dataset=data)`` of transformers."""
    for trainer in program.objects:
        if not isinstance(trainer.cls, str) or not trainer.cls.startswith("transformers.") or trainer.hidden:
            continue
        train, evaluated = trainer.argument("train_dataset"), trainer.argument("eval_dataset")
        if type(train) is Data and train is evaluated and splits.share_of(program, train) is not None:
            yield Overlap(trainer.site, train.site or trainer.site, "both arguments are the same data", trainer.site)


def _evaluated(program: Program) -> Iterator[tuple[Obj, Site, bool]]:
    for decision in program.selections:
        for loader in decision.loaders:
            yield loader, decision.site, True
    for loader, site in program.framework_evaluation_loaders:
        yield loader, site, True
    for loop in program.evaluation_loops:
        for loader in program.loaders(loop.loop.node.iterable):
            yield loader, loop.site, False


def _plain(program: Program, loader: Obj) -> bool:
    """Whether a loader certainly reads its whole data set."""
    if loader.hidden or not program.untouched(loader):
        return False
    given = (loader.argument(name) for name in ("sampler", "batch_sampler", "collate_fn"))
    return all(v is None or is_none(v) for v in given)


def _reason(program: Program, train: Obj, evaluated: Obj, decides: bool) -> str | None:
    first, second = (loader.argument("dataset") for loader in (train, evaluated))
    if first is None or second is None:
        return None
    one, other = origin(program, first), origin(program, second)
    if one is None or other is None or one.leaf != other.leaf:
        return None
    for a, b in zip(one.shares, other.shares, strict=False):
        if a.division != b.division or a.index != b.index:
            return None
    if len(one.shares) < len(other.shares):
        return "training reads all the data, also the part that was split off for the evaluation"
    if not decides:
        return None
    if len(one.shares) > len(other.shares):
        return "the evaluation reads all the data, also the part that is trained on"
    return "both read the same data"


def origin(program: Program, value: Value) -> Origin | None:
    """Where the samples of a value come from; None where that is not known."""
    shares: list[Share] = []
    for _ in range(MAX_STEPS):
        options = alternatives(value)
        if len(options) > 1:
            return None
        share = splits.share_of(program, value)
        if share is not None:
            shares.append(share)
            if share.whole is UNKNOWN:
                leaf = _leaf(program, value)
                return None if leaf is None else Origin(leaf, tuple(reversed(shares[:-1])))
            value = share.whole
            continue
        if type(value) is Data and value.op == ".dataset":
            inner = splits.share_of(program, value.inputs[0])
            if inner is None or program.was_rewritten(value.inputs[0], "dataset"):
                return None
            value = inner.whole
            continue
        if type(value) is Data and value.op == "[]":
            # One of several arrays of an archive is data of its own; other pieces are not known.
            named = len(value.inputs) == 2 and type(value.inputs[1]) is Const
            return Origin(value, tuple(reversed(shares))) if named else None
        behind = tuple(splits.carriers(value))
        if not behind:
            leaf = _leaf(program, value)
            return None if leaf is None else Origin(leaf, tuple(reversed(shares)))
        if type(value) is Data and value.op in splitting.JOINS:
            return None
        value = behind[0]
    return None


def _leaf(program: Program, value: Value) -> object | None:
    """What tells the data apart; None for what may be other data each time it is made."""
    if type(value) is Obj:
        return _object(program, value)
    if type(value) is not Data or value.op in ("call", "element", "generator", "touched?", "[]", "index"):
        return None
    if value.op in splitting.BLANK:
        return None
    if value.op.startswith("random.") or value.op in splitting.DRAWN or value.op.startswith("sklearn.datasets.make_"):
        return None
    return value


def _object(program: Program, dataset: Obj) -> object | None:
    if dataset.hidden or not program.untouched(dataset):
        return None
    if isinstance(dataset.cls, Class):
        plain = program.is_dataset(dataset) and not dataset.cls.library_bases & training.ITERABLE_DATASETS
        return dataset if plain and not program.methods_of(dataset) - {"__init__", "__len__"} else None
    if not training.is_dataset(dataset.cls):
        return None
    if not dataset.cls.startswith("torchvision.datasets."):
        return dataset
    kept = tuple((k, v) for k, v in dataset.arguments if k not in splitting.NO_DATA)
    positional = any(k.isdigit() for k, _ in kept)
    return dataset if positional else (dataset.cls, kept)
