"""Trains the copy that the child owns: ways to do it, how a training went, and the way back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch

from .known import known_losses
from .replay import Skip
from .scene import Evaluation, Scene

RATES = (1e-2, 1e-3, 0.1, 1e-4)
FITTED = 0.1
"""Share of the constant's loss at which a training ends: the samples are known by heart."""
MAX_STEPS = 2000
PATIENCE = 120
"""Steps without a new best loss, by a hundredth, after which it has settled."""
OVERFLOWS = 8
"""First steps that may overflow in half precision."""

Tensors = list[torch.Tensor]
Maker = Callable[[Tensors], torch.optim.Optimizer]


class Way(NamedTuple):
    """An optimizer to train with; ``own`` is the script's."""

    name: str
    rate: float
    make: Maker
    own: bool = False


ADAMS = tuple(Way("Adam", rate, partial(torch.optim.Adam, lr=rate)) for rate in RATES)


@dataclass
class Course:
    """How a training went."""

    first: float = math.inf
    best: float = math.inf
    steps: int = 0
    settled: bool = False
    last: Evaluation | None = field(default=None, repr=False)


class Weights:
    """Everything that training moves, as it was at first."""

    def __init__(self, scene: Scene) -> None:
        modules = [scene.model, *(module for _, module in scene.others)]
        tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
        self._held = [(t, t.detach().clone()) for t in tensors]

    def restore(self) -> None:
        """Set it back."""
        for tensor, value in self._held:
            tensor.data.copy_(value)
            tensor.grad = None


def own_optimizer(scene: Scene) -> torch.optim.Optimizer | None:
    """The script's optimizer of what is trained, where it is one of torch's and steps without a closure."""
    for optimizer in scene.optimizers:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        usual = type(optimizer).__module__.startswith("torch.optim") and type(optimizer).__name__ != "LBFGS"
        if held & scene.parameters.keys() and usual:
            return optimizer
    return None


def rate_of(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate of its first group."""
    return float(optimizer.param_groups[0]["lr"])


def anew(own: torch.optim.Optimizer, rate: float, tensors: Tensors) -> torch.optim.Optimizer:
    """An optimizer with its settings and no state, at a rate; rates of its groups keep their ratios."""
    first = rate_of(own)
    groups = [{k: v for k, v in group.items() if k != "initial_lr"} for group in own.param_groups]
    for group in groups:
        group["lr"] = float(group["lr"]) * rate / first if first else rate
    make: Any = type(own)
    return make(groups)  # type: ignore[no-any-return]


def ways(scene: Scene) -> list[Way]:
    """The script's own, then Adam at rates that differ by powers of ten."""
    own = own_optimizer(scene)
    if own is None:
        return list(ADAMS)
    rate = rate_of(own)
    return [Way(type(own).__name__, rate, partial(anew, own, rate), own=True), *ADAMS]


def trainable(scene: Scene, loss: torch.Tensor) -> Tensors:
    """What a gradient of the loss reaches. Raises :class:`Skip` where that is nothing."""
    found = [t for t in scene.trained(loss) if t.is_floating_point()]
    if not found:
        raise Skip("nothing-trainable")
    return found


def attempts(
    scene: Scene, tried: Sequence[Way], measure: Callable[[], Evaluation], goal: float, begun: Weights, seconds: float
) -> Iterator[tuple[Way, Course]]:
    """Train in each way, from the same weights, until one reaches the goal; they share the time."""
    until = time.monotonic() + seconds
    for index, way in enumerate(tried):
        begun.restore()
        optimizer = way.make(trainable(scene, measure().loss))
        course = train(optimizer, measure, goal, (until - time.monotonic()) / (len(tried) - index))
        yield way, course
        if course.best <= goal:
            return


def train(optimizer: torch.optim.Optimizer, measure: Callable[[], Evaluation], goal: float, seconds: float) -> Course:
    """Step after step until the known losses reach the goal, nothing gets better, or the time is over."""
    course = Course()
    until = time.monotonic() + seconds
    bettered, mark, factor = 0, math.inf, 1.0
    for step in range(MAX_STEPS):
        evaluation = measure()
        value = float(sum(use.result.detach().double().mean() for use in known_losses(evaluation)))
        course.steps = step
        if step == 0:
            course.first = value
        if not math.isfinite(value):
            break
        if value < 0.99 * mark:
            bettered, mark = step, value
        if value < course.best:
            course.best, course.last = value, evaluation
        if course.best <= goal or step - bettered >= PATIENCE:
            course.settled = True
            break
        if time.monotonic() > until:
            break
        optimizer.zero_grad()
        (evaluation.loss * factor).backward()
        if _finite(optimizer):
            optimizer.step()
        elif step < OVERFLOWS:
            factor /= 16  # half precision: as a GradScaler does
        else:
            break
    return course


def _finite(optimizer: torch.optim.Optimizer) -> bool:
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    values = [g.coalesce().values() if g.is_sparse else g for g in gradients]
    return all(bool(torch.isfinite(v).all()) for v in values)
