"""One scan from request to outcome: configuration, rules, engine, and what the user asked to see.

The command line and ``nnaudit.scan`` both go through :func:`run`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..analyzer import select
from ..analyzer.cache import DEFAULT_NAME, Cache
from ..analyzer.config import Config, Layer, load
from ..analyzer.discover import common_parent, find_root
from ..analyzer.result import Problem, ScanResult
from ..rules import discover as discover_rules
from ..rules.finding import Confidence, Finding, Severity

if TYPE_CHECKING:
    from ..rules.rule import Rule

PathLike = str | os.PathLike[str]
Progress = Callable[[str, int, int], None]
COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Request:
    """What to scan and how; None stands for "as configured"."""

    paths: tuple[PathLike, ...]
    select: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    min_confidence: str | None = None
    config: PathLike | None = None
    jobs: int = 1
    cache: bool = True
    overlay: Mapping[PathLike, str] = field(default_factory=dict)
    explain_unknown: bool = False


@dataclass(frozen=True)
class Outcome:
    """The result with the findings to be shown, and what is needed to report it."""

    result: ScanResult
    rules: Sequence[Rule]
    config: Config
    hidden_likely: int = 0
    warning: str | None = None


def run(request: Request, progress: Progress | None = None) -> Outcome:
    """Scan as requested. What could not be done stands in the result's problems."""
    from ..analyzer import engine

    paths = [Path(path) for path in request.paths]
    overlay = {Path(os.path.abspath(path)): text for path, text in request.overlay.items()}
    config, wrong_value = _configure(request, paths)
    known = discover_rules()
    rules = select.select_rules(known, config)
    problems = (*config.problems, *wrong_value, *select.problems(known, config))
    cache = Cache(config.cache_dir or find_root(paths) / DEFAULT_NAME) if request.cache else None
    result = engine.scan(
        paths,
        rules,
        config,
        jobs=max(1, request.jobs),
        cache=cache,
        overlay=overlay,
        progress=progress,
        explain_unknown=request.explain_unknown,
    )
    wanted = _without_ignored(result.findings, rules, config)
    shown = tuple(finding for finding in wanted if _is_shown(finding, config))
    return Outcome(
        result=replace(result, findings=shown, problems=tuple(dict.fromkeys((*problems, *result.problems)))),
        rules=rules,
        config=config,
        hidden_likely=len(wanted) - len(shown),
        warning=cache.warning if cache else None,
    )


def _configure(request: Request, paths: Sequence[Path]) -> tuple[Config, tuple[Problem, ...]]:
    """The file's settings, overruled by the request's."""
    config = load(common_parent(paths), None if request.config is None else Path(request.config))
    layer = Layer(request.select, request.ignore, request.extend_select, COMMAND_LINE)
    config = replace(config, selection=(*config.selection, layer))
    if request.min_confidence is None:
        return config, ()
    try:
        return replace(config, min_confidence=Confidence(request.min_confidence)), ()
    except ValueError:
        wrong = f'min-confidence must be "certain" or "likely", not {request.min_confidence!r}'
        return config, (Problem(COMMAND_LINE, wrong),)


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
