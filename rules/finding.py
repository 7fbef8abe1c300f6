"""What a rule says: a finding, the places it points to, and the hops that make it believable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple


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
    at: Site | Place
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem at one place.

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
    at: Site | Place
    evidence: tuple[Hop, ...] = ()
    verdict: str = "claimed"

    @property
    def place(self) -> Place:
        """The place of a resolved finding."""
        if isinstance(self.at, Site):
            raise TypeError("the finding has a site only; resolve() it first")
        return self.at

    @property
    def sort_key(self) -> tuple[str, int, int, int, str]:
        """Findings are listed by file, cell, row, column, code."""
        place = self.place
        return (place.filename, place.cell or 0, place.location.row, place.location.column, self.code)


def resolve(finding: Finding, place_of: Callable[[Site], Place]) -> Finding:
    """The same finding with every site turned into a place and every ``{i}`` into its text."""
    at = finding.at if isinstance(finding.at, Place) else place_of(finding.at)
    hops = tuple(replace(hop, at=place_of(hop.at)) if isinstance(hop.at, Site) else hop for hop in finding.evidence)
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
