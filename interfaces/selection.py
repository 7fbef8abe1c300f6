"""Which rules run and which findings are shown: the configuration, overruled by what was asked for.

Scanning, tracing and judging a record all select through here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..analyzer import select
from ..analyzer.config import Config, Layer, load
from ..analyzer.discover import common_parent
from ..analyzer.result import Problem
from ..rules.finding import Confidence, Finding, Severity

if TYPE_CHECKING:
    from ..rules.rule import Rule

PathLike = str | os.PathLike[str]
COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Wanted:
    """What the user asked for; None stands for "as configured"."""

    select: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    min_confidence: str | None = None
    config: PathLike | None = None


def configure(wanted: Wanted, paths: Sequence[Path]) -> tuple[Config, tuple[Problem, ...]]:
    """The file's settings, overruled by what is wanted, and what is wrong with either."""
    config = load(common_parent(paths), None if wanted.config is None else Path(wanted.config))
    layer = Layer(wanted.select, wanted.ignore, wanted.extend_select, COMMAND_LINE)
    config = replace(config, selection=(*config.selection, layer))
    if wanted.min_confidence is None:
        return config, ()
    try:
        return replace(config, min_confidence=Confidence(wanted.min_confidence)), ()
    except ValueError:
        wrong = f'min-confidence must be "certain" or "likely", not {wanted.min_confidence!r}'
        return config, (Problem(COMMAND_LINE, wrong),)


def visible(findings: Sequence[Finding], rules: Sequence[Rule], config: Config) -> tuple[list[Finding], int]:
    """The findings to be shown, and how many likely ones are hidden."""
    kept = _without_ignored(findings, rules, config)
    shown = [finding for finding in kept if _is_shown(finding, config)]
    return shown, len(kept) - len(shown)


def _without_ignored(findings: Sequence[Finding], rules: Sequence[Rule], config: Config) -> list[Finding]:
    """Findings that neither per-file-ignores nor the default silence of advice drops."""
    by_code = {rule.code: rule for rule in rules}
    advice = {rule.code for rule in rules if select.wants_advice(rule, config)}
    ignored = select.FileIgnores(config)
    kept = []
    for finding in findings:
        if finding.severity is Severity.INFO and finding.code not in advice:
            continue
        rule = by_code.get(finding.code)
        if rule is None or not ignored(os.path.abspath(finding.place.filename), finding, rule):
            kept.append(finding)
    return kept


def _is_shown(finding: Finding, config: Config) -> bool:
    return finding.confidence is Confidence.CERTAIN or config.min_confidence is Confidence.LIKELY
