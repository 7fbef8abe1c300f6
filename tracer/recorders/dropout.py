"""Functional dropout: whether it drops in evaluation because nobody told it the mode."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from ..watch import Recorder, Watch
from .modules import ModuleRecorder

NAMES = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
_is_compiling = torch.compiler.is_dynamo_compiling


class DropoutRecorder(Recorder):
    """Patches the functions; the modules, which know their mode, call them too and are left alone."""

    def __init__(self, watch: Watch, modules: ModuleRecorder) -> None:
        super().__init__(watch)
        self._modules = modules

    def attach(self) -> None:
        """Patch them all."""
        for name in NAMES:
            self.patch_function(F, name, self._wrapped)

    def _wrapped(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def dropout(*args: Any, **kwargs: Any) -> Any:
            # Who says ``training=True`` means it.
            if self.on and len(args) < 3 and "training" not in kwargs and not _is_compiling():
                try:
                    self._note(args[1] if len(args) > 1 else kwargs.get("p", 0.5))
                except Exception as error:
                    self.watch.fail(self, error)
            return original(*args, **kwargs)

        return dropout

    def _note(self, rate: float) -> None:
        found = self._modules.current
        if (
            found is None
            or found.training
            or not rate
            or sys._getframe(2).f_globals.get("__name__", "").startswith("torch.")
        ):
            return
        found.drops += 1
        if found.drop_line is None:
            found.drop_line = self.watch.here(3)
        self.watch.record.touch(found)
