"""Losses whose least value is zero, and what the best constant prediction makes of them."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from .replay import Skip, tensors_in
from .scene import Evaluation, LossCall


def known_losses(evaluation: Evaluation) -> list[LossCall]:
    """The losses on the way to the loss, where all of them are zero at their targets. Raises :class:`Skip`."""
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


def constant(use: LossCall) -> float:
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
        return float(F.binary_cross_entropy(middle.clamp(1e-6, 1 - 1e-6).expand_as(target), target))
    function = getattr(F, use.name)
    options = {k: v for k, v in use.options.items() if k in ("beta", "delta")}
    centres = (middle, target.median(0, keepdim=True).values if target.dim() > 1 else target.median())
    return min(float(function(centre.expand_as(target), target, **options)) for centre in centres)


def contradicts(evaluation: Evaluation) -> bool:
    """Whether equal inputs have different targets, which no model can fit."""
    inputs = [t for call in evaluation.calls[:1] for t in tensors_in([call.args, call.kwargs]) if t.dim()]
    targets = [use.target for use in evaluation.losses if use.target.dim()]
    size = inputs[0].shape[0] if inputs else 0
    if size < 2 or any(t.layout is not torch.strided or t.shape[0] != size for t in (*inputs, *targets)):
        return False
    seen: dict[Any, int] = {}
    for i in range(min(size, 64)):
        row = tuple(tuple(t[i].detach().reshape(-1).tolist()) for t in inputs)
        first = seen.setdefault(row, i)
        if first != i and any(not torch.equal(t[i], t[first]) for t in targets):
            return True
    return False


def worst(evaluation: Evaluation | None) -> str:
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
