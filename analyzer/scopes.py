"""Where names live: frames of functions and the top level of each project module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import ir

if TYPE_CHECKING:
    from .state import Delta
    from .values import Class, Value


@dataclass(eq=False, slots=True)
class Frame:
    """One activation of a function, class body or module; its variables are cells of the state: ``(frame, name)``."""

    module: ModuleScope
    parent: Frame | None
    local: frozenset[str] | None
    """Names that are local here; None where every binding is local (modules, classes, comprehensions)."""
    outer: frozenset[str] = frozenset()
    owner: Class | None = None
    receiver: Value | None = None
    captured: bool = False
    """Whether a function was made that may read this frame after it has returned."""


@dataclass(slots=True)
class Activation:
    """What one running function has collected on its way: returned values and the states they left."""

    mark: int
    frame: Frame | None = None
    returned: list[Value] = field(default_factory=list)
    exits: list[Delta] = field(default_factory=list)
    finals: list[Callable[[], None]] = field(default_factory=list)
    """What must still run before the flow leaves: ``finally`` blocks and ``__exit__`` methods, innermost last."""
    yielded: list[Value] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class ModuleScope:
    """A file of the project while it is interpreted."""

    filename: str
    path: str
    ir: ir.FileIR
    frame: Frame = field(init=False)
    state: str = "new"
    """``new``, ``hoisted`` (definitions bound, body not yet run), ``running`` or ``done``."""
    starred: set[str] = field(default_factory=set)
    """Names that ``from x import *`` brought in."""

    def __post_init__(self) -> None:
        self.frame = Frame(self, None, None)
