"""``nnaudit trace --probe`` and ``nnaudit report --probes`` as people call them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Commands, write

SCRIPT = """
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(72, 6)
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for inputs, labels in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True):
    loss = nn.functional.cross_entropy(model(inputs), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def nnaudit() -> Iterator[Commands]:
    pytest.importorskip("torch")
    commands = Commands()
    yield commands
    commands.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "train.py", SCRIPT)
    return tmp_path


def test_the_usual_experiments_need_no_name(nnaudit: Commands, folder: Path) -> None:
    ended = nnaudit("trace", "--probe", "train.py", "--probe", "x", folder=folder)
    assert ended.out == b"['--probe', 'x']\n", "what follows the script is its own"
    assert "in model  the loss reaches every parameter" in ended.err
    assert "learned by heart" in ended.err
    assert "tried     8 of 12 experiments" in ended.err, "no own function, loss and collate function, one term"
    shown = nnaudit("report", "--probes", folder=folder).out.decode()
    assert "not made  the script defines no autograd function" in shown
    assert "16×6 -> 16×16" in shown
    assert "1.ReLU" not in shown


def test_some_can_be_named(nnaudit: Commands, folder: Path) -> None:
    ended = nnaudit("trace", "--probe", "sizes,rates", "train.py", folder=folder)
    assert "tried     2 of 2 experiments" in ended.err
    ended = nnaudit("trace", "--probe=input", "--steps", "2", "train.py", folder=folder)
    assert "tried     1 of 1 experiment " in ended.err


def test_what_is_no_experiment_is_refused(nnaudit: Commands, folder: Path) -> None:
    ended = nnaudit("trace", "--probe=nonsense", "train.py", folder=folder)
    assert ended.status == 2
    assert "'nonsense' is no experiment; there are: connectivity" in ended.err


def test_help_lists_them(nnaudit: Commands, folder: Path) -> None:
    out = nnaudit("trace", "--help", folder=folder).out.decode()
    assert "connectivity" in out
    assert "search" in out


def test_a_short_budget_is_kept_and_said(nnaudit: Commands, folder: Path) -> None:
    ended = nnaudit("trace", "--probe", "all", "--probe-budget", "1", "train.py", folder=folder)
    assert "not made:" in ended.err
    assert "time" in ended.err
