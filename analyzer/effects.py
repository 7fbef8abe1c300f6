"""What running a piece of code does, in order: a tree of effects, and questions about its paths.

Rules do not walk the tree; they ask :class:`~.program.Program`, which enumerates paths here. A path
takes one arm of every branch, runs a loop's body twice, and decides equal conditions equally.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ..rules.finding import Site
from .values import Class, Const, Context, Data, Function, Library, Obj, Value

MAX_PATHS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """Something done to ``subject`` at ``site``.

    Kinds: ``backward`` (subject: the loss), ``step``, ``zero_grad``, ``clip``, ``unscale``, ``mode``
    (``inputs``: a constant, True for train), ``forward`` (a module or an unknown callable was called),
    ``loss``, ``accumulate``, ``escape`` (handed to code that nobody can see), ``made``, ``fit``, ``split``,
    ``shuffle``, ``draw`` (a random order), ``seed``, ``iter`` (begun anew), ``remove`` and ``write`` (an item),
    ``edit`` (a tensor's numbers, in place: ``inputs`` what goes in, ``result`` the tensor afterwards),
    ``freeze``, ``attach`` (a module got a module or parameter as its attribute), ``snapshot``
    and ``restore`` (``state_dict``, ``load_state_dict``), ``save``, ``wrap`` (by data parallelism and its
    like), ``alias`` (a second name for a model, given in a loop), ``bypass`` (``wrapper.module(...)``),
    ``idle`` (a statement that only names a method, or makes a context that nobody enters). ``grad`` tells
    whether gradients were recorded (None: unknown), ``mode`` the training mode of a module that is called
    (None: unknown), ``half`` the number type of the autocast around it (None: none, ``?``: unknown).
    """

    kind: str
    subject: Value
    site: Site
    context: Context
    inputs: tuple[Value, ...] = ()
    result: Value | None = None
    grad: bool | None = True
    mode: bool | None = None
    intact: bool = True
    half: str | None = None


@dataclass(slots=True, eq=False)
class BranchNode:
    """Alternative arms. ``key``/``positive``: the condition, where equal ones can be recognised."""

    site: Site
    key: Value | None
    arms: list[tuple[bool | None, Block]]
    kinds: frozenset[str] | None = None


@dataclass(slots=True, eq=False)
class LoopNode:
    """A loop with the effects of two passes of its body, or of every pass if ``exact``."""

    site: Site
    context: Context
    iterable: Value
    element: Value
    passes: list[Block]
    exact: bool
    serial: int
    grad: bool | None
    kinds: frozenset[str] | None = None


@dataclass(slots=True, eq=False)
class CallNode:
    """A call of a project function, with the effects of its body."""

    site: Site
    function: Function
    body: Block
    kinds: frozenset[str] | None = None


@dataclass(slots=True, eq=False)
class Exit:
    """``return``, ``break``, ``continue`` or ``raise``."""

    kind: str


Node: TypeAlias = "Effect | BranchNode | LoopNode | CallNode | Exit"
Block: TypeAlias = "list[Node]"


def effects(block: Block) -> Iterator[Effect]:
    """Every effect below a block, in order of appearance."""
    for node in block:
        if type(node) is Effect:
            yield node
        elif type(node) is BranchNode:
            for _, arm in node.arms:
                yield from effects(arm)
        elif type(node) is LoopNode:
            for body in node.passes:
                yield from effects(body)
        elif type(node) is CallNode:
            yield from effects(node.body)


def files(block: Block) -> set[str]:
    """The files of all effects below a block, and of the functions that it calls."""
    found: set[str] = set()
    for node in block:
        if type(node) is Effect:
            found.add(node.site.file)
        elif type(node) is BranchNode:
            found = found.union(*(files(arm) for _, arm in node.arms))
        elif type(node) is LoopNode:
            found = found.union(*map(files, node.passes))
        elif type(node) is CallNode:
            found |= files(node.body) | {node.function.frame.module.filename}
    return found


def branches(block: Block) -> Iterator[BranchNode]:
    """Every branch of a block and of the functions that it calls, outer ones first; not those of inner loops."""
    for node in block:
        if type(node) is BranchNode:
            yield node
            for _, arm in node.arms:
                yield from branches(arm)
        elif type(node) is CallNode:
            yield from branches(node.body)


def loops(block: Block) -> Iterator[LoopNode]:
    """Every loop below a block, outer ones first."""
    for node in block:
        if type(node) is LoopNode:
            yield node
            for body in node.passes:
                yield from loops(body)
        elif type(node) is BranchNode:
            for _, arm in node.arms:
                yield from loops(arm)
        elif type(node) is CallNode:
            yield from loops(node.body)


# ---------------------------------------------------------------------------- paths


class TooManyPaths(Exception):
    """The code has more paths than are worth following; the answer is unknown."""


class _Path(NamedTuple):
    events: tuple[Effect, ...] = ()
    exit: str | None = None
    decisions: tuple[tuple[Value, bool], ...] = ()


@dataclass(slots=True)
class _Fork:
    """A branch of the projected tree; ``key`` is None where no other branch asks the same."""

    key: Value | None
    arms: list[tuple[bool | None, list[_Step]]]


@dataclass(slots=True)
class _Passes:
    """A loop of the projected tree."""

    node: LoopNode
    bodies: list[list[_Step]]


@dataclass(slots=True)
class _Body:
    """A called function of the projected tree."""

    steps: list[_Step]


_Step: TypeAlias = "Effect | Exit | _Fork | _Passes | _Body"


def paths(
    block: Block, kinds: frozenset[str], keep: Callable[[Effect], bool], limit: int = MAX_PATHS
) -> list[tuple[Effect, ...]] | None:
    """The sequences of effects of these kinds that ``keep`` accepts, along every path through ``block``.

    Paths that end in ``raise`` are dropped; ``break``, ``continue`` and ``return`` are followed. None
    where there are more than ``limit`` different ones.
    """
    projection = _Projection(kinds, keep)
    steps = projection.block(block)
    projection.drop_single_keys(steps)
    try:
        ends = _walk(_Limits(limit), steps, [_Path()])
    except TooManyPaths:
        return None
    return list(dict.fromkeys(p.events for p in ends))


class _Projection:
    """Leaves of a tree of effects only what a question is about, and what decides whether that is reached."""

    def __init__(self, kinds: frozenset[str], keep: Callable[[Effect], bool]) -> None:
        self.kinds = kinds
        self.keep = keep
        self.keys: dict[Value, int] = {}

    def block(self, block: Block) -> list[_Step]:
        """The projected steps of a block, up to the first exit."""
        steps: list[_Step] = []
        for node in block:
            if type(node) is Effect:
                if node.kind in self.kinds and self.keep(node):
                    steps.append(node)
            elif type(node) is Exit:
                steps.append(node)
                break
            elif (step := self._compound(node)) is not None:
                steps.append(step)
        return steps

    def _compound(self, node: Node) -> _Step | None:
        if type(node) is CallNode:
            if not kinds_below(node) & self.kinds:
                return None
            steps = self.block(node.body)
            return _Body(steps) if any(type(s) is not Exit for s in steps) else None
        if type(node) is LoopNode:
            if not kinds_below(node) & (self.kinds | _RETURNS):
                return None
            bodies = [self.block(body) for body in node.passes]
            return _Passes(node, bodies) if any(bodies) and not all(_is_empty(b) for b in bodies) else None
        assert isinstance(node, BranchNode)
        if not kinds_below(node) & (self.kinds | _LEAVES):
            return None
        arms = [(answer, self.block(arm)) for answer, arm in node.arms]
        # Arms that raise are dropped: what remains is no choice.
        arms = [a for a in arms if not (len(a[1]) == 1 and _is_raise(a[1][0]))]
        if not any(steps for _, steps in arms):
            return None
        if node.key is not None:
            self.keys[node.key] = self.keys.get(node.key, 0) + 1
        return _Fork(node.key, arms)

    def drop_single_keys(self, steps: list[_Step]) -> None:
        """Conditions that only one branch asks need not be remembered."""
        for step in steps:
            if type(step) is _Fork:
                if step.key is not None and self.keys[step.key] < 2:
                    step.key = None
                for _, arm in step.arms:
                    self.drop_single_keys(arm)
            elif type(step) is _Passes:
                for body in step.bodies:
                    self.drop_single_keys(body)
            elif type(step) is _Body:
                self.drop_single_keys(step.steps)


_RETURNS = frozenset(("exit:return",))
_LEAVES = frozenset(("exit:return", "exit:break", "exit:continue"))


def kinds_below(node: BranchNode | LoopNode | CallNode) -> frozenset[str]:
    """Kinds of the effects below a node; its exits as ``exit:return`` ... (computed once a node)."""
    if node.kinds is None:
        found: set[str] = set()
        for inner in _below(node):
            if isinstance(inner, Effect):
                found.add(inner.kind)
            elif isinstance(inner, Exit):
                found.add("exit:" + inner.kind)
            else:
                found |= kinds_below(inner)
        if type(node) is LoopNode:
            found -= {"exit:break", "exit:continue"}
        elif type(node) is CallNode:
            found = {kind for kind in found if not kind.startswith("exit:")}
        node.kinds = frozenset(found)
    return node.kinds


def kinds_in(block: Block) -> set[str]:
    """Kinds of the effects of a block."""
    found: set[str] = set()
    for node in block:
        if isinstance(node, Effect):
            found.add(node.kind)
        elif not isinstance(node, Exit):
            found |= kinds_below(node)
    return found


def _below(node: Node) -> Iterator[Node]:
    if type(node) is BranchNode:
        for _, arm in node.arms:
            yield from arm
    elif type(node) is LoopNode:
        for body in node.passes:
            yield from body
    elif type(node) is CallNode:
        yield from node.body


def _is_raise(step: _Step) -> bool:
    return type(step) is Exit and step.kind == "raise"


def _is_empty(steps: list[_Step]) -> bool:
    return all(type(s) is Exit and s.kind in ("break", "continue", "raise") for s in steps)


class _Limits:
    """How many paths to follow; what is fixed while a loop runs is found out once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._fixed: dict[tuple[Value, int], bool] = {}

    def distinct(self, found: list[_Path]) -> list[_Path]:
        """Each path once; decisions are forgotten where there are too many."""
        if len(found) < 2:
            return found
        unique = list(dict.fromkeys(found))
        if len(unique) > self.limit:
            unique = list({(p.events, p.exit): p for p in unique}.values())
            if len(unique) > self.limit:
                raise TooManyPaths
        return unique

    def lasting(self, decisions: tuple[tuple[Value, bool], ...], node: LoopNode) -> tuple[tuple[Value, bool], ...]:
        """Decisions on conditions that cannot change from one pass to the next."""
        if node.exact or not decisions:
            return decisions
        return tuple(d for d in decisions if self.fixed(d[0], node.serial))

    def fixed(self, value: Value, serial: int) -> bool:
        """Whether a value was there before the loop with this serial began."""
        if type(value) is not Data:
            return isinstance(value, (Const, Obj, Library, Class, Function))
        if value.site is not None or not value.inputs:
            return value.serial < serial
        key = (value, serial)
        known = self._fixed.get(key)
        if known is None:
            known = self._fixed[key] = all(self.fixed(v, serial) for v in value.inputs)
        return known


def _walk(limits: _Limits, steps: list[_Step], starts: list[_Path]) -> list[_Path]:
    live, done = starts, []
    for step in steps:
        if type(step) is Effect:
            live = [_Path((*p.events, step), None, p.decisions) for p in live]
            continue
        if type(step) is Exit:
            if step.kind != "raise":
                done += [_Path(p.events, step.kind, p.decisions) for p in live]
            live = []
            break
        ends = _WALKS[type(step)](limits, step, live)
        live = limits.distinct([p for p in ends if p.exit is None])
        done += [p for p in ends if p.exit is not None]
        if not live:
            break
    return limits.distinct(live + done)


def _walk_fork(limits: _Limits, step: _Fork, starts: list[_Path]) -> list[_Path]:
    if step.key is None:
        return [end for _, arm in step.arms for end in _walk(limits, arm, starts)]
    ends: list[_Path] = []
    for start in starts:
        decided = next((answer for key, answer in start.decisions if key is step.key), None)
        for answer, arm in step.arms:
            if decided is not None and answer is not None and answer != decided:
                continue
            path = start
            if decided is None and answer is not None:
                path = _Path(start.events, None, (*start.decisions, (step.key, answer)))
            ends += _walk(limits, arm, [path])
    return ends


def _walk_passes(limits: _Limits, step: _Passes, starts: list[_Path]) -> list[_Path]:
    live, done = starts, []
    for body in step.bodies:
        ends = _walk(limits, body, live)
        done += [_Path(p.events, None, p.decisions) for p in ends if p.exit == "break"]
        done += [p for p in ends if p.exit == "return"]
        live = [
            _Path(p.events, None, limits.lasting(p.decisions, step.node))
            for p in ends
            if p.exit is None or p.exit == "continue"
        ]
        live = limits.distinct(live)
    return limits.distinct(live + done)


def _walk_body(limits: _Limits, step: _Body, starts: list[_Path]) -> list[_Path]:
    ends = _walk(limits, step.steps, starts)
    return [_Path(p.events, None, p.decisions) if p.exit == "return" else p for p in ends]


_WALKS: dict[type, Callable[..., list[_Path]]] = {_Fork: _walk_fork, _Passes: _walk_passes, _Body: _walk_body}
