"""What the tests of the house share: a scan engine of ten lines, rules without detectors, findings."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest

import nnaudit.analyzer
from nnaudit.analyzer import discover, load, source
from nnaudit.analyzer.cache import Cache
from nnaudit.analyzer.config import Config
from nnaudit.analyzer.result import Problem, ScanResult, Unknown
from nnaudit.rules.finding import Confidence, Finding, Hop, Location, Place, Severity
from nnaudit.rules.rule import Rule

ROOT = Path(__file__).resolve().parents[1]


class Softmax(Rule):
    """Cross-entropy receives probabilities."""

    code, name, points, severity = "NN302", "cross-entropy-on-probabilities", (19,), Severity.ERROR
    options = {"strict": False, "limit": 3, "factor": 0.5, "mode": "min"}


class Sigmoid(Rule):
    """BCE with logits receives probabilities."""

    code, name, points, severity = "NN304", "bce-with-logits-on-probabilities", (19,), Severity.WARNING


class Seeds(Rule):
    """No seed."""

    code, name, points, severity = "NN804", "unseeded-run", (29,), Severity.INFO


class Clip(Rule):
    """Clipping in the wrong place."""

    code, name, points, severity = "NN508", "clipping-order", (35,), Severity.WARNING


RULES = (Softmax, Sigmoid, Clip, Seeds)


def place(filename: str = "train.py", row: int = 2, column: int = 5, width: int = 3, cell: int | None = None) -> Place:
    return Place(filename, Location(row, column), Location(row, column + width), cell)


def finding(
    at: Place | None = None,
    rule: type[Rule] = Softmax,
    message: str = "Softmax already turned logits into probabilities.",
    advice: str = "Return logits.",
    confidence: Confidence = Confidence.CERTAIN,
    severity: Severity | None = None,
    evidence: Sequence[Hop] = (),
) -> Finding:
    return Finding(
        rule.code,
        rule.name,
        rule.points,
        severity or rule.severity,
        confidence,
        message,
        advice,
        at or place(),
        tuple(evidence),
    )


def lower_words(text: str, filename: str) -> tuple[str, ...]:
    """Stands for lowering: the words of a file; SyntaxError-like errors come from libcst itself."""
    if "(((" in text:
        import libcst

        libcst.parse_module(text)
    return tuple(text.split())


MARKS = {
    "BUG": (Softmax, Confidence.CERTAIN),
    "MAYBE": (Softmax, Confidence.LIKELY),
    "SEED": (Seeds, Confidence.CERTAIN),
}


def scan(
    paths: Sequence[Path],
    rules: Sequence[Rule],
    config: Config,
    *,
    jobs: int = 1,
    cache: Cache | None = None,
    overlay: Mapping[Path, str] | None = None,
    progress: object = None,
    explain_unknown: bool = False,
    catalogue: object = (),
) -> ScanResult:
    """Finds the words in MARKS; everything else goes through the real discovery, reading and loading."""
    found = discover.discover(paths, config, overlay or ())
    problems: list[Problem] = list(found.problems)
    sources = []
    for path in found.reported:
        try:
            sources.append(source.read(path, overlay))
        except source.Unreadable as error:
            problems.append(Problem(source.display_name(path), str(error)))
    lowered = load.lower_all(sources, lower_words, version="test", jobs=jobs, cache=cache)
    problems += [value for value in lowered.values() if isinstance(value, Problem)]
    codes = {rule.code for rule in rules}
    findings = []
    for read in sources:
        for row, line in enumerate(read.text.split("\n"), 1):
            for word, (rule, confidence) in MARKS.items():
                if word in line and rule.code in codes:
                    cell, row_in_cell = read.place(row)
                    at = place(read.filename, row_in_cell, line.index(word) + 1, len(word), cell)
                    findings.append(finding(at, rule, confidence=confidence))
    unknown = tuple(Unknown(place(read.filename), "`mystery` is not known") for read in sources if "LOOP" in read.text)
    return ScanResult(
        tuple(sorted(findings, key=lambda item: item.sort_key)),
        tuple(problems),
        len(sources),
        sum(read.text.count("\n") for read in sources),
        loops=3 if unknown else 0,
        understood=2 if unknown else 0,
        unknown=unknown,
    )


def use_house_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the engine and the catalogue by those of this file."""
    engine = ModuleType("nnaudit.analyzer.engine")
    engine.scan = scan  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nnaudit.analyzer.engine", engine)
    monkeypatch.setattr(nnaudit.analyzer, "engine", engine, raising=False)
    monkeypatch.setattr("nnaudit.interfaces.scan.discover_rules", lambda: RULES)
