"""``nnaudit audit``: source and run settle each other. Each script says what must come out at its marked lines.

A line ends in ``# <-- NNxxx verdict``. What the source alone is wrong or unsure about, the run settles, both ways.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Commands, write

MARK = re.compile(r"# <-- (NN\d+) (confirmed|refuted|observed|claimed)$", re.MULTILINE)

HEAD = """
import functools
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

torch.manual_seed(0)
x = torch.randn(320, 8)
y = (x @ torch.randn(8, 3)).argmax(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        return self.head(self.body(x))

"""
LOOP = """
for epoch in range(3):
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
"""
PLAIN = """
model = Net()
loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
"""

CASES = {
    # A decorator is not followed by the scan: it takes the body's word for it.
    "a decorator turns probabilities into logarithms": HEAD
    + """
def logarithms(function):
    @functools.wraps(function)
    def inner(*args):
        return torch.log(function(*args))
    return inner


class Probabilities(Net):
    @logarithms
    def forward(self, x):
        return torch.softmax(self.head(self.body(x)), dim=1)
"""
    + PLAIN.replace("Net()", "Probabilities()")
    + LOOP.replace(", labels)\n", ", labels)  # <-- NN302 refuted\n"),
    "probabilities stay probabilities": HEAD
    + """
class Probabilities(Net):
    def forward(self, x):
        return torch.softmax(self.head(self.body(x)), dim=1)
"""
    + PLAIN.replace("Net()", "Probabilities()")
    + LOOP.replace(", labels)\n", ", labels)  # <-- NN302 confirmed\n"),
    "a decorator clears the gradients": HEAD
    + """
def clearing(function):
    @functools.wraps(function)
    def inner(model, optimizer, *batch):
        optimizer.zero_grad()
        return function(model, optimizer, *batch)
    return inner


@clearing
def step(model, optimizer, inputs, labels):
    loss = F.cross_entropy(model(inputs), labels)
    loss.backward()  # <-- NN505 refuted
    optimizer.step()
"""
    + PLAIN
    + """
for epoch in range(3):
    for inputs, labels in loader:
        step(model, optimizer, inputs, labels)
""",
    "nothing clears the gradients": HEAD
    + PLAIN
    + LOOP.replace("        optimizer.zero_grad()\n", "").replace("backward()", "backward()  # <-- NN505 confirmed"),
    "a decorator switches to evaluation": HEAD
    + """
def evaluating(function):
    @functools.wraps(function)
    def inner(model, *args):
        model.eval()
        result = function(model, *args)
        model.train()
        return result
    return inner


@evaluating
@torch.no_grad()
def accuracy(model, loader):
    return sum((model(inputs).argmax(1) == labels).sum() for inputs, labels in loader)  # <-- NN501 refuted
"""
    + PLAIN
    + LOOP
    + """    print(accuracy(model, DataLoader(TensorDataset(x[:64], y[:64]), batch_size=32)))
""",
    "an evaluation in training mode": HEAD
    + """
@torch.no_grad()
def accuracy(model, loader):
    right = 0
    for inputs, labels in loader:
        right += (model(inputs).argmax(1) == labels).sum()  # <-- NN501 confirmed
    return right
"""
    + PLAIN
    + """held_out = DataLoader(TensorDataset(x[:64] + 1, y[:64]), batch_size=8)
"""
    + LOOP
    + """    print(accuracy(model, held_out))
""",
    "a decorator gives the optimizer the rest of the parameters": HEAD
    + """
def with_head(function):
    @functools.wraps(function)
    def inner(model):
        optimizer = function(model)
        optimizer.add_param_group({"params": model.head.parameters()})
        return optimizer
    return inner


@with_head
def make(model):
    return torch.optim.Adam(model.body.parameters(), lr=1e-2)  # <-- NN401 refuted


model = Net()
loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
optimizer = make(model)
"""
    + LOOP,
    "the optimizer lacks a part": HEAD
    + """
model = Net()
loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
optimizer = torch.optim.Adam(model.body.parameters(), lr=1e-2)  # <-- NN401 confirmed
"""
    + LOOP,
    "the shuffle comes from a variable": HEAD
    + """
import json
settings = json.loads('{"shuffle": false}')
order = y.argsort()
model = Net()
loader = DataLoader(TensorDataset(x[order], y[order]), batch_size=16, shuffle=settings["shuffle"])  # <-- NN101 observed
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
"""
    + LOOP,
    "a decorator gives prediction and target one shape": HEAD
    + """
def flat(function):
    @functools.wraps(function)
    def inner(*args):
        return function(*args).squeeze(1)
    return inner


class Regressor(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(8, 1)

    @flat
    def forward(self, x):
        return self.out(x)


model = Regressor()
loader = DataLoader(TensorDataset(x, x[:, 0]), batch_size=16, shuffle=True)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
"""
    + LOOP.replace("F.cross_entropy(model(inputs), labels)", "F.mse_loss(model(inputs), labels)  # <-- NN307 refuted"),
    "prediction and target have two shapes": HEAD
    + """
model = nn.Linear(8, 1)
loader = DataLoader(TensorDataset(x, x[:, 0]), batch_size=16, shuffle=True)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
"""
    + LOOP.replace(
        "F.cross_entropy(model(inputs), labels)", "F.mse_loss(model(inputs), labels)  # <-- NN307 confirmed"
    ),
    # The absence of a finding in the run must not refute: the branch is not taken in it.
    "a branch that this run does not take": HEAD
    + """
import sys


def finish(model, loader):
    with torch.no_grad():
        return sum((model(inputs).argmax(1) == labels).sum() for inputs, labels in loader)  # <-- NN501 claimed
"""
    + PLAIN
    + LOOP
    + """
if "--evaluate" in sys.argv:
    print(finish(model, DataLoader(TensorDataset(x[:64], y[:64]), batch_size=32)))
""",
    "a preflight is too short to say anything of later epochs": HEAD
    + """
stored = torch.load("train.pt")
model = Net()
loader = DataLoader(TensorDataset(*stored), batch_size=16)  # <-- NN101 claimed
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
"""
    + LOOP,
}


@pytest.fixture(scope="module")
def nnaudit() -> Iterator[Commands]:
    pytest.importorskip("torch")
    commands = Commands()
    yield commands
    commands.close()


def audited(nnaudit: Commands, folder: Path, *options: str) -> list[tuple[str, int, str]]:
    """(code, row, verdict) of every finding that counts."""
    nnaudit(
        "audit", "--probe-budget", "4", "--output-format", "json", "--output-file", "found.json", *options, "train.py",
        folder=folder,
    )  # fmt: skip
    found = json.loads((folder / "found.json").read_text())
    return [(f["code"], f["location"]["row"], f["verdict"]) for f in found]


@pytest.mark.parametrize("name", CASES)
def test_source_and_run_settle_each_other(nnaudit: Commands, tmp_path: Path, name: str) -> None:
    text = CASES[name].lstrip("\n")
    write(tmp_path / "train.py", text)
    write(tmp_path / "pyproject.toml", "")
    torch = pytest.importorskip("torch")
    torch.save([torch.randn(320, 8), torch.randint(3, (320,))], tmp_path / "train.pt")
    wanted = [(m[1], text.count("\n", 0, m.start()) + 1, m[2]) for m in MARK.finditer(text)]
    assert wanted
    found = audited(nnaudit, tmp_path, *(("--steps", "10") if "preflight" in name else ()))
    assert [each for each in found if each[0] == wanted[0][0]] == [each for each in wanted if each[2] != "refuted"]
    for code, row, _ in (each for each in wanted if each[2] == "refuted"):
        text = nnaudit("audit", "--probe-budget", "1", "train.py", folder=tmp_path).err
        assert re.search(rf"train\.py:{row}: {code} [\w-]+: ", text), "it is listed apart, with the reason"


def test_what_other_files_hold_is_told_apart(nnaudit: Commands, tmp_path: Path) -> None:
    mistaken = CASES["nothing clears the gradients"]
    write(tmp_path / "train.py", HEAD.lstrip("\n") + PLAIN + LOOP)
    write(tmp_path / "other.py", mistaken.lstrip("\n"))
    write(tmp_path / "pyproject.toml", "")
    ended = nnaudit("audit", "--probe-budget", "1", "train.py", folder=tmp_path)
    assert ended.status == 0
    assert "1 not reached" in ended.err
    assert "other.py" in ended.err
    assert "not counted" in ended.err


def test_the_examples(nnaudit: Commands, tmp_path: Path) -> None:
    """Every planted problem that a run can show is confirmed, the repaired twin is clean."""
    root = Path(__file__).parent.parent / "examples"
    ended = nnaudit("audit", str(root / "digits" / "train.py"), "--epochs", "3", folder=tmp_path)
    assert ended.status == 1
    assert "audit: 4 confirmed, 1 claimed" in ended.err
    ended = nnaudit("audit", str(root / "digits_repaired" / "train.py"), "--epochs", "3", folder=tmp_path)
    assert ended.status == 0
    assert "audit: nothing found" in ended.err
