"""Numbers on their way from the device: collected all step long, fetched together, handed on when they are there.

On the CPU that is at once; on an accelerator they are copied without waiting and read a step later, so
that the tracer never makes the script wait for the device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch

Callback = Callable[[list[float]], None]

MAX_WAITING = 4096
"""Numbers collected before they are fetched although no step has ended (long evaluations)."""


class Numbers:
    """Collects tensors of one element each."""

    def __init__(self) -> None:
        self._tensors: list[torch.Tensor] = []
        self._callbacks: list[tuple[int, Callback]] = []
        self._on_the_way: deque[tuple[Any, list[tuple[Any, list[int]]], list[tuple[int, Callback]]]] = deque()

    def later(self, tensors: Sequence[torch.Tensor], callback: Callback) -> None:
        """Call ``callback`` with the values (floats) once they are known, in the order asked."""
        self._tensors.extend(tensors)
        self._callbacks.append((len(tensors), callback))

    @property
    def full(self) -> bool:
        """Whether it is time to fetch."""
        return len(self._tensors) > MAX_WAITING

    def fetch(self, wait: bool = False) -> None:
        """Send for what was collected, and hand on what has arrived; with ``wait``, all of it."""
        if self._tensors:
            self._send()
        while self._on_the_way:
            event, parts, callbacks = self._on_the_way[0]
            if event is not None and not event.query():
                if not wait:
                    return
                event.synchronize()
            self._on_the_way.popleft()
            _deliver(parts, callbacks)

    def _send(self) -> None:
        tensors, self._tensors = self._tensors, []
        callbacks, self._callbacks = self._callbacks, []
        groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
        for index, tensor in enumerate(tensors):
            groups.setdefault((tensor.device, tensor.dtype), []).append(index)
        event = None
        parts: list[tuple[Any, list[int]]] = []
        with torch.no_grad():
            for (device, _), indices in groups.items():
                together = torch.stack(
                    [t if t.dim() == 0 else t.reshape(()) for t in map(tensors.__getitem__, indices)]
                )
                if device.type == "cuda":
                    together = together.to(torch.float32)
                    host = torch.empty(together.shape, dtype=torch.float32, pin_memory=True, device="cpu")
                    together = host.copy_(together, non_blocking=True)
                    event = torch.cuda.Event()
                    event.record(torch.cuda.current_stream(device))
                parts.append((together, indices))
        if event is None:
            _deliver(parts, callbacks)
        else:
            self._on_the_way.append((event, parts, callbacks))


def _deliver(parts: list[tuple[Any, list[int]]], callbacks: list[tuple[int, Callback]]) -> None:
    if len(parts) == 1:
        values: list[float] = parts[0][0].tolist()
    else:
        values = [0.0] * sum(len(indices) for _, indices in parts)
        for tensor, indices in parts:
            for index, value in zip(indices, tensor.tolist(), strict=True):
                values[index] = value
    start = 0
    for count, callback in callbacks:
        callback(values[start : start + count])
        start += count
