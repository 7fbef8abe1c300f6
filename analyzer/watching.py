"""Questions about loops: which only evaluate, and which keep every step's graph alive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import effects as fx
from . import lineage
from .effects import Effect, LoopNode
from .values import Const, Data, Mapping, Sequence, Value, alternatives

if TYPE_CHECKING:
    from .program import Loop, Program


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationLoop:
    """A loop over data that runs models forward and never backpropagates."""

    loop: Loop
    forwards: tuple[Effect, ...]

    @property
    def site(self) -> Site:
        """The loop's header."""
        return self.loop.site

    @property
    def repeated(self) -> bool:
        """Whether the data are gone over several times without training in between (averaging random passes)."""
        return any(
            not outer.exact
            and not any(e.kind in ("backward", "step") for body in outer.passes for e in fx.effects(body))
            for outer in self.loop.outer
        )


def evaluation_loops(program: Program) -> Iterator[EvaluationLoop]:
    """Loops over a loader or data set without a backward pass, in which a model's outputs are used."""
    for loop in program.loops:
        if not _over_data(program, loop.node) or _inside_training(program, loop):
            continue
        seen = list(fx.effects(loop.body))
        if any(e.kind in ("backward", "step", "zero_grad") for e in seen):
            continue
        trained = {e.subject for e in program.training_forwards(loop.root)}
        sources = {loop.node.element, *_iterated(loop.node.iterable)}
        forwards = tuple(
            e
            for e in seen
            if e.kind == "forward"
            and e.result not in program.discarded
            and any(type(v) is not Data or program.is_used(v) for v in flat(e.result))
            and (e.grad is False or (e.grad is True and e.subject in trained))
            and any(v in sources for i in e.inputs for v in program.history(i))
        )
        if forwards:
            yield EvaluationLoop(loop, forwards)


def measured_forwards(program: Program) -> Iterator[Effect]:
    """Forward passes of a trained model that only measure: without gradients, outputs scored and never trained on."""
    per_batch = {
        e
        for loop in program.loops
        if _over_data(program, loop.node) and any(e.kind == "backward" for e in fx.effects(loop.body))
        for e in fx.effects(loop.body)
    }
    for root in program.roots:
        trained = {e.subject for e in program.training_forwards(root)}
        if not trained:
            continue
        used = program.ancestry(e.subject for e in root.effects if e.kind == "backward")
        for effect in root.effects:
            if effect.kind != "forward" or effect.grad is None or effect.subject not in trained or effect in per_batch:
                continue
            outputs = set(flat(effect.result))
            if outputs & program.scored and not outputs & used:
                yield effect


def evaluating_forwards(program: Program) -> Iterator[tuple[Effect, Site | None]]:
    """Forward passes that only measure, with the loop over the data if there is one."""
    for loop in program.evaluation_loops:
        for forward in () if loop.repeated else loop.forwards:
            yield forward, loop.site
    for forward in measured_forwards(program):
        yield forward, None


def recording_evaluations(program: Program) -> Iterator[tuple[Effect, Site]]:
    """Forward passes in loops that only evaluate, whose graph nobody uses: (forward, loop).

    The model is in evaluation mode, or the data is never trained on.
    """
    trained_on = {loader for loader, _ in lineage.training_loaders(program)}
    asked = {
        v for op in ("torch.autograd.grad", "autograd.grad") for data in program.operations(op) for v in data.inputs
    }
    used: dict[int, set[Value]] = {}
    for loop in program.evaluation_loops:
        root = loop.loop.root
        if id(root) not in used:
            losses = [e.subject for e in root.effects if e.kind == "backward"]
            used[id(root)] = program.ancestry([*losses, *asked])
        loaders = set(program.loaders(loop.loop.node.iterable))
        apart = bool(loaders) and bool(trained_on) and not loaders & trained_on
        for forward in loop.forwards:
            if forward.grad is not True or not (forward.mode is False or apart) or program.is_frozen(forward.subject):
                continue
            volatile = any(type(v) is Data and v.op == "volatile" for i in forward.inputs for v in program.history(i))
            if not volatile and not set(flat(forward.result)) & used[id(root)] and program.untouched(forward.subject):
                yield forward, loop.site
                break  # the cure of one is that of all in the loop


def flat(value: Value | None) -> Iterator[Value]:
    """A value, or the members of a tuple, list or dict, one by one."""
    for v in alternatives(value) if value is not None else ():
        yield v
        if type(v) is Sequence:
            for item in v.items:
                yield from flat(item)
        elif type(v) is Mapping:
            for _, item in v.items:
                yield from flat(item)


def _over_data(program: Program, node: LoopNode) -> bool:
    return bool(program.loaders(node.iterable)) or any(
        program.is_dataset(v) or program.is_opaque_data(v) for v in _iterated(node.iterable)
    )


def _iterated(iterable: Value) -> Iterator[Value]:
    """What is really looped over, behind ``enumerate`` and ``zip``."""
    for value in alternatives(iterable):
        if type(value) is Data and value.op in ("enumerate", "zip"):
            for inner in value.inputs:
                yield from _iterated(inner)
        else:
            yield value


def _inside_training(program: Program, loop: Loop) -> bool:
    """Whether an outer loop over data trains: what happens per batch is no evaluation."""
    for outer in loop.outer:
        trains = any(e.kind == "backward" for body in outer.passes for e in fx.effects(body))
        if trains and _over_data(program, outer):
            return True
    return False


# ---------------------------------------------------------------------------- graphs kept alive


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """Something that gains a tensor with its graph in every pass of a loop."""

    effect: Effect
    loop: LoopNode
    made: Site | None


def graph_accumulations(program: Program) -> Iterator[Growth]:
    """``total += loss`` and ``losses.append(loss)`` with a loss that carries its graph; the sum is never trained on."""
    for loop in program.loops:
        if loop.node.exact or len(loop.node.passes) < 2:
            continue
        first, second = (list(fx.effects(body)) for body in loop.node.passes)
        earlier = {(e.site, e.context): e for e in first if e.kind == "accumulate"}
        for effect in second:
            before = earlier.get((effect.site, effect.context)) if effect.kind == "accumulate" else None
            if before is None or not _grows(before, effect) or _starts_over(program, loop, effect.site):
                continue
            value = effect.inputs[0]
            if effect.grad is True and _carries_graph(program, loop, value) and not _summed_up(program, loop, effect):
                yield Growth(effect, loop.node, value.site if type(value) is Data else None)


def _grows(before: Effect, now: Effect) -> bool:
    """Whether the second pass adds to what the first one made."""
    if type(now.result) is Sequence and type(before.result) is Sequence:
        return len(now.result.items) > len(before.result.items)
    options = alternatives(now.subject)
    # A literal among them: the sum is set back in some passes.
    return any(v is before.result for v in options) and not any(type(v) is Const for v in options)


def _starts_over(program: Program, loop: Loop, site: Site) -> bool:
    """Whether a loop over the data around this one begins each batch with a fresh sum or list."""
    for outer in loop.outer:
        if outer.exact or len(outer.passes) < 2 or not _over_data(program, outer):
            continue
        first, second = (
            [e for e in fx.effects(body) if e.kind == "accumulate" and e.site == site] for body in outer.passes
        )
        if first and second and not _grows(first[0], second[0]) and not _grows(first[-1], second[0]):
            return True
    return False


def _carries_graph(program: Program, loop: Loop, value: Value) -> bool:
    """Whether the value certainly has a graph: it is backpropagated here, or made from a trainable model's output."""
    here = list(fx.effects(loop.body))
    backpropagated = {e.subject for e in here if e.kind == "backward"}
    if value in backpropagated:
        return True
    if type(value) is not Data or program.cut(value):
        return False
    reached = list(_graph_path(program, value))
    if any(v in backpropagated for v in reached):
        return True
    if not program.loaders(loop.node.iterable):
        return False
    recorded = {e.subject for e in here if e.kind == "forward" and e.grad is True and e.intact}
    return any(
        type(v) is Data and v.op == "output" and v.inputs[0] in recorded and program.has_parameters(v.inputs[0])
        for v in reached
    )


def _graph_path(program: Program, value: Data) -> Iterator[Value]:
    """What the value is made from by operations that certainly keep the graph."""
    from .knowledge import tensors

    queue: list[Value] = [value]
    seen: set[Value] = set()
    while queue:
        v = queue.pop()
        if v in seen:
            continue
        seen.add(v)
        yield v
        if type(v) is Data and (
            v.op in tensors.GRADED or v.op in tensors.PASSES or v.op.startswith("loss:") or v.op == "output"
        ):
            inside = v.inputs[:2] if v.op.startswith("loss:") else v.inputs
            queue.extend(i for i in inside if type(i) is Data)


def _summed_up(program: Program, loop: Loop, effect: Effect) -> bool:
    """Whether what grows is backpropagated after all."""
    value = effect.inputs[0]
    for other in fx.effects(loop.root.block):
        if other.kind != "backward":
            continue
        for v in program.differentiable(other.subject):
            if v is effect.result or (type(v) is Sequence and value in v.items):
                return True
    return False


def is_opaque(value: Value) -> bool:
    """Whether nothing but the identity of the value is known."""
    return type(value) is Data and (value.op in ("param", "name") or value.op.startswith("."))
