"""The record on disk: one SQLite file for each rank, written while the script runs, readable after a kill -9.

A thread of its own writes what has changed twice a second, so at most the last second is lost and the training
loop never waits for the disk. Readers need no torch.
"""

from __future__ import annotations

import json
import linecache
import os
import sqlite3
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ..rules.finding import Line
from .run import KINDS, SCHEMA, Epoch, Run, Stream
from .thing import Thing

INTERVAL = 0.7
"""Seconds between two writes."""

APPLICATION = 0x4E4E4155
"""SQLite's ``application_id`` of our files ("NNAU")."""

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS thing (kind TEXT, key INTEGER, data TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stream (id INTEGER PRIMARY KEY, name TEXT, owner INTEGER, layout TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS row (
    stream INTEGER, seq INTEGER, step INTEGER, data BLOB, PRIMARY KEY (stream, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS line (file TEXT, row INTEGER, text TEXT, PRIMARY KEY (file, row)) WITHOUT ROWID;
"""

_KIND = {kind.KIND: kind for kind in KINDS}
_FIELDS = {kind.KIND: tuple(f.name for f in fields(kind)) for kind in KINDS}


class NotARecord(Exception):
    """The file is no record of a run, or not one that this version can read; the text says what to do."""


# ---------------------------------------------------------------------------- writing


class Record:
    """A run being recorded: the nouns, what of them has changed, and the thread that writes it down.

    Without a ``path``, or after a failure to write (``failed``), everything stays in memory.
    """

    def __init__(self, path: Path | None, warn: Callable[[str], None]) -> None:
        self.run = Run()
        self.path = path
        self._warn = warn
        self.failed = False
        # Both are filled by the script's thread and emptied by the writer's, item by item: each such step is atomic.
        self._dirty: set[tuple[str, int]] = set()
        self._queue: deque[tuple[Any, ...]] = deque()
        self._numbers: dict[tuple[str, int], int] = {}
        self._lines: set[tuple[str, int]] = set()
        self._next = 0
        self._keeps = False
        """Whether somebody will write down what is queued."""
        self._stop = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._database: sqlite3.Connection | None = None

    def start(self) -> None:
        """Open the file and begin to write."""
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = _create(self.path)
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)
            return
        self._keeps = True
        self._thread = threading.Thread(target=self._write_on, name="nnaudit-record", daemon=True)
        self._thread.start()

    def forget(self) -> None:
        """In a forked child: the file and its thread belong to the parent. Nothing is closed here."""
        self._keeps = False
        self._thread = None
        _LEFT_TO_THE_PARENT.append(self._database)
        self._database = None

    def new(self, kind: type[Any], **values: Any) -> Any:
        """A new noun."""
        return self.adopt(kind(0, **values))

    def adopt(self, thing: Any) -> Any:
        """Take in a noun that was made elsewhere, under a key of its own."""
        self._next += 1
        thing.key = self._next
        self.run.things[thing.KIND][thing.key] = thing
        self.touch(thing)
        return thing

    def full(self, kind: type[Any], limit: int) -> bool:
        """Whether there are so many nouns of a kind that a script must be making them in a loop."""
        return len(self.run.things[kind.KIND]) >= limit

    def touch(self, thing: Thing) -> None:
        """The noun has changed."""
        self._dirty.add((thing.KIND, thing.key))

    def add(self, name: str, owner: int, layout: Iterable[int], step: int, row: array[float]) -> None:
        """A row of a stream; a new layout begins the stream anew."""
        key = (name, owner)
        stream = self.run.streams.get(key)
        if stream is None or (stream.layout != layout and stream.layout != tuple(layout)):
            if stream is not None:
                self._later("drop", self._numbers[key])
            stream = self.run.streams[key] = Stream(name, owner, layout)
            self._next += 1
            self._numbers[key] = self._next
            self._later("stream", self._next, name, owner, stream.layout)
        stride = stream.stride
        if stream.add(step, row):
            self._later("row", self._numbers[key], stream.seen - 1, step, row)
            if stream.stride != stride:
                self._later("thin", self._numbers[key], stream.stride)

    def _later(self, *command: Any) -> None:
        if self._keeps:
            self._queue.append(command)

    def stop(self) -> None:
        """Write the rest and close."""
        self.run.finished = True
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=10)
        # What changed after it was touched.
        self._dirty.update((thing.KIND, thing.key) for thing in self.run.all_things())
        self._write()
        with suppress(sqlite3.Error), self._writing:
            database, self._database = self._database, None
            if database is not None:
                with closing(database):
                    # One plain file, which can be read from a folder that nobody may write to.
                    database.execute("PRAGMA journal_mode = DELETE")

    def _write_on(self) -> None:
        while not self._stop.wait(INTERVAL):
            self._write()

    def _write(self) -> None:
        with self._writing:
            database = self._database
            if database is None:
                return
            try:
                self._put(database)
                database.commit()
            except Exception as error:  # whatever it is, training goes on
                self._give_up(error)

    def _put(self, database: sqlite3.Connection) -> None:
        rows, changing = [], []
        for _ in range(len(self._dirty)):
            kind, key = self._dirty.pop()
            thing = self.run.things[kind][key]
            try:
                rows.append((kind, key, json.dumps(encode(thing), separators=(",", ":"))))
            except RuntimeError:  # the script's thread is just changing it
                changing.append((kind, key))
                continue
            self._note_lines(database, thing)
        self._dirty.update(changing)
        database.executemany("INSERT OR REPLACE INTO thing VALUES (?, ?, ?)", rows)
        for _ in range(len(self._queue)):
            command, *values = self._queue.popleft()
            if command == "row":
                number, seq, step, row = values
                database.execute("INSERT OR REPLACE INTO row VALUES (?, ?, ?, ?)", (number, seq, step, row.tobytes()))
            elif command == "stream":
                number, name, owner, layout = values
                database.execute(
                    "INSERT INTO stream VALUES (?, ?, ?, ?)", (number, name, owner, json.dumps(list(layout)))
                )
            elif command == "thin":
                database.execute("DELETE FROM row WHERE stream = ? AND seq % ? != 0", values)
            else:
                database.execute("DELETE FROM row WHERE stream = ?", values)
                database.execute("DELETE FROM stream WHERE id = ?", values)
        meta = {**self.run.meta, "finished": self.run.finished}
        database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(k, json.dumps(v)) for k, v in meta.items()])

    def _note_lines(self, database: sqlite3.Connection, thing: Thing) -> None:
        """Keep the text of the lines that the noun points to: files change, records stay."""
        for name in thing.LINES:
            line = getattr(thing, name)
            if line is None or (line.file, line.row) in self._lines:
                continue
            self._lines.add((line.file, line.row))
            text = linecache.getline(line.file, line.row).rstrip("\n")
            self.run.text[line.file, line.row] = text
            database.execute("INSERT OR REPLACE INTO line VALUES (?, ?, ?)", (line.file, line.row, text))

    def _give_up(self, error: Exception) -> None:
        self.failed, self._keeps = True, False
        self._stop.set()
        self._queue.clear()
        why = str(error) or type(error).__name__
        self._warn(
            f"the record cannot be written to {self.path} ({why}); training and checks go on without it, "
            "`nnaudit report` will not be able to read this run. Name another place with --run-dir."
        )
        database, self._database = self._database, None
        if database is not None:
            with suppress(sqlite3.Error):
                database.rollback()
                database.close()


_LEFT_TO_THE_PARENT: list[Any] = []
"""Connections inherited by a fork: closing them would tear the parent's locks away."""


def _create(path: Path) -> sqlite3.Connection:
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    database = sqlite3.connect(path, check_same_thread=False, timeout=5)
    database.execute(f"PRAGMA application_id = {APPLICATION}")
    database.execute(f"PRAGMA user_version = {SCHEMA}")
    # Write-ahead logging needs shared memory, which network file systems lack: SQLite then stays in its default mode.
    database.execute("PRAGMA journal_mode = WAL")
    # The promise is about a killed process, not about power loss: the operating system has the data.
    database.execute("PRAGMA synchronous = OFF")
    database.executescript(_TABLES)
    database.commit()
    return database


def encode(thing: Thing) -> dict[str, Any]:
    """A noun as JSON takes it."""
    data = {name: getattr(thing, name) for name in _FIELDS[thing.KIND]}
    if "epochs" in data:
        data["epochs"] = [asdict(epoch) for epoch in data["epochs"]]
    return data


# ---------------------------------------------------------------------------- reading


def files(path: Path) -> list[Path]:
    """The records of a run folder, rank by rank; the file itself where one is named.

    Raises :class:`NotARecord` where there is none.
    """
    if path.is_dir():
        found = sorted(path.glob("rank*.sqlite"), key=lambda p: int("".join(filter(str.isdigit, p.stem)) or 0))
        if not found:
            raise NotARecord(f"{path} holds no record of a run (no rank0.sqlite); name the folder that trace printed")
        return found
    if not path.exists():
        raise NotARecord(f"{path} does not exist; `nnaudit report` without a path takes the latest run")
    return [path]


def load(path: Path) -> Run:
    """Read one rank's record. Raises :class:`NotARecord` for any other file, or one of a newer version."""
    try:
        with closing(sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True)) as database:
            _check(database, path)
            return _read(database)
    except (sqlite3.Error, ValueError, TypeError, LookupError, AttributeError) as error:
        raise NotARecord(f"{path} is not a record of nnaudit, or is damaged ({error})") from None


def _quoted(path: Path) -> str:
    return os.fspath(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _check(database: sqlite3.Connection, path: Path) -> None:
    if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        raise NotARecord(f"{path} is an SQLite file, but not a record of nnaudit")
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA:
        raise NotARecord(
            f"{path} was written by a newer nnaudit (format {version}, this one reads {SCHEMA}); update nnaudit"
        )


def _read(database: sqlite3.Connection) -> Run:
    run = Run()
    run.meta = {key: json.loads(value) for key, value in database.execute("SELECT key, value FROM meta")}
    run.finished = bool(run.meta.get("finished"))
    for kind, key, data in database.execute("SELECT kind, key, data FROM thing ORDER BY key"):
        if kind in _KIND:
            run.things[kind][key] = decode(kind, json.loads(data))
    numbers: dict[int, Stream] = {}
    for number, name, owner, layout in database.execute("SELECT id, name, owner, layout FROM stream"):
        numbers[number] = run.streams[name, owner] = Stream(name, owner, json.loads(layout))
    for number, seq, step, data in database.execute("SELECT stream, seq, step, data FROM row ORDER BY stream, seq"):
        stream = numbers.get(number)
        if stream is not None:
            stream.steps.append(step)
            stream.rows.append(array("f", data))
            stream.seen = seq + 1
    run.text = {(file, row): text for file, row, text in database.execute("SELECT file, row, text FROM line")}
    return run


def decode(kind: str, data: dict[str, Any]) -> Thing:
    """The noun of that kind that :func:`encode` made this of."""
    cls = _KIND[kind]
    known = _FIELDS[kind]
    values = {name: value for name, value in data.items() if name in known}
    for name in cls.LINES:
        if values.get(name) is not None:
            values[name] = Line(*values[name])
    if kind == "loader":
        values["epochs"] = [Epoch(**epoch) for epoch in values["epochs"]]
    return cls(**values)
