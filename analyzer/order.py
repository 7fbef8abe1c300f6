"""Questions about the order of things along every path: clearing, stepping, clipping, scheduling, switching modes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import effects as fx
from . import watching
from .effects import Effect, LoopNode
from .interpret import Root
from .knowledge import training
from .values import Const, Context, Data, Library, Obj, Value, alternatives

if TYPE_CHECKING:
    from .program import Program
    from .structure import Reach

Path = Sequence[Effect]


# ---------------------------------------------------------------------------- zero_grad


def optimizer_paths(program: Program, optimizer: Value, root: Root) -> list[tuple[Effect, ...]] | None:
    """Along every path: backward passes that reach the optimizer's parameters, its steps, clearings, and escapes.

    None where the order cannot be known.
    """
    reach = program.reach(optimizer, root)

    def keep(effect: Effect) -> bool:
        if effect.kind == "backward":
            return reach.backward(effect.subject)
        if effect.kind in ("step", "made"):
            return effect.subject is optimizer
        if effect.kind == "zero_grad":
            return reach.clears(effect.subject)
        return effect.kind == "escape" and reach.touches(effect.subject)

    return program.paths(root.block, _STEPPING, keep)


_STEPPING = frozenset(("backward", "step", "made", "zero_grad", "escape"))


def uncleared(program: Program) -> Iterator[tuple[Effect, Effect, Value]]:
    """Backward passes whose gradients add to those of an earlier step: (backward, that step, optimizer).

    A place that is cleared when it is reached another way (a helper with a flag) is left out.
    """
    found: list[tuple[Effect, Effect, Value]] = []
    cleared: dict[Site, set[Context]] = {}
    for optimizer, root in program.stepped_optimizers:
        paths = optimizer_paths(program, optimizer, root)
        if paths is not None:
            found += [(backward, step, optimizer) for backward, step in _never_cleared(paths, cleared)]
    for backward, step, optimizer in found:
        if not cleared.get(backward.site, set()) - {backward.context}:
            yield backward, step, optimizer


def _never_cleared(paths: Sequence[Path], elsewhere: dict[Site, set[Context]]) -> Iterator[tuple[Effect, Effect]]:
    """Backward passes between two steps that nothing clears, on every path that has them: (backward, first step)."""
    missing: dict[tuple[Effect, Effect], tuple[Effect, Effect]] = {}
    cleared: set[tuple[Effect, Effect]] = set()
    for path in paths:
        step: Effect | None = None
        first: Effect | None = None
        clear = False
        for effect in path:
            if effect.kind == "step":
                if step is not None and first is not None:
                    if clear:
                        cleared.add((step, effect))
                        elsewhere.setdefault(first.site, set()).add(first.context)
                    else:
                        missing.setdefault((step, effect), (first, step))
                step, first, clear = effect, None, False
            elif effect.kind == "backward":
                first = first or effect
            else:
                clear = True
    seen = set()
    for steps, (backward, step) in missing.items():
        if steps not in cleared and backward.site not in seen:
            seen.add(backward.site)
            yield backward, step


def cleared_too_early(program: Program) -> Iterator[tuple[Effect, Effect]]:
    """Clearing between a backward and its step, on every path that has the step: (clearing, step)."""
    for optimizer, root in program.stepped_optimizers:
        paths = optimizer_paths(program, optimizer, root)
        if paths is not None:
            yield from _cleared_too_early(paths, program.reach(optimizer, root))


def _cleared_too_early(paths: Sequence[Path], reach: Reach) -> Iterator[tuple[Effect, Effect]]:
    wrong: dict[object, tuple[Effect, Effect]] = {}
    right: set[object] = set()
    for path in paths:
        backward: Effect | None = None
        zero: Effect | None = None
        for effect in path:
            if effect.kind == "backward":
                backward, zero = effect, None
            elif effect.kind == "zero_grad":
                # With inputs: other gradients were put in place of the old ones.
                if reach.surely_clears(effect.subject) and not effect.inputs:
                    zero = effect
                else:
                    backward = None
            elif effect.kind == "step":
                if backward is not None and zero is not None:
                    wrong.setdefault(zero.site, (zero, effect))
                elif backward is not None:
                    right.add(effect.site)
                backward, zero = None, None
            else:
                backward, zero = None, None
    for zero, step in wrong.values():
        if step.site not in right:
            yield zero, step


# ---------------------------------------------------------------------------- clipping


def useless_clips(program: Program) -> Iterator[tuple[Effect, Effect, str]]:
    """Clipping calls that never act on the gradients of a step: (clip, culprit, ``backward``/``step``/``unscale``)."""
    seen: set[object] = set()
    for root in program.roots:
        clips = [e for e in root.effects if e.kind == "clip" and not _measures(e)]
        if not clips:
            continue
        paths = program.paths(root.block, _CLIPPING, lambda effect: _clip_event(program, effect))
        if paths is None:
            continue
        for clip in clips:
            if clip.site in seen:
                continue
            seen.add(clip.site)
            found = _useless(program, clip, paths)
            if found is not None:
                yield clip, *found


def _measures(clip: Effect) -> bool:
    """Clipping to infinity only computes the norm."""
    bound = clip.inputs[1] if len(clip.inputs) > 1 else None
    if type(bound) is Data and bound.op == "float()" and bound.inputs:
        return type(bound.inputs[0]) is Const and "inf" in str(bound.inputs[0].value)
    return isinstance(bound, Library) and bound.path.endswith(".inf")


def _clip_event(program: Program, effect: Effect) -> bool:
    """Whether an event has to do with gradients: of what escapes, only models and optimizers."""
    if effect.kind != "escape":
        return True
    subject = effect.subject
    return program.is_module(subject) or program.is_optimizer(subject) or program.is_called(subject)


_CLIPPING = frozenset(("clip", "backward", "step", "unscale", "zero_grad", "escape"))


def _useless(program: Program, clip: Effect, paths: Sequence[Path]) -> tuple[Effect, str] | None:
    """Why no occurrence of a clip acts on a step; None if one does or it is not known."""
    verdicts: list[tuple[Effect, str] | None] = []
    for path in paths:
        events = [e for e in path if _concerns(program, e, clip)]
        for index, effect in enumerate(events):
            if effect.site == clip.site and effect.kind == "clip":
                verdicts.append(_verdict(program, events, index))
    known = [v for v in verdicts if v is not None and v[1] != "end"]
    if not known or len(known) + sum(v is not None and v[1] == "end" for v in verdicts) < len(verdicts):
        return None
    kinds = {v[1] for v in known}
    return known[0] if len(kinds) == 1 else None


def _concerns(program: Program, effect: Effect, clip: Effect) -> bool:
    """Whether an event has to do with the parameters that are clipped."""
    if effect.kind != "step":
        return True
    return program.is_optimizer(effect.subject) or (effect.inputs[:1] != () and program.is_optimizer(effect.inputs[0]))


def _verdict(program: Program, events: Sequence[Effect], index: int) -> tuple[Effect, str] | None:
    """What happens around one occurrence of a clip: None if it does its work, or nobody can tell."""
    before, after = events[:index], events[index + 1 :]
    last = next((e for e in reversed(before) if e.kind in ("backward", "step", "escape")), None)
    following = next((e for e in after if e.kind in ("backward", "step", "zero_grad", "escape")), None)
    if last is not None and last.kind == "escape":
        return None
    if following is not None and following.kind == "escape":
        return None
    if last is not None and last.kind == "backward":
        if following is None or following.kind != "step":
            return None
        return _scaled(program, before, last, following)
    if following is not None and following.kind == "backward":
        # Before backward: after the step of this round it is the step that came too early.
        stepped = next((e for e in after if e.kind == "step"), None)
        if last is not None and last.kind == "step":
            return (last, "step") if _same_round(events, index) else (following, "backward")
        return (following, "backward") if stepped is not None else None
    if last is not None and last.kind == "step":
        return last, "step"
    return following or events[index], "end"


def _same_round(events: Sequence[Effect], index: int) -> bool:
    """Whether nothing but the clip lies between the step before it and the end of the round (a clearing)."""
    for effect in reversed(events[:index]):
        if effect.kind == "zero_grad":
            return False
        if effect.kind == "step":
            break
    following = next((e for e in events[index + 1 :] if e.kind in ("zero_grad", "backward")), None)
    return following is None or following.kind == "zero_grad" or _first_is_clip(events)


def _first_is_clip(events: Sequence[Effect]) -> bool:
    first = next((e for e in events if e.kind in ("clip", "backward")), None)
    return first is not None and first.kind == "backward"


def _scaled(program: Program, before: Sequence[Effect], backward: Effect, step: Effect) -> tuple[Effect, str] | None:
    """Whether a scaled loss was backpropagated and nothing unscaled its gradients before the clip."""
    scaler = program.scaler_of(backward.subject)
    if scaler is None or not step.inputs or step.inputs[0] is not scaler:
        return None
    position = max(i for i, e in enumerate(before) if e is backward)
    if any(e.kind == "unscale" for e in before[position:]):
        return None
    return backward, "unscale"


# ---------------------------------------------------------------------------- modes


def training_forwards_in_eval_mode(program: Program) -> Iterator[tuple[Effect, Effect]]:
    """Forward passes of a training loop that run in evaluation mode on a later pass: (forward, the ``eval()``)."""
    for root in program.roots:
        trained = program.training_forwards(root)
        models = dict.fromkeys(e.subject for e in trained)
        for model in models:
            passes = {e for e in trained if e.subject is model}
            if type(model) is Obj and _may_be_stepped(program, root, model, passes):
                yield from _stays_in_eval(program, root, model, passes)


def _may_be_stepped(program: Program, root: Root, model: Obj, trained: set[Effect]) -> bool:
    """Whether an optimizer that has the model's parameters is stepped after these forward passes.

    An explainer or an attack trains something else through a model that was trained before.
    """
    stepped = {
        e.subject
        for loop in _innermost_stepping(root.block, trained)
        for e in fx.effects(loop)
        if e.kind == "step" and program.is_optimizer(e.subject)
    }
    for optimizer in stepped:
        reach = program.reach(optimizer, root)
        if model in reach.family if reach.complete else type(optimizer) is not Obj:
            return True
    return False


def _innermost_stepping(block: fx.Block, trained: set[Effect]) -> list[fx.Block]:
    """The smallest loop bodies that hold one of the forward passes and a step; the whole block if none does."""
    inner = []
    for loop in fx.loops(block):
        body = [node for each in loop.passes for node in each]
        seen = list(fx.effects(body))
        if any(e in trained for e in seen) and any(e.kind == "step" for e in seen):
            inner.append((len(seen), body))
    if not inner:
        return [block]
    smallest = []
    for forward in trained:
        holding = [(size, body) for size, body in inner if any(e is forward for e in fx.effects(body))]
        if holding:
            smallest.append(min(holding, key=lambda pair: pair[0])[1])
    return smallest


def _stays_in_eval(program: Program, root: Root, model: Obj, trained: set[Effect]) -> Iterator[tuple[Effect, Effect]]:
    family = program.family(model)

    def keep(effect: Effect) -> bool:
        if effect.kind == "forward":
            return effect in trained
        return effect.kind == "backward" or (effect.kind in ("mode", "escape", "made") and effect.subject in family)

    paths = program.paths(root.block, frozenset(("forward", "backward", "mode", "escape", "made")), keep)
    if paths is None:
        return
    wrong: set[tuple[Effect, Effect]] = set()
    right: set[tuple[Effect, Effect]] = set()
    behind: dict[Value, set[Value]] = {}
    for path in paths:
        switch: Effect | None = None
        restored = trained_before = False
        waiting: list[tuple[Effect, Effect, bool]] = []
        for effect in path:
            if effect.kind == "mode":
                flag = effect.inputs[0]
                if type(flag) is Const and flag.value is False:
                    switch, restored = effect, False
                else:
                    restored = True
            elif effect.kind == "forward":
                if switch is not None and trained_before:
                    waiting.append((effect, switch, restored))
                trained_before = trained_before or switch is None or restored
            elif effect.kind == "backward":
                if effect.subject not in behind:
                    behind[effect.subject] = set(program.differentiable(effect.subject))
                reached = behind[effect.subject]
                for forward, culprit, mended in waiting:
                    if not reached.isdisjoint(watching.flat(forward.result)):
                        (right if mended else wrong).add((forward, culprit))
                waiting.clear()
            else:
                switch = None
    # The same two on another path with a train() between them: the conditions may belong together.
    found = [pair for pair in wrong - right if not _only_differentiated(root.block, pair[0])]
    yield from sorted(found, key=lambda pair: pair[0].site)


def _only_differentiated(block: fx.Block, forward: Effect) -> bool:
    """Whether the pass is in a loop and no loop around it makes a step (a saliency map over a data set)."""
    around = [
        [e for body in node.passes for e in fx.effects(body)]
        for node in fx.loops(block)
        if any(e is forward for body in node.passes for e in fx.effects(body))
    ]
    return bool(around) and not any(e.kind in ("step", "escape") for seen in around for e in seen)


# ---------------------------------------------------------------------------- schedulers


def scheduler_before_optimizer(program: Program, scheduler: Obj, root: Root) -> Iterator[tuple[Effect, Effect]]:
    """A scheduler's step that comes before the first step of its optimizer on every path."""
    optimizer = scheduler.argument("optimizer")
    if type(optimizer) is not Obj or not program.is_optimizer(optimizer):
        return

    replayed = _replays(root, scheduler)

    def keep(effect: Effect) -> bool:
        if effect.kind == "step":
            return effect.subject in (scheduler, optimizer) and effect not in replayed
        return effect.kind == "escape" and effect.subject in (scheduler, optimizer)

    paths = program.paths(root.block, frozenset(("step", "escape")), keep)
    if not paths:
        return
    found: tuple[Effect, Effect] | None = None
    for path in paths:
        first = next((e for e in path), None)
        step = next((e for e in path if e.kind == "step" and e.subject is optimizer), None)
        if step is None:
            continue
        if first is None or first.kind != "step" or first.subject is not scheduler:
            return
        found = (first, step)
    if found is not None:
        yield found


def _replays(root: Root, scheduler: Obj) -> set[Effect]:
    """Steps of a scheduler in loops that do nothing else: a resumed run catches up with the epochs that it has had."""
    found: set[Effect] = set()
    for loop in fx.loops(root.block):
        seen = [e for body in loop.passes for e in fx.effects(body) if e.kind in ("step", "forward", "backward")]
        if all(e.subject is scheduler for e in seen):
            found.update(seen)
    return found


def epoch_schedule_per_batch(program: Program, scheduler: Obj, root: Root) -> Iterator[tuple[Effect, LoopNode]]:
    """An epoch schedule that is stepped in the loop over the batches of a data loader, inside a loop over epochs."""
    if scheduler.cls not in training.EPOCH_SCHEDULERS:
        return
    for loop in program.loops:
        if loop.root is not root or not program.loaders(loop.node.iterable) or not loop.outer:
            continue
        if not program.counts_epochs(scheduler, loop.outer[-1]):
            continue
        optimizer = scheduler.argument("optimizer")
        here = program.own_effects(loop)
        if any(e.kind == "step" and e.subject is optimizer for e in here):
            for effect in here:
                if effect.kind == "step" and effect.subject is scheduler and not program.conditional(loop, effect):
                    yield effect, loop.node
                    return


def plateau_without_metric(program: Program, scheduler: Obj, root: Root) -> Iterator[tuple[Effect, str]]:
    """``ReduceLROnPlateau.step()`` with nothing, or with the epoch's number."""
    if scheduler.cls not in training.METRIC_SCHEDULERS:
        return
    for effect in root.effects:
        if effect.kind == "step" and effect.subject is scheduler:
            if not effect.inputs:
                yield effect, "nothing"
            elif type(effect.inputs[0]) is Data and effect.inputs[0].op == "index":
                yield effect, "the epoch number"


def schedulers_never_stepped(program: Program) -> Iterator[tuple[Obj, Effect]]:
    """Schedulers that nobody steps and nobody else got hold of, whose optimizer is stepped."""
    stepped = {v for e, _ in program.effects("step") for v in alternatives(e.subject)}
    escaped = {e.subject for e, _ in program.effects("escape")}
    for scheduler in program.objects:
        optimizer = scheduler.argument("optimizer")
        if not program.is_scheduler(scheduler) or scheduler in stepped or scheduler in escaped:
            continue
        if type(optimizer) is not Obj or program.leaves(scheduler):
            continue
        if program.is_stepped_by_name(scheduler):
            continue
        if any(type(v) is Obj and program.is_scheduler(v) and v.argument("optimizer") is optimizer for v in stepped):
            continue
        step = next((e for e, _ in program.effects("step") if e.subject is optimizer), None)
        if step is not None:
            yield scheduler, step
