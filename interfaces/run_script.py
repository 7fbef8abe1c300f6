"""``nnaudit trace``: the script runs in this process, its exit status and traceback stay its own."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..tracer import launch
from ..tracer.arrival import when_imported
from . import trace as tracing
from .selection import Wanted

if TYPE_CHECKING:
    from ..tracer.attach import Tracer
    from ..tracer.run import Run

FOUND, FAILED = 1, 2


def run_script(script: str, arguments: Sequence[str], wanted: Wanted, options: dict[str, Any], *, audit: bool) -> int:
    """Run it under the tracer, print the verdict, and return the exit status; with ``audit`` scan its project too.

    ``options`` are those of the command line: as_module, steps, every, run_dir, eager, find_nan,
    probes, probe_budget, output_format, output_file, exit_zero.
    """
    if options["eager"]:
        os.environ["TORCH_COMPILE_DISABLE"] = "1"
    folder, pid = os.getcwd(), os.getpid()
    ending = launch.Interrupted()
    judge, problems = tracing.prepare(wanted, Path())
    if audit:
        from .audit import Auditor

        judge = Auditor(judge.rules, judge.config, script=script, wanted=wanted)
    if problems:
        return _refuse(*(str(problem) for problem in problems))
    try:
        tracing.require_torch()
        start = launch.module if options["as_module"] else launch.script
        program = start(script, arguments)
    except (tracing.Unavailable, launch.CannotStart) as error:
        return _refuse(str(error))
    from .cli import give_streams_back

    run_dir = Path(options["run_dir"]) if options["run_dir"] else tracing.new_run_dir(script)
    # One voice for all ranks; the others' records are judged by `nnaudit report`.
    speaks, alone = int(os.environ.get("RANK", "0") or 0) == 0, int(os.environ.get("WORLD_SIZE", "1") or 1) == 1
    attached = _Attached((script, *arguments), run_dir, judge.live if speaks else None, options)
    stop_waiting = when_imported("torch", attached.attach)
    give_streams_back()
    try:
        outcome = launch.execute(program)
    except launch.CannotStart as error:
        attached.detach()
        return _refuse(str(error))
    finally:
        stop_waiting()
    ending.by_signal = outcome.interrupted
    if outcome.error is not None:
        if attached.tracer is not None:
            attached.tracer.failed(outcome.error)
        launch.show(outcome.error)
    _flush(sys.stdout)
    run = attached.detach()
    if os.getpid() != pid:
        return outcome.status
    if run is None or attached.tracer is None:
        return outcome.status or _refuse(attached.failure)
    # The script may have gone to another folder: paths are shown, and files written, as seen from where we began.
    with _inside(folder):
        recorded = None if attached.tracer.record.failed else str(run_dir)
        judgement = _judged(judge, run, recorded)
        said = judgement is not None and (not speaks or _say(judgement, options))
    if outcome.status:
        return outcome.status
    if judgement is None or not said:
        return FAILED
    if not run.backwards and not run.passes:
        what = "no training was seen: no module ran forward and nothing called backward in this process"
        return _refuse(f"{what}; name the script that trains (child processes are not traced)")
    # A launcher takes a rank's status for a crash and kills the others.
    return FOUND if judgement.findings and alone and not options["exit_zero"] else 0


class _Attached:
    """The tracer, from the script's own import of torch on."""

    def __init__(
        self, command: Sequence[str], run_dir: Path, live: Callable[[Run], None] | None, options: dict[str, Any]
    ) -> None:
        self.tracer: Tracer | None = None
        self.failure = "no training was seen: the script did not import torch; name the script that trains"
        self._make = functools.partial(self._made, tuple(command), run_dir, live, options)

    def attach(self) -> None:
        """Torch is there. Whatever goes wrong is no reason for the script to stop."""
        try:
            self.tracer = self._make()
        except Exception as error:
            traceback.print_exc()
            self.failure = f"the tracer could not be attached ({type(error).__name__}: {error}), please report it"

    @staticmethod
    def _made(
        command: tuple[str, ...], run_dir: Path, live: Callable[[Run], None] | None, options: dict[str, Any]
    ) -> Tracer:
        from ..tracer.attach import Settings, Tracer

        settings = Settings(
            run_dir,
            options["steps"],
            options["every"],
            options["find_nan"],
            options["probes"],
            options["probe_budget"],
            command,
        )
        return Tracer(settings, live).attach()

    def detach(self) -> Run | None:
        """What was recorded, if anything."""
        return None if self.tracer is None else self.tracer.detach()


def _judged(judge: tracing.Judge, run: Run, recorded: str | None) -> tracing.Judgement | None:
    """The judgement; where a rule fails, the script's end still is its own."""
    try:
        return judge.final(run, recorded)
    except Exception as error:
        traceback.print_exc()
        again = "" if recorded is None else f"; the record is kept: nnaudit report {recorded}"
        _refuse(f"the run could not be judged ({type(error).__name__}: {error}), please report it{again}")
        return None


@contextmanager
def _inside(folder: str) -> Iterator[None]:
    before = None
    with suppress(OSError):  # it may be gone
        before = os.getcwd()
    with suppress(OSError):
        os.chdir(folder)
    try:
        yield
    finally:
        if before is not None:
            with suppress(OSError):
                os.chdir(before)


def _refuse(*texts: str) -> int:
    for text in texts:
        _complain(f"error: {text}\n")
    return FAILED


def _complain(text: str) -> None:
    with suppress(OSError, ValueError, AttributeError):  # the script may have closed it, or Python never opened it
        sys.stderr.write(text)
        sys.stderr.flush()


def _say(judgement: tracing.Judgement, options: dict[str, Any]) -> bool:
    """Print the verdict and write the file; False where the file cannot be written."""
    from .cli import _colored, _write

    file, output_format = options["output_file"], options["output_format"]
    if file is not None:
        written = _write(judgement.text(output_format), file)
        if output_format in ("full", "concise") and written:
            return True
    text = judgement.text(output_format if file is None else "full", color=_colored(sys.stderr))
    _complain("\n" + text)
    return file is None or written


def _flush(stream: Any) -> None:
    try:
        stream.flush()
    except (OSError, ValueError, AttributeError):
        return
