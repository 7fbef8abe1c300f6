"""A file's text: decoded as Python does it, newlines normalised, divided into cells.

A .py file is one cell. A notebook's code cells form one text, magics and shell lines masked so that
rows keep their numbers.
"""

from __future__ import annotations

import bisect
import codecs
import io
import json
import os
import re
import tokenize
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


class Unreadable(Exception):
    """The file cannot be read as Python source; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of a file's text. ``number`` counts all cells of a notebook from 1 (None: not a notebook).

    ``first_row`` is the row of the whole text, from 1, at which the cell begins. ``text`` is the cell
    as the user wrote it, before masking.
    """

    text: str
    first_row: int = 1
    number: int | None = None


@dataclass(frozen=True)
class Source:
    """One file as the analyzer sees it. ``filename`` is what the user reads in messages."""

    path: Path
    filename: str
    text: str
    raw: bytes
    cells: tuple[Cell, ...]

    def forget_bytes(self) -> None:
        """The text is enough from here on: in a large project two copies of every file are too many."""
        object.__setattr__(self, "raw", b"")

    def place(self, row: int) -> tuple[int | None, int]:
        """The cell's number and the row within it for a row of the whole text."""
        cell = self.cells[max(0, bisect.bisect_right(self._first_rows, row) - 1)]
        return cell.number, row - cell.first_row + 1

    def lines(self, cell: int | None = None) -> list[str]:
        """The lines of one cell, as the user wrote them, without newlines."""
        for candidate in self.cells:
            if candidate.number == cell:
                return candidate.text.split("\n")
        return []

    @cached_property
    def _first_rows(self) -> list[int]:
        return [cell.first_row for cell in self.cells]


def display_name(path: Path | str) -> str:
    """``path`` relative to the current directory when it lies below it, else absolute."""
    absolute = os.path.abspath(path)
    prefix = os.path.join(os.getcwd(), "")
    return absolute[len(prefix) :] if absolute.startswith(prefix) else absolute


def read(path: Path, overlay: Mapping[Path, str] | None = None) -> Source:
    """Read one file, or its unsaved text in ``overlay``. Raises :class:`Unreadable`."""
    name = display_name(path)
    unsaved = overlay.get(path) if overlay else None
    if unsaved is not None:
        raw = unsaved.encode("utf-8", "surrogatepass")
        text = unsaved.removeprefix("\ufeff")
    else:
        raw = _bytes(path)
        text = ""
    if path.suffix == ".ipynb":
        return _notebook(path, name, raw)
    if unsaved is None:
        text = decode(raw)
    text = _newlines(text)
    return Source(path, name, text, raw, (Cell(text),))


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file() and path.exists():
            raise Unreadable("is not a regular file; name a Python file or a folder")
        return path.read_bytes()
    except FileNotFoundError:
        raise Unreadable("does not exist; check the path") from None
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror or error})") from None


def decode(raw: bytes) -> str:
    """Source text of bytes: byte order mark, else the coding line of PEP 263, else UTF-8."""
    if b"\0" in raw:
        if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise Unreadable("is encoded as UTF-16; save it as UTF-8")
        raise Unreadable("is a binary file, not Python source")
    try:
        if raw.isascii() and b"coding" not in raw[:400]:  # most files: nothing to find out
            return raw.decode("ascii")
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
    except SyntaxError as error:
        if not str(error.msg).startswith(("unknown encoding", "encoding problem")):
            encoding = "utf-8"  # the first lines are no UTF-8: decoding says where
        else:
            raise Unreadable(f"{error.msg}; correct the coding line or save the file as UTF-8") from None
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        row = raw.count(b"\n", 0, error.start) + 1
        message = f"is not valid {encoding} (byte {raw[error.start]:#04x} in row {row})"
        raise Unreadable(f"{message}; save it as UTF-8 or declare its encoding in the first line") from None
    except LookupError:  # a codec that is no text encoding, such as rot13
        raise Unreadable(f"{encoding} is not a text encoding; save the file as UTF-8") from None


def _newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


_CELL_MAGIC = re.compile(r"\s*%%(?!(?:time|timeit|capture|prun)\b)")
"""A cell that starts so is written in another language (bash, html ...) or to a file."""

_LINE_MAGIC = re.compile(r"^(\s*)(?:[%!]|\?{1,2}\w|[\w.]+\?{1,2}\s*$|[\w, ]+=\s*[%!])")
_TIMED = re.compile(r"^(\s*)%time\s+(?=[A-Za-z_(\[])")
"""A line magic that runs the statement behind it: what it runs counts."""


def mask(text: str) -> str:
    """A cell's text as plain Python of the same rows: IPython lines become ``pass``."""
    if _CELL_MAGIC.match(text):
        return "\n".join("pass" for _ in text.split("\n"))
    lines = []
    continued = False
    for line in text.split("\n"):
        line = _TIMED.sub(r"\1", line)
        magic = _LINE_MAGIC.match(line)
        if magic or continued:
            lines.append((magic.group(1) if magic else "") + "pass")
            continued = line.rstrip().endswith("\\")
        else:
            lines.append(line)
    return "\n".join(lines)


def _notebook(path: Path, name: str, raw: bytes) -> Source:
    cells: list[Cell] = []
    parts: list[str] = []
    row = 1
    for number, text in _code_cells(raw):
        masked = _mask_unless_python(text)
        cells.append(Cell(text, row, number))
        parts.append(masked)
        row += masked.count("\n") + 1
    return Source(path, name, "\n".join([*parts, ""]), raw, tuple(cells) or (Cell(""),))


def _mask_unless_python(text: str) -> str:
    """Only cells that hold magics are masked: ``%`` also starts lines of a multi-line expression."""
    if not any(mark in text for mark in "%!?"):
        return text
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(text, "<cell>", "exec", dont_inherit=True, flags=_ONLY_PARSE)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return mask(text)
    return text


_ONLY_PARSE = 0x400 | 0x2000  # ast.PyCF_ONLY_AST and top-level await, without importing ast


_LONE_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
"""JSON may hold halves of characters (a cut emoji); no text can."""


def _code_cells(raw: bytes) -> list[tuple[int, str]]:
    """(number among all cells, text) of the code cells of a notebook of format 4 or 3."""
    try:
        document = json.loads(raw.decode("utf-8-sig"))
        cells = document.get("cells")
        if cells is None:
            cells = [cell for sheet in document["worksheets"] for cell in sheet["cells"]]
        found = []
        for number, cell in enumerate(cells, 1):
            if cell["cell_type"] != "code":
                continue
            text = cell["source"] if "source" in cell else cell["input"]
            text = text if isinstance(text, str) else "".join(text)
            found.append((number, _newlines(text.translate(_LONE_SURROGATES)).removesuffix("\n")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Unreadable("is not a Jupyter notebook (no JSON with cells)") from None
    return found
