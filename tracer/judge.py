"""Judges a run: hands the nouns to the rules, and turns lines into places. No torch here."""

from __future__ import annotations

import linecache
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..rules.finding import Confidence, Finding, Hop, Line, Location, Place, Severity, resolve

if TYPE_CHECKING:
    from ..rules.rule import Rule
    from .run import Run


def judge(run: Run, rules: Sequence[Rule]) -> list[Finding]:
    """Every finding of these rules, one for each code and line, sorted by place.

    Raises what a rule raises: the caller decides whether that ends anything.
    """
    found: dict[tuple[str, str, int], Finding] = {}
    symptoms = {rule.code for rule in rules if rule.symptom}
    for rule in rules:
        for finding in (*rule.watch(run), *(rule.probe(run) if run.probes else ())):
            finding = resolve(replace(finding, verdict="observed"), lambda line: place_of(run, line))
            key = (finding.code, finding.place.filename, finding.place.location.row)
            known = found.get(key)
            if known is None or (known.confidence, finding.confidence) == (Confidence.LIKELY, Confidence.CERTAIN):
                found[key] = finding  # what a run only suggests, an experiment may prove
    return _explained(sorted(found.values(), key=lambda finding: finding.sort_key), symptoms)


def _explained(findings: Sequence[Finding], symptoms: set[str]) -> list[Finding]:
    """Symptoms name the most serious certain finding that can be their cause, if there is one."""
    causes = [f for f in ranked(findings) if f.code not in symptoms and f.severity is not Severity.INFO]
    cause = next((f for f in causes if f.confidence is Confidence.CERTAIN), None)
    if cause is None:
        return list(findings)
    hop = Hop(f"{cause.code} {cause.name} explains it", cause.place)
    return [
        replace(f, explained_by=cause.code, evidence=(*f.evidence, hop)) if f.code in symptoms else f for f in findings
    ]


def ranked(findings: Sequence[Finding]) -> list[Finding]:
    """Findings by how likely they explain what is wrong with the training: sure before likely, errors before advice."""
    severities = list(Severity)
    return sorted(
        findings,
        key=lambda f: (
            bool(f.explained_by),
            f.confidence is not Confidence.CERTAIN,
            severities.index(f.severity),
            f.code,  # the catalogue goes from the data to the processes: what comes first spoils what follows
            f.sort_key,
        ),
    )


def place_of(run: Run, line: Line | None) -> Place:
    """The whole line as a place; of what has no line, the script itself."""
    if line is None:
        script = next(iter(run.meta.get("arguments") or ["<script>"]))
        return Place(str(script), Location(1, 1), Location(1, 1))
    text = run.text.get((line.file, line.row))
    if text is None:
        text = linecache.getline(line.file, line.row).rstrip("\n")
        run.text[line.file, line.row] = text
    code = text.split("  # ")[0].rstrip()
    first = len(code) - len(code.lstrip()) + 1
    return Place(shown(line.file), Location(line.row, first), Location(line.row, max(first, len(code) + 1)))


def shown(file: str) -> str:
    """A path as users write it: relative where it lies below the current folder."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative
