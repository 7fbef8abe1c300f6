"""``nnaudit trace`` runs a script as Python would: what differs is what nnaudit says on standard error."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import LIMIT, MISTAKE, MISTAKEN, TRAINING, Commands, Ended, write

from nnaudit.interfaces import trace as tracing

VERDICT = "\nnnaudit: "
UNTRAINED = "error: no training was seen"


@pytest.fixture(scope="module")
def nnaudit() -> Iterator[Commands]:
    pytest.importorskip("torch")
    commands = Commands()
    yield commands
    commands.close()


def python(*arguments: str | Path, folder: Path, given: bytes = b"") -> Ended:
    """What Python itself does."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, input=given, capture_output=True, timeout=LIMIT
    )
    return Ended(done.returncode, done.stdout, done.stderr.decode())


def said_by_script(err: str) -> str:
    """Standard error up to the verdict."""
    return err.partition(VERDICT)[0]


def assert_same(nnaudit: Commands, folder: Path, *arguments: str | Path, given: bytes = b"") -> Ended:
    """The same output, the same words on standard error, the same status (no training: 2 instead of 0)."""
    expected = python(*arguments, folder=folder, given=given)
    run = nnaudit("trace", *arguments, folder=folder, given=given)
    assert run.out == expected.out
    assert said_by_script(run.err) == expected.err
    assert VERDICT in run.err
    assert run.status == (expected.status or 2)
    return run


def assert_same_words(nnaudit: Commands, folder: Path, *arguments: str | Path) -> Ended:
    """Of a script that trains: the same output, and the same on standard error but for what nnaudit says."""
    expected = python(*arguments, folder=folder)
    run = nnaudit("trace", "--exit-zero", *arguments, folder=folder)
    assert run.out == expected.out
    said = "".join(line for line in said_by_script(run.err).splitlines(True) if not line.startswith("nnaudit: step"))
    assert said == expected.err
    assert run.status == expected.status
    return run


# ---------------------------------------------------------------------------- as Python runs it

SURROUNDING = """
import json, os, sys
print(json.dumps({
    "name": __name__,
    "names": sorted(globals()),
    "file": __file__,
    "package": __package__,
    "spec": None if __spec__ is None else [__spec__.name, __spec__.origin, __spec__.parent],
    "loader": type(__loader__).__name__,
    "cached": globals().get("__cached__"),
    "is main": sys.modules["__main__"].__dict__ is globals(),
    "argv": sys.argv,
    "path": sys.path,
    "folder": os.getcwd(),
    "errors": [sys.stdin.errors, sys.stdout.errors, sys.stderr.errors],
    "given": sys.stdin.read(),
}, indent=1))
"""


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """Scripts of all kinds that say how they were run."""
    below = tmp_path / "below"
    for name in ("script.py", "folder/__main__.py", "package/__main__.py", "package/inner/part.py"):
        write(below / name, SURROUNDING)
    write(below / "package/__init__.py", "")
    write(below / "package/inner/__init__.py", "import sys\nprint(sys.argv)\n")
    (tmp_path / "link.py").symlink_to(below / "script.py")
    with zipfile.ZipFile(below / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", SURROUNDING)
    return below


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("script.py", "--steps", "3", "--", "-x", "--help"), id="arguments"),
        pytest.param(("../link.py",), id="link"),
        pytest.param(("./folder", "a"), id="folder"),
        pytest.param(("archive.zip",), id="archive"),
        pytest.param(("-m", "script", "-m"), id="module"),
        pytest.param(("-m", "package", "a"), id="package"),
        pytest.param(("-m", "package.inner.part"), id="inner module"),
    ],
)
def test_the_script_finds_itself_where_python_would_put_it(
    nnaudit: Commands, places: Path, arguments: tuple[str, ...]
) -> None:
    run = assert_same(nnaudit, places, *arguments, given="typed: é\n".encode())
    assert UNTRAINED in run.err


def test_relative_imports_and_neighbours(nnaudit: Commands, tmp_path: Path) -> None:
    write(tmp_path / "package/__init__.py", "from .sibling import NAME\n")
    write(tmp_path / "package/sibling.py", "NAME = 'sibling'\n")
    write(tmp_path / "package/__main__.py", "from . import NAME\nfrom .sibling import NAME as N\nprint(NAME, N)\n")
    write(tmp_path / "elsewhere/neighbour.py", "NAME = 'neighbour'\n")
    write(tmp_path / "elsewhere/script.py", "import neighbour\nprint(neighbour.NAME)\n")
    assert assert_same(nnaudit, tmp_path, "-m", "package").out == b"sibling sibling\n"
    assert assert_same(nnaudit, tmp_path, "elsewhere/script.py").out == b"neighbour\n"


ENDINGS = {
    "None": "sys.exit(None)",
    "zero": "sys.exit(0)",
    "number": "sys.exit(3)",
    "large": "sys.exit(263)",
    "negative": "sys.exit(-1)",
    "true": "raise SystemExit(True)",
    "text": "sys.exit('there is no data')",
    "object": "sys.exit((1, 'é'))",
    "at once": "os._exit(5)",
    "aborted": "os.abort()",
    "exception": "def f():\n    raise ValueError('bad\\nvalue')\nf()",
    "cause": "try:\n    {}['x']\nexcept KeyError as e:\n    raise OSError(2, 'none') from e",
    "context": "try:\n    {}['x']\nexcept KeyError:\n    1 / 0",
    "group": "raise ExceptionGroup('several', [ValueError(1), TypeError(2)])",
    "base": "class Stop(BaseException): pass\nraise Stop('now')",
    "note": "e = ValueError(1)\ne.add_note('a note')\nraise e",
    "recursion": "def f(): f()\nf()",
    "syntax": "exec('x = = 1')",
    "import": "import nothing_of_this_name",
    "hook": "sys.excepthook = lambda *a: print('hook:', a[1])\nraise ValueError(1)",
    "failing hook": "def hook(*a): raise TypeError('in hook')\nsys.excepthook = hook\nraise ValueError(1)",
    "interrupt": "raise KeyboardInterrupt",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_end_is_the_scripts_own(nnaudit: Commands, tmp_path: Path, ending: str) -> None:
    write(tmp_path / "script.py", f"import os, sys\nprint('out', flush=True)\n{ENDINGS[ending]}\n")
    expected = python("script.py", folder=tmp_path)
    run = nnaudit("trace", "script.py", folder=tmp_path)
    assert run.out == expected.out
    assert run.status == (expected.status or 2)
    # Of frames without end fewer fit in: ours are below them.
    count = re.compile(r"repeated \d+ more times")
    assert count.sub("", said_by_script(run.err)) == count.sub("", expected.err)
    assert (VERDICT in run.err) is (ending not in ("at once", "aborted"))


def test_errors_of_packages_around_a_module_are_the_scripts_own(nnaudit: Commands, tmp_path: Path) -> None:
    write(tmp_path / "package/__init__.py", "import sys\nif len(sys.argv) < 2:\n    1 / 0\nsys.exit(4)\n")
    write(tmp_path / "package/part.py", "")
    run = nnaudit("trace", "-m", "package.part", folder=tmp_path)
    assert run.status == 1
    assert "ZeroDivisionError" in run.err
    assert "tracer" not in run.err
    assert nnaudit("trace", "-m", "package.part", "x", folder=tmp_path).status == 4


TORCH_FAILS = """
import torch
from torch import nn
from torch.nn import functional as F

def step():
    model = nn.Linear(4, 3)
    try:
        F.cross_entropy(model(torch.zeros(2, 4)), torch.zeros(5, dtype=torch.long))
    except ValueError as error:
        raise RuntimeError("cannot train") from error

step()
"""


def test_our_wrappers_are_not_in_the_traceback_of_a_cause(nnaudit: Commands, tmp_path: Path) -> None:
    write(tmp_path / "script.py", TORCH_FAILS)
    run = assert_same(nnaudit, tmp_path, "script.py")
    assert run.err.count("Traceback") == 2


def test_a_failed_training_is_explained_after_its_traceback(nnaudit: Commands, tmp_path: Path) -> None:
    write(tmp_path / "script.py", TRAINING.replace("nn.Linear(32, 2)", "nn.Linear(16, 2)"))
    run = nnaudit("trace", "script.py", folder=tmp_path)
    assert run.status == 1
    assert run.err.startswith("Traceback (most recent call last):\n")
    assert run.err.index("RuntimeError: mat1 and mat2") < run.err.index(VERDICT) < run.err.index("NN407")
    assert str(Path(tracing.__file__).parents[1] / "tracer") not in run.err


def test_what_runs_at_exit_finds_the_script_as_it_was(nnaudit: Commands, tmp_path: Path) -> None:
    write(
        tmp_path / "script.py",
        """
        import atexit, os, pickle, sys, threading, time

        class Result:
            value = 3

        def at_exit():
            print(pickle.loads(pickle.dumps(Result())).value, __name__, sys.argv, sys.path[0], os.getcwd())

        atexit.register(at_exit)
        atexit.register(print, "first")
        os.makedirs("elsewhere", exist_ok=True)
        os.chdir("elsewhere")
        threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
        print("end")
        """,
    )
    run = assert_same(nnaudit, tmp_path, "script.py", "a")
    assert run.out.startswith(b"end\nthread\nfirst\n3 __main__ ['script.py', 'a']")


def test_ctrl_c_ends_it_as_it_ends_python(tmp_path: Path) -> None:
    """Through the installed command: a finally block and what runs at exit run, then the signal kills the process."""
    pytest.importorskip("torch")
    write(
        tmp_path / "script.py",
        TRAINING.replace("range(3)", "range(10**9)").replace("    print(f", "    not epoch and print(f") + "\n",
    )
    text = (tmp_path / "script.py").read_text()
    body = "".join(f"    {line}\n" for line in text.splitlines())
    (tmp_path / "script.py").write_text(
        "import atexit\natexit.register(print, 'at exit')\ntry:\n"
        + body.replace('print(f"', 'print(flush=True, *["', 1).replace('")\n', '"])\n', 1)
        + "finally:\n    print('finally')\n"
    )
    command = Path(sys.executable).with_name("nnaudit")
    process = subprocess.Popen(
        [command, "trace", "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("epoch")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == -signal.SIGINT
    assert out == "finally\nat exit\n"
    assert err.startswith("Traceback (most recent call last):\n")
    assert err.index("\nKeyboardInterrupt\n") < err.index(VERDICT)
    root = Path(tracing.__file__).parents[1]
    assert not [name for name in ("tracer", "interfaces") if str(root / name) in err], "frames of ours"
    assert "the record ends before" not in err


# ---------------------------------------------------------------------------- processes


def test_a_forked_child_is_left_alone(nnaudit: Commands, tmp_path: Path) -> None:
    """It goes on to its own end, says nothing of ours, and does not hurt the record."""
    script = MISTAKEN.replace("for epoch in range(3):", "import os, sys\nchild = os.fork()\nfor epoch in range(3):")
    script += "\nif child == 0:\n    sys.exit(7)\nprint('child', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    write(tmp_path / "script.py", script)
    run = nnaudit("trace", "--run-dir", "run", "script.py", folder=tmp_path)
    assert run.status == 1, run.err
    assert len(re.findall(r"^nnaudit: step", run.err, re.MULTILINE)) == 1
    assert run.err.count(VERDICT) == 1
    assert "48 optimizer steps" in run.err
    assert run.out.count(b"epoch 2") == 2
    assert run.out.endswith(b"child 7\n")
    assert [loader.batches for loader in tracing.load(tmp_path / "run/rank0.sqlite").loaders] == [48]


@pytest.mark.parametrize("arguments", [("package/part.py",), ("-m", "package.part")], ids=["script", "module"])
def test_spawned_processes_find_the_main_module(nnaudit: Commands, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    write(tmp_path / "package/__init__.py", "")
    write(
        tmp_path / "package/part.py",
        """
        import multiprocessing, os, sys

        class Work:
            pass

        def work(given):
            print(type(given) is Work, __name__, os.path.basename(sys.argv[0]), flush=True)
            sys.exit(5)

        print("imported as", __name__, flush=True)
        if __name__ == "__main__":
            process = multiprocessing.get_context("spawn").Process(target=work, args=(Work(),))
            process.start()
            process.join()
            print(process.exitcode)
        """,
    )
    run = assert_same(nnaudit, tmp_path, *arguments)
    assert run.out.endswith(b"True __mp_main__ part.py\n5\n")
    assert "child processes" in run.err


def test_workers_of_a_loader(nnaudit: Commands, tmp_path: Path) -> None:
    write(tmp_path / "script.py", TRAINING.replace("shuffle=True", "shuffle=True, num_workers=2"))
    run = nnaudit("trace", "--run-dir", "run", "script.py", folder=tmp_path)
    assert run.status == 0, run.err
    assert "warning" not in run.err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["rank0.sqlite"]
    loader = tracing.load(tmp_path / "run/rank0.sqlite").loaders[0]
    assert (loader.workers, loader.batches, loader.training_batches) == (2, 48, 48)


# ---------------------------------------------------------------------------- --steps


def traced_anew(script: str, folder: Path) -> Ended:
    """In an interpreter that has imported nothing yet."""
    return python("-m", "nnaudit", "trace", script, folder=folder)


def test_what_the_script_sets_before_it_imports_torch_counts(tmp_path: Path) -> None:
    write(
        tmp_path / "train.py",
        """
        import os
        import sys

        assert "torch" not in sys.modules and "numpy" not in sys.modules
        os.environ["OMP_NUM_THREADS"] = "1"
        import torch

        print(torch.get_num_threads(), torch.__loader__ is torch.__spec__.loader, type(torch.__loader__))
        """,
    )
    run = traced_anew("train.py", tmp_path)
    assert run.out == python("train.py", folder=tmp_path).out
    assert run.out.startswith(b"1 True")
    assert UNTRAINED in run.err  # the tracer was there


def test_a_script_without_torch_is_not_one_that_trains(tmp_path: Path) -> None:
    write(tmp_path / "hello.py", "print('hello')")
    run = traced_anew("hello.py", tmp_path)
    assert (run.out, run.status) == (b"hello\n", 2)
    assert run.err == "error: no training was seen: the script did not import torch; name the script that trains\n"


def test_warnings_name_the_lines_that_they_always_named(nnaudit: Commands, tmp_path: Path) -> None:
    write(
        tmp_path / "train.py",
        """
        import warnings

        import torch
        from torch import nn

        model = nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        scheduler.step()
        for _ in range(2):
            loss = nn.functional.mse_loss(model(torch.ones(8, 3)), torch.ones(8))
            nn.MSELoss()(model(torch.ones(8, 3)), torch.ones(8))
            loss.backward()
            optimizer.step()
        for level in range(1, 5):
            warnings.warn("mine", stacklevel=level)
        """,
    )
    run = assert_same_words(nnaudit, tmp_path, "train.py")
    assert run.err.count("UserWarning: Using a target size") == 2


def test_steps_ends_the_run_politely(nnaudit: Commands, tmp_path: Path) -> None:
    """Nothing that catches exceptions holds it up; finally, with and what runs at exit are passed on the way out."""
    head, loop = TRAINING.split("for epoch")
    loop = "".join(f"    {line}\n" for line in f"for epoch{loop}".splitlines())
    loop = loop.replace("            optimizer.step()\n", "").replace(
        "            loss.backward()\n",
        "            loss.backward()\n            try:\n                done += 1\n                optimizer.step()\n"
        "            except Exception:\n                print('caught')\n",
    )
    write(
        tmp_path / "script.py",
        f"import atexit\natexit.register(print, 'at exit')\n{head}\ndone = 0\ntry:\n{loop}"
        "finally:\n    print('finally', done)\nprint('not reached')\n",
    )
    run = nnaudit("trace", "--steps", "20", "--run-dir", "run", "script.py", folder=tmp_path)
    assert run.status == 0, run.err
    assert run.out.splitlines()[-2:] == [b"finally 20", b"at exit"]
    assert "Traceback" not in run.err
    assert "20 optimizer steps" in run.err
    assert tracing.load(tmp_path / "run/rank0.sqlite").finished


# ---------------------------------------------------------------------------- the report of a run


@pytest.fixture(scope="module")
def mistaken(nnaudit: Commands, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A run with a mistake, of a script that writes bytes to its output and goes to another folder."""
    folder = tmp_path_factory.mktemp("mistaken")
    more = "\nimport os, sys, tempfile\nsys.stdout.buffer.write(b'\\x00\\xff\\r\\n')\nsys.stdout.write('no end')\n"
    # The folder is gone when the script ends.
    more += "with tempfile.TemporaryDirectory() as other:\n    os.chdir(other)\n"
    write(folder / "scripts/train.py", MISTAKEN + more)
    options = ("--output-file", "report.json", "--output-format", "json", "--run-dir", "run")
    return folder, nnaudit("trace", *options, "scripts/train.py", folder=folder)


def test_findings_are_status_1(mistaken: tuple[Path, Ended]) -> None:
    folder, run = mistaken
    assert run.status == 1, run.err
    entries = json.loads((folder / "report.json").read_text())
    row = MISTAKEN[: MISTAKEN.index("loss.backward()")].count("\n") + 1
    assert [(e["code"], e["filename"], e["location"]["row"]) for e in entries] == [(MISTAKE, "scripts/train.py", row)]


def test_people_still_read_the_verdict(mistaken: tuple[Path, Ended]) -> None:
    _, run = mistaken
    live, verdict = run.err.split(VERDICT, 1)
    assert re.match(rf"nnaudit: step \d+: \S*train.py:\d+: {MISTAKE} ", live)
    assert "48 optimizer steps" in verdict
    assert "  record    run (judge it again: nnaudit report run)\n" in verdict
    assert f"{MISTAKE} [certain]" in verdict


def test_output_is_unchanged_to_the_last_byte(mistaken: tuple[Path, Ended]) -> None:
    folder, run = mistaken
    assert run.out == python("scripts/train.py", folder=folder).out


@pytest.mark.parametrize("output_format", ["json", "sarif"])
def test_a_report_of_the_record_says_the_same(
    mistaken: tuple[Path, Ended], output_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = mistaken
    monkeypatch.chdir(folder)
    done = report(folder, "run", "--output-format", output_format, "--output-file", f"again.{output_format}")
    assert (done.status, done.out, done.err) == (1, b"", "")
    again = json.loads((folder / f"again.{output_format}").read_text())
    if output_format == "json":
        assert again == json.loads((folder / "report.json").read_text())
    else:
        results = again["runs"][0]["results"]
        assert [result["ruleId"] for result in results] == [MISTAKE]
        assert results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "scripts/train.py"


def report(folder: Path, *arguments: str, **environment: str) -> Ended:
    """``nnaudit report`` in an interpreter that has no torch: a record is read without it."""
    block = write(folder / "blocked/sitecustomize.py", BLOCKED).parent
    command = [sys.executable, "-m", "nnaudit", "report", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(block), **environment}
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=LIMIT, env=environment)
    return Ended(done.returncode, done.stdout, done.stderr.decode())


BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "numpy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""


def test_trace_without_torch_names_the_extra(tmp_path: Path) -> None:
    write(tmp_path / "script.py", "print('must not run')\n")
    block = write(tmp_path / "blocked/sitecustomize.py", BLOCKED).parent
    done = subprocess.run(
        [sys.executable, "-m", "nnaudit", "trace", "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, "PYTHONPATH": str(block)},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: tracing needs (torch|numpy)\b.*pip install 'nnaudit\[trace\]'\n", done.stderr)


def test_exit_zero_and_the_latest_run(nnaudit: Commands, tmp_path: Path) -> None:
    write(tmp_path / "script.py", MISTAKEN)
    run = nnaudit("trace", "--exit-zero", "script.py", folder=tmp_path)
    assert run.status == 0
    assert MISTAKE in run.err
    (made,) = (tmp_path / "nnaudit_runs").iterdir()
    assert f"nnaudit report nnaudit_runs/{made.name}" in run.err
    done = report(tmp_path)
    assert done.status == 1
    assert MISTAKE.encode() in done.out
    assert report(tmp_path, "--exit-zero").status == 0
    assert report(tmp_path, "--ignore", MISTAKE).status == 0


def test_a_script_that_fails_keeps_its_status_although_there_are_findings(nnaudit: Commands, tmp_path: Path) -> None:
    write(tmp_path / "script.py", MISTAKEN + "\nraise SystemExit(9)\n")
    run = nnaudit("trace", "script.py", folder=tmp_path)
    assert run.status == 9
    assert MISTAKE in run.err.split(VERDICT)[1]


def test_every_run_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    made = [tracing.new_run_dir("scripts/a b.py") for _ in range(4)]
    assert len(set(made)) == 4
    assert all(re.fullmatch(r"nnaudit_runs/\d{8}-\d{6}-a-b(-\d)?", str(path)) for path in made)


# ---------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing.py",), "nothing.py does not exist"),
        (("empty",), "empty holds no __main__.py"),
        (("syntax.py",), "syntax.py is not Python that this interpreter can read"),
        (("binary.py",), "binary.py is not Python that this interpreter can read"),
        (("-m", "nothing.at.all"), "no module named nothing.at.all"),
        (("-m", "package"), "package is a package without a __main__.py"),
        (("-m", "package.nothing"), "no module named package.nothing"),
        (("-m", "syntax"), "syntax.py is not Python that this interpreter can read"),
        (("-m", ""), "no module named"),
        (("--select", "NN999", "script.py"), "NN999"),
        (("--config", "nothing.toml", "script.py"), "nothing.toml"),
        (("--config", "bad.toml", "script.py"), "bad.toml"),
        (("--output-file", "nowhere/report", "train.py"), "nowhere/report: cannot be written"),
        (("script.py",), "no training was seen"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_input_is_one_clear_line_and_status_2(
    nnaudit: Commands, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "package/__init__.py", "")
    write(tmp_path / "syntax.py", "x = = 1\n")
    (tmp_path / "binary.py").write_bytes(b"\x7fELF\x00\x01\xff")
    write(tmp_path / "bad.toml", "select = [\n")
    write(tmp_path / "script.py", "print('runs')\n")
    write(tmp_path / "train.py", TRAINING)
    run = nnaudit("trace", *arguments, folder=tmp_path)
    errors = [line for line in run.err.splitlines() if line.startswith("error: ")]
    assert run.status == 2
    assert len(errors) == 1
    assert words in errors[0]
    assert "Traceback" not in run.err
    if words not in ("no training was seen", "nowhere/report: cannot be written"):
        assert run.out == b""  # nothing was run
        assert run.err == errors[0] + "\n"


# ---------------------------------------------------------------------------- streams


@pytest.mark.parametrize(
    "last", ["sys.stdout.close()", "sys.stdout = None", "sys.stderr.close()", "sys.stderr = None", "os.close(1)"]
)
def test_streams_that_the_script_closed(nnaudit: Commands, tmp_path: Path, last: str) -> None:
    write(tmp_path / "script.py", f"{TRAINING}\nimport os, sys\nsys.stdout.flush()\n{last}\n")
    run = nnaudit("trace", "script.py", folder=tmp_path)
    assert "internal error" not in run.err
    assert "Traceback" not in run.err
    assert run.out.endswith(b"epoch 2: 0.313522\n")
    # Python, too, fails at its end where the output cannot be flushed.
    assert run.status == 0


def test_nothing_of_ours_on_standard_output_where_there_is_no_standard_error(nnaudit: Commands, tmp_path: Path) -> None:
    write(tmp_path / "script.py", MISTAKEN)
    run = nnaudit("trace", "script.py", folder=tmp_path, closed=[2])
    assert (run.status, run.err) == (1, "")
    assert [line.split()[0] for line in run.out.splitlines()] == [b"epoch"] * 3


def test_a_rule_that_fails_does_not_take_the_scripts_status(nnaudit: Commands, tmp_path: Path) -> None:
    spoil = "import nnaudit.interfaces.trace as t\ndef spoilt(*_): raise KeyError('spoilt')\nt.judge = spoilt\n"
    write(tmp_path / "script.py", f"{spoil}{TRAINING}\nimport sys\nsys.exit(len(sys.argv) - 1)\n")
    run = nnaudit("trace", "--run-dir", "run", "script.py", "1", "2", "3", folder=tmp_path)
    assert run.status == 3
    assert run.out.count(b"epoch") == 3
    assert "the run could not be judged (KeyError: 'spoilt')" in run.err
    assert "nnaudit report run" in run.err
    assert nnaudit("trace", "script.py", folder=tmp_path).status == 2


def test_the_clock_of_a_run_is_its_own(nnaudit: Commands, tmp_path: Path) -> None:
    """What nnaudit does before and after is not counted as the script's time."""
    write(tmp_path / "script.py", "import time\ntime.sleep(0.3)\n")
    began = time.perf_counter()
    run = nnaudit("trace", "script.py", folder=tmp_path)
    told = re.search(r"in (\d+\.\d) s", run.err)
    assert told is not None
    assert 0.2 < float(told[1]) <= time.perf_counter() - began + 0.1
