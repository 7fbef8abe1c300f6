"""The first number that is not finite: which operation made it, on which line, from what.

No per-step scan. When a loss is not finite, inside ``backward`` and before any step, the forward pass is run
again on a copy of its surroundings (buffers, random generators and modes restored) under a dispatch mode that looks at
every operation. What the pass did not do is between the model and the loss: there the live graph still
holds the inputs of the operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .first_bad import FirstBad, Found
from .quiet import quiet
from .recorders.modules import Call, ModuleRecorder
from .rerun import first_bad
from .run import Backward, NonFinite
from .watch import Watch

MAX_NODES = 20_000


class Origin:
    """Finds where the first bad number of a run comes from; once."""

    def __init__(self, watch: Watch, modules: ModuleRecorder) -> None:
        self._watch = watch
        self._modules = modules
        self._done = False

    def examine(self, loss: torch.Tensor, place: Backward) -> None:
        """A loss is not finite, its graph still alive: find the operation."""
        if self._done:
            return
        self._done = True
        watch = self._watch
        found = watch.record.new(NonFinite, loss_line=place.line, step=watch.steps)
        try:
            with quiet():
                self._find(loss, found)
        except Exception as error:
            found.detail = f"the search ended early ({type(error).__name__}: {error})"
        watch.record.touch(found)

    def _find(self, loss: torch.Tensor, found: NonFinite) -> None:
        bad = self._bad_weights()
        if bad is not None:
            found.where, found.detail = "weights", bad
            return
        for call in self._modules.calls:
            module = call.module()
            if module is None:
                continue
            if _any_bad((call.args, call.kwargs)):
                if call.from_script:
                    found.where, found.line = "input", call.line
                    return
                break  # what came between two modules made it
            if self._replay(module, call, found):
                found.where = "forward"
                return
        self._walk(loss, found)
        rerun = first_bad(self._watch, found.loss_line)
        if rerun is not None:
            found.operation, found.line, found.low, found.high, found.count, found.size = rerun

    def _bad_weights(self) -> str | None:
        """A step may have written the bad number into the weights: the loss is then only where it shows."""
        for module, root in self._modules.roots():
            for name, p in module.named_parameters():
                if p.is_floating_point() and not bool(torch.isfinite(p.detach()).all()):
                    return f"{root.name}.{name}"
        return None

    def _replay(self, module: torch.nn.Module, call: Call, found: NonFinite) -> bool:
        watch = self._watch
        buffers = [(b, b.detach().clone()) for b in module.buffers()]
        watch.in_backward = True  # the hooks look away
        mode = FirstBad(lambda: watch.here(2))
        if call.rng is not None:
            torch.set_rng_state(call.rng)
        try:
            with _without_hooks(module), mode:
                module(*call.args, **call.kwargs)
        except Found:
            pass
        finally:
            for buffer, value in buffers:
                buffer.data.copy_(value)
        if mode.operation:
            found.operation, found.line = mode.operation, mode.line
            found.low, found.high, found.count, found.size = mode.low, mode.high, mode.count, mode.size
        return bool(mode.operation)

    def _walk(self, loss: torch.Tensor, found: NonFinite) -> None:
        """The saved tensors of the live graph name the operation behind the model."""
        queue = [loss.grad_fn] if loss.grad_fn is not None else []
        seen = set(queue)
        found.where, found.line = "loss", found.loss_line
        while queue:
            node = queue.pop(0)
            if node is None or len(seen) > MAX_NODES:
                break
            saved = _saved(node)
            inputs = [t for name, t in saved.items() if "result" not in name]
            if inputs and all(bool(torch.isfinite(t).all()) for t in inputs):
                low, high = (float(v) for v in torch.aminmax(inputs[0].detach().float()))
                found.operation = node.name().removesuffix("0").removesuffix("Backward")
                found.low, found.high = low, high
                return
            for inner, _ in node.next_functions:
                if inner is not None and inner not in seen:
                    seen.add(inner)
                    queue.append(inner)


def _saved(node: Any) -> dict[str, torch.Tensor]:
    found = {}
    for name in dir(node):
        if name.startswith("_saved_"):
            try:
                value = getattr(node, name)
            except RuntimeError:
                continue
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel():
                found[name] = value
    return found


def _any_bad(value: Any, depth: int = 0) -> bool:
    if isinstance(value, torch.Tensor):
        return value.is_floating_point() and not bool(torch.isfinite(value).all())
    if depth < 4 and isinstance(value, dict):
        return any(_any_bad(v, depth + 1) for v in value.values())
    return depth < 4 and isinstance(value, list | tuple) and any(_any_bad(v, depth + 1) for v in value)


@contextmanager
def _without_hooks(module: torch.nn.Module) -> Iterator[None]:
    """Without the script's own hooks: they may count or print."""
    held = []
    for layer in module.modules():
        for name in ("_forward_hooks", "_forward_pre_hooks"):
            hooks = layer.__dict__.get(name)
            if hooks and not hasattr(layer, "parametrizations") and "weight_norm" not in repr(hooks):
                held.append((layer, name, hooks))
                layer.__dict__[name] = type(hooks)()
    try:
        yield
    finally:
        for layer, name, hooks in held:
            layer.__dict__[name] = hooks
