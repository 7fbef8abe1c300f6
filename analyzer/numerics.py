"""Questions about numbers: operations at the edge of their domain, and half precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from .effects import Effect
from .interpret import Root
from .knowledge import tensors, training
from .values import Const, Data, Obj, Value, alternatives, constant

if TYPE_CHECKING:
    from .program import Program


# ---------------------------------------------------------------------------- the edge of the domain


@dataclass(frozen=True, slots=True)
class Unsafe:
    """An operation whose argument may reach a value at which it, or its derivative, is not finite."""

    site: Site
    kind: str
    made: Site | None
    certain: bool = True
    """False where single probabilities are picked: those of actions that were drawn are not 0."""


def unsafe_operations(program: Program) -> Iterator[Unsafe]:
    """Logarithms of what may be 0, and roots of what is cut off at 0, on the way to a loss that is trained on."""
    for op in ("log", "log2", "log10"):
        for data in program.operations(op):
            if data.site is None or data not in program.trained_on or not data.inputs:
                continue
            found = _agreed(data.inputs[0], _reaches_zero)
            if found is not None and not _bounded_in_place(program, data.inputs[0]):
                yield Unsafe(data.site, *found, certain=not _picked(data.inputs[0]))
    for data in _roots(program):
        assert data.site is not None
        found = _agreed(data.inputs[0], _cut_off)
        if found is not None:
            yield Unsafe(data.site, *found)


def _roots(program: Program) -> Iterator[Data]:
    for op in ("sqrt", "pow", "**"):
        for data in program.operations(op):
            if data.site is None or not data.inputs or data not in program.trained_on:
                continue
            exponent = constant(data.option("exponent", 1))
            if op == "sqrt" or (isinstance(exponent, float) and 0 < exponent < 1):
                yield data


def _bounded_in_place(program: Program, value: Value) -> bool:
    """Whether ``q.data.clamp_(...)`` or the like keeps the numbers off the edge."""
    edited = {_source(v) for e, _ in program.effects("edit") if _bounds(e) for v in alternatives(e.subject)}
    return any(_source(v) in edited for v in alternatives(value))


def _bounds(edit: Effect) -> bool:
    return type(edit.result) is Data and edit.result.op in tensors.BOUNDS


def _picked(value: Value) -> bool:
    """Whether it holds one number of each row, by an index."""
    for v in alternatives(value):
        for _ in range(20):
            if type(v) is not Data or not v.inputs or v.op not in (*tensors.PASSES, "output"):
                break
            if v.op in ("gather", "index_select", "take_along_dim") or (
                v.op == "[]" and type(v.inputs[1]) is not Const
            ):
                return True
            v = v.inputs[1] if v.op == "output" else v.inputs[0]
    return False


Found = tuple[str, "Site | None"]


def _agreed(value: Value, judge: Callable[[Value], Found | None]) -> Found | None:
    """What all alternatives of a value are, by ``judge``."""
    found = [judge(_source(v)) for v in alternatives(value)]
    return found[0] if found and all(f is not None for f in found) else None


def _source(value: Value) -> Value:
    """What a value was before changes of shape, place or type."""
    for _ in range(20):
        if type(value) is not Data or not value.inputs:
            return value
        if value.op == "output":
            value = value.inputs[1]
        elif value.op in tensors.PASSES and value.op not in ("stack", "cat", "concat", "concatenate"):
            value = value.inputs[0]
        else:
            return value
    return value


_KINDS = {tensors.PROBABILITIES: "softmax", tensors.SIGMOID: "sigmoid"}


def _reaches_zero(value: Value) -> Found | None:
    """Softmax, sigmoid, one minus a sigmoid, and ReLU can be exactly 0."""
    if type(value) is not Data or value.op in ("clamp", "clip"):
        return None
    if value.op in ("relu", "ReLU", "relu6", "ReLU6", "relu_"):
        return "relu", value.site
    if value.op in ("-", "rsub") and constant(value.inputs[0]) in (1, 1.0):
        inner = _source(value.inputs[1])
        sigmoid = type(inner) is Data and tensors.OUTPUT.get(inner.op) == tensors.SIGMOID
        return ("one minus sigmoid", inner.site) if sigmoid and type(inner) is Data else None
    if value.op not in tensors.OUTPUT or (value.inputs and _is_narrow(value.inputs[0])):
        return None
    return (_KINDS[tensors.OUTPUT[value.op]], value.site) if tensors.OUTPUT[value.op] in _KINDS else None


def _is_narrow(scores: Value) -> bool:
    """Whether scores keep within a few units, so that no probability of them is 0: ``10 * tanh(x)``."""
    scores = _source(scores)
    for _ in range(3):
        if type(scores) is not Data or scores.op not in ("*", "/", "mul", "div"):
            break
        factors = [v for v in scores.inputs if type(v) is not Const]
        if len(factors) != 1:
            return False
        scores = _source(factors[0])
    return type(scores) is Data and scores.op in _NARROW


_NARROW = frozenset(
    ("tanh", "Tanh", "sigmoid", "Sigmoid", "hardtanh", "Hardtanh", "clamp", "clip", "cosine_similarity")
)


def _cut_off(value: Value) -> Found | None:
    """What is cut off at 0: the root's derivative there is infinite, and infinity times the cut's 0 is NaN."""
    if type(value) is not Data:
        return None
    if value.op in ("relu", "ReLU", "relu_"):
        return "cut", value.site
    if value.op in ("clamp", "clip", "clamp_min", "clamp_", "maximum", "max"):
        bound = value.option("min", 1)
        return (
            ("cut", value.site)
            if type(bound) is Const and bound.value in (0, 0.0) and bound.value is not False
            else None
        )
    return None


# ---------------------------------------------------------------------------- half precision


@dataclass(frozen=True, slots=True, eq=False)
class Misuse:
    """A mistake around autocast and GradScaler: ``unscaled``, ``unstepped``, ``no scaler`` or ``half weights``."""

    kind: str
    at: Effect
    other: Effect
    known: bool = True


def precision_misuses(program: Program) -> Iterator[Misuse]:
    """Losses and steps of which only one goes through the GradScaler, and float16 with none."""
    for root in program.roots:
        seen = root.effects
        backward = [e for e in seen if e.kind == "backward"]
        steps = [e for e in seen if e.kind == "step" and program.is_optimizer(e.subject)]
        if not backward or not steps or not all(e.intact for e in backward):
            continue
        yield from _one_sided(program, backward, steps, {e.subject for e in seen if e.kind == "unscale"})
        yield from _unprotected(program, root, backward, steps)


def _one_sided(program: Program, backward: list[Effect], steps: list[Effect], unscaled: set[Value]) -> Iterator[Misuse]:
    scalers = {s for e in backward if (s := program.scaler_of(e.subject)) is not None}
    steppers = {e.inputs[0] for e in steps if e.inputs and _is_scaler(e.inputs[0])}
    if not scalers and all(_followed(e.subject) for e in backward):
        for step in steps:
            if step.inputs and _is_scaler(step.inputs[0]) and program.untouched(step.inputs[0]):
                yield Misuse("unscaled", backward[0], step)
                return
    known = [s for s in scalers if _is_scaler(s) and program.untouched(s)]
    if known and not steppers and all(program.scaler_of(e.subject) in known for e in backward):
        for step in steps:
            if not step.inputs and step.subject not in unscaled and program.untouched(step.subject):
                yield Misuse("unstepped", step, backward[0])
                return


def _is_scaler(value: Value) -> bool:
    """A GradScaler that was seen being made and is not switched off."""
    if type(value) is not Obj or value.cls not in training.SCALERS or value.hidden:
        return False
    return constant(value.argument("enabled")) is not False


def _followed(loss: Value) -> bool:
    """Whether it is known what happened to a loss last."""
    return all(type(v) is Data and v.op not in ("call", "touched?", "param", "name") for v in alternatives(loss))


def _unprotected(program: Program, root: Root, backward: list[Effect], steps: list[Effect]) -> Iterator[Misuse]:
    """Training in float16 where nothing scales the loss."""
    if any(program.scaler_of(e.subject) is not None for e in backward) or any(e.inputs for e in steps):
        return
    if any(_scales_by_hand(program, e.subject) or not _followed(e.subject) for e in backward):
        return
    for forward in program.training_forwards(root):
        if type(forward.subject) is not Obj or not forward.intact:
            continue
        if forward.half == "float16":
            yield Misuse("no scaler", forward, steps[0])
            continue
        used = program.uses(forward.subject)
        if "half" in used and not used & {"float", "to", "bfloat16"}:
            yield Misuse("half weights", forward, steps[0], known=False)


def _scales_by_hand(program: Program, loss: Value) -> bool:
    """Whether the loss is multiplied by a large number, or a library scales it."""
    for v in program.history(loss):
        if type(v) is Data and ("scale" in v.op or (v.op == "*" and any(_large(i) for i in v.inputs))):
            return True
    return False


def _large(value: Value) -> bool:
    return type(value) is Const and isinstance(value.value, (int, float)) and abs(value.value) >= 64
