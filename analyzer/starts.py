"""Questions about initial weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from .knowledge import modules
from .values import Const, Data, Library, Obj, Sequence, Value

if TYPE_CHECKING:
    from .program import Program


@dataclass(frozen=True, slots=True, eq=False)
class ConstantWeights:
    """A call that sets the weights of every layer of a kind to one constant."""

    site: Site
    layer: str
    how: str


def constant_weights(program: Program) -> Iterator[ConstantWeights]:
    """``nn.init.zeros_(m.weight)`` and its like under ``isinstance(m, nn.Linear)``."""
    for op in modules.CONSTANT_INITIALISERS:
        for data in program.operations(op):
            weight = data.inputs[0] if data.inputs else data.option("tensor")
            if type(weight) is not Data or weight.op != ".weight" or data.site is None:
                continue
            for visit in program.notes.operations.get(data, ()):
                if any(_chooses(program, c, weight.inputs[0]) for c, _ in visit):
                    continue  # under a condition on its name, say, it is not every layer
                layer = next((name for c, held in visit if held and (name := _class_of(c, weight.inputs[0]))), None)
                if layer is not None and not _is_one(weight.inputs[0]) and not _alone(program, weight.inputs[0], layer):
                    yield ConstantWeights(data.site, layer, op.rpartition(".")[2])
                    break


def _chooses(program: Program, condition: Value, module: Value) -> bool:
    """Whether a condition that is no question for its class depends on which module it is."""
    if type(condition) is not Data or condition.op == "isinstance":
        return False
    behind = program.ancestry([condition])
    origins = {module, *(module.inputs if type(module) is Data else ())}
    return not behind.isdisjoint(origins)


def _class_of(condition: Value, module: Value) -> str | None:
    """The class of layers with many units that a condition says a module is of; None where it says another thing."""
    if type(condition) is not Data or condition.op != "isinstance" or len(condition.inputs) != 2:
        return None
    tested, cls = condition.inputs
    options = cls.items if type(cls) is Sequence else (cls,)
    names = [v.path.rpartition(".")[2] for v in options if type(v) is Library]
    if tested is not module or len(names) < len(options):
        return None
    return names[0] if names and all(n in modules.BIAS_POSITION for n in names) else None


def _alone(program: Program, module: Value, layer: str) -> bool:
    """Whether the network that is gone through has one layer of the kind: what comes before and behind breaks ties."""
    every = module.inputs[0] if type(module) is Data and module.op == "element" else None
    owner = every.inputs[0] if type(every) is Data and every.op == "modules" else None
    if type(owner) is not Obj or program.has_unknown_parts(owner):
        return False
    held = [v for _, v in program.attributes(owner) if type(v) is Sequence]
    several = any(v.open for v in held)
    return not several and sum(program.class_name(d) == layer for d in program.descendants(owner)) < 2


def _is_one(module: Value) -> bool:
    """Whether it is one named layer: only elements of ``modules()`` and parameters of functions stand for all."""
    if type(module) is not Data:
        return True
    if module.op == "[]" and type(module.inputs[1]) is Const:
        return _is_one(module.inputs[0])
    return module.op not in ("element", "param")
