"""Runs the script's own lines once more, in a forked child, to see which one makes the first bad number.

Between two modules there is code that no hook sees. The child owns a copy of everything, so running the body of the
loop again with the variables as they stand can change nothing for the script: no output leaves it but the
answer, and it ends without any clean-up. Where forking is not safe (an accelerator is in use), nothing is run.
"""

from __future__ import annotations

import ast
import json
import linecache
import os
import select
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

import torch

from ..rules.finding import Line
from .first_bad import AllPairs, FirstBad, Found
from .watch import Watch

TIME = 10.0
"""Seconds that the child may take."""

Answer = tuple[str, Line, float | None, float | None, int, int]


def first_bad(watch: Watch, at: Line | None) -> Answer | None:
    """The operation, its line, range of its input, and how many of how many numbers are bad; None if not found."""
    found = _rerun(watch, at, FirstBad(lambda: watch.sites.here(2)))
    if found is None:
        return None
    operation, line, low, high, count, size = found
    return operation, Line(*line), low, high, count, size


def all_pairs(watch: Watch, at: Line | None) -> tuple[str, Line, list[list[int]]] | None:
    """The operation that makes a table of all pairs of predictions and targets, its line, and what it was given."""
    found = _rerun(watch, at, AllPairs(lambda: watch.sites.here(2)))
    if found is None:
        return None
    operation, line, shapes = found
    return operation, Line(*line), shapes


def _rerun(watch: Watch, at: Line | None, mode: FirstBad | AllPairs) -> Any:
    """What the mode found in the child; None where nothing was run, or nothing found."""
    frame = watch.sites.frame(3)
    if frame is None or at is None or not hasattr(os, "fork") or torch.cuda.is_initialized():
        return None
    body = _body(frame)
    if body is None:
        return None
    source, target = os.pipe()
    child = os.fork()
    if child == 0:
        _in_the_child(mode, frame, body, target)
    os.close(target)
    try:
        data = _read(source)
    finally:
        os.close(source)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return json.loads(data) if data else None


def _read(source: int) -> bytes:
    data = b""
    while select.select([source], [], [], TIME)[0]:
        part = os.read(source, 65536)
        if not part:
            break
        data += part
    return data


def _body(frame: FrameType) -> Any:
    """The statements of the innermost block that holds the running line, up to and without that one."""
    lines = linecache.getlines(frame.f_code.co_filename)
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        return None
    block: list[ast.stmt] | None = None
    position = 0
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if not isinstance(statements, list):
                continue
            for index, statement in enumerate(statements):
                end = getattr(statement, "end_lineno", 0)
                if isinstance(statement, ast.stmt) and statement.lineno <= frame.f_lineno <= end:
                    block, position = statements, index
    if not block:
        return None
    kept = [s for s in block[:position] if not isinstance(s, ast.Return | ast.Break | ast.Continue)]
    return compile(ast.Module(kept, []), frame.f_code.co_filename, "exec") if kept else None


def _in_the_child(mode: FirstBad | AllPairs, frame: FrameType, body: Any, target: int) -> None:
    try:
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silent, stream)
        torch.set_num_threads(1)
        names = {**frame.f_globals, **frame.f_locals}
        sys.settrace(None)
        try:
            with mode:
                exec(body, names)
        except Found:
            pass
        if mode.operation and mode.line is not None:
            os.write(target, json.dumps(mode.answer()).encode())
    finally:
        os._exit(0)
