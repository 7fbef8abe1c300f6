"""One scan from request to outcome: configuration, rules, engine, and what the user asked to see.

The command line and ``nnaudit.scan`` both go through :func:`run`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..analyzer import baseline, select
from ..analyzer.cache import DEFAULT_NAME, Cache
from ..analyzer.config import Config
from ..analyzer.discover import find_root
from ..analyzer.result import Problem, ScanResult
from ..rules import discover as discover_rules
from .selection import PathLike, Wanted, configure, visible

if TYPE_CHECKING:
    from ..rules.rule import Rule

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Request:
    """What to scan and how."""

    paths: tuple[PathLike, ...]
    wanted: Wanted = field(default_factory=Wanted)
    jobs: int = 1
    cache: bool = True
    overlay: Mapping[PathLike, str] = field(default_factory=dict)
    explain_unknown: bool = False
    baseline: PathLike | None = None
    """Findings that this file lists are not shown; None: as configured."""
    write_baseline: PathLike | None = None
    """Put everything that would be shown into this file."""


@dataclass(frozen=True)
class Outcome:
    """The result with the findings to be shown, and what is needed to report it."""

    result: ScanResult
    rules: Sequence[Rule]
    config: Config
    hidden_likely: int = 0
    warning: str | None = None
    known: int = 0
    """Findings that the baseline lists."""
    paid_off: int = 0
    """Entries of the baseline that nothing corresponds to any more."""
    written: int | None = None
    """Findings put into a new baseline."""


def run(request: Request, progress: Progress | None = None) -> Outcome:
    """Scan as requested. What could not be done stands in the result's problems."""
    from ..analyzer import engine

    paths = [Path(path) for path in request.paths]
    overlay = {Path(os.path.abspath(path)): text for path, text in request.overlay.items()}
    config, wrong_value = configure(request.wanted, paths)
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
        catalogue=known,
    )
    shown, hidden = visible(result.findings, rules, config)
    outcome = Outcome(
        result=replace(result, findings=tuple(shown), problems=tuple(dict.fromkeys((*problems, *result.problems)))),
        rules=rules,
        config=config,
        hidden_likely=hidden,
        warning=cache.warning if cache else None,
    )
    if request.write_baseline is not None:
        return _put_into_baseline(outcome, Path(request.write_baseline))
    path = config.baseline if request.baseline is None else Path(request.baseline)
    return outcome if path is None else _compared(outcome, path)


def _put_into_baseline(outcome: Outcome, path: Path) -> Outcome:
    result = outcome.result
    if result.problems:
        text = f"no baseline was written to {path}: what could not be read may hold more; mend the errors first"
        return replace(outcome, result=replace(result, problems=(*result.problems, Problem("", text))))
    try:
        written = baseline.write(path, result.findings)
    except OSError as error:
        problem = Problem(str(path), f"cannot be written ({error.strerror or error})")
        return replace(outcome, result=replace(result, problems=(problem,)))
    return replace(outcome, result=replace(result, findings=()), written=written)


def _compared(outcome: Outcome, path: Path) -> Outcome:
    result = outcome.result
    try:
        known = baseline.load(path)
    except baseline.NotABaseline as error:
        return replace(outcome, result=replace(result, problems=(*result.problems, Problem("", str(error)))))
    ran = {rule.code for rule in outcome.rules}
    compared = baseline.compare(path, known, result.findings, ran, set(result.reported))
    return replace(
        outcome,
        result=replace(result, findings=tuple(compared.new)),
        known=compared.known,
        paid_off=0 if result.problems else compared.paid_off.total(),
    )
