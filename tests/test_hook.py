"""The pre-commit hook, installed and run by pre-commit itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nnaudit

ROOT = Path(nnaudit.__file__).resolve().parent
pytest.importorskip("nnaudit.analyzer.engine")

MODEL = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def forward(self, x):
        return torch.softmax(self.layer(x), dim=1)
"""
TRAIN = """import torch
from model import Net

model = Net()
criterion = torch.nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(loader):
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
"""


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


def repository(folder: Path) -> Path:
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--no-verify", "-m", "all")
    return folder


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree as a repository of its own, as pre-commit would clone it."""
    copy = tmp_path_factory.mktemp("hook") / "checkout"
    ignored = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", "tests")
    shutil.copytree(ROOT, copy, ignore=ignored)
    return repository(copy)


def try_hook(hook: Path, project: Path, store: Path, *files: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PYTHONPATH"))}
    constraints = f"{ROOT / 'constraints.txt'}"
    command = [sys.executable, "-m", "pre_commit", "try-repo", str(hook), "nnaudit", "--verbose", "--files", *files]
    return subprocess.run(
        command,
        cwd=project,
        env={**environment, "PRE_COMMIT_HOME": str(store), "PIP_CONSTRAINT": constraints, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def test_single_files_keep_facts_across_files(hook: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "model.py").write_text(MODEL)
    (project / "train.py").write_text(TRAIN)
    repository(project)
    run = try_hook(hook, project, tmp_path / "store", "train.py")
    assert run.returncode == 1, run.stdout + run.stderr
    assert "train.py:12:16: NN302 [certain]" in run.stdout
    assert "model.py:11:16" in run.stdout, "the softmax is in a file that pre-commit did not name"
    assert "model.py:11:16: NN" not in run.stdout, "what was not named is not reported"

    (project / "model.py").write_text(MODEL.replace("torch.softmax(self.layer(x), dim=1)", "self.layer(x)"))
    run = try_hook(hook, project, tmp_path / "store", "train.py")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Passed" in run.stdout
