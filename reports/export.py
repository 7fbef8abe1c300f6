"""The numbers of a run for other tools: one table as CSV, event files for TensorBoard."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..rules.finding import Line
    from ..tracer.run import Run

_OUTPUT = ("rms", "mean", "min", "max", "between samples")
PARTS = {"activation": _OUTPUT, "input": _OUTPUT}
"""What the numbers of a row are, where a thing has several."""


class Scalar(NamedTuple):
    """One number: ``tag`` names the quantity and the thing, as TensorBoard groups them."""

    tag: str
    step: int
    value: float


def scalars(run: Run) -> Iterator[Scalar]:
    """Every recorded number of a run, tag by tag, in the order of the steps."""
    for (name, owner), stream in run.streams.items():
        if not stream.rows:
            continue
        parts = PARTS.get(name, ("",))
        width = len(stream.rows[0]) // max(1, len(stream.layout))
        for key in stream.layout:
            for part in range(width):
                label = _label(run, name, owner, key)
                end = f"/{parts[part] if part < len(parts) else part}" if width > 1 else ""
                series = stream.column(key, part, width)
                for step, value in zip(series.steps, series.values, strict=True):
                    yield Scalar(f"{name}/{label}{end}", step, value)


def _label(run: Run, name: str, owner: int, key: int) -> str:
    """What users call the thing."""
    kinds = {
        "loss": "loss",
        "evaluated": "loss",
        "objective": "backward",
        "metric": "metric",
        "gradient": "parameter",
        "update": "parameter",
        "weight": "parameter",
        "activation": "module",
        "input": "module",
    }
    thing = run.of(kinds[name], key) if name in kinds else None
    if thing is None:
        return f"group {key}" if name == "rate" else str(key)
    named = str(getattr(thing, "name", "") or getattr(thing, "function", "") or "")
    line = getattr(thing, "line", None)
    if kinds[name] in ("loss", "backward"):
        return f"{named or 'backward'} {short_place(line)}"
    return named or f"{kinds[name]} {key}"


def short_place(line: Line | None) -> str:
    """``train.py:28``."""
    return "?" if line is None else f"{os.path.basename(line.file)}:{line.row}"


def write_csv(run: Run, stream: IO[str]) -> int:
    """``tag,step,value`` for every number; returns how many there were."""
    writer = csv.writer(stream)
    writer.writerow(Scalar._fields)
    count = 0
    for scalar in scalars(run):
        writer.writerow(scalar)
        count += 1
    return count


def write_tensorboard(run: Run, folder: Path) -> int:
    """An event file with every number as a scalar; returns how many. Raises ``ImportError`` without tensorboard."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    began = float(run.meta.get("began", 0.0))
    seconds = float(run.meta.get("seconds") or 0.0)
    last = max(run.steps, 1)
    writer = EventFileWriter(os.fspath(folder))
    count = 0
    for scalar in scalars(run):
        value = Summary.Value(tag=scalar.tag, simple_value=scalar.value)
        # Steps are recorded, the time of each is not: it is spread evenly over the run.
        when = began + seconds * min(scalar.step, last) / last
        writer.add_event(Event(wall_time=when, step=scalar.step, summary=Summary(value=[value])))
        count += 1
    writer.close()
    return count
