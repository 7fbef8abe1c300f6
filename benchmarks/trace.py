"""What tracing costs, as ratios of CPU time: ``python benchmarks/trace.py [SCRIPT...]``.

Every contestant runs the same script (``benchmarks/traced``) in a process of its own; rounds are interleaved (A B C,
A B C, ...), one warm-up round is thrown away, the number is the median of the rounds' ratios to the plain run.
Interpreter start, imports and the verdict are part of the traced runs. The peers need their own environment
(``python -m venv PEERS && PEERS/bin/pip install -c constraints.txt torch torch-audit wandb``, then ``--peers PEERS``);
anomaly mode is torch's own. The peers are switched on as their documentation says for the closest equivalent.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
STEPS = {"gpt": 400, "resnet": 120, "mlp": 28_000}
"""Optimizer steps: about half a minute each, so that starting up weighs as little as in a real run."""


def main() -> int:
    """Print a table: scripts by contestants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scripts", nargs="*", type=Path, default=sorted((HERE / "traced").glob("*.py")))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="optimizer steps instead of the defaults")
    parser.add_argument("--alone", action="store_true", help="nnaudit against the plain run only")
    parser.add_argument("--peers", type=Path, metavar="VENV", help="environment with torch-audit and wandb")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nnaudit-bench-") as folder:
        for script in options.scripts:
            steps = options.steps or STEPS.get(script.stem, 1000)
            commands = contestants(script.resolve(), steps, options.peers, Path(folder))
            if options.alone:
                commands = {name: commands[name] for name in ("plain", "nnaudit trace")}
            measure(script, steps, options.rounds, commands, Path(folder))
    return 0


def contestants(script: Path, steps: int, peers: Path | None, folder: Path) -> dict[str, list[str]]:
    """Name -> command."""
    run = [str(script), "--steps", str(steps)]
    python = sys.executable
    found = {
        "plain": [python, *run],
        "nnaudit trace": [python, "-m", "nnaudit", "trace", "--exit-zero", "--run-dir", str(folder / "run"), *run],
        "anomaly mode": [python, str(HERE / "peers.py"), "anomaly", *run],
    }
    if peers is not None:
        for name in ("torch-audit", "wandb-watch"):
            found[name] = [str(peers / "bin" / "python"), str(HERE / "peers.py"), name, *run]
    return found


def measure(script: Path, steps: int, rounds: int, commands: dict[str, list[str]], folder: Path) -> None:
    """Run the rounds and print medians and ranges."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            spent = cpu_seconds(command, folder)
            if number:
                seconds[name].append(spent)
    plain = statistics.median(seconds["plain"])
    print(
        f"{script.stem}: {steps} steps, plain {plain:.1f} s CPU ({1000 * plain / steps:.2f} ms a step), {rounds} rounds"
    )
    for name in list(commands)[1:]:
        ratios = [a / b for a, b in zip(seconds[name], seconds["plain"], strict=True)]
        print(f"  {name:<14} {statistics.median(ratios):.3f}  ({min(ratios):.3f} to {max(ratios):.3f})", flush=True)


def cpu_seconds(command: list[str], folder: Path) -> float:
    """User and system time of one process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    done = subprocess.run(command, cwd=folder, capture_output=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr.decode()[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main())
