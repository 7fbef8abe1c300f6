"""What source and run say together, by the points of the checklist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..analyzer.result import ScanResult
from ..rules.finding import Finding
from ..rules.rule import Rule
from ..tracer.join import CLAIMED, CONFIRMED, NOT_REACHED, OBSERVED, Joined
from . import render
from .checklist import POINTS
from .summary import count
from .text import SourceLines, Style

MEANING = {
    CONFIRMED: "source and run agree",
    OBSERVED: "only the run shows it",
    CLAIMED: "only the source says it; the run neither shows nor refutes it",
}


def audit(joined: Joined, rules: Sequence[Rule], hidden: int, *, color: bool) -> str:
    """Findings under the questions that they answer, then what the run refuted and did not reach."""
    style = Style(color)
    source = SourceLines({})
    parts = [style.bold(_head(joined, hidden)) + "\n"]
    by_point: dict[int, list[Finding]] = {}
    for finding in joined.standing:
        by_point.setdefault(min(finding.points, default=0), []).append(finding)
    for point in sorted(by_point):
        parts.append("\n" + style.bold(f"{point}. {POINTS.get(point, '')}") + "\n")
        for finding in by_point[point]:
            parts.append(style.dim(f"{finding.verdict}: {MEANING[finding.verdict]}") + "\n")
            parts.append(render("full", ScanResult(findings=(finding,)), rules, source=source, color=color))
    parts += _aside("refuted by the run, not counted", joined.refuted, style)
    parts += _aside("in files that this run did not import, not counted", joined.not_reached, style)
    return "".join(parts)


def _head(joined: Joined, hidden: int) -> str:
    numbers = Counter(finding.verdict for finding in joined.standing)
    said = [f"{numbers[verdict]} {verdict}" for verdict in MEANING if numbers[verdict]] or ["nothing found"]
    if joined.refuted:
        said.append(f"{len(joined.refuted)} refuted")
    if joined.not_reached:
        said.append(f"{len(joined.not_reached)} {NOT_REACHED}")
    if hidden:
        said.append(f"{count(hidden, 'likely finding')} hidden (--min-confidence likely)")
    return "audit: " + ", ".join(said)


def _aside(title: str, findings: Sequence[Finding], style: Style) -> list[str]:
    """One line for each, with the reason where there is one."""
    if not findings:
        return []
    lines = [f"\n{style.bold(title)}\n"]
    for finding in findings:
        why = f": {finding.evidence[-1].message.removeprefix('refuted by the run: ')}" if finding.evidence else ""
        reason = why if finding.verdict != NOT_REACHED else ""
        lines.append(f"  {finding.place}: {finding.code} {finding.name}{reason}\n")
    return lines
