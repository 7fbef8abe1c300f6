"""Questions about leaks: what learns from data that is held out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import lineage
from .knowledge import preprocessing
from .splits import Share, chain, for_training, held_out, shares
from .values import Obj, Value

if TYPE_CHECKING:
    from .program import Program


@dataclass(frozen=True, slots=True)
class FittedOnHeldOut:
    """A transformer fitted on held-out data (and where it, or its like, is fitted on the training part)."""

    site: Site
    what: str
    share: Share
    trained: Site
    again: bool


def fitted_on_held_out(program: Program) -> Iterator[FittedOnHeldOut]:
    """Scalers and their like whose ``fit`` sees a held-out share, though the training share could be had."""
    trained = program.trained_shares
    fits = [
        (effect, share)
        for effect, _ in program.effects("fit")
        if _learner(program, effect.subject) and len(effect.inputs) >= 1
        for share in (held_out(program, effect.inputs[0]),)
    ]
    for effect, share in fits:
        if share is None or share in trained:
            continue
        owner = effect.subject
        assert type(owner) is Obj
        beside = [e for e, _ in fits if e.subject is owner or _cls(e.subject) == owner.cls]
        beside = [e for e in beside if _siblings(program, e.inputs[0], effect.inputs[0])]
        same = next((e for e in beside if e.subject is owner), None)
        first = same or next((e for e in beside if not preprocessing.describes(str(owner.cls))), None)
        if first is not None:
            name = str(owner.cls).rsplit(".", 1)[-1]
            yield FittedOnHeldOut(effect.site, name, share, first.site, same is not None)


def _cls(value: Value) -> object:
    return value.cls if type(value) is Obj else None


def _siblings(program: Program, value: Value, held: Value) -> bool:
    """Whether one value is for training, and the other was held out by the same division."""
    if for_training(program, value) is None:
        return False
    return any(
        one.division == other.division and one.index != other.index
        for one in chain(program, value)
        for other in chain(program, held)
    )


def _learner(program: Program, owner: Value) -> bool:
    if type(owner) is not Obj or not program.untouched(owner):
        return False
    return lineage.learner(owner) is not None or owner.cls in preprocessing.ENCODERS


def normalised_alone(program: Program) -> Iterator[FittedOnHeldOut]:
    """``(x_test - x_test.mean(0)) / x_test.std(0)`` next to the same for the training part."""
    uses = [
        (data, statistic, share)
        for data, statistic in lineage.normalisations(program)
        for share in (held_out(program, statistic.inputs[0]),)
        if share is not None or for_training(program, statistic.inputs[0]) is not None
    ]
    for data, statistic, share in uses:
        if share is None or share in program.trained_shares or statistic.site is None:
            continue
        if shares(program, data.inputs[0]) != shares(program, statistic.inputs[0]):
            continue
        alike = [s for _, s, _ in uses if s.op == statistic.op]
        like = next((s for s in alike if _siblings(program, s.inputs[0], statistic.inputs[0])), None)
        if like is not None and like.site is not None and like.site != statistic.site:
            yield FittedOnHeldOut(statistic.site, statistic.op, share, like.site, False)
