"""The base of every rule: one class, one training problem, one documentation page.

A concrete rule overrides :meth:`Rule.scan` (from the source), :meth:`Rule.watch` (from a recorded
run), :meth:`Rule.probe` (from experiments that were made in it), or several of them. Its docstring is its
page; its ``bad`` and ``good`` examples are documentation and tests at once.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .finding import Anchor, Confidence, Finding, Hop, Severity

if TYPE_CHECKING:
    from ..analyzer.program import Program
    from ..tracer.run import Run

FILE_MARK = "# file: "
FINDING_MARK = "# <-- "


@dataclass(frozen=True)
class Example:
    """A whole small script, or several files of one project.

    Files are divided by lines ``# file: path/to/module.py``; with none, the text is ``train.py``.
    In a bad example each line to be reported ends in ``# <-- NN302`` (the rule's code).
    """

    text: str
    why: str = ""

    @property
    def files(self) -> dict[str, str]:
        """Path -> source, in the order written."""
        text = textwrap.dedent(self.text).strip("\n") + "\n"
        if FILE_MARK not in text:
            return {"train.py": text}
        files: dict[str, str] = {}
        for part in text.split(FILE_MARK)[1:]:
            path, _, source = part.partition("\n")
            files[path.strip()] = source.strip("\n") + "\n"
        return files

    def marked(self, code: str) -> list[tuple[str, int]]:
        """The (path, row) pairs, rows from 1, where ``code`` must be found."""
        return [
            (path, row)
            for path, source in self.files.items()
            for row, line in enumerate(source.splitlines(), 1)
            if FINDING_MARK + code in line
        ]


class Rule:
    """One training problem.

    ``code`` is its number in the catalogue, ``points`` the items of the 37-point checklist that it
    covers. ``triggers`` are identifiers of which at least one must appear in a file (and in a
    function, or in what it calls) before the problem can be there at all: they keep scanning cheap
    and never decide whether something is a problem. ``options`` are the rule's settings with
    their defaults (``[tool.nnaudit.rules.<name>]``).
    """

    code: ClassVar[str]
    name: ClassVar[str]
    points: ClassVar[tuple[int, ...]]
    severity: ClassVar[Severity]
    triggers: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[dict[str, bool | int | float | str]] = {}
    experiments: ClassVar[tuple[str, ...]] = ()
    """Names of the experiments that :meth:`probe` reads (``nnaudit trace --probe NAME``)."""
    symptom: ClassVar[bool] = False
    """What it reports may be nothing but the consequence of what another rule reports."""
    bad: ClassVar[Sequence[Example]] = ()
    good: ClassVar[Sequence[Example]] = ()

    def __init__(self, settings: dict[str, bool | int | float | str] | None = None) -> None:
        self.settings = {**self.options, **(settings or {})}

    def scan(self, program: Program) -> Iterator[Finding]:
        """Findings that the source alone proves. No detector by default."""
        return iter(())

    def watch(self, run: Run) -> Iterator[Finding]:
        """Findings that a recorded run shows: recorded numbers only, no torch. No detector by default."""
        return iter(())

    def probe(self, run: Run) -> Iterator[Finding]:
        """Findings that the experiments of a run show (``run.probes`` and what they left). No detector by default."""
        return iter(())

    def refute(self, finding: Finding, run: Run) -> str:
        """Why a run disproves what :meth:`scan` found: every execution of the place was seen, and was healthy.

        "" where it does not. That a run shows nothing is no reason.
        """
        return ""

    @classmethod
    def scans(cls) -> bool:
        """Whether the rule judges source."""
        return cls.scan is not Rule.scan

    @classmethod
    def watches(cls) -> bool:
        """Whether the rule judges runs."""
        return cls.watch is not Rule.watch

    @classmethod
    def probes(cls) -> bool:
        """Whether the rule judges experiments."""
        return cls.probe is not Rule.probe

    def number(self, option: str) -> float:
        """A setting that is a number."""
        value = self.settings[option]
        if isinstance(value, str):
            raise TypeError(f"{self.name}: the option {option} must be a number, not {value!r}")
        return float(value)

    def finding(
        self,
        at: Anchor,
        message: str,
        advice: str,
        *,
        evidence: Sequence[Hop] = (),
        confidence: Confidence = Confidence.CERTAIN,
        severity: Severity | None = None,
    ) -> Finding:
        """A finding of this rule. ``{0}`` in a text stands for the place of the first hop."""
        return Finding(
            code=self.code,
            name=self.name,
            points=self.points,
            severity=severity or self.severity,
            confidence=confidence,
            message=message,
            advice=advice,
            at=at,
            evidence=tuple(evidence),
        )
