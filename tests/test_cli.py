"""The command line: what it prints where, and its exit status."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from house import RULES, use_house_engine

import nnaudit
from nnaudit.interfaces import cli


@dataclass
class Run:
    status: int
    out: str
    err: str


Invoke = Callable[..., Run]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one certain finding in bad.py, one likely and one advice in maybe.py."""
    use_house_engine(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    (tmp_path / "bad.py").write_text("x = 1\ny = BUG\n")
    (tmp_path / "maybe.py").write_text("z = MAYBE\nw = SEED\n")
    (tmp_path / "good.py").write_text("x = 1\n")
    return tmp_path


@pytest.fixture
def invoke(project: Path, capsys: pytest.CaptureFixture[str]) -> Invoke:
    def call(*arguments: str) -> Run:
        with pytest.raises(SystemExit) as stop:
            cli.main(list(arguments))
        out, err = capsys.readouterr()
        return Run(int(stop.value.code or 0), out, err)

    return call


def codes(run: Run) -> list[tuple[str, str]]:
    return [(entry["filename"], entry["code"]) for entry in json.loads(run.out)]


def test_findings_are_status_1(invoke: Invoke) -> None:
    run = invoke("scan")
    assert run.status == 1
    assert "bad.py:2:5: NN302 [certain]" in run.out
    assert "maybe.py" not in run.out, "likely findings and advice are hidden"
    assert "1 finding (1 error) in 1 file.\n" in run.out
    assert run.out.endswith("; 1 likely finding hidden (--min-confidence likely)\n")
    assert run.err == ""


def test_nothing_found_is_status_0(invoke: Invoke) -> None:
    run = invoke("scan", "good.py")
    assert (run.status, run.err) == (0, "")
    assert run.out.startswith("All checks passed.\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [("bad.py", "NN302")]),
        (["--min-confidence", "likely"], [("bad.py", "NN302"), ("maybe.py", "NN302")]),
        (["--select", "NN8"], []),
        (["--select", "NN804"], [("maybe.py", "NN804")]),
        (["--select", "unseeded-run,NN302"], [("bad.py", "NN302"), ("maybe.py", "NN804")]),
        (["--select", "ALL"], [("bad.py", "NN302"), ("maybe.py", "NN804")]),
        (["--extend-select", "NN804"], [("bad.py", "NN302"), ("maybe.py", "NN804")]),
        (["--ignore", "NN3"], []),
        (["--ignore", "NN5", "--ignore", "NN302"], []),
    ],
)
def test_rules_and_confidence(invoke: Invoke, arguments: list[str], expected: list[tuple[str, str]]) -> None:
    run = invoke("scan", "--output-format", "json", *arguments)
    assert codes(run) == expected
    assert run.status == (1 if expected else 0)


def test_exit_zero(invoke: Invoke) -> None:
    run = invoke("scan", "--exit-zero")
    assert run.status == 0
    assert "NN302" in run.out
    assert invoke("scan", "--exit-zero", "no.py").status == 2


def bad_inputs(folder: Path) -> dict[str, str]:
    (folder / "binary.py").write_bytes(b"\0\1")
    (folder / "latin.py").write_bytes(b"x = '\xe9'\n")
    (folder / "broken.py").write_text("x = (((\n")
    return {"no.py": "does not exist", "binary.py": "binary", "latin.py": "utf-8", "broken.py:1": "is not valid Python"}


def test_bad_files_are_one_line_each_and_the_rest_is_scanned(invoke: Invoke, project: Path) -> None:
    expected = bad_inputs(project)
    run = invoke("scan", "--output-format", "json", ".", "no.py")
    assert run.status == 2
    assert codes(run) == [("bad.py", "NN302")]
    lines = run.err.splitlines()
    assert len(lines) == len(expected)
    for name, message in expected.items():
        [line] = [line for line in lines if line.startswith(f"error: {name}: ")]
        assert message in line


def test_unknown_rule_offers_the_nearest(invoke: Invoke) -> None:
    run = invoke("scan", "--ignore", "cross-entropy-on-probability")
    assert run.status == 2
    assert "did you mean 'cross-entropy-on-probabilities'?" in run.err
    assert "bad.py:2:5" in run.out, "everything else is still scanned"


def test_bad_configuration(invoke: Invoke, project: Path) -> None:
    (project / "nnaudit.toml").write_text('ignroe = ["NN302"]\nextend-select = ["NN804"]\n')
    run = invoke("scan", "--output-format", "json")
    assert run.status == 2
    assert run.err == f"error: {project / 'nnaudit.toml'}: unknown key 'ignroe'; did you mean 'ignore'?\n"
    assert codes(run) == [("bad.py", "NN302"), ("maybe.py", "NN804")]
    assert "does not exist" in invoke("scan", "--config", "no.toml").err


def test_configuration_file(invoke: Invoke, project: Path) -> None:
    (project / "pyproject.toml").write_text(
        '[tool.nnaudit]\nmin-confidence = "likely"\nper-file-ignores = {"bad.py" = ["NN302"]}\n'
    )
    assert codes(invoke("scan", "--output-format", "json")) == [("maybe.py", "NN302")]
    assert codes(invoke("scan", "--output-format", "json", "--min-confidence", "certain")) == []
    (project / "other.toml").write_text("")
    assert codes(invoke("scan", "--output-format", "json", "--config", "other.toml")) == [("bad.py", "NN302")]


@pytest.mark.parametrize("format", ["full", "concise", "json", "sarif", "github"])
def test_output_file(invoke: Invoke, project: Path, format: str) -> None:
    printed = invoke("scan", "--output-format", format)
    run = invoke("scan", "--output-format", format, "--output-file", "report")
    assert (run.status, run.out) == (1, "")
    assert (project / "report").read_text() == printed.out
    assert printed.out.strip()


def test_output_file_that_cannot_be_written(invoke: Invoke) -> None:
    run = invoke("scan", "--output-file", "no/such/report")
    assert run.status == 2
    assert "cannot be written" in run.err


def test_stdin(invoke: Invoke, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def feed(raw: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))

    feed(b"BUG = 'unsaved'\n")
    run = invoke("scan", "-", "--stdin-filename", "good.py")
    assert run.status == 1
    assert "good.py:1:1: NN302" in run.out
    assert "1 | BUG = 'unsaved'" in run.out
    assert "bad.py" not in run.out
    feed(b"BUG\n")
    assert codes(invoke("scan", "-", "--output-format", "json")) == [("<stdin>", "NN302")]
    feed(b"\0")
    run = invoke("scan", "-")
    assert run.status == 2
    assert "binary" in run.err
    assert invoke("scan", "--stdin-filename", "x.py").status == 2


def test_statistics(invoke: Invoke) -> None:
    run = invoke("scan", "--statistics", "--select", "ALL")
    assert run.out.startswith("1  NN302  cross-entropy-on-probabilities\n1  NN804  unseeded-run\n")
    assert "^" not in run.out
    assert json.loads(invoke("scan", "--statistics", "--output-format", "json").out)[0]["count"] == 1
    assert invoke("scan", "--statistics", "--output-format", "sarif").status == 2


def test_show_unknown(invoke: Invoke, project: Path) -> None:
    (project / "loop.py").write_text("LOOP\n")
    assert "`mystery`" not in invoke("scan").out
    run = invoke("scan", "--show-unknown")
    assert "loop.py:2:5: not fully understood: `mystery` is not known" in run.out
    assert "3 training loops, 2 fully understood" in run.out
    run = invoke("scan", "--show-unknown", "--output-format", "json")
    json.loads(run.out)
    assert "`mystery`" in run.err


@pytest.mark.parametrize(
    "arguments",
    [["--jobs", "0"], ["--jobs", "many"], ["--output-format", "xml"], ["--min-confidence", "unsure"], ["--nonsense"]],
)
def test_wrong_usage_is_status_2(invoke: Invoke, arguments: list[str]) -> None:
    run = invoke("scan", *arguments)
    assert run.status == 2
    assert "Usage" in run.err


def test_cache_can_be_switched_off(invoke: Invoke, project: Path) -> None:
    invoke("scan", "--no-cache")
    assert not (project / ".nnaudit_cache").exists()
    first = invoke("scan")
    assert (project / ".nnaudit_cache").is_dir()
    assert invoke("scan") == first


def test_a_crash_is_not_a_finding(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("nnaudit.interfaces.scan.run", explode)
    run = invoke("scan")
    assert run.status == 2
    assert "RuntimeError: boom" in run.err
    assert "please report" in run.err


def test_interrupt(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nnaudit.interfaces.scan.run", interrupt)
    assert invoke("scan").status == 130


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("variable", "colored"), [(None, True), ("NO_COLOR", False), ("TERM", False)])
def test_colour_on_terminals_only(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, variable: str | None, colored: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b" not in invoke("scan").out
    if variable:
        monkeypatch.setenv(variable, "dumb")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    invoke("scan")
    assert "NN302" in terminal.getvalue()
    assert ("\x1b[" in terminal.getvalue()) is colored


@pytest.mark.parametrize(("seconds", "drawn"), [(0.5, False), (1.5, True)])
def test_progress_bar_only_when_it_takes_long(monkeypatch: pytest.MonkeyPatch, seconds: float, drawn: bool) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with cli._progress() as bar:
        assert bar is not None
        bar._start -= seconds  # type: ignore[attr-defined]
        bar("parse", 3, 10)
        bar("parse", 10, 10)
    assert ("parse" in terminal.getvalue()) is drawn


def test_no_progress_bar_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with cli._progress() as bar:
        assert bar is None


# ---------------------------------------------------------------------------- other commands


def test_rules_and_explain(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnaudit.rules.discover", lambda: RULES)
    run = invoke("rules")
    assert run.status == 0
    assert [line.split()[0] for line in run.out.splitlines()] == [rule.code for rule in RULES]
    assert [entry["name"] for entry in json.loads(invoke("rules", "--output-format", "json").out)][-1] == "unseeded-run"
    for text in ("NN302", "nn302", "cross-entropy-on-probabilities"):
        run = invoke("explain", text)
        assert run.status == 0
        assert run.out.startswith("# NN302 cross-entropy-on-probabilities\n")
    run = invoke("explain", "cros-entropy-on-probabilities")
    assert run.status == 2
    assert "did you mean 'cross-entropy-on-probabilities'?" in run.err
    assert invoke("explain", "NN3").status == 2


def test_every_real_page_renders(invoke: Invoke) -> None:
    for entry in json.loads(invoke("rules", "--output-format", "json").out):
        run = invoke("explain", entry["code"])
        assert run.status == 0
        assert entry["summary"]
        assert ("## Found" in run.out) == ("scan" in entry["detectors"])


def test_version(invoke: Invoke) -> None:
    assert invoke("--version").out == f"nnaudit, version {nnaudit.__version__}\n"


@pytest.mark.parametrize(
    ("shell", "expected"), [("bash", "complete -o"), ("zsh", "#compdef nnaudit"), ("fish", "complete")]
)
def test_completion(invoke: Invoke, shell: str, expected: str) -> None:
    run = invoke("completion", shell)
    assert run.status == 0
    assert expected in run.out
    assert "_NNAUDIT_COMPLETE" in run.out


# ---------------------------------------------------------------------------- the Python door


def test_scan_function_is_the_command(project: Path) -> None:
    assert [finding.code for finding in nnaudit.scan().findings] == ["NN302"]
    assert [finding.code for finding in nnaudit.scan("maybe.py", select=["NN804"]).findings] == ["NN804"]
    assert len(nnaudit.scan([project], min_confidence="likely", extend_select=["NN804"]).findings) == 3
    assert nnaudit.scan(ignore=["NN3"]).findings == ()
    assert len(nnaudit.scan("good.py", overlay={"good.py": "BUG\nBUG\n"}).findings) == 2
    assert "does not exist" in nnaudit.scan("no.py").problems[0].message
    assert '"certain" or "likely"' in nnaudit.scan(min_confidence="sure").problems[0].message


# ---------------------------------------------------------------------------- as a process


def process(
    *arguments: str, folder: Path, stdout: int = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "nnaudit", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(nnaudit.__file__).parents[1]), **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A script with a finding, its text not ASCII."""
    (tmp_path / "trainé.py").write_text(
        "import torch\n\nmodel = torch.nn.Linear(8, 3)\n"
        "loss = torch.nn.CrossEntropyLoss()(torch.softmax(model(x), 1), y)  # é ✓\nloss.backward()\n",
        encoding="utf-8",
    )
    return tmp_path


def test_output_survives_a_narrow_encoding(real: Path) -> None:
    for format in ("full", "concise", "json", "sarif", "github"):
        run = process("scan", "--output-format", format, folder=real, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
        assert run.returncode == 1, run.stderr
        assert b"Traceback" not in run.stderr
        run.stdout.decode("ascii")
        if format in ("json", "sarif"):
            json.loads(run.stdout)


@pytest.mark.parametrize(("arguments", "status"), [(["rules"], 0), (["explain", "NN302"], 0), (["scan"], 1)])
def test_a_closed_pipe_is_no_error(real: Path, arguments: list[str], status: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        run = process(*arguments, folder=real, stdout=writing)
    finally:
        os.close(writing)
    assert run.stderr == b""
    assert run.returncode == status


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["scan", "--help"], ["completion", "bash"]])
def test_help_is_cheap(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys\nfrom nnaudit.interfaces.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'libcst', 'rich', 'torch', 'numpy', 'pathspec', 'nnaudit.rules'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(nnaudit.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
