"""Questions about optimizers and what they are used with: rates, decay, clipping, accumulation, saturating stacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import effects as fx
from . import watching
from .effects import Block, Effect
from .interpret import Root
from .knowledge import modules, training
from .values import Data, Obj, Value, alternatives, constant

if TYPE_CHECKING:
    from .program import Program


def plain_optimizers(program: Program) -> Iterator[tuple[Obj, Effect]]:
    """Optimizers of a known library class that are stepped, each with a step."""
    seen: set[Obj] = set()
    for effect, _ in program.effects("step"):
        for optimizer in alternatives(effect.subject):
            if type(optimizer) is not Obj or optimizer in seen or not isinstance(optimizer.cls, str):
                continue
            seen.add(optimizer)
            if program.is_optimizer(optimizer) and not optimizer.hidden:
                yield optimizer, effect


def short_name(optimizer: Obj) -> str:
    """The optimizer's class without its module."""
    return str(optimizer.cls).rsplit(".", 1)[-1]


# ---------------------------------------------------------------------------- rates


@dataclass(frozen=True, slots=True, eq=False)
class Rate:
    """A literal rate outside of what is usual; ``kind``: ``high``, ``low`` or ``pretrained``."""

    optimizer: Obj
    rate: float
    kind: str
    bound: float
    step: Effect


def unusual_rates(program: Program) -> Iterator[Rate]:
    """Literal rates that no schedule changes, of optimizers that train networks of several layers."""
    for optimizer, step in plain_optimizers(program):
        usual = training.USUAL_RATES.get(short_name(optimizer))
        rate = constant(optimizer.argument("lr"))
        if usual is None or not isinstance(rate, (int, float)) or isinstance(rate, bool) or rate <= 0:
            continue
        owners, complete = program.optimizer_owners(optimizer)
        if not complete or not program.untouched(optimizer) or _is_scheduled(program, optimizer):
            continue
        low, high = usual
        if rate < low:
            yield Rate(optimizer, float(rate), "low", low, step)
        elif _pretrained(program, owners) and rate >= training.FINE_TUNING and high < 1:
            yield Rate(optimizer, float(rate), "pretrained", training.FINE_TUNING, step)
        elif rate > high and sum(_layers(program, o) for o in owners) >= MIN_LAYERS:
            yield Rate(optimizer, float(rate), "high", high, step)


MIN_LAYERS = 3
"""A model of one or two layers may take rates that a deep one cannot."""


def _is_scheduled(program: Program, optimizer: Obj) -> bool:
    """Whether a schedule, or the script itself, sets the rate."""
    for obj in program.objects:
        if program.is_scheduler(obj) and any(v is optimizer for _, v in obj.arguments):
            return True
    return any(type(v) is Data and ".param_groups" in _ops(program, v) for v in program.users_of("__setitem__"))


def _ops(program: Program, value: Value) -> set[str]:
    return {v.op for v in program.history(value) if type(v) is Data}


def _layers(program: Program, module: Value) -> int:
    """How many layers with weights are known in a module."""
    return sum(
        type(part) is Obj
        and isinstance(part.cls, str)
        and part.cls.startswith("torch.nn.")
        and part.cls not in modules.WITHOUT_PARAMETERS | modules.CONTAINERS
        and "Norm" not in part.cls
        for part in program.descendants(module)
    )


def _pretrained(program: Program, owners: frozenset[Value]) -> bool:
    """Whether a pretrained transformer is trained as a whole."""
    return any(
        type(o) is Obj and isinstance(o.cls, str) and o.cls.endswith(".from_pretrained") and not program.is_frozen(o)
        for o in owners
    )


# ---------------------------------------------------------------------------- choice


def choices(program: Program) -> Iterator[tuple[Obj, str]]:
    """Optimizers with a better relative: ``decay`` (Adam with L2), ``momentum`` (plain SGD on a deep network)."""
    for optimizer, _ in plain_optimizers(program):
        if not program.untouched(optimizer):
            continue
        name = short_name(optimizer)
        decay = constant(optimizer.argument("weight_decay"))
        if (
            name == "Adam"
            and isinstance(decay, float)
            and decay > 0
            and optimizer.argument("decoupled_weight_decay") is None
        ):
            yield optimizer, "decay"
        momentum = optimizer.argument("momentum")
        if name == "SGD" and (momentum is None or constant(momentum) == 0):
            owners, complete = program.optimizer_owners(optimizer)
            if complete and sum(_layers(program, o) for o in owners) >= MIN_LAYERS:
                yield optimizer, "momentum"


# ---------------------------------------------------------------------------- recurrent networks without clipping


def unclipped_recurrences(program: Program) -> Iterator[tuple[Effect, Data]]:
    """Backward passes through a recurrent layer in code that limits no gradient: (backward, the layer's call)."""
    for root in program.roots:
        seen = root.effects
        steps = [e for e in seen if e.kind == "step" and program.is_optimizer(e.subject)]
        # Code that cannot be seen may clip what it has hold of.
        if not steps or any(e.inputs or not program.untouched(e.subject) for e in steps):
            continue
        for backward in seen:
            if backward.kind == "backward" and backward.intact:
                layer = next((v for v in program.differentiable(backward.subject) if _is_recurrent(v)), None)
                if type(layer) is Data and not program.mentions(root, _LIMITS):
                    yield backward, layer
                    break


_LIMITS = frozenset(
    """grad clip_grad_norm_ clip_grad_norm clip_grad_value_ clip_gradients gradient_clip_val max_grad_norm
    register_hook""".split()
)
"""Names of what reads, limits or rewrites gradients."""


def _is_recurrent(value: Value) -> bool:
    return type(value) is Data and value.op in ("LSTM", "GRU", "RNN") and value.site is not None


# ---------------------------------------------------------------------------- saturating stacks


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """A chain of layers with saturating activations between them."""

    forward: Effect
    activation: str
    depth: int
    first: Data


SATURATING = {"sigmoid": 5, "Sigmoid": 5, "tanh": 8, "Tanh": 8}
"""How many hidden layers with this activation are too many without normalization or shortcuts."""


def saturating_stacks(program: Program) -> Iterator[Stack]:
    """Models that are trained and consist of a deep chain of sigmoid or tanh layers."""
    seen: set[Value] = set()
    for root in program.roots:
        for forward in program.training_forwards(root):
            if forward.subject in seen or type(forward.subject) is not Obj or not forward.intact:
                continue
            seen.add(forward.subject)
            for part in watching.flat(forward.result):
                found = _stack(part)
                if found:
                    name = found[0].op.lower()
                    yield Stack(forward, name, len(found), found[-1])
                    break


def _stack(value: Value) -> list[Data] | None:
    """The saturating activations on the chain that leads to an output; None if something relieves the gradient."""
    found: list[Data] = []
    linear = False
    for _ in range(400):
        if type(value) is not Data or not value.inputs:
            break
        if "Norm" in value.op or value.op in ("+", "LSTM", "GRU", "RNN", "call", "cat", "touched?"):
            return None
        if value.op in SATURATING and linear:
            found.append(value)
        linear = linear or value.op in ("Linear", "linear", "Conv1d", "Conv2d", "Conv3d")
        value = value.inputs[1] if value.op == "output" and len(value.inputs) > 1 else value.inputs[0]
    if not found or len({v.op.lower() for v in found}) > 1 or len(found) < SATURATING[found[0].op]:
        return None
    return found


# ---------------------------------------------------------------------------- accumulation


def unscaled_accumulations(program: Program) -> Iterator[tuple[Effect, Effect]]:
    """Losses whose gradients are summed over several batches without being divided: (backward, the step)."""
    for loop in program.loops:
        own = program.own_effects(loop)
        backward = [e for e in own if e.kind == "backward"]
        steps = [e for e in own if e.kind == "step" and program.is_optimizer(e.subject)]
        zeros = [e for e in own if e.kind == "zero_grad"]
        if not backward or not steps or not zeros or program.conditional(loop, backward[0]):
            continue
        every = [s for s in steps if _counted(program, loop.body, s)]
        cleared = all(_counted(program, loop.body, z) for z in zeros)
        known = all(program.untouched(s.subject) for s in steps)
        if known and every and len(every) == len(steps) and cleared and all(_is_mean_loss(e.subject) for e in backward):
            yield backward[0], steps[0]


def _counted(program: Program, block: Block, effect: Effect) -> bool:
    """Whether an effect is in a branch whose condition counts the batches (``i % 4 == 0``)."""
    for node in fx.branches(block):
        inside = any(e is effect for _, arm in node.arms for e in fx.effects(arm))
        if inside and node.key is not None and "%" in _ops(program, node.key):
            return True
    return False


def _is_mean_loss(value: Value) -> bool:
    """Whether the value is a loss as it comes, scaled by a GradScaler at most."""
    while type(value) is Data and value.op == "scale" and value.inputs:
        value = value.inputs[0]
    return type(value) is Data and value.op.startswith("loss:") and value.option("reduction") is None


# ---------------------------------------------------------------------------- resuming


def fresh_optimizers(program: Program) -> Iterator[tuple[Effect, Obj]]:
    """Runs that are resumed (weights and epoch come from one file) with an optimizer that starts anew."""
    for root in program.roots:
        seen = root.effects
        restores = [e for e in seen if e.kind == "restore"]
        for optimizer in _stateful(program, seen):
            if any(e.subject is optimizer or not program.is_module(e.subject) for e in restores):
                continue
            for restore in restores:
                checkpoint = _file_of(restore.inputs[0])
                if checkpoint is not None and _resumes(program, root, checkpoint):
                    yield restore, optimizer
                    break


def _stateful(program: Program, seen: Iterable[Effect]) -> list[Obj]:
    """Stepped optimizers that keep averages of gradients."""
    found = dict.fromkeys(e.subject for e in seen if e.kind == "step" and program.is_optimizer(e.subject))
    return [
        o
        for o in found
        if type(o) is Obj
        and isinstance(o.cls, str)
        and program.untouched(o)
        and (short_name(o) != "SGD" or constant(o.argument("momentum")) not in (..., 0, None))
    ]


def _file_of(state: Value) -> Value | None:
    """The checkpoint that a state is an entry of."""
    if type(state) is Data and state.op == "[]" and type(state.inputs[0]) is Data and state.inputs[0].op == "load":
        return state.inputs[0]
    return None


def _resumes(program: Program, root: Root, checkpoint: Value) -> bool:
    """Whether a loop that trains begins at a number that is read from the checkpoint."""
    for loop in program.loops:
        if loop.root is not root or not any(e.kind == "step" for e in fx.effects(loop.body)):
            continue
        for v in program.history(loop.node.iterable):
            if type(v) is Data and v.op == "[]" and v.inputs[0] is checkpoint:
                return True
    return False
