"""The base of all nouns of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(slots=True)
class Thing:
    """What all nouns have: a key, unique among the nouns of its kind."""

    KIND: ClassVar[str] = ""
    LINES: ClassVar[tuple[str, ...]] = ()
    key: int
