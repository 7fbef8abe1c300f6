"""Which files are read, and how their text is read."""

from __future__ import annotations

import codecs
import json
import os
from pathlib import Path

import pytest

from nnaudit.analyzer import discover
from nnaudit.analyzer.config import Config, load
from nnaudit.analyzer.source import Unreadable, decode, display_name, mask, read


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    return folder


def found(folder: Path, *paths: str, config: Config | None = None) -> list[str]:
    result = discover.discover([folder / path for path in paths or [""]], config or load(folder))
    assert result.problems == ()
    return [path.relative_to(folder).as_posix() for path in result.reported]


def test_folders_are_walked_and_pruned(tmp_path: Path) -> None:
    tree(tmp_path, "b.py", "a/z.py", "a/y.py", ".venv/x.py", "a/build/x.py", "lib/site-packages/x.py", "a/notes.txt")
    tree(tmp_path, "a/note.ipynb", "a/t.pyi")
    assert found(tmp_path) == ["a/note.ipynb", "a/y.py", "a/z.py", "b.py"]


def test_named_paths_are_always_taken(tmp_path: Path) -> None:
    tree(tmp_path, ".venv/lib/x.py", "script", "a/skip.py", "build/made/y.py")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("skip.py\nbuild/\n*.py\n")
    config = Config(tmp_path, extend_exclude=("skip.py",))
    assert found(tmp_path, ".venv/lib", config=Config(tmp_path, respect_gitignore=False)) == [".venv/lib/x.py"]
    assert found(tmp_path, "script", "a/skip.py", config=config) == ["a/skip.py", "script"]
    (tmp_path / ".gitignore").write_text("build/\n")
    assert found(tmp_path, "build") == ["build/made/y.py"]
    assert found(tmp_path, "build/made") == ["build/made/y.py"]


def test_gitignore_files_nest(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    tree(
        tmp_path, "keep.py", "drop.py", "a/drop.py", "a/b/own.py", "a/b/drop.py", "out/x.py", "a/out.py", "deep/only.py"
    )
    (tmp_path / ".gitignore").write_text("drop.py\n/out/\nbroken[\n")
    (tmp_path / "a" / "b").joinpath(".gitignore").write_text("own.py\n!drop.py\n")
    assert found(tmp_path) == ["a/b/drop.py", "a/out.py", "deep/only.py", "keep.py"]
    assert found(tmp_path, "a/b") == ["a/b/drop.py"], "files above the named folder count too"
    everything = found(tmp_path, config=Config(tmp_path, respect_gitignore=False))
    assert len(everything) == 8
    (tmp_path / ".git" / "info").mkdir()
    (tmp_path / ".git" / "info" / "exclude").write_text("keep.py\n")
    assert "keep.py" not in found(tmp_path)


def test_include_and_exclude(tmp_path: Path) -> None:
    tree(tmp_path, "a.py", "b.ipynb", "old/c.py", "docs/conf.py")
    (tmp_path / "nnaudit.toml").write_text('include = ["*.py", "*.ipynb"]\nextend-exclude = ["old", "docs/conf.py"]\n')
    assert found(tmp_path) == ["a.py", "b.ipynb"]


def test_missing_path_is_a_problem_and_does_not_widen_the_project(tmp_path: Path) -> None:
    tree(tmp_path, "p/a.py", "p/setup.py")
    result = discover.discover([tmp_path / "p", Path("/no/such/place.py")], Config(tmp_path))
    assert [str(problem) for problem in result.problems] == ["/no/such/place.py: does not exist; check the path"]
    assert result.root == tmp_path / "p"
    assert len(result.reported) == 2


def test_unsaved_files_need_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "new.py"
    result = discover.discover([path], Config(tmp_path), {path: "x = 1"})
    assert result.reported == (path,)
    assert result.problems == ()


def test_duplicates_are_reported_once(tmp_path: Path) -> None:
    tree(tmp_path, "a/x.py")
    assert found(tmp_path, "", "a", "a/x.py", "a/../a/x.py") == ["a/x.py"]


@pytest.mark.parametrize("marker", ["pyproject.toml", "nnaudit.toml", "setup.py", "setup.cfg", ".git/HEAD"])
def test_root_is_the_nearest_project(tmp_path: Path, marker: str) -> None:
    tree(tmp_path, "p/src/deep/a.py", "p/src/b.py", f"p/{marker}")
    assert discover.find_root([tmp_path / "p/src/deep/a.py"]) == tmp_path / "p"
    assert discover.find_root([tmp_path / "p/src/deep", tmp_path / "p/src/b.py"]) == tmp_path / "p"


def test_root_without_a_project_is_the_common_parent(tmp_path: Path) -> None:
    tree(tmp_path, "a/x.py", "a/b/y.py")
    assert discover.find_root([tmp_path / "a/x.py", tmp_path / "a/b/y.py"]) == tmp_path / "a"


def test_root_of_an_installed_package_is_not_the_surrounding_project(tmp_path: Path) -> None:
    tree(tmp_path, "pyproject.toml", ".venv/lib/site-packages/timm/train.py")
    package = tmp_path / ".venv/lib/site-packages/timm"
    assert discover.find_root([package]) == package


def test_home_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    tree(tmp_path, ".git/HEAD", "a/x.py", "b/y.py")
    assert discover.find_root([tmp_path / "a"]) == tmp_path / "a"
    config = Config(tmp_path, respect_gitignore=False)
    assert discover.index(tmp_path, config) == (), "scattered files do not make the whole home a project"
    assert discover.index(Path(tmp_path.anchor), config) == ()
    tree(tmp_path, "pyproject.toml")
    assert discover.find_root([tmp_path / "a"]) == tmp_path
    assert len(discover.index(tmp_path, config)) == 2


def test_index_is_the_whole_project(tmp_path: Path) -> None:
    tree(tmp_path, "train.py", "lib/model.py", "build/x.py")
    assert discover.index(tmp_path, Config(tmp_path)) == (tmp_path / "lib/model.py", tmp_path / "train.py")


def test_unlistable_folder_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a.py", "locked/b.py")
    scandir = os.scandir

    def refuse(folder: str) -> object:
        if str(folder).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(discover.os, "scandir", refuse)
    result = discover.discover([tmp_path], Config(tmp_path))
    assert [path.name for path in result.reported] == ["a.py"]
    assert "Permission denied" in result.problems[0].message


def test_linked_folders_are_not_followed(tmp_path: Path) -> None:
    tree(tmp_path, "a/x.py")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    assert found(tmp_path) == ["a/x.py"]


# ---------------------------------------------------------------------------- text


def source(folder: Path, raw: bytes, name: str = "x.py"):
    path = folder / name
    path.write_bytes(raw)
    return read(path)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("é = 1\n".encode(), "é = 1\n"),
        (codecs.BOM_UTF8 + "é = 1\n".encode(), "é = 1\n"),
        (b"# -*- coding: latin-1 -*-\nx = '\xe9'\n", "# -*- coding: latin-1 -*-\nx = 'é'\n"),
        (b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\nx = '\x80'\n", None),
        (b"a = 1\r\nb = 2\rc = 3\n", "a = 1\nb = 2\nc = 3\n"),
        (b"", ""),
    ],
)
def test_encodings(tmp_path: Path, raw: bytes, text: str | None) -> None:
    read_source = source(tmp_path, raw)
    assert read_source.raw == raw
    assert read_source.text == (text if text is not None else raw.decode("cp1252"))
    assert read_source.cells[0].number is None
    assert read_source.place(2) == (None, 2)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"x = 1\n\0", "binary file"),
        ("x = 1".encode("utf-16"), "UTF-16"),
        (b"x = 1\ny = '\xff'\n", "not valid utf-8 (byte 0xff in row 2)"),
        (b"# coding: klingon\n", "unknown encoding"),
        (b"# coding: rot13\nx = 1\n", "rot13 is not a text encoding"),
    ],
)
def test_unreadable_text(raw: bytes, expected: str) -> None:
    with pytest.raises(Unreadable) as error:
        decode(raw)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="does not exist"):
        read(tmp_path / "no.py")
    with pytest.raises(Unreadable, match="not a regular file"):
        read(tmp_path)


def test_names_are_relative_below_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert display_name(tmp_path / "here" / "a" / "x.py") == os.path.join("a", "x.py")
    assert display_name(tmp_path / "hereafter.py") == str(tmp_path / "hereafter.py")


def test_overlay_goes_before_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("old")
    assert read(path, {path: "new\r\n"}).text == "new\n"


def notebook(*cells: tuple[str, str | list[str]]) -> bytes:
    listed = [{"cell_type": kind, "source": text, "metadata": {}} for kind, text in cells]
    return json.dumps({"cells": listed, "nbformat": 4}).encode()


def test_notebook_cells(tmp_path: Path) -> None:
    raw = notebook(
        ("markdown", "# title"),
        ("code", ["%matplotlib inline\n", "import torch\n"]),
        ("code", "x = (7\n     % 2)"),
        ("code", "%%bash\nls\npwd"),
        ("code", "!pip install \\\n  torch\ny = 2"),
    )
    read_source = source(tmp_path, raw, "n.ipynb")
    assert read_source.text == "pass\nimport torch\nx = (7\n     % 2)\npass\npass\npass\npass\npass\ny = 2\n"
    assert [read_source.place(row) for row in (1, 2, 4, 5, 7, 10)] == [(2, 1), (2, 2), (3, 2), (4, 1), (4, 3), (5, 3)]
    assert read_source.lines(2) == ["%matplotlib inline", "import torch"]
    compile(read_source.text, "n", "exec")


def test_masking_keeps_rows_and_indentation() -> None:
    assert mask("if x:\n    !ls\n    files = !ls\nfoo?\n?foo\nz = 1") == "if x:\n    pass\n    pass\npass\npass\nz = 1"
    assert mask("%%time\nx = 1") == "pass\nx = 1"
    assert mask("for e in range(3):\n    %time train(e)\n%time") == "for e in range(3):\n    train(e)\npass"


def test_half_a_character_in_a_notebook_is_replaced(tmp_path: Path) -> None:
    raw = notebook(("code", "print('x')")).replace(b"'x'", b"'\\udd0d'")
    path = tmp_path / "cut.ipynb"
    path.write_bytes(raw)
    text = read(path).text
    assert text.encode().decode() == text
    assert "print('\ufffd')" in text


@pytest.mark.parametrize("raw", [b"{", b"[]", b"{}", b'{"cells": [1]}', b"\xff"])
def test_broken_notebooks(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(Unreadable, match="not a Jupyter notebook"):
        source(tmp_path, raw, "n.ipynb")
