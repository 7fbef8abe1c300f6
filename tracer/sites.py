"""Which line of the user's program is running: the first frame that is neither torch's nor ours."""

from __future__ import annotations

import inspect
import os
import sys
import sysconfig
from types import CodeType, FrameType
from typing import Any

from ..rules.finding import Line

MAX_FRAMES = 80
_OURS, _LIBRARY, _USER = 0, 1, 2
# As the interpreter spells it: a package may be reached through a link.
_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_PATHS = sysconfig.get_paths()
_LIBRARIES = tuple({_PATHS[name] + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class Sites:
    """Finds lines, remembering what it learned of each code object."""

    def __init__(self, torch_folder: str) -> None:
        self._skipped = (torch_folder + os.sep, _HERE, "<frozen")
        # By identity, because hashing a code object means hashing all that is in it; held, so that it stays unique.
        self._kinds: dict[int, int] = {}
        self._lines: dict[tuple[int, int], Line] = {}
        self._held: list[CodeType] = []

    def here(self, depth: int = 1) -> Line | None:
        """The user's line; that of another library where no file of the user's is on the stack."""
        frame = self.frame(depth + 1)
        return None if frame is None else self.line(frame)

    def frame(self, depth: int = 1) -> FrameType | None:
        """The innermost frame of the user's."""
        return self.outer(sys._getframe(depth))

    def outer(self, frame: FrameType | None) -> FrameType | None:
        """The innermost frame of the user's among this one and those that called it."""
        kinds = self._kinds
        library: FrameType | None = None
        for _ in range(MAX_FRAMES):
            if frame is None:
                break
            code = frame.f_code
            kind = kinds.get(id(code))
            if kind is None:
                kind = kinds[id(code)] = self._kind(code.co_filename)
                self._held.append(code)
            if kind == _USER:
                return frame
            if kind == _LIBRARY and library is None:
                library = frame
            frame = frame.f_back
        return library

    def in_library(self, depth: int = 1) -> bool:
        """Whether the code that called torch belongs to an installed library."""
        frame: FrameType | None = sys._getframe(depth)
        for _ in range(MAX_FRAMES):
            if frame is None:
                return False
            kind = self._kind(frame.f_code.co_filename)
            if kind != _OURS:
                return kind == _LIBRARY
            frame = frame.f_back
        return False

    def line(self, frame: FrameType) -> Line:
        """A frame's current line."""
        code, row = frame.f_code, frame.f_lineno
        found = self._lines.get((id(code), row))
        if found is None:
            function = "" if code.co_name == "<module>" else code.co_qualname
            self._held.append(code)
            found = self._lines[id(code), row] = Line(os.path.abspath(code.co_filename), row, function)
        return found

    def is_user(self, file: str) -> bool:
        """Whether a file is neither torch's, ours, nor an installed library's."""
        return self._kind(file) == _USER

    def user_line(self, frame: FrameType, row: int) -> Line | None:
        """A row of a frame where the code is the user's; None elsewhere."""
        if not self.is_user(frame.f_code.co_filename):
            return None
        found = self.line(frame)
        return Line(found.file, row, found.function)

    def function_line(self, function: Any) -> Line | None:
        """Where a function of the user's begins; None for others."""
        code = getattr(inspect.unwrap(function), "__code__", None)
        if code is None or not self.is_user(code.co_filename):
            return None
        return Line(code.co_filename, code.co_firstlineno, code.co_qualname)

    def is_skipped(self, file: str) -> bool:
        """Whether a file is torch's or ours."""
        return self._kind(file) == _OURS

    def _kind(self, file: str) -> int:
        if is_ours(file):
            return _OURS
        if file.startswith((self._skipped[0], self._skipped[2])):
            return _OURS
        if file.startswith(_LIBRARIES) or (file.startswith("<") and not file.startswith(("<stdin", "<ipython"))):
            return _LIBRARY
        return _USER


_OUR_FOLDERS = frozenset(("analyzer", "interfaces", "reports", "rules", "tracer", "__init__.py", "__main__.py"))


def is_ours(file: str) -> bool:
    """Whether code is the package's: our examples and tests lie below our own folder, and are not."""
    return file.startswith(_HERE) and file[len(_HERE) :].split(os.sep, 1)[0] in _OUR_FOLDERS
