"""What an expression may be: values with their provenance.

A :class:`Value` is one alternative or a :class:`Union` of at most four. Values are interned by a
:class:`Space`: equal values are the same object, so they compare, hash and join by identity.

* :class:`Data` is a value with a history: the operation that made it, where, and from what. Opaque
  things are Data too (a parameter ``model``, its attribute ``model.head``): nothing is known about
  them but their identity, which is enough to pair ``opt.step()`` with ``opt.zero_grad()``.
* :class:`Obj` is something allocated: an instance of a project class or of a library class. What it
  holds changes over time and therefore lives in the interpreter's state, not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from ..rules.finding import Site

if TYPE_CHECKING:
    from . import ir
    from .scopes import Frame, ModuleScope

MAX_ALTERNATIVES = 4
MAX_DEPTH = 1_000
"""Histories longer than this are cut; nothing a rule asks for lies further back."""

Scalar: TypeAlias = "str | bytes | int | float | complex | bool | None"
Context: TypeAlias = tuple[Site, ...]
"""The call sites through which the interpreter came here, outermost first."""


class Value:
    """One alternative, compared by identity."""

    __slots__ = ()


class Unknown(Value):
    """Anything at all."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "?"


UNKNOWN: Final = Unknown()


class Const(Value):
    """A literal."""

    __slots__ = ("value",)

    def __init__(self, value: Scalar) -> None:
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)


class Data(Value):
    """The result of ``op`` on ``inputs`` (and keyword ``options``) at ``site``.

    ``site`` is None for what has one identity wherever it is written: attributes, items, comparisons.
    ``serial`` grows with the order in which values are first made.
    """

    __slots__ = ("depth", "inputs", "op", "options", "serial", "site")

    def __init__(
        self,
        op: str,
        site: Site | None,
        inputs: tuple[Value, ...],
        options: tuple[tuple[str, Value], ...],
        depth: int,
        serial: int,
    ) -> None:
        self.op = op
        self.site = site
        self.inputs = inputs
        self.options = options
        self.depth = depth
        self.serial = serial

    def option(self, name: str, position: int | None = None) -> Value | None:
        """A keyword argument, or the positional one at ``position`` (the first input is 0)."""
        for key, value in self.options:
            if key == name:
                return value
        if position is not None and position < len(self.inputs):
            return self.inputs[position]
        return None

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(map(repr, self.inputs))})"


class Obj(Value):
    """An instance, named by where and in which context it was made.

    ``cls`` is a :class:`Class` of the project or the dotted path of a library class (``list`` and
    ``dict`` too); ``arguments`` are those of the constructor by name where the library's signature is
    known, else by position as ``"0"``, ``"1"`` ...; ``"*"`` or ``"**"`` stand for arguments not seen.
    """

    __slots__ = ("arguments", "cls", "context", "site")

    def __init__(
        self, cls: Class | str, site: Site, context: Context, arguments: tuple[tuple[str, Value], ...]
    ) -> None:
        self.cls = cls
        self.site = site
        self.context = context
        self.arguments = arguments

    def argument(self, name: str) -> Value | None:
        """The constructor's argument, None where it was not given (or might be hidden, see :attr:`hidden`)."""
        for key, value in self.arguments:
            if key == name:
                return value
        return None

    @property
    def hidden(self) -> bool:
        """Whether the call carried ``*args`` or ``**kwargs`` that could not be seen."""
        return any(key in ("*", "**") for key, _ in self.arguments)

    def __repr__(self) -> str:
        return f"<{self.cls if isinstance(self.cls, str) else self.cls.name}>"


class Function(Value):
    """A project function, with the frame it closes over and, for a method, the instance it is bound to."""

    __slots__ = ("definition", "frame", "owner", "receiver")

    def __init__(self, definition: ir.Def, frame: Frame, owner: Class | None, receiver: Value | None) -> None:
        self.definition = definition
        self.frame = frame
        self.owner = owner
        self.receiver = receiver

    def __repr__(self) -> str:
        return f"<function {self.definition.name}>"


class Class(Value):
    """A project class. ``attributes`` are those of its body; ``bases`` are values (Class or Library)."""

    __slots__ = ("_library_bases", "_lineage", "attributes", "bases", "definition", "frame", "name", "site")

    def __init__(self, definition: ir.Class, frame: Frame, site: Site) -> None:
        self.definition = definition
        self.name = definition.name
        self.frame = frame
        self.site = site
        self.bases: tuple[Value, ...] = ()
        self.attributes: dict[str, Value] = {}
        self._library_bases: frozenset[str] | None = None
        self._lineage: list[Class | Library] | None = None

    @property
    def lineage(self) -> list[Class | Library]:
        """This class and its ancestors, those of libraries too, in the order in which Python looks them up."""
        if self._lineage is None:
            self._lineage = _linearised(self, ())
        return self._lineage

    def ancestors(self) -> Iterator[Class]:
        """This class and its project ancestors in the order in which Python looks them up."""
        return (cls for cls in self.lineage if isinstance(cls, Class))

    def find(self, name: str) -> tuple[Class, Value] | None:
        """The class that defines ``name`` and what it is."""
        for cls in self.ancestors():
            if name in cls.attributes:
                return cls, cls.attributes[name]
        return None

    @property
    def library_bases(self) -> frozenset[str]:
        """Dotted paths of all library ancestors (found once: the bases do not change after the class statement)."""
        if self._library_bases is None:
            self._library_bases = frozenset(
                b.path for cls in self.ancestors() for b in cls.bases if isinstance(b, Library)
            )
        return self._library_bases

    @property
    def open(self) -> bool:
        """Whether an ancestor is unknown, so that a missing attribute is unknown rather than absent."""
        return any(not isinstance(b, (Class, Library)) for cls in self.ancestors() for b in cls.bases)

    def __repr__(self) -> str:
        return f"<class {self.name}>"


def _linearised(cls: Class, below: tuple[Class, ...]) -> list[Class | Library]:
    """The C3 order of a class; where the bases contradict one another (or are in a cycle), depth first."""
    bases = [b for b in cls.bases if isinstance(b, (Class, Library)) and b is not cls and b not in below]
    waiting = [_linearised(b, (*below, cls)) if isinstance(b, Class) else [b] for b in bases] + [bases]
    order: list[Class | Library] = [cls]
    while waiting := [rest for rest in waiting if rest]:
        heads = [rest[0] for rest in waiting]
        following = next((h for h in heads if not any(h in rest[1:] for rest in waiting)), heads[0])
        order.append(following)
        waiting = [[c for c in rest if c is not following] for rest in waiting]
    return order


class Library(Value):
    """A module, class or function of a library, by its dotted path."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return self.path


class Module(Value):
    """A module of the project."""

    __slots__ = ("scope",)

    def __init__(self, scope: ModuleScope) -> None:
        self.scope = scope

    def __repr__(self) -> str:
        return f"<module {self.scope.filename}>"


class Method(Value):
    """A method of something that is not a project class: ``owner.name``, not yet called."""

    __slots__ = ("name", "owner")

    def __init__(self, owner: Value, name: str) -> None:
        self.owner = owner
        self.name = name

    def __repr__(self) -> str:
        return f"{self.owner!r}.{self.name}"


class Super(Value):
    """``super()`` inside a method of ``cls``."""

    __slots__ = ("cls", "receiver")

    def __init__(self, cls: Class, receiver: Value) -> None:
        self.cls = cls
        self.receiver = receiver


class Sequence(Value):
    """An immutable sequence: a tuple, or what a list holds just now. ``open``: more may be in it."""

    __slots__ = ("items", "open")

    def __init__(self, items: tuple[Value, ...], open: bool) -> None:
        self.items = items
        self.open = open

    def __repr__(self) -> str:
        return f"({', '.join(map(repr, self.items))}{', ...' if self.open else ''})"


class Mapping(Value):
    """What a dict holds just now, for keys that are literals. ``open``: it may hold more."""

    __slots__ = ("items", "open")

    def __init__(self, items: tuple[tuple[Scalar, Value], ...], open: bool) -> None:
        self.items = items
        self.open = open

    def get(self, key: Scalar) -> Value | None:
        """The value under a literal key."""
        for name, value in self.items:
            if name == key and type(name) is type(key):
                return value
        return None


class Union(Value):
    """Two to four alternatives."""

    __slots__ = ("alternatives",)

    def __init__(self, alternatives: tuple[Value, ...]) -> None:
        self.alternatives = alternatives

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.alternatives))


def alternatives(value: Value) -> tuple[Value, ...]:
    """What the value may be, one by one."""
    return value.alternatives if type(value) is Union else (value,)


def is_none(value: Value) -> bool:
    """Whether the value is known to be None."""
    return type(value) is Const and value.value is None


def constant(value: Value | None) -> object:
    """The literal that the value is, or ``...`` when it is not one."""
    return value.value if type(value) is Const else ...


class Space:
    """Makes values, each once."""

    def __init__(self) -> None:
        self._known: dict[object, Value] = {}
        self.none = self.const(None)
        self.true = self.const(True)
        self.false = self.const(False)
        self.empty = self.sequence(())

    def everything(self) -> Iterable[Value]:
        """Every value made so far."""
        return self._known.values()

    def const(self, value: Scalar) -> Const:
        """A literal; ``1``, ``1.0`` and ``True`` are three."""
        key = (Const, type(value), value)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Const(value)
        return found  # type: ignore[return-value]

    def data(
        self,
        op: str,
        site: Site | None,
        inputs: tuple[Value, ...] = (),
        options: tuple[tuple[str, Value], ...] = (),
    ) -> Data:
        """The result of an operation."""
        key = (op, site, inputs, options)
        found = self._known.get(key)
        if found is None:
            depth = 1 + max((v.depth for v in inputs if type(v) is Data), default=0)
            if depth > MAX_DEPTH:
                inputs = tuple(UNKNOWN if type(v) is Data else v for v in inputs)
                depth = 1
            found = self._known[key] = Data(op, site, inputs, options, depth, len(self._known))
        return found  # type: ignore[return-value]

    def obj(self, cls: Class | str, site: Site, context: Context, arguments: tuple[tuple[str, Value], ...] = ()) -> Obj:
        """The instance made at a site in a context."""
        key = (Obj, cls, site, context, arguments)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Obj(cls, site, context, arguments)
        return found  # type: ignore[return-value]

    def function(self, definition: ir.Def, frame: Frame, owner: Class | None, receiver: Value | None) -> Function:
        """A function value. ``definition`` is compared by identity."""
        key = (Function, id(definition), frame, owner, receiver)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Function(definition, frame, owner, receiver)
        return found  # type: ignore[return-value]

    def library(self, path: str) -> Library:
        """A thing in a library."""
        key = (Library, path)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Library(path)
        return found  # type: ignore[return-value]

    def method(self, owner: Value, name: str) -> Method:
        """A bound method."""
        key = (Method, owner, name)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Method(owner, name)
        return found  # type: ignore[return-value]

    def sequence(self, items: Iterable[Value], open: bool = False) -> Sequence:
        """A tuple of values."""
        held = tuple(items)
        key = (Sequence, held, open)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Sequence(held, open)
        return found  # type: ignore[return-value]

    def mapping(self, items: Iterable[tuple[Scalar, Value]], open: bool = False) -> Mapping:
        """The contents of a dict; of equal keys the last one counts."""
        held = tuple({(type(k), k): (k, v) for k, v in items}.values())
        key = (Mapping, tuple((type(k), k, v) for k, v in held), open)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Mapping(held, open)
        return found  # type: ignore[return-value]

    def join(self, left: Value, right: Value) -> Value:
        """What is one or the other."""
        if left is right:
            return left
        if type(left) is Sequence and type(right) is Sequence and (left.open or right.open):
            return self.merge(left, right)
        merged = dict.fromkeys((*alternatives(left), *alternatives(right)))
        if len(merged) == 1:
            return left
        if len(merged) > MAX_ALTERNATIVES:
            return UNKNOWN
        key = (Union, frozenset(merged))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Union(tuple(merged))
        return found

    def join_all(self, values: Iterable[Value]) -> Value:
        """What is one of them; unknown for none."""
        out: Value | None = None
        for value in values:
            out = value if out is None else self.join(out, value)
        return UNKNOWN if out is None else out

    def merge(self, left: Value, right: Value) -> Value:
        """What a growing container may hold: the elements of both, and perhaps more."""
        if left is right:
            return left
        if type(left) is Sequence and type(right) is Sequence:
            items = tuple(dict.fromkeys((*left.items, *right.items)))
            return self.sequence(items[:64], True)
        if type(left) is Mapping and type(right) is Mapping:
            both = dict(left.items)
            for key, value in right.items:
                both[key] = self.join(both[key], value) if key in both else value
            return self.mapping(both.items(), True)
        return self.join(left, right)
