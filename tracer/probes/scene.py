"""What experiments work on: the model, its inputs, the step that gives the loss, and listeners for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode

from ...rules.finding import Line
from ..recorders.gradients import leaves_of
from ..thing import Thing
from .replay import Skip, Step, tensors_in

Here = Callable[[], Line | None]
KNOWN = {
    "cross_entropy": "classes",
    "nll_loss": "classes",
    "binary_cross_entropy": "binary",
    "binary_cross_entropy_with_logits": "binary",
    "mse_loss": "numbers",
    "l1_loss": "numbers",
    "smooth_l1_loss": "numbers",
    "huber_loss": "numbers",
}
"""Losses that are zero at the target, by the kind of their targets."""


@dataclass
class Call:
    """One call of the model."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any = None


@dataclass
class LossCall:
    """One evaluation of a known loss. ``kind`` is that of its targets."""

    name: str
    kind: str
    prediction: torch.Tensor
    target: torch.Tensor
    options: dict[str, Any]
    result: torch.Tensor
    line: Line | None

    @property
    def ignored(self) -> int:
        """The class that does not count."""
        return int(self.options.get("ignore_index", -100))


@dataclass
class Evaluation:
    """The loss of one evaluation, and what was heard on the way to it."""

    loss: torch.Tensor
    calls: list[Call]
    losses: list[LossCall]


@dataclass
class Scene:
    """A training at its first step, in a child that owns it.

    ``step`` gives the loss again, or is the reason why it cannot be had. ``batch_size`` is the number of samples, 0 if
    not known; ``sure`` says that a loader has made the batch. ``last_batch`` is the size of the loader's last
    batch where that is a smaller one, else 0.
    """

    model: nn.Module
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    loss: torch.Tensor | None
    step: Step | Skip
    here: Here
    optimizers: Sequence[torch.optim.Optimizer] = ()
    batch_size: int = 0
    sure: bool = False
    last_batch: int = 0
    iterator: Any = None
    """The iterator over the ``DataLoader`` that gave the batch."""
    send: Callable[[Thing], None] = lambda thing: None
    lines: Callable[[FrameType, int], Line | None] = lambda frame, row: None
    code_line: Callable[[Any], Line | None] = lambda function: None
    """Where a function of the user's begins; None for others."""
    module_lines: Callable[[str], Line | None] = lambda name: None
    """Where a layer was made, by its name."""
    others: Sequence[tuple[str, nn.Module]] = ()
    """Further outermost modules that ran on the way to the loss."""
    seconds: float = 10.0
    """How long an experiment that trains may take."""
    names: dict[int, str] = field(default_factory=dict)
    parameters: dict[int, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.add(self.others)

    def add(self, others: Sequence[tuple[str, nn.Module]]) -> None:
        """Take in further modules."""
        self.others = others
        for name, module in ((self.name, self.model), *others):
            for path, parameter in module.named_parameters():
                self.names.setdefault(id(parameter), f"{name}.{path}")
                self.parameters[id(parameter)] = parameter

    def line_of(self, frame: FrameType, row: int) -> Line | None:
        """A frame's line where it is the user's."""
        return self.lines(frame, row)

    @property
    def needs_step(self) -> Step:
        """The step. Raises :class:`Skip` where there is none."""
        if isinstance(self.step, Skip):
            raise self.step
        return self.step

    def layers(self) -> Iterator[tuple[str, nn.Module]]:
        """Every module, by the name that users write."""
        for name, module in ((self.name, self.model), *self.others):
            for path, layer in module.named_modules():
                yield f"{name}.{path}" if path else name, layer

    def forward(self, args: Any = None, kwargs: Any = None) -> Any:
        """Call the model, on its own inputs where no others are given."""
        return self.model(*(self.args if args is None else args), **(self.kwargs if kwargs is None else kwargs))

    def evaluate(self, names: dict[str, Any] | None = None, change: Change | None = None) -> Evaluation:
        """The script's loss, with what the model and known losses were given. ``change`` edits these on the way."""
        step = self.needs_step
        calls: list[Call] = []

        def before(module: nn.Module, args: Any, kwargs: Any) -> Any:
            if change is not None and change.inputs is not None:
                args, kwargs = change.inputs(args), change.inputs(kwargs)
            calls.append(Call(args, kwargs))
            return args, kwargs

        def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            calls[-1].output = output

        listener = Losses(self.here, None if change is None else change.targets)
        with ExitStack() as stack:
            stack.callback(self.model.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(self.model.register_forward_hook(after, with_kwargs=True).remove)
            stack.enter_context(listener)
            loss = step.loss(names)
        return Evaluation(loss, calls, listener.heard)

    def trained(self, loss: torch.Tensor) -> list[torch.Tensor]:
        """The tensors that a gradient of this loss reaches."""
        return leaves_of(loss)[0] or []


@dataclass
class Change:
    """Edits inputs of the model, or targets of known losses."""

    inputs: Callable[[Any], Any] | None = None
    targets: Callable[[torch.Tensor], torch.Tensor] | None = None


class Losses(TorchFunctionMode):
    """Hears every evaluation of a known loss."""

    def __init__(self, here: Here, targets: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        super().__init__()
        self._here = here
        self._targets = targets
        self.heard: list[LossCall] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = KNOWN.get(getattr(func, "__name__", ""))
        if kind is None:
            return func(*args, **kwargs)
        given = list(args)
        prediction = given.pop(0) if given else kwargs["input"]
        target = given.pop(0) if given else kwargs["target"]
        options = {k: v for k, v in kwargs.items() if k not in ("input", "target")}
        if self._targets is not None:
            target = self._targets(target)
        result = func(prediction, target, *given, **options)
        self.heard.append(LossCall(func.__name__, kind, prediction, target, options, result, self._here()))
        return result


class Calm(TorchFunctionMode):
    """No dropout: functional dropout hands its input on, and attention drops nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in DROPOUTS:
            return args[0] if args else kwargs["input"]
        if "dropout_p" in kwargs:
            kwargs["dropout_p"] = 0.0
        return func(*args, **kwargs)


DROPOUTS = frozenset("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout dropout_".split())


@contextmanager
def calm(model: nn.Module) -> Iterator[None]:
    """The model as it trains, but with every dropout off."""
    for layer in model.modules():
        if isinstance(layer, _DropoutNd):
            layer.p = 0.0
        elif isinstance(layer, nn.RNNBase | nn.MultiheadAttention):
            layer.dropout = 0.0
    with Calm():
        yield


def samples_axis(tensor: torch.Tensor, batch_size: int) -> int | None:
    """The axis along which the samples lie: the only one of that size."""
    axes = [axis for axis, size in enumerate(tensor.shape) if size == batch_size]
    return axes[0] if len(axes) == 1 else None


def picked(value: Any, batch_size: int, index: torch.Tensor) -> Any:
    """The value with only these samples, in this order, in every tensor whose first axis holds the batch."""
    if isinstance(value, torch.Tensor):
        if value.dim() and value.shape[0] == batch_size and type(value) is torch.Tensor and value.is_leaf:
            return value.detach()[index.to(value.device)].requires_grad_(value.requires_grad)
        return value
    if type(value) in (list, tuple):
        if len(value) == batch_size and not any(True for _ in tensors_in(value)) and type(value) is list:
            return [value[i] for i in index.tolist()]
        return type(value)(picked(v, batch_size, index) for v in value)
    if type(value) is dict:
        return {k: picked(v, batch_size, index) for k, v in value.items()}
    return value


def mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The value with every tensor replaced."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)(mapped(v, change) for v in value)
    if type(value) is dict:
        return {k: mapped(v, change) for k, v in value.items()}
    return value
