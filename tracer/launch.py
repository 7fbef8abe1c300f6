"""Runs a script as ``python SCRIPT ARGS`` or ``python -m MODULE ARGS`` would, in this process.

``runpy`` would drop ``__main__`` before the script's own ``atexit`` handlers have pickled from it, so the module is
made here and stays.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

from .watch import Enough


class CannotStart(Exception):
    """There is nothing to run; the text says why and what to do."""


class Outcome(NamedTuple):
    """How the script ended: its exit status, and the exception if there was one."""

    status: int
    error: BaseException | None
    interrupted: bool = False


class Program(NamedTuple):
    """What is to be run."""

    code: Any
    module: ModuleType
    arguments: list[str]
    path: str
    """The entry that Python would put first on ``sys.path``."""


def script(path: str, arguments: Sequence[str]) -> Program:
    """A script file, or a folder or archive with a ``__main__.py``. Raises :class:`CannotStart`."""
    file = Path(path)
    if file.is_dir():
        if not (file / "__main__.py").is_file():
            raise CannotStart(f"{path} is a folder without a __main__.py; name the script that trains")
        code_file, first = file / "__main__.py", str(file)
    elif not file.exists():
        raise CannotStart(f"{path} does not exist; name the script that trains")
    else:
        code_file, first = file, str(file.resolve().parent)
    try:
        source = code_file.read_bytes()
        code = compile(source, str(code_file), "exec", dont_inherit=True)
    except OSError as error:
        raise CannotStart(f"{path} cannot be read ({error.strerror})") from None
    except (SyntaxError, ValueError) as error:
        raise CannotStart(f"{path} is not Python that this interpreter can read ({error})") from None
    module = ModuleType("__main__")
    loader = importlib.machinery.SourceFileLoader("__main__", str(code_file))
    vars(module).update(__file__=str(code_file), __builtins__=builtins, __loader__=loader, __package__=None)
    module.__spec__ = None
    return Program(code, module, [path, *arguments], first)


def module(name: str, arguments: Sequence[str]) -> Program:
    """A module or package, as ``python -m`` finds it. Raises :class:`CannotStart`."""
    sys.path.insert(0, os.getcwd())
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name += ".__main__"
            spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError) as error:
        raise CannotStart(f"no module named {name} ({error})") from None
    finally:
        sys.path.pop(0)
    if spec is None or spec.loader is None:
        raise CannotStart(f"no module named {name}; run from the folder that you would run `python -m {name}` in")
    code = spec.loader.get_code(name) if hasattr(spec.loader, "get_code") else None
    if code is None:
        raise CannotStart(f"{name} has no Python code to run")
    made = ModuleType("__main__")
    package = name.rpartition(".")[0]
    vars(made).update(
        __file__=spec.origin, __builtins__=builtins, __loader__=spec.loader, __package__=package, __spec__=spec
    )
    return Program(code, made, [spec.origin or name, *arguments], os.getcwd())


def execute(program: Program) -> Outcome:
    """Run it to its end. Its own ``__main__``, ``sys.argv`` and ``sys.path`` stay for what runs at exit."""
    sys.argv = list(program.arguments)
    sys.path.insert(0, program.path)
    _KEPT.append(sys.modules["__main__"])
    sys.modules["__main__"] = program.module
    try:
        exec(program.code, vars(program.module))
    except Enough:
        return Outcome(0, None)
    except SystemExit as stop:
        return Outcome(_status(stop), None)
    except KeyboardInterrupt as error:
        return Outcome(128 + signal.SIGINT, error, interrupted=True)
    except BaseException as error:
        return Outcome(1, error)
    return Outcome(0, None)


_KEPT: list[ModuleType] = []
"""Our own ``__main__``: its names must not be torn down while we still run."""


def _status(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code & 0xFF
    print(stop.code, file=sys.stderr)  # noqa: T201
    return 1


def show(error: BaseException) -> None:
    """Print a traceback as Python would have, without the frames that are ours."""
    trace = clean(error.__traceback__)
    error.__traceback__ = trace
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    sys.excepthook(type(error), error, trace)


def clean(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from the script's first frame on, without our wrappers in between."""
    while trace is not None and _is_ours(trace):
        trace = trace.tb_next
    kept = trace
    while trace is not None:
        following = trace.tb_next
        while following is not None and _is_ours(following):
            following = following.tb_next
        trace.tb_next = following
        trace = following
    return kept


def _is_ours(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_filename.startswith(_FOLDER)


_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep


def end_by_interrupt() -> None:
    """End as Python does after Ctrl-C: killed by the signal, so that a shell loop stops too."""
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
