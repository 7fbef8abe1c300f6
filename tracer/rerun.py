"""Runs the script's own lines once more, in a forked child, to see which one makes the first bad number.

Between two modules there is code that no hook sees. The child owns a copy of everything, so running the body of the
loop again with the variables as they stand can change nothing for the script (:mod:`.isolation`).
"""

from __future__ import annotations

import ast
import linecache
from contextlib import suppress
from types import FrameType
from typing import Any

from ..rules.finding import Line
from .first_bad import AllPairs, FirstBad, Found
from .isolation import Send, in_child, obstacle
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
    if frame is None or at is None or obstacle():
        return None
    body = _body(frame)
    if body is None:
        return None
    answer = in_child(lambda send: _in_the_child(mode, frame, body, send), TIME)
    return answer.messages[0] if answer.messages else None


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


def _in_the_child(mode: FirstBad | AllPairs, frame: FrameType, body: Any, send: Send) -> None:
    names = {**frame.f_globals, **frame.f_locals}
    with suppress(Found), mode:
        exec(body, names)
    if mode.operation and mode.line is not None:
        send(mode.answer())
