"""What the text formats share: source lines, printable text, colours, code frames."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ..analyzer.source import Unreadable, read
from ..rules.finding import Finding, Place

TAB = "    "
MAX_WIDTH = 160
"""Longer source lines are shown in part."""


class SourceLines:
    """Lines of scanned files, each file read once; unsaved text goes before the disk."""

    def __init__(self, overlay: Mapping[Path, str] | None = None, folder: Path | None = None) -> None:
        self._overlay = overlay
        self._folder = os.fspath(folder or Path.cwd())
        self._lines = cache(self._read)

    def of(self, filename: str, cell: int | None = None) -> list[str]:
        """All lines of a file or of one cell; none if it cannot be read."""
        return self._lines(filename, cell)

    def at(self, place: Place) -> str | None:
        """The line at ``place``, or None."""
        lines = self.of(place.filename, place.cell)
        return lines[place.location.row - 1] if 1 <= place.location.row <= len(lines) else None

    def path(self, filename: str) -> str:
        """The absolute path of a filename in a finding."""
        return os.path.normpath(os.path.join(self._folder, filename))

    def _read(self, filename: str, cell: int | None) -> list[str]:
        try:
            return read(Path(self.path(filename)), self._overlay).lines(cell)
        except Unreadable:
            return []


class Style:
    """ANSI colours, or nothing at all."""

    def __init__(self, color: bool) -> None:
        self._color = color

    def __call__(self, text: str, *codes: int) -> str:
        """``text`` in the given SGR codes."""
        if not self._color or not text:
            return text
        return f"\x1b[{';'.join(map(str, codes))}m{text}\x1b[0m"

    def bold(self, text: str) -> str:
        """Titles and file names."""
        return self(text, 1)

    def dim(self, text: str) -> str:
        """What may be skipped when reading."""
        return self(text, 2)

    def frame(self, text: str) -> str:
        """Line numbers and bars."""
        return self(text, 1, 94)

    def severity(self, text: str, finding: Finding) -> str:
        """Red for errors, yellow for warnings, blue for advice."""
        return self(text, 1, {"error": 91, "warning": 93}.get(finding.severity.value, 94))


def one_line(text: str) -> str:
    """``text`` without line breaks and without characters that could steer a terminal."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Tabs widened; control characters (a scanned file may hold escape sequences) made visible."""
    text = text.replace("\t", TAB)
    if text.isprintable():
        return text
    return "".join(character if _shows(character) else "\N{REPLACEMENT CHARACTER}" for character in text)


def _shows(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def width(text: str) -> int:
    """Columns that ``text`` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def header(place: Place) -> str:
    """``path:row:column``, with the cell of a notebook."""
    cell = f":cell {place.cell}" if place.cell is not None else ""
    return f"{printable(place.filename)}{cell}:{place.location.row}:{place.location.column}"


def code_frame(place: Place, source: SourceLines, style: Style, context: int = 2, indent: str = "  ") -> list[str]:
    """The line at ``place`` between ``context`` neighbours, the range underlined."""
    lines = source.of(place.filename, place.cell)
    row = place.location.row
    if not 1 <= row <= len(lines):
        return []
    first, last = max(1, row - context), min(len(lines), row + context)
    while first < row and not lines[first - 1].strip():
        first += 1
    while last > row and not lines[last - 1].strip():
        last -= 1
    digits = len(str(last))
    bar = style.frame("|")
    out = [f"{indent}{' ' * digits} {bar}"]
    for number in range(first, last + 1):
        line, underline = _cut(lines[number - 1], place) if number == row else (_clip(lines[number - 1]), "")
        out.append(f"{indent}{style.frame(str(number).rjust(digits))} {bar} {line}".rstrip())
        if underline:
            out.append(f"{indent}{' ' * digits} {bar} {style(underline, 1, 91)}")
    return out


def _clip(line: str) -> str:
    text = printable(line)
    return text if len(text) <= MAX_WIDTH else text[: MAX_WIDTH - 1] + "…"


def _cut(line: str, place: Place) -> tuple[str, str]:
    """The shown part of the finding's line and the carets below it."""
    start = max(0, place.location.column - 1)
    same_row = place.end_location.row == place.location.row
    stop = max(start + 1, min(place.end_location.column - 1 if same_row else len(line.rstrip()), len(line)))
    shift = max(0, start - MAX_WIDTH // 2) if len(line) > MAX_WIDTH else 0
    dots = "…" if shift else ""
    shown = dots + printable(line[shift:])
    if len(shown) > MAX_WIDTH:
        shown = shown[: MAX_WIDTH - 1] + "…"
    before = width(dots + printable(line[shift:start]))
    carets = min(max(1, width(printable(line[start:stop]))), max(1, MAX_WIDTH - before))
    return shown, " " * before + "^" * carets
