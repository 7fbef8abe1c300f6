"""What tests share: a scan of a few files, where it found something, and runs of the command line under torch."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnaudit.analyzer import engine
from nnaudit.analyzer.config import Config
from nnaudit.rules import discover
from nnaudit.rules.finding import Confidence, Finding, Severity


def scan_files(
    files: Mapping[str, str], tmp_path: Path, select: Sequence[str] | None = None, own: str = ""
) -> list[Finding]:
    """The findings that a user sees by default (certain, no mere advice) in these files.

    ``select`` holds codes; without it all rules are run. Of the code ``own``, likely findings and advice are
    included. A file that cannot be read or parsed fails.
    """
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "pyproject.toml").touch()  # the project ends here, whatever lies above the temporary folder
    rules = [rule() for rule in discover() if select is None or rule.code in select]
    result = engine.scan([tmp_path], rules, Config(folder=tmp_path))
    assert not result.problems, "\n".join(map(str, result.problems))
    return [
        f
        for f in result.findings
        if f.code == own or (f.confidence is Confidence.CERTAIN and f.severity is not Severity.INFO)
    ]


def places(findings: Iterable[Finding], folder: Path) -> list[tuple[str, str, int]]:
    """(code, path below the folder, row) of each finding, sorted; a finding reported twice counts twice."""
    return sorted((f.code, _below(f.place.filename, folder), f.place.location.row) for f in findings)


def _below(filename: str, folder: Path) -> str:
    return (Path.cwd() / filename).resolve().relative_to(folder.resolve()).as_posix()


# ---------------------------------------------------------------------------- the command line under torch

LIMIT = 120
"""Seconds that a run may take on a machine with other work to do."""

SERVER = """
import gc, json, os, signal, sys
import torch._dynamo, torch.utils.data
import nnaudit.interfaces.cli, nnaudit.interfaces.run_script, nnaudit.tracer.attach

def serve(requests, answers):
    with os.fdopen(requests) as lines:
        for line in lines:
            child = os.fork()
            if child == 0:
                os.close(answers)
                return json.loads(line)
            os.write(answers, b"%d\\n" % child)
            os.write(answers, b"%d\\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os._exit(0)

nnaudit.rules.discover()
gc.freeze()  # else the end of each fork would take a second
request = serve(int(sys.argv[1]), int(sys.argv[2]))
for number, (name, flags) in enumerate(request["streams"]):
    os.dup2(os.open(name, flags, 0o600), number)
for number, wanted in enumerate(request["open"]):
    if not wanted:
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)
signal.signal(signal.SIGINT, signal.default_int_handler)
os.chdir(request["folder"])
sys.argv = request["command"]
nnaudit.interfaces.cli.main()
"""


@dataclass
class Ended:
    """A run that is over; ``status`` is negative where a signal ended it."""

    status: int
    out: bytes
    err: str


class Started:
    """A run that is under way."""

    def __init__(self, pid: int, answers: int, files: tuple[Path, Path]) -> None:
        self.pid = pid
        self._answers = answers
        self._files = files

    def kill(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> Ended:
        if not select.select([self._answers], [], [], LIMIT)[0]:
            self.kill(signal.SIGKILL)
        status = _number(self._answers)
        out, err = (path.read_bytes() for path in self._files)
        return Ended(status, out, err.decode(errors="backslashreplace"))


class Commands:
    """Runs of ``nnaudit``, each in an interpreter of its own that ends as interpreters do.

    They are forks of one that has imported torch already: that takes longer than all the rest.
    """

    def __init__(self) -> None:
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(requests), str(answers)],
            pass_fds=(requests, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        os.close(requests)
        os.close(answers)
        self._count = 0

    def close(self) -> None:
        os.close(self._requests)
        self._process.wait(LIMIT)
        os.close(self._answers)

    def start(self, *arguments: str | Path, folder: Path, given: bytes = b"", closed: Sequence[int] = ()) -> Started:
        """Start ``nnaudit`` with these arguments in a folder; ``closed`` names standard streams that are not open."""
        self._count += 1
        kept = folder / ".streams"
        kept.mkdir(exist_ok=True)
        (kept / ".gitignore").write_text("*")
        files = [kept / f"{self._count}.{name}" for name in ("in", "out", "err")]
        files[0].write_bytes(given)
        write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        request = {
            "command": ["nnaudit", *map(str, arguments)],
            "folder": str(folder),
            "streams": [(str(file), flags) for file, flags in zip(files, (os.O_RDONLY, write, write), strict=True)],
            "open": [number not in closed for number in range(3)],
        }
        os.write(self._requests, json.dumps(request).encode() + b"\n")
        return Started(_number(self._answers), self._answers, (files[1], files[2]))

    def __call__(self, *arguments: str | Path, folder: Path, given: bytes = b"", closed: Sequence[int] = ()) -> Ended:
        """Run it to its end."""
        return self.start(*arguments, folder=folder, given=given, closed=closed).wait()


def _number(pipe: int) -> int:
    text = b""
    while not text.endswith(b"\n"):
        part = os.read(pipe, 1)
        if not part:
            raise EOFError("the interpreter that all runs are forked from has ended")
        text += part
    return int(text)


def write(path: Path, text: str) -> Path:
    """A file with this text, its common indentation removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


TRAINING = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
torch.set_num_threads(1)
inputs = torch.randn(256, 8)
loader = DataLoader(TensorDataset(inputs, (inputs.sum(1) > 0).long()), batch_size=16, shuffle=True)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: {loss.item():.6f}")
"""
"""A script that trains as one should."""

MISTAKEN = TRAINING.replace("        optimizer.zero_grad()\n", "")
"""The same with a mistake: gradients are never cleared, which is found at the backward pass."""
MISTAKE = "NN505"
