"""The format for reading: each finding with its code, why to believe it, and what to do."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from ..analyzer.result import ScanResult
from ..rules.finding import Finding, Hop, Place
from ..rules.rule import Rule
from .text import SourceLines, Style, code_frame, header, one_line

WIDTH = 110


def render(result: ScanResult, rules: Sequence[Rule], source: SourceLines, color: bool) -> str:
    """All findings, a blank line after each."""
    style = Style(color)
    return "".join("\n".join(_finding(finding, source, style)) + "\n\n" for finding in result.findings)


def _finding(finding: Finding, source: SourceLines, style: Style) -> list[str]:
    place = finding.place
    code = style.severity(finding.code, finding)
    out = [f"{style.bold(header(place))}: {code} [{finding.confidence}] {style.bold(finding.name)}"]
    out += _wrapped(finding.message, "  ")
    out += code_frame(place, source, style)
    if finding.evidence:
        out.append(f"  {style.bold('why I believe this')}")
        for number, hop in enumerate(finding.evidence, 1):
            out += _hop(number, hop, source, style)
    if finding.advice:
        out.append(f"  {style.bold('what to do')}")
        out += _wrapped(finding.advice, "    ")
    out.append("  " + style.dim(f"more: nnaudit explain {finding.code}"))
    return out


def _hop(number: int, hop: Hop, source: SourceLines, style: Style) -> list[str]:
    """One step: where, what, and the line itself."""
    if not isinstance(hop.at, Place):
        raise TypeError("the hop has a site only; resolve() the finding first")
    value = f" [{one_line(hop.value)}]" if hop.value else ""
    lead = f"    {number}. {header(hop.at)}  "
    text = f"{one_line(hop.message)}{value}"
    out = _wrapped(text, " " * 7, first=lead)
    out[0] = out[0].replace(header(hop.at), style.bold(header(hop.at)), 1)
    return out + code_frame(hop.at, source, style, context=0, indent="       ")[1:2]


def _wrapped(text: str, indent: str, first: str | None = None) -> list[str]:
    return textwrap.wrap(
        one_line(text),
        WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [(first or indent).rstrip()]
