"""Gradients by formula against differences in float64: of autograd functions and losses that the script defines.

As ``torch.autograd.gradcheck``, along a few random directions instead of entry by entry, so that the size does not
matter, and with an eye for gradients that are another thing on purpose: where the function is the identity (gradient
reversal, scaling) or where it is a step (straight-through, spikes, quantisation), any formula is a design.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ...rules.finding import Line
from ..recorders.gradients import MAX_NODES
from ..results import Check
from .replay import Skip, tensors_in
from .scene import Scene, calm

DIRECTIONS = 3
WIDTHS = (1e-4, 1e-5)
WRONG, STABLE = 1e-2, 1e-3
"""Relative error that is one, and how far two differences may be apart."""
MAX_FUNCTIONS = 8


def functions(scene: Scene) -> None:
    """Every autograd function of the script's own on the way to the loss."""
    loss = scene.loss if scene.loss is not None else scene.needs_step.original()
    found = {cls for node in nodes_of(loss) if (cls := getattr(node, "_forward_cls", None)) is not None}
    own = [cls for cls in found if scene.code_line(cls.forward) is not None][:MAX_FUNCTIONS]
    if not own:
        raise Skip("no-own-function")
    given: dict[type, tuple[Any, ...]] = {}
    for cls in own:
        _listen(cls, given)
    scene.needs_step.original()
    for cls in sorted(given, key=lambda cls: cls.__qualname__):
        line = scene.code_line(cls.backward) or scene.code_line(cls.forward)  # type: ignore[attr-defined]
        apply: Callable[..., Any] = cls.apply  # type: ignore[attr-defined]
        for check in _checks(cls.__name__, line, apply, given[cls]):
            scene.send(check)


def nodes_of(loss: torch.Tensor) -> Iterator[Any]:
    """The nodes of its graph."""
    queue = [loss.grad_fn]
    seen = set(queue)
    while queue and len(seen) < MAX_NODES:
        node = queue.pop()
        if node is None:
            continue
        yield node
        for inner, _ in node.next_functions:
            if inner not in seen:
                seen.add(inner)
                queue.append(inner)


def _listen(cls: Any, given: dict[type, tuple[Any, ...]]) -> None:
    """Keep what the function is applied to."""
    original = cls.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        own = args[1:] if args and isinstance(args[0], torch.autograd.function.FunctionCtx) else args
        given.setdefault(cls, tuple(own))
        return original(*args, **kwargs)

    cls.forward = staticmethod(forward)


def _checks(name: str, line: Line | None, call: Callable[..., Any], args: tuple[Any, ...]) -> Iterator[Check]:
    """One for each tensor that gradients are for; those that cannot be judged are left out."""
    generator = torch.Generator().manual_seed(0)
    inputs = [_double(a) for a in args]
    with torch.no_grad():
        plain = _first(call(*inputs))
    for place, value in enumerate(inputs):
        if not isinstance(value, torch.Tensor) or not value.is_floating_point() or not value.numel():
            continue
        if plain is None or plain.dtype is not torch.float64 or not bool(torch.isfinite(plain).all()):
            return
        if plain.shape == value.shape and torch.equal(plain, value):
            continue  # the identity: its gradient is changed on purpose
        pairs = [_pair(call, inputs, place, generator) for _ in range(DIRECTIONS)]
        known = [pair for pair in pairs if pair is not None]
        check = Check(0, line, name, argument=place)
        if known:
            errors = [abs(f - d) / max(abs(f), abs(d), 1e-9) for f, d in known]
            worst = max(range(len(known)), key=lambda i: errors[i])
            check.formula, check.differences = known[worst]
            check.wrong = len(known) == DIRECTIONS and min(errors) > WRONG and not all(d == 0 for _, d in known)
        yield check


def _double(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.detach()
        return value.double() if value.is_floating_point() else value
    return value


def _first(value: Any) -> torch.Tensor | None:
    return next((t for t in tensors_in(value) if t.is_floating_point()), None)


def _pair(
    call: Callable[..., Any], inputs: list[Any], place: int, generator: torch.Generator
) -> tuple[float, float] | None:
    """The derivative along one direction by formula and by differences; None where these are not stable."""
    x = inputs[place].clone().requires_grad_(True)
    output = _first(call(*inputs[:place], x, *inputs[place + 1 :]))
    if output is None or not output.requires_grad:
        return None
    weights = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(output, x, weights, allow_unused=True)
    formula = 0.0 if gradient is None else float((gradient * direction).sum())

    def along(width: float) -> float:
        with torch.no_grad():
            sides = [
                _first(call(*inputs[:place], inputs[place] + sign * width * direction, *inputs[place + 1 :]))
                for sign in (1, -1)
            ]
        return float(((sides[0] - sides[1]) * weights).sum() / (2 * width))  # type: ignore[operator]

    wide, narrow = (along(width) for width in WIDTHS)
    if not math.isfinite(wide) or abs(wide - narrow) > STABLE * max(abs(wide), abs(narrow), 1e-9):
        return None  # a step, or an edge
    return formula, narrow


# ---------------------------------------------------------------------------- losses


def losses(scene: Scene) -> None:
    """Losses that the script defines: functions of a prediction and a target of equal shape that return one number."""
    step = scene.needs_step
    with calm(scene.model):
        found = _own_loss(scene, step.original)
    if found is None:
        raise Skip("no-own-loss")
    name, line, call, prediction, target = found
    check = Check(0, line, name, is_loss=True)
    for detail, values in _faults(call, prediction, target):
        check.wrong, check.detail, (check.formula, check.differences) = True, detail, values
        break
    scene.send(check)


Found = tuple[str, Line | None, Callable[..., torch.Tensor], torch.Tensor, torch.Tensor]


def _own_loss(scene: Scene, evaluate: Callable[[], torch.Tensor]) -> Found | None:
    """The innermost function of the script's that was given both, and returned a number with a graph."""
    found: list[Found] = []

    def profile(frame: Any, event: str, value: Any) -> None:
        if event != "return" or not isinstance(value, torch.Tensor) or found:
            return
        if value.numel() != 1 or not value.requires_grad or scene.line_of(frame, frame.f_lineno) is None:
            return
        code = frame.f_code
        names = code.co_varnames[: code.co_argcount]
        given = [(n, frame.f_locals.get(n)) for n in names]
        tensors = [(n, t) for n, t in given if isinstance(t, torch.Tensor) and t.is_floating_point()]
        if len(tensors) != 2 or tensors[0][1].shape != tensors[1][1].shape or tensors[0][1].numel() < 2:
            return
        (_, first), (_, second) = tensors
        if first.requires_grad == second.requires_grad:
            return
        function = _callable(frame, [n for n, _ in given])
        if function is None:
            return
        prediction, target = (first, second) if first.requires_grad else (second, first)
        order = [i for i, (n, _) in enumerate(given) if isinstance(frame.f_locals.get(n), torch.Tensor)]
        held = [v for _, v in given]
        places = order if first.requires_grad else order[::-1]

        def call(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            args = list(held)
            args[places[0]], args[places[1]] = p, t
            return function(*args)  # type: ignore[no-any-return]

        line = scene.line_of(frame, code.co_firstlineno)
        found.append((code.co_name, line, call, prediction.detach(), target.detach()))

    sys.setprofile(profile)
    try:
        evaluate()
    finally:
        sys.setprofile(None)
    return found[0] if found else None


def _callable(frame: Any, names: list[str]) -> Callable[..., Any] | None:
    """The function whose code runs in this frame: a method of its first argument, or a global one."""
    code = frame.f_code
    owner = frame.f_locals.get(names[0]) if names else None
    function = getattr(type(owner), code.co_name, None) if owner is not None else None
    if getattr(function, "__code__", None) is code:
        return function
    function = frame.f_globals.get(code.co_name)
    return function if getattr(function, "__code__", None) is code else None


def _faults(
    call: Callable[..., torch.Tensor], prediction: torch.Tensor, target: torch.Tensor
) -> Iterator[tuple[str, tuple[float, float]]]:
    """What is wrong with a loss, and the two numbers that show it."""
    p, t = prediction.double(), target.double()
    here = float(call(p, t))
    if not math.isfinite(here):
        return
    if abs(float(call(p, t)) - here) > 1e-9 * max(1.0, abs(here)):
        return  # it draws random numbers
    pair = [_pair(call, [p, t], 0, torch.Generator().manual_seed(seed)) for seed in range(DIRECTIONS)]
    known = [each for each in pair if each is not None]
    if len(known) == DIRECTIONS and all(f == 0 and abs(d) > 1e-9 for f, d in known):
        yield "no gradient reaches the prediction", known[0]
    mirror = 2 * t.mean() - t
    at, away = float(call(t, t)), float(call(mirror, t))
    if math.isfinite(at) and math.isfinite(away) and float(t.std()) > 0 and at > away + 1e-6 * max(abs(at), abs(away)):
        yield "it is higher at the target than far from it", (at, away)
    x = t.clone().requires_grad_(True)
    value = call(x, t)
    gradient = torch.autograd.grad(value, x, allow_unused=True)[0] if value.requires_grad else None
    if not math.isfinite(float(value)):
        yield "it is not finite for a perfect prediction", (float(value), here)
    elif gradient is not None and not bool(torch.isfinite(gradient).all()):
        yield "its gradient is not finite for a perfect prediction", (math.nan, here)
    if len(p) > 2:
        turned = torch.randperm(len(p), generator=torch.Generator().manual_seed(1))
        other = float(call(p[turned], t[turned]))
        if abs(other - here) > 1e-4 * max(abs(here), 1e-9):
            yield "it depends on the order of the samples", (other, here)
