"""The experiments, and when they are made: before the first backward pass of a place, each in a child of its own."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import torch
from torch import nn

from ..isolation import in_child, obstacle
from ..quiet import say
from ..recorders.modules import ModuleRecorder
from ..recorders.optimizers import OptimizerRecorder
from ..results import Probe
from ..run import Backward
from ..store import decode, encode
from ..watch import Watch
from . import checking, collating, connectivity, fitting, flow, mixing, patterns, settings, signal, terms
from .names import EXPERIMENTS
from .replay import Buffers, Randomness, Skip, Stack
from .scene import Scene
from .staging import Stage

BUDGET = 20.0
"""Seconds that all experiments of a run may take by default."""
MAX_PLACES = 3
MAX_FRAMES = 100
MAX_BUFFERS = 64 << 20
"""Bytes of buffers that are copied before the first forward pass."""
SHORT = 3.0
LEAST = 0.5
"""Seconds below which an experiment is not begun."""


RUN: dict[str, Callable[[Scene], None]] = {
    "connectivity": connectivity.connectivity,
    "shapes": flow.shapes,
    "sizes": flow.sizes,
    "collate": collating.collate,
    "crosstalk": mixing.crosstalk,
    "input": signal.ignored,
    "chance": signal.chance,
    "terms": terms.terms,
    "functions": checking.functions,
    "losses": checking.losses,
    "overfit": fitting.overfit,
    "solvable": patterns.solvable,
    "rates": settings.rates,
    "optimizers": settings.optimizers,
    "regularisers": settings.regularisers,
    "labels": settings.labels,
    "search": settings.search,
}
"""What each experiment of :data:`names.EXPERIMENTS` does."""


class Prober:
    """Makes the experiments in ``names`` on an unmodified script."""

    def __init__(
        self,
        watch: Watch,
        modules: ModuleRecorder,
        optimizers: OptimizerRecorder,
        names: Sequence[str],
        budget: float = BUDGET,
    ) -> None:
        self._watch = watch
        self._modules = modules
        self._stage = Stage(watch, modules, optimizers)
        self._names = names
        self._left = budget
        self._places = 0
        self._stack: Stack = []
        self._states: list[Randomness] = []
        self._buffers: Buffers = ()
        watch.moment = self._moment

    def _moment(self, kind: str) -> None:
        """Remember where the forward pass began, and from which random numbers."""
        if kind == "forward":
            if self._stack:
                return
            self._stack = [(id(f), f.f_code, f.f_lineno) for f in self._frames(2)]
            self._buffers = self._buffers_of(self._modules.running)
        elif self._stack:
            return
        self._states = [*self._states[-2:], Randomness.now()]

    def _buffers_of(self, model: nn.Module | None) -> Buffers:
        """Copies of the buffers of the model that is called, where these are not large."""
        buffers = [] if model is None else [b for b in model.buffers() if b.layout is torch.strided]
        small = sum(b.numel() * b.element_size() for b in buffers) <= MAX_BUFFERS
        with torch.no_grad():
            return [(b, b.detach().clone()) for b in buffers] if small else ()

    def _frames(self, depth: int) -> list[FrameType]:
        """The running frames that are neither torch's nor ours, the innermost first."""
        frame: FrameType | None = sys._getframe(depth)
        found = []
        for _ in range(MAX_FRAMES):
            if frame is None:
                break
            if not self._watch.sites.is_skipped(frame.f_code.co_filename):
                found.append(frame)
            frame = frame.f_back
        return found

    def __call__(self, tensors: Any, place: Backward) -> None:
        """Before the first backward pass of a place: make the experiments. Never raises."""
        loss = tensors[0] if isinstance(tensors, list | tuple) and tensors else tensors
        stack, states = self._stack, self._states
        self._stack, self._states = [], []
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or loss.grad_fn is None:
            return
        self._places += 1
        try:
            self._probe(loss, place, stack, states or [Randomness.now()])
        except Exception as error:
            say(f"warning: probing failed ({type(error).__name__}: {error}); training goes on")
        if self._places >= MAX_PLACES:
            self._watch.moment = None

    def _probe(self, loss: torch.Tensor, place: Backward, stack: Stack, states: list[Randomness]) -> None:
        if self._places == 1:
            say(f"probing copies of the training, for at most {self._left:.0f} s")
        allowed = self._left if self._places == 1 and len(self._names) == 1 else 0.6 * self._left
        end = time.monotonic() + allowed
        began = time.monotonic()
        why = obstacle(t for module, _ in self._modules.roots() for t in (*module.parameters(), *module.buffers()))
        frames = self._frames(3)
        stage: Callable[[float], Scene] = functools.partial(
            self._stage.scene, loss, stack, states, self._buffers, frames
        )
        if why == "accelerator":
            stage, why = self._stage.copied(loss), ""
        for index, name in enumerate(self._names):
            probe = self._watch.record.new(Probe, name=name, line=place.line)
            if why:
                probe.reason = why
                continue
            seconds = time_for(name, self._names[index:], end - time.monotonic())
            self._make(probe, seconds, stage)
        self._left -= time.monotonic() - began

    def _make(self, probe: Probe, seconds: float, stage: Callable[[float], Scene]) -> None:
        """One experiment in its child; what it learned becomes nouns of the run."""
        if seconds < LEAST:
            probe.reason = "time"
            return
        began = time.monotonic()

        def work(send: Callable[[Any], None]) -> None:
            if "torch._dynamo" in sys.modules:
                torch._dynamo.config.disable = True
            scene = stage(0.8 * seconds)
            send({"model": scene.name})
            scene.send = lambda thing: send({"kind": thing.KIND, "data": encode(thing)})
            perform(probe.name, scene, send)

        answer = in_child(work, seconds)
        probe.seconds = time.monotonic() - began
        for message in answer.messages:
            if "kind" in message:
                self._watch.record.adopt(decode(message["kind"], message["data"]))
            elif "skip" in message:
                probe.reason, probe.detail = message["skip"], message["detail"]
            else:
                probe.model = message["model"]
        if answer.end and not probe.reason:
            probe.reason = answer.end
        self._watch.record.touch(probe)


def time_for(name: str, waiting: Sequence[str], left: float) -> float:
    """Seconds for an experiment: its share, and as much as short ones may need while there is time."""
    share = EXPERIMENTS[name].share / sum(EXPERIMENTS[other].share for other in waiting)
    return max(left * share, min(SHORT, left / 2), 0.0)


def perform(name: str, scene: Scene, send: Callable[[Any], None]) -> None:
    """One experiment; why it could not be made goes the same way as what it finds."""
    try:
        if scene.name == "?" and isinstance(scene.step, Skip):
            raise scene.step  # there is no model
        RUN[name](scene)
    except Skip as skip:
        send({"skip": skip.code, "detail": skip.detail})
    except MemoryError as error:
        send({"skip": "memory", "detail": str(error)})
    except Exception as error:
        code = "memory" if "memory" in str(error) else "failed"
        send({"skip": code, "detail": f"{type(error).__name__}: {error}"[:500]})
