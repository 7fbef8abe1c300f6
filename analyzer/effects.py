"""What running a piece of code does, in order: a tree of effects, and questions about its paths.

Rules do not walk the tree; they ask :class:`~.program.Program`, which enumerates paths here. A path
takes one arm of every branch, runs a loop's body twice, and decides equal conditions equally.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ..rules.finding import Site
from .values import Class, Const, Context, Data, Function, Library, Obj, Value

MAX_PATHS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """Something done to ``subject`` at ``site``.

    Kinds: ``backward`` (subject: the loss), ``step``, ``zero_grad``, ``clip``, ``unscale``, ``mode``
    (``detail``: a constant, True for train), ``forward`` (a module or an unknown callable was
    called), ``loss``, ``accumulate``, ``escape`` (handed to code that nobody can see), ``define``,
    ``fit``, ``split``, ``freeze``. ``grad`` tells whether gradients were recorded
    (None: unknown), ``mode`` the training mode of a module that is called (None: unknown).
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


@dataclass(slots=True, eq=False)
class BranchNode:
    """Alternative arms. ``key``/``positive``: the condition, where equal ones can be recognised."""

    site: Site
    key: Value | None
    arms: list[tuple[bool | None, Block]]


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


@dataclass(slots=True, eq=False)
class CallNode:
    """A call of a project function, with the effects of its body."""

    site: Site
    function: Function
    body: Block


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


@dataclass(frozen=True, slots=True)
class _Path:
    events: tuple[Effect, ...] = ()
    exit: str | None = None
    decisions: tuple[tuple[Value, bool], ...] = ()


@dataclass(slots=True)
class _Walk:
    keep: Callable[[Effect], bool]
    limit: int
    relevant: dict[int, bool] = field(default_factory=dict)


class TooManyPaths(Exception):
    """The code has more paths than are worth following; the answer is unknown."""


def paths(block: Block, keep: Callable[[Effect], bool], limit: int = MAX_PATHS) -> list[tuple[Effect, ...]] | None:
    """The sequences of kept effects along every path through ``block``.

    Paths that end in ``raise`` are dropped; ``break``, ``continue`` and ``return`` are followed. None
    where there are more than ``limit`` different ones.
    """
    walk = _Walk(keep, limit)
    try:
        ends = _block(walk, block, [_Path()])
    except TooManyPaths:
        return None
    return list(dict.fromkeys(p.events for p in ends if p.exit != "raise"))


def _block(walk: _Walk, block: Block, starts: list[_Path]) -> list[_Path]:
    live, done = starts, []
    for node in block:
        if not live:
            break
        kind = type(node)
        if kind is Effect:
            if walk.keep(node):  # type: ignore[arg-type]
                live = [_Path((*p.events, node), None, p.decisions) for p in live]  # type: ignore[arg-type]
            continue
        if kind is Exit:
            done += [_Path(p.events, node.kind, p.decisions) for p in live]  # type: ignore[union-attr]
            live = []
            break
        if not _matters(walk, node):
            continue
        ends = _HANDLERS[kind](walk, node, live)
        live = _distinct(walk, [p for p in ends if p.exit is None])
        done += [p for p in ends if p.exit is not None]
    return _distinct(walk, live + done)


def _distinct(walk: _Walk, found: list[_Path]) -> list[_Path]:
    unique = list(dict.fromkeys(found))
    if len(unique) > walk.limit:
        unique = list({(p.events, p.exit): p for p in unique}.values())
        if len(unique) > walk.limit:
            raise TooManyPaths
    return unique


def _branch(walk: _Walk, node: BranchNode, starts: list[_Path]) -> list[_Path]:
    ends: list[_Path] = []
    for start in starts:
        decided = next((answer for key, answer in start.decisions if key is node.key), None)
        for answer, arm in node.arms:
            if decided is not None and answer is not None and answer != decided:
                continue
            path = start
            if decided is None and answer is not None and node.key is not None:
                path = _Path(start.events, None, (*start.decisions, (node.key, answer)))
            ends += _block(walk, arm, [path])
    return ends


def _loop(walk: _Walk, node: LoopNode, starts: list[_Path]) -> list[_Path]:
    live, done = starts, []
    for body in node.passes:
        ends = _block(walk, body, live)
        done += [_Path(p.events, None, p.decisions) for p in ends if p.exit == "break"]
        done += [p for p in ends if p.exit in ("return", "raise")]
        live = [_Path(p.events, None, _lasting(p.decisions, node)) for p in ends if p.exit in (None, "continue")]
        live = _distinct(walk, live)
    return _distinct(walk, live + done)


def _call(walk: _Walk, node: CallNode, starts: list[_Path]) -> list[_Path]:
    ends = _block(walk, node.body, starts)
    return [_Path(p.events, None, p.decisions) if p.exit == "return" else p for p in ends]


def _lasting(decisions: tuple[tuple[Value, bool], ...], node: LoopNode) -> tuple[tuple[Value, bool], ...]:
    """Decisions on conditions that cannot change from one pass to the next."""
    if node.exact:
        return decisions
    return tuple(d for d in decisions if _fixed(d[0], node.serial))


def _fixed(value: Value, serial: int) -> bool:
    if type(value) is Data:
        if value.site is None and value.inputs:
            return all(_fixed(v, serial) for v in value.inputs)
        return value.serial < serial
    return isinstance(value, (Const, Obj, Library, Class, Function))


def _matters(walk: _Walk, node: Node) -> bool:
    """Whether anything below is kept or leaves the way (memoised: trees are walked many times)."""
    known = walk.relevant.get(id(node))
    if known is None:
        known = walk.relevant[id(node)] = _any(walk, _below(node), exits=type(node) is not LoopNode)
    return known


def _below(node: Node) -> Iterable[Node]:
    if type(node) is BranchNode:
        for _, arm in node.arms:
            yield from arm
    elif type(node) is LoopNode:
        for body in node.passes:
            yield from body
    elif type(node) is CallNode:
        yield from node.body


def _any(walk: _Walk, nodes: Iterable[Node], exits: bool) -> bool:
    for node in nodes:
        kind = type(node)
        if kind is Effect:
            if walk.keep(node):  # type: ignore[arg-type]
                return True
        elif kind is Exit:
            if exits or node.kind == "return":  # type: ignore[union-attr]
                return True
        elif _matters(walk, node):
            return True
    return False


_HANDLERS: dict[type, Callable[..., list[_Path]]] = {BranchNode: _branch, LoopNode: _loop, CallNode: _call}


# ---------------------------------------------------------------------------- order questions


def between(path: Sequence[Effect], first: int, last: int) -> Sequence[Effect]:
    """The effects strictly between two positions of a path."""
    return path[first + 1 : last]
