"""One line a finding, for editors and grep."""

from __future__ import annotations

from collections.abc import Sequence

from ..analyzer.result import ScanResult
from ..rules.rule import Rule
from .model import full_message
from .text import SourceLines, Style, header, one_line


def render(result: ScanResult, rules: Sequence[Rule], source: SourceLines, color: bool) -> str:
    """``path:row:column: CODE [confidence] message`` for every finding."""
    style = Style(color)
    return "".join(
        f"{style.bold(header(finding.place))}: {style.severity(finding.code, finding)} [{finding.confidence}] "
        f"{one_line(full_message(finding))}\n"
        for finding in result.findings
    )
