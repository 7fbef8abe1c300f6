"""``nnaudit trace``: the script runs in this process, its exit status and traceback stay its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..tracer import launch
from . import trace as tracing
from .selection import Wanted

FOUND, FAILED = 1, 2


def run_script(script: str, arguments: Sequence[str], wanted: Wanted, options: dict[str, Any]) -> int:
    """Run it under the tracer, print the verdict, and return the exit status.

    ``options`` are those of the command line: as_module, steps, every, run_dir, eager, find_nan,
    output_format, output_file, exit_zero.
    """
    if options["eager"]:
        os.environ["TORCH_COMPILE_DISABLE"] = "1"
    judge, problems = tracing.prepare(wanted, Path())
    if problems:
        return _refuse(*(str(problem) for problem in problems))
    try:
        tracing.require_torch()
        start = launch.module if options["as_module"] else launch.script
        program = start(script, arguments)
    except (tracing.Unavailable, launch.CannotStart) as error:
        return _refuse(str(error))
    from ..tracer.attach import Settings, Tracer

    run_dir = Path(options["run_dir"]) if options["run_dir"] else tracing.new_run_dir(script)
    settings = Settings(run_dir, options["steps"], options["every"], options["find_nan"], (script, *arguments))
    tracer = Tracer(settings, judge.live).attach()
    outcome = launch.execute(program)
    if outcome.error is not None:
        tracer.failed(outcome.error)
        launch.show(outcome.error)
    _flush(sys.stdout)
    recorded = str(run_dir) if tracer.record.path is not None else None
    run = tracer.detach()
    if not tracer.is_owner:
        return outcome.status
    judgement = judge(run, recorded)
    _say(judgement, options)
    if outcome.interrupted:
        launch.end_by_interrupt()
    if outcome.status:
        return outcome.status
    if not run.backwards and not run.passes:
        what = "no training was seen: no module ran forward and nothing called backward in this process"
        return _refuse(f"{what}; name the script that trains (child processes are not traced)")
    return FOUND if judgement.findings and not options["exit_zero"] else 0


def _refuse(*texts: str) -> int:
    for text in texts:
        sys.stderr.write(f"error: {text}\n")
    return FAILED


def _say(judgement: tracing.Judgement, options: dict[str, Any]) -> None:
    from .cli import _colored, _write

    file, output_format = options["output_file"], options["output_format"]
    if file is not None:
        _write(judgement.text(output_format), file)
        if output_format in ("full", "concise"):
            return
    color = _colored(sys.stderr)
    text = judgement.text(output_format if file is None else "full", color=color)
    try:
        sys.stderr.write("\n" + text)
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def _flush(stream: Any) -> None:
    try:
        stream.flush()
    except (OSError, ValueError, AttributeError):
        return
