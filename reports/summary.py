"""What follows the findings: counts, how much was understood, and how much is hidden."""

from __future__ import annotations

import json
from collections import Counter

from ..analyzer.result import ScanResult
from .text import Style, header, one_line


def closing(result: ScanResult, hidden_likely: int, known: int = 0, *, color: bool = False) -> str:
    """Two lines at most: what was found, and how far silence can be trusted."""
    style = Style(color)
    if result.findings:
        first = style.bold(_found(result))
    elif result.problems:
        first = "Nothing found in what could be read."
    elif not result.files:
        first = "No Python files found under the given paths."
    else:
        first = style("All checks passed.", 1, 92)
    second = _understood(result)
    if hidden_likely:
        second += f"; {count(hidden_likely, 'likely finding')} hidden (--min-confidence likely)"
    if result.suppressed:
        second += f"; {count(result.suppressed, 'finding')} suppressed by comments"
    if known:
        second += f"; {count(known, 'finding')} known from the baseline"
    return f"{first}\n{second}\n"


def _found(result: ScanResult) -> str:
    by_severity = Counter(finding.severity.value for finding in result.findings)
    kinds = [("error", "error"), ("warning", "warning"), ("info", "piece of advice")]
    parts = [count(by_severity[key], word) for key, word in kinds if by_severity[key]]
    files = len({finding.place.filename for finding in result.findings})
    return f"{count(len(result.findings), 'finding')} ({', '.join(parts)}) in {count(files, 'file')}."


def _understood(result: ScanResult) -> str:
    read = f"{count(result.files, 'file')}, {count(result.lines, 'line')}"
    if not result.loops:
        return f"{read}: no training loops"
    text = f"{read}: {count(result.loops, 'training loop')}, {result.understood} fully understood"
    return text + (" (--show-unknown)" if result.understood < result.loops else "")


def count(number: int, noun: str) -> str:
    """``1 file``, ``2 files``, ``3 pieces of advice``."""
    if number == 1:
        return f"{number} {noun}"
    head, space, rest = noun.partition(" of ")
    return f"{number} {head}s{space}{rest}"


def unknown(result: ScanResult) -> str:
    """One line for each training loop that was not fully understood."""
    return "".join(
        f"{header(entry.place)}: not fully understood: {one_line(entry.reason)}\n" for entry in result.unknown
    )


def statistics(result: ScanResult, *, as_json: bool = False) -> str:
    """Findings by rule, the most frequent first."""
    counts = Counter((finding.code, finding.name) for finding in result.findings)
    rows = sorted(((number, code, name) for (code, name), number in counts.items()), key=lambda row: (-row[0], row[1]))
    if as_json:
        return (
            json.dumps([{"code": code, "name": name, "count": number} for number, code, name in rows], indent=2) + "\n"
        )
    digits = max((len(str(row[0])) for row in rows), default=1)
    return "".join(f"{number:>{digits}}  {code}  {name}\n" for number, code, name in rows)
