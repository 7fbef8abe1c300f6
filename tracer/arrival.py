"""Waits for the script to import a package, and acts right after it.

Importing torch for the script would come too early: what a script puts into the environment before its own
``import torch`` (``OMP_NUM_THREADS``, ``CUDA_VISIBLE_DEVICES``) must still count.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def when_imported(package: str, then: Callable[[], None]) -> Callable[[], None]:
    """Call ``then`` once: now, if the package is there already, or when its import has ended.

    Returns what stops waiting. An exception of ``then`` comes out of the script's import.
    """
    if package in sys.modules:
        then()
        return lambda: None
    finder = _Finder(package, then)
    sys.meta_path.insert(0, finder)
    return finder.remove


class _Finder:
    """Finds nothing by itself: it asks the finders behind it and puts itself between loader and module."""

    def __init__(self, package: str, then: Callable[[], None]) -> None:
        self._package = package
        self._then = then

    def remove(self) -> None:
        """Wait no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The package's own spec, with a loader that tells when it is done."""
        if name != self._package:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment]
                return spec
        return None

    def arrived(self) -> None:
        """The package has been imported."""
        self.remove()
        self._then()


class _Loader:
    """The package's own loader, and a call at the end."""

    def __init__(self, loader: Any, finder: _Finder) -> None:
        self._loader = loader
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the package's loader does."""
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Run the package with its own loader in place, as if nobody had been in between."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._finder.arrived()
