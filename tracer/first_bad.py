"""Dispatch modes that stop at an operation: the first to make a non-finite number, or a table of all pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ..rules.finding import Line


class Found(Exception):
    """The operation was found; the rest of the pass need not run."""


class FirstBad(TorchDispatchMode):
    """Stops at the first operation that makes a non-finite number out of finite ones."""

    def __init__(self, here: Callable[[], Line | None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._here = here
        self.operation = ""
        self.line: Line | None = None
        self.low: float | None = None
        self.high: float | None = None
        self.count = self.size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        outputs = _floats(result if isinstance(result, tuple | list) else (result,))
        if any(not bool(torch.isfinite(t).all()) for t in outputs):
            inputs = _floats(args)
            if all(bool(torch.isfinite(t).all()) for t in inputs) and not _allocates(func):
                bad = next(t for t in outputs if not bool(torch.isfinite(t).all()))
                self.operation = str(func).removeprefix("aten.").partition(".")[0].strip("_")
                self.line = self._here()
                self.count, self.size = int((~torch.isfinite(bad)).sum()), bad.numel()
                if inputs:
                    low, high = torch.aminmax(_telling(self.operation, inputs).detach().float())
                    self.low, self.high = float(low), float(high)
                raise Found
        return result

    def answer(self) -> list[Any]:
        """What it found, as JSON takes it."""
        return [self.operation, list(self.line or ()), self.low, self.high, self.count, self.size]


class AllPairs(TorchDispatchMode):
    """Stops where a column `(N, 1)` and a vector `(N,)`, one of them with a graph, become a square table."""

    def __init__(self, here: Callable[[], Line | None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._here = here
        self.operation = ""
        self.line: Line | None = None
        self._shapes: list[list[int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        operation = str(func).removeprefix("aten.").partition(".")[0]
        if operation in ("sub", "rsub", "mul"):
            tensors = [t for t in args[:2] if isinstance(t, torch.Tensor)]
            shapes = [list(t.shape) for t in tensors]
            n = max((shape[0] for shape in shapes if shape), default=0)
            if n > 1 and sorted(shapes) == [[n], [n, 1]] and sum(t.requires_grad for t in tensors) == 1:
                self.operation, self.line, self._shapes = operation.removeprefix("r"), self._here(), shapes
                raise Found
        return result

    def answer(self) -> list[Any]:
        """What it found, as JSON takes it."""
        return [self.operation, list(self.line or ()), self._shapes]


def _telling(operation: str, inputs: list[torch.Tensor]) -> torch.Tensor:
    """The argument that explains the result: what is divided by, else the one with the largest numbers."""
    if "div" in operation:
        return inputs[-1]
    return max(inputs, key=lambda t: float(t.detach().abs().amax()))


def _allocates(func: Any) -> bool:
    """Memory that nobody has written yet may hold anything; masks are filled with -inf on purpose."""
    name = str(func)
    return any(word in name for word in ("empty", "full", "masked_fill", "where", "new_", "scalar_tensor", "lift"))


def _floats(values: Any) -> list[torch.Tensor]:
    return [v for v in values if isinstance(v, torch.Tensor) and v.is_floating_point() and v.numel()]
