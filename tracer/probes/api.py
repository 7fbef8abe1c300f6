"""The experiments for people's own tests: on a model, a batch and a loss that they hand over."""

from __future__ import annotations

import functools
import inspect
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ...rules.finding import Line
from ..evidence import listed
from ..isolation import in_child, obstacle
from ..results import Probe
from ..run import KINDS, Run
from ..sites import Sites
from ..store import decode, encode
from .experiments import perform, time_for
from .names import EXPERIMENTS, REASONS, unknown
from .replay import Randomness, Step, tensors_in
from .scene import Scene

Loss = Callable[[Any, Any], torch.Tensor]
SECONDS = 20.0


class Inconclusive(AssertionError):
    """The experiment could not be made, so nothing is known; the text says why."""


class Probed(NamedTuple):
    """``run`` holds what the experiments left: ``run.probes``, ``run.fits``, ``run.mixes`` ..."""

    run: Run

    def reason(self, name: str) -> str:
        """Why an experiment could not be made, "" if it was."""
        probe = next(probe for probe in self.run.probes if probe.name == name)
        words = REASONS.get(probe.reason, probe.reason)
        return f"{words} ({probe.detail})" if probe.reason and probe.detail else words


def probe(
    model: nn.Module,
    batch: tuple[Any, Any],
    loss: Loss,
    *,
    experiments: Sequence[str] = (),
    seconds: float = SECONDS,
    optimizer: torch.optim.Optimizer | None = None,
) -> Probed:
    """Try a model in a forked child; it, the batch, and the random generators stay as they are.

    ``batch`` is ``(inputs, targets)``: inputs are a tensor, or a tuple or dict of arguments of the model, with the
    samples on the first axis. ``loss`` takes the model's output and the targets and returns one number.
    ``experiments`` are names of :data:`.names.EXPERIMENTS` (all usual ones by default), ``seconds`` the time for
    all together. Raises ``ValueError`` for an unknown name.
    """
    names = list(experiments or (name for name, about in EXPERIMENTS.items() if not about.optional))
    if wrong := unknown(names):
        raise ValueError(wrong)
    run = Run()
    end = time.monotonic() + seconds
    why = obstacle((*model.parameters(), *model.buffers()))
    for index, name in enumerate(names):
        allowed = time_for(name, names[index:], max(0.1, end - time.monotonic()))
        made = Probe(len(run.probes) + 1, name, reason=why)
        run.things[Probe.KIND][made.key] = made
        if not why:
            _make(made, run, allowed, functools.partial(_scene, model, batch, loss, optimizer, allowed))
    return Probed(run)


def _make(made: Probe, run: Run, seconds: float, scene_of: Callable[[], Scene]) -> None:
    began = time.monotonic()

    def work(send: Callable[[Any], None]) -> None:
        scene = scene_of()
        scene.send = lambda thing: send({"kind": thing.KIND, "data": encode(thing)})
        perform(made.name, scene, send)

    answer = in_child(work, seconds)
    made.seconds = time.monotonic() - began
    made.reason = answer.end
    for message in answer.messages:
        if "kind" in message:
            thing = decode(message["kind"], message["data"])
            thing.key = 1 + sum(len(run.things[kind.KIND]) for kind in KINDS)
            run.things[thing.KIND][thing.key] = thing
        else:
            made.reason, made.detail = message["skip"], message["detail"]


def _scene(
    model: nn.Module, batch: tuple[Any, Any], loss: Loss, optimizer: torch.optim.Optimizer | None, seconds: float
) -> Scene:
    inputs, targets = batch
    args = inputs if isinstance(inputs, tuple) else () if isinstance(inputs, dict) else (inputs,)
    kwargs = inputs if isinstance(inputs, dict) else {}

    def run(names: dict[str, Any]) -> torch.Tensor:
        with torch.enable_grad():
            return loss(model(*names["args"], **names["kwargs"]), names["targets"])

    state = Randomness(torch.get_rng_state(), np.random.get_state(), random.getstate())
    names = {"args": args, "kwargs": kwargs, "targets": targets}
    step = Step(run, names, state, reads=frozenset(names))
    tensors = [t for t in tensors_in([args, kwargs]) if t.dim()]
    sites = Sites(_torch_folder())
    return Scene(
        model,
        "model",
        args,
        kwargs,
        None,
        step,
        lambda: sites.here(3),
        optimizers=() if optimizer is None else (optimizer,),
        batch_size=tensors[0].shape[0] if tensors else 0,
        sure=True,
        lines=sites.user_line,
        code_line=sites.function_line,
        seconds=0.8 * seconds,
    )


def _torch_folder() -> str:
    return str(inspect.getfile(torch)).rpartition("/")[0]


# ---------------------------------------------------------------------------- assertions


def _asserted(model: nn.Module, batch: Any, loss: Loss, name: str, seconds: float, **more: Any) -> Run:
    probed = probe(model, batch, loss, experiments=[name], seconds=seconds, **more)
    if reason := probed.reason(name):
        raise Inconclusive(f"nothing is known: {reason}")
    return probed.run


def _fail(facts: list[str]) -> None:
    if facts:
        raise AssertionError("; ".join(facts))


def _at(line: Line | None) -> str:
    return "" if line is None else f" at {line.file}:{line.row}"


def assert_connected(model: nn.Module, batch: tuple[Any, Any], loss: Loss, *, seconds: float = SECONDS) -> None:
    """The loss reaches every parameter that requires gradients.

    Raises ``AssertionError`` with the operation at which the path ends, :class:`Inconclusive` where it cannot be tried.
    """
    run = _asserted(model, batch, loss, "connectivity", seconds)
    words = {"unused": "their layer does not run", "": "what they compute is not part of the loss"}
    _fail(
        [
            f"the loss does not reach {listed(cut.parameters)}: "
            + words.get(cut.operation, f"the path ends in `{cut.operation}`{_at(cut.line)}")
            for cut in run.cuts
        ]
    )


def assert_no_crosstalk(model: nn.Module, batch: tuple[Any, Any], loss: Loss, *, seconds: float = SECONDS) -> None:
    """In evaluation mode the output for one sample does not depend on the other samples of the batch."""
    run = _asserted(model, batch, loss, "crosstalk", seconds)
    _fail([f"`{mix.operation}`{_at(mix.line)} lets {mix.changed} other samples know of one" for mix in run.mixes])


def assert_shapes_flow(model: nn.Module, batch: tuple[Any, Any], loss: Loss, *, seconds: float = SECONDS) -> None:
    """No view exchanges axes, and the model takes smaller batches too."""
    facts = [
        f"`{mix.operation}`{_at(mix.line)} exchanges axes: {mix.inputs} -> {mix.outputs}"
        for mix in _asserted(model, batch, loss, "shapes", seconds / 2).mixes
    ]
    run = _asserted(model, batch, loss, "sizes", seconds / 2)
    facts += [f"{resize.samples} samples fail{_at(resize.line)}: {resize.message}" for resize in run.resizes]
    _fail(facts)


def assert_loss_at_chance(
    model: nn.Module, batch: tuple[Any, Any], loss: Loss, *, factor: float = 2.0, seconds: float = SECONDS
) -> None:
    """The untrained model's loss lies within a ``factor`` of that of a guess (cross-entropies without weights)."""
    run = _asserted(model, batch, loss, "chance", seconds)
    _fail(
        [
            f"the first loss is {chance.real:.4g}, a guess gives {chance.expected:.4g}"
            for chance in run.chances
            if not chance.expected / factor <= chance.real <= chance.expected * factor
        ]
    )


def assert_overfits(
    model: nn.Module,
    batch: tuple[Any, Any],
    loss: Loss,
    *,
    left: float = 0.5,
    optimizer: torch.optim.Optimizer | None = None,
    seconds: float = SECONDS,
) -> None:
    """A copy learns the batch by heart: its loss falls below ``left`` of what the best constant reaches."""
    run = _asserted(model, batch, loss, "overfit", seconds, optimizer=optimizer)
    bad = [fit for fit in run.fits if fit.best > left * fit.constant]
    if any(not fit.settled for fit in bad) or not run.fits:
        raise Inconclusive("nothing is known: the time was over before the loss had settled, or no target differs")
    _fail(
        [
            f"{fit.samples} samples are not learned by heart: the best loss is {fit.best:.4g}, a constant reaches "
            f"{fit.constant:.4g}" + (f"; least of all {fit.worst}" if fit.worst else "")
            for fit in bad
        ]
    )


def assert_gradients_correct(model: nn.Module, batch: tuple[Any, Any], loss: Loss, *, seconds: float = SECONDS) -> None:
    """The gradients of the autograd functions that the code around the model defines agree with differences."""
    run = _asserted(model, batch, loss, "functions", seconds)
    _fail(
        [
            f"`{check.name}` argument {check.argument + 1}{_at(check.line)}: {check.formula:.6g} by formula, "
            f"{check.differences:.6g} by differences"
            for check in run.checks
            if check.wrong
        ]
    )
