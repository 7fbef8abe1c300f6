"""Known losses, as modules and as functions: what they receive, and what their value is."""

from __future__ import annotations

import functools
import time
from array import array
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from ...rules.finding import Line
from ..quiet import blind
from ..run import LossUse
from ..watch import Recorder, Watch
from .modules import ModuleRecorder

CHECKED_FIRST = 20
MAX_USES = 512
CHECKED_ELEMENTS = 1 << 20
MAX_PADDINGS = 4
SUM_TOLERANCE, LOG_TOLERANCE = 1e-3, 1e-2
"""How far sums of probabilities may be from 1, and logarithms of them from 0."""
_is_compiling = torch.compiler.is_dynamo_compiling

FUNCTIONS = {
    "cross_entropy": ("input", "target"),
    "nll_loss": ("input", "target"),
    "binary_cross_entropy": ("input", "target"),
    "binary_cross_entropy_with_logits": ("input", "target"),
    "mse_loss": ("input", "target"),
    "l1_loss": ("input", "target"),
    "smooth_l1_loss": ("input", "target"),
    "huber_loss": ("input", "target"),
    "kl_div": ("input", "target"),
    "poisson_nll_loss": ("input", "target"),
    "gaussian_nll_loss": ("input", "target"),
    "soft_margin_loss": ("input", "target"),
    "multi_margin_loss": ("input", "target"),
    "multilabel_margin_loss": ("input", "target"),
    "multilabel_soft_margin_loss": ("input", "target"),
}
"""Functions of ``torch.nn.functional`` with the names of their first two arguments; the loss modules call these."""

_SHAPE_ONLY = frozenset(
    """ViewBackward0 ReshapeAliasBackward0 UnsafeViewBackward0 SqueezeBackward0 SqueezeBackward1 UnsqueezeBackward0
    SelectBackward0 SliceBackward0 TransposeBackward0 PermuteBackward0 IndexBackward0 ToCopyBackward0 CloneBackward0
    TBackward0 ExpandBackward0 AliasBackward0""".split()
)
"""Graph nodes that hand on the same numbers."""


class LossRecorder(Recorder):
    """Patches the loss functions only: other patched functions would break ``torch.jit.script``."""

    def __init__(self, watch: Watch, modules: ModuleRecorder) -> None:
        super().__init__(watch)
        self._modules = modules
        self._uses: dict[tuple[str, Line | None], LossUse] = {}
        self._inside = False

    def attach(self) -> None:
        """Patch the functions; take the patches off while something is scripted."""
        for name in FUNCTIONS:
            self.patch_function(F, name, functools.partial(self._wrapped, name))
        self.patch(torch.jit, "script", self._scripted)

    def _scripted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def script(*args: Any, **kwargs: Any) -> Any:
            patched = [(owner, name, getattr(owner, name)) for owner, name in self.watch.functions]
            for owner, name, function in patched:
                setattr(owner, name, getattr(function, "__wrapped__", function))
            try:
                return original(*args, **kwargs)
            finally:
                for owner, name, function in patched:
                    setattr(owner, name, function)

        return script

    def _wrapped(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        first, second = FUNCTIONS[name]

        @functools.wraps(original)
        def loss(*args: Any, **kwargs: Any) -> Any:
            if _is_compiling() or not self.on or self._inside:
                return original(*args, **kwargs)
            # Between light steps only evaluations are looked at: they may all fall there.
            if not self.watch.light and torch.is_grad_enabled():
                return original(*args, **kwargs)
            if self.watch.in_backward or blind():
                return original(*args, **kwargs)
            began = time.perf_counter()
            prediction = args[0] if args else kwargs.get(first)
            target = args[1] if len(args) > 1 else kwargs.get(second)
            use = None
            if type(prediction) is torch.Tensor and isinstance(target, torch.Tensor):
                try:
                    use = self._use(name, args, kwargs)
                    if use is not None:
                        self._before(use, prediction, target)
                except Exception as error:
                    self.watch.fail(self, error)
            self._inside = True
            if self.watch.light:
                self.watch.spend(began)
            try:
                result = original(*args, **kwargs)
            finally:
                self._inside = False
            if use is not None and isinstance(result, torch.Tensor):
                try:
                    self._after(use, result)
                except Exception as error:
                    self.watch.fail(self, error)
            return result

        return loss

    def _use(self, name: str, args: Any, kwargs: Any) -> LossUse | None:
        line = self.watch.here(3)
        use = self._uses.get((name, line))
        if use is None and len(self._uses) < MAX_USES:
            reduction = kwargs.get("reduction", "mean")
            weighted = any(kwargs.get(k) is not None for k in ("weight", "pos_weight")) or kwargs.get("label_smoothing")
            use = self._uses[name, line] = self.watch.record.new(
                LossUse, line=line, function=name, reduction=str(reduction), weighted=bool(weighted)
            )
            if name in ("cross_entropy", "nll_loss"):
                use.ignored = int(kwargs.get("ignore_index", -100))
        return use

    def _before(self, use: LossUse, prediction: torch.Tensor, target: torch.Tensor) -> None:
        use.evaluations += 1
        self.watch.record.touch(use)
        self.watch.losses_since_backward[use.key] = None
        use.alone += prediction.dim() == target.dim() - 1 and target.shape[0] == 1
        if not (use.evaluations <= CHECKED_FIRST or self.watch.close):
            return
        use.checked += 1
        use.input_shape, use.target_shape = list(prediction.shape), list(target.shape)
        use.input_dtype, use.target_dtype = _dtype(prediction), _dtype(target)
        use.maker = self._modules.maker(prediction)
        use.made_by = _made_by(prediction)
        if prediction.requires_grad or prediction.grad_fn is not None:
            use.with_graph += 1
        elif target.requires_grad:
            use.gradient_in_target_only += 1
        if not prediction.is_floating_point():
            use.integer_input += 1
            return
        if prediction.dim() >= 1 and use.function in ("cross_entropy", "nll_loss"):
            use.classes = prediction.shape[1] if prediction.dim() > 1 else prediction.shape[0]
        if prediction.shape != target.shape and use.function in _ELEMENTWISE:
            use.broadcast += 1
        if use.ignored is not None and not target.is_floating_point() and target.numel():
            self._count_padding(use, target.detach())
        if 0 < prediction.numel() <= CHECKED_ELEMENTS:
            self._measure(use, prediction.detach(), target.detach())

    def _count_padding(self, use: LossUse, target: torch.Tensor) -> None:
        """The share of targets that equal what the rows of a loader's batches are filled up with."""
        names = {name for loader in self.watch.run.loaders for name in loader.padding}
        for name in sorted(names)[:MAX_PADDINGS]:

            def keep(values: list[float], name: str = name) -> None:
                use.padded[name] = values[0]
                self.watch.record.touch(use)

            self.watch.numbers.later(((target == int(name)).float().mean(),), keep)

    def _measure(self, use: LossUse, x: torch.Tensor, target: torch.Tensor) -> None:
        with torch.no_grad():
            if x.dtype in (torch.float16, torch.bfloat16):
                x = x.float()
            low, high = torch.aminmax(x)
            numbers = {"low": low, "high": high}
            if x.dim() > 1 and use.function in ("cross_entropy", "nll_loss", "kl_div"):
                axis = -1 if use.function == "kl_div" else 1
                numbers["row"] = (x.sum(axis) - 1).abs().amax()
                numbers["log row"] = torch.logsumexp(x, axis).abs().amax()
                if x.dim() == 2 and len(x) > 1:
                    numbers["column"] = (x.sum(0) - 1).abs().amax()
                    numbers["log column"] = torch.logsumexp(x, 0).abs().amax()
                if target.shape == x.shape and target.is_floating_point() and use.function != "kl_div":
                    numbers["target row"] = (target.sum(1) - 1).abs().amax()
            elif target.is_floating_point() and target.numel() > 1:
                numbers["deviation"] = target.std()
                numbers["target low"], numbers["target high"] = torch.aminmax(target)
        names, size = tuple(numbers), x.numel()

        def keep(values: list[float]) -> None:
            _learn(use, dict(zip(names, values, strict=True)), size)
            self.watch.record.touch(use)

        self.watch.numbers.later(list(numbers.values()), keep)

    def _after(self, use: LossUse, result: torch.Tensor) -> None:
        if not self.watch.light or result.numel() != 1:
            return
        step, record = self.watch.steps, self.watch.record
        training = torch.is_grad_enabled()

        def keep(values: list[float]) -> None:
            if use.first is None:
                use.first = values[0]
            use.last = values[0]
            record.add("loss" if training else "evaluated", use.key, (use.key,), step, array("f", values))

        self.watch.numbers.later((result.detach(),), keep)


def _learn(use: LossUse, seen: dict[str, float], size: int) -> None:
    """Take over what one evaluation showed."""
    least, most = seen["low"], seen["high"]
    use.low, use.high = min(use.low, least), max(use.high, most)
    use.elements += size
    use.positive += most > 1e-6
    use.within_unit += least >= 0 and most <= 1
    use.outside_unit += least < 0 or most > 1
    if "row" in seen:
        use.probabilities += least >= 0 and seen["row"] < SUM_TOLERANCE
        use.log_probabilities += seen["log row"] < LOG_TOLERANCE
    if "column" in seen:
        use.by_column += (least >= 0 and seen["column"] < SUM_TOLERANCE) or seen["log column"] < LOG_TOLERANCE
    if "target row" in seen:
        use.several += seen["target row"] > LOG_TOLERANCE
    if "deviation" in seen:
        use.target_deviation = seen["deviation"]
        use.target_low = min(use.target_low, seen["target low"])
        use.target_high = max(use.target_high, seen["target high"])


_ELEMENTWISE = frozenset(("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss"))
"""Losses that broadcast instead of failing."""


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _made_by(tensor: torch.Tensor) -> str:
    """The operation that made the numbers; views and casts are looked through."""
    node = tensor.grad_fn
    for _ in range(6):
        if node is None:
            return ""
        name = node.name()
        if name not in _SHAPE_ONLY:
            return name
        node = next((n for n, _ in node.next_functions if n is not None), None)
    return ""
