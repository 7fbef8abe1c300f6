"""Questions about what happens inside forward passes: dropout without a switch, layers made on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from .knowledge import modules, tensors, training
from .notes import Conditions
from .values import Class, Const, Data, Obj, Value, alternatives

if TYPE_CHECKING:
    from .program import Program


# ---------------------------------------------------------------------------- dropout that nobody can switch off


@dataclass(frozen=True, slots=True, eq=False)
class AlwaysOn:
    """Dropout in a forward pass that the training mode does not reach."""

    site: Site
    what: str
    rate: Value | None
    made: bool
    """Whether it is a layer made on the spot (rather than a call without ``training``)."""


def always_on(program: Program) -> Iterator[AlwaysOn]:
    """Functional dropout without ``training``, dropout layers made in ``forward``; under no condition on the mode."""
    for data, visits in program.notes.operations.items():
        if data.op not in modules.ALWAYS_ON_BY_DEFAULT or data.site is None:
            continue
        names = {k for k, _ in data.options}
        if names & {"training", "**"} or len(data.inputs) > 2 or any(_switched(program, v) for v in visits):
            continue
        rate = data.option("p", 1)
        if rate is None or _surely_drops(program, rate):
            yield AlwaysOn(data.site, f"F.{data.op}", rate, made=False)
    for obj, (_, conditions) in program.notes.made_inside.items():
        if obj.cls not in modules.DROPOUTS or program.uses(obj) & {"train", "eval"} or _switched(program, conditions):
            continue
        rate = obj.argument("p") or obj.argument("0")
        if not obj.hidden and not _kept(program, obj) and (rate is None or _surely_drops(program, rate)):
            yield AlwaysOn(obj.site, f"nn.{program.class_name(obj)}", rate, made=True)


def _switched(program: Program, conditions: Conditions) -> bool:
    """Whether some condition may have to do with the mode: it asks for it, or it is a flag that may hold it."""
    return any(_is_flag(c) or any(_asks_mode(v) for v in program.history(c)) for c, _ in conditions)


def _asks_mode(value: Value) -> bool:
    return type(value) is Data and value.op == ".training"


def _is_flag(condition: Value) -> bool:
    """A plain name or attribute, alone or in a conjunction, or a comparison with a word (``mode == "train"``)."""
    if type(condition) is not Data:
        return True
    if condition.op in ("and", "or", "not"):
        return any(_is_flag(v) for v in condition.inputs)
    if condition.op in ("==", "in"):
        return any(type(v) is Const and isinstance(v.value, str) for v in condition.inputs)
    return condition.op not in ("is", "isinstance", "<", ">", "<=", ">=", "hasattr", "len()")


def _surely_drops(program: Program, rate: Value) -> bool:
    """Whether the rate is neither 0 in some case nor decided by the mode."""
    if any(type(v) is Const and not v.value for v in alternatives(rate)):
        return False
    return not any(type(v) is Data and v.op == ".training" for v in program.history(rate))


def _kept(program: Program, obj: Obj) -> bool:
    """Whether a module that was made on the way becomes part of another one that stays."""
    inside = program.notes.made_inside
    return any(parent is not obj and parent not in inside for parent in program.family(obj))


# ---------------------------------------------------------------------------- layers made on the way


@dataclass(frozen=True, slots=True, eq=False)
class MadeInForward:
    """A layer or parameter that every forward pass makes anew."""

    made: Obj
    what: str
    owner: str


def made_in_forward(program: Program) -> Iterator[MadeInForward]:
    """Fresh trainable layers and parameters made in ``forward`` under no condition."""
    inside = program.notes.made_inside
    for obj, (owner, conditions) in inside.items():
        if conditions or not _is_fresh(program, obj) or any(p in inside for p in program.family(obj) if p is not obj):
            continue
        what = "nn.Parameter" if obj.cls == "torch.nn.Parameter" else program.class_name(obj)
        yield MadeInForward(obj, what, program.class_name(owner))


def _is_fresh(program: Program, obj: Obj) -> bool:
    """Whether it has random, trainable numbers that nothing was written into."""
    if obj.cls == "torch.nn.Parameter":
        given = obj.argument("data") or obj.argument("0")
        flag = obj.argument("requires_grad") or obj.argument("1")
        random = type(given) is Data and given.op in tensors.CREATES and given.op not in tensors.CONVERTS
        return random and not (type(flag) is Const and flag.value is False)
    if not program.is_module(obj) or not program.has_parameters(obj) or program.is_frozen(obj):
        return False
    if isinstance(obj.cls, str) and not obj.cls.startswith("torch.nn."):
        return False
    parts = [d for d in program.descendants(obj) if type(d) is Obj]
    if any(isinstance(d.cls, Class) and d.cls.open for d in parts):
        return False
    # A container that is put around layers which stay has no numbers of its own.
    if not any(d in program.notes.made_inside and program.has_own_parameters(d) for d in parts):
        return False
    return not any(
        program.uses(d) & training.LOADS or program.reads_weights(d) or not program.untouched(d) for d in parts
    )


# ---------------------------------------------------------------------------- layers before the constructor


@dataclass(frozen=True, slots=True, eq=False)
class Premature:
    """A layer or parameter assigned before the constructor of ``nn.Module``."""

    owner: str
    name: str
    site: Site
    cls: Site
    later: bool
    """Whether the constructor was run afterwards."""


def premature_layers(program: Program) -> Iterator[Premature]:
    """The first such assignment of each module whose bases are known."""
    for obj, (name, site) in program.notes.premature.items():
        cls = obj.cls
        if not isinstance(cls, Class) or cls.open or not program.untouched(obj):
            continue
        if cls.find("__new__") is not None or cls.find("__setattr__") is not None:
            continue
        yield Premature(cls.name, name, site, cls.site, obj in program.notes.initialised)


# ---------------------------------------------------------------------------- forward by its name


def called_by_name(program: Program) -> Iterator[tuple[Site, Value]]:
    """Calls ``module.forward(...)``: their places and modules."""
    yield from program.notes.direct.items()
    for data in program.operations("forward"):
        if data.site is not None and data.inputs and program.is_module(data.inputs[0]):
            yield data.site, data.inputs[0]
