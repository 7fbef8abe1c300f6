"""The configuration: ``[tool.nnaudit]`` in pyproject.toml, or nnaudit.toml; the nearest one upwards.

Loading never fails: what is wrong in a file becomes a :class:`Problem` that names the key and what to
do, the rest of the file counts, and the scan goes on (its exit status becomes 2).
"""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..rules.finding import Confidence
from .result import Problem

FILE_NAMES = ("nnaudit.toml", "pyproject.toml")
"""Looked for in this order in each folder; a pyproject.toml counts only if it has ``[tool.nnaudit]``."""

DEFAULT_EXCLUDE = (
    ".bzr",
    ".direnv",
    ".eggs",
    ".git",
    ".git-rewrite",
    ".hg",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".nnaudit_cache",
    ".nox",
    ".pants.d",
    ".pyenv",
    ".pytest_cache",
    ".pytype",
    ".ruff_cache",
    ".svn",
    ".tox",
    ".venv",
    ".vscode",
    "__pycache__",
    "__pypackages__",
    "_build",
    "buck-out",
    "build",
    "dist",
    "node_modules",
    "site-packages",
    "venv",
)
"""Folders that hold no code of the project itself (ruff's list and caches)."""

DEFAULT_INCLUDE = ("*.py", "*.ipynb")

Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Layer:
    """One place that selects rules: the file first, then the command line."""

    select: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    origin: str = ""


@dataclass(frozen=True)
class Config:
    """The settings of one scan. Patterns are relative to ``folder``."""

    folder: Path
    file: Path | None = None
    selection: tuple[Layer, ...] = ()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    min_confidence: Confidence = Confidence.CERTAIN
    include: tuple[str, ...] = DEFAULT_INCLUDE
    exclude: tuple[str, ...] = DEFAULT_EXCLUDE
    extend_exclude: tuple[str, ...] = ()
    respect_gitignore: bool = True
    cache_dir: Path | None = None
    baseline: Path | None = None
    rule_options: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def excluded(self) -> tuple[str, ...]:
        """All patterns of files and folders to leave out."""
        return self.exclude + self.extend_exclude

    def relative(self, path: Path | str) -> str:
        """``path`` as patterns see it: relative to the configuration's folder, with slashes."""
        return relative_posix(os.fspath(path), os.fspath(self.folder))


def ancestors(folder: Path) -> Iterator[Path]:
    """``folder`` and its parents, never above a home directory and never the root of the disk."""
    top = home()
    for candidate in (folder, *folder.parents):
        if candidate.parent == candidate and candidate != folder:
            return
        yield candidate
        if candidate == top:
            return


def home() -> Path | None:
    """The user's home directory, if there is one."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def load(folder: Path, explicit: Path | None = None) -> Config:
    """The configuration for ``folder``: ``explicit``, else the nearest file upwards, else the defaults."""
    if explicit is not None:
        path = Path(os.path.abspath(explicit))
        table, problems = _read(path)
        return _interpret(path, table or {}, problems)
    for candidate in ancestors(folder):
        for name in FILE_NAMES:
            path = candidate / name
            if not path.is_file():
                continue
            table, problems = _read(path)
            if table is not None or (problems and name == "nnaudit.toml"):
                return _interpret(path, table or {}, problems)
            if problems:  # a broken pyproject.toml may or may not be meant for us: say so, use defaults
                return Config(folder=candidate, file=path, problems=problems)
    return Config(folder=folder)


def _read(path: Path) -> tuple[dict[str, Any] | None, tuple[Problem, ...]]:
    """Our table in ``path`` (None: it has none)."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return None, (Problem(str(path), "the configuration file does not exist; defaults are used"),)
    except OSError as error:
        return None, (Problem(str(path), f"cannot be read ({error.strerror or error}); defaults are used"),)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return None, (Problem(str(path), f"is not valid TOML ({error}); correct it, until then defaults are used"),)
    if path.name != "pyproject.toml":
        return document, ()
    tool = document.get("tool", {})
    table = tool.get("nnaudit") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        return None, (Problem(str(path), "[tool.nnaudit] must be a table"),)
    return table, ()


class _Wrong(ValueError):
    """A value does not have the right shape; the text says which shape is right."""


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _Wrong('a list of strings is needed, such as ["NN302", "NN5"]')
    return tuple(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("true or false is needed")
    return value


def _confidence(value: Any) -> Confidence:
    try:
        return Confidence(value)
    except ValueError:
        raise _Wrong('"certain" or "likely" is needed') from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Wrong("a string is needed")
    return value


def _file_ignores(value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, dict):
        raise _Wrong('a table is needed, such as {"tests/**" = ["NN501"]}')
    return tuple((pattern, _strings(selectors)) for pattern, selectors in value.items())


def _options(value: Any) -> dict[str, dict[str, Scalar]]:
    if not isinstance(value, dict):
        raise _Wrong("a table of tables is needed, such as [tool.nnaudit.rules.unshuffled-training-data]")
    for name, table in value.items():
        if not isinstance(table, dict):
            raise _Wrong(f"{name!r} must be a table: [tool.nnaudit.rules.{name}]")
        for key, option in table.items():
            if not isinstance(option, bool | int | float | str):
                raise _Wrong(f"{name}.{key} must be a number, a string, true or false")
    return value


KEYS: dict[str, Callable[[Any], Any]] = {
    "select": _strings,
    "ignore": _strings,
    "extend-select": _strings,
    "per-file-ignores": _file_ignores,
    "min-confidence": _confidence,
    "include": _strings,
    "exclude": _strings,
    "extend-exclude": _strings,
    "respect-gitignore": _boolean,
    "cache-dir": _text,
    "baseline": _text,
    "rules": _options,
}
"""Every key of the file and how its value is read."""


def _interpret(path: Path, table: dict[str, Any], problems: tuple[Problem, ...]) -> Config:
    values: dict[str, Any] = {}
    found = list(problems)
    for key, raw in table.items():
        if key not in KEYS:
            found.append(Problem(str(path), f"unknown key {key!r}{nearest(key, KEYS)}"))
            continue
        try:
            values[key.replace("-", "_")] = KEYS[key](raw)
        except _Wrong as error:
            found.append(Problem(str(path), f"{key}: {error}"))
    layer = Layer(
        select=values.pop("select", None),
        ignore=values.pop("ignore", ()),
        extend_select=values.pop("extend_select", ()),
        origin=str(path),
    )
    cache_dir, baseline = (_below(path, values.pop(name, None)) for name in ("cache_dir", "baseline"))
    options = values.pop("rules", {})
    return replace(
        Config(folder=path.parent, file=path, selection=(layer,), rule_options=options),
        **values,
        cache_dir=cache_dir,
        baseline=baseline,
        problems=tuple(found),
    )


def _below(file: Path, name: str | None) -> Path | None:
    """A path of the file, relative to its folder."""
    return None if name is None else Path(os.path.abspath(file.parent / Path(name).expanduser()))


def nearest(wrong: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the most similar known word, or nothing."""
    folded: dict[str, str] = {}
    for word in known:
        folded.setdefault(word.casefold(), word)
    close = difflib.get_close_matches(wrong.casefold(), folded, n=1, cutoff=0.5)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def relative_posix(path: str, folder: str) -> str:
    """``path`` relative to ``folder`` with slashes; unchanged (with slashes) when it is not below it."""
    prefix = folder if folder.endswith(os.sep) else folder + os.sep
    if path.startswith(prefix):
        path = path[len(prefix) :]
    return path.replace(os.sep, "/")


class Patterns:
    """Globs as in ruff's settings: they match a base name or a path; ``*`` also crosses folders."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._names: set[str] = set()
        globs: list[str] = []
        for pattern in patterns:
            text = pattern.replace("\\", "/").removeprefix("./").rstrip("/") if pattern != "/" else pattern
            if not text:
                continue
            if "/" not in text and not any(mark in text for mark in "*?["):
                self._names.add(text)
            else:
                globs.extend(_variants(text))
        self._match = _compiled(tuple(globs)) if globs else None

    def __call__(self, relative: str, name: str | None = None) -> bool:
        """Whether the path (with slashes) or its last part matches."""
        name = relative.rpartition("/")[2] if name is None else name
        if name in self._names or relative in self._names:
            return True
        match = self._match
        return match is not None and (match(name) is not None or match(relative) is not None)


def _variants(pattern: str) -> list[str]:
    """``a/**/b`` also stands for ``a/b``, ``a/**`` for everything below ``a`` and ``a`` itself."""
    variants = [pattern]
    if "**/" in pattern:
        variants.append(pattern.replace("**/", ""))
    if pattern.endswith("/**"):
        variants.append(pattern[:-3])
    return variants


@lru_cache(maxsize=64)
def _compiled(globs: tuple[str, ...]) -> Callable[[str], re.Match[str] | None]:
    return re.compile("|".join(f"(?:{fnmatch.translate(glob)})" for glob in globs)).match
