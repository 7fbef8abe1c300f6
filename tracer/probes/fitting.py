"""A copy of the model learns a few samples by heart: what cannot do that cannot learn anything.

"Overfit a single batch of only a few examples (e.g. as little as two)": Karpathy, "A Recipe for Training Neural
Networks" (2019). The script's own loss is trained, by the script's own optimizer and by Adam at four rates. It counts
as fitted when the known losses in it (cross-entropy of classes, binary cross-entropy, squared and absolute errors),
whose least value is zero, fall below a share of what the best constant prediction reaches.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..run import Fit
from .replay import Skip, tensors_in
from .scene import Change, Evaluation, LossCall, Scene, calm, mapped, picked

RATES = (1e-2, 1e-3, 0.1, 1e-4)
FITTED = 0.1
"""Share of the constant's loss at which a training ends: the samples are known by heart."""
MAX_STEPS = 2000
PATIENCE = 120
"""Steps without a new best loss, by a hundredth, after which it has settled."""
SAMPLES = (2, 8)
OVERFLOWS = 8
"""First steps that may overflow in half precision."""
NOISE = 0.3
WIDTH = 256


@dataclass
class Course:
    """How a training went."""

    first: float = math.inf
    best: float = math.inf
    steps: int = 0
    settled: bool = False
    last: Evaluation | None = field(default=None, repr=False)


def overfit(scene: Scene) -> None:
    """Two samples, a few, and the batch: each is trained to be known by heart."""
    step = scene.needs_step
    size = scene.batch_size
    until = time.monotonic() + scene.seconds
    with calm(scene.model):
        begun = Weights(scene)
        before = scene.evaluate()
        _known(before)
        if _moves(scene):
            raise Skip("not-deterministic")
        if _contradicts(before):
            raise Skip("contradicting-targets")
        counts = [n for n in SAMPLES if n < size] + [size] if size else [0]
        for count in counts:
            names = step.names if count in (0, size) else _few(scene, before, count)
            if names is None:
                continue
            left = (until - time.monotonic()) / (len(counts) - counts.index(count))
            begun.restore()
            fit = _fit(scene, names, begun, count, left)
            if fit is None:
                continue
            scene.send(fit)
            if fit.best > 0.5 * fit.constant:
                break  # more samples will not fit either


def _fit(scene: Scene, names: dict[str, Any], begun: Weights, samples: int, seconds: float) -> Fit | None:
    """Train until one way of training fits."""

    def measure() -> Evaluation:
        return scene.evaluate(names)

    before = measure()
    uses = _known(before)
    constant = sum(_constant(use) for use in uses)
    if constant < 1e-3:
        return None  # one target for all: nothing to learn
    samples = samples or (uses[0].target.shape[0] if uses[0].target.dim() else 1)
    size = sum(p.numel() for p in _trainable(scene, before.loss))
    fit = Fit(0, uses[0].line, scene.name, "batch", uses[0].name, samples, constant, parameters=size)
    ways = [*_own(scene), *((f"Adam({rate:g})", rate, _adam(rate)) for rate in RATES)]
    until = time.monotonic() + seconds
    courses = []
    for index, (name, rate, make) in enumerate(ways):
        begun.restore()
        left = (until - time.monotonic()) / (len(ways) - index)
        course = _train(scene, make(_trainable(scene, measure().loss)), measure, constant, left)
        courses.append(course)
        own = not name.startswith("Adam(")
        if own:
            fit.own, fit.own_settled = course.best, course.settled
        if course.best < fit.best or not fit.steps:
            fit.first, fit.best, fit.steps, fit.optimizer, fit.rate = (
                course.first, course.best, course.steps, name.partition("(")[0], rate,
            )  # fmt: skip
            fit.worst = _worst(course.last)
        if course.best <= FITTED * constant:
            break
    fit.settled = fit.best <= FITTED * constant or all(course.settled for course in courses)
    hidden = sum(t.dim() > 1 for t in _trainable(scene, measure().loss)) > 1  # a linear model is one on purpose
    if fit.best > 0.5 * constant and fit.settled and hidden:
        fit.reference = _reference(scene, before, constant)
    return fit


def _train(
    scene: Scene,
    optimizer: torch.optim.Optimizer,
    measure: Callable[[], Evaluation],
    constant: float,
    seconds: float,
) -> Course:
    """Step after step until the samples are fitted, nothing gets better, or the time is over."""
    course = Course()
    until = time.monotonic() + seconds
    bettered, mark, factor = 0, math.inf, 1.0
    for step in range(MAX_STEPS):
        evaluation = measure()
        value = float(sum(use.result.detach().double().mean() for use in _known(evaluation)))
        course.steps = step
        if step == 0:
            course.first = value
        if not math.isfinite(value):
            break
        if value < 0.99 * mark:
            bettered, mark = step, value
        if value < course.best:
            course.best, course.last = value, evaluation
        if course.best <= FITTED * constant or step - bettered >= PATIENCE:
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


def _trainable(scene: Scene, loss: torch.Tensor) -> list[torch.Tensor]:
    found = [t for t in scene.trained(loss) if t.is_floating_point()]
    if not found:
        raise Skip("nothing-trainable")
    return found


def _adam(rate: float) -> Callable[[list[torch.Tensor]], torch.optim.Optimizer]:
    return lambda tensors: torch.optim.Adam(tensors, lr=rate)


Way = tuple[str, float, Callable[[list[torch.Tensor]], torch.optim.Optimizer]]


def _own(scene: Scene) -> list[Way]:
    """The script's optimizer, where one holds what is trained and steps without a closure."""
    found: list[Way] = []
    for optimizer in scene.optimizers:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if held & scene.parameters.keys() and type(optimizer).__module__.startswith("torch.optim"):
            if type(optimizer).__name__ == "LBFGS":
                continue
            rate = float(optimizer.param_groups[0]["lr"])
            found.append((type(optimizer).__name__, rate, functools.partial(_anew, optimizer)))
    return found[:1]


def _anew(optimizer: torch.optim.Optimizer, tensors: list[torch.Tensor]) -> torch.optim.Optimizer:
    """With its settings and no state."""
    groups = [dict(group) for group in optimizer.param_groups]
    for group in groups:
        group.pop("initial_lr", None)
    make: Any = type(optimizer)
    return make(groups)  # type: ignore[no-any-return]


def _known(evaluation: Evaluation) -> list[LossCall]:
    """The known losses on the way to the loss, each with a target that nothing trains. Raises :class:`Skip`."""
    found = [use for use in evaluation.losses if _floor_is_zero(use)]
    if not found or len(found) != len(evaluation.losses):
        raise Skip("no-known-loss")
    return found


def _floor_is_zero(use: LossCall) -> bool:
    if use.target.requires_grad or use.options.get("label_smoothing") or not use.prediction.requires_grad:
        return False
    if any(use.options.get(name) is not None for name in ("weight", "pos_weight")):
        return False
    if use.kind == "classes":
        return not use.target.is_floating_point()
    return use.kind == "numbers" or bool(((use.target == 0) | (use.target == 1)).all())


def _moves(scene: Scene) -> bool:
    """Whether the loss differs from one evaluation to the next with nothing changed: it draws random numbers."""
    values = [float(scene.evaluate().loss.detach()) for _ in range(3)]
    return max(values) - min(values) > 1e-4 * max(map(abs, values), default=1.0)


def _constant(use: LossCall) -> float:
    """The loss of the best prediction that is the same for all samples, in each position of the output."""
    target = use.target.detach()
    if use.kind == "classes":
        kept = target[target != use.ignored]
        if not kept.numel():
            raise Skip("no-targets")
        shares = torch.bincount(kept.flatten()).double() / kept.numel()
        return float(-(shares[shares > 0] * shares[shares > 0].log()).sum())
    target = target.double()
    middle = target.mean(0, keepdim=True) if target.dim() > 1 else target.mean()
    if use.kind == "binary":
        p = middle.clamp(1e-6, 1 - 1e-6).expand_as(target)
        return float(F.binary_cross_entropy(p, target))
    function = getattr(F, use.name)
    options = {k: v for k, v in use.options.items() if k in ("beta", "delta")}
    centres = (middle, target.median(0, keepdim=True).values if target.dim() > 1 else target.median())
    return min(float(function(centre.expand_as(target), target, **options)) for centre in centres)


def _contradicts(evaluation: Evaluation) -> bool:
    """Whether equal inputs have different targets, which no model can fit."""
    inputs = [t for call in evaluation.calls[:1] for t in tensors_in([call.args, call.kwargs]) if t.dim()]
    targets = [use.target for use in evaluation.losses if use.target.dim()]
    size = inputs[0].shape[0] if inputs else 0
    if size < 2 or any(t.shape[0] != size for t in (*inputs, *targets)):
        return False
    rows = [tuple(t[i].detach().reshape(-1).tolist() for t in inputs) for i in range(min(size, 64))]
    kept: dict[Any, int] = {}
    for i, row in enumerate(rows):
        key = str(hash(str(row)))
        other = kept.setdefault(key, i)
        if other != i and any(not torch.equal(t[i], t[other]) for t in targets):
            return True
    return False


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
        _known(evaluation)
    except Exception:  # the size of the batch is fixed somewhere: that is the matter of another experiment
        return None
    sizes = {t.shape[0] for use in evaluation.losses for t in (use.prediction,) if t.dim()}
    return merged if sizes and max(sizes) < target.shape[0] else None


def _worst(evaluation: Evaluation | None) -> str:
    """The class, or the column of the targets, with the largest loss."""
    if evaluation is None:
        return ""
    use = evaluation.losses[0]
    x, y = use.prediction.detach(), use.target.detach()
    if use.kind == "classes" and x.dim() == 2 and y.dim() == 1:
        losses = F.cross_entropy(x, y, reduction="none", ignore_index=use.ignored)
        means = {int(c): float(losses[y == c].mean()) for c in y.unique() if int(c) != use.ignored}
        return f"class {max(means, key=lambda c: means[c])}" if means else ""
    if use.kind != "classes" and x.shape == y.shape and x.dim() == 2 and x.shape[1] > 1:
        return f"output {int((x - y).abs().mean(0).argmax())}"
    return ""


def _reference(scene: Scene, before: Evaluation, constant: float) -> float | None:
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
    for _ in range(MAX_STEPS):
        made = network(x).view(use.prediction.shape)
        if use.name == "binary_cross_entropy":
            made = made.sigmoid()
        elif use.name == "nll_loss":
            made = made.log_softmax(1)
        loss = function(made, use.target.detach(), **use.options)
        best = min(best, float(loss.detach()))
        if best <= FITTED * constant:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return best


# ---------------------------------------------------------------------------- data that is known to be solvable


def solvable(scene: Scene) -> None:
    """The model on made data of the same shape: each class has a pattern of its own, under noise."""
    step = scene.needs_step
    size = scene.batch_size
    until = time.monotonic() + scene.seconds
    with calm(scene.model):
        begun = Weights(scene)
        before = scene.evaluate()
        use, inputs = _one_label_a_sample(before, size)
        classes = use.prediction.shape[1]
        if _moves(scene):
            raise Skip("not-deterministic")
        maker = _Patterns(inputs, classes, use.target)
        constant = math.log(classes)
        fit = Fit(0, use.line, scene.name, "pattern", use.name, size, constant)
        fit.parameters = sum(p.numel() for p in _trainable(scene, before.loss))
        ways = [(f"Adam({rate:g})", rate, _adam(rate)) for rate in RATES]
        courses = []
        for index, (name, rate, make) in enumerate(ways):
            begun.restore()
            left = (until - time.monotonic()) / (len(ways) - index)
            course = _train(scene, make(_trainable(scene, step.loss())), lambda: maker.batch(scene), constant, left)
            courses.append(course)
            if course.best < fit.best or not fit.steps:
                fit.first, fit.best, fit.steps, fit.optimizer, fit.rate = (
                    course.first, course.best, course.steps, name.partition("(")[0], rate,
                )  # fmt: skip
            if course.best <= 0.5 * constant:
                break
        fit.settled = fit.best <= 0.5 * constant or all(course.settled for course in courses)
        scene.send(fit)


def _one_label_a_sample(before: Evaluation, size: int) -> tuple[LossCall, torch.Tensor]:
    """The loss of classes and the one input. Raises :class:`Skip` where the task is another one."""
    uses = _known(before)
    use = uses[0]
    fits = len(uses) == 1 and use.kind == "classes" and use.prediction.dim() == 2 and use.target.dim() == 1
    if not fits or use.target.shape[0] != size or size < 4:
        raise Skip("not-a-classification")
    if torch.equal(use.target, torch.arange(size)):
        raise Skip("not-a-classification")  # every sample is its own class: pairs within the batch
    given = [t for call in before.calls for t in tensors_in([call.args, call.kwargs]) if t.dim()]
    if len(before.calls) != 1 or len(given) != 1 or given[0].shape[0] != size or given[0].dim() < 2:
        raise Skip("several-inputs")
    if given[0].dtype is torch.bool:
        raise Skip("several-inputs")
    return use, given[0].detach()


class _Patterns:
    """Makes batches: a pattern for each class, with noise; of token ids, each class has tokens of its own."""

    def __init__(self, inputs: torch.Tensor, classes: int, target: torch.Tensor) -> None:
        self._generator = torch.Generator().manual_seed(0)
        self._inputs, self._target = inputs, target
        self._classes = min(classes, 10)
        shape = (self._classes, *inputs.shape[1:])
        if inputs.is_floating_point():
            low, high = float(inputs.min()), float(inputs.max())
            self._mean, self._deviation = float(inputs.mean()), float(inputs.std()) + 1e-6 * (high - low) + 1e-12
            self._patterns = torch.randn(shape, generator=self._generator)
        else:
            known = inputs.unique()
            choice = torch.randint(len(known), shape, generator=self._generator)
            self._patterns = known[choice]

    def batch(self, scene: Scene) -> Evaluation:
        """The loss on a new batch of made data."""
        size = len(self._target)
        labels = torch.randint(self._classes, (size,), generator=self._generator)
        made = self._patterns[labels]
        if self._inputs.is_floating_point():
            made = made + NOISE * torch.randn(made.shape, generator=self._generator)
            made = (self._mean + self._deviation * made).to(self._inputs.dtype)
        new = labels.to(self._target.dtype)
        change = Change(
            inputs=lambda value: mapped(value, lambda t: made if t.shape == made.shape else t),
            targets=lambda target: new if target.shape == new.shape else target,
        )
        return scene.evaluate(change=change)
