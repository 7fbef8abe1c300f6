"""Real training scripts under the tracer: each mistake is found at its line, each healthy run is left alone.

``tests/runs/pairs`` holds, for every rule that watches, a script with the mistake (its line ends in
``# <-- NNxxx``, or in ``# <-- NNxxx (likely)`` where that is all that the rule says) and its repaired twin;
``tests/runs/healthy`` holds runs of many kinds that are right. Symptoms that the run explains by the mistake do not
count. The normal tests take one seed at the smallest size, the slow ones five seeds and three sizes.
``NNAUDIT_TEST_DEVICE=cuda`` runs them on that device, as far as a script can run there.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from nnaudit.rules import discover
from nnaudit.rules.rule import Rule
from nnaudit.tracer import launch
from nnaudit.tracer.attach import Settings, Tracer
from nnaudit.tracer.judge import judge

RUNS = Path(__file__).parent / "runs"
PAIRS = sorted((RUNS / "pairs").glob("*.py"))
HEALTHY = sorted((RUNS / "healthy").glob("*.py"))
MARK = re.compile(r"# <-- (NN\d+)( \(likely\))?$", re.MULTILINE)
WATCHING = [rule for rule in discover() if rule.watches()]
SEEDS = range(5)
SIZES = ("s", "m", "l")
DEVICE = os.environ.get("NNAUDIT_TEST_DEVICE", "cpu")

Found = list[tuple[str, str, int, str]]


def watched(script: Path, *arguments: str) -> tuple[Found, list[str]]:
    """(code, file, row, confidence) of everything found in a run of the script, and the notes of failed recorders.

    In a forked child: importing torch anew for every script would take most of the time.
    """
    source, target = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            warnings.resetwarnings()  # the script runs as in a process of its own: warnings are no errors there
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            os.write(target, json.dumps(_run(script, arguments)).encode())
        finally:
            os._exit(0)
    os.close(target)
    with os.fdopen(source, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    assert data, f"{script.name} or the tracer died"
    found, failed, error = json.loads(data)
    if error and DEVICE != "cpu":
        pytest.skip(f"cannot run on {DEVICE}: {error}")
    return [tuple(each) for each in found], failed


def _run(script: Path, arguments: tuple[str, ...]) -> tuple[Found, list[str], str]:
    if DEVICE != "cpu":
        _work_on(DEVICE)
    tracer = Tracer(Settings(arguments=(str(script), *arguments))).attach()
    outcome = launch.execute(launch.script(str(script), arguments))
    if outcome.error is not None:
        tracer.failed(outcome.error)
    run = tracer.detach()
    rules: list[Rule] = [rule() for rule in WATCHING]
    found = [
        (f.code, Path(f.place.filename).name, f.place.location.row, f.confidence.value)
        for f in judge(run, rules)
        if not f.explained_by
    ]
    return (
        found,
        [note.text for note in run.notes if "failed" in note.text],
        repr(outcome.error) if outcome.error else "",
    )


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
    text = script.read_text()
    found = [m for m in MARK.finditer(text) if bool(m[2]) == likely]
    return sorted((m[1], script.name, text.count("\n", 0, m.start()) + 1) for m in found)


def check_pair(script: Path, seed: int, size: str) -> None:
    """The marked line is found, as certain if it is not marked as likely, and no other rule is certain of anything."""
    found, failed = watched(script, "--seed", str(seed), "--size", size)
    assert not failed
    assert sorted(each[:3] for each in found if each[3] == "certain") == marks(script)
    code = script.name[:5]
    likely = [each[:3] for each in found if each[3] == "likely" and each[0] == code]
    assert likely == marks(script, likely=True)


def check_healthy(script: Path, seed: int, size: str) -> None:
    found, failed = watched(script, "--seed", str(seed), "--size", size)
    assert not failed
    assert [each for each in found if each[3] == "certain"] == []


def names(paths: list[Path]) -> list[object]:
    return [pytest.param(path, id=path.stem) for path in paths]


@pytest.mark.parametrize("rule", WATCHING, ids=lambda rule: rule.code)
def test_every_watching_rule_has_a_pair(rule: type[Rule]) -> None:
    bad = [path for path in PAIRS if path.name.startswith(f"{rule.code}_bad")]
    assert bad
    assert all(path.with_name(path.name.replace("_bad", "_good")) in PAIRS for path in bad)
    assert all([c for c, _, _ in marks(path) + marks(path, likely=True)] == [rule.code] for path in bad)


def test_there_are_enough_healthy_runs() -> None:
    assert len(HEALTHY) >= 40


@pytest.mark.parametrize("script", names(PAIRS))
def test_pair(script: Path) -> None:
    check_pair(script, 0, "s")


@pytest.mark.parametrize("script", names(HEALTHY))
def test_healthy(script: Path) -> None:
    check_healthy(script, 0, "s")


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("script", names(PAIRS))
def test_pair_in_all_seeds_and_sizes(script: Path, seed: int, size: str) -> None:
    check_pair(script, seed, size)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("script", names(HEALTHY))
def test_healthy_in_all_seeds_and_sizes(script: Path, seed: int, size: str) -> None:
    check_healthy(script, seed, size)
