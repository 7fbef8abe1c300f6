"""Runs scripts under the tracer in forked children, and reads the marks of what must be found in them."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nnaudit.rules import discover
from nnaudit.rules.rule import Rule
from nnaudit.tracer import launch
from nnaudit.tracer.attach import Settings, Tracer
from nnaudit.tracer.judge import judge

RUNS = Path(__file__).parent / "runs"
HEALTHY = sorted((RUNS / "healthy").glob("*.py"))
MARK = re.compile(r"# <-- (NN\d+)( \(likely\))?$", re.MULTILINE)
JUDGING = [rule for rule in discover() if rule.watches() or rule.probes()]
SEEDS = range(5)
SIZES = ("s", "m", "l")
DEVICE = os.environ.get("NNAUDIT_TEST_DEVICE", "cpu")


class Outcome(NamedTuple):
    """``found``: (code, file, row, confidence) of what nothing else explains; ``failed``: notes of failed recorders.

    ``probes``: (name, reason) of the experiments.
    """

    found: list[tuple[str, str, int, str]]
    failed: list[str]
    probes: list[tuple[str, str]]


def watched(script: Path, *arguments: str, **settings: Any) -> Outcome:
    """A run of the script in a forked child: importing torch anew for every one would take most of the time."""
    source, target = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            warnings.resetwarnings()  # the script runs as in a process of its own: warnings are no errors there
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            os.write(target, json.dumps(_run(script, arguments, settings)).encode())
        finally:
            os._exit(0)
    os.close(target)
    with os.fdopen(source, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    assert data, f"{script.name} or the tracer died"
    found, failed, probes, error = json.loads(data)
    if error and DEVICE != "cpu":
        pytest.skip(f"cannot run on {DEVICE}: {error}")
    return Outcome([tuple(each) for each in found], failed, [tuple(each) for each in probes])


def _run(script: Path, arguments: Sequence[str], settings: dict[str, Any]) -> tuple[Any, ...]:
    if DEVICE != "cpu":
        _work_on(DEVICE)
    tracer = Tracer(Settings(arguments=(str(script), *arguments), **settings)).attach()
    outcome = launch.execute(launch.script(str(script), arguments))
    if outcome.error is not None:
        tracer.failed(outcome.error)
    run = tracer.detach()
    rules: list[Rule] = [rule() for rule in JUDGING]
    found = [
        (f.code, Path(f.place.filename).name, f.place.location.row, f.confidence.value)
        for f in judge(run, rules)
        if not f.explained_by
    ]
    failed = [note.text for note in run.notes if "failed" in note.text]
    probes = [(probe.name, probe.reason) for probe in run.probes]
    return found, failed, probes, repr(outcome.error) if outcome.error else ""


def _work_on(device: str) -> None:
    """Make tensors and modules there by default; permutations are drawn where their generator lives."""
    import torch

    drawn = torch.randperm

    def randperm(n: int, *, generator: torch.Generator | None = None, **options: Any) -> torch.Tensor:
        if generator is not None:
            options.setdefault("device", generator.device)
        return drawn(n, generator=generator, **options)

    torch.set_default_device(device)
    torch.randperm = randperm


def marks(script: Path, likely: bool = False) -> list[tuple[str, str, int]]:
    """(code, file, row) of the marked lines."""
    text = script.read_text()
    found = [m for m in MARK.finditer(text) if bool(m[2]) == likely]
    return sorted((m[1], script.name, text.count("\n", 0, m.start()) + 1) for m in found)


def names(paths: Sequence[Path]) -> list[object]:
    """Parameters with the names of the scripts as ids."""
    return [pytest.param(path, id=path.stem) for path in paths]
