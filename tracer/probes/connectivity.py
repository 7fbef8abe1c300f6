"""Which parameters the loss reaches, and at which operation the path to the others ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ...rules.finding import Line
from ..recorders.gradients import leaves_of
from ..results import Cut
from .replay import tensors_in
from .scene import Here, Scene

ENDS = frozenset(
    """detach detach_ item tolist numpy argmax argmin long int bool round sign floor ceil eq ne gt lt ge le""".split()
)
"""Operations that a gradient does not pass; others end a path only where gradients are switched off."""
MAX_CUTS = 16


def connectivity(scene: Scene) -> None:
    """Parameters in an optimizer that the loss does not reach, each with the operation that is at fault."""
    live = scene.loss if scene.loss is not None else scene.needs_step.original()
    reached = {id(t) for t in scene.trained(live)}
    held = {id(p) for optimizer in scene.optimizers for group in optimizer.param_groups for p in group["params"]}
    missing = {
        key: scene.names[key]
        for key, p in scene.parameters.items()
        if p.requires_grad and key not in reached and (key in held or not scene.optimizers)
    }
    if not missing:
        return
    step = scene.needs_step
    ran: set[str] = set()
    handles = [
        layer.register_forward_hook(lambda module, args, output, name=name: ran.add(name))
        for name, layer in scene.layers()
    ]
    step.randomness.restore()
    with _Paths(scene.here, missing) as paths:
        step.loss()
    for handle in handles:
        handle.remove()
    explained: set[int] = set()
    for (operation, line), parameters in list(paths.ends.items())[:MAX_CUTS]:
        new = parameters - explained
        if new:
            explained |= new
            _send(scene, missing, new, operation, line)
    rest = set(missing) - explained
    idle = {key for key in rest if key not in paths.used and missing[key].rpartition(".")[0] not in ran}
    _send(scene, missing, idle, "unused", None)
    _send(scene, missing, rest - idle, "", None)


def _send(scene: Scene, missing: dict[int, str], keys: set[int], operation: str, line: Line | None) -> None:
    if keys:
        names = sorted(missing[key] for key in keys)
        scene.send(Cut(0, line, operation, names, sum(scene.parameters[key].numel() for key in keys)))


class _Paths(TorchFunctionMode):
    """Notes the operations whose inputs depend on a parameter, and whose results no longer do."""

    def __init__(self, here: Here, wanted: dict[int, str]) -> None:
        super().__init__()
        self._here = here
        self._wanted = wanted
        self.used: set[int] = set()
        self.ends: dict[tuple[str, Line | None], set[int]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [t for t in tensors_in([args, kwargs or {}]) if t.requires_grad]
        result = func(*args, **(kwargs or {}))
        if given:
            self._note(func, given, result)
        return result

    def _note(self, func: Callable[..., Any], given: list[torch.Tensor], result: Any) -> None:
        name = _name(func)
        behind = {id(leaf) for t in given for leaf in (leaves_of(t)[0] or [t]) if id(leaf) in self._wanted}
        behind |= {id(t) for t in given if t.is_leaf and id(t) in self._wanted}
        if not behind:
            return
        self.used |= behind
        outputs = list(tensors_in(result))
        if any(t.requires_grad for t in outputs):
            return
        if name not in ENDS and (torch.is_grad_enabled() or not outputs):
            return
        operation = name if name in ENDS else "no_grad"
        self.ends.setdefault((operation, self._here()), set()).update(behind)


def _name(func: Callable[..., Any]) -> str:
    name = getattr(func, "__name__", "")
    if name == "__get__":
        owner = getattr(func, "__self__", None)
        return "detach" if getattr(owner, "__name__", "") == "data" else ""
    return name
