"""A copy of the model learns a few samples by heart: what cannot do that cannot learn anything.

"Overfit a single batch of only a few examples (e.g. as little as two)": Karpathy, "A Recipe for Training Neural
Networks" (2019). The script's own loss is trained, by the script's own optimizer and by Adam at four rates. It counts
as fitted when the known losses in it (cross-entropy of classes, binary cross-entropy, squared and absolute errors),
whose least value is zero, fall below a share of what the best constant prediction reaches.
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..results import Fit
from .known import constant, contradicts, known_losses, worst
from .replay import Skip, tensors_in
from .scene import Evaluation, Scene, calm, picked
from .training import FITTED, Course, Way, Weights, attempts, trainable, ways

SAMPLES = (2, 8)
HALF = 0.5
"""Share of the constant's loss above which samples were not learned."""
WIDTH, REFERENCE_STEPS = 256, 600


def overfit(scene: Scene) -> None:
    """Two samples, a few, and the batch: each is trained to be known by heart."""
    step = scene.needs_step
    size = scene.batch_size
    until = time.monotonic() + scene.seconds
    with calm(scene.model):
        begun = Weights(scene)
        before = scene.evaluate()
        known_losses(before)
        if moves(scene):
            raise Skip("not-deterministic")
        if contradicts(before):
            raise Skip("contradicting-targets")
        counts = [n for n in SAMPLES if n < size] + [size] if size else [0]
        for index, count in enumerate(counts):
            begun.restore()
            names = step.names if count in (0, size) else _few(scene, before, count)
            left = (until - time.monotonic()) / (len(counts) - index)
            fit = None if names is None else _fit(scene, names, begun, count, left)
            if fit is None:
                continue
            scene.send(fit)
            if fit.best > HALF * fit.constant:
                break  # more samples will not fit either


def moves(scene: Scene) -> bool:
    """Whether the loss differs from one evaluation to the next with nothing changed: it draws random numbers."""
    values = [float(scene.evaluate().loss.detach()) for _ in range(3)]
    return max(values) - min(values) > 1e-4 * max(map(abs, values), default=1.0)


def note(fit: Fit, way: Way, course: Course) -> None:
    """Take over how one way of training went, where it went better than those before."""
    if way.own:
        fit.own, fit.own_settled = course.best, course.settled
    if course.best < fit.best or not fit.optimizer:
        fit.first, fit.best, fit.steps = course.first, course.best, course.steps
        fit.optimizer, fit.rate, fit.worst = way.name, way.rate, worst(course.last)


def _fit(scene: Scene, names: dict[str, Any], begun: Weights, samples: int, seconds: float) -> Fit | None:
    """Train on these variables until one way of training fits; None where there is nothing to learn."""

    def measure() -> Evaluation:
        return scene.evaluate(names)

    before = measure()
    uses = known_losses(before)
    floor = sum(map(constant, uses))
    if floor < 1e-3:
        return None  # one target for all
    tensors = trainable(scene, before.loss)
    samples = samples or (uses[0].target.shape[0] if uses[0].target.dim() else 1)
    fit = Fit(0, uses[0].line, scene.name, "batch", uses[0].name, samples, floor, best=math.inf)
    fit.parameters = sum(t.numel() for t in tensors)
    courses = []
    for way, course in attempts(scene, ways(scene), measure, FITTED * floor, begun, seconds):
        note(fit, way, course)
        courses.append(course)
    fit.settled = fit.best <= FITTED * floor or all(course.settled for course in courses)
    hidden = sum(t.dim() > 1 for t in tensors) > 1  # a linear model is one on purpose
    if fit.best > HALF * floor and fit.settled and hidden:
        fit.reference = _reference(before, floor)
    return fit


def _few(scene: Scene, before: Evaluation, count: int) -> dict[str, Any] | None:
    """The variables with so many samples of the batch, of different targets where there are such."""
    step, size = scene.needs_step, scene.batch_size
    target = before.losses[0].target
    index = list(range(count))
    if target.dim() == 1 and target.shape[0] == size:
        seen: dict[float, int] = {}
        for i, value in enumerate(target.tolist()):
            seen.setdefault(value, i)
        distinct = list(seen.values())[:count]
        index = sorted(distinct + [i for i in range(size) if i not in distinct][: count - len(distinct)])
    chosen = torch.tensor(index)
    names = {k: picked(v, size, chosen) for k, v in step.names.items() if k in step.reads and k not in step.bound}
    merged = {**step.names, **names}
    try:
        evaluation = scene.evaluate(merged)
        known_losses(evaluation)
    except Exception:  # the size of the batch is fixed somewhere: that is the matter of another experiment
        return None
    sizes = {use.prediction.shape[0] for use in evaluation.losses if use.prediction.dim()}
    return merged if sizes and max(sizes) < target.shape[0] else None


def _reference(before: Evaluation, floor: float) -> float | None:
    """The best loss of a plain network with one hidden layer on the same inputs and targets."""
    if len(before.losses) != 1 or not before.calls:
        return None
    use = before.losses[0]
    inputs = [t for t in tensors_in([before.calls[0].args, before.calls[0].kwargs]) if t.is_floating_point()]
    size = use.prediction.shape[0] if use.prediction.dim() else 0
    if len(inputs) != 1 or inputs[0].shape[0] != size or not size:
        return None
    x = inputs[0].detach().reshape(size, -1)
    x = (x - x.mean(0)) / (x.std(0) + 1e-3)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(x.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, use.prediction[0].numel()))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    function: Any = getattr(F, use.name)
    best = math.inf
    for _ in range(REFERENCE_STEPS):
        made = network(x).view(use.prediction.shape)
        if use.name == "binary_cross_entropy":
            made = made.sigmoid()
        elif use.name == "nll_loss":
            made = made.log_softmax(1)
        loss = function(made, use.target.detach(), **use.options)
        best = min(best, float(loss.detach()))
        if best <= FITTED * floor:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return best
