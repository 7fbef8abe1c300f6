"""What other settings would do: rates, optimizers, regularisers, and whether the labels can be learned at all.

Every trial starts from the same weights and trains on the batch at hand for a few steps. A batch is not a data set:
these trials compare settings with each other and promise nothing about a whole training.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.data import DataLoader, IterableDataset

from ..results import Labels, Trial
from .replay import Randomness, Skip, tensors_in
from .scene import Scene
from .training import Maker, Weights, anew, own_optimizer, rate_of

RATES = tuple(10.0**k for k in range(-6, 2))
STEPS = 20
LATEST = 5
"""Steps whose mean is the last loss of a trial."""
LONG = 60
"""Steps of trials that compare how far two settings come."""
ALTERNATIVES: dict[str, Maker] = {
    "SGD, momentum 0.9": lambda tensors: torch.optim.SGD(tensors, lr=0.1, momentum=0.9),
    "Adam": lambda tensors: torch.optim.Adam(tensors, lr=1e-3),
    "AdamW": lambda tensors: torch.optim.AdamW(tensors, lr=1e-3),
    "RMSprop": lambda tensors: torch.optim.RMSprop(tensors, lr=1e-3),
}
MIN_SAMPLES, MAX_SAMPLES = 200, 2000
MAX_FEATURES = 4096
FOLDS = 5
SEARCHES = 24


def rates(scene: Scene) -> None:
    """The script's optimizer at rates from 1e-6 to 10, and at its own (a range test: Smith, arXiv:1506.01186, 2015)."""
    own = _own(scene)
    rate = rate_of(own)
    for value in (rate, *RATES):
        course = _course(scene, functools.partial(anew, own, value), STEPS)
        scene.send(Trial(0, scene.here(), "rate", type(own).__name__, value, *course, STEPS, value == rate))


def optimizers(scene: Scene) -> None:
    """A short race on the batch: the script's own optimizer and four usual ones."""
    own = _own(scene)
    rate = rate_of(own)
    makers: dict[str, Maker] = {type(own).__name__: functools.partial(anew, own, rate), **ALTERNATIVES}
    for index, (name, make) in enumerate(makers.items()):
        course = _course(scene, make, LONG)
        scene.send(Trial(0, scene.here(), "optimizer", name, rate, *course, LONG, index == 0))


def regularisers(scene: Scene) -> None:
    """The batch with dropout and weight decay as they are, and without."""
    own = _own(scene)
    rate = rate_of(own)
    drops = [layer for layer in scene.model.modules() if isinstance(layer, _DropoutNd) and layer.p > 0]
    decay = max(float(group.get("weight_decay") or 0) for group in own.param_groups)
    if not drops and not decay:
        raise Skip("no-regulariser")
    most = max((layer.p for layer in drops), default=decay)
    course = _course(scene, functools.partial(anew, own, rate), LONG)
    scene.send(Trial(0, scene.here(), "regularisers", "as they are", most, *course, LONG, True))
    for layer in drops:
        layer.p = 0.0
    for group in own.param_groups:
        if "weight_decay" in group:
            group["weight_decay"] = 0
    course = _course(scene, functools.partial(anew, own, rate), LONG)
    scene.send(Trial(0, scene.here(), "regularisers", "off", 0.0, *course, LONG))


def search(scene: Scene) -> None:
    """A small search over rate, weight decay and momentum: Optuna where it is installed, else random numbers."""
    own = _own(scene)
    rate = rate_of(own)
    course = _course(scene, functools.partial(anew, own, rate), STEPS)
    scene.send(Trial(0, scene.here(), "search", f"{type(own).__name__}, own settings", rate, *course, STEPS, True))
    until = time.monotonic() + 0.8 * scene.seconds

    def loss_of(rate: float, decay: float, momentum: float) -> float:
        made = anew(own, rate, own.param_groups[0]["params"])
        for group in made.param_groups:
            if "weight_decay" in group:
                group["weight_decay"] = decay
            if "momentum" in group:
                group["momentum"] = momentum
        course = _course(scene, lambda tensors: made, STEPS)
        words = f"{type(own).__name__}, weight decay {decay:.1g}" + (", momentum 0.9" if momentum else "")
        scene.send(Trial(0, scene.here(), "search", words, rate, *course, STEPS))
        return course[1]

    (_by_optuna if importlib.util.find_spec("optuna") else _by_chance)(loss_of, until)


def _by_optuna(loss_of: Callable[[float, float, float], float], until: float) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(
        lambda trial: loss_of(
            trial.suggest_float("rate", 1e-5, 1, log=True),
            trial.suggest_float("decay", 1e-6, 1e-2, log=True),
            trial.suggest_categorical("momentum", [0.0, 0.9]),
        ),
        n_trials=SEARCHES,
        timeout=max(1.0, until - time.monotonic()),
    )


def _by_chance(loss_of: Callable[[float, float, float], float], until: float) -> None:
    """Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13 (2012)."""
    draw = random.Random(0)
    for _ in range(SEARCHES):
        if time.monotonic() > until:
            break
        loss_of(10 ** draw.uniform(-5, 0), 10 ** draw.uniform(-6, -2), draw.choice((0.0, 0.9)))


def _own(scene: Scene) -> torch.optim.Optimizer:
    """The script's optimizer. Raises :class:`Skip` where there is none to try, or no loss to try it on."""
    step = scene.needs_step
    if not math.isfinite(float(step.original().detach())):
        raise Skip("loss-not-reproduced", "it is not finite")
    optimizer = own_optimizer(scene)
    if optimizer is None:
        raise Skip("no-optimizer")
    return optimizer


def _course(scene: Scene, make: Maker, steps: int) -> tuple[float, float]:
    """The loss before and after so many steps on the batch; then everything is set back."""
    step = scene.needs_step
    weights = Weights(scene)
    state = Randomness.now()
    step.randomness.restore()
    optimizer = make(scene.trained(step.loss()))
    values = []
    for _ in range(steps + 1):
        loss = step.loss()
        values.append(float(loss.detach()))
        if not math.isfinite(values[-1]):
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights.restore()
    state.restore()
    latest = values[-LATEST:]  # with dropout single ones say little
    return values[0], sum(latest) / len(latest) if math.isfinite(values[-1]) else math.inf


# ---------------------------------------------------------------------------- labels


def labels(scene: Scene) -> None:
    """Can a simple classifier tell the classes apart, better than exchanged labels; and which labels does it doubt?

    Out-of-fold probabilities of a logistic regression on standardised inputs (and of a forest, for what is not
    linear), joined with confident learning (Northcutt et al., arXiv:1911.00068, 2019) where cleanlab is installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise Skip("no-scikit-learn")
    import numpy as np

    inputs, targets = _samples(scene)
    classes, found = np.unique(targets, return_inverse=True)
    counts = np.bincount(found)
    if len(classes) < 2 or counts.min() < FOLDS or len(classes) > 100:
        raise Skip("not-a-classification")
    real, probabilities = max((_held_out(make, inputs, found) for make in _classifiers()), key=lambda each: each[0])
    order = np.random.default_rng(0).permutation(len(found))
    exchanged = max(_held_out(make, inputs, found[order])[0] for make in _classifiers())
    doubted = _doubted(found, probabilities)
    scene.send(
        Labels(
            0,
            scene.here(),
            samples=len(found),
            classes=len(classes),
            accuracy=real,
            exchanged=exchanged,
            largest=float(counts.max() / len(found)),
            doubted=len(doubted),
            examples=[int(i) for i in doubted[:8]],
        )
    )


def _samples(scene: Scene) -> tuple[Any, Any]:
    """Inputs as rows and their classes, read anew from the loader's data set. Raises :class:`Skip`."""
    import numpy as np

    dataset, collate = getattr(scene.iterator, "_dataset", None), getattr(scene.iterator, "_collate_fn", None)
    if dataset is None or isinstance(dataset, IterableDataset):
        raise Skip("no-loader")
    fresh = DataLoader(dataset, batch_size=64, shuffle=True, collate_fn=collate)
    rows, targets = [], []
    until = time.monotonic() + 0.3 * scene.seconds
    torch.manual_seed(0)
    for batch in fresh:
        parts = [t for t in tensors_in(batch) if t.dim()]
        if len(parts) != 2 or parts[1].dim() != 1 or parts[1].is_floating_point() or len(parts[0]) != len(parts[1]):
            raise Skip("not-a-classification")
        if not parts[0].is_floating_point() or parts[0][0].numel() > MAX_FEATURES:
            raise Skip("several-inputs")
        rows.append(parts[0].reshape(len(parts[0]), -1).numpy())
        targets.append(parts[1].numpy())
        if sum(map(len, targets)) >= MAX_SAMPLES or time.monotonic() > until:
            break
    if sum(map(len, targets)) < MIN_SAMPLES:
        raise Skip("batch-too-small")
    return np.concatenate(rows), np.concatenate(targets)


def _classifiers() -> Iterator[Callable[[], Any]]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    yield lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
    yield lambda: RandomForestClassifier(60, random_state=0)


def _held_out(make: Callable[[], Any], inputs: Any, targets: Any) -> tuple[float, Any]:
    """Accuracy and probabilities of samples that the classifier has not seen."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    probabilities = cross_val_predict(make(), inputs, targets, cv=folds, method="predict_proba")
    return float((probabilities.argmax(1) == targets).mean()), probabilities


def _doubted(targets: Any, probabilities: Any) -> Any:
    """Samples whose label is confidently another one, the worst first."""
    import numpy as np

    if importlib.util.find_spec("cleanlab") is not None:
        from cleanlab.filter import find_label_issues

        return find_label_issues(targets, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    own = probabilities[np.arange(len(targets)), targets]
    classes = np.arange(probabilities.shape[1])
    thresholds = np.array([own[targets == c].mean() for c in classes])
    confident = probabilities >= thresholds
    likely = np.where(confident, probabilities, -1).argmax(1)
    other = confident.any(1) & (likely != targets)
    return np.flatnonzero(other)[np.argsort(own[other])]
