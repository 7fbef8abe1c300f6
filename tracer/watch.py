"""What all recorders share: the record, the clock, which steps are looked at closely, and what may go wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from ..rules.finding import Line
from .numbers import Numbers
from .quiet import say
from .run import Note, Run
from .sites import Sites

if TYPE_CHECKING:
    from .recorders.data import Reading
    from .store import Record

DENSE_STEPS = 20
"""The first steps are all looked at closely: most mistakes show at once."""
MIN_INTERVAL = 10
MAX_INTERVAL = 2000
MAX_LIGHT = 50
TIMED_STEPS = 32
LIGHT_SHARE = 0.005
"""Share of the run's time that reading gradient norms and losses may take: of very short steps not all are read."""
FREE_LIGHT = 0.05
"""Seconds of such reading that are not counted: of a short run every step is kept."""
SHARE = 0.01
"""Share of the run's time that close looks may take."""

T = TypeVar("T")


class Watch:
    """The state of one traced run."""

    def __init__(self, record: Record, every: int | None = None, find_nan: bool = False) -> None:
        self.record = record
        self.run: Run = record.run
        self.numbers = Numbers()
        self.sites = Sites(os.path.dirname(torch.__file__))
        self.find_nan = find_nan
        self.every = every
        self.on = True
        self.in_backward = False
        """Forward calls inside backward recompute activations; they are not the script's."""
        self.steps = 0
        self.backwards = 0
        self.close = True
        """Whether the step under way is looked at closely."""
        self.light = True
        """Whether its gradient norms and losses are kept: always, unless that costs too much of so short a step."""
        self.readings: list[Reading] = []
        """Iterations over loaders that are under way, the one that gave the latest batch last."""
        self.losses_since_backward: dict[int, None] = {}
        self.spent = 0.0
        """Seconds that close looks have taken."""
        self.spent_light = 0.0
        """Seconds that light looks have taken since steps were timed last."""
        self._interval = MIN_INTERVAL
        self._next_look = DENSE_STEPS
        self._light_every = 1
        self._lights = 0
        self._free_light = FREE_LIGHT
        self._timed = (0, time.perf_counter())
        self._started = time.perf_counter()
        self._spent_before = 0.0
        self._seen_from = self._started
        self._notes: set[str] = set()
        self.moment: Callable[[str], None] | None = None
        """Told of a batch, a clearing of gradients, and an outermost forward pass, as long as somebody listens."""
        self.after_step: list[Callable[[], None]] = []
        self.functions: list[tuple[Any, str]] = []
        """Patched functions of torch, which ``torch.jit.script`` must see as they were."""

    # ------------------------------------------------------------------ the clock

    def step_done(self) -> None:
        """An outermost optimizer step has ended: fetch the numbers and decide on the next step."""
        self.steps += 1
        self.run.meta["steps"] = self.steps
        self.close = self._is_close()
        if self.steps % TIMED_STEPS == 0:
            self._pace()
        self.light = self.close or self.steps % self._light_every == 0
        self._lights += self.light and not self.close
        for call in self.after_step:
            call()

    def _pace(self) -> None:
        """How many steps one light look is worth."""
        now = time.perf_counter()
        seconds = (now - self._timed[1]) / (self.steps - self._timed[0])
        self._free_light -= self.spent_light
        if self._lights and self._free_light < 0:
            cost = self.spent_light / self._lights
            self._light_every = max(1, min(MAX_LIGHT, round(cost / (LIGHT_SHARE * max(seconds, 1e-6)))))
        self._timed = (self.steps, now)
        self._lights, self.spent_light = 0, 0.0

    def spend(self, began: float) -> None:
        """Account for what a look since ``began`` (of ``time.perf_counter``) has taken."""
        took = time.perf_counter() - began
        if self.close:
            self.spent += took
        else:
            self.spent_light += took

    def _is_close(self) -> bool:
        if self.steps < DENSE_STEPS:
            return True
        if self.every is not None:
            return self.steps % self.every == 0
        if self.steps < self._next_look:
            return False
        now = time.perf_counter()
        share = (self.spent - self._spent_before) / max(now - self._seen_from, 1e-9)
        if share > SHARE:
            self._interval = min(MAX_INTERVAL, self._interval * 2)
        elif share < SHARE / 3:
            self._interval = max(MIN_INTERVAL, self._interval // 2)
        self._spent_before, self._seen_from = self.spent, now
        self._next_look = self.steps + self._interval
        return True

    # ------------------------------------------------------------------ helpers of recorders

    def here(self, depth: int = 1) -> Line | None:
        """The user's line that is running."""
        return self.sites.here(depth + 1)

    def note(self, text: str) -> None:
        """Something that cannot be observed; the verdict says so."""
        if text not in self._notes:
            self._notes.add(text)
            self.record.new(Note, text=text)

    def fail(self, recorder: Recorder, error: BaseException) -> None:
        """A recorder raised: it is switched off, the training goes on."""
        if recorder.on:
            recorder.on = False
            name = type(recorder).__name__
            say(f"warning: {name} failed and is switched off ({type(error).__name__}: {error}); training goes on")
            self.note(f"what {name} records, because it failed: {type(error).__name__}: {error}")


class Recorder:
    """One subject that is observed. ``attach`` places hooks and patches, ``detach`` takes them off."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.on = True
        self._undo: list[Callable[[], Any]] = []

    def attach(self) -> None:
        """Begin to observe."""

    def detach(self) -> None:
        """Leave everything as it was."""
        self.on = False
        while self._undo:
            self._undo.pop()()

    def patch_function(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """:meth:`patch` a function that scripted code may call."""
        self.patch(owner, name, make)
        self.watch.functions.append((owner, name))

    def patch(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace ``owner.name`` by what ``make`` returns for the original, until :meth:`detach`."""
        original = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)
        replacement = make(original)
        setattr(owner, name, replacement)

        def undo() -> None:
            # Somebody may have wrapped ours meanwhile: then theirs stays, and ours in it does nothing any more.
            now = owner.__dict__.get(name) if isinstance(owner, type) else getattr(owner, name, None)
            if now is replacement:
                setattr(owner, name, original)

        self._undo.append(undo)
