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
from ..analyzer.config import Config
from ..analyzer.discover import find_root
from ..analyzer.result import ScanResult
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
    )
    shown, hidden = visible(result.findings, rules, config)
    return Outcome(
        result=replace(result, findings=tuple(shown), problems=tuple(dict.fromkeys((*problems, *result.problems)))),
        rules=rules,
        config=config,
        hidden_likely=hidden,
        warning=cache.warning if cache else None,
    )
