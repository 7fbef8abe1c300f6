"""One traced run from request to verdict, for ``nnaudit trace``, ``nnaudit report`` and ``nnaudit.trace``."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .. import reports
from ..analyzer import select
from ..analyzer import suppress as suppress_comments
from ..analyzer.config import Config
from ..analyzer.result import Problem, ScanResult
from ..analyzer.source import Source, Unreadable, read
from ..reports.text import one_line
from ..reports.verdict import verdict
from ..rules import discover
from ..rules.finding import Confidence, Finding, Severity
from ..tracer.judge import judge
from ..tracer.run import Run
from ..tracer.store import NotARecord, files, load
from .selection import Wanted, configure, visible

if TYPE_CHECKING:
    from ..rules.rule import Rule
    from ..tracer.attach import Tracer

RUNS = "nnaudit_runs"
"""Folder, below the current one, in which runs are recorded by default."""


class Unavailable(Exception):
    """Tracing cannot begin; the text says what to do."""


@dataclass(frozen=True)
class Judgement:
    """What a run showed, as far as the user wants to see it."""

    run: Run
    findings: Sequence[Finding]
    hidden_likely: int
    rules: Sequence[Rule]
    record: str | None

    def text(self, output_format: str = "full", *, color: bool = False) -> str:
        """The findings, and for people the verdict before them."""
        result = ScanResult(findings=tuple(self.findings))
        body = reports.render(output_format, result, self.rules, color=color)
        if output_format not in reports.TEXT_FORMATS:
            return body
        head = verdict(self.run, self.findings, self.hidden_likely, self.record, color=color)
        return head + ("\n" + body if body else "")


@dataclass
class Judge:
    """The rules of one run, with the configuration that decides what is shown."""

    rules: Sequence[Rule]
    config: Config
    said: set[tuple[str, str, int]] = field(default_factory=set)
    sources: dict[str, Source] = field(default_factory=dict)
    """Files with findings, as they were when the first one was seen: their comments may silence some."""

    def __call__(self, run: Run, record: str | None = None) -> Judgement:
        """Judge the run as it is now."""
        spoken = suppress_comments.apply(found := judge(run, self.rules), self._sources_of(found))
        shown, hidden = visible(spoken.findings, self.rules, self.config)
        return Judgement(run, shown, hidden, self.rules, record)

    def final(self, run: Run, record: str | None) -> Judgement:
        """Judge the run that has ended."""
        return self(run, record)

    def _sources_of(self, findings: Sequence[Finding]) -> dict[str, Source]:
        for name in {finding.place.filename for finding in findings} - self.sources.keys():
            with suppress(Unreadable):
                self.sources[name] = read(Path(name))
        return self.sources

    def live(self, run: Run) -> None:
        """While the script runs: print each certain error or warning when it is first seen."""
        from ..tracer.quiet import say  # reports are judged without torch

        for finding in self(run).findings:
            place = finding.place
            key = (finding.code, place.filename, place.location.row)
            if finding.confidence is not Confidence.CERTAIN or finding.severity is Severity.INFO or key in self.said:
                continue
            self.said.add(key)
            say(f"step {run.steps}: {place}: {finding.code} {one_line(finding.message)}")


def prepare(wanted: Wanted, folder: Path) -> tuple[Judge, list[Problem]]:
    """The judge that is wanted, and what is wrong with the request."""
    config, wrong = configure(wanted, [folder])
    known = discover()
    problems = [*config.problems, *wrong, *select.problems(known, config)]
    rules = [rule for rule in select.select_rules(known, config) if rule.watches() or rule.probes()]
    return Judge(rules, config), problems


def require_torch() -> None:
    """Raises :class:`Unavailable` where torch or numpy are missing. Imports neither: that is the script's to do."""
    for name in ("numpy", "torch"):
        if not _is_installed(name):
            raise Unavailable(
                f"tracing needs {name}, which this Python has not; install it with: pip install 'nnaudit[trace]'"
            )


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # somebody has blocked it: a finder that refuses, or None in sys.modules
        return False


def new_run_dir(name: str) -> Path:
    """A folder of its own for every run; all ranks that one launcher started share one."""
    stem = re.sub(r"\W+", "-", Path(name).stem).strip("-") or "run"
    shared = os.environ.get("TORCHELASTIC_RUN_ID")
    if shared and int(os.environ.get("WORLD_SIZE", "1") or 1) > 1:
        # Ranks begin within seconds of each other, under one launcher process.
        return Path(RUNS) / f"{stem}-{shared}-{os.getppid()}"
    first = Path(RUNS) / f"{time.strftime('%Y%m%d-%H%M%S')}-{stem}"
    number = 1
    found = first
    while True:
        try:
            found.mkdir(parents=True)  # made here, so that no other run that begins just now takes it
        except FileExistsError:
            number += 1
            found = first.with_name(f"{first.name}-{number}")
        except OSError:
            return found  # who writes there will say what is wrong
        else:
            return found


def latest_run() -> Path:
    """The newest run below the current folder. Raises :class:`NotARecord` where there is none."""
    runs = [p for p in Path(RUNS).glob("*") if p.is_dir()] if Path(RUNS).is_dir() else []
    if not runs:
        raise NotARecord(f"no runs below {Path(RUNS).absolute()}; name the folder of a run")
    return max(runs, key=lambda p: p.stat().st_mtime)


def report(path: Path, judge_run: Judge) -> Judgement:
    """Judge a record; of several ranks the findings are joined. Raises :class:`NotARecord`."""
    judged = [judge_run(load(file), str(path)) for file in files(path)]
    if len(judged) == 1:
        return judged[0]
    together: dict[tuple[str, str, int], Finding] = {}
    for each in judged:
        for finding in each.findings:
            together.setdefault((finding.code, finding.place.filename, finding.place.location.row), finding)
    first = judged[0]
    findings = sorted(together.values(), key=lambda finding: finding.sort_key)
    return Judgement(first.run, findings, max(j.hidden_likely for j in judged), first.rules, first.record)


class Tracing(AbstractContextManager["Tracing"]):
    """``with nnaudit.trace() as run:`` watches what trains inside the block.

    Afterwards ``run.findings`` holds what was found, ``run.judgement`` all of it.
    """

    def __init__(self, judge_run: Judge, run_dir: Path | None, quiet: bool, **settings: Any) -> None:
        self._judge = judge_run
        self._run_dir = run_dir
        self._quiet = quiet
        self._settings = settings
        self._tracer: Tracer | None = None
        self.judgement: Judgement | None = None

    @property
    def findings(self) -> Sequence[Finding]:
        """What was found so far."""
        if self.judgement is not None:
            return self.judgement.findings
        return [] if self._tracer is None else self._judge(self._tracer.run).findings

    def __enter__(self) -> Tracing:
        from ..tracer.attach import Settings, Tracer

        settings = Settings(run_dir=self._run_dir, **self._settings)
        self._tracer = Tracer(settings, None if self._quiet else self._judge.live).attach()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tracer = self._tracer
        if tracer is None:
            return
        if error is not None:
            tracer.failed(error)
        run = tracer.detach()
        if not tracer.is_owner:  # a forked child has come out of the block, too
            return
        kept = self._run_dir is not None and not tracer.record.failed
        self.judgement = self._judge(run, str(self._run_dir) if kept else None)
        self._tracer = None
        if not self._quiet:
            with suppress(OSError, ValueError, AttributeError):
                sys.stderr.write(self.judgement.text())
                sys.stderr.flush()
