"""The cache, and lowering many files through it and through processes."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from nnaudit.analyzer import load
from nnaudit.analyzer.cache import Cache, dumps, key_of, loads
from nnaudit.analyzer.lower import lower
from nnaudit.analyzer.result import Problem
from nnaudit.analyzer.source import Cell, Source
from nnaudit.rules.finding import Location, Severity

KEY = key_of("a", "b")


def source(name: str, text: str) -> Source:
    return Source(Path(name), name, text, text.encode(), (Cell(text),))


def entry(cache: Cache) -> Path:
    [path] = [Path(item) for _, _, item in cache._entries()]
    return path


def test_keys_depend_on_every_part_and_its_limits() -> None:
    keys = {key_of(), key_of(""), key_of("ab"), key_of("a", "b"), key_of("b", "a"), key_of("a", "b", "")}
    assert len(keys) == 6
    assert key_of("a") == key_of(b"a")


def test_values_come_back(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c")
    assert cache.get(KEY) is None
    value = (
        1,
        "x",
        Location(1, 2),
        Severity.ERROR,
        frozenset({"a"}),
        {"k": [None, 2.5, b"x", ..., 1j]},
        Problem("f", "m"),
    )
    cache.put(KEY, value)
    assert Cache(tmp_path / "c").get(KEY) == value
    assert (tmp_path / "c" / ".gitignore").read_text().endswith("*\n")
    assert (tmp_path / "c" / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


@pytest.mark.parametrize("damage", [b"", b"nnaudit1", b"garbage" * 20, None])
def test_damaged_entries_are_forgotten(tmp_path: Path, damage: bytes | None) -> None:
    cache = Cache(tmp_path)
    cache.put(KEY, "value")
    path = entry(cache)
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]) if damage is None else damage)
    assert cache.get(KEY) is None
    assert not path.exists()
    cache.put(KEY, "again")
    assert cache.get(KEY) == "again"


class Bomb:
    def __reduce__(self) -> Any:
        return (os.system, ("exit 1",))


class Member:
    def __reduce__(self) -> Any:
        return (getattr, (Problem, "__init__"))


@pytest.mark.parametrize("evil", [Bomb(), Member(), os.getcwd, Cache, Path("x")])
def test_entries_cannot_run_code(tmp_path: Path, evil: object) -> None:
    """The folder may have come with the scanned project."""
    with pytest.raises(pickle.UnpicklingError):
        loads(dumps(evil))
    cache = Cache(tmp_path)
    cache.put(KEY, evil)
    assert cache.get(KEY) is None


def test_unwritable_folder_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file" / "cache")
    for number in range(3):
        cache.put(key_of(str(number)), number)
    cache.prune()
    assert cache.get(KEY) is None
    assert cache.warning is not None
    assert "--no-cache" in cache.warning


def test_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    cache.put(KEY, "value")
    assert "No space left" in str(cache.warning)
    assert cache._entries() == []


def test_the_oldest_entries_go_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=5000)
    for number in range(8):
        key = key_of(str(number))
        cache.put(key, "x" * 1000)
        os.utime(cache._path(key), (1000 + number, 1000 + number))
    assert cache.get(key_of("0")) is not None, "reading an old entry makes it young"
    cache.shrink()
    kept = [number for number in range(8) if os.path.exists(cache._path(key_of(str(number))))]
    assert kept == [0, 6, 7]


def test_prune_looks_once_an_hour(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=10)
    cache.put(KEY, "value")
    cache.prune()
    assert cache.get(KEY) is None
    cache.put(KEY, "value")
    cache.prune()
    assert cache.get(KEY) == "value"
    old = time.time() - 7200
    os.utime(tmp_path / "pruned", (old, old))
    cache.prune()
    assert cache.get(KEY) is None


def test_concurrent_writers(tmp_path: Path) -> None:
    value = list(range(1000))
    wrong: list[object] = []

    def work() -> None:
        cache = Cache(tmp_path)
        for _ in range(50):
            cache.put(KEY, value)
            if (seen := cache.get(KEY)) != value:
                wrong.append(seen)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---------------------------------------------------------------------------- lowering


def count_lines(text: str, filename: str) -> tuple[str, int]:
    if "HANG UP" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    if "DEEP" in text:
        raise RecursionError
    if "WRONG" in text:
        raise KeyError("boom")
    return filename, text.count("\n")


def forbidden(text: str, filename: str) -> None:
    raise AssertionError("this should have come from the cache")


BIG = "x = 1\n" * 40_000


def test_order_and_result_do_not_depend_on_jobs_or_cache(tmp_path: Path) -> None:
    sources = [source(f"f{number}.py", BIG[: 6 * number * 5000]) for number in range(6)]
    expected = {item.filename: (item.filename, item.text.count("\n")) for item in sources}
    cache = Cache(tmp_path)
    for jobs, used in ((1, None), (2, None), (2, cache), (1, cache)):
        results = load.lower_all(sources, count_lines, version="1", jobs=jobs, cache=used)
        assert results == expected
        assert list(results) == list(expected)
    assert load.lower_all(sources, forbidden, version="1", cache=cache) == expected


def test_processes_really_start(tmp_path: Path) -> None:
    pids = load.lower_all([source(f"{n}.py", BIG) for n in range(4)], process_id, version="1", jobs=2)
    assert os.getpid() not in pids.values()


def process_id(text: str, filename: str) -> int:
    return os.getpid()


@pytest.mark.parametrize(
    ("filename", "text", "version"), [("a.py", "x = 2\n", "1"), ("b.py", "x = 1\n", "1"), ("a.py", "x = 1\n", "2")]
)
def test_content_name_and_version_decide(tmp_path: Path, filename: str, text: str, version: str) -> None:
    cache = Cache(tmp_path)
    load.lower_all([source("a.py", "x = 1\n")], count_lines, version="1", cache=cache)
    [value] = load.lower_all([source(filename, text)], forbidden, version=version, cache=cache).values()
    assert isinstance(value, Problem)
    assert "should have come from the cache" in value.message


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_file_that_fails_is_a_problem_of_its_own(tmp_path: Path, jobs: int) -> None:
    cache = Cache(tmp_path)
    sources = [source("deep.py", "DEEP"), source("wrong.py", "WRONG"), source("good.py", BIG), source("good2.py", BIG)]
    results = load.lower_all(sources, count_lines, version="1", jobs=jobs, cache=cache)
    assert "nested too deeply" in results["deep.py"].message
    assert "KeyError" in results["wrong.py"].message
    assert results["good.py"] == ("good.py", 40_000)
    again = load.lower_all(sources[:2], forbidden, version="1", cache=cache)
    assert "AssertionError" in again["wrong.py"].message, "failures of ours are not kept"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_file_that_kills_the_parser_is_lost_alone() -> None:
    sources = [source("a.py", BIG), source("killer.py", BIG + "HANG UP\n"), source("b.py", BIG)]
    results = load.lower_all(sources, count_lines, version="1", jobs=2)
    assert results["killer.py"] == Problem("killer.py", "made the parser crash; exclude the file")
    assert results["a.py"] == ("a.py", 40_000)
    assert results["b.py"] == ("b.py", 40_000)


def test_without_processes_the_work_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no semaphores")

    monkeypatch.setattr(load, "ProcessPoolExecutor", refuse)
    sources = [source("a.py", BIG), source("b.py", BIG)]
    assert load.lower_all(sources, process_id, version="1", jobs=2) == {"a.py": os.getpid(), "b.py": os.getpid()}


def test_progress_reaches_the_total(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    sources = [source(f"{number}.py", "x\n") for number in range(5)]
    load.lower_all(sources[:2], count_lines, version="1", cache=cache)
    seen: list[tuple[str, int, int]] = []
    load.lower_all(sources, count_lines, version="1", cache=cache, progress=lambda *step: seen.append(step))
    assert seen == [("parse", done, 5) for done in (2, 3, 4, 5)]


def test_garbage_collection_goes_on_afterwards() -> None:
    states: list[bool] = []
    load.lower_all([source("a.py", "x")], lambda *_: states.append(gc.isenabled()), version="1")
    assert states == [False]
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("text", "row", "expected"),
    [
        ("x = 1\ny = (\n", 2, "'(' was never closed"),
        ("x = 1\nprint 'hello'\n", 2, "is Python 2"),
        ("try:\n    pass\nexcept IOError, e:\n    print 'x'\n", None, "is Python 2"),
        ("def f(:\n  pass\n", 1, "is not valid Python"),
    ],
)
def test_syntax_errors_name_the_row_and_are_kept(tmp_path: Path, text: str, row: int | None, expected: str) -> None:
    cache = Cache(tmp_path)
    [problem] = load.lower_all([source("a.py", text)], lower, version="1", cache=cache).values()
    assert isinstance(problem, Problem)
    assert expected in problem.message
    assert "\n" not in problem.message
    assert problem.row == row or row is None
    assert load.lower_all([source("a.py", text)], forbidden, version="1", cache=cache) == {"a.py": problem}


@pytest.mark.parametrize(
    "shape", ["x = " + "(" * 20_000 + ")" * 20_000, "x = a" + ".b" * 50_000, "x = 1" + "+1" * 50_000]
)
def test_deep_nesting_does_not_kill_the_process(shape: str) -> None:
    [value] = load.lower_all([source("a.py", shape + "\n")], lower, version="1").values()
    assert isinstance(value, Problem)
    assert "nested too deeply" in value.message


def test_deep_nesting_that_python_accepts_is_no_crash() -> None:
    text = "x = 1" + "+1" * 2500 + "\n"
    [value] = load.lower_all([source("a.py", text)], parse_only, version="1").values()
    assert value == "parsed"


def parse_only(text: str, filename: str) -> str:
    import libcst

    libcst.parse_module(text)
    return "parsed"


def test_the_real_representation_survives_the_cache(tmp_path: Path) -> None:
    text = Path(load.__file__).read_text()
    cache = Cache(tmp_path)
    first = load.lower_all([source("a.py", text)], lower, version="1", cache=cache)
    assert load.lower_all([source("a.py", text)], forbidden, version="1", cache=cache) == first
