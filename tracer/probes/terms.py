"""How strongly each term of a sum pulls at the weights."""

from __future__ import annotations

import torch

from ..results import Term
from .replay import Skip
from .scene import Scene, calm


def terms(scene: Scene) -> None:
    """The norm of the gradient of every known loss in the sum, and of what is left, over the weights that all reach.

    The factor of a term is the derivative of the sum by it, so weights of terms count as the script sets them.
    """
    step = scene.needs_step
    step.randomness.restore()
    with calm(scene.model):
        evaluation = scene.evaluate()
    uses = [use for use in evaluation.losses if use.result.requires_grad and use.result.numel() == 1]
    factors = [_factor(evaluation.loss, use.result) for use in uses]
    pairs = [(use, factor) for use, factor in zip(uses, factors, strict=True) if factor]
    shared = _shared([evaluation.loss, *(use.result for use, _ in pairs)], scene)
    if not pairs or not shared:
        raise Skip("one-term")
    total = _gradient(evaluation.loss, shared)
    parts = [(use, factor * _gradient(use.result, shared)) for use, factor in pairs]
    rest = total - sum((part for _, part in parts), torch.zeros_like(total))
    # What rounding leaves of a sum whose terms are all known is no term.
    left = float(rest.norm()) if float(rest.norm()) > 1e-4 * float(total.norm()) else 0.0
    if len(parts) + bool(left) < 2:
        raise Skip("one-term")
    for use, part in parts:
        scene.send(Term(0, use.line, use.name, float(use.result.detach()), float(part.norm())))
    if left:
        scene.send(Term(0, None, "", 0.0, left))


def _factor(loss: torch.Tensor, result: torch.Tensor) -> float:
    if result is loss:
        return 1.0
    (gradient,) = torch.autograd.grad(loss, result, retain_graph=True, allow_unused=True)
    return 0.0 if gradient is None else float(gradient)


def _shared(losses: list[torch.Tensor], scene: Scene) -> list[torch.Tensor]:
    """The weights that all of them reach."""
    reached = [{id(t) for t in scene.trained(loss)} for loss in losses]
    return [t for t in scene.trained(losses[0]) if all(id(t) in keys for keys in reached)]


def _gradient(loss: torch.Tensor, tensors: list[torch.Tensor]) -> torch.Tensor:
    found = torch.autograd.grad(loss, tensors, retain_graph=True, allow_unused=True)
    return torch.cat([g.reshape(-1).double() for g in found if g is not None and not g.is_sparse])
