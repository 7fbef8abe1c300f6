"""Made data that are known to be learnable, in the shape of the batch: is it the data, or the model?"""

from __future__ import annotations

import math

import torch

from ..results import Fit
from .fitting import HALF, moves, note
from .known import known_losses
from .replay import Skip, tensors_in
from .scene import Change, Evaluation, LossCall, Scene, calm, mapped
from .training import ADAMS, Weights, attempts, trainable

NOISE = 0.3
MOST_CLASSES = 10


def solvable(scene: Scene) -> None:
    """The model on made data of the same shape: each class has a pattern of its own, under noise."""
    size = scene.batch_size
    with calm(scene.model):
        begun = Weights(scene)
        before = scene.evaluate()
        use, inputs = _one_label_a_sample(before, size)
        if moves(scene):
            raise Skip("not-deterministic")
        classes = use.prediction.shape[1]
        patterns = _Patterns(scene, inputs, classes, use.target)
        guess = math.log(classes)
        fit = Fit(0, use.line, scene.name, "pattern", use.name, size, guess, best=math.inf)
        fit.parameters = sum(t.numel() for t in trainable(scene, before.loss))
        courses = []
        for way, course in attempts(scene, ADAMS, patterns.batch, HALF * guess, begun, scene.seconds):
            note(fit, way, course)
            courses.append(course)
        fit.settled = fit.best <= HALF * guess or all(course.settled for course in courses)
        scene.send(fit)


def _one_label_a_sample(before: Evaluation, size: int) -> tuple[LossCall, torch.Tensor]:
    """The loss of classes and the one input. Raises :class:`Skip` where the task is another one."""
    uses = known_losses(before)
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

    def __init__(self, scene: Scene, inputs: torch.Tensor, classes: int, target: torch.Tensor) -> None:
        self._scene = scene
        self._generator = torch.Generator().manual_seed(0)
        self._inputs, self._target = inputs, target
        self._classes = min(classes, MOST_CLASSES)
        shape = (self._classes, *inputs.shape[1:])
        if inputs.is_floating_point():
            self._mean, self._deviation = float(inputs.mean()), float(inputs.std()) + 1e-12
            self._patterns = torch.randn(shape, generator=self._generator)
        else:
            known = inputs.unique()
            self._patterns = known[torch.randint(len(known), shape, generator=self._generator)]

    def batch(self) -> Evaluation:
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
        return self._scene.evaluate(change=change)
