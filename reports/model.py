"""Findings and rules as plain dictionaries: the one place that fixes the names of fields."""

from __future__ import annotations

import inspect
from typing import Any

from ..rules.finding import Finding, Hop, Location, Place
from ..rules.rule import Rule


def full_message(finding: Finding) -> str:
    """The fact, its consequence, and what to do."""
    return f"{finding.message} {finding.advice}".strip()


def finding_dict(finding: Finding) -> dict[str, Any]:
    """One finding; the field names follow ruff's where ruff has the field."""
    place = finding.place
    return {
        "code": finding.code,
        "name": finding.name,
        "points": list(finding.points),
        "severity": finding.severity.value,
        "confidence": finding.confidence.value,
        "verdict": finding.verdict,
        "explained_by": finding.explained_by or None,
        "message": full_message(finding),
        "advice": finding.advice,
        "filename": place.filename,
        "location": location_dict(place.location),
        "end_location": location_dict(place.end_location),
        "cell": place.cell,
        "evidence": [hop_dict(hop) for hop in finding.evidence],
        "fix": None,
        "url": None,
    }


def hop_dict(hop: Hop) -> dict[str, Any]:
    """One step of "why I believe this"."""
    place = hop_place(hop)
    return {
        "message": hop.message,
        "filename": place.filename,
        "location": location_dict(place.location),
        "end_location": location_dict(place.end_location),
        "cell": place.cell,
        "value": hop.value,
    }


def hop_place(hop: Hop) -> Place:
    """The place of a hop of a resolved finding."""
    if not isinstance(hop.at, Place):
        raise TypeError("the hop has a site only; resolve() the finding first")
    return hop.at


def location_dict(location: Location) -> dict[str, int]:
    """Row and column, both from 1."""
    return {"row": location.row, "column": location.column}


def rule_dict(rule: type[Rule] | Rule) -> dict[str, Any]:
    """One rule of the catalogue."""
    return {
        "code": rule.code,
        "name": rule.name,
        "points": list(rule.points),
        "severity": rule.severity.value,
        "group": group_of(rule),
        "detectors": [
            name for name, has in (("scan", rule.scans()), ("watch", rule.watches()), ("probe", rule.probes())) if has
        ],
        "summary": summary(rule),
        "options": dict(rule.options),
    }


def group_of(rule: type[Rule] | Rule) -> str:
    """The folder that the rule's file lies in."""
    cls = rule if isinstance(rule, type) else type(rule)
    return cls.__module__.split(".")[-2] if "." in cls.__module__ else ""


def page(rule: type[Rule] | Rule) -> str:
    """The rule's documentation, Markdown without a title."""
    cls = rule if isinstance(rule, type) else type(rule)
    return inspect.cleandoc(cls.__doc__ or "")


def summary(rule: type[Rule] | Rule) -> str:
    """The first paragraph of the page in one line."""
    return " ".join(page(rule).partition("\n\n")[0].split())
