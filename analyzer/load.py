"""Lower many files: from the cache where possible, in several processes where it pays.

The result depends neither on the number of processes nor on what was cached.
"""

from __future__ import annotations

import gc
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from queue import SimpleQueue
from typing import Any, TypeVar

from .cache import Cache, dumps, key_of, loads
from .result import Problem
from .source import Source

Lower = Callable[[str, str], Any]
Progress = Callable[[str, int, int], None]
Work = tuple[str, str]
"""(text, filename): what a worker process needs of a file."""

STAGE = "parse"
MIN_BYTES_PER_PROCESS = 200_000
"""Less source than this is parsed faster than a process starts (about 0.4 s with libcst)."""

CHUNK_BYTES = 100_000
_STACKS = (512 * 2**20, 64 * 2**20, 0)
"""Stack sizes to try (0: the system's own). libcst's parser recurses natively: 3,000 nested operators
overflow the usual 8 MiB and kill the process. Unused stack costs address space only."""

RECURSION_LIMIT = 10_000
"""Python frames for the interpreter, which goes about a dozen deep for every call that it follows."""

_T = TypeVar("_T")


def lower_all(
    sources: Sequence[Source],
    lower: Lower,
    *,
    version: str,
    jobs: int = 1,
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Filename -> what ``lower(text, filename)`` returned, or a :class:`Problem`; in the order of ``sources``.

    ``lower`` is a top-level function whose result can be pickled. ``version`` is part of every cache key.
    """
    total = len(sources)
    results: dict[str, Any] = {source.filename: None for source in sources}
    with collection_paused():
        keys = {} if cache is None else {source.filename: _key(source, version) for source in sources}
        missing = []
        for source in sources:
            cached = None if cache is None else cache.get(keys[source.filename])
            if cached is None:
                missing.append(source)
            else:
                results[source.filename] = cached
        done = total - len(missing)
        if progress and done:
            progress(STAGE, done, total)
        for filename, value, payload in _lowered(missing, lower, jobs):
            results[filename] = value
            if cache is not None and _worth_keeping(value):
                payload = _packed(value) if payload is None else payload
                if payload is not None:
                    cache.put_bytes(keys[filename], payload)
            done += 1
            if progress:
                progress(STAGE, done, total)
    if cache is not None and missing:
        cache.prune()
    return results


def _key(source: Source, version: str) -> bytes:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return key_of(b"file", version, python, source.filename, source.text)


def _worth_keeping(value: object) -> bool:
    """A syntax error stays one; other problems may depend on the machine."""
    return not isinstance(value, Problem) or value.row is not None


@contextmanager
def collection_paused() -> Iterator[None]:
    """Parsing makes millions of objects and no garbage cycles worth looking for."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _lowered(missing: Sequence[Source], lower: Lower, jobs: int) -> Iterator[tuple[str, Any, bytes | None]]:
    """(filename, value, pickled value if there is one already) of every file, in any order."""
    # The largest first: the memory of their trees is free again for what is kept of the others.
    missing = sorted(missing, key=lambda source: -len(source.text))
    size = sum(len(source.text) for source in missing)
    processes = min(jobs, len(missing), 1 + size // MIN_BYTES_PER_PROCESS)
    if processes > 1:
        yield from _in_processes(missing, lower, processes)
        return
    for source, value in zip(missing, _one_after_another(missing, lower), strict=True):
        yield source.filename, value, None


def _one_after_another(missing: Iterable[Source], lower: Lower) -> Iterator[Any]:
    """All on one thread: each new one would get an arena of its own from the C library, and keep it."""
    finished: SimpleQueue[tuple[bool, Any]] = SimpleQueue()

    def work() -> None:
        try:
            for source in missing:
                finished.put((True, lower_one(source.text, source.filename, lower)))
        except BaseException as error:
            finished.put((False, error))

    _start_deep(work)
    for _ in missing:
        succeeded, value = finished.get()
        if not succeeded:
            raise value
        yield value


def _take(work: Iterator[Source]) -> list[Source]:
    """The next files, about one chunk of text."""
    batch: list[Source] = []
    size = 0
    for source in work:
        batch.append(source)
        size += len(source.text)
        if size >= CHUNK_BYTES:
            break
    return batch


def _lower_each(work: Iterable[Work], lower: Lower) -> list[Any]:
    return [lower_one(text, filename, lower) for text, filename in work]


def lower_one(text: str, filename: str, lower: Lower) -> Any:
    """``lower(text, filename)``, or the Problem that it ran into."""
    try:
        if _LONG_LINE.search(text) is not None and (error := python_error(text)) is not None and _is_depth(error):
            return _too_deep(filename)
        return lower(text, filename)
    except RecursionError:
        return _too_deep(filename)
    except Exception as error:
        return _problem_of(error, text, filename)


def _too_deep(filename: str) -> Problem:
    return Problem(filename, "is nested too deeply to be analysed; exclude the file")


_LONG_LINE = re.compile(r"[^\n]{5000}")
"""Only machines write such lines. libcst takes minutes for 10,000 nested operators, Python refuses them
at once; a line of flat data passes."""

_ONLY_PARSE = 0x400  # ast.PyCF_ONLY_AST, without importing ast


def python_error(text: str) -> Exception | None:
    """What Python's own parser says against ``text``."""
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(text, "<source>", "exec", dont_inherit=True, flags=_ONLY_PARSE)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return error
    return None


def _is_depth(error: Exception) -> bool:
    return isinstance(error, RecursionError | MemoryError) or "too many nested" in str(error)


def _problem_of(error: Exception, text: str, filename: str) -> Problem:
    from libcst import ParserSyntaxError  # already imported by whoever raised the error

    if not isinstance(error, ParserSyntaxError):
        return Problem(filename, f"nnaudit failed on this file ({type(error).__name__}: {error}); please report it")
    own = python_error(text)
    row, reason = error.raw_line, " ".join(error.message.split())
    if isinstance(own, SyntaxError):  # Python explains better, and counts rows as editors do
        row, reason = own.lineno or row, own.msg
    row = min(max(row, 1), text.count("\n") + 1)
    if _PYTHON_2.search(text):
        return Problem(filename, "is Python 2; nnaudit reads Python 3, convert or exclude the file", row)
    return Problem(filename, f"is not valid Python ({reason}); correct or exclude the file", row)


_PYTHON_2 = re.compile(
    r"""^[ \t]*(?:
        print[ \t]+(?:["'\w]|%|>>)
        | exec[ \t]+["'\w]
        | raise[ \t]+\w+[ \t]*,
        | except[ \t]+[\w.]+[ \t]*,[ \t]*\w+[ \t]*:
    )""",
    re.MULTILINE | re.VERBOSE,
)


def on_deep_stack(function: Callable[[], _T]) -> _T:
    """Call ``function`` on a thread whose stack is large enough for native recursion."""
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append((True, function()))
        except BaseException as error:
            outcome.append((False, error))

    _start_deep(work).join()
    succeeded, value = outcome[0]
    if not succeeded:
        raise value
    result: _T = value
    return result


def _start_deep(work: Callable[[], None]) -> threading.Thread:
    def target() -> None:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(max(limit, RECURSION_LIMIT))
        try:
            work()
        finally:
            sys.setrecursionlimit(limit)

    before = threading.stack_size()
    for size in _STACKS:
        try:
            threading.stack_size(size)
            thread = threading.Thread(target=target, name="nnaudit-parser", daemon=True)
            thread.start()
            return thread
        except (ValueError, RuntimeError, MemoryError):  # the system allows no stack of this size
            continue
        finally:
            threading.stack_size(before)
    raise RuntimeError("no thread can be started")


def _in_processes(missing: Sequence[Source], lower: Lower, processes: int) -> Iterator[tuple[str, Any, bytes | None]]:
    """Chunks of files in a pool; if a process dies, what it left is done file by file, each on its own."""
    left = {source.filename: source for source in missing}
    try:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            for filename, payload in _finished_in(pool, missing, lower):
                source = left.pop(filename)
                value = _lower_here(source, lower) if payload is None else loads(payload)
                yield filename, value, payload
    except BrokenProcessPool:
        for source in left.values():
            yield source.filename, _alone(source, lower), None
    except (OSError, NotImplementedError, ImportError):  # this system gives us no semaphores or no processes
        yield from _lowered(list(left.values()), lower, 1)


def _finished_in(
    pool: ProcessPoolExecutor, missing: Sequence[Source], lower: Lower
) -> Iterator[tuple[str, bytes | None]]:
    """(filename, pickled value) as the processes deliver them; None for what cannot be sent."""
    work = iter(missing)
    chunks: dict[Future[list[bytes | None]], list[Work]] = {}
    while batch := _take(work):
        pairs = [(source.text, source.filename) for source in batch]
        chunks[pool.submit(_chunk, pairs, lower)] = pairs
    for future in as_completed(chunks):
        for (_, filename), payload in zip(chunks[future], future.result(), strict=True):
            yield filename, payload


def _chunk(chunk: list[Work], lower: Lower) -> list[bytes | None]:
    """In a worker process: lower one chunk; pickled here, so that the cache need not pickle again."""
    with collection_paused():
        return [_packed(value) for value in on_deep_stack(lambda: _lower_each(chunk, lower))]


def _packed(value: object) -> bytes | None:
    """The pickled value, or None for one that is nested too deeply to be pickled."""
    try:
        return dumps(value)
    except RecursionError:
        return None


def _lower_here(source: Source, lower: Lower) -> Any:
    return on_deep_stack(lambda: lower_one(source.text, source.filename, lower))


def _alone(source: Source, lower: Lower) -> Any:
    """Lower one file in a process of its own: only the file that kills the parser is lost."""
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            payload = pool.submit(_chunk, [(source.text, source.filename)], lower).result()[0]
    except BrokenProcessPool:
        return Problem(source.filename, "made the parser crash; exclude the file")
    return _lower_here(source, lower) if payload is None else loads(payload)
