"""A tracer: all recorders placed on the running process, and taken off again."""

from __future__ import annotations

import os
import platform
import sys
import time
import traceback
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch

from ..rules.finding import Line
from .launch import Enough
from .origin import Origin
from .probes.experiments import BUDGET, Prober
from .quiet import say
from .recorders.data import DataRecorder
from .recorders.dropout import DropoutRecorder
from .recorders.gradients import GradientRecorder
from .recorders.losses import LossRecorder
from .recorders.metrics import MetricRecorder
from .recorders.modules import ModuleRecorder
from .recorders.optimizers import OptimizerRecorder
from .recorders.processes import ProcessRecorder
from .run import SCHEMA, Failure, Run
from .store import Record
from .warning_lines import WarningLines
from .watch import Recorder, Watch

JUDGE_AT = (5, 10, 20, 50, 100, 200, 500, 1000)
"""Steps after which the run is judged for the first times; later every :data:`JUDGE_EVERY` seconds."""
JUDGE_EVERY = 10.0
MAX_FILES = 5000


@dataclass(frozen=True)
class Settings:
    """How to watch: ``steps`` optimizer steps at most, close looks ``every`` so many of them (None: by cost).

    ``probes`` are the experiments to make, for at most ``probe_budget`` seconds.
    """

    run_dir: Path | None = None
    steps: int | None = None
    every: int | None = None
    find_nan: bool = False
    probes: Sequence[str] = ()
    probe_budget: float = BUDGET
    arguments: Sequence[str] = ()


class Tracer:
    """Watches everything that trains in this process from :meth:`attach` to :meth:`detach`.

    ``judge`` is called now and then with the run so far.
    """

    def __init__(self, settings: Settings, judge: Callable[[Run], None] | None = None) -> None:
        rank = int(os.environ.get("RANK", "0") or 0)
        path = None if settings.run_dir is None else settings.run_dir / f"rank{rank}.sqlite"
        self.settings = settings
        self.record = Record(path, lambda text: say(f"warning: {text}"))
        self.watch = Watch(self.record, settings.every, settings.find_nan)
        self._judge = judge
        self._judged_at = time.perf_counter()
        modules = ModuleRecorder(self.watch)
        optimizers = OptimizerRecorder(self.watch, modules)
        gradients = GradientRecorder(self.watch, modules, optimizers)
        self.modules = modules
        self.gradients = gradients
        self.recorders: list[Recorder] = [
            DataRecorder(self.watch),
            MetricRecorder(self.watch),
            modules,
            LossRecorder(self.watch, modules),
            DropoutRecorder(self.watch, modules),
            gradients,
            optimizers,
            ProcessRecorder(self.watch),
            WarningLines(self.watch),
        ]
        self.origin = Origin(self.watch, modules)
        gradients.examine = self.origin.examine
        if settings.probes:
            gradients.probe = Prober(self.watch, modules, optimizers, settings.probes, settings.probe_budget)
        self.watch.after_step.append(self._stepped)
        self._pid = os.getpid()
        self.record.run.meta.update(
            schema=SCHEMA,
            torch=torch.__version__,
            python=platform.python_version(),
            arguments=list(settings.arguments),
            folder=os.getcwd(),
            rank=rank,
            world=int(os.environ.get("WORLD_SIZE", "1") or 1),
            pid=self._pid,
            began=time.time(),
            steps=0,
        )

    @property
    def run(self) -> Run:
        """What was recorded so far."""
        return self.record.run

    @property
    def is_owner(self) -> bool:
        """False in a forked child that came back to the caller."""
        return os.getpid() == self._pid

    def attach(self) -> Tracer:
        """Begin."""
        self.record.start()
        for recorder in self.recorders:
            try:
                recorder.attach()
            except Exception as error:
                self.watch.fail(recorder, error)
        _ATTACHED.add(self)
        return self

    def detach(self) -> Run:
        """End: take everything off and write the rest."""
        if not self.is_owner:
            return self.run
        _ATTACHED.discard(self)
        try:
            self.watch.numbers.fetch(wait=True)
            self._note_unseen()
            self.run.meta["files"] = self._files()
        except Exception as error:  # on a device that has failed nothing can be fetched any more
            say(f"warning: the last numbers could not be recorded ({type(error).__name__}: {error})")
        for recorder in reversed(self.recorders):
            try:
                recorder.detach()
            except Exception as error:
                name = type(recorder).__name__
                say(f"warning: {name} could not be taken off ({type(error).__name__}: {error})")
        self.watch.on = False
        self.run.meta["seconds"] = time.time() - self.run.meta["began"]
        self.record.stop()
        return self.run

    def _files(self) -> list[str]:
        """The user's files that are loaded: what lies in others cannot have run."""
        found = set()
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and self.watch.sites.is_user(file):
                with suppress(OSError):  # the script may have removed the folder that it runs in
                    found.add(os.path.abspath(file))
        return sorted(found)[:MAX_FILES]

    def _note_unseen(self) -> None:
        dynamo = sys.modules.get("torch._dynamo.utils")
        if dynamo is not None and dynamo.counters["stats"].get("unique_graphs"):
            self.watch.note("activations and losses inside torch.compile (--eager switches it off)")

    def _forked(self) -> None:
        """A worker process: the record belongs to the parent, and nothing here is training."""
        self.record.forget()
        self.watch.on = False
        for recorder in self.recorders:
            recorder.on = False

    def _stepped(self) -> None:
        steps = self.watch.steps
        if self._judge is not None:
            now = time.perf_counter()
            if steps in JUDGE_AT or now - self._judged_at > JUDGE_EVERY:
                try:
                    self._judge(self.run)
                except Exception as error:
                    self._judge = None
                    say(f"warning: judging failed ({type(error).__name__}: {error}); it is tried again at the end")
                self._judged_at = time.perf_counter()
        if self.settings.steps is not None and steps >= self.settings.steps:
            raise Enough

    def failed(self, error: BaseException) -> None:
        """The script ended with an exception: note what ran up to it."""
        if isinstance(error, Enough | SystemExit | KeyboardInterrupt):
            return
        try:
            self._note_failure(error)
        except Exception as own:
            say(f"warning: the exception could not be recorded ({type(own).__name__}: {own})")

    def _note_failure(self, error: BaseException) -> None:
        modules = self.modules
        thing = modules.failed_in
        message = str(error).strip()
        uses = list(self.watch.losses_since_backward)
        self.record.new(
            Failure,
            line=_user_line(self.watch, error.__traceback__),
            type=type(error).__name__,
            message=message[:2000],
            module=None if thing is None else thing.key,
            flow=modules.failed_flow,
            loss=uses[-1] if uses else None,
        )


_ATTACHED: weakref.WeakSet[Tracer] = weakref.WeakSet()
"""What a fork must know of. A registration cannot be taken back, and would keep a tracer and all it knows alive."""


def _forked() -> None:
    for tracer in list(_ATTACHED):
        tracer._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _user_line(watch: Watch, trace: TracebackType | None) -> Line | None:
    """The innermost line of the user's in a traceback."""
    frames = [f for f in traceback.extract_tb(trace) if watch.sites.is_user(f.filename)]
    return Line(os.path.abspath(frames[-1].filename), frames[-1].lineno or 1, frames[-1].name) if frames else None
