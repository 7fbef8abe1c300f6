"""Shapes: what flows through the model from operation to operation, and batches of other sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)
from torch.nn.modules.batchnorm import _BatchNorm

from ...rules.finding import Line
from ..results import Axis, Layer, Resize
from .mixing import exchanged_axes
from .replay import Skip, tensors_in
from .scene import Scene, mapped, samples_axis

MAX_ROWS = 400
PRIMES = (2, 11, 13, 17, 19)
DIVISORS = (1, 2, 4, 8, 16, 32)


def shapes(scene: Scene) -> None:
    """The table of shapes: of every operation where torch.fx can trace the model, else of every module."""
    model = scene.model.eval()
    rows = _traced(scene, model) or _called(scene, model)
    for row in rows[:MAX_ROWS]:
        scene.send(row)
    for mix in exchanged_axes(scene):
        scene.send(mix)
    for axis in free_axes(scene):
        scene.send(axis)


def _traced(scene: Scene, model: nn.Module) -> list[Layer]:
    """Node by node; nothing where the model cannot be traced, or not be run that way."""
    tracer = fx.Tracer()
    tracer.record_stack_traces = True
    try:
        graph = tracer.trace(model)
        table = _Table(fx.GraphModule(model, graph), scene)
        with torch.no_grad():
            table.run(*scene.args, *(scene.kwargs[n.target] for n in graph.nodes if n.target in scene.kwargs))
    except Exception:  # control flow that depends on data, arguments that are no tensors ...: any code may run here
        return []
    return table.rows


class _Table(fx.Interpreter):
    """Notes the shapes at every node (as ``torch.fx.passes.shape_prop`` does, without keeping the graph)."""

    def __init__(self, module: fx.GraphModule, scene: Scene) -> None:
        super().__init__(module)
        self._scene = scene
        self._modules = dict(module.named_modules())
        self.rows: list[Layer] = []

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.op not in ("call_module", "call_function", "call_method"):
            return result
        name = f"{self._scene.name}.{n.target}" if n.op == "call_module" else ""
        operation = type(self._modules[str(n.target)]).__name__ if name else _function_name(n.target)
        given = [self.env[a] for a in n.all_input_nodes if a in self.env]
        if any(True for _ in tensors_in(result)):
            self.rows.append(
                Layer(0, name, operation, _user_line(n.stack_trace), shape_text(given), shape_text(result))
            )
        return result


def _function_name(target: Any) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def _user_line(trace: str | None) -> Line | None:
    """The innermost line of a node's stack that is not torch's own."""
    found = None
    for text in (trace or "").splitlines():
        parts = text.strip().split('"')
        if len(parts) == 3 and parts[0] == "File " and "/torch/" not in parts[1].replace("\\", "/"):
            row, _, function = parts[2].removeprefix(", line ").partition(", in ")
            found = Line(parts[1], int(row), function)
    return found


def _called(scene: Scene, model: nn.Module) -> list[Layer]:
    """Module by module, as they are called."""
    rows: list[Layer] = []
    handles = []
    for name, layer in scene.layers():
        if layer is model or layer._modules:
            continue

        def note(layer: nn.Module, args: Any, output: Any, name: str = name) -> None:
            rows.append(Layer(0, name, type(layer).__name__, scene.here(), shape_text(list(args)), shape_text(output)))

        handles.append(layer.register_forward_hook(note))
    try:
        with torch.no_grad():
            scene.forward()
    finally:
        for handle in handles:
            handle.remove()
    return rows


def shape_text(value: Any) -> str:
    """``8×3×32×32, 8×10``."""
    return ", ".join("×".join(map(str, t.shape)) or "scalar" for t in tensors_in(value))


def free_axes(scene: Scene) -> Iterator[Axis]:
    """For every further axis of the inputs: does the model take other sizes, or multiples of something only?

    Fake tensors compute shapes without numbers, so large sizes cost nothing; where control flow needs numbers, zeros
    flow instead. The sizes tried are a prime each (times a divisor, as pooling and patches ask for), so that no axis is
    taken for another one.
    """
    for place, tensor in enumerate(scene.args):
        if not isinstance(tensor, torch.Tensor) or not 2 <= tensor.dim() <= 5:
            continue
        for axis in range(1, tensor.dim()):
            if axis == 1 and tensor.dim() > 3:
                continue  # channels
            yield _free_axis(scene, place, axis)


def _free_axis(scene: Scene, place: int, axis: int) -> Axis:
    tensor = scene.args[place]
    found = Axis(0, None, place, axis, tensor.shape[axis])
    for divisor in DIVISORS:
        shape = list(tensor.shape)
        shape[axis] = divisor * PRIMES[axis] * max(1, tensor.shape[axis] // (divisor * PRIMES[axis]))
        if shape[axis] == tensor.shape[axis]:
            shape[axis] += divisor
        args = list(scene.args)
        args[place] = tensor.new_zeros(shape)
        try:
            _run_faked(scene, args)
        except Exception as error:
            if not found.message:
                found.message, found.line = _first_line(error), _last_line(error, scene)
        else:
            found.divisor = divisor
            break
    return found


def _run_faked(scene: Scene, args: list[Any]) -> None:
    with torch.no_grad():
        try:
            with FakeTensorMode(allow_non_fake_inputs=True) as mode:
                faked = [mode.from_tensor(a) if isinstance(a, torch.Tensor) else a for a in args]
                scene.forward(faked)
        except (DataDependentOutputException, DynamicOutputShapeException, UnsupportedFakeTensorException):
            scene.forward(args)


def sizes(scene: Scene) -> None:
    """The model with fewer samples: as many as the loader's last batch has, all but one, and one."""
    full = scene.batch_size
    given = [t for t in tensors_in([scene.args, scene.kwargs]) if t.dim()]
    if not given or any(samples_axis(t, full) is None for t in given):
        raise Skip("no-sample-axis")
    if full < 3:
        raise Skip("batch-too-small")
    with torch.no_grad():
        before = scene.forward()
        for samples in dict.fromkeys((scene.last_batch, full - 1, 1)):
            if not 0 < samples < full or (samples == 1 and scene.last_batch != 1 and _needs_several(scene)):
                continue
            args, kwargs = mapped([scene.args, scene.kwargs], lambda t: _fewer(t, full, samples))  # noqa: B023
            message, line = "", None
            try:
                output = scene.forward(args, kwargs)
            except Exception as error:
                message, line = _first_line(error), _last_line(error, scene)
            else:
                message = _kept_size(before, output, full, samples)
            if message:
                line = line or scene.module_lines(scene.name)
                scene.send(Resize(0, line, scene.name, samples, full, message, samples == scene.last_batch))
                return


def _fewer(tensor: torch.Tensor, full: int, samples: int) -> torch.Tensor:
    axis = samples_axis(tensor, full) if tensor.dim() else None
    return tensor if axis is None else tensor.narrow(axis, 0, samples)


def _needs_several(scene: Scene) -> bool:
    """Batch normalisation rightly refuses one sample."""
    return any(isinstance(layer, _BatchNorm) and layer.training for _, layer in scene.layers())


def _kept_size(before: Any, after: Any, full: int, samples: int) -> str:
    """What is wrong with the outputs of fewer samples: they are as many as ever, or have lost the axis."""
    for one, other in zip(tensors_in(before), tensors_in(after), strict=False):
        axis = samples_axis(one, full)
        if axis is None:
            continue
        if one.shape == other.shape:
            return f"the output has {full} rows all the same"
        if other.dim() < one.dim():
            return f"the output has lost an axis: {shape_text(other)} instead of {samples} rows"
    return ""


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:300]


def _last_line(error: Exception, scene: Scene) -> Line | None:
    """The innermost line of the user's in its traceback."""
    trace, found = error.__traceback__, None
    while trace is not None:
        line = scene.line_of(trace.tb_frame, trace.tb_lineno)
        found = line or found
        trace = trace.tb_next
    return found
