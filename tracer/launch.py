"""Runs a script as ``python SCRIPT ARGS`` or ``python -m MODULE ARGS`` would, in this process.

``runpy`` would drop ``__main__`` before the script's own ``atexit`` handlers have pickled from it, so the module is
made here and stays.
"""

from __future__ import annotations

import atexit
import builtins
import importlib.machinery
import importlib.util
import os
import pkgutil
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import CodeType, ModuleType, TracebackType
from typing import Any, NamedTuple

from .sites import is_ours


class Enough(BaseException):
    """The asked number of steps was made; no error, and nothing that a script's ``except Exception`` may catch."""


class CannotStart(Exception):
    """There is nothing to run; the text says why and what to do."""


class Outcome(NamedTuple):
    """How the script ended: its exit status, and the exception if there was one."""

    status: int
    error: BaseException | None
    interrupted: bool = False


class Program(NamedTuple):
    """What is to be run."""

    arguments: list[str]
    path: str | None
    """The entry that Python would put first on ``sys.path``."""
    load: Callable[[], tuple[CodeType, dict[str, Any]]]
    """Gives the code and the names that Python sets in ``__main__``. It may import packages around a module."""


def script(path: str, arguments: Sequence[str]) -> Program:
    """A script file, or a folder or archive with a ``__main__.py``. Raises :class:`CannotStart`."""
    full = os.path.join(os.getcwd(), path)  # as Python does: not normalized
    if not os.path.exists(full):
        raise CannotStart(f"{path} does not exist; name the script that trains")
    finder: Any = pkgutil.get_importer(full)
    if finder is not None:
        spec = finder.find_spec("__main__")
        if spec is None:
            raise CannotStart(f"{path} holds no __main__.py; name the script that trains")
        loaded = _code(spec), _names(spec)
        return Program([path, *arguments], full, lambda: loaded)
    try:
        with open(full, "rb") as stream:
            code = compile(stream.read(), full, "exec", dont_inherit=True)
    except OSError as error:
        raise CannotStart(f"{path} cannot be read ({error.strerror})") from None
    except (SyntaxError, ValueError) as error:
        raise _not_python(path, error) from None
    loader = importlib.machinery.SourceFileLoader("__main__", full)
    names = {"__file__": full, "__loader__": loader, "__package__": None, "__spec__": None, "__cached__": None}
    first = None if sys.flags.safe_path else os.path.dirname(os.path.realpath(full))
    return Program([path, *arguments], first, lambda: (code, names))


def module(name: str, arguments: Sequence[str]) -> Program:
    """A module or package, as ``python -m`` finds it. Raises :class:`CannotStart`."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        # Without its packages, which are imported to find it: that is part of the run.
        found = importlib.util.find_spec(name.partition(".")[0])
    except (ImportError, ValueError):
        found = None
    finally:
        sys.path.remove(folder)
    if found is None:
        raise _no_module(name)

    def load() -> tuple[CodeType, dict[str, Any]]:
        spec = _find(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = _find(f"{name}.__main__")
            if spec is None:
                raise CannotStart(f"{name} is a package without a __main__.py; name the module that trains")
        if spec is None or spec.loader is None:
            raise _no_module(name)
        sys.argv[0] = spec.origin or name
        return _code(spec), _names(spec)

    return Program(["-m", *arguments], None if sys.flags.safe_path else folder, load)


def _find(name: str) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise _no_module(name) from None
        raise  # something that a package imports


def _no_module(name: str) -> CannotStart:
    return CannotStart(f"no module named {name}; run from the folder that you would run `python -m {name}` in")


def _not_python(path: str, error: Exception) -> CannotStart:
    return CannotStart(f"{path} is not Python that this interpreter can read ({error})")


def _code(spec: importlib.machinery.ModuleSpec) -> CodeType:
    code: CodeType | None = None
    loader: Any = spec.loader
    if hasattr(loader, "get_code"):
        try:
            code = loader.get_code(spec.name)
        except (SyntaxError, ValueError) as error:
            raise _not_python(spec.origin or spec.name, error) from None
    if code is None:
        raise CannotStart(f"{spec.name} has no Python code to run")
    return code


def _names(spec: importlib.machinery.ModuleSpec) -> dict[str, Any]:
    return {
        "__file__": spec.origin,
        "__loader__": spec.loader,
        "__package__": spec.parent,
        "__spec__": spec,
        "__cached__": spec.cached,
    }


def execute(program: Program) -> Outcome:
    """Run it to its end. Its own ``__main__``, ``sys.argv`` and ``sys.path`` stay for what runs at exit.

    Raises :class:`CannotStart` where only the packages around a module could show that it is not there.
    """
    ours = sys.modules["__main__"]
    # What Python put there for our own command is no place that the script could import from.
    if sys.path and sys.path[0] in ("", os.getcwd(), os.path.dirname(os.path.realpath(sys.argv[0]))):
        del sys.path[0]
    if program.path is not None:
        sys.path.insert(0, program.path)
    sys.argv = list(program.arguments)
    _KEPT.append(ours)
    made = sys.modules["__main__"] = ModuleType("__main__")
    vars(made)["__builtins__"] = builtins
    if "__annotations__" in vars(ours):  # not from Python 3.14 on
        vars(made)["__annotations__"] = {}
    try:
        code, names = program.load()
        vars(made).update(names)
        exec(code, vars(made))
    except CannotStart:
        raise
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
    if sys.stderr is not None:
        print(stop.code, file=sys.stderr)  # noqa: T201
    return 1


def show(error: BaseException) -> None:
    """Print a traceback as Python would have, without the frames that are ours."""
    clean(error)
    trace = error.__traceback__
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    sys.last_exc = error  # type: ignore[attr-defined,unused-ignore] # since Python 3.12
    try:
        sys.excepthook(type(error), error, trace)
    except Exception as own:
        # Python's words for a hook of the script's that fails.
        for text, shown in (("Error in sys.excepthook:", own), ("\nOriginal exception was:", error)):
            if sys.stderr is not None:
                print(text, file=sys.stderr)  # noqa: T201
            clean(shown)
            sys.__excepthook__(type(shown), shown, shown.__traceback__)


def clean(error: BaseException) -> None:
    """Take our frames out of the tracebacks of an exception and of those that led to it."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = _without_ours(each.__traceback__)
        waiting += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from the script's first frame on, without our wrappers in between."""
    while trace is not None and is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    kept = trace
    while trace is not None:
        following = trace.tb_next
        while following is not None and is_ours(following.tb_frame.f_code.co_filename):
            following = following.tb_next
        trace.tb_next = following
        trace = following
    return kept


class Interrupted:
    """Ends the process as Python does after Ctrl-C: killed by the signal, so that a shell loop stops too.

    Only after everything that runs at exit, so it has to be made before the script can register anything.
    """

    def __init__(self) -> None:
        self.by_signal = False
        atexit.register(self._end)

    def _end(self) -> None:
        if not self.by_signal:
            return
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
