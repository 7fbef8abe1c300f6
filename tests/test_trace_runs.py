"""Real training scripts under the tracer: each mistake is found at its line, each healthy run is left alone.

``tests/runs/pairs`` holds, for every rule that watches, a script with the mistake (its line ends in
``# <-- NNxxx``, or in ``# <-- NNxxx (likely)`` where that is all that the rule says) and its repaired twin;
``tests/runs/healthy`` holds runs of many kinds that are right. Symptoms that the run explains by the mistake do not
count. The normal tests take one seed at the smallest size, the slow ones five seeds and three sizes.
``NNAUDIT_TEST_DEVICE=cuda`` runs them on that device, as far as a script can run there.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from traced_runs import HEALTHY, JUDGING, RUNS, SEEDS, SIZES, marks, names, watched

from nnaudit.rules.rule import Rule

PAIRS = sorted((RUNS / "pairs").glob("*.py"))
WATCHING = [rule for rule in JUDGING if rule.watches()]


def check_pair(script: Path, seed: int, size: str) -> None:
    """The marked line is found, as certain if it is not marked as likely, and no other rule is certain of anything."""
    found, failed, _ = watched(script, "--seed", str(seed), "--size", size)
    assert not failed
    assert sorted(each[:3] for each in found if each[3] == "certain") == marks(script)
    code = script.name[:5]
    likely = [each[:3] for each in found if each[3] == "likely" and each[0] == code]
    assert likely == marks(script, likely=True)


def check_healthy(script: Path, seed: int, size: str) -> None:
    found, failed, _ = watched(script, "--seed", str(seed), "--size", size)
    assert not failed
    assert [each for each in found if each[3] == "certain"] == []


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
