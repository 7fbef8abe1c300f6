"""Activations: what comes out of each layer, and which of its units never say anything."""

from __future__ import annotations

from array import array
from typing import Any

import torch
from torch import nn

from ..run import Module
from ..watch import Watch

MEASURED_ELEMENTS = 1 << 17
"""Of a larger output the first samples are measured, about so many numbers."""
MAX_LOOKS = 1000
_WITH_UNITS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_RAW = (*_WITH_UNITS, nn.RNNBase)
"""Layers that take numbers as they come; normalisations and embeddings do not."""
_SHAPES_ONLY = (nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout2d)


class Activations:
    """Statistics of the outputs of layers in the passes that are looked at closely."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._alive: dict[int, torch.Tensor] = {}
        """Units of a layer's input that were seen to be something else than zero."""
        self._whole: set[int] = set()
        """Layers of which the first samples say something that only holds if all samples say it."""
        self._last_with_weights: Module | None = None
        self._first = True
        """No layer has changed the input of the pass yet."""

    def begin(self) -> None:
        """A pass begins."""
        self._last_with_weights = None
        self._first = True

    def measure(self, module: nn.Module, thing: Module, args: Any, output: Any) -> None:
        """Look at one call of a layer without children."""
        with torch.no_grad():
            if type(output) is torch.Tensor and output.is_floating_point() and output.numel():
                self._statistics(thing, output.detach())
            if self._first and not isinstance(module, _SHAPES_ONLY):
                self._first = False
                given = args[0] if args and isinstance(module, _RAW) else None
                if type(given) is torch.Tensor and given.is_floating_point() and given.numel() > 1:
                    self._statistics(thing, given.detach(), "input")
            if isinstance(module, _WITH_UNITS):
                if args and thing.looks < MAX_LOOKS and type(args[0]) is torch.Tensor and args[0].dim() > 1:
                    self._units(module, thing, args[0].detach())
                self._last_with_weights = thing

    def _statistics(self, thing: Module, x: torch.Tensor, name: str = "activation") -> None:
        """Root mean square, mean, smallest and largest number, and the root mean square of what differs by sample."""
        watch, step = self._watch, self._watch.steps
        part = x if thing.key in self._whole else _first_samples(x)
        low, high = torch.aminmax(part)
        size, sampled = part.numel(), part is not x

        def keep(values: list[float]) -> None:
            norm, total, least, most, spread = values
            if sampled and name == "activation" and (most <= 0 or least == most):
                self._whole.add(thing.key)
                return
            row = array("f", (norm / size**0.5, total / size, least, most, spread / size**0.5))
            watch.record.add(name, thing.key, (thing.key,), step, row)

        apart = part - part.mean(0, keepdim=True) if part.dim() > 1 and len(part) > 1 else part
        watch.numbers.later(
            (torch.linalg.vector_norm(part), part.sum(), low, high, torch.linalg.vector_norm(apart)), keep
        )

    def _units(self, module: nn.Module, thing: Module, x: torch.Tensor) -> None:
        """Which units of its input are never anything but zero."""
        feeder = self._last_with_weights
        thing.feeder = None if feeder is None else feeder.key
        thing.looks += 1
        if thing.units and not thing.dead_units:
            return  # all have been alive once
        axis = -1 if isinstance(module, nn.Linear) else 1
        alive = (x != 0).movedim(axis, -1).reshape(-1, x.shape[axis]).any(0)
        before = self._alive.get(thing.key)
        alive = alive if before is None or before.shape != alive.shape else before | alive
        self._alive[thing.key] = alive
        size = alive.numel()

        def keep(values: list[float]) -> None:
            thing.units, thing.dead_units = size, size - round(values[0])
            self._watch.record.touch(thing)

        self._watch.numbers.later((alive.sum().to(torch.float32),), keep)


def _first_samples(x: torch.Tensor) -> torch.Tensor:
    """As many entries along the first axis as hold about :data:`MEASURED_ELEMENTS` numbers; a view."""
    if x.numel() <= MEASURED_ELEMENTS or x.dim() < 2:
        return x
    count = max(1, MEASURED_ELEMENTS * x.shape[0] // x.numel())
    return x[:count] if count < x.shape[0] else x
