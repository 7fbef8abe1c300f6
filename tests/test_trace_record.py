"""The record of a run: what is written comes back, whatever ends the writing; what is no record is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import threading
import time
import typing
from array import array
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support import LIMIT, MISTAKE, MISTAKEN, TRAINING, Commands, write

from nnaudit.interfaces import cli
from nnaudit.rules.finding import Line
from nnaudit.tracer import store
from nnaudit.tracer.run import KINDS, MAX_POINTS, SCHEMA, Epoch, Loader, Note, Optimizer, Run, Stream
from nnaudit.tracer.store import NotARecord, Record, load
from nnaudit.tracer.thing import Thing


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def record(tmp_path: Path, warnings: list[str]) -> Record:
    made = Record(tmp_path / "run" / "rank0.sqlite", warnings.append)
    made.start()
    return made


@pytest.fixture(scope="module")
def nnaudit() -> Iterator[Commands]:
    pytest.importorskip("torch")
    commands = Commands()
    yield commands
    commands.close()


# ---------------------------------------------------------------------------- streams


@pytest.mark.parametrize("rows", [1, MAX_POINTS, MAX_POINTS + 1, 3 * MAX_POINTS, 100_000])
def test_a_stream_stays_small_and_evenly_spread(rows: int) -> None:
    stream = Stream("objective", 1, (7,))
    for step in range(rows):
        kept = stream.add(step, array("f", (step,)))
        assert kept is (step % stream.stride == 0) or stream.stride > 1
    series = stream.column(7)
    assert min(rows, MAX_POINTS // 2) <= len(series.steps) <= MAX_POINTS
    assert series.steps == list(range(0, rows, stream.stride))
    assert series.values == series.steps
    assert rows - stream.stride <= series.steps[-1] < rows


def test_a_column_of_a_row_with_several_numbers_each() -> None:
    stream = Stream("activation", 1, (5, 9))
    stream.add(0, array("f", (1, 2, 3, 4)))
    stream.add(3, array("f", (5, 6, 7, 8)))
    assert stream.column(9, 1, 2) == ([0, 3], [4, 8])
    assert list(stream.last) == [5, 6, 7, 8]


# ---------------------------------------------------------------------------- written and read


def filled(kind: type[Thing], key: int, number: Iterator[int]) -> Thing:
    """A noun that has something of its own in every field."""
    hints = typing.get_type_hints(kind)
    values = {f.name: value_of(hints[f.name], number) for f in dataclasses.fields(kind) if f.name != "key"}
    return kind(key, **values)


def value_of(hint: Any, number: Iterator[int]) -> Any:
    n = next(number)
    if typing.get_origin(hint) in (list, dict):
        inner = typing.get_args(hint)
        if typing.get_origin(hint) is list:
            return [value_of(inner[0], number), value_of(inner[0], number)]
        return {str(value_of(inner[0], number)): value_of(inner[1], number)}
    if typing.get_args(hint):  # an optional value
        return value_of(next(h for h in typing.get_args(hint) if h is not type(None)), number)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return hint(**{f.name: value_of(hints[f.name], number) for f in dataclasses.fields(hint)})  # type: ignore[operator]
    plain = {
        int: n,
        float: n + 0.5,
        bool: n % 2 == 0,
        str: f'a "text" \u2192 {n}\n',
        Line: Line(f"/x/{n}.py", n, "f.g"),
    }
    return plain[hint]


def numbers() -> Iterator[int]:
    n = 0
    while True:
        n += 1
        yield n


def streams(run: Run) -> dict[tuple[str, int], Any]:
    return {key: (s.layout, s.steps, s.rows) for key, s in run.streams.items()}


def test_every_noun_comes_back_as_it_was(record: Record) -> None:
    number = numbers()
    for kind in KINDS:
        for _ in range(2):
            thing = filled(kind, 0, number)
            record.new(kind, **{f.name: getattr(thing, f.name) for f in dataclasses.fields(kind) if f.name != "key"})
    record.new(Loader, epochs=[Epoch(batches=3, complete=True, order="ab", step=4), Epoch()])
    record.new(Optimizer, rates=[float("inf"), -0.0], line=Line(__file__, 1))
    record.run.meta.update(steps=12, arguments=["a b.py", "--x"], world=1)
    record.stop()
    assert record.path is not None
    again = load(record.path)
    assert again.things == record.run.things
    assert {kind.KIND for kind in KINDS} == {kind for kind, things in again.things.items() if things}
    assert (again.finished, again.steps, again.meta["arguments"]) == (True, 12, ["a b.py", "--x"])
    # Files change, records stay: the text of the lines is kept.
    assert again.text[__file__, 1] == Path(__file__).read_text().splitlines()[0]


def test_every_stream_comes_back_as_it_was(record: Record) -> None:
    for step in range(3 * MAX_POINTS):
        record.add("objective", 1, (1,), step, array("f", (step / 3,)))
        if step % 500 == 0:
            record.add("gradient", 2, (4, 5), step, array("f", (step, float("inf"))))
    for step in range(4):  # the optimizer was given one parameter more
        record.add("gradient", 2, [4, 5, 6], step, array("f", (1, 2, step)))
    record.stop()
    assert record.path is not None
    again = load(record.path)
    assert streams(again) == streams(record.run)
    assert list(again.streams["gradient", 2].steps) == [0, 1, 2, 3]
    assert len(again.streams["objective", 1].rows) <= MAX_POINTS
    with closing(sqlite3.connect(record.path)) as database:
        # Of what was thinned out nothing stays on the disk either.
        assert database.execute("SELECT count(*) FROM row").fetchone()[0] <= MAX_POINTS + 4


def test_nothing_is_lost_between_the_two_threads(
    record: Record, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script changes what the writer is just reading."""
    record.stop()
    monkeypatch.setattr(store, "INTERVAL", 0.0)
    record = Record(record.path, warnings.append)
    record.start()
    loaders = [record.new(Loader) for _ in range(50)]
    until = time.perf_counter() + 1.5
    step = 0
    while time.perf_counter() < until:
        step += 1
        for loader in loaders:
            loader.batches += 1
            loader.labels[str(step % 300)] = step
            record.touch(loader)
        record.add("objective", step % 7, (1,), step, array("f", (step,)))
    record.stop()
    assert warnings == []
    assert record.path is not None
    again = load(record.path)
    assert again.things == record.run.things
    assert streams(again) == streams(record.run)


def test_what_changes_after_it_was_reported_is_written_at_the_end(record: Record) -> None:
    note = record.new(Note, text="early")
    record._write()
    note.text = "late"
    record.stop()
    assert record.path is not None
    assert [note.text for note in load(record.path).notes] == ["late"]


def test_a_run_under_way_can_be_read(record: Record) -> None:
    record.new(Note, text="here")
    record.run.meta["steps"] = 3
    assert record.path is not None
    until = time.perf_counter() + LIMIT
    while not (notes := load(record.path).notes) and time.perf_counter() < until:
        time.sleep(0.05)
    assert [note.text for note in notes] == ["here"]
    assert (load(record.path).finished, load(record.path).steps) == (False, 3)
    record.stop()
    assert load(record.path).finished


def test_a_finished_record_is_one_plain_file(record: Record) -> None:
    """Write-ahead logging would need files beside it, which a folder that is only read does not give."""
    record.new(Note, text="here")
    record.stop()
    assert record.path is not None
    assert list(record.path.parent.iterdir()) == [record.path]
    with closing(sqlite3.connect(record.path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone()[0] == "delete"


def test_an_old_run_in_the_same_folder_is_replaced(record: Record, tmp_path: Path, warnings: list[str]) -> None:
    record.new(Note, text="old")
    record._write()
    assert record.path is not None
    folder = tmp_path / "killed"
    shutil.copytree(record.path.parent, folder)  # with its log, as a killed process leaves it
    record.stop()
    assert (folder / "rank0.sqlite-wal").stat().st_size > 0
    again = Record(folder / "rank0.sqlite", warnings.append)
    again.start()
    again.new(Note, text="new")
    again.stop()
    assert warnings == []
    assert [note.text for note in load(folder / "rank0.sqlite").notes] == ["new"]


def test_without_a_place_to_write_nothing_piles_up(warnings: list[str]) -> None:
    record = Record(None, warnings.append)
    record.start()
    for step in range(10):
        record.add("objective", 1, (1,), step, array("f", (step,)))
    assert not record._queue
    assert len(record.run.streams["objective", 1].rows) == 10
    record.stop()
    assert warnings == []


@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk full"), OSError(28, "full"), TypeError("a mistake")])
def test_a_writer_that_fails_warns_once_and_stops(
    record: Record, warnings: list[str], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(record, "_put", fail)
    record._write()
    record.add("objective", 1, (1,), 0, array("f", (1,)))
    record.new(Note, text="kept in memory")
    record._write()
    record.stop()
    assert len(warnings) == 1
    assert str(error) in warnings[0]
    assert str(record.path) in warnings[0]
    assert record.failed
    assert not record._queue
    assert [note.text for note in record.run.notes] == ["kept in memory"]
    assert not any(thread.name == "nnaudit-record" and thread.is_alive() for thread in threading.enumerate())


# ---------------------------------------------------------------------------- what is no record


def text_file(path: Path) -> None:
    path.write_text("step,loss\n" * 200)


def empty_file(path: Path) -> None:
    path.touch()


def foreign_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE meta (key, value)")
        database.commit()


def written(path: Path) -> None:
    record = Record(path, pytest.fail)
    record.start()
    for key in range(200):
        record.new(Loader, line=Line("/x.py", key), dataset="x" * 100)
        record.add("objective", 1, (1,), key, array("f", (key,)))
    record.stop()


def newer(path: Path) -> None:
    written(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA + 1}")


def cut(path: Path) -> None:
    written(path)
    os.truncate(path, path.stat().st_size // 2)


def overwritten(path: Path) -> None:
    written(path)
    data = bytearray(path.read_bytes())
    noise = random.Random(0).randbytes(len(data) // 2)
    data[4096 : 4096 + len(noise)] = noise
    path.write_bytes(data)


def changed(statement: str, *values: object) -> Any:
    def change(path: Path) -> None:
        written(path)
        with closing(sqlite3.connect(path)) as database:
            database.execute(statement, values)
            database.commit()

    return change


STRANGE: dict[str, tuple[Any, str]] = {
    "text": (text_file, "is not a record of nnaudit, or is damaged"),
    "empty": (empty_file, "is an SQLite file, but not a record"),
    "foreign": (foreign_database, "is an SQLite file, but not a record"),
    "newer": (newer, f"was written by a newer nnaudit (format {SCHEMA + 1}, this one reads {SCHEMA}); update nnaudit"),
    "cut": (cut, "damaged"),
    "overwritten": (overwritten, "damaged"),
    "no JSON": (changed("UPDATE thing SET data = '{' WHERE key = 3"), "damaged"),
    "other JSON": (changed("UPDATE thing SET data = '[1]' WHERE key = 3"), "damaged"),
    "no key": (changed("UPDATE thing SET data = '{}' WHERE key = 3"), "damaged"),
    "odd row": (changed("UPDATE row SET data = ? WHERE seq = 3", b"123"), "damaged"),
    "no table": (changed("DROP TABLE row"), "damaged"),
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_is_no_record_is_named_in_one_line(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, words = STRANGE[what]
    path = tmp_path / "run" / "rank0.sqlite"
    path.parent.mkdir()
    make(path)
    with pytest.raises(NotARecord, match=re.escape(words)):
        load(path)
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, "run") == refused(capsys, "run/rank0.sqlite")
    assert words in refused(capsys, "run")


def test_folders_without_a_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no runs below" in refused(capsys)
    assert "does not exist" in refused(capsys, "nothing")
    (tmp_path / "empty").mkdir()
    assert "empty holds no record of a run" in refused(capsys, "empty")
    assert "NN999" in refused(capsys, "--select", "NN999", "empty").splitlines()[0]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", *arguments])
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert re.fullmatch(r"(error: .*\n)?[Ee]rror: .*\n", err), err
    return str(err)


def test_what_a_later_version_adds_is_left_out(record: Record) -> None:
    """The number of the format is raised only where an older reader would misread."""
    record.new(Note, text="known")
    record.stop()
    assert record.path is not None
    with closing(sqlite3.connect(record.path)) as database:
        database.execute("INSERT INTO thing VALUES ('future', 9, '{}')")
        database.execute(
            "UPDATE thing SET data = ? WHERE kind = 'note'", (json.dumps({"key": 1, "text": "x", "new": 2}),)
        )
        database.commit()
    assert load(record.path).notes == [Note(1, text="x")]


# ---------------------------------------------------------------------------- under a real script

# Says when each step was made, in a file of its own: that is what the record must know a second later.
TOLD = """
import os, time
told = os.open("told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(told, b"%d %f\\n" % (0, time.time()))
"""
FOREVER = TOLD + MISTAKEN.replace("range(3)", "range(10**9)").replace("    print(f", "    0 and print(f").replace(
    "        optimizer.step()\n",
    "        optimizer.step()\n        step += 1\n        os.write(told, b'%d %f\\n' % (step, time.time()))\n",
).replace("for epoch", "step = 0\nfor epoch")


def check_kill(nnaudit: Commands, folder: Path, after: float) -> None:
    folder.mkdir()
    write(folder / "script.py", FOREVER)
    began = time.perf_counter()
    started = nnaudit.start("trace", "--run-dir", "run", "script.py", folder=folder)
    while not (folder / "told").exists():
        assert time.perf_counter() - began < LIMIT
        time.sleep(0.01)
    time.sleep(after)
    started.kill(signal.SIGKILL)
    killed = time.time()
    assert started.wait().status == -signal.SIGKILL

    steps = [line.split() for line in (folder / "told").read_text().splitlines()]
    must = max(int(step) for step, told in steps if float(told) <= killed - 1)
    run = load(folder / "run" / "rank0.sqlite")
    assert not run.finished
    assert must <= run.steps <= int(steps[-1][0]) + 1
    if must > 20:
        objective = run.stream("objective", run.backwards[0].key)
        assert objective is not None
        assert objective.steps[-1] >= must - 50 * objective.stride
        assert run.loaders[0].batches >= must
        judged = nnaudit("report", "--output-format", "concise", "run", folder=folder)
        assert judged.status == 1
        assert MISTAKE.encode() in judged.out
        assert b"the record ends before the script did" in judged.out


def moments(count: int, longest: float) -> list[float]:
    """Random moments, the same in every run of the tests."""
    source = random.Random(0)
    return [round(source.uniform(0, longest), 2) for _ in range(count - 1)] + [longest]


@pytest.mark.parametrize("after", moments(3, 2.0))
def test_killed_at_a_random_moment(nnaudit: Commands, tmp_path: Path, after: float) -> None:
    check_kill(nnaudit, tmp_path / "run", after)


@pytest.mark.slow
@pytest.mark.parametrize("after", moments(20, 8.0))
def test_killed_at_many_random_moments(nnaudit: Commands, tmp_path: Path, after: float) -> None:
    check_kill(nnaudit, tmp_path / "run", after)


@pytest.fixture(scope="module")
def result(nnaudit: Commands, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the training prints, which no trouble with the record may change."""
    folder = tmp_path_factory.mktemp("plain")
    write(folder / "script.py", TRAINING)
    return nnaudit("trace", "script.py", folder=folder).out


@pytest.mark.parametrize("options", [("--run-dir", "file/run"), ("--run-dir", "/proc/run"), ()])
def test_a_folder_that_cannot_be_written(
    nnaudit: Commands, tmp_path: Path, result: bytes, options: tuple[str, ...]
) -> None:
    write(tmp_path / "file", "")
    write(tmp_path / "nnaudit_runs", "a file where the folder should be")
    write(tmp_path / "script.py", TRAINING)
    run = nnaudit("trace", *options, "script.py", folder=tmp_path)
    assert (run.status, run.out) == (0, result)
    assert run.err.count("warning") == 1
    assert run.err.startswith("nnaudit: warning: the record cannot be written to ")
    assert "  record " not in run.err


@pytest.mark.parametrize("room", [0, 20_000, 40_000])
def test_a_full_disk(nnaudit: Commands, tmp_path: Path, result: bytes, room: int) -> None:
    """Files may grow to so many bytes: the record fails at once, early, or on its way."""
    script = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n" if room else ""
    script += TRAINING.replace("range(3)", "range(40)").replace("    print(", "    epoch < 3 and print(")
    write(tmp_path / "script.py", script)
    run = nnaudit("trace", "--run-dir", "/dev/full/run" if not room else "run", "script.py", folder=tmp_path)
    assert (run.status, run.out) == (0, result)
    assert run.err.count("warning") == 1
    assert run.err.startswith("nnaudit: warning: the record cannot be written to ")
    assert "640 optimizer steps" in run.err
    assert "  record " not in run.err


# ---------------------------------------------------------------------------- recorders that fail


def train(seed: int = 0) -> Any:
    """The weights after a short training."""
    import torch
    from torch import nn
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    x = torch.randn(64, 4)
    loader = DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=16, shuffle=True)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        for inputs, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize(
    ("module", "recorder", "method"),
    [
        ("data", "DataRecorder", "attach"),
        ("data", "DataRecorder", "_begin"),
        ("data", "DataRecorder", "_batch"),
        ("modules", "ModuleRecorder", "_begin"),
        ("modules", "ModuleRecorder", "_enter"),
        ("modules", "ModuleRecorder", "_leave"),
        ("modules", "ModuleRecorder", "_finish"),
        ("losses", "LossRecorder", "attach"),
        ("losses", "LossRecorder", "_before"),
        ("losses", "LossRecorder", "_after"),
        ("gradients", "GradientRecorder", "_before"),
        ("gradients", "GradientRecorder", "_walk"),
        ("optimizers", "OptimizerRecorder", "_made_at"),
        ("optimizers", "OptimizerRecorder", "before_backward"),
        ("optimizers", "OptimizerRecorder", "after_backward"),
        ("optimizers", "OptimizerRecorder", "_before"),
        ("optimizers", "OptimizerRecorder", "_moved"),
        ("optimizers", "OptimizerRecorder", "detach"),
    ],
)
def test_a_recorder_that_fails_is_switched_off(
    module: str, recorder: str, method: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    from nnaudit.tracer.attach import Settings, Tracer

    plain = train()
    cls = getattr(__import__(f"nnaudit.tracer.recorders.{module}", fromlist=["x"]), recorder)
    original = getattr(cls, method)

    def fail(*args: Any, **kwargs: Any) -> Any:
        if method == "detach":
            original(*args, **kwargs)  # nothing may stay behind for the next test
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(cls, method, fail)
    tracer = Tracer(Settings()).attach()
    try:
        traced = train()
    finally:
        run = tracer.detach()
    err = capsys.readouterr().err
    assert all(torch.equal(a, b) for a, b in zip(plain, traced, strict=True))
    assert err.count("\n") == 1
    assert re.match(
        r"nnaudit: warning: \w+ (failed and is switched|could not be taken) off \(RuntimeError: broken on purpose\)",
        err,
    )
    assert ["broken on purpose" in note.text for note in run.notes].count(True) == (method != "detach")


def test_a_judge_that_fails_is_not_asked_again_while_the_script_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    from nnaudit.tracer.attach import Settings, Tracer

    def fail(run: Run) -> None:
        raise KeyError("broken on purpose")

    tracer = Tracer(Settings(), fail).attach()
    train()
    assert tracer.detach().steps == 8
    assert capsys.readouterr().err.count("judging failed") == 1


def test_numbers_that_can_no_longer_be_fetched(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed kernel every call on the device raises."""
    pytest.importorskip("torch")
    from nnaudit.tracer.attach import Settings, Tracer

    tracer = Tracer(Settings()).attach()
    train()

    def fail(wait: bool = False) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(tracer.watch.numbers, "fetch", fail)
    assert tracer.detach().steps == 8
    assert capsys.readouterr().err.count("warning") == 1
