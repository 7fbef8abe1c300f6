"""Experiments on unmodified scripts: each mistake is found before the third step, each healthy training is left alone.

``tests/runs/probes`` holds scripts with a mistake that only an experiment shows, or shows at once (marked as in
``tests/runs/pairs``), and their repaired twins. The normal tests take one seed at the smallest size, the slow ones five
seeds and three sizes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from traced_runs import HEALTHY, JUDGING, RUNS, SEEDS, SIZES, marks, names, watched

from nnaudit.rules.rule import Rule
from nnaudit.tracer.probes.names import INAPPLICABLE, PROBES

PAIRS = sorted((RUNS / "probes").glob("*.py"))
PROBING = [rule for rule in JUDGING if rule.probes()]
USUAL = [name for name, optional in PROBES.items() if not optional]
STEPS = 3
BUDGET = 60.0
"""Seconds: machines are shared, and what is found must not depend on that."""


def check_pair(script: Path, seed: int, size: str) -> None:
    """What is marked is found, and nothing else is certain."""
    rule = next(rule for rule in PROBING if rule.code == script.name[:5])
    wanted = [*USUAL, *(name for name in rule.experiments if PROBES[name])]
    found, failed, probes = watched(
        script, "--seed", str(seed), "--size", size, steps=STEPS, probes=wanted, probe_budget=BUDGET
    )
    assert not failed
    assert [each for each in probes if each[1] in ("failed", "crash", "loss-not-reproduced", "source-not-found")] == []
    assert sorted(each[:3] for each in found if each[3] == "certain") == marks(script)
    code = script.name[:5]
    likely = [each[:3] for each in found if each[3] == "likely" and each[0] == code]
    assert likely == marks(script, likely=True)


def check_healthy(script: Path, seed: int, size: str) -> list[tuple[str, str]]:
    """Nothing is certain; returns the experiments with why they were not made."""
    found, failed, probes = watched(
        script, "--seed", str(seed), "--size", size, steps=STEPS, probes=USUAL, probe_budget=BUDGET
    )
    assert not failed
    assert [each for each in found if each[3] == "certain"] == []
    return probes


@pytest.mark.parametrize("rule", PROBING, ids=lambda rule: rule.code)
def test_every_rule_with_an_experiment_has_a_pair(rule: type[Rule]) -> None:
    assert rule.experiments
    assert set(rule.experiments) <= PROBES.keys()
    bad = [path for path in PAIRS if path.name.startswith(f"{rule.code}_bad")]
    assert bad
    assert all(path.with_name(path.name.replace("_bad", "_good")) in PAIRS for path in bad)


@pytest.mark.parametrize("script", names(PAIRS))
def test_pair(script: Path) -> None:
    check_pair(script, 0, "s")


@pytest.mark.parametrize("script", names(HEALTHY))
def test_healthy(script: Path) -> None:
    """Besides, every experiment was made or has a reason that is no fault of ours."""
    reasons = {reason for _, reason in check_healthy(script, 0, "s")}
    assert reasons - INAPPLICABLE <= {"", "older-graph", "time"}


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
