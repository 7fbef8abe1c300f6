"""From what the recorders know to what experiments work on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import torch
from torch import nn

from ...rules.finding import Line
from ..quiet import quiet
from ..recorders.gradients import leaves_of
from ..recorders.modules import Call, ModuleRecorder
from ..recorders.optimizers import OptimizerRecorder
from ..watch import Watch
from .replay import Buffers, Randomness, Skip, Stack, Step, find, tensors_in
from .scene import Scene, mapped, samples_axis

NO_MODEL = Skip("no-model")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Stage:
    """Knows model, inputs and optimizers of the step under way."""

    def __init__(self, watch: Watch, modules: ModuleRecorder, optimizers: OptimizerRecorder) -> None:
        self._watch = watch
        self._modules = modules
        self._optimizers = optimizers

    def scene(
        self,
        loss: torch.Tensor,
        stack: Stack,
        states: Sequence[Randomness],
        buffers: Buffers,
        frames: Sequence[FrameType],
        seconds: float,
    ) -> Scene:
        """In the child, which owns all of it: the training as it stands."""
        calls = self._calls()
        step: Step | Skip
        try:
            step = find(stack, states, buffers, [(m, call.args, call.kwargs) for m, call in calls], frames, loss)
        except Skip as skip:
            step = skip
        chosen = self._chosen(calls, loss)
        if chosen is None:
            return _nothing()
        others = {id(m): (self._name(m), m) for m, _ in calls if m is not chosen[0] and _is_trained(m)}
        scene = self._around(*chosen, seconds)
        scene.loss, scene.step = loss, step
        scene.optimizers = self._optimizers.alive()
        scene.add(list(others.values()))
        return scene

    def copied(self, loss: torch.Tensor) -> Callable[[float], Scene]:
        """On an accelerator, which a forked child cannot use: the model and its inputs, copied to the CPU before.

        The script's hooks stay with the original. The loss cannot be evaluated there.
        """
        chosen = self._chosen(self._calls(), loss)
        if chosen is None:
            return lambda seconds: _nothing()
        model, call = chosen
        try:
            with quiet():
                made = _on_host(model)
                args, kwargs = mapped([call.args, call.kwargs], lambda t: t.detach().cpu())
        except Exception as error:  # some models cannot be copied
            failed = Skip("accelerator", f"no copy could be made: {type(error).__name__}: {error}")
            return lambda seconds: _nothing(failed)

        def scene(seconds: float) -> Scene:
            found = self._around(model, call, seconds)
            found.model, found.args, found.kwargs, found.step = made, tuple(args), kwargs, Skip("accelerator")
            return found

        return scene

    def _calls(self) -> list[tuple[nn.Module, Call]]:
        return [(m, call) for call in self._modules.calls if (m := call.module()) is not None]

    def _chosen(self, calls: Sequence[tuple[nn.Module, Call]], loss: torch.Tensor) -> tuple[nn.Module, Call] | None:
        """The module of which the loss reaches most, with its call."""
        trained = [(m, call) for m, call in calls if _is_trained(m)]
        reached = {id(t) for t in leaves_of(loss)[0] or []}
        return max(trained, key=lambda each: sum(id(p) in reached for p in each[0].parameters()), default=None)

    def _around(self, model: nn.Module, call: Call, seconds: float) -> Scene:
        size, sure, last = self._samples(call)
        sites = self._watch.sites
        return Scene(
            model,
            self._name(model),
            call.args,
            call.kwargs,
            None,
            NO_MODEL,
            lambda: sites.here(3),
            batch_size=size,
            sure=sure,
            last_batch=last,
            lines=sites.user_line,
            code_line=sites.function_line,
            module_lines=self._made_at,
            seconds=seconds,
            iterator=self._watch.readings[-1].iterator() if self._watch.readings else None,
        )

    def _name(self, module: nn.Module) -> str:
        found = (root.name for other, root in self._modules.roots() if other is module)
        return next(found, type(module).__name__)

    def _made_at(self, name: str) -> Line | None:
        return next((module.line for module in self._watch.run.modules if module.name == name), None)

    def _samples(self, call: Call) -> tuple[int, bool, int]:
        """The number of samples, whether a loader says so, and the size of its last batch where that is smaller."""
        tensors = [t for t in tensors_in([call.args, call.kwargs]) if t.dim()]
        loader = self._watch.readings[-1].loader if self._watch.readings else None
        size = loader.batch_size or 0 if loader is not None else 0
        if loader is not None and size > 1 and tensors and all(samples_axis(t, size) is not None for t in tensors):
            last = 0
            if loader.samples and loader.batches_per_epoch and loader.samples % size:
                last = loader.samples % size if loader.batches_per_epoch * size > loader.samples else 0
            return size, True, last
        return (tensors[0].shape[0], False, 0) if tensors else (0, False, 0)


def _is_trained(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters())


def _nothing(why: Skip = NO_MODEL) -> Scene:
    return Scene(nn.Identity(), "?", (), {}, None, why, lambda: None)


def _on_host(model: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers lie on the CPU; nothing more is ever held on the accelerator."""
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach().cpu(), p.requires_grad) for p in model.parameters()}
    memo |= {id(b): b.detach().cpu() for b in model.buffers()}
    held = []
    for layer in model.modules():
        for name in _HOOKS:
            hooks = layer.__dict__.get(name)
            if hooks:
                held.append((layer, name, hooks))
                layer.__dict__[name] = type(hooks)()
    try:
        return copy.deepcopy(model, memo)
    finally:
        for layer, name, hooks in held:
            layer.__dict__[name] = hooks
