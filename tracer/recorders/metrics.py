"""Numbers that the script logs under a name, through the loggers that it uses anyway."""

from __future__ import annotations

import functools
import math
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from ...rules.finding import Line
from ..run import Metric
from ..watch import Recorder, Watch

MAX_METRICS = 256
SEARCHED_STEPS = 64
"""A logger may be imported late: so many steps are followed by a look at what has been imported, then powers of two."""
LOGGERS: tuple[tuple[str, str, str], ...] = (
    ("torch.utils.tensorboard.writer", "SummaryWriter", "add_scalar"),
    ("torch.utils.tensorboard.writer", "SummaryWriter", "add_scalars"),
    ("tensorboardX.writer", "SummaryWriter", "add_scalar"),
    ("wandb", "", "log"),
    ("tqdm.std", "tqdm", "set_postfix"),
    ("lightning.pytorch.core.module", "LightningModule", "log"),
    ("lightning.pytorch.core.module", "LightningModule", "log_dict"),
    ("pytorch_lightning.core.module", "LightningModule", "log"),
    ("pytorch_lightning.core.module", "LightningModule", "log_dict"),
    ("mlflow", "", "log_metric"),
    ("mlflow", "", "log_metrics"),
)
"""Module, class (none for a function of the module) and function."""


_OURS = "__logged_by_nnaudit__"


class MetricRecorder(Recorder):
    """Wraps the calls of loggers that the script has imported; it imports none itself."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._metrics: dict[str, Metric] = {}
        self._inside = False

    def attach(self) -> None:
        """Look now, and after steps: loggers are often imported before torch or behind it."""
        self._search()
        self.watch.after_step.append(self._look_again)

    def _look_again(self) -> None:
        steps = self.watch.steps
        if self.on and (steps <= SEARCHED_STEPS or steps & (steps - 1) == 0):
            self._search()

    def _search(self) -> None:
        for module, cls, name in LOGGERS:
            owner: Any = sys.modules.get(module)
            owner = getattr(owner, cls, None) if cls else owner
            # wandb.init puts another function in the place of wandb.log: that one is wrapped, too.
            if owner is not None and name in vars(owner) and not hasattr(vars(owner)[name], _OURS):
                self.patch(owner, name, functools.partial(self._wrapped, name))

    def _wrapped(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def log(*args: Any, **kwargs: Any) -> Any:
            if self.on and not self._inside:
                try:
                    self._keep(name, args, kwargs)
                except Exception as error:
                    self.watch.fail(self, error)
            outer, self._inside = self._inside, True
            try:
                return original(*args, **kwargs)
            finally:
                self._inside = outer

        setattr(log, _OURS, True)
        return log

    def _keep(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        line, step = self.watch.here(3), self.watch.steps
        for key, value in _named(name, args, kwargs):
            if isinstance(value, torch.Tensor):
                if value.numel() == 1 and (metric := self._metric(key, line, name)) is not None:
                    fetched = functools.partial(self._fetched, metric, step)
                    self.watch.numbers.later((value.detach().reshape(()),), fetched)
                continue
            try:
                number = float(value)
            except (TypeError, ValueError):
                continue
            if (metric := self._metric(key, line, name)) is not None:
                self._number(metric, step, number)

    def _metric(self, key: str, line: Line | None, through: str) -> Metric | None:
        metric = self._metrics.get(key)
        if metric is None and len(self._metrics) < MAX_METRICS:
            metric = self._metrics[key] = self.watch.record.new(Metric, name=key, line=line, through=through)
        return metric

    def _fetched(self, metric: Metric, step: int, values: list[float]) -> None:
        self._number(metric, step, values[0])

    def _number(self, metric: Metric, step: int, value: float) -> None:
        if not math.isfinite(value):
            return
        if not metric.count:
            metric.first = value
        metric.count += 1
        metric.last = value
        metric.low, metric.high = min(metric.low, value), max(metric.high, value)
        self.watch.record.touch(metric)
        self.watch.record.add("metric", metric.key, (metric.key,), step, array("f", (value,)))


def _named(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The pairs of name and value in a call of a logger; methods get their object first."""
    if name in ("add_scalar", "log_metric") or (name == "log" and len(args) > 1 and isinstance(args[1], str)):
        rest = args if name == "log_metric" else args[1:]
        names = ("tag", "key", "name")
        key = rest[0] if rest else next((kwargs[n] for n in names if n in kwargs), None)
        value = rest[1] if len(rest) > 1 else kwargs.get("scalar_value", kwargs.get("value"))
        if isinstance(key, str) and value is not None:
            yield key, value
        return
    if name == "add_scalars" and len(args) > 2 and isinstance(args[2], Mapping):
        yield from ((f"{args[1]}/{key}", value) for key, value in args[2].items())
        return
    given = [v for v in (*args, kwargs.get("data"), kwargs.get("ordered_dict")) if isinstance(v, Mapping)]
    for mapping in given:
        yield from ((str(key), value) for key, value in mapping.items())
    if name == "set_postfix":
        yield from ((k, v) for k, v in kwargs.items() if k not in ("ordered_dict", "refresh"))
