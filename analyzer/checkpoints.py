"""Questions about saved and restored weights: what is kept by reference, what runs in the wrong mode after loading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import effects as fx
from . import watching
from .effects import Effect
from .interpret import Root
from .knowledge import modules, tensors
from .values import Const, Data, Mapping, Obj, Value, alternatives, constant
from .values import Sequence as Items

if TYPE_CHECKING:
    from .program import Program

READS = frozenset(("items", "keys", "values", "get"))
"""Methods of a state that change nothing of it."""


@dataclass(frozen=True, slots=True, eq=False)
class LiveState:
    """A state that is kept without a copy, while the model is trained on, and then used as if it were of before."""

    snapshot: Effect
    step: Effect
    use: Effect


def kept_by_reference(program: Program) -> Iterator[LiveState]:
    """``best = model.state_dict()`` that later steps change, and that is restored or saved afterwards."""
    seen: set[object] = set()
    for root in program.roots:
        states = _states(program, root)
        uses = [e for e in root.effects if e.kind in ("restore", "save")]
        for state in dict.fromkeys(v for e in uses for v in _used(e, states)):
            snapshots = states[state]
            if snapshots[0].site in seen or program.uses(state) - READS:
                continue
            alike = {v for e in uses for place in _places(e) if state in place for v in place}
            found = _outlived(program, root, state, alike)
            if found is not None:
                seen.add(snapshots[0].site)
                yield found


def _states(program: Program, root: Root) -> dict[Value, list[Effect]]:
    """Each state of a module that is stepped somewhere -> where it was taken."""
    found: dict[Value, list[Effect]] = {}
    for effect in root.effects:
        if effect.kind == "snapshot" and effect.result is not None and not program.is_optimizer(effect.subject):
            found.setdefault(effect.result, []).append(effect)
    return found


def _used(effect: Effect, states: dict[Value, list[Effect]]) -> list[Value]:
    """The states that are restored into the module they are of, or saved, possibly inside a dict."""
    if effect.kind == "restore":
        inside = [v for v in alternatives(effect.inputs[0]) if v in states]
        return [v for v in inside if type(v) is Data and v.inputs[0] is effect.subject]
    return [v for v in _parts(effect.subject) if v in states]


def _places(effect: Effect) -> Iterator[tuple[Value, ...]]:
    """What may stand at each place of what is saved or restored."""
    queue = [effect.subject if effect.kind == "save" else effect.inputs[0]]
    while queue:
        options = alternatives(queue.pop())
        yield options
        for v in options:
            queue += [item for _, item in v.items] if type(v) is Mapping else v.items if type(v) is Items else ()


def _parts(value: Value) -> Iterator[Value]:
    for v in alternatives(value):
        yield v
        if type(v) is Mapping:
            for _, item in v.items:
                yield from _parts(item)
        elif type(v) is Items:
            for item in v.items:
                yield from _parts(item)


def _outlived(program: Program, root: Root, state: Value, alike: set[Value]) -> LiveState | None:
    """A use of the state that steps separate from the taking of it, or of what is used in its stead (``alike``)."""
    states = {state: [state]}

    def keep(effect: Effect) -> bool:
        if effect.kind == "snapshot":
            return effect.result in alike
        if effect.kind == "step":
            return not program.is_scheduler(effect.subject)
        return state in _used(effect, states)  # type: ignore[arg-type]

    for path in program.paths(root.block, frozenset(("snapshot", "step", "restore", "save")), keep) or ():
        taken: Effect | None = None
        step: Effect | None = None
        for effect in path:
            if effect.kind == "snapshot":
                taken, step = effect, None
            elif effect.kind == "step":
                step = step or effect
            elif taken is None or step is None or taken.result is not state:
                continue
            elif not _taken_anew(root, taken, effect):
                return LiveState(taken, step, effect)
    return None


def _taken_anew(root: Root, taken: Effect, use: Effect) -> bool:
    """Whether the innermost loop around the taking holds the use, too: what is used may be of the same pass."""
    innermost: list[Effect] = []
    for node in fx.loops(root.block):
        inside = [e for body in node.passes for e in fx.effects(body)] if not node.exact else []
        if any(e.site == taken.site for e in inside):
            innermost = inside
    return any(e.site == use.site and e.context == use.context for e in innermost)


_COMPARES = frozenset((">", "<", ">=", "<="))


def second_names(program: Program) -> Iterator[tuple[Effect, Effect]]:
    """``best = model`` where a score is compared, in a loop that trains the model: (the naming, a step)."""
    for loop in program.loops:
        if loop.node.exact:
            continue
        step = next((e for e in fx.effects(loop.body) if e.kind == "step" and program.is_optimizer(e.subject)), None)
        if step is None:
            continue
        trained = {e.subject for e in program.training_forwards(loop.root)}
        for node in fx.branches(loop.body):
            key = node.key
            if type(key) is not Data or key.op not in _COMPARES or any(type(v) is Const for v in key.inputs):
                continue
            named = [[e for e in fx.effects(arm) if e.kind == "alias"] for _, arm in node.arms]
            if sum(map(bool, named)) == 1:
                yield from ((e, step) for arm in named for e in arm if e.subject in trained)


# ---------------------------------------------------------------------------- after loading


@dataclass(frozen=True, slots=True, eq=False)
class WrongMode:
    """A model whose weights were loaded, and that then predicts in training mode."""

    restore: Effect
    forward: Effect
    layer: Obj


def loaded_and_not_switched(program: Program) -> Iterator[WrongMode]:
    """Forward passes in training mode, of models that were loaded, in code that trains nothing."""
    elsewhere = {forward.site for forward, _ in watching.evaluating_forwards(program)}
    for root in program.roots:
        seen = root.effects
        if any(e.kind in ("backward", "step", "zero_grad") for e in seen):
            continue
        restored: dict[Value, Effect] = {}
        for forward in seen:
            if forward.kind == "restore":
                restored[forward.subject] = forward
            if forward.kind != "forward" or forward.mode is not True or not forward.intact:
                continue
            restore = next((restored[m] for m in program.family(forward.subject) if m in restored), None)
            if restore is None or forward.site in elsewhere:
                continue
            # A pass that nobody looks at lets batch normalisation gather statistics.
            if not any(type(v) is Data and program.is_used(v) for v in watching.flat(forward.result)):
                continue
            layer = program.train_dependent(forward.subject)
            if layer is not None and _real_data(program, forward) and _asks_mode(program, forward):
                yield WrongMode(restore, forward, layer)


def _real_data(program: Program, forward: Effect) -> bool:
    """Whether the model is not merely tried out on made-up numbers."""
    for value in program.ancestry(forward.inputs):
        if type(value) is Data and value.op in tensors.CREATES and value.op not in _CONVERTS:
            return False
    return bool(forward.inputs)


def _asks_mode(program: Program, forward: Effect) -> bool:
    """Whether a layer that behaves differently in training was seen to run in the pass."""
    return any(
        type(v) is Data and v.op in _MODAL for part in watching.flat(forward.result) for v in program.history(part)
    )


_MODAL = (
    modules.TRAIN_DEPENDENT_FUNCTIONS
    | {cls.removeprefix("torch.nn.") for cls in (*modules.TRAIN_DEPENDENT, *modules.DROPOUT_ARGUMENT)}
    | {"torchvision.models"}
)
_CONVERTS = frozenset(("tensor", "as_tensor", "from_numpy"))


def unread_reports(program: Program) -> Iterator[Effect]:
    """``load_state_dict(..., strict=False)`` whose report of missing and unexpected keys nobody reads."""
    loads: dict[Value, set[object]] = {}
    for effect, _ in program.effects("restore"):
        loads.setdefault(effect.subject, set()).add(effect.site)
    for effect, _ in program.effects("restore"):
        unread = constant(effect.inputs[1]) is False and effect.result in program.discarded
        # What was picked by name, or is one of several parts, is meant to leave something out.
        whole = all(type(v) is Data and not program.uses(v) - READS for v in alternatives(effect.inputs[0]))
        if unread and whole and program.untouched(effect.subject) and len(loads[effect.subject]) == 1:
            yield effect
