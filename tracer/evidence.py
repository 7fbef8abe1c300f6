"""What several rules ask of a recorded run, and the statistics that they need. No torch, no other package."""

from __future__ import annotations

import ast
import linecache
import math
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ..rules.finding import Confidence, Finding, Line, Place

if TYPE_CHECKING:
    from .results import Trial
    from .run import Backward, Loader, Module, Optimizer, Parameter, Pass, Run, Stream
    from .thing import Thing

OF_CLASSES = (
    "cross_entropy",
    "nll_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "multi_margin_loss",
)
"""Losses that compare a sample with its class."""

VIEWS = frozenset("view reshape flatten unflatten view_as reshape_as unsafe_view".split())
"""Functions that give a tensor another shape and leave its numbers in their order."""
PAIRWISE = frozenset(
    """add sub mul div true_divide rsub
    __add__ __sub__ __mul__ __truediv__ __radd__ __rsub__ __rmul__""".split()
)
"""Functions that broadcast."""
OVER_TIME = {
    "lstm": "an LSTM",
    "gru": "a GRU",
    "rnn_tanh": "a recurrent layer",
    "rnn_relu": "a recurrent layer",
    "multi_head_attention_forward": "attention",
    "scaled_dot_product_attention": "attention",
}
"""Functions that join the steps of a sequence."""

REFUSED = "does not require grad"
"""What torch says when ``backward`` is called on a tensor without a graph."""


T = TypeVar("T", bound="Thing")


def lines_of(finding: Finding) -> frozenset[tuple[str, int]]:
    """The lines, by file and row, that a resolved finding stands at and rests on."""
    places = [finding.place, *(hop.at for hop in finding.evidence)]
    return frozenset(
        (os.path.abspath(place.filename), place.location.row) for place in places if isinstance(place, Place)
    )


def at(things: Iterable[T], finding: Finding) -> list[T]:
    """The nouns that stand for one of these lines."""
    lines = lines_of(finding)
    return [
        thing
        for thing in things
        if any((line := getattr(thing, name)) is not None and (line.file, line.row) in lines for name in thing.LINES)
    ]


def always(run: Run, finding: Finding, function: str, counter: str, what: str) -> str:
    """That a loss at the finding's lines got nothing else in all evaluations that were measured; "" where it did."""
    uses = [use for use in at(run.losses, finding) if use.function == function]
    if not uses or any(use.measured < 3 or getattr(use, counter) != use.measured for use in uses):
        return ""
    use = uses[0]
    return f"all {use.measured} evaluations looked at got {what} (from {use.low:.3g} to {use.high:.3g})"


def root_of(module: Module) -> int:
    """The key of the outermost module that it is seen from."""
    return module.key if module.root is None else module.root


def settled(run: Run) -> Confidence:
    """What was never seen may still come as long as the script runs."""
    return Confidence.CERTAIN if run.finished else Confidence.LIKELY


def evaluates(loader: Loader | None) -> bool:
    """Whether a loader's batches were never followed by a backward pass."""
    return loader is not None and loader.batches > 0 and loader.training_batches == 0


def trained_passes(run: Run, root: int) -> list[Pass]:
    """The forward passes of an outermost module to which a backward pass came back."""
    return [found for found in run.passes if found.module == root and found.used]


def trained_beside(run: Run, loader: Loader) -> list[Loader]:
    """The loaders that the networks were trained on which are evaluated on this one; none with loaded weights."""
    evaluated = {found.module for found in run.passes if found.loader == loader.key}
    fresh = {key for key in evaluated if (m := run.of("module", key)) is not None and not m.loaded}
    keys = {found.loader for found in run.passes if found.module in fresh and found.used}
    return [other for other in run.loaders if other.key in keys and other.trains]


def members(run: Run, optimizer: Optimizer) -> list[Parameter]:
    """The parameters that an optimizer was given."""
    return [p for key in optimizer.parameters if (p := run.of("parameter", key)) is not None]


def replaced(run: Run, optimizer: Optimizer, steps: float = 10) -> list[Parameter]:
    """Parameters that get gradients and are in no optimizer, where this one never had a gradient for its own.

    They have the shapes of those that it holds: it was made for another copy of the model.
    """
    if optimizer.steps < steps or optimizer.without_gradient < optimizer.steps:
        return []
    held = [p.shape for p in members(run, optimizer)]
    free = [p for p in run.parameters if p.trainable and not p.optimizers and p.reached]
    return free if held and 2 * sum(p.shape in held for p in free) >= len(held) else []


def backward_of(run: Run, optimizer: Optimizer) -> Backward | None:
    """The backward pass that this optimizer's steps follow most."""
    places = [place for place in run.backwards if optimizer.key in place.optimizers]
    return max(places, key=lambda place: place.steps, default=None)


def chains(run: Run, whole: bool = False) -> dict[int, list[tuple[Module, Stream]]]:
    """The layers with weights of each outermost module in the order in which they ran, with their activations.

    But for the last one, unless the ``whole`` is asked for: what it puts out has a range of its own.
    """
    found: dict[int, list[tuple[Module, Stream]]] = {}
    for module in run.modules:
        stream = run.stream("activation", module.key)
        if stream is not None and module.order and module.base in ("Linear", "Conv1d", "Conv2d", "Conv3d"):
            found.setdefault(root_of(module), []).append((module, stream))
    return {
        root: sorted(layers, key=lambda layer: layer[0].order)[: None if whole else -1]
        for root, layers in found.items()
    }


def fall(trial: Trial) -> float:
    """By which share of it the loss of a trial fell; negative where it rose."""
    if not math.isfinite(trial.last) or not trial.first:
        return -1.0
    return (trial.first - trial.last) / abs(trial.first)


def trials(run: Run, name: str) -> list[tuple[Trial, list[Trial]]]:
    """The script's own setting with the others that were tried in its place."""
    own = [t for t in run.trials if t.name == name and t.own]
    return [(o, [t for t in run.trials if t.name == name and not t.own and t.line == o.line]) for o in own]


def shape(sizes: Sequence[int]) -> str:
    """``32×10``."""
    return "×".join(map(str, sizes)) or "a scalar"


def listed(names: Iterable[str], most: int = 3) -> str:
    """```a`, `b`, `c` and 4 more``."""
    every = list(dict.fromkeys(names))
    shown = [f"`{name}`" for name in every[:most]]
    if len(every) > most:
        return ", ".join(shown) + f" and {len(every) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def is_bare_call(run: Run, line: Line | None) -> bool:
    """Whether the line is nothing but a call whose result nobody takes."""
    if line is None:
        return False
    text = run.text.get((line.file, line.row)) or linecache.getline(line.file, line.row)
    try:
        body = ast.parse(text.strip()).body
    except SyntaxError:
        return False
    return len(body) == 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Call)


def norms(stream: Stream) -> tuple[list[int], list[float]]:
    """Steps and Euclidean norms of all gradients together, where all were finite."""
    steps, values = [], []
    for step, row in zip(list(stream.steps), list(stream.rows), strict=False):
        known = [v for v in row if not math.isnan(v)]
        total = math.sqrt(sum(v * v for v in known))
        if known and math.isfinite(total):
            steps.append(step)
            values.append(total)
    return steps, values


def update_ratio(run: Run, optimizer: Optimizer) -> float | None:
    """Median over steps of the norm of all updates by that of all weights."""
    updates, weights = run.stream("update", optimizer.key), run.stream("weight", optimizer.key)
    if updates is None or weights is None:
        return None
    above, below = norms(updates)[1], norms(weights)[1]
    ratios = [a / b for a, b in zip(above, below, strict=False) if b > 0]
    return median(ratios) if ratios else None


# ---------------------------------------------------------------------------- statistics


def median(values: Sequence[float]) -> float:
    """The middle one; the mean of the two in the middle."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def tail(z: float) -> float:
    """The probability of a standard normal number above ``z``."""
    return math.erfc(z / math.sqrt(2)) / 2


def mann_kendall(values: Sequence[float]) -> float:
    """Standard score of the Mann-Kendall trend test: positive where the values rise.

    Mann, "Nonparametric tests against trend", Econometrica 13 (1945); Kendall, "Rank Correlation Methods" (1975),
    with the correction for continuity. For at most a few hundred values: it compares all pairs.
    """
    n = len(values)
    score = sum((b > a) - (b < a) for i, a in enumerate(values) for b in values[i + 1 :])
    counts: dict[float, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in counts.values())) / 18
    if variance <= 0:
        return 0.0
    return (score - (score > 0) + (score < 0)) / math.sqrt(variance)


def moments(values: Sequence[float]) -> tuple[float, float]:
    """Mean and unbiased variance."""
    mean = sum(values) / len(values)
    return mean, sum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)
