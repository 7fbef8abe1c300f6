"""Questions about values are answered once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from .program import Program
    from .values import Value

T = TypeVar("T")


def remembered(question: Callable[..., T]) -> Callable[..., T]:
    """Keep the answers of ``question(program, value, ..., depth)`` with the program.

    Values share their parts: a recursive question without a memory asks 2**n times about a chain of n sums. The depth
    of the recursion, any whole number, is not part of what is asked.
    """

    @functools.wraps(question)
    def asked(program: Program, value: Value, *rest: Any) -> T:
        answers = program.answers.setdefault(question, {})
        key = (value, *(r for r in rest if type(r) is not int))
        if key not in answers:
            answers[key] = question(program, value, *rest)
        found: T = answers[key]
        return found

    return asked
