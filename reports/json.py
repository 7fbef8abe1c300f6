"""A JSON array of findings; see ``model.py`` for the fields."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..analyzer.result import ScanResult
from ..rules.rule import Rule
from .model import finding_dict
from .text import SourceLines


def render(result: ScanResult, rules: Sequence[Rule], source: SourceLines, color: bool) -> str:
    """The findings as an array; ASCII only, so that no terminal's encoding can damage it."""
    return json.dumps([finding_dict(finding) for finding in result.findings], indent=2) + "\n"
