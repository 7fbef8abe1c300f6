"""Questions about the graph of a tensor: whether it has one, where it was cut off, what is plain data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from .effects import Effect
from .knowledge import modules, tensors
from .knowledge import shapes as known
from .memo import remembered
from .shapes import BATCH, Shape
from .values import Const, Data, Obj, Sequence, Value, alternatives, constant

if TYPE_CHECKING:
    from .program import LossUse, Program

MAX_DEPTH = 200


# ---------------------------------------------------------------------------- cut off


@dataclass(frozen=True, slots=True, eq=False)
class CutOff:
    """A loss that is backpropagated though it certainly has no graph: the operation that took it off."""

    backward: Effect
    cut: Data


def cut_losses(program: Program) -> Iterator[CutOff]:
    """Every backward pass that starts from a tensor without a graph."""
    for effect, _ in program.effects("backward"):
        if effect.grad is not True or type(effect.subject) is not Data or effect in program.notes.tried:
            continue
        search = _Search(program)
        if search.carries(effect.subject) is False:
            lost = [cut for cut in search.cuts if any(_once_had_graph(program, v) for v in cut.inputs)]
            named = [v for cut in lost for v in program.history(cut) if type(v) is Data and v.op in tensors.CUTS]
            if named:
                yield CutOff(effect, named[0])


def carries_graph(program: Program, value: Value) -> bool | None:
    """Whether gradients flow back from the value to some parameter, None where it is not known."""
    return _Search(program).carries(value)


class _Search:
    """Whether a value has a graph; ``cuts`` are the operations met that took one off."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.cuts: list[Data] = []

    def carries(self, value: Value, depth: int = 0) -> bool | None:
        """True or False where it is known."""
        answers = {self._one(v, depth) for v in alternatives(value)}
        return answers.pop() if len(answers) == 1 else None

    def _one(self, value: Value, depth: int) -> bool | None:
        if type(value) is Const:
            return False
        if type(value) is Sequence and not value.open:
            return self._any(value.items, depth)
        if type(value) is not Data or depth > MAX_DEPTH:
            return None
        op = value.op
        if op == "torchvision.models" or _is_leaf(self.program, value):
            return True
        if op in tensors.CUTS or (op in tensors.CREATES and any(type(v) is Data for v in value.inputs)):
            self.cuts.append(value)
            return False
        if op in tensors.CREATES:
            return None if value.option("requires_grad") is not None else False
        if op == "output":
            return self.carries(value.inputs[1], depth + 1)
        if op.startswith("loss:"):
            named = [v for k, v in value.options if k in ("input", "target")]
            return self._any((*value.inputs[:2], *named), depth)
        if is_layer(op):
            return True
        if is_data(value):
            return None if self._asked_for(value) else False
        if (op in tensors.PASSES or op in tensors.GRADED or op in tensors.OUTPUT) and _plain(value):
            return self._any(value.inputs, depth)
        return None

    def _any(self, values: Iterable[Value], depth: int) -> bool | None:
        answers = [self.carries(v, depth + 1) for v in values]
        return True if True in answers else None if None in answers or not answers else False

    def _asked_for(self, data: Data) -> bool:
        """Whether gradients with respect to the data are asked for, as attacks do."""
        asked = self.program.gradients_asked_for
        return any(v in asked for v in self.program.history(data))


def _is_leaf(program: Program, value: Data) -> bool:
    """Whether a tensor is made to be differentiated with respect to: not one that took a loss off its graph."""
    asked = value.op in tensors.CREATES and constant(value.option("requires_grad")) is True
    return asked and not any(_once_had_graph(program, v) for v in value.inputs)


def _plain(value: Data) -> bool:
    """Whether nothing but tensors, numbers and lists of them goes in."""
    return not any(type(v) is Obj for v in value.inputs)


def is_layer(op: str) -> bool:
    """Whether an operation is a layer of torch with parameters of its own."""
    path = f"torch.nn.{op}"
    return op[:1].isupper() and modules.is_module_class(path) and path not in modules.WITHOUT_PARAMETERS


def _once_had_graph(program: Program, value: Value) -> bool:
    """Whether a network made the value."""
    for v in program.history(value):
        if type(v) is Data and v.op == "output" and program.has_parameters(v.inputs[0]):
            return True
        if type(v) is Data and is_layer(v.op):
            return True
    return any(type(v) is Data and v.op == "call" and v in program.outputs_of_models for v in program.history(value))


# ---------------------------------------------------------------------------- never reduced


def unreduced(program: Program) -> Iterator[tuple[Effect, Shape, Site | None]]:
    """Backward passes, without a gradient to start from, of what certainly holds more than one number."""
    for effect, _ in program.effects("backward"):
        sure = effect.grad is True and effect not in program.notes.tried
        if not effect.inputs[1:] and type(effect.subject) is Data and sure:
            found = _elements(program, effect.subject, 0)
            if found is not None:
                yield effect, found[0], program.site_of(found[1])


@remembered
def _elements(program: Program, value: Value, depth: int) -> tuple[Shape, Value] | None:
    """Something with several elements that the value is made of, element by element."""
    if type(value) is not Data or depth > MAX_DEPTH:
        return None
    shape = program.shapes.of(value)
    if shape is not None:
        several = any(d == BATCH or (isinstance(d, int) and d > 1) for d in shape.front + shape.back)
        return (shape, value) if several else None
    if value.op == "output":
        return _elements(program, value.inputs[1], depth + 1)
    if value.op.startswith("loss:"):
        if value not in program.unreduced_losses or not value.inputs:
            return None
        found = _elements(program, value.inputs[0], depth + 1)
        # Losses over classes hold one number for each sample, however many classes there are.
        single = found is not None and value.op in known.OVER_CLASSES and not _is_batch(found[0])
        return None if single else found
    if value.op in known.ELEMENTWISE or value.op in known.SAME_SHAPE:
        parts = (_elements(program, v, depth + 1) for v in value.inputs)
        return next((f for f in parts if f is not None), None)
    return None


def _is_batch(shape: Shape) -> bool:
    first = shape.dim(0)
    return first == BATCH or (isinstance(first, int) and first > 1)


# ---------------------------------------------------------------------------- exchanged arguments


def exchanged(program: Program) -> Iterator[LossUse]:
    """Losses whose first argument is plain data and whose second one comes from the network that is trained."""
    for use in program.losses:
        if use.target is None or use.loss.symmetric or not use.loss.ordered or use.effect.grad is not True:
            continue
        trained = {v for e in program.training_forwards(use.root) for v in _flat(e.result)}
        second = [v for v in program.differentiable(use.target) if v in trained]
        first = [v for v in program.history(use.prediction) if v in trained]
        if second and not first and all(is_data(v) for v in alternatives(use.prediction)):
            yield use


def _flat(value: Value | None) -> Iterator[Value]:
    for v in alternatives(value) if value is not None else ():
        yield v
        if type(v) is Sequence:
            for item in v.items:
                yield from _flat(item)


def is_data(value: Value, depth: int = 0) -> bool:
    """Whether the value is what a loader or data set hands out, or made of literals: no network had a part in it."""
    if type(value) is not Data or depth > MAX_DEPTH:
        return False
    if value.op == "element":
        source = value.inputs[0]
        return type(source) is Obj or (type(source) is Data and (_hands_out(source) or is_data(source, depth + 1)))
    if value.op in tensors.CREATES and (value.op not in tensors.CONVERTS or not any(map(_is_result, value.inputs))):
        return value.option("requires_grad") is None
    if value.op in tensors.CONVERTS or value.op in tensors.PASSES or value.op in tensors.GRADED or value.op in _ENCODES:
        inside = [v for v in value.inputs if type(v) is Data and v.op not in _NO_NUMBERS]
        return bool(inside) and all(is_data(v, depth + 1) for v in inside)
    return False


_NO_NUMBERS = frozenset(("[:]", ".shape", "size", "device", "torch.device", ".device", ".dtype", "is_available"))
"""What only says which part, shape, place or type is meant."""


def _hands_out(source: Data) -> bool:
    """Whether an iterable is an opaque thing (a loader that is a parameter or attribute), perhaps counted or zipped."""
    if source.op in ("enumerate", "zip"):
        return True
    return source.op in ("param", "name") or source.op.startswith(".")


def _is_result(value: Value) -> bool:
    return type(value) is Data


_ENCODES = frozenset(("one_hot", "long", "int", "bool", "byte", "==", ">", "<", "eq", "ge", "le", "gt", "lt"))
