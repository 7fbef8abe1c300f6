"""Recall: seed mistakes into clean real scripts and count what is found: ``python benchmarks/mutate.py CORPUS``.

CORPUS is the folder that benchmarks/corpus.py filled. Each script is scanned in a copy of its project (of
its neighbourhood, where the repository is large). A seed counts as found when its rule reports a
certain finding, in the file that it belongs to, at a place where it reported nothing before. A seed
whose script the rule already reports is listed apart and counts neither way. ``--show`` prints every
mutation as a diff and needs no analysis.
"""

from __future__ import annotations

import argparse
import difflib
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from operators import NotApplied, mutate
from seeds import SEEDS, Seed
from seeds_advice import ADVICE
from seeds_catalogue import CATALOGUE

LARGEST_PROJECT = 150
"""Files; a script of a larger repository is scanned with the widest folder around it that is smaller."""


@dataclass(frozen=True)
class Outcome:
    """What became of one seed: ``found``, ``likely``, ``missed``, ``unclean`` or ``not applied``."""

    seed: Seed
    verdict: str
    detail: str = ""


def main() -> int:
    """Print the table, then every seed that was not found; the exit status tells seeds that did not apply."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="the folder of benchmarks/corpus.py")
    parser.add_argument("--rule", action="append", help="only seeds of this code; may be repeated")
    parser.add_argument("--show", action="store_true", help="print the mutations as diffs and stop")
    options = parser.parse_args()
    seeds = [seed for seed in (*SEEDS, *CATALOGUE, *ADVICE) if not options.rule or seed.rule in options.rule]
    if options.show:
        return show(options.corpus, seeds)
    outcomes = []
    for number, seed in enumerate(seeds, 1):
        outcomes.append(examine(options.corpus.resolve(), seed))
        print(f"{number}/{len(seeds)} {seed.rule} {outcomes[-1].verdict}: {seed.path}", file=sys.stderr, flush=True)
    print_table(outcomes)
    return int(any(outcome.verdict == "not applied" for outcome in outcomes))


def show(corpus: Path, seeds: Sequence[Seed]) -> int:
    """Print each mutation; returns 1 when one does not apply or gives a broken file."""
    failures = 0
    for seed in seeds:
        try:
            before, after = mutated(corpus, seed)
            compile(after, seed.path, "exec")
        except (NotApplied, OSError, SyntaxError, cst.ParserSyntaxError) as error:
            failures += 1
            print(f"!!! {seed.rule} {seed.path}: {seed.what}: {error!r}")
            continue
        print(f"=== {seed.rule} {seed.path}: {seed.what}")
        difference = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
        print("\n".join(line for line in difference if not line.startswith(("---", "+++"))))
    print(f"{len(seeds)} seeds, {failures} not applicable")
    return int(failures > 0)


def mutated(corpus: Path, seed: Seed) -> tuple[str, str]:
    """The script before and after; the mutation must change it."""
    before = (corpus / seed.path).read_text(encoding="utf-8")
    after = mutate(before, seed.operator)
    if before == after:
        raise NotApplied(seed.what)
    return before, after


def examine(corpus: Path, seed: Seed) -> Outcome:
    """Scan the script with its project before and after the mutation."""
    try:
        _, after = mutated(corpus, seed)
    except (NotApplied, OSError, cst.ParserSyntaxError) as error:
        return Outcome(seed, "not applied", repr(error))
    with tempfile.TemporaryDirectory(prefix="nnaudit-mutate-") as folder:
        copied = copy_project(corpus, seed, Path(folder))
        before = findings(copied, seed.rule, {})
        if "certain" in before.values():
            return Outcome(seed, "unclean", f"already reported: {sorted(before)}")
        found = findings(copied, seed.rule, {copied[0]: after})
    if "certain" in found.values():
        return Outcome(seed, "found", str(sorted(found)))
    return Outcome(seed, "likely" if found.keys() - before.keys() else "missed")


def copy_project(corpus: Path, seed: Seed, folder: Path) -> tuple[Path, Path]:
    """Copy what surrounds the script; returns the places of the mutated and of the reported file."""
    path = corpus / seed.path
    reported = corpus / (seed.reported or seed.path)
    repository = corpus / Path(*Path(seed.path).parts[:2])
    project, files = path.parent, sorted(path.parent.glob("*.py"))
    for wider in [path.parent, *path.parent.parents]:
        below = sorted(wider.rglob("*.py"))
        if len(below) > LARGEST_PROJECT:
            break
        project, files = wider, below
        if wider == repository:
            break
    for file in files:
        target = folder / file.relative_to(project)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    (folder / "pyproject.toml").touch()  # the project ends here, whatever lies above the temporary folder
    return folder / path.relative_to(project), folder / reported.relative_to(project)


def findings(files: tuple[Path, Path], rule: str, overlay: Mapping[Path, str]) -> dict[str, str]:
    """The places of the rule's findings in the two files -> ``certain`` or ``likely``."""
    import nnaudit

    result = nnaudit.scan(sorted(set(files)), select=[rule], overlay=overlay, cache=False, min_confidence="likely")
    return {f"{Path(f.place.filename).name}:{f.place.location.row}": str(f.confidence) for f in result.findings}


def print_table(outcomes: Sequence[Outcome]) -> None:
    """The table for docs/precision.md."""
    by_rule: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_rule[outcome.seed.rule].append(outcome)
    print("| rule | seeded | certain | likely | missed |\n|---|---:|---:|---:|---|")
    for rule in sorted(by_rule):
        missed = "; ".join(f"{_short(o.seed.path)} ({o.seed.what})" for o in by_rule[rule] if o.verdict == "missed")
        print(f"| {rule} | {' | '.join(map(str, _counts(by_rule[rule])))} | {missed} |")
    print(f"| **all** | {' | '.join(f'**{n}**' for n in _counts(outcomes))} | |")
    for outcome in outcomes:
        if outcome.verdict not in _JUDGED:
            print(f"\n{outcome.verdict}: {outcome.seed.rule} {outcome.seed.path}: {outcome.detail}")


_JUDGED = ("found", "likely", "missed")


def _counts(outcomes: Sequence[Outcome]) -> tuple[int, int, int]:
    """How many seeds were judged, and found as certain and as likely."""
    verdicts = [o.verdict for o in outcomes if o.verdict in _JUDGED]
    return len(verdicts), verdicts.count("found"), verdicts.count("likely")


def _short(path: str) -> str:
    return path.partition("/")[2].replace("+", "/", 1)


if __name__ == "__main__":
    raise SystemExit(main())
