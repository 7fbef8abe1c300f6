"""Comments that silence findings, and the baseline: what they hide, and what is said of those that hide nothing."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import write

from nnaudit.interfaces import cli

TRAINING = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(dim=1))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for inputs, labels in batches:
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels){comment}
        loss.backward()
        optimizer.step()
    """


@dataclass
class Scanned:
    """The exit status, and standard output and error together."""

    exit_code: int
    output: str


def scan(folder: Path, *options: str, path: str = "train.py") -> Scanned:
    command = ["scan", "--no-cache", "--jobs", "1", "--output-format", "concise", *options, str(folder / path)]
    said = io.StringIO()
    with pytest.raises(SystemExit) as stop, redirect_stdout(said), redirect_stderr(said):
        cli.main(command)
    return Scanned(int(stop.value.code or 0), said.getvalue())


def training(folder: Path, comment: str = "", head: str = "") -> Path:
    return write(folder / "train.py", head + TRAINING.format(comment=comment))


def test_it_is_found_without_a_comment(tmp_path: Path) -> None:
    training(tmp_path)
    assert scan(tmp_path).exit_code == 1


@pytest.mark.parametrize(
    "comment",
    [
        "  # nnaudit: ignore[NN302]",
        "  # nnaudit: ignore[nn302] a reason",
        "  # nnaudit: ignore[cross-entropy-on-probabilities]",
        "  # nnaudit: ignore[NN3]",
        "  # nnaudit: ignore",
        "  # noqa: E501  # nnaudit:ignore[NN302]",
        "  # nnaudit: ignore[NN302] why  # type: ignore",
    ],
)
def test_a_comment_silences_its_line(tmp_path: Path, comment: str) -> None:
    training(tmp_path, comment)
    result = scan(tmp_path)
    assert result.exit_code == 0, result.output
    assert "1 finding suppressed by comments" in result.output
    assert "warning" not in result.output


@pytest.mark.parametrize("row", range(3))
def test_a_comment_counts_for_the_whole_logical_line(tmp_path: Path, row: int) -> None:
    lines = ["loss = criterion(", "    model(inputs), labels", ")"]
    lines[row] += "  # nnaudit: ignore[NN302]"
    call = "        loss = criterion(model(inputs), labels){comment}"
    assert call in TRAINING
    write(tmp_path / "train.py", TRAINING.replace(call, "\n".join("        " + line for line in lines)))
    result = scan(tmp_path)
    assert result.exit_code == 0
    assert "1 finding suppressed" in result.output


@pytest.mark.parametrize("comment", ["# nnaudit: ignore-file[NN302] for a reason", "# nnaudit: ignore-file"])
def test_a_comment_silences_its_file(tmp_path: Path, comment: str) -> None:
    training(tmp_path, head=f"    {comment}\n")
    assert scan(tmp_path).exit_code == 0


def test_only_its_line_and_its_rule(tmp_path: Path) -> None:
    training(tmp_path, "  # nnaudit: ignore[NN501]")
    result = scan(tmp_path)
    assert result.exit_code == 1
    assert "train.py:10: unused suppression of NN501: there is nothing to silence; remove it" in result.output


def test_of_several_the_idle_ones_are_named(tmp_path: Path) -> None:
    training(tmp_path, "  # nnaudit: ignore[NN302, NN501, NN509]")
    result = scan(tmp_path)
    assert result.exit_code == 0
    assert "unused suppression of NN501, NN509:" in result.output


def test_rules_that_did_not_run_or_only_watch_are_not_missed(tmp_path: Path) -> None:
    training(tmp_path, "  # nnaudit: ignore[NN302, NN501, NN608]")
    assert "warning" not in scan(tmp_path, "--select", "NN302").output


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ("# nnaudit: ignore[NN999]", "unknown rule 'NN999' in a suppression"),
        ("# nnaudit: ignore NN302", "write `# nnaudit: ignore[NN302]`"),
        ("# nnaudit: ignore[]", "the brackets are empty"),
        ("# nnaudit: disable[NN302]", "nnaudit knows no comment 'disable'"),
    ],
)
def test_what_is_written_wrongly_is_said_and_silences_nothing(tmp_path: Path, comment: str, said: str) -> None:
    training(tmp_path, "  " + comment)
    result = scan(tmp_path)
    assert result.exit_code == 1
    assert said in result.output


def test_a_comment_alone_is_told_where_to_go(tmp_path: Path) -> None:
    training(tmp_path, head="    # nnaudit: ignore[NN302]\n")
    assert "put it at the end of the line" in scan(tmp_path).output


def test_strings_are_no_comments(tmp_path: Path) -> None:
    training(tmp_path, head='    """Write # nnaudit: ignore-file[NN302] to silence it."""\n')
    assert scan(tmp_path).exit_code == 1


def test_cells_of_notebooks(tmp_path: Path) -> None:
    sources = ["%matplotlib inline\nimport torch", write(tmp_path / "x", TRAINING).read_text()]
    sources[1] = sources[1].format(comment="  # nnaudit: ignore[NN302]") + "\nx = 1  # nnaudit: ignore[NN501]"
    cells = [{"cell_type": "code", "source": source, "metadata": {}, "outputs": []} for source in sources]
    (tmp_path / "train.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5}))
    result = scan(tmp_path, path="train.ipynb")
    assert result.exit_code == 0, result.output
    assert "train.ipynb:cell 2:" in result.output
    assert "unused suppression of NN501" in result.output


def test_a_baseline_hides_what_is_known(tmp_path: Path) -> None:
    training(tmp_path)
    known = str(tmp_path / "known.json")
    assert scan(tmp_path, "--write-baseline", known).exit_code == 0
    result = scan(tmp_path, "--baseline", known)
    assert result.exit_code == 0, result.output
    assert "1 finding known from the baseline" in result.output
    # Lines move, the finding stays the same.
    training(tmp_path, head="    import os\n\n    print(os.getcwd())\n")
    assert scan(tmp_path, "--baseline", known).exit_code == 0


def test_a_new_finding_of_the_same_kind_is_shown(tmp_path: Path) -> None:
    training(tmp_path)
    known = str(tmp_path / "known.json")
    scan(tmp_path, "--write-baseline", known)
    text = (tmp_path / "train.py").read_text()
    (tmp_path / "train.py").write_text(text + "    second = criterion(model(inputs), labels)\n    second.backward()\n")
    result = scan(tmp_path, "--baseline", known, "--select", "NN302")
    assert result.exit_code == 1
    assert result.output.count(" NN302 ") == 1


def test_what_was_paid_off_is_said(tmp_path: Path) -> None:
    training(tmp_path)
    known = str(tmp_path / "known.json")
    scan(tmp_path, "--write-baseline", known)
    write(tmp_path / "train.py", "import torch")
    assert "1 finding of the baseline no longer found" in scan(tmp_path, "--baseline", known).output
    # What was not looked at is not paid off.
    write(tmp_path / "other.py", "import torch")
    training(tmp_path)
    assert "no longer" not in scan(tmp_path, "--baseline", known, path="other.py").output


@pytest.mark.parametrize("text", [None, "nonsense", "[]", '{"version": 99, "findings": []}'])
def test_a_bad_baseline_is_one_clear_line(tmp_path: Path, text: str | None) -> None:
    training(tmp_path)
    known = tmp_path / "known.json"
    if text is not None:
        known.write_text(text)
    result = scan(tmp_path, "--baseline", str(known))
    assert result.exit_code == 2
    assert result.output.count("error:") == 1
    assert "baseline" in result.output


def test_the_configuration_may_name_a_baseline(tmp_path: Path) -> None:
    training(tmp_path)
    (tmp_path / "nnaudit.toml").write_text('baseline = "known.json"\n')
    scan(tmp_path, "--write-baseline", str(tmp_path / "known.json"))
    assert scan(tmp_path).exit_code == 0
