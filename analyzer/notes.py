"""What the interpreter notes down beside effects: facts about places that rules ask for later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..rules.finding import Site
from .effects import Block, Effect, effects, kinds_in
from .values import Data, Obj, Value

Conditions = tuple[tuple[Value, bool], ...]
"""What is known to hold at a place: conditions of the branches around it, each with its answer."""


@dataclass(slots=True)
class Notes:
    """Facts that are no effects. ``assumed`` is what holds at the present place of the interpreter."""

    assumed: list[tuple[Value, bool]] = field(default_factory=list)
    bases: list[int] = field(default_factory=list)
    """How many conditions held where each forward pass that is running began."""
    operations: dict[Data, list[Conditions]] = field(default_factory=dict)
    """Operations whose surrounding matters (dropout, spreads), with the conditions of each visit."""
    made_inside: dict[Obj, tuple[Obj, Conditions]] = field(default_factory=dict)
    """Objects made while a module ran forward: the module, and the conditions around."""
    made_under: dict[Obj, Conditions] = field(default_factory=dict)
    """Objects that are made in one arm of a branch only: the conditions around, back to the root."""
    initialised: set[Value] = field(default_factory=set)
    """Modules on which the constructor of ``nn.Module`` (or code that cannot be seen) was run."""
    premature: dict[Obj, tuple[str, Site]] = field(default_factory=dict)
    """Modules that were given a layer or parameter before that: its name and place."""
    registered: set[tuple[Value, str]] = field(default_factory=set)
    """Attributes that were given by ``register_buffer`` and its like."""
    unsure: set[Data] = field(default_factory=set)
    """What layers give that may not be the ones that are called, or that are called to see whether it works."""
    tried: set[Effect] = field(default_factory=set)
    """Effects inside a ``try`` that makes no step: an error there is awaited."""
    trials: list[list[Data]] = field(default_factory=list)
    """What layers gave in each ``try``, and each arm of a call of one of several, that is running."""
    read: set[tuple[Value, str]] = field(default_factory=set)
    """Attributes that were read: (object, name)."""
    unpacked: dict[Value, int] = field(default_factory=dict)
    """Values that were unpacked into so many names."""
    collated: dict[Obj, Value] = field(default_factory=dict)
    """Loaders with a collate function that is seen: what it makes of a list of samples."""
    direct: dict[Site, Value] = field(default_factory=dict)
    """Calls of ``module.forward(...)`` by name: the module."""

    @contextmanager
    def under(self, condition: Value, answer: bool) -> Iterator[None]:
        """The one arm of a branch that is known to be taken."""
        known = len(self.assumed)
        self.assumed.append((condition, answer))
        try:
            yield
        finally:
            del self.assumed[known:]

    def holds(self) -> Conditions:
        """The conditions around the present place, inside the outermost forward pass."""
        return tuple(self.assumed[self.bases[0] if self.bases else 0 :])

    def optional(self, obj: Obj, holder: Obj) -> bool:
        """Whether ``obj`` is made under a condition that its ``holder`` is not made under: perhaps it has it."""
        always = self.made_under.get(holder, ())
        return any(type(c) is Data and (c, held) not in always for c, held in self.made_under.get(obj, ()))

    def layer(self, result: Data) -> None:
        """A layer of a library was called."""
        for trial in self.trials:
            trial.append(result)

    def attempted(self, block: Block, results: list[Data]) -> None:
        """A ``try`` has ended: without a step in it, it was there to see what happens."""
        if "step" not in kinds_in(block):
            self.unsure.update(results)
            self.tried.update(effects(block))

    def operation(self, data: Data) -> None:
        """An operation takes place here."""
        visits = self.operations.setdefault(data, [])
        if len(visits) < 8:
            visits.append(self.holds())
