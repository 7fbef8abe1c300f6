"""The numbers of a record for other tools, and two records side by side."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import TRAINING, Commands, Ended, write


@pytest.fixture(scope="module")
def nnaudit() -> Iterator[Commands]:
    pytest.importorskip("torch")
    commands = Commands()
    yield commands
    commands.close()


@pytest.fixture(scope="module")
def runs(nnaudit: Commands, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three records: two of one script, and one at another rate."""
    folder = tmp_path_factory.mktemp("runs")
    write(folder / "train.py", TRAINING)
    write(folder / "faster.py", TRAINING.replace("lr=0.1", "lr=0.2"))
    for name, script in (("one", "train.py"), ("same", "train.py"), ("other", "faster.py")):
        assert nnaudit("trace", "--run-dir", name, script, folder=folder).status == 0
    return folder


def test_csv(nnaudit: Commands, runs: Path) -> None:
    ended = nnaudit("report", "one", "--csv", "numbers.csv", folder=runs)
    assert ended.status == 0
    with (runs / "numbers.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert f"{len(rows):,} numbers" in ended.err
    losses = [row for row in rows if row["tag"].startswith("loss/cross_entropy train.py:")]
    assert [int(row["step"]) for row in losses] == list(range(48))
    assert float(losses[0]["value"]) > float(losses[-1]["value"]) > 0
    assert {row["tag"] for row in rows} >= {"gradient/model.0.weight", "activation/model.2/rms", "rate/group 0"}


def test_tensorboard_reads_what_we_write(nnaudit: Commands, runs: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    ended = nnaudit("report", "one", "--csv", "all.csv", "--tensorboard", "events", folder=runs)
    assert "tensorboard --logdir events" in ended.err
    read = accumulators.EventAccumulator(str(runs / "events"), size_guidance={"scalars": 0})
    read.Reload()
    with (runs / "all.csv").open(newline="") as stream:
        wanted: dict[str, list[tuple[int, float]]] = {}
        for row in csv.DictReader(stream):
            wanted.setdefault(row["tag"], []).append((int(row["step"]), float(row["value"])))
    assert set(read.Tags()["scalars"]) == set(wanted)
    for tag, points in wanted.items():
        assert [(e.step, e.value) for e in read.Scalars(tag)] == [(s, pytest.approx(v, rel=1e-6)) for s, v in points]


def test_a_place_that_cannot_be_written_is_said(nnaudit: Commands, runs: Path) -> None:
    ended = nnaudit("report", "one", "--csv", "no/such/folder.csv", folder=runs)
    assert ended.status == 2
    assert "no/such/folder.csv: cannot be written" in ended.err


def compared(nnaudit: Commands, runs: Path, a: str, b: str) -> Ended:
    return nnaudit("compare", a, b, folder=runs)


def test_two_runs_of_one_script_do_not_differ(nnaudit: Commands, runs: Path) -> None:
    ended = compared(nnaudit, runs, "one", "same")
    assert ended.out.decode().count("no difference") == 4
    assert ended.status == 0


def test_what_differs_is_shown(nnaudit: Commands, runs: Path) -> None:
    ended = compared(nnaudit, runs, "one", "other")
    text = ended.out.decode()
    assert ended.status == 1
    assert "optimizer 1: SGD, learning rate 0.1, 4 tensors | SGD, learning rate 0.2, 4 tensors" in text
    assert "order of the data\n  no difference" in text
    assert "parts at step 0" in text, "the rate, and the first update"
    assert "loss/cross_entropy" not in text.split("parts at step 1")[0], "the first loss is that of the same weights"


def test_what_is_no_record_is_said(nnaudit: Commands, runs: Path) -> None:
    ended = compared(nnaudit, runs, "one", "nothing")
    assert ended.status == 2
    assert "nothing" in ended.err
