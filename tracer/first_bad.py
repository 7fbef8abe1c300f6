"""A dispatch mode that stops at the first operation that makes a non-finite number out of finite ones."""

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
