"""The rules, one file each; found by walking the folders, never listed by hand."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from .rule import Rule


@cache
def discover() -> tuple[type[Rule], ...]:
    """Every concrete rule class in the sub-packages, ordered by code."""
    found: dict[str, type[Rule]] = {}
    for group in pkgutil.iter_modules(__path__, __name__ + "."):
        if not group.ispkg:
            continue
        package = importlib.import_module(group.name)
        for module_info in pkgutil.iter_modules(package.__path__, group.name + "."):
            module = importlib.import_module(module_info.name)
            for value in vars(module).values():
                if isinstance(value, type) and issubclass(value, Rule) and value.__module__ == module.__name__:
                    found[value.code] = value
    return tuple(found[code] for code in sorted(found))
