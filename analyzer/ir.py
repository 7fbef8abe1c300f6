"""The intermediate representation: one file as small frozen tuples, with nothing of libcst in it.

Every node that something may later be said about carries ``site``, its preorder number in the
file (see :class:`nnaudit.rules.finding.Site`); :mod:`.positions` turns numbers into lines.
Expressions nest; statements are listed in order. The tuples pickle, and their pickle is the cache.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Constant: TypeAlias = "str | bytes | int | float | complex | bool | None"


HOLDS_CONTAINER = "[...]"
"""Pseudo-word of a text that assigns a list, tuple or dict."""

# ---------------------------------------------------------------------------- expressions


class Const(NamedTuple):
    """A literal."""

    value: Constant


class Name(NamedTuple):
    """A plain identifier that is read."""

    site: int
    id: str


class Attribute(NamedTuple):
    """``base.name``."""

    site: int
    base: Expr
    name: str


class Arg(NamedTuple):
    """One argument of a call. ``keyword`` is None, a name, ``*`` or ``**``."""

    keyword: str | None
    value: Expr


class Call(NamedTuple):
    """``func(args)``."""

    site: int
    func: Expr
    args: tuple[Arg, ...]


class Subscript(NamedTuple):
    """``base[key]``; several keys are a tuple display."""

    site: int
    base: Expr
    key: Expr


class Slice(NamedTuple):
    """``lower:upper:step`` inside a subscript."""

    lower: Expr | None
    upper: Expr | None
    step: Expr | None


class BinOp(NamedTuple):
    """``left op right``; ``op`` is the operator's text."""

    site: int
    op: str
    left: Expr
    right: Expr


class UnaryOp(NamedTuple):
    """``op operand``."""

    site: int
    op: str
    operand: Expr


class Compare(NamedTuple):
    """A chain of comparisons: ``left op0 right0 op1 right1 ...``."""

    site: int
    left: Expr
    rest: tuple[tuple[str, Expr], ...]


class BoolOp(NamedTuple):
    """``left and right`` or ``left or right``."""

    site: int
    op: str
    left: Expr
    right: Expr


class IfExp(NamedTuple):
    """``body if test else orelse``."""

    site: int
    test: Expr
    body: Expr
    orelse: Expr


class Display(NamedTuple):
    """A ``tuple``, ``list`` or ``set`` display."""

    site: int
    kind: str
    elements: tuple[Expr, ...]


class DictDisplay(NamedTuple):
    """A dict display; a key of None stands for ``**value``."""

    site: int
    items: tuple[tuple[Expr | None, Expr], ...]


class Generator(NamedTuple):
    """One ``for target in iterable if ...`` of a comprehension."""

    target: Expr
    iterable: Expr
    conditions: tuple[Expr, ...]


class Comprehension(NamedTuple):
    """A ``list``, ``set``, ``generator`` or ``dict`` comprehension (``value`` for dicts only)."""

    site: int
    kind: str
    element: Expr
    value: Expr | None
    generators: tuple[Generator, ...]


class Lambda(NamedTuple):
    """An anonymous function."""

    site: int
    function: Def


class Starred(NamedTuple):
    """``*value`` in a display or a target."""

    value: Expr


class Text(NamedTuple):
    """An f-string; only its expressions are kept."""

    site: int
    parts: tuple[Expr, ...]


class Walrus(NamedTuple):
    """``target := value``."""

    site: int
    target: Expr
    value: Expr


class Await(NamedTuple):
    """``await value``."""

    value: Expr


class Yield(NamedTuple):
    """``yield value`` or ``yield from value``."""

    site: int
    value: Expr | None
    delegated: bool


Expr: TypeAlias = (
    "Const | Name | Attribute | Call | Subscript | Slice | BinOp | UnaryOp | Compare | BoolOp | IfExp | Display"
    " | DictDisplay | Comprehension | Lambda | Starred | Text | Walrus | Await | Yield"
)


# ---------------------------------------------------------------------------- statements


class Assign(NamedTuple):
    """``targets = value``; several targets for ``a = b = value``."""

    site: int
    targets: tuple[Expr, ...]
    value: Expr


class AugAssign(NamedTuple):
    """``target op= value``."""

    site: int
    op: str
    target: Expr
    value: Expr


class Delete(NamedTuple):
    """``del targets``."""

    site: int
    targets: tuple[Expr, ...]


class Evaluate(NamedTuple):
    """An expression as a statement."""

    site: int
    value: Expr


class Branch(NamedTuple):
    """``if``/``elif``/``else``, ``match`` and ``assert`` (the failing arm raises)."""

    site: int
    test: Expr
    body: Block
    orelse: Block


class Loop(NamedTuple):
    """``for target in iterable`` or, with no target, ``while iterable``.

    ``assigned`` holds the plain names that the body rebinds.
    """

    site: int
    target: Expr | None
    iterable: Expr
    body: Block
    orelse: Block
    assigned: frozenset[str]


class With(NamedTuple):
    """``with a as x, b as y``: pairs of context and target."""

    site: int
    items: tuple[tuple[Expr, Expr | None], ...]
    body: Block


class Try(NamedTuple):
    """``try`` with its handlers' bodies."""

    site: int
    body: Block
    handlers: tuple[Block, ...]
    orelse: Block
    final: Block


class Return(NamedTuple):
    """``return value``."""

    site: int
    value: Expr | None


class Raise(NamedTuple):
    """``raise value``."""

    site: int
    value: Expr | None


class Break(NamedTuple):
    """``break``."""

    site: int


class Continue(NamedTuple):
    """``continue``."""

    site: int


class Param(NamedTuple):
    """A parameter. ``kind``: ``positional``, ``keyword``, ``*`` or ``**``."""

    name: str
    kind: str
    default: Expr | None
    annotation: Expr | None


class Def(NamedTuple):
    """A function. ``words`` are all identifiers that its text uses, nested functions included."""

    site: int
    name: str
    params: tuple[Param, ...]
    body: Block
    decorators: tuple[Expr, ...]
    assigned: frozenset[str]
    outer: frozenset[str]
    generator: bool
    words: frozenset[str]


class Class(NamedTuple):
    """A class with its bases as written."""

    site: int
    name: str
    bases: tuple[Expr, ...]
    body: Block
    decorators: tuple[Expr, ...]
    words: frozenset[str]


class Binding(NamedTuple):
    """What one import binds: ``name`` to ``module`` (or to ``attribute`` of it; ``*`` for all)."""

    name: str
    module: str
    attribute: str | None


class Import(NamedTuple):
    """``import`` or ``from ... import``. ``level`` counts the leading dots."""

    site: int
    bindings: tuple[Binding, ...]
    level: int


Statement: TypeAlias = (
    "Assign | AugAssign | Delete | Evaluate | Branch | Loop | With | Try | Return | Raise | Break | Continue"
    " | Def | Class | Import"
)
Block: TypeAlias = "tuple[Statement, ...]"


class FileIR(NamedTuple):
    """One lowered file. ``words`` are all identifiers in its text, ``imports`` all its imports, nested ones too."""

    filename: str
    body: Block
    words: frozenset[str]
    imports: tuple[Import, ...]
    lines: int
