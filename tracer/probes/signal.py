"""Does the input reach the output, and does the first loss look like a guess?"""

from __future__ import annotations

import math
from typing import Any

import torch

from ..results import Blind, Chance
from .replay import Randomness, Skip, tensors_in
from .scene import Change, LossCall, Scene, calm, mapped

LEFT, CAME_IN = 1e-6, 1e-3
"""Relative difference that counts as none, and that counts as one."""


def ignored(scene: Scene) -> None:
    """The first layer that gives the same for the batch and for random numbers of its mean and deviation."""
    scene.model.eval()
    generator = torch.Generator().manual_seed(0)
    _wake(scene, generator)
    if not any(_is_random(t) for t in tensors_in([scene.args, scene.kwargs])):
        raise Skip("no-tensor-input")
    random = mapped([scene.args, scene.kwargs], lambda t: _random(t, generator))
    state = Randomness.now()
    real, again = _outputs(scene, state, scene.args, scene.kwargs), _outputs(scene, state, scene.args, scene.kwargs)
    if any(_difference(a, b) for a, b in zip(real["", 0], again["", 0], strict=True)):
        raise Skip("not-deterministic")
    try:
        made = _outputs(scene, state, *random)
    except Exception as error:  # indices, lengths, adjacency: not every number can be any number
        raise Skip("random-input-fails", f"{type(error).__name__}: {error}"[:200]) from None
    if not real["", 0] or _most(real["", 0], made["", 0]) > LEFT:
        return
    _send_first(scene, real, made)


def _send_first(scene: Scene, real: Outputs, made: Outputs) -> None:
    """The first layer behind the last one that could still tell the two apart."""
    last, difference, first = "", 1.0, ""
    for (name, call), outputs in real.items():
        other = made.get((name, call))
        if not name or other is None:
            continue
        left = _most(outputs, other)
        if left > CAME_IN:
            last, difference, first = name, left, ""
        elif last and not first:
            first = name
    name = first or last or scene.name
    scene.send(Blind(0, scene.module_lines(name), name, difference, _most(real["", 0], made["", 0])))


def _wake(scene: Scene, generator: torch.Generator) -> None:
    """Layers that begin with zeros on purpose (the last one of a block, gates) let nothing through before a step."""
    for layer in scene.parameters.values():
        if layer.dim() > 1 and layer.is_floating_point() and not bool(layer.any()):
            layer.data.copy_(0.02 * torch.randn(layer.shape, generator=generator))


def _random(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random numbers like these; of masks and scalars nothing is changed."""
    x = tensor.detach()
    if not _is_random(x):
        return x
    if x.is_floating_point():
        noise = torch.randn(x.shape, generator=generator)
        return (x.float().mean() + (x.float().std() + 1e-3) * noise).to(x.dtype)
    return x.flatten()[torch.randperm(x.numel(), generator=generator)].view(x.shape)


def _is_random(tensor: torch.Tensor) -> bool:
    """Whether other numbers can stand in its place: not for masks, and not for lengths and offsets."""
    strided = tensor.layout is torch.strided and tensor.numel() > 1 and tensor.dtype is not torch.bool
    return strided and (tensor.is_floating_point() or tensor.dim() > 1)


Outputs = dict[tuple[str, int], list[torch.Tensor]]


def _outputs(scene: Scene, state: Randomness, args: Any, kwargs: Any) -> Outputs:
    """What every layer gave, by its name and the number of the call; of the model as ""."""
    found: Outputs = {}
    counts: dict[str, int] = {}
    handles = []
    for name, layer in scene.layers():
        if layer._modules:
            continue

        def note(module: Any, given: Any, output: Any, name: str = name) -> None:
            number = counts[name] = counts.get(name, -1) + 1
            found[name, number] = [t.detach().clone() for t in tensors_in(output)]

        handles.append(layer.register_forward_hook(note))
    state.restore()
    try:
        with torch.no_grad():
            found["", 0] = list(tensors_in(scene.forward(args, kwargs)))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _most(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    if len(one) != len(other):
        return math.inf
    return max((_difference(a, b) for a, b in zip(one, other, strict=True)), default=0.0)


def _difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """The norm of the difference by that of the first; infinite where they cannot be compared."""
    if a.shape != b.shape:
        return math.inf
    x, y = a.detach().double(), b.detach().double()
    if not bool(torch.isfinite(x).all() and torch.isfinite(y).all()):
        return math.inf
    return float(torch.linalg.vector_norm(x - y) / (torch.linalg.vector_norm(x) + 1e-30))


def chance(scene: Scene) -> None:
    """The first loss, that of labels exchanged between samples, and that of an empty input."""
    scene.needs_step.randomness.restore()
    with calm(scene.model):
        real = scene.evaluate()
        known = [use for use in real.losses if (guess := _guess(use)) is not None and guess > 0]
        if not known:
            raise Skip("no-known-loss")
        exchanged = scene.evaluate(change=Change(targets=_shifted))
        try:
            empty = scene.evaluate(change=Change(inputs=_emptied))
        except Exception as error:
            raise Skip("empty-input-fails", f"{type(error).__name__}: {error}") from None
    for index, use in enumerate(real.losses):
        guess = _guess(use)
        own = any(use.prediction is t for call in real.calls for t in tensors_in(call.output))
        if not own:
            continue  # compared with other samples on the way: alike ones need not be learned
        if guess and len(exchanged.losses) == len(empty.losses) == len(real.losses):
            values = [float(each.losses[index].result.detach()) for each in (real, exchanged, empty)]
            scene.send(Chance(0, use.line, use.name, guess, *values))


def _guess(use: LossCall) -> float | None:
    """The loss of a guess; None where it is not known."""
    if use.options.get("reduction", "mean") != "mean" or use.options.get("label_smoothing"):
        return None
    if any(use.options.get(name) is not None for name in ("weight", "pos_weight")) or use.result.numel() != 1:
        return None
    if use.name == "cross_entropy" and not use.target.is_floating_point() and use.prediction.dim() > 1:
        return math.log(use.prediction.shape[1])
    if use.kind == "binary" and bool(((use.target == 0) | (use.target == 1)).all()):
        return math.log(2)
    return None


def _shifted(target: torch.Tensor) -> torch.Tensor:
    """Every sample gets another one's target."""
    generator = torch.Generator().manual_seed(0)
    if target.dim() and target.shape[0] > 1:
        return target[torch.randperm(len(target), generator=generator)]
    return target


def _emptied(value: Any) -> Any:
    return mapped(value, lambda t: torch.zeros_like(t) if t.is_floating_point() else t)
