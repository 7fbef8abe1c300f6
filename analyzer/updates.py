"""Questions about gradients: what a loss can reach, which steps have any, whose network a step changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import effects as fx
from . import watching
from .effects import Effect, LoopNode
from .interpret import Root
from .knowledge import tensors, training
from .values import UNKNOWN, Class, Const, Data, Mapping, Obj, Union, Value, alternatives, constant, is_none
from .values import Sequence as Items

if TYPE_CHECKING:
    from .program import Program
    from .structure import Reach

_SWITCHES = frozenset(("enable_grad", "set_grad_enabled"))
MAX_DEPTH = 150
"""Histories are followed so far back where each step calls the next."""
_BATCH = frozenset(("element", "[]", "enumerate", "zip", "index"))


# ---------------------------------------------------------------------------- forward passes without gradients


@dataclass(frozen=True, slots=True, eq=False)
class Ungraded:
    """A loss that is backpropagated although every forward pass behind it ran without gradients."""

    backward: Effect
    forward: Effect
    known: bool


def without_gradients(program: Program) -> Iterator[Ungraded]:
    """Backward passes through which no gradient can flow, because gradients were off when the model ran."""
    for root in program.roots:
        forwards = results(root)
        for backward in root.effects:
            if backward.kind != "backward":
                continue
            found = _ungraded(program, backward.subject, forwards)
            if found and all(_trusted(program, f) for f in found):
                for forward in found:
                    yield Ungraded(backward, forward, type(forward.subject) is Obj)


def results(root: Root) -> dict[Value, list[Effect]]:
    """What each forward pass of a root gave -> the passes that gave it."""
    found: dict[Value, list[Effect]] = {}
    for effect in root.effects:
        if effect.kind == "forward":
            for value in watching.flat(effect.result):
                found.setdefault(value, []).append(effect)
    return found


def _trusted(program: Program, forward: Effect) -> bool:
    """Whether nothing that cannot be seen may have switched gradients on again inside the model."""
    if type(forward.subject) is not Obj:
        return program.untouched(forward.subject)
    if not forward.intact:
        return False
    parts = [p for p in program.descendants(forward.subject) if type(p) is Obj and isinstance(p.cls, Class)]
    return not any(cls.definition.words & _SWITCHES for p in parts for cls in p.cls.ancestors())  # type: ignore[union-attr]


def _ungraded(program: Program, loss: Value, forwards: dict[Value, list[Effect]]) -> list[Effect]:
    """The passes behind a loss if all of them ran without gradients and nothing else can have any; else nothing."""
    found: dict[Effect, None] = {}
    seen: set[Value] = set()
    queue = [loss]
    while queue:
        for v in alternatives(queue.pop()):
            if v in seen:
                continue
            seen.add(v)
            passes = forwards.get(v)
            if passes:
                if any(e.grad is not False for e in passes):
                    return []
                found.update(dict.fromkeys(passes))
            elif not _walk_on(program, v, queue):
                return []
    return list(found)


def _walk_on(program: Program, value: Value, queue: list[Value]) -> bool:
    """Add what a value is made from; False where something in it may have gradients of its own."""
    if type(value) is Const or type(value) is Mapping:
        return True
    if type(value) is Items:
        queue.extend(value.items)
        return True
    if type(value) is not Data:
        return type(value) is Obj and value.cls == training.LOADER
    if value.op in tensors.CUTS or value.op in tensors.CREATES:
        return constant(value.option("requires_grad")) is not True
    if value.op in _BATCH:
        return bool(program.loaders(value)) or watching.is_opaque(_base(value))
    if value.op in ("call", "touched?", "output", "requires_grad_") or watching.is_opaque(value):
        return False
    queue.extend(value.inputs)
    return True


def _base(value: Value) -> Value:
    while type(value) is Data and value.op in _BATCH and value.inputs:
        value = value.inputs[0]
    return value


# ---------------------------------------------------------------------------- steps without gradients


@dataclass(frozen=True, slots=True, eq=False)
class Unused:
    """Half of an update: a backward pass whose optimizer is never stepped, or a step that no backward pass precedes."""

    effect: Effect
    optimizer: Value
    cleared: Effect
    known: bool


def never_stepped(program: Program) -> Iterator[Unused]:
    """Loops that clear and compute gradients in every pass, for an optimizer that is never stepped."""
    if program.named_only("step"):
        return
    for loop in program.loops:
        if loop.node.exact or len(loop.node.passes) < 2:
            continue
        own = program.own_effects(loop)
        cleared = {e.subject: e for e in own if e.kind == "zero_grad" and program.is_optimizer(e.subject)}
        for optimizer, zero in cleared.items():
            if _stepped_somewhere(program, loop.root, optimizer) or not program.untouched(optimizer):
                continue
            reach = program.reach(optimizer, loop.root)
            backward = next((e for e in own if e.kind == "backward" and reach.backward(e.subject)), None)
            if backward is not None and not program.mentions(loop.root, _BY_HAND):
                yield Unused(backward, optimizer, zero, type(optimizer) is Obj)


def _stepped_somewhere(program: Program, root: Root, optimizer: Value) -> bool:
    """Whether the root steps the optimizer, or something of which nobody knows what it steps."""
    for effect in root.effects:
        if effect.kind != "step":
            continue
        for v in alternatives(effect.subject):
            if v in alternatives(optimizer) or not (program.is_optimizer(v) or program.is_scheduler(v)):
                return True
    return False


def never_differentiated(program: Program) -> Iterator[Unused]:
    """Loops that clear and step an optimizer and compute a loss, in code that nowhere computes a gradient."""
    for loop in program.loops:
        own = program.own_effects(loop)
        steps = [e for e in own if e.kind == "step" and _plain_optimizer(program, e.subject) and _plain_step(e)]
        losses = [e for e in own if e.kind == "loss" and e.grad is True]
        if not steps or not losses or program.mentions(loop.root, _BY_HAND):
            continue
        if any(e.kind == "backward" for e in fx.effects(loop.root.block)) or program.named_only("backward"):
            continue
        optimizer = steps[0].subject
        zero = next((e for e in own if e.kind == "zero_grad"), None)
        if zero is not None and program.untouched(optimizer) and not _handed_on(program, losses):
            yield Unused(steps[0], optimizer, zero, True)


_BY_HAND = frozenset(("grad", "jacobian", "vjp", "value_and_grad"))
"""Names of gradients, and of what computes them: an update may be made by hand, or gradients only be looked at."""


def _plain_optimizer(program: Program, value: Value) -> bool:
    return type(value) is Obj and isinstance(value.cls, str) and program.is_optimizer(value)


def _plain_step(step: Effect) -> bool:
    """A step with no closure: a closure may call backward where it cannot be seen."""
    return not step.inputs or (type(step.inputs[0]) is Obj and step.inputs[0].cls in training.SCALERS)


def _handed_on(program: Program, losses: Sequence[Effect]) -> bool:
    """Whether a call that cannot be seen got one of the losses, or what was made of it."""
    made = {e.result for e in losses}
    for op in ("call", "touched?"):
        for data in program.operations(op):
            if any(v in made for i in data.inputs for v in program.history(i)):
                return True
    return False


# ---------------------------------------------------------------------------- state carried over batches


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """A result of one pass that the next pass backpropagates through again."""

    backward: Effect
    forward: Effect
    loop: LoopNode


def carried_state(program: Program) -> Iterator[Carried]:
    """Loops whose backward pass keeps the graph and reaches into the graph of the pass before."""
    for loop in program.loops:
        if loop.node.exact or len(loop.node.passes) < 2:
            continue
        first, second = (list(fx.effects(body)) for body in loop.node.passes[:2])
        earlier = {v: e for e in first if e.kind == "forward" and e.grad is True for v in watching.flat(e.result)}
        for effect in second:
            if effect.kind == "forward":
                for v in watching.flat(effect.result):
                    earlier.pop(v, None)
        passes = {v for e in second if e.kind == "forward" for v in watching.flat(e.result)}
        for effect in second:
            if effect.kind == "backward" and constant(effect.inputs[0] if effect.inputs else None) is True:
                reached = _Carrier(earlier, passes).reaches(effect.subject, 0)
                if reached is not None:
                    yield Carried(effect, reached, loop.node)


class _Carrier:
    """Follows a graph back to a result of the pass before; of alternatives, all must lead there."""

    def __init__(self, earlier: dict[Value, Effect], passes: set[Value]) -> None:
        self.earlier = earlier
        self.passes = passes
        self._known: dict[Value, Effect | None] = {}

    def reaches(self, value: Value, depth: int) -> Effect | None:
        """The earlier pass that the value certainly has in its graph."""
        if value in self.earlier:
            return self.earlier[value]
        if value not in self._known and depth < MAX_DEPTH:
            self._known[value] = None
            self._known[value] = self._reaches(value, depth)
        return self._known.get(value)

    def _reaches(self, value: Value, depth: int) -> Effect | None:
        if type(value) is Union:
            found = [self.reaches(v, depth + 1) for v in value.alternatives if not is_none(v)]
            return found[0] if found and all(found) else None
        if type(value) is Items:
            inside: Sequence[Value] = value.items
        elif type(value) is Data and value.op not in tensors.CUTS and value.op != "touched?":
            # What a call that cannot be seen makes of it is unknown, unless it is the model that is called.
            inside = () if value.op == "call" and value not in self.passes else value.inputs
        else:
            inside = ()
        return next((f for v in inside if (f := self.reaches(v, depth + 1)) is not None), None)


# ---------------------------------------------------------------------------- optimizers that are out of date


@dataclass(frozen=True, slots=True, eq=False)
class Stale:
    """A module that took its place, or was set free, after the optimizer had collected the parameters."""

    optimizer: Obj
    change: Effect
    step: Effect
    part: Obj | None


def stale_optimizers(program: Program) -> Iterator[Stale]:
    """Optimizers that go on with the parameters of before a layer was replaced, added, or told to learn."""
    for optimizer, root in program.stepped_optimizers:
        if type(optimizer) is not Obj or not program.untouched(optimizer) or optimizer.hidden:
            continue
        owners, complete = program.optimizer_owners(optimizer)
        if not complete or "add_param_group" in program.uses(optimizer):
            continue
        family = {m for o in owners for m in (*program.family(o), *program.descendants(o))}
        yield from _stale(program, root, optimizer, family)


def _stale(program: Program, root: Root, optimizer: Obj, family: set[Value]) -> Iterator[Stale]:
    def keep(effect: Effect) -> bool:
        if effect.kind in ("made", "step"):
            return effect.subject is optimizer
        if effect.kind == "attach":
            return effect.subject in family
        return effect.kind == "freeze" and bool(family & program.owners_of(effect.subject))

    paths = program.paths(root.block, frozenset(("made", "attach", "freeze", "step")), keep)
    found: dict[object, Stale] = {}
    for path in paths or ():
        made = next((i for i, e in enumerate(path) if e.kind == "made"), None)
        stepped = next((i for i, e in enumerate(path) if e.kind == "step"), None)
        if made is None or stepped is None:
            continue
        frozen = any(e.kind == "freeze" and constant(e.inputs[0]) is False for e in path[:made])
        for position, change in enumerate(path):
            if position < made:
                continue
            step = next((e for e in path[position:] if e.kind in ("step", "made")), None)
            if step is None or step.kind == "made":
                continue
            if (stale := _outdated(program, optimizer, change, step, frozen)) is not None:
                found.setdefault(change.site, stale)
    yield from found.values()


def _outdated(program: Program, optimizer: Obj, change: Effect, step: Effect, frozen: bool) -> Stale | None:
    if change.kind == "attach":
        part = change.inputs[1]
        if type(part) is not Obj or not program.has_parameters(part) or program.frozen_itself(part):
            return None
        others = {o for opt, _ in program.stepped_optimizers for o in program.optimizer_owners(opt)[0]}
        if part in others or part.site == optimizer.site:
            return None
        return Stale(optimizer, change, step, part)
    if change.kind == "freeze" and frozen and constant(change.inputs[0]) is True and _filtered(optimizer):
        return Stale(optimizer, change, step, None)
    return None


def _filtered(optimizer: Obj) -> bool:
    """Whether an optimizer was given what ``filter`` left of the parameters."""
    given = optimizer.argument("params")
    while type(given) is Data and given.op in ("list", "filter"):
        if given.op == "filter":
            return True
        given = given.inputs[0] if given.inputs else UNKNOWN
    return False


# ---------------------------------------------------------------------------- steps of another network


@dataclass(frozen=True, slots=True, eq=False)
class WrongStep:
    """``kind``: ``leak`` (a loss of one network leaves gradients that the other's step uses), ``other`` (the gradients
    are cleared unused) or ``mixed`` (they are used, but with those of the other network's loss).
    """

    kind: str
    backward: Effect
    step: Effect
    mine: Obj
    other: Obj


def wrong_steps(program: Program) -> Iterator[WrongStep]:
    """Two networks with an optimizer each, where the loss of one moves the other."""
    for root in program.roots:
        optimizers = [o for o, r in program.stepped_optimizers if r is root and type(o) is Obj]
        if len(optimizers) != 2 or not all(_is_clear(program, root, o) for o in optimizers):
            continue
        first, second = optimizers
        assert isinstance(first, Obj)
        assert isinstance(second, Obj)
        if _families(program, root, first) & _families(program, root, second):
            continue
        for mine, other in ((first, second), (second, first)):
            yield from _wrong_steps(program, root, mine, other)


def _is_clear(program: Program, root: Root, optimizer: Value) -> bool:
    return program.untouched(optimizer) and program.reach(optimizer, root).complete


def _families(program: Program, root: Root, optimizer: Obj) -> set[Value]:
    return program.reach(optimizer, root).family


class _Pair:
    """What each backward pass of a root reaches of two optimizers' networks."""

    def __init__(self, program: Program, root: Root, mine: Obj, other: Obj) -> None:
        self.program = program
        self.families = (_families(program, root, mine), _families(program, root, other))
        self.forwards = results(root)
        self._known: dict[Value, tuple[bool, bool] | None] = {}

    def reached(self, loss: Value) -> tuple[bool, bool] | None:
        """Whether a loss gives gradients to the first and to the second network; None where it cannot be told."""
        if loss not in self._known:
            self._known[loss] = self._reached(loss)
        return self._known[loss]

    def _reached(self, loss: Value) -> tuple[bool, bool] | None:
        found = [False, False]
        seen: set[Value] = set()
        queue = [loss]
        while queue:
            for v in alternatives(queue.pop()):
                if v in seen or type(v) is Const:
                    continue
                seen.add(v)
                if v is UNKNOWN or (type(v) is Data and v.op in ("call", "touched?")):
                    return None
                passes = self.forwards.get(v, ())
                if passes and all(e.grad is False for e in passes):
                    continue
                if type(v) is Data and v.op == "output":
                    for i, family in enumerate(self.families):
                        found[i] = found[i] or v.inputs[0] in family
                    # What went into the model is behind it; what happened inside was its own.
                    queue.extend(v.inputs[2:])
                elif type(v) is Data and v.op not in tensors.CUTS:
                    queue.extend(v.inputs)
                elif type(v) is Items:
                    queue.extend(v.items)
        return found[0], found[1]


def _wrong_steps(program: Program, root: Root, mine: Obj, other: Obj) -> Iterator[WrongStep]:
    pair = _Pair(program, root, mine, other)
    reach = program.reach(mine, root), program.reach(other, root)

    def keep(effect: Effect) -> bool:
        if effect.kind == "step":
            return effect.subject in (mine, other)
        return effect.kind == "backward" or any(r.clears(effect.subject) for r in reach)

    paths = program.paths(root.block, frozenset(("backward", "step", "zero_grad")), keep)
    if not paths or any(e.kind == "backward" and pair.reached(e.subject) is None for p in paths for e in p):
        return
    wrong: dict[object, WrongStep] = {}
    right: set[object] = set()
    for path in paths:
        for found, place in (*_leaks(pair, path, mine, other, reach[1]), *_others(pair, path, mine, other, reach[0])):
            if found is None:
                right.add(place)
            else:
                wrong.setdefault(place, found)
    for place, found in wrong.items():
        if place not in right:
            yield found


def _leaks(
    pair: _Pair, path: Sequence[Effect], mine: Obj, other: Obj, reach: Reach
) -> Iterator[tuple[WrongStep | None, object]]:
    """Backward passes for ``mine`` that leave gradients in ``other``, which its next step uses with its own."""
    for position, backward in enumerate(path):
        if backward.kind != "backward" or pair.reached(backward.subject) != (True, True):
            continue
        stepped = False
        own: Effect | None = None
        verdict: WrongStep | None = None
        for effect in path[position + 1 :]:
            if effect.kind == "step" and effect.subject is mine:
                stepped = True
            elif effect.kind == "step":
                if stepped and own is not None:
                    verdict = WrongStep("leak", backward, effect, mine, other)
                yield verdict, ("leak", backward.site)
                break
            elif effect.kind == "backward" and stepped and pair.reached(effect.subject) == (True, True):
                own = own or effect
            elif effect.kind == "zero_grad" and reach.clears(effect.subject):
                yield None, ("leak", backward.site)
                break


def _others(
    pair: _Pair, path: Sequence[Effect], mine: Obj, other: Obj, reach: Reach
) -> Iterator[tuple[WrongStep | None, object]]:
    """Backward passes that reach ``mine`` only, after which ``other`` is stepped and ``mine`` is not."""
    for position, backward in enumerate(path):
        if backward.kind != "backward" or pair.reached(backward.subject) != (True, False):
            continue
        wrong: Effect | None = None
        mixed = False
        for effect in path[position + 1 :]:
            if effect.kind == "step" and effect.subject is mine:
                found = WrongStep("mixed", backward, wrong, mine, other) if mixed and wrong is not None else None
                yield found, ("other", backward.site)
                break
            if effect.kind == "step":
                wrong = wrong or effect
            elif wrong is None and effect.kind == "backward" and pair.reached(effect.subject) != (True, False):
                break
            elif effect.kind == "backward":
                mixed = mixed or pair.reached(effect.subject) == (True, True)
            elif effect.kind == "zero_grad" and reach.clears(effect.subject):
                found = WrongStep("other", backward, wrong, mine, other) if wrong is not None else None
                yield found, ("other", backward.site)
                break
