"""Rewrites of whole small projects that keep what they do and change how they look.

A project is a dict from path to source, as in ``Example.files``. Marks (``# <-- NN302``) are comments
and travel with their lines, so the expected places are read from the rewritten text. A rewrite that has
nothing to change returns the project as it was.
"""

from __future__ import annotations

from collections.abc import Callable

from rewrites.imports import alias_imports
from rewrites.moves import move_classes, split_into_package, wrap_in_main
from rewrites.rename import rename_identifiers

Project = dict[str, str]

REWRITES: dict[str, Callable[[Project], Project]] = {
    "rename": rename_identifiers,
    "alias": alias_imports,
    "main": wrap_in_main,
    "move": move_classes,
    "package": split_into_package,
}
