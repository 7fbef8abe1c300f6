"""Questions about edits in place: does the backward pass still need what they overwrite?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import gradients, watching
from .effects import Effect
from .interpret import Root
from .knowledge import saved, tensors
from .values import UNKNOWN, Data, Obj, Value, alternatives, constant

if TYPE_CHECKING:
    from .program import Program

_EDITS = ("edit", "write")
_OWN = (".weight", ".bias")
MAX_VIEWS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Broken:
    """Something changed in place that autograd does not let change.

    ``kind``: ``output`` or ``input`` (the operation ``op`` at ``kept`` keeps it for the backward pass), ``leaf`` (a
    parameter, while gradients are recorded) or ``stepped`` (weights, between the forward pass at ``kept`` and
    ``backward``).
    """

    kind: str
    edit: Effect
    op: str = ""
    kept: Site | None = None
    backward: Effect | None = None


def broken_graphs(program: Program) -> Iterator[Broken]:
    """Edits and steps that make torch raise, at once or in the backward pass."""
    for root in program.roots:
        yield from _edited(program, root)
        yield from _stepped(program, root)


# ---------------------------------------------------------------------------- tensors


def _edited(program: Program, root: Root) -> Iterator[Broken]:
    edits: dict[object, tuple[int, Effect]] = {}
    backwards: list[tuple[int, Effect]] = []
    for number, effect in enumerate(root.effects):
        if effect.kind in _EDITS and effect.grad is True and effect not in program.notes.tried:
            edits.setdefault((effect.site, effect.context), (number, effect))
        elif effect.kind == "backward" and effect.grad is True:
            backwards.append((number, effect))
    if not edits:
        return
    reached = [(number, effect, set(program.differentiable(effect.subject))) for number, effect in backwards]
    for number, edit in edits.values():
        if all(_is_leaf(program, v) for v in alternatives(edit.subject)):
            yield Broken("leaf", edit)
            continue
        # The first edit before the first backward pass: one that follows it meets what is no longer needed.
        backward = next((e for at, e, values in reached if edit.subject in values), None)
        first = next((at for at, _, values in reached if edit.subject in values), -1)
        if backward is None or number > first or not _used(edit, reached):
            continue
        found = _saved(program, edit)
        if found is not None:
            kind, operation = found
            yield Broken(kind, edit, operation.op, operation.site, backward)


def _used(edit: Effect, reached: list[tuple[int, Effect, set[Value]]]) -> bool:
    """Whether the edited tensor, and not only the one before the edit, goes into a loss."""
    return edit.result is None or any(edit.result in values or edit.kind == "write" for _, _, values in reached)


def _is_leaf(program: Program, value: Value) -> bool:
    """A parameter, or a tensor made with ``requires_grad=True``, that still requires gradients."""
    if type(value) is Obj and value.cls == "torch.nn.Parameter":
        return value.argument("requires_grad") is None and not value.hidden and not program.is_frozen(value)
    if type(value) is not Data:
        return False
    if value.op in _OWN and type(layer := value.inputs[0]) is Obj and isinstance(layer.cls, str):
        return layer.cls.startswith("torch.nn.") and program.has_parameters(layer) and not program.is_frozen(layer)
    return value.op in tensors.CREATES and constant(value.option("requires_grad")) is True


def _saved(program: Program, edit: Effect) -> tuple[str, Data] | None:
    """The operation that kept what is edited: the one that made it, or one that the new numbers come from."""
    options = alternatives(edit.subject)
    if len(options) != 1:
        return None
    whole = _whole(options[0])
    if type(whole) is not Data or gradients.carries_graph(program, whole) is not True:
        return None
    if whole.op in saved.KEEPS_OUTPUT:
        return "output", whole
    for value in _made_from(program, edit):
        if value.op in saved.KEEPS_INPUT and value.inputs and _whole(value.inputs[0]) is whole:
            return None if _is_frozen_layer(program, value) else ("input", value)
    return None


def _made_from(program: Program, edit: Effect) -> Iterator[Data]:
    """What the new numbers are computed from; autocast hands layers a copy of their input."""
    if edit.half is None:
        for added in edit.inputs:
            yield from (v for v in program.differentiable(added) if type(v) is Data)


def _whole(value: Value) -> Value:
    """The tensor of which a value is a view, or that a module passed out."""
    for _ in range(MAX_VIEWS):
        if type(value) is not Data:
            break
        if value.op == "output":
            value = value.inputs[1]
        elif value.op in saved.VIEWS and value.inputs:
            value = value.inputs[0]
        else:
            break
    return value


def _is_frozen_layer(program: Program, value: Data) -> bool:
    """Whether a layer's own weights may need no gradient, so that it keeps no input."""
    return gradients.is_layer(value.op) and any(program.effects("freeze"))


# ---------------------------------------------------------------------------- weights


_ORDER = frozenset(("forward", "step", "backward"))


def _stepped(program: Program, root: Root) -> Iterator[Broken]:
    """Backward passes through a network whose weights an optimizer has changed since it ran forward."""
    seen = root.effects
    if sum(e.kind == "backward" for e in seen) < 2 or not any(e.kind == "step" for e in seen):
        return
    paths = program.paths(root.block, _ORDER, lambda e: e.kind != "forward" or (e.grad is True and e.intact))
    found: dict[tuple[Site, Site], Broken] = {}
    for path in paths or ():
        for step, backward, forward in _stale(program, path):
            found.setdefault((step.site, backward.site), Broken("stepped", step, "", forward.site, backward))
    yield from found.values()


def _stale(program: Program, path: tuple[Effect, ...]) -> Iterator[tuple[Effect, Effect, Effect]]:
    """(step, backward, forward): the step lies between the last forward pass and the backward pass of one loss."""
    latest: dict[Value, tuple[int, Effect]] = {}
    graded: set[Value] = set()
    steps: list[tuple[int, Effect]] = []
    for number, effect in enumerate(path):
        if effect.kind == "forward":
            latest.update((value, (number, effect)) for value in watching.flat(effect.result))
        elif effect.kind == "step":
            steps += [(number, effect)] if graded & program.optimizer_owners(effect.subject)[0] else []
        else:
            needed = [latest[v] for v in program.differentiable(effect.subject) if v in latest]
            for at, forward in needed:
                step = next((s for n, s in steps if n > at and _changes(program, s, forward)), None)
                # Gradients that arrive from a graph of an earlier step are NN504's.
                if step is not None and not _earlier(path[:number], effect):
                    yield step, effect, forward
            graded |= {forward.subject for _, forward in needed}


def _earlier(path: tuple[Effect, ...], backward: Effect) -> bool:
    """Whether this backward pass ran before on the path: then it is not clear which pass of the loop is meant."""
    return any(e.kind == "backward" and e.site == backward.site for e in path)


def _changes(program: Program, step: Effect, forward: Effect) -> bool:
    """Whether a step certainly writes to weights through which the pass sends gradients on."""
    if step.inputs or type(step.subject) is not Obj or not program.untouched(step.subject):
        return False
    owners, complete = program.optimizer_owners(step.subject)
    module = forward.subject
    if not complete or module not in owners or type(module) is not Obj or program.is_frozen(module):
        return False
    inside = [v for v in program.differentiable(_inner(forward)) if type(v) is Data and gradients.is_layer(v.op)]
    return sum(v.op in _WEIGHTED for v in inside) >= 2


_WEIGHTED = frozenset(("Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"))
"""Layers that keep their weights for the gradient of their input."""


def _inner(forward: Effect) -> Value:
    result = next(iter(watching.flat(forward.result)), UNKNOWN)
    return result.inputs[1] if type(result) is Data and result.op == "output" else result
