"""Questions about order: which random orders the samples of a value went through, and whether two values agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import splits
from .knowledge import splitting
from .values import UNKNOWN, Const, Data, Obj, Sequence, Value, alternatives, constant

if TYPE_CHECKING:
    from .effects import Effect
    from .program import Program

MAX_NODES = 300
SIDE_BY_SIDE = "split side by side"
UNSEEN = "unseen code had hold of it"


@dataclass(frozen=True, slots=True)
class Draw:
    """One random order: what it is (equal identities are one order), and what fixes it."""

    identity: object
    site: Site
    seed: Value | None = None
    owner: Value | None = None


@dataclass(frozen=True, slots=True)
class Apart:
    """Inputs and labels that are used side by side after each went through a random order of its own."""

    inputs: Draw
    labels: Draw
    site: Site
    use: str


def shuffled_apart(program: Program) -> Iterator[Apart]:
    """Pairs of inputs and labels whose samples no longer belong together."""
    orders = Orders(program)
    for inputs, labels, site, use in pairs(program):
        found = orders.apart(inputs, labels)
        if found is not None:
            yield Apart(*found, site, use)


def pairs(program: Program) -> Iterator[tuple[Value, Value, Site, str]]:
    """Values whose samples must belong together, and where they meet."""
    for dataset in program.made("torch.utils.data.TensorDataset"):
        tensors = [v for k, v in dataset.arguments if k.isdigit()]
        if len(tensors) >= 2 and program.untouched(dataset):
            yield tensors[0], tensors[1], dataset.site, "put into one dataset"
    for effect, _ in program.effects("fit"):
        owner = effect.subject
        trains = type(owner) is Obj and isinstance(owner.cls, str) and splitting.is_estimator(owner.cls)
        if trains and len(effect.inputs) >= 2:
            yield effect.inputs[0], effect.inputs[1], effect.site, "fitted to"
    together: dict[object, list[Effect]] = {}
    for effect, _ in program.effects("split"):
        together.setdefault((effect.site, effect.context), []).append(effect)
    for effects in together.values():
        if len(effects) == 2:
            yield effects[0].subject, effects[1].subject, effects[0].site, SIDE_BY_SIDE
    for use in program.losses:
        if use.target is not None:
            for item in program.history(use.prediction):
                if type(item) is Data and item.op in ("output", "call") and len(item.inputs) > 1:
                    yield item.inputs[-1], use.target, use.site, "compared by the loss"
                    break


class Orders:
    """The random orders of a program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._known: dict[Value, dict[object, Draw]] = {}
        self._in_place: dict[Value, list[Draw]] = {}
        self._seeds: dict[object, list[tuple[int, int]]] = {}
        self._places: dict[Site, list[tuple[int, int]]] = {}
        self._reseeded: list[tuple[int, int]] = []
        for number, root in enumerate(program.roots):
            for position, effect in enumerate(root.effects):
                self._note(effect, (number, position))

    def _note(self, effect: Effect, place: tuple[int, int]) -> None:
        if effect.kind == "seed":
            self._reseeded.append(place)
        elif effect.kind in ("shuffle", "draw", "split"):
            self._places.setdefault(effect.site, []).append(place)
        if effect.kind == "shuffle" and effect.subject is not UNKNOWN:
            if type(effect.subject) is Sequence and not effect.subject.items:
                return
            draw = Draw((effect.site, effect.context), effect.site, None, effect.result)
            self._in_place.setdefault(effect.subject, []).append(draw)

    def apart(self, inputs: Value, labels: Value) -> tuple[Draw, Draw] | None:
        """Two random orders, one of the inputs and one of the labels, of which neither has the other's."""
        first, second = self.of(inputs), self.of(labels)
        if UNSEEN in first or UNSEEN in second:
            return None
        left = [d for i, d in first.items() if i not in second]
        right = [d for i, d in second.items() if i not in first]
        if not left or not right or any(self._may_agree(a, b) for a in left for b in right):
            return None
        return left[0], right[0]

    def of(self, value: Value) -> dict[object, Draw]:
        """The random orders that the samples of a value went through."""
        if value not in self._known:
            self._known[value] = {}
            self._known[value] = {d.identity: d for d in self._of(value)}
        return self._known[value]

    def _of(self, value: Value) -> Iterator[Draw]:
        queue = [value]
        seen: set[Value] = set()
        while queue and len(seen) < MAX_NODES:
            options = alternatives(queue.pop())
            item = options[0]
            if len(options) > 1 or item in seen or type(item) is Const:
                continue
            seen.add(item)
            yield from self._in_place.get(item, ())
            if type(item) is Data:
                if item.op == "touched?":
                    yield Draw(UNSEEN, Site("", 0))
                yield from self._own(item)
                queue.extend(splits.carriers(item))
            elif type(item) is Obj:
                queue.extend(splits.carriers(item))

    def _own(self, item: Data) -> Iterator[Draw]:
        """The order that an operation itself brings in."""
        if item.op == "[]" and len(item.inputs) == 2:
            index = item.inputs[1]
            yield from self.of(index.items[0] if type(index) is Sequence and index.items else index).values()
        if item.site is None:
            return
        name = item.op.rsplit(".", 1)[-1]
        if item.op == "part":
            if constant(item.option("shuffle")) is not False:
                yield Draw(item.site, item.site, item.option("seed"))
        elif name in splitting.PERMUTATIONS or item.op == "sklearn.utils.shuffle":
            whole = name not in splitting.SAMPLES or constant(item.option("frac")) in (1, 1.0)
            if whole:
                owner = item.inputs[0] if item.inputs and name == item.op and _is_generator(item.inputs[0]) else None
                seed = item.option("random_state") or item.option("generator")
                yield Draw(item, item.site, seed, owner)

    def _may_agree(self, one: Draw, other: Draw) -> bool:
        """Whether two draws may give the same order: equal seeds, or a generator that is set back between them."""
        if one.seed is not None or other.seed is not None:
            both = type(one.seed) is Const and type(other.seed) is Const
            return not both or one.seed is other.seed
        if one.owner is not other.owner:
            a, b = _seed_of(one.owner), _seed_of(other.owner)
            return (a is b and a is not None) or UNKNOWN in (a, b)
        a_places, b_places = self._places.get(one.site, ()), self._places.get(other.site, ())
        if not a_places or not b_places:
            return True
        return any(min(a, b) < seed < max(a, b) for a in a_places for b in b_places for seed in self._reseeded)


def _is_generator(value: Value) -> bool:
    if type(value) is Data:
        return value.op == "random.default_rng"
    return type(value) is Obj and value.cls in _GENERATORS


_GENERATORS = ("numpy.random.RandomState", "random.Random", "numpy.random.Generator")


def _seed_of(owner: Value | None) -> Value | None:
    """What a generator was made with; UNKNOWN where that cannot be told, None for what is no generator."""
    if type(owner) is Data and owner.op == "random.default_rng":
        return owner.inputs[0] if owner.inputs else owner
    if type(owner) is Obj and owner.cls in _GENERATORS:
        return owner.argument("0") or owner.argument("seed") or owner
    return UNKNOWN if owner is not None else None
