"""Questions about custom autograd functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import ir
from .knowledge import tensors
from .values import Class, Const, Data, Function, Sequence, Value, alternatives, is_none

if TYPE_CHECKING:
    from .program import Program

BASES = frozenset(("torch.autograd.Function", "torch.autograd.function.Function"))


@dataclass(frozen=True, slots=True, eq=False)
class WrongCount:
    """A backward that returns another number of gradients than forward has arguments."""

    name: str
    site: Site
    forward: Site
    expected: int
    returned: int


def wrong_counts(program: Program) -> Iterator[WrongCount]:
    """Custom functions whose backward was run by itself and returns a known number of values."""
    for root in program.roots:
        cls = root.owner
        if cls is None or root.method != "backward" or not cls.library_bases & BASES:
            continue
        found, backward = cls.find("forward"), cls.find("backward")
        if found is None or backward is None or type(found[1]) is not Function or type(backward[1]) is not Function:
            continue
        expected = _arguments(cls, found[1])
        if expected is None or root.exhausted:
            continue
        counts = [c for v in alternatives(root.result) if (c := _count(v, expected[1])) is not None]
        # What has a default may be left out of the call; then it needs no gradient.
        if len(counts) < len(alternatives(root.result)) or any(expected[0] <= c <= expected[1] for c in counts):
            continue
        sites = [Site(f.frame.module.filename, f.definition.site) for f in (backward[1], found[1])]
        yield WrongCount(cls.name, sites[0], sites[1], expected[1], max(counts))


def _arguments(cls: Class, forward: Function) -> tuple[int, int] | None:
    """How many arguments forward takes beside the context, at least and at most; None for any number."""
    params = forward.definition.params
    if any(p.kind != "positional" for p in params):
        return None
    context = 0 if cls.find("setup_context") is not None else 1
    context += any(type(d) is ir.Name and d.id == "classmethod" for d in forward.definition.decorators)
    return sum(p.default is None for p in params) - context, len(params) - context


def _count(returned: Value, expected: int) -> int | None:
    """How many gradients a value holds; None at the end, beyond what is expected, do not count."""
    if type(returned) is Sequence and not returned.open:
        items = list(returned.items)
        while len(items) > expected and is_none(items[-1]):
            items.pop()
        return len(items)
    if type(returned) is Const:
        return 1
    if type(returned) is Data and any(type(v) is Sequence for v in returned.inputs):
        return None  # a tuple and what another call returns
    single = type(returned) is Data and (returned.op in tensors.GRADED or returned.op in ("clone", "unary-"))
    return 1 if single else None
