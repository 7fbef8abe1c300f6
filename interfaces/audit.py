"""``nnaudit audit``: a script is run and watched, its project is scanned, and what both say is joined."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import reports
from ..analyzer.discover import find_root
from ..analyzer.result import Problem, ScanResult
from ..reports.audit import audit as audit_text
from ..reports.verdict import verdict
from ..rules.finding import Confidence
from ..tracer.join import Joined, join
from . import scan as scanning
from .selection import Wanted, visible
from .trace import Judge, Judgement

if TYPE_CHECKING:
    from ..rules.rule import Rule
    from ..tracer.run import Run


@dataclass(frozen=True)
class Audit(Judgement):
    """A judgement of which the findings are those of both sides."""

    joined: Joined = field(default_factory=lambda: Joined((), (), ()))
    problems: Sequence[Problem] = ()

    def text(self, output_format: str = "full", *, color: bool = False) -> str:
        """By checklist point for people; other formats hold what counts, each finding with its verdict."""
        if output_format == "full":
            body = "\n" + audit_text(self.joined, self.rules, self.hidden_likely, color=color)
        else:
            result = ScanResult(findings=tuple(self.findings), problems=tuple(self.problems))
            body = reports.render(output_format, result, self.rules, color=color)
        if output_format not in reports.TEXT_FORMATS:
            return body
        return verdict(self.run, self.findings, self.hidden_likely, self.record, color=color) + body


@dataclass
class Auditor(Judge):
    """Judges a run together with the source of the script's project."""

    script: str = ""
    wanted: Wanted = field(default_factory=Wanted)

    def final(self, run: Run, record: str | None) -> Audit:
        """Scan the project, judge the run, and join what both say."""
        everything = replace(self.wanted, min_confidence=Confidence.LIKELY.value)
        outcome = scanning.run(scanning.Request(paths=tuple(paths_of(self.script, run)), wanted=everything))
        seen = Judge(self.rules, replace(self.config, min_confidence=Confidence.LIKELY))(run, record)
        rules: dict[str, Rule] = {rule.code: rule for rule in (*self.rules, *outcome.rules)}
        joined = join(outcome.result.findings, seen.findings, run, rules.values())
        standing, hidden = visible(joined.standing, list(rules.values()), self.config)
        certain = [f for f in joined.not_reached if f.confidence is Confidence.CERTAIN]
        shown = Joined(standing, joined.refuted, certain)
        return Audit(run, standing, hidden, list(rules.values()), record, shown, outcome.result.problems)


def paths_of(script: str, run: Run) -> list[Path]:
    """What is scanned: the folder of the script, and files elsewhere in its project that the run imported."""
    path = Path(os.path.abspath(script))
    folder = path if path.is_dir() else path.parent if path.is_file() else Path.cwd()
    root = find_root([folder])
    files = [Path(file) for file in run.meta.get("files") or () if file.endswith(".py")]
    return [folder, *(file for file in files if root in file.parents and folder not in file.parents)]
