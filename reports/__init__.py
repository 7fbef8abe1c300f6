"""What was found, written for people and for other programs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..analyzer.result import ScanResult
    from ..rules.rule import Rule
    from .text import SourceLines

FORMATS = {"full": ".full", "concise": ".concise", "json": ".json", "sarif": ".sarif", "github": ".github"}
"""Format -> the module whose ``render(result, rules, source, color)`` writes it."""

TEXT_FORMATS = frozenset({"full", "concise"})
"""Formats for people: a summary follows the findings."""


def render(
    format: str,
    result: ScanResult,
    rules: Sequence[Rule] = (),
    *,
    source: SourceLines | None = None,
    color: bool = False,
) -> str:
    """The findings of ``result`` in ``format`` (a key of :data:`FORMATS`), ending in a newline unless empty.

    ``rules`` are those that ran (SARIF lists them). ``source`` reads the lines to be shown; by default
    from disk. ``color`` adds ANSI colours where the format has any.
    """
    module: Any = importlib.import_module(FORMATS[format], __name__)
    if source is None:
        from .text import SourceLines

        source = SourceLines()
    text: str = module.render(result, rules, source, color)
    return text
