"""Numbers that a script logs: real loggers, their own behaviour unchanged; which finding explains which."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("torch")

from nnaudit.rules.finding import Confidence, Finding, Line, Severity
from nnaudit.rules.loss.no_better_than_constant import NoBetterThanConstant
from nnaudit.rules.rule import Rule
from nnaudit.tracer.judge import judge, ranked
from nnaudit.tracer.run import Metric, Run
from nnaudit.tracer.store import load

TRAINING = """
    import sys
    import torch
    from torch import nn
    {imports}

    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    {before}
    for step in range(8):
        x = torch.randn(16, 4)
        optimizer.zero_grad()
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
        {log}
    {after}
"""


def metrics_of(folder: Path, **parts: str) -> dict[str, Metric]:
    """What the record of a traced run of the script says was logged."""
    script = folder / "train.py"
    script.write_text(textwrap.dedent(TRAINING).format(**{"imports": "", "before": "", "after": "", **parts}))
    command = [sys.executable, "-m", "nnaudit", "trace", "--run-dir", "run", "train.py"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return {metric.name: metric for metric in load(folder / "run" / "rank0.sqlite").metrics}


def test_tensorboard(tmp_path: Path) -> None:
    found = metrics_of(
        tmp_path,
        imports="from torch.utils.tensorboard import SummaryWriter",
        before="writer = SummaryWriter('logs')",
        log="writer.add_scalar('train/loss', loss, step); writer.add_scalars('both', {'a': step, 'b': 2.0}, step)",
        after="writer.close()",
    )
    assert found["train/loss"].count == 8
    assert found["train/loss"].last < found["train/loss"].first
    assert (found["both/a"].low, found["both/a"].high, found["both/b"].last) == (0, 7, 2)
    assert list((tmp_path / "logs").glob("events*"))  # and it was written as ever


def test_progress_bar(tmp_path: Path) -> None:
    found = metrics_of(
        tmp_path,
        imports="from tqdm import tqdm",
        before="bar = tqdm(total=8)",
        log="bar.set_postfix({'loss': loss.item(), 'text': 'x'}, acc=f'{step / 10:.2f}')",
    )
    assert found["acc"].high == pytest.approx(0.7)
    assert found["loss"].count == 8
    assert "text" not in found
    rows = (tmp_path / "train.py").read_text().splitlines()
    assert found["acc"].line is not None
    assert "set_postfix" in rows[found["acc"].line.row - 1]


class Cause(Rule):
    code, name, points, severity = "NN999", "cause", (), Severity.ERROR

    def watch(self, run: Run) -> list[Finding]:  # type: ignore[override]
        return [self.finding(Line("train.py", 7, ""), "cause.", "Mend it.")]


class Symptom(NoBetterThanConstant):
    def watch(self, run: Run) -> list[Finding]:  # type: ignore[override]
        return [self.finding(Line("train.py", 3, ""), "symptom.", "Look.", confidence=Confidence.CERTAIN)]


def test_a_symptom_names_its_cause_and_comes_last() -> None:
    found = judge(Run(), [Symptom(), Cause()])
    assert [f.code for f in found] == ["NN313", "NN999"]  # by place
    symptom = found[0]
    assert symptom.explained_by == "NN999"
    assert "explains it" in symptom.evidence[-1].message
    assert [f.code for f in ranked(found)] == ["NN999", "NN313"]
    (alone,) = judge(Run(), [Symptom()])
    assert not alone.explained_by
