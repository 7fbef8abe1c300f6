"""What a scan costs, as ratios that hold on any machine: ``python benchmarks/scan.py FOLDER...``.

The unit is the CPU time of a bare ``libcst.parse_module`` over the same files. Those are the files that
pass nnaudit's prefilter (at least one rule's trigger occurs in them), copied with their folders to a
temporary project, so that every contestant sees the same input and nnaudit can follow their imports.
Each contestant is a cold process of its own; the rounds are interleaved (A B C, A B C, ...); interpreter
start and imports are part of every number. TorchFix needs an older libcst than ours and so its own
environment: ``python -m venv TF && TF/bin/pip install torchfix flake8``, then ``--torchfix TF``.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import libcst

BARE_PARSE = """
import sys, pathlib, libcst
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.py")):
    libcst.parse_module(path.read_bytes())
"""
# nnaudit pauses the garbage collector while it parses; this unit does the same, so that the pause is no advantage.
BARE_PARSE_WITHOUT_GC = "import gc; gc.disable()" + BARE_PARSE


def main() -> int:
    """Print the table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="source trees, for example of benchmarks/corpus.py")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torchfix", type=Path, metavar="VENV", help="environment with torchfix and flake8")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nnaudit-bench-") as temporary:
        project = Path(temporary) / "project"
        files, lines, seen = copy_candidates(options.folders, project)
        if not files:
            parser.error("no file of these folders passes the prefilter")
        print(f"{files} files, {lines} lines pass the prefilter (of {seen} files read)")
        print_ratios(measure(contestants(project, options.torchfix), options.rounds), options.rounds)
    return 0


def copy_candidates(folders: Iterable[Path], project: Path) -> tuple[int, int, int]:
    """Copy the files that hold a trigger and can be parsed; returns (files, lines, files read)."""
    triggers = prefilter()
    files = lines = seen = 0
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            if not path.is_file():
                continue
            seen += 1
            source = path.read_bytes()
            if not any(trigger in source for trigger in triggers):
                continue
            try:
                libcst.parse_module(source)
            except (libcst.ParserSyntaxError, UnicodeDecodeError, RecursionError):
                continue  # every contestant stumbles over it in its own way
            target = project / folder.resolve().name / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source)
            files += 1
            lines += source.count(b"\n")
    return files, lines, seen


def prefilter() -> tuple[bytes, ...]:
    """The union of the rules' triggers."""
    from nnaudit.rules import discover

    return tuple(sorted({trigger.encode() for rule in discover() for trigger in rule.triggers}))


def contestants(project: Path, torchfix: Path | None) -> dict[str, list[str]]:
    """Name -> command; the first is the unit."""
    commands = {
        "libcst.parse_module": [sys.executable, "-c", BARE_PARSE, str(project)],
        "libcst.parse_module, gc off": [sys.executable, "-c", BARE_PARSE_WITHOUT_GC, str(project)],
        "nnaudit scan": [
            *(sys.executable, "-m", "nnaudit", "scan", "--no-cache", "--jobs", "1", "--exit-zero"),
            *("--output-format", "json", "--output-file", str(project.with_name("findings.json")), str(project)),
        ],
    }
    if torchfix is not None:
        commands["torchfix"] = [str(torchfix / "bin" / "torchfix"), "-j", "1", str(project)]
        commands["flake8 --select TOR"] = [
            *(str(torchfix / "bin" / "flake8"), "--isolated", "-j", "1", "--exit-zero", "--select", "TOR"),
            str(project),
        ]
    return commands


def measure(commands: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds (user and system, children included) of every round."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds):
        for name, command in commands.items():
            seconds[name].append(cpu_seconds(name, command))
            print(f"round {number + 1}/{rounds}: {name} done", file=sys.stderr, flush=True)
    return seconds


def cpu_seconds(name: str, command: list[str]) -> float:
    """The CPU time of one process and of those that it waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{name} ended with status {done.returncode}: {done.stderr[-2000:] or done.stdout[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def print_ratios(seconds: dict[str, list[float]], rounds: int) -> None:
    """One row a contestant: the ratio to the unit of the same round, median and range."""
    unit = next(iter(seconds.values()))
    print(f"\n| contestant | CPU time / bare parse: median of {rounds} | min | max |\n|---|---:|---:|---:|")
    for name, times in seconds.items():
        ratios = [time / base for time, base in zip(times, unit, strict=True)]
        print(f"| {name} | {statistics.median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f} |")


if __name__ == "__main__":
    raise SystemExit(main())
