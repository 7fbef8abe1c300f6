"""Warnings name the same line as in an untraced run, though wrappers of ours stand between torch and the script."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch

from .launch import execute
from .sites import is_ours
from .watch import Recorder

_is_compiling = torch.compiler.is_dynamo_compiling


class WarningLines(Recorder):
    """Patches ``warnings.warn``: frames of ours do not count as levels of the stack."""

    def attach(self) -> None:
        """Patch the one function."""
        self.patch(warnings, "warn", self._counted)

    def _counted(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def warn(message: Any, category: Any = None, stacklevel: int = 1, *args: Any, **kwargs: Any) -> None:
            if _is_compiling() or not self.on:
                return original(message, category, stacklevel + 1, *args, **kwargs)
            try:
                levels = _levels(sys._getframe(1), stacklevel)
            except Exception as error:
                self.watch.fail(self, error)
                levels = stacklevel
            return original(message, category, levels + 1, *args, **kwargs)

        return warn


def _levels(frame: FrameType | None, wanted: int) -> int:
    """How many frames hold ``wanted`` that are not ours."""
    levels = 0
    while frame is not None and wanted > 0:
        if frame.f_code is execute.__code__:
            return sys.getrecursionlimit()  # the script was not called by anybody
        levels += 1
        wanted -= not is_ours(frame.f_code.co_filename)
        frame = frame.f_back
    return levels + wanted
