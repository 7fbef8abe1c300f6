"""Workflow commands of GitHub Actions: findings appear as annotations of the change."""

from __future__ import annotations

from collections.abc import Sequence

from ..analyzer.result import ScanResult
from ..rules.finding import Finding
from ..rules.rule import Rule
from .model import full_message
from .text import SourceLines, header, printable

COMMANDS = {"error": "error", "warning": "warning", "info": "notice"}


def render(result: ScanResult, rules: Sequence[Rule], source: SourceLines, color: bool) -> str:
    """One command a finding."""
    return "".join(_command(finding) + "\n" for finding in result.findings)


def _command(finding: Finding) -> str:
    place = finding.place
    properties = {
        "title": f"nnaudit ({finding.code})",
        "file": place.filename.replace("\\", "/"),
        "line": place.location.row,
        "endLine": place.end_location.row,
    }
    if place.end_location.row == place.location.row:  # GitHub rejects columns of a range of several rows
        properties |= {"col": place.location.column, "endColumn": place.end_location.column}
    if place.cell is not None:  # rows count within a cell, the file's own rows are JSON
        properties = {"title": properties["title"], "file": properties["file"]}
    listed = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    told = "\n".join(map(printable, full_message(finding).splitlines()))
    message = f"{header(place)}: {finding.code} [{finding.confidence}] {told}"
    return f"::{COMMANDS[finding.severity.value]} {listed}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
