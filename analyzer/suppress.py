"""Comments that silence findings: ``# nnaudit: ignore[NN302] reason`` on a line, ``ignore-file[...]`` for a file.

A comment counts for the whole logical line that it stands in or behind: a call over several rows may carry it at
its first row, at its last, or in between.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..rules.finding import Finding, Location, Place, Severity
from ..rules.rule import Rule
from .result import Problem
from .select import Fit, fit, suggestion
from .source import Source

MARK = "nnaudit:"
_COMMENT = re.compile(r"#+\s*nnaudit:\s*(?P<word>[\w-]+)\s*(?:\[(?P<rules>[^\]#]*)\])?(?P<reason>[^#]*)")
_LOOKS_LIKE_CODE = re.compile(r"\s*:?\s*NN\d", re.IGNORECASE)
_WORDS = {"ignore": False, "ignore-file": True}


@dataclass(frozen=True)
class Suppression:
    """One comment. ``rows`` are those of the whole text, from 1, that it covers; all of them for a file."""

    place: Place
    rows: range | None
    selectors: tuple[str, ...]
    """Codes, prefixes or names; empty: every rule."""
    wrong: str = ""
    """What is wrong with how it is written; then it silences nothing."""
    alone: bool = False
    """It stands on a line of its own."""

    def covers(self, finding: Finding, row: int) -> bool:
        """Whether the finding at a row of the whole text is silenced, by any of the selectors."""
        return not self.wrong and self._is_here(row) and (not self.selectors or bool(self.fitting(finding)))

    def fitting(self, finding: Finding) -> list[str]:
        """The selectors that name the finding's rule."""
        return [selector for selector in self.selectors if fit(selector, finding) != Fit.NONE]

    def _is_here(self, row: int) -> bool:
        return self.rows is None or row in self.rows


def comments(source: Source) -> list[Suppression]:
    """The suppressions in one file; none where the text cannot be divided into tokens."""
    if MARK not in source.text:
        return []
    found: list[Suppression] = []
    waiting: list[tuple[tokenize.TokenInfo, re.Match[str]]] = []
    first: int | None = None
    try:
        for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
            if token.type == tokenize.COMMENT:
                match = _COMMENT.search(token.string)  # perhaps behind another tool's
                if match:
                    waiting.append((token, match))
            if token.type in (tokenize.NEWLINE, tokenize.NL) and (token.type == tokenize.NEWLINE or first is None):
                rows = range(first or token.start[0], token.start[0] + 1)
                found += [_suppression(source, comment, match, rows, first is None) for comment, match in waiting]
                waiting, first = [], None
            elif first is None and token.type not in _NO_CODE:
                first = token.start[0]
    except (tokenize.TokenError, SyntaxError):
        pass  # the parser says what is wrong with the file
    return found


_NO_CODE = frozenset((tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER))


def _suppression(
    source: Source, token: tokenize.TokenInfo, match: re.Match[str], rows: range, alone: bool
) -> Suppression:
    word = match["word"].lower()
    cell, row = source.place(token.start[0])
    column = token.start[1] + match.start() + 1
    place = Place(source.filename, Location(row, column), Location(row, column + len(match[0])), cell)
    selectors = tuple(part.strip() for part in (match["rules"] or "").split(",") if part.strip())
    wrong = ""
    if word not in _WORDS:
        wrong = (
            f"nnaudit knows no comment {word!r}; write `# nnaudit: ignore[NN302]` or `# nnaudit: ignore-file[NN302]`"
        )
    elif match["rules"] is None and _LOOKS_LIKE_CODE.match(match["reason"]):
        code = match["reason"].strip(" :").split()[0].rstrip(",")
        wrong = f"the rules must stand in brackets; write `# nnaudit: {word}[{code}]`"
    elif match["rules"] is not None and not selectors:
        wrong = f"the brackets are empty; name rules, as in `# nnaudit: {word}[NN302]`"
    return Suppression(place, None if _WORDS.get(word) else rows, selectors, wrong, alone)


@dataclass(frozen=True)
class Outcome:
    """Findings that are left, how many were silenced, and a line on each comment that did nothing."""

    findings: list[Finding]
    suppressed: int = 0
    warnings: tuple[Problem, ...] = ()


def apply(
    findings: Sequence[Finding],
    sources: Mapping[str, Source],
    rules: Sequence[Rule] = (),
    catalogue: Sequence[type[Rule]] = (),
) -> Outcome:
    """Drop what the comments of these files silence.

    ``sources`` by the filename that findings carry. ``rules`` are those that ran and ``catalogue`` all that exist:
    without them no comment is called idle.
    """
    by_file = {name: found for name, source in sources.items() if (found := comments(source))}
    used: dict[int, set[str]] = {}
    kept = []
    for finding in findings:
        place = finding.place
        there = by_file.get(place.filename, ())
        row = _row(sources[place.filename], place) if there else 0
        covering = [suppression for suppression in there if suppression.covers(finding, row)]
        for suppression in covering:
            used.setdefault(id(suppression), set()).update(suppression.fitting(finding) or ("",))
        if not covering:
            kept.append(finding)
    idle = _Idle(rules, catalogue)
    everything = [suppression for found in by_file.values() for suppression in found]
    warnings = [text for s in everything for text in idle.warnings(s, used.get(id(s), set()))] if catalogue else []
    return Outcome(kept, len(findings) - len(kept), tuple(warnings))


def _row(source: Source, place: Place) -> int:
    """The row of the whole text."""
    first = next((cell.first_row for cell in source.cells if cell.number == place.cell), 1)
    return first + place.location.row - 1


class _Idle:
    """Says which comments do nothing, as far as the rules that ran can tell."""

    def __init__(self, rules: Sequence[Rule], catalogue: Sequence[type[Rule]]) -> None:
        self._ran = {rule.code for rule in rules}
        self._catalogue = catalogue

    def warnings(self, suppression: Suppression, used: set[str]) -> list[Problem]:
        """What is to be said of one comment, given the selectors of it that silenced something."""
        if suppression.wrong:
            return [_warning(suppression, suppression.wrong)]
        if not suppression.selectors:
            expected = [rule for rule in self._catalogue if rule.severity is not Severity.INFO]
            return [] if used or not self._ran_all(expected) else [_warning(suppression, _idle_text(suppression, ""))]
        known = {s: [rule for rule in self._catalogue if fit(s, rule) != Fit.NONE] for s in suppression.selectors}
        found = [
            _warning(suppression, f"unknown rule {selector!r} in a suppression{suggestion(selector, self._catalogue)}")
            for selector, named in known.items()
            if not named
        ]
        idle = [s for s, named in known.items() if named and s not in used and self._ran_all(named)]
        if idle:
            found.append(_warning(suppression, _idle_text(suppression, ", ".join(idle))))
        return found

    def _ran_all(self, rules: Sequence[type[Rule]]) -> bool:
        """Whether each of them that judges source has spoken here; a rule that only judges runs never does."""
        from_source = [rule.code for rule in rules if rule.scans()]
        return bool(from_source) and self._ran.issuperset(from_source)


def _idle_text(suppression: Suppression, named: str) -> str:
    about = f" of {named}" if named else ""
    if suppression.alone and suppression.rows is not None:
        return f"the suppression{about} stands alone: put it at the end of the line that it is meant for"
    return f"unused suppression{about}: there is nothing to silence; remove it"


def _warning(suppression: Suppression, text: str) -> Problem:
    place = suppression.place
    where = place.filename if place.cell is None else f"{place.filename}:cell {place.cell}"
    return Problem(where, text, place.location.row)
