"""Which files are read: those to be reported, and those of the whole project for facts across files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pathspec

from .config import DEFAULT_EXCLUDE, Config, Patterns, ancestors, home, relative_posix
from .result import Problem

ROOT_FILES = ("pyproject.toml", "nnaudit.toml", "setup.py", "setup.cfg")
SOURCE_SUFFIXES = (".py", ".ipynb")


@dataclass(frozen=True, slots=True)
class Discovery:
    """The project's root, the files to be reported (absolute, sorted), and what could not be found."""

    root: Path
    reported: tuple[Path, ...]
    problems: tuple[Problem, ...] = ()


def discover(paths: Sequence[Path], config: Config, overlay: Collection[Path] = ()) -> Discovery:
    """The files that the user means by ``paths``.

    A file named explicitly is always taken, an existing folder is always entered; below a folder the
    configuration's patterns and .gitignore decide. Paths in ``overlay`` (unsaved text) need not exist.
    """
    reported: set[str] = set()
    problems: list[Problem] = []
    unsaved = {os.path.abspath(path) for path in overlay}
    for path in paths:
        absolute = os.path.abspath(path)
        if absolute in unsaved:
            reported.add(absolute)
        elif os.path.isdir(absolute):
            reported.update(_walk(absolute, config, problems))
        elif os.path.exists(absolute):
            reported.add(absolute)
        else:
            problems.append(Problem(os.fspath(path), "does not exist; check the path"))
    return Discovery(find_root(paths), tuple(map(Path, sorted(reported))), tuple(problems))


def index(root: Path, config: Config) -> tuple[Path, ...]:
    """Every source file of the project under ``root``, whether reported or not.

    Nothing for a root that is no project: the disk's root, a home directory or a folder above it.
    They become the common parent of scattered files, and nobody wants them to be read as a whole.
    """
    if is_too_wide(root) and not is_project(root):
        return ()
    found = _walk(os.path.abspath(root), config, [])
    # Nothing imports a notebook: it tells nothing about other files.
    return tuple(map(Path, sorted(path for path in found if path.endswith(".py"))))


def common_parent(paths: Iterable[Path | str]) -> Path:
    """The deepest folder that holds all ``paths``; the current directory for none.

    Paths whose folder does not exist do not count: a misspelt one must not widen the project.
    """
    folders = [folder for path in paths if (folder := _folder_of(os.path.abspath(path))) is not None]
    if not folders:
        return Path.cwd()
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:  # different drives
        return Path(folders[0])


def _folder_of(absolute: str) -> str | None:
    """The folder itself, or a file's folder."""
    folder = absolute if os.path.isdir(absolute) else os.path.dirname(absolute)
    return folder if os.path.isdir(folder) else None


def find_root(paths: Iterable[Path | str]) -> Path:
    """The project's root: the nearest folder upwards with a project file or .git, else the common parent.

    The search does not leave an installed package for the project that surrounds its environment, and
    a .git in the home directory (dotfiles) does not make the whole home a project.
    """
    start = common_parent(paths)
    for folder in ancestors(start):
        if is_project(folder):
            return folder
        if folder.name in DEFAULT_EXCLUDE:
            break
    return start


def is_project(folder: Path) -> bool:
    """Whether a project begins in this folder."""
    if any((folder / name).is_file() for name in ROOT_FILES):
        return True
    return folder != home() and (folder / ".git").exists()


def is_too_wide(folder: Path) -> bool:
    """Whether the folder is the disk's root, the home directory, or above it."""
    own = home()
    return folder.parent == folder or (own is not None and own.is_relative_to(folder))


def _walk(top: str, config: Config, problems: list[Problem]) -> Iterator[str]:
    """Source files below the folder ``top``; excluded folders are not even opened."""
    excluded, included = Patterns(config.excluded), Patterns(config.include)
    base = os.fspath(config.folder)
    ignores = _inherited_ignores(top) if config.respect_gitignore else ()
    stack: list[tuple[str, tuple[_Ignore, ...]]] = [(top, ignores)]
    while stack:
        folder, rules = stack.pop()
        try:
            with os.scandir(folder) as entries:
                listing = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            problems.append(Problem(folder, f"cannot be listed ({error.strerror or error})"))
            continue
        if config.respect_gitignore and any(entry.name == ".gitignore" for entry in listing):
            rules = (*rules, _Ignore(folder, os.path.join(folder, ".gitignore")))
        for entry in listing:
            is_folder = entry.is_dir(follow_symlinks=False)
            if not is_folder and not entry.name.endswith(SOURCE_SUFFIXES):
                continue
            relative = relative_posix(entry.path, base)
            if excluded(relative, entry.name) or _ignored(entry.path, is_folder, rules):
                continue
            if is_folder:
                stack.append((entry.path, rules))
            elif included(relative, entry.name) and entry.is_file():
                yield entry.path


class _Ignore:
    """One file of git's ignore patterns; they are relative to ``folder``."""

    def __init__(self, folder: str, file: str) -> None:
        self._prefix = folder if folder.endswith(os.sep) else folder + os.sep
        try:
            with open(file, encoding="utf-8", errors="replace") as stream:
                lines = [line.rstrip("\r\n") for line in stream]
        except OSError:
            lines = []
        self._spec = pathspec.GitIgnoreSpec.from_lines(_valid(lines))

    def decides(self, path: str, is_folder: bool) -> bool | None:
        """True: ignored; False: taken back by ``!``; None: not mentioned."""
        if not path.startswith(self._prefix):
            return None
        relative = path[len(self._prefix) :].replace(os.sep, "/")
        return self._spec.check_file(relative + "/" if is_folder else relative).include


def _valid(lines: list[str]) -> list[str]:
    """The lines that git itself would accept: a broken pattern matches nothing."""
    try:
        pathspec.GitIgnoreSpec.from_lines(lines)
    except ValueError:
        return [line for line in lines if _is_valid(line)]
    return lines


def _is_valid(line: str) -> bool:
    try:
        pathspec.GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def _ignored(path: str, is_folder: bool, rules: tuple[_Ignore, ...]) -> bool:
    """The deepest file that mentions the path decides, as in git."""
    for rule in reversed(rules):
        decision = rule.decides(path, is_folder)
        if decision is not None:
            return decision
    return False


def _inherited_ignores(top: str) -> tuple[_Ignore, ...]:
    """The ignore files above ``top``, up to the repository's root.

    Those that ignore ``top`` itself do not count: who names an ignored folder wants it to be read.
    """
    chain: list[str] = []
    repository = None
    for folder in ancestors(Path(top)):
        chain.append(os.fspath(folder))
        if (folder / ".git").exists():
            repository = folder
            break
    if repository is None:
        return ()
    rules = []
    exclude = repository / ".git" / "info" / "exclude"
    if exclude.is_file():
        rules.append(_Ignore(os.fspath(repository), os.fspath(exclude)))
    for parent in reversed(chain[1:]):
        file = os.path.join(parent, ".gitignore")
        if os.path.isfile(file):
            rules.append(_Ignore(parent, file))
    return tuple(rule for rule in rules if not _ignores_folder(rule, top, os.fspath(repository)))


def _ignores_folder(rule: _Ignore, top: str, repository: str) -> bool:
    """Whether ``top`` or a folder between the repository and ``top`` is ignored by ``rule``."""
    folder = top
    while len(folder) > len(repository):
        if rule.decides(folder, True):
            return True
        folder = os.path.dirname(folder)
    return False
