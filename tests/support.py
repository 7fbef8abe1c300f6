"""What tests of the analysis share: a scan of a few files, and where it found something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nnaudit.analyzer import engine
from nnaudit.analyzer.config import Config
from nnaudit.rules import discover
from nnaudit.rules.finding import Confidence, Finding, Severity


def scan_files(files: Mapping[str, str], tmp_path: Path, select: Sequence[str] | None = None) -> list[Finding]:
    """The findings that a user sees by default (certain, no mere advice) in these files.

    ``select`` holds codes; without it all rules are run. A file that cannot be read or parsed fails.
    """
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "pyproject.toml").touch()  # the project ends here, whatever lies above the temporary folder
    rules = [rule() for rule in discover() if select is None or rule.code in select]
    result = engine.scan([tmp_path], rules, Config(folder=tmp_path))
    assert not result.problems, "\n".join(map(str, result.problems))
    return [f for f in result.findings if f.confidence is Confidence.CERTAIN and f.severity is not Severity.INFO]


def places(findings: Iterable[Finding], folder: Path) -> list[tuple[str, str, int]]:
    """(code, path below the folder, row) of each finding, sorted; a finding reported twice counts twice."""
    return sorted((f.code, _below(f.place.filename, folder), f.place.location.row) for f in findings)


def _below(filename: str, folder: Path) -> str:
    return (Path.cwd() / filename).resolve().relative_to(folder.resolve()).as_posix()
