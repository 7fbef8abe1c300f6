"""Samples of a batch that reach each other, and views that exchange axes.

One sample is exchanged for another one, in evaluation mode: whatever moves in the outputs of the others is what they
know of it. The operation behind which that is so for the first time is found by comparing all results in between. No
gradients are needed, so token ids are no obstacle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ...rules.finding import Line
from ..evidence import PAIRWISE, VIEWS
from ..results import Mix
from .replay import Randomness, Skip, tensors_in
from .scene import Here, Scene, mapped, samples_axis

CHANGED = 1e-4
"""Relative change of a sample's numbers that rounding does not make."""
MAX_KEPT = 1 << 26
"""Numbers of intermediate results that are kept at most."""
_BY_DESIGN = frozenset("batch_norm instance_norm".split())
"""Normalisation over the batch."""


def crosstalk(scene: Scene) -> None:
    """Does one sample change the outputs of the others?"""
    size = scene.batch_size
    if size < 2:
        raise Skip("batch-too-small" if size else "no-sample-axis")
    model = scene.model.eval()
    given = [t for t in tensors_in([scene.args, scene.kwargs]) if t.dim()]
    if not given or any(samples_axis(t, size) is None for t in given):
        raise Skip("no-sample-axis")
    one, other = _two_samples(given, size)
    exchanged = mapped([scene.args, scene.kwargs], lambda t: _with(t, size, one, other))
    state = Randomness.now()

    def run(args: Any, kwargs: Any) -> list[torch.Tensor]:
        state.restore()
        with torch.no_grad():
            return [t.clone() for t in tensors_in(model(*args, **kwargs)) if t.dim()]

    before, again = run(scene.args, scene.kwargs), run(scene.args, scene.kwargs)
    if any(not torch.equal(a, b) for a, b in zip(before, again, strict=True)):
        raise Skip("not-deterministic")
    axes = [samples_axis(t, size) for t in before]
    if not before or any(axis is None for axis in axes):
        raise Skip("no-sample-axis")
    after = run(*exchanged)
    moved = max(_others(a, b, size, one) for a, b in zip(before, after, strict=True))
    if moved:
        _send_first(scene, lambda given: run(*given), exchanged, one, moved)


def _two_samples(given: list[torch.Tensor], size: int) -> tuple[int, int]:
    """Two samples whose inputs differ. Raises :class:`Skip` where all are equal."""
    for one, other in ((0, size - 1), (0, size // 2), (1, size - 1), (0, 1)):
        if any(not torch.equal(_row(t, size, one), _row(t, size, other)) for t in given):
            return one, other
    raise Skip("equal-samples")


def _row(tensor: torch.Tensor, size: int, sample: int) -> torch.Tensor:
    axis = samples_axis(tensor, size)
    assert axis is not None
    return tensor.select(axis, sample)


def _with(tensor: torch.Tensor, size: int, one: int, other: int) -> torch.Tensor:
    """The batch with one sample in the place of another."""
    if not tensor.dim():
        return tensor
    changed = tensor.detach().clone()
    _row(changed, size, one).copy_(_row(tensor.detach(), size, other))
    return changed


def _others(before: torch.Tensor, after: torch.Tensor, size: int, one: int) -> int:
    """How many of the other samples have changed; 0 where the axis of the samples is not known."""
    if before.shape != after.shape:
        return 0
    axis = samples_axis(before, size)
    if axis is not None:
        a, b = before.movedim(axis, 0).reshape(size, -1), after.movedim(axis, 0).reshape(size, -1)
    elif before.dim() and before.shape[0] and before.shape[0] % size == 0:
        a, b = before.reshape(size, -1), after.reshape(size, -1)  # (samples · steps, features)
    else:
        return 0
    if not a.shape[1]:
        return 0
    a, b = a.double(), b.double()
    scale = a.abs().amax() + 1e-12
    changed = ((a - b).abs().amax(1) / scale) > CHANGED
    changed[one] = False
    return int(changed.sum())


class _Results(TorchFunctionMode):
    """Keeps the result of every function, or compares it with the one kept at the same place before."""

    def __init__(self, here: Here) -> None:
        super().__init__()
        self.here = here
        self.kept: list[tuple[str, list[torch.Tensor]]] = []
        self.numbers = 0
        self.compare: Callable[[int, str, Any, list[torch.Tensor]], None] | None = None
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        outputs = [t for t in tensors_in(result) if t.is_floating_point()]
        if outputs and name != "__get__":
            if self.compare is None:
                self.numbers += sum(t.numel() for t in outputs)
                if self.numbers > MAX_KEPT:
                    raise Skip("memory")
                self.kept.append((name, [t.detach().clone() for t in outputs]))
            else:
                self.compare(self.count, name, args, outputs)
                self.count += 1
        return result


class _Stop(Exception):
    """The operation is found."""


def _send_first(scene: Scene, run: Callable[[Any], Any], exchanged: Any, one: int, moved: int) -> None:
    """Find the first operation behind which other samples have changed."""
    size = scene.batch_size
    stack = _Running(scene)
    with _Results(scene.here) as results:
        run([scene.args, scene.kwargs])
        kept, found = results.kept, []

        def compare(place: int, name: str, args: Any, outputs: list[torch.Tensor]) -> None:
            if place >= len(kept) or kept[place][0] != name:
                raise _Stop  # another way through the model
            for before, after in zip(kept[place][1], outputs, strict=False):
                if _others(before, after.detach(), size, one):
                    inputs = [t for t in tensors_in(args) if t.is_floating_point()]
                    found.append((name, scene.here(), stack.innermost, inputs, after))
                    raise _Stop

        results.compare = compare
        try:
            with stack:
                run(exchanged)
        except _Stop:
            pass
    if not found:
        return
    name, line, module, inputs, after = found[0]
    if name in _BY_DESIGN or any(list(t.shape).count(size) > 1 for t in inputs):
        return  # tables of all pairs of samples: graphs, similarities within the batch
    first = list(inputs[0].shape) if inputs else []
    scene.send(Mix(0, name, line, module, first, list(after.shape), size, moved, scene.sure))


class _Running:
    """Knows the innermost module that is running."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._stack: list[str] = []
        self._handles: list[Any] = []

    @property
    def innermost(self) -> str:
        return self._stack[-1] if self._stack else ""

    def __enter__(self) -> _Running:
        for name, layer in self._scene.layers():

            def enter(module: Any, args: Any, name: str = name) -> None:
                self._stack.append(name)

            def leave(module: Any, args: Any, output: Any) -> None:
                self._stack.pop()

            self._handles += [layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()


class _Views(TorchFunctionMode):
    """Notes the views that give the axes of a tensor another order without moving a number."""

    def __init__(self, scene: Scene, stack: _Running) -> None:
        super().__init__()
        self._scene = scene
        self._stack = stack
        self.found: dict[Line | None, Mix] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in PAIRWISE and (shapes := _table_of_all_pairs(args, result)) is not None:
            line = self._scene.here()
            size = self._scene.batch_size
            self.found.setdefault(line, Mix(0, name, line, self._stack.innermost, *shapes, size))
        if name in VIEWS and isinstance(result, torch.Tensor) and args and isinstance(args[0], torch.Tensor):
            before, after = list(args[0].shape), list(result.shape)
            if exchanges(before, after):
                line = self._scene.here()
                mix = Mix(0, name, line, self._stack.innermost, before, after, self._scene.batch_size)
                self.found.setdefault(line, mix)
        return result


def _table_of_all_pairs(args: Any, result: Any) -> tuple[list[int], list[int]] | None:
    """The shape of a column ``(n, 1)`` and of the table that a vector ``(n,)`` makes of it; None for others."""
    shapes = sorted(list(t.shape) for t in args[:2] if isinstance(t, torch.Tensor))
    if len(shapes) != 2 or not isinstance(result, torch.Tensor):
        return None
    vector, column = shapes
    n = vector[0] if len(vector) == 1 else 0
    return (column, list(result.shape)) if n > 1 and column == [n, 1] else None


def exchanges(before: list[int], after: list[int]) -> bool:
    """Whether an axis is still there after a view, at a place where it no longer walks the same numbers.

    In row-major order an axis keeps its meaning if as many numbers lie before it as did. Only sizes that occur once
    tell axes apart: (batch, steps, features) to (batch, heads, steps, width) has moved the steps.
    """
    once = [size for size in set(before) & set(after) if size > 1 and before.count(size) == after.count(size) == 1]
    return any(math.prod(before[: before.index(s)]) != math.prod(after[: after.index(s)]) for s in once)


def exchanged_axes(scene: Scene) -> list[Mix]:
    """Views in the model that exchange axes."""
    with torch.no_grad(), _Running(scene) as stack, _Views(scene, stack) as views:
        scene.forward()
    return list(views.found.values())
