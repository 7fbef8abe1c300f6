"""SARIF 2.1.0: the exchange format of code scanning."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.parse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..analyzer.result import Problem, ScanResult
from ..rules.finding import Finding, Hop, Place
from ..rules.rule import Rule
from .model import full_message, hop_place, page, summary
from .text import SourceLines

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"error": "error", "warning": "warning", "info": "note"}
ROOT = "SRCROOT"


def render(result: ScanResult, rules: Sequence[Rule], source: SourceLines, color: bool) -> str:
    """One run with the rules that ran, the findings, and what could not be done."""
    index = {rule.code: number for number, rule in enumerate(rules)}
    prints = _Fingerprints(source)
    run = {
        "tool": {"driver": {"name": "nnaudit", "version": __version__, "rules": [_rule(rule) for rule in rules]}},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {ROOT: {"uri": Path.cwd().as_uri().rstrip("/") + "/"}},
        "invocations": [
            {
                "executionSuccessful": not result.problems,
                "toolExecutionNotifications": [_notification(problem) for problem in result.problems],
            }
        ],
        "results": [_result(finding, index, prints) for finding in result.findings],
        "properties": {
            "files": result.files,
            "trainingLoops": result.loops,
            "trainingLoopsUnderstood": result.understood,
        },
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    text = page(rule)
    return {
        "id": rule.code,
        "name": "".join(part.capitalize() for part in rule.name.split("-")),
        "shortDescription": {"text": summary(rule) or rule.name},
        "fullDescription": {"text": summary(rule) or rule.name},
        "help": {"text": text or rule.name, "markdown": text or rule.name},
        "defaultConfiguration": {"level": LEVELS[rule.severity.value]},
        "properties": {"tags": ["pytorch", "training"], "points": list(rule.points), "kebabName": rule.name},
    }


def _result(finding: Finding, index: dict[str, int], prints: _Fingerprints) -> dict[str, Any]:
    out: dict[str, Any] = {"ruleId": finding.code}
    if finding.code in index:
        out["ruleIndex"] = index[finding.code]
    out |= {
        "level": LEVELS[finding.severity.value],
        "message": {"text": full_message(finding)},
        "locations": [_location(finding.place)],
        "partialFingerprints": {"nnaudit/v1": prints.of(finding)},
        "properties": {
            "confidence": finding.confidence.value,
            "verdict": finding.verdict,
            "points": list(finding.points),
            "advice": finding.advice,
        },
    }
    if finding.evidence:
        hops = [_hop(hop) for hop in finding.evidence]
        steps = [{"location": location} for location in [*hops, _location(finding.place, finding.message)]]
        out["codeFlows"] = [{"message": {"text": "why I believe this"}, "threadFlows": [{"locations": steps}]}]
        out["relatedLocations"] = [{"id": number, **location} for number, location in enumerate(hops)]
    return out


def _hop(hop: Hop) -> dict[str, Any]:
    value = f" [{hop.value}]" if hop.value else ""
    return _location(hop_place(hop), hop.message + value)


def _location(place: Place, message: str | None = None) -> dict[str, Any]:
    region = {
        "startLine": place.location.row,
        "startColumn": place.location.column,
        "endLine": place.end_location.row,
        "endColumn": place.end_location.column,
    }
    physical: dict[str, Any] = {"artifactLocation": _artifact(place.filename)}
    out: dict[str, Any] = {"physicalLocation": physical}
    if place.cell is None:
        physical["region"] = region
    else:  # rows count within the cell, so they are no region of the JSON file
        name = f"cell {place.cell}, row {place.location.row}"
        out["logicalLocations"] = [{"name": name, "kind": "notebookCell", "properties": region}]
    if message is not None:
        out["message"] = {"text": message}
    return out


def _artifact(filename: str) -> dict[str, Any]:
    if os.path.isabs(filename):
        return {"uri": Path(filename).as_uri()}
    return {"uri": urllib.parse.quote(filename.replace(os.sep, "/")), "uriBaseId": ROOT}


def _notification(problem: Problem) -> dict[str, Any]:
    out: dict[str, Any] = {"level": "error", "message": {"text": str(problem)}}
    if problem.filename:
        physical: dict[str, Any] = {"artifactLocation": _artifact(problem.filename)}
        if problem.row is not None:
            physical["region"] = {"startLine": problem.row}
        out["locations"] = [{"physicalLocation": physical}]
    return out


class _Fingerprints:
    """What stays the same when lines move: code, file, text of the line, and which of several it is."""

    def __init__(self, source: SourceLines) -> None:
        self._source = source
        self._seen: Counter[tuple[str, str, str]] = Counter()

    def of(self, finding: Finding) -> str:
        """The finding's fingerprint; findings are asked for in order."""
        place = finding.place
        line = " ".join((self._source.at(place) or "").split())
        key = (finding.code, place.filename.replace(os.sep, "/"), line)
        self._seen[key] += 1
        text = "\0".join([*key, str(self._seen[key])])
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
