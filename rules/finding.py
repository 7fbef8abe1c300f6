"""What a rule says: a finding, the places it points to, and the hops that make it believable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple, TypeAlias


class Severity(StrEnum):
    """How much harm a problem does to training."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Confidence(StrEnum):
    """``certain`` rests on known facts, ``likely`` on a heuristic that the rule's page names."""

    CERTAIN = "certain"
    LIKELY = "likely"


class Site(NamedTuple):
    """A place that is not yet a line: the file and the preorder number of a syntax node in it.

    Rules speak in sites; the engine turns the few sites of the findings into lines.
    """

    file: str
    number: int


class Line(NamedTuple):
    """A line of a program that ran: absolute path, row from 1, and the function around it."""

    file: str
    row: int
    function: str = ""


Anchor: TypeAlias = "Site | Line | None"
"""What rules point to: a site of the source, a line of a run, or None for a run's line that nobody saw."""


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A row and a column, both counted from 1; columns count characters."""

    row: int
    column: int


@dataclass(frozen=True, slots=True)
class Place:
    """A range of source text. ``cell`` counts all cells of a notebook from 1; rows count within it."""

    filename: str
    location: Location
    end_location: Location
    cell: int | None = None

    def __str__(self) -> str:
        cell = f":cell {self.cell}" if self.cell is not None else ""
        return f"{self.filename}{cell}:{self.location.row}"


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of "why I believe this"; ``value`` is what was seen there, if it is worth saying."""

    message: str
    at: Anchor | Place
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem at one place; ``text`` is the source line there, once the engine has looked it up.

    ``message`` states the fact and its consequence, ``advice`` the exact thing to do. Both may name
    the places of the hops as ``{0}``, ``{1}`` ...; :func:`resolve` fills them in.
    """

    code: str
    name: str
    points: tuple[int, ...]
    severity: Severity
    confidence: Confidence
    message: str
    advice: str
    at: Anchor | Place
    evidence: tuple[Hop, ...] = ()
    verdict: str = "claimed"
    text: str = ""
    explained_by: str = ""
    """Code of the finding that explains this one, where it is a symptom."""

    @property
    def place(self) -> Place:
        """The place of a resolved finding."""
        if not isinstance(self.at, Place):
            raise TypeError("the finding has a site only; resolve() it first")
        return self.at

    @property
    def sort_key(self) -> tuple[str, int, int, int, str]:
        """Findings are listed by file, cell, row, column, code."""
        place = self.place
        return (place.filename, place.cell or 0, place.location.row, place.location.column, self.code)


def resolve(finding: Finding, place_of: Callable[[Site], Place] | Callable[[Line | None], Place]) -> Finding:
    """The same finding with every site or line turned into a place and every ``{i}`` into its text."""
    look_up: Callable[[Anchor], Place] = place_of  # type: ignore[assignment]
    at = finding.at if isinstance(finding.at, Place) else look_up(finding.at)
    hops = tuple(hop if isinstance(hop.at, Place) else replace(hop, at=look_up(hop.at)) for hop in finding.evidence)
    names = [str(hop.at) for hop in hops]
    return replace(
        finding,
        at=at,
        evidence=hops,
        message=_fill(finding.message, names),
        advice=_fill(finding.advice, names),
    )


def _fill(text: str, names: list[str]) -> str:
    for index, name in enumerate(names):
        text = text.replace(f"{{{index}}}", name)
    return text
