"""Optimizers: whose parameters, when gradients are cleared, clipped and used, how far the weights move."""

from __future__ import annotations

import functools
import math
import time
import weakref
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grad
from torch.optim import lr_scheduler
from torch.optim.optimizer import (
    Optimizer as TorchOptimizer,
)
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from ...rules.finding import Line
from ..quiet import blind
from ..run import Backward, Clip, Optimizer, Scheduler
from ..watch import Recorder, Watch
from .modules import ModuleRecorder

MANY_STEPS = 500
"""So long every step is asked which parameters have a gradient; later only those that are read anyway."""
MAX_OPTIMIZERS = 512
"""Past it an optimizer is only counted: the script makes new ones all the time."""
MAX_PENDING = 8
"""Backward passes of one cycle at which left-over gradients are looked for."""
CLIPS = {"clip_grad_norm_": ("parameters", "max_norm", "norm_type"), "clip_grad_value_": ("parameters", "clip_value")}
"""Functions that clip, with the names of their first arguments."""
NAN = float("nan")
_is_compiling = torch.compiler.is_dynamo_compiling


class State:
    """One optimizer between its steps."""

    def __init__(self, thing: Optimizer) -> None:
        self.thing = thing
        self.parameters: list[torch.Tensor] = []
        self.keys: tuple[int, ...] = ()
        self.index: dict[int, int] = {}
        self.sizes: list[int] = []
        self.suspect = False
        """It has stepped, and its gradients were not seen cleared since."""
        self.leftovers: list[torch.Tensor] = []
        self.had: torch.Tensor | None = None
        self.backwards = 0
        self.examined = False
        self.passes = 0
        """Backward passes of the whole run up to its last step."""
        self.before: list[torch.Tensor] = []
        self.moving: list[int] = []
        self.last_time = 0.0
        self.never: set[int] = set()
        """Parameters that no step so far found a gradient for."""
        self.emptied_at: Line | None = None


class OptimizerRecorder(Recorder):
    """Global hooks on every optimizer's step, patches of clipping, schedulers and the scaler."""

    def __init__(self, watch: Watch, modules: ModuleRecorder) -> None:
        super().__init__(watch)
        self._modules = modules
        self._states: dict[int, tuple[weakref.ref[Any], State]] = {}
        self._depth = 0
        self.examining = 0
        """Optimizers whose cycle under way is examined."""
        self._clips: dict[Any, Clip] = {}
        self._clipped: dict[int, tuple[Clip, frozenset[int]]] = {}
        self._waiting: dict[int, tuple[Clip, State, int]] = {}
        """Idle clips, the optimizers they concern, and how many backward passes there were."""
        self._schedulers: dict[int, tuple[weakref.ref[Any], Scheduler]] = {}
        self._rates: tuple[float, ...] = ()
        self._latest: Backward | None = None

    def attach(self) -> None:
        """Register the step hooks and place the patches."""
        self._undo.append(register_optimizer_step_pre_hook(self._before_step).remove)
        self._undo.append(register_optimizer_step_post_hook(self._after_step).remove)
        self.patch(TorchOptimizer, "__init__", self._initialised)
        self.patch(TorchOptimizer, "zero_grad", self._clearing)
        self.patch(nn.Module, "zero_grad", self._clearing)
        for owner in (torch.nn.utils, clip_grad):
            for name in CLIPS:
                self.patch(owner, name, functools.partial(self._clipping, name))
        self.patch(torch.amp.GradScaler, "step", self._scaled)
        for cls in dict.fromkeys(v for v in vars(lr_scheduler).values() if isinstance(v, type)):
            if issubclass(cls, lr_scheduler.LRScheduler):
                if "__init__" in cls.__dict__:
                    self.patch(cls, "__init__", self._scheduler_made)
                if "step" in cls.__dict__:
                    self.patch(cls, "step", self._scheduled)

    # ------------------------------------------------------------------ construction

    def _initialised(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def __init__(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            if self.on:
                try:
                    state = self._state(optimizer)
                    if state.thing.line is None:
                        state.thing.line = self._made_at(optimizer)
                except Exception as error:
                    self.watch.fail(self, error)

        return __init__

    def _made_at(self, optimizer: Any) -> Any:
        """Where the script made it: not inside the constructor of a class of its own."""
        frame = self.watch.sites.frame(3)
        while frame is not None and frame.f_code.co_name == "__init__" and frame.f_locals.get("self") is optimizer:
            frame = frame.f_back
        return None if frame is None else self.watch.sites.line(frame)

    def _state(self, optimizer: Any) -> State:
        found = self._states.get(id(optimizer))
        if found is not None and found[0]() is optimizer:
            state = found[1]
        else:
            if self.watch.record.full(Optimizer, MAX_OPTIMIZERS):
                state = State(self.watch.run.optimizers[-1])
                state.sizes = [len(group["params"]) for group in optimizer.param_groups]
            else:
                state = State(self.watch.record.new(Optimizer, class_name=type(optimizer).__name__))
            self._states[id(optimizer)] = (weakref.ref(optimizer, self._gone(id(optimizer))), state)
        sizes = [len(group["params"]) for group in optimizer.param_groups]
        if sizes != state.sizes:
            self._learn(state, optimizer, sizes)
        return state

    def alive(self) -> list[Any]:
        """Every optimizer that is still there."""
        return [optimizer for reference, _ in self._states.values() if (optimizer := reference()) is not None]

    def _gone(self, key: int) -> Callable[[Any], None]:
        """The optimizer is no more: neither should its parameters be kept."""

        def forget(reference: Any) -> None:
            found = self._states.get(key)
            if found is not None and found[0] is reference:
                self.examining -= found[1].examined
                del self._states[key]

        return forget

    def _learn(self, state: State, optimizer: Any, sizes: list[int]) -> None:
        state.sizes = sizes
        state.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        things = [self._modules.parameter(p) for p in state.parameters]
        state.keys = tuple(thing.key for thing in things)
        state.index = {id(p): i for i, p in enumerate(state.parameters)}
        state.never = {i for i, thing in enumerate(things) if not thing.with_gradient}
        state.thing.parameters = list(state.keys)
        for thing in things:
            if state.thing.key not in thing.optimizers:
                thing.optimizers.append(state.thing.key)
                self.watch.record.touch(thing)
        self.watch.record.touch(state.thing)

    # ------------------------------------------------------------------ left-over gradients

    def _alive(self) -> list[State]:
        return [state for reference, state in self._states.values() if reference() is not None]

    def before_backward(self, place: Backward) -> None:
        """Gradients that are still there after a step will be added to."""
        for state in self._alive() if self.examining else ():
            if not state.suspect or not state.examined:
                continue
            left = [p.grad for p in state.parameters if p.grad is not None and p.grad.layout is torch.strided]
            if not left:
                state.suspect = False
                continue
            if len(state.leftovers) < MAX_PENDING:
                with torch.no_grad():
                    norm = _largest(left)
                if norm.device.type == "cpu" and norm.item() == 0:
                    state.suspect = False
                    state.leftovers.clear()
                    continue
                state.leftovers.append(norm)
                if state.thing.uncleared_line is None or len(state.leftovers) == 1:
                    state.thing.uncleared_line = place.line

    def after_backward(self, place: Backward) -> None:
        """What a backward pass has left for each optimizer."""
        self._latest = place
        for state in self._alive() if self.examining else ():
            if not state.examined:
                continue
            gradients = [p.grad for p in state.parameters if p.grad is not None and p.grad.layout is torch.strided]
            if gradients:
                state.backwards += 1
                with torch.no_grad():
                    state.had = _largest(gradients)

    def _clearing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Only where: whether gradients are there is looked at in the steps."""

        @functools.wraps(original)
        def zero_grad(owner: Any, *args: Any, **kwargs: Any) -> Any:
            if self.watch.moment is not None and self.on:
                try:
                    self.watch.moment("clear")
                except Exception as error:
                    self.watch.fail(self, error)
            if self.examining and self.on and not _is_compiling():
                try:
                    self._note_clearing(owner)
                except Exception as error:
                    self.watch.fail(self, error)
            return original(owner, *args, **kwargs)

        return zero_grad

    def _note_clearing(self, owner: Any) -> None:
        for state in self._alive():
            if not state.backwards or not state.parameters:
                continue
            if isinstance(owner, nn.Module):
                concerned = any(p is state.parameters[0] for p in owner.parameters())
            else:
                found = self._states.get(id(owner))
                concerned = found is not None and found[1] is state
            if concerned:
                state.emptied_at = self.watch.here(3)

    # ------------------------------------------------------------------ steps

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if _is_compiling() or not self.on or blind():
            return
        self._depth += 1
        began = time.perf_counter()
        try:
            self._modules.reset()
            state = self._state(optimizer)
            closure = bool(len(args) > 1 or kwargs) and any(callable(a) for a in (*args[1:], *kwargs.values()))
            self._before(state, closure)
        except Exception as error:
            self.watch.fail(self, error)
        if self.watch.light:
            self.watch.spend(began)

    def _before(self, state: State, closure: bool) -> None:
        watch, thing = self.watch, state.thing
        if thing.step_line is None:
            thing.step_line = watch.here(4)
        thing.steps += 1
        watch.record.touch(thing)
        if self._waiting:
            self._follow(state)
        state.passes = watch.backwards
        if self._latest is not None:
            self._latest.steps += 1
            if thing.key not in self._latest.optimizers:
                self._latest.optimizers.append(thing.key)
            watch.record.touch(self._latest)
        if closure:
            self._examine(state, False)
            return
        for p in state.parameters:
            if p.grad is not None:
                break
        else:
            thing.without_gradient += 1
        if not (watch.light or state.examined or (state.never and thing.steps < MANY_STEPS)):
            return
        gradients: list[torch.Tensor] = []
        where: list[int] = []
        for i, p in enumerate(state.parameters):
            g = p.grad
            if type(g) is torch.Tensor and g.layout is torch.strided:
                gradients.append(g)
                where.append(i)
        if watch.close:
            self._count(state)
        if state.never and gradients:
            self._first_gradients(state, where)
        with torch.no_grad():
            norms = torch._foreach_norm(gradients) if gradients else []
            limits = self._limits(state, where) if self._clipped else []
            self._cycle(state, norms)
            if watch.close and gradients:
                state.moving = where
                state.before = [state.parameters[i].detach().clone() for i in where]
        if norms:
            self._keep_norms(state, where, norms, limits)

    def _count(self, state: State) -> None:
        record = self.watch.record
        for key, p in zip(state.keys, state.parameters, strict=True):
            parameter = self.watch.run.things["parameter"][key]
            parameter.steps += 1
            parameter.trainable = p.requires_grad
            if not p.requires_grad:
                if not parameter.frozen_steps:
                    self._modules.compare_with_initialisation(parameter, p)
                parameter.frozen_steps += 1
            parameter.with_gradient += p.grad is not None
            if not parameter.with_gradient and p.requires_grad:
                self._modules.compare_with_before(parameter, p)
            record.touch(parameter)

    def _first_gradients(self, state: State, where: list[int]) -> None:
        """Also between close looks: a gradient that was ever there is not forgotten."""
        for i in state.never.intersection(where):
            parameter = self.watch.run.things["parameter"][state.keys[i]]
            parameter.with_gradient = max(parameter.with_gradient, 1)
            self.watch.record.touch(parameter)
        state.never.difference_update(where)

    def _keep_norms(self, state: State, where: list[int], norms: Any, limits: list[tuple[Clip, list[int]]]) -> None:
        watch, close = self.watch, self.watch.close
        step, keys = watch.steps, state.keys

        def keep(values: list[float]) -> None:
            row = array("f", (NAN,)) * len(keys)
            parameters = watch.run.things["parameter"]
            for i, value in zip(where, values, strict=False):
                row[i] = value
                if close:
                    parameters[keys[i]].looked += 1
                    parameters[keys[i]].nonzero += value != 0
            watch.record.add("gradient", state.thing.key, keys, step, row)
            for clip, indices in limits:
                _judge_clip(clip, math.sqrt(sum(values[n] ** 2 for n in indices)))
                watch.record.touch(clip)

        watch.numbers.later(norms, keep)

    def _limits(self, state: State, where: list[int]) -> list[tuple[Clip, list[int]]]:
        """The clips since the last step that concern these gradients, each with the gradients that it limits."""
        found: list[tuple[Clip, list[int]]] = []
        for clip, ids in list(self._clipped.values()):
            indices = [n for n, i in enumerate(where) if id(state.parameters[i]) in ids]
            if not indices or (len(indices) < len(ids) and len(indices) < len(where)):
                continue
            del self._clipped[clip.key]
            clip.steps += 1
            if clip.function == "clip_grad_value_":
                continue
            found.append((clip, indices))
        return found

    def _cycle(self, state: State, norms: Any) -> None:
        """One cycle ends: were its gradients cleared at the right time?"""
        thing, watch = state.thing, self.watch
        if state.examined and thing.steps > 1:
            thing.cycles += 1
            if state.suspect and state.leftovers and norms:
                least = functools.reduce(torch.minimum, state.leftovers)

                def keep(values: list[float]) -> None:
                    thing.uncleared += values[0] != 0  # NaN was not cleared either
                    watch.record.touch(thing)

                watch.numbers.later((least,), keep)
            if state.backwards and state.had is not None:
                now = functools.reduce(torch.maximum, norms) if norms else torch.zeros_like(state.had)
                emptied_at = state.emptied_at

                def keep_zeroed(values: list[float]) -> None:
                    if values[0] != 0 and values[1] == 0:
                        thing.zeroed += 1
                        thing.cleared_line = emptied_at or thing.cleared_line
                    watch.record.touch(thing)

                watch.numbers.later((state.had, now.to(state.had.dtype)), keep_zeroed)
        state.leftovers = []
        state.had = None
        state.backwards = 0
        state.emptied_at = None
        state.suspect = True
        self._examine(state, watch.close or thing.steps <= MAX_PENDING)

    def _examine(self, state: State, examined: bool) -> None:
        if examined != state.examined:
            state.examined = examined
            self.examining += 1 if examined else -1

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if _is_compiling() or not self.on or blind():
            return
        watch = self.watch
        began = time.perf_counter()
        self._depth = max(0, self._depth - 1)
        try:
            state = self._states[id(optimizer)][1]
            if state.before:
                self._moved(state)
            if self._depth == 0:
                if watch.light:
                    self._rates_now(state, optimizer)
                    if state.last_time:
                        watch.record.add("time", 0, (0,), watch.steps, array("f", (began - state.last_time,)))
                state.last_time = began
        except Exception as error:
            watch.fail(self, error)
        if self._depth == 0:
            try:
                watch.numbers.fetch()
            except Exception as error:
                watch.fail(self, error)
        if watch.light:
            watch.spend(began)
        if self._depth == 0:
            watch.step_done()

    def _moved(self, state: State) -> None:
        """How far the step moved the weights."""
        watch = self.watch
        parameters = [state.parameters[i].detach() for i in state.moving]
        before, state.before = state.before, []
        with torch.no_grad():
            torch._foreach_sub_(before, parameters)
            updates = torch._foreach_norm(before)
            weights = torch._foreach_norm(parameters)
        del before
        step, where, keys = watch.steps, state.moving, state.keys

        def keep(values: list[float]) -> None:
            count = len(where)
            update, weight = array("f", (NAN,)) * len(keys), array("f", (NAN,)) * len(keys)
            things = watch.run.things["parameter"]
            for n, i in enumerate(where):
                update[i], weight[i] = values[n], values[count + n]
                things[keys[i]].checked += 1
                things[keys[i]].moved += values[n] != 0
            watch.record.add("update", state.thing.key, keys, step, update)
            watch.record.add("weight", state.thing.key, keys, step, weight)

        watch.numbers.later([*updates, *weights], keep)

    def _rates_now(self, state: State, optimizer: Any) -> None:
        rates = [group["lr"] for group in optimizer.param_groups if isinstance(group.get("lr"), int | float)]
        if rates and rates != state.thing.rates:
            state.thing.rates = rates
            row = array("f", rates)
            self.watch.record.add("rate", state.thing.key, range(len(rates)), self.watch.steps, row)

    # ------------------------------------------------------------------ clipping, scaling, scheduling

    def _clipping(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def clip(*args: Any, **kwargs: Any) -> Any:
            if _is_compiling() or not self.on or blind():
                return original(*args, **kwargs)
            given = dict(zip(CLIPS[name], args, strict=False), **kwargs)
            parameters, limit = given.get("parameters"), given.get(CLIPS[name][1])
            if isinstance(parameters, Iterator):  # to be gone through once: by both of us
                parameters = list(parameters)
                args, kwargs = (parameters, *args[1:]), {k: v for k, v in kwargs.items() if k != "parameters"}
            if parameters is not None and isinstance(limit, int | float | torch.Tensor):
                try:
                    self._clip(name, parameters, float(limit), given.get("norm_type", 2.0))
                except Exception as error:
                    self.watch.fail(self, error)
            return original(*args, **kwargs)

        return clip

    def _clip(self, name: str, parameters: Any, limit: float, norm_type: Any) -> None:
        line = self.watch.here(3)
        clip = self._clips.get(line)
        tensors = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
        if clip is None:
            clip = self._clips[line] = self.watch.record.new(Clip, line=line, function=name)
        clip.limit = limit
        clip.calls += 1
        if not any(p.grad is not None for p in tensors):
            clip.without_gradient += 1
        owner = next((s for s in self._alive() if tensors and id(tensors[0]) in s.index), None)
        if owner is not None and owner.passes == self.watch.backwards and math.isfinite(limit):
            clip.idle += 1
            self._waiting[clip.key] = (clip, owner, self.watch.backwards)
        if name == "clip_grad_norm_" and float(norm_type) == 2.0 and math.isfinite(clip.limit):
            self._clipped[clip.key] = (clip, frozenset(map(id, tensors)))
        self.watch.record.touch(clip)

    def _follow(self, state: State) -> None:
        """The gradients of this step: do they come from a backward pass after the clip?"""
        for key, (clip, owner, passes) in list(self._waiting.items()):
            if owner is state:
                del self._waiting[key]
                clip.followed += self.watch.backwards > passes
                self.watch.record.touch(clip)

    def _still_scaled(self, scaler: Any, optimizer: Any, state: State) -> None:
        """Gradients that were clipped while they were multiplied by the scale."""
        if not self._clipped or not scaler.is_enabled():
            return
        stage = scaler._per_optimizer_states[id(optimizer)]["stage"]
        if getattr(stage, "name", "") != "READY":
            return
        for clip, ids in self._clipped.values():
            if clip.scaled < MAX_PENDING and ids.intersection(state.index) and scaler.get_scale() > 1:
                clip.scaled += 1
                self.watch.record.touch(clip)

    def _scaled(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def step(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.on:
                return original(scaler, optimizer, *args, **kwargs)
            state = self._state(optimizer)
            before = state.thing.steps
            try:
                self._still_scaled(scaler, optimizer, state)
            except Exception as error:
                self.watch.fail(self, error)
            result = original(scaler, optimizer, *args, **kwargs)
            if state.thing.steps == before:
                state.thing.skipped += 1
                state.suspect = False
            return result

        return step

    def _scheduler_made(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def __init__(scheduler: Any, *args: Any, **kwargs: Any) -> None:
            thing = None
            if self.on and id(scheduler) not in self._schedulers:
                try:
                    thing = self.watch.record.new(
                        Scheduler, line=self.watch.here(2), class_name=type(scheduler).__name__
                    )
                    self._schedulers[id(scheduler)] = (weakref.ref(scheduler), thing)
                except Exception as error:
                    self.watch.fail(self, error)
            original(scheduler, *args, **kwargs)
            if thing is not None:
                thing.steps, thing.before, thing.step_line = 0, 0, None  # a scheduler steps once when it is made

        return __init__

    def _scheduled(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def step(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            found = self._schedulers.get(id(scheduler))
            if self.on and found is not None and found[0]() is scheduler:
                try:
                    found[1].steps += 1
                    state = self._state(held) if (held := getattr(scheduler, "optimizer", None)) is not None else None
                    if state is not None:
                        found[1].optimizer = state.thing.key
                        found[1].before += not state.thing.steps
                    if found[1].step_line is None:
                        found[1].step_line = self.watch.here(2)
                    self.watch.record.touch(found[1])
                except Exception as error:
                    self.watch.fail(self, error)
            return original(scheduler, *args, **kwargs)

        return step


def _largest(gradients: list[torch.Tensor]) -> torch.Tensor:
    """The largest of the tensors' norms, as a tensor of one number."""
    norms = torch._foreach_norm([g for g in gradients if type(g) is torch.Tensor] or gradients)
    return torch.stack([n.to(torch.float32) for n in norms]).amax()


def _judge_clip(clip: Clip, norm: float) -> None:
    clip.largest = max(clip.largest, norm) if math.isfinite(norm) else clip.largest
    clip.exceeded += math.isfinite(norm) and norm > clip.limit * 1.05 + 1e-6
