"""How many experiments could be made, and why not: ``python benchmarks/probes.py [SCRIPT ...]``.

Runs the healthy scripts of the tests (or those named) for three steps with every usual experiment, and prints for
each experiment how often it was made, how often its question did not arise, and how often it could not be answered.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEPS = 3


def reasons_of(script: Path, budget: float) -> tuple[list[tuple[str, str]], list[str]]:
    """(experiment, reason) of one run, and what was found as certain."""
    from nnaudit.tracer.store import files, load

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "nnaudit", "trace", "--probe", "--probe-budget", str(budget)]
        command += ["--steps", str(STEPS), "--run-dir", folder, "--output-format", "json", "--output-file"]
        command += [f"{folder}/found.json", str(script)]
        subprocess.run(command, capture_output=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
        run = load(files(Path(folder))[0])
        found = [f["code"] for f in json.loads(Path(folder, "found.json").read_text())]
    return [(probe.name, probe.reason) for probe in run.probes], found


def main() -> None:
    """Print the tables."""
    from nnaudit.tracer.probes.names import EXPERIMENTS, INAPPLICABLE, REASONS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="*", type=Path)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds for all experiments of a script")
    options = parser.parse_args()
    scripts = options.scripts or sorted((ROOT / "tests" / "runs" / "healthy").glob("*.py"))
    made: Counter[str] = Counter()
    idle: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for script in scripts:
        probes, found = reasons_of(script, options.budget)
        for name, reason in probes:
            (made if not reason else idle if reason in INAPPLICABLE else refused)[name] += 1
            reasons[reason] += bool(reason)
        if found:
            print(f"{script.name}: found {', '.join(found)}")
    print(f"{len(scripts)} scripts\n\n{'experiment':<14}{'made':>6}{'does not apply':>16}{'could not be made':>19}")
    for name in EXPERIMENTS:
        print(f"{name:<14}{made[name]:>6}{idle[name]:>16}{refused[name]:>19}")
    applicable = sum(made.values()) + sum(refused.values())
    share = sum(made.values()) / max(applicable, 1)
    print(f"\nof {applicable} applicable experiments {sum(made.values())} were made ({share:.1%})\n")
    for reason, count in reasons.most_common():
        if reason:
            print(f"{count:>5}  {reason:<24}{REASONS.get(reason, '')}")


if __name__ == "__main__":
    main()
