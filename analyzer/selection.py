"""Questions about decisions: what a training keeps, stops or slows down by, and from which data that was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import effects as fx
from . import lineage, splits
from .effects import Block, BranchNode, CallNode, Effect, Exit, LoopNode
from .knowledge import training
from .splits import Share
from .values import Data, Obj, Value, alternatives

if TYPE_CHECKING:
    from .program import Program

SAVES, STOPS, STEERS = "the checkpoint is kept", "training is stopped", "the learning rate is lowered"


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """A decision on a measured number: what is decided, where, and the data behind the number."""

    site: Site
    what: str
    loaders: frozenset[Obj]
    shares: frozenset[Share]


def selections(program: Program) -> Iterator[Selection]:
    """Checkpoints, early stops and schedules that follow a number measured on data that is not trained on."""
    trained = {loader for loader, _ in lineage.training_loaders(program)}
    seen: set[Site] = set()
    for site, what, metric in _decisions(program):
        if site in seen:
            continue
        behind = program.ancestry([metric])
        results = [v for v in behind if type(v) is Data]
        if not any(v.op in ("output", "call") for v in results) or any(_touched(program, v) for v in results):
            continue
        # Only what goes into a result was measured: other things in the condition have names, too.
        behind = program.ancestry(v for v in results if v.op in ("output", "call"))
        loaders = frozenset(v for v in behind if type(v) is Obj and v.cls == training.LOADER)
        if loaders & trained:
            continue
        shares = frozenset(s for v in behind if type(v) is Data and (s := splits.share_of(program, v)) is not None)
        if loaders or shares:
            seen.add(site)
            yield Selection(site, what, loaders, shares)


def _touched(program: Program, value: Data) -> bool:
    """Whether unseen code had hold of a share of the data, or of what was measured."""
    if value.op != "touched?":
        return False
    measured = any(type(v) is Data and v.op == "output" for v in program.history(value))
    return measured or splits.shares(program, value.inputs[0]) != frozenset((None,))


def _decisions(program: Program) -> Iterator[tuple[Site, str, Value]]:
    for root in program.roots:
        yield from _below(root.block, False)
    for effect, _ in program.effects("step"):
        scheduler = effect.subject
        if type(scheduler) is Obj and scheduler.cls in training.METRIC_SCHEDULERS and effect.inputs:
            yield effect.site, STEERS, effect.inputs[0]


def _below(block: Block, in_training: bool) -> Iterator[tuple[Site, str, Value]]:
    for node in block:
        if type(node) is LoopNode:
            trains = any(e.kind == "backward" for body in node.passes for e in fx.effects(body))
            for body in node.passes:
                yield from _below(body, in_training or trains)
        elif type(node) is CallNode:
            yield from _below(node.body, in_training)
        elif type(node) is BranchNode:
            if in_training and node.key is not None:
                for _, arm in node.arms:
                    what = _outcome(arm)
                    if what is not None:
                        yield node.site, what, node.key
            for _, arm in node.arms:
                yield from _below(arm, in_training)


def _outcome(arm: Block) -> str | None:
    """What an arm decides by itself: keeping a checkpoint, or leaving the loop."""
    for node in arm:
        if type(node) is Effect and node.kind == "save":
            return SAVES
        if type(node) is CallNode and (found := _outcome(node.body)) == SAVES:
            return found
        if type(node) is Exit and node.kind == "break":
            return STOPS
    return None


# ---------------------------------------------------------------------------- the test data decides


@dataclass(frozen=True, slots=True)
class TestSelection:
    """A decision that follows the test data.

    ``certain`` where the part is called test: of data that comes in two parts, the one that is not for training serves
    as validation data for many, and the code alone does not say whose score is reported.
    """

    site: Site
    what: str
    words: str
    made: Site | None
    certain: bool


def by_test_data(program: Program) -> Iterator[TestSelection]:
    """Decisions on numbers that come from the test part alone, by its name."""
    for decision in program.selections:
        found: set[Share | None] = set(decision.shares)
        for loader in decision.loaders:
            dataset = loader.argument("dataset")
            if loader.hidden or dataset is None or not program.untouched(loader):
                found.add(None)
            else:
                found |= {share for v in alternatives(dataset) for share in splits.shares(program, v)}
        if found and all(s is not None and splits.is_test(s) for s in found):
            share = min((s for s in found if s is not None), key=lambda s: s.site or decision.site)
            certain = all(s is not None and s.index == "test" for s in found)
            yield TestSelection(decision.site, decision.what, share.words, share.site, certain)
