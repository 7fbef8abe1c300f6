"""Rewrites do not fool nnaudit: the findings of every example survive them; an unreadable call silences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rewrites import REWRITES, Project
from rewrites.silence import FIXED, hand_over
from support import scan_files

from nnaudit.rules import discover
from nnaudit.rules.finding import Finding
from nnaudit.rules.rule import FINDING_MARK, Example, Rule

Places = set[tuple[str, int]]


def examples(*kinds: str) -> Iterator[tuple[str, type[Rule], Example]]:
    """Every example of every rule with a readable identity."""
    for rule in discover():
        for kind in kinds:
            for number, example in enumerate(getattr(rule, kind)):
                yield f"{rule.code}-{kind}{number}", rule, example


def cases(*kinds: str) -> list[object]:
    return [pytest.param(rule, example, id=name) for name, rule, example in examples(*kinds)]


def marked(files: Project, code: str) -> Places:
    return {
        (path, row)
        for path, source in files.items()
        for row, line in enumerate(source.splitlines(), 1)
        if FINDING_MARK + code in line
    }


def found(files: Project, rule: type[Rule], folder: Path) -> Places:
    """Where the rule speaks, by path in the project and row."""
    findings: list[Finding] = scan_files(files, folder, select=[rule.code], own=rule.code)
    return {(_inner(f.place.filename, folder), f.place.location.row) for f in findings if f.code == rule.code}


def _inner(filename: str, folder: Path) -> str:
    path = Path(filename)
    absolute = path if path.is_absolute() else Path.cwd() / path
    return absolute.resolve().relative_to(folder.resolve()).as_posix()


@pytest.mark.parametrize("rewrite", REWRITES)
@pytest.mark.parametrize(("rule", "example"), cases("bad", "good"))
def test_findings_do_not_change(rule: type[Rule], example: Example, rewrite: str, tmp_path: Path) -> None:
    files = REWRITES[rewrite](example.files)
    assert len(marked(files, rule.code)) == len(marked(example.files, rule.code)), "the rewrite lost a mark"
    for path, source in files.items():
        compile(source, path, "exec")
    assert found(files, rule, tmp_path) == marked(files, rule.code)


@pytest.mark.parametrize(("rule", "example"), cases("bad"))
def test_an_unreadable_call_silences(rule: type[Rule], example: Example, tmp_path: Path) -> None:
    if rule.code in FIXED:
        pytest.skip(FIXED[rule.code])
    files = hand_over(example.files, rule.code)
    for path, source in files.items():
        compile(source, path, "exec")
    assert not found(files, rule, tmp_path)


def test_rewrites_change_something() -> None:
    """A rewrite that returns everything as it was would prove nothing."""
    for name, rewrite in REWRITES.items():
        changed = sum(rewrite(example.files) != example.files for _, _, example in examples("bad"))
        assert changed, name
