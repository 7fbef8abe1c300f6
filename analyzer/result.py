"""What a scan returns: findings, what could not be read, and how much was understood."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..rules.finding import Finding, Place


@dataclass(frozen=True, slots=True)
class Problem:
    """Something nnaudit could not do its work on; the scan goes on, the exit status becomes 2."""

    filename: str
    message: str
    row: int | None = None

    def __str__(self) -> str:
        where = self.filename if self.row is None else f"{self.filename}:{self.row}"
        return f"{where}: {self.message}" if where else self.message


@dataclass(frozen=True, slots=True)
class Unknown:
    """A training loop that was only partly understood, and why."""

    place: Place
    reason: str


@dataclass(frozen=True)
class ScanResult:
    """The outcome of one scan.

    ``findings`` are resolved, sorted, and hold every confidence and severity of the rules that were
    run; the caller hides what the user did not ask for. ``loops`` counts the training loops of the
    reported files, ``understood`` those without an unknown part. ``suppressed`` counts the findings that
    comments silenced, ``warnings`` are what deserves a word but is no failure (comments that silence
    nothing), ``reported`` the names of the files that were asked for.
    """

    findings: tuple[Finding, ...] = ()
    problems: tuple[Problem, ...] = ()
    files: int = 0
    lines: int = 0
    loops: int = 0
    understood: int = 0
    unknown: tuple[Unknown, ...] = field(default=())
    suppressed: int = 0
    warnings: tuple[Problem, ...] = ()
    reported: tuple[str, ...] = ()
