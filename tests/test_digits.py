"""The example project: five planted problems at the right lines, and silence on the repaired twin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support import places, scan_files

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

PLANTED = {
    ("NN101", "data.py", "train_loader = DataLoader("),
    ("NN201", "data.py", "StandardScaler().fit_transform"),
    ("NN302", "train.py", "self.criterion(self.model(images), labels)"),
    ("NN402", "model.py", "self.blocks ="),
    ("NN501", "train.py", "predicted = self.model(images)"),
}


def project(name: str) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((EXAMPLES / name).glob("*.py"))}


def row_of(text: str, source: str) -> int:
    (row,) = [row for row, line in enumerate(source.splitlines(), 1) if text in line]
    return row


def test_the_planted_problems_are_found(tmp_path: Path) -> None:
    files = project("digits")
    expected = sorted((code, path, row_of(text, files[path])) for code, path, text in PLANTED)
    assert places(scan_files(files, tmp_path), tmp_path) == expected


def test_the_repaired_twin_is_silent(tmp_path: Path) -> None:
    assert places(scan_files(project("digits_repaired"), tmp_path), tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "low", "high"), [("digits", 0.0, 0.9), ("digits_repaired", 0.95, 1.0)])
def test_the_project_trains(name: str, low: float, high: float) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    done = subprocess.run(
        [sys.executable, "-B", "train.py"],
        cwd=EXAMPLES / name,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert low <= float(done.stdout.split()[-1]) <= high
