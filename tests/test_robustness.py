"""Nothing makes a scan crash or hang: other people's code, and code that only a machine would write."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

TIMEOUT = 60  # seconds; a scan of any of these takes a few at most

SCAN = """
import json, sys
from pathlib import Path
from nnaudit.analyzer import engine
from nnaudit.analyzer.config import Config
from nnaudit.rules import discover
folder = Path(sys.argv[1])
files = sorted(folder.glob("*.py"))  # named, they are lowered whatever they hold
result = engine.scan(files, [rule() for rule in discover()], Config(folder=folder))
places = [(f.code, Path(f.place.filename).name, f.place.location.row) for f in result.findings]
print(json.dumps([result.files, places, [(Path(p.filename).name, p.message) for p in result.problems]]))
"""


def scan(folder: Path, timeout: float = TIMEOUT) -> tuple[int, set[tuple[str, str, int]], dict[str, str]]:
    """(files, findings, message by file) of a scan in a process of its own: a crash of it is no crash of pytest."""
    (folder / "pyproject.toml").touch()
    command = [sys.executable, "-c", SCAN, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    files, findings, problems = json.loads(done.stdout)
    return files, {(code, name, row) for code, name, row in findings}, dict(problems)


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(textwrap.dedent(text), encoding="utf-8")


LAST = """
import torch.nn.functional as F
loss = F.cross_entropy(x.softmax(1), y)
loss.backward()
"""
"""A small file with one finding, to see that the others did not end the scan."""


def test_files_of_the_standard_library(tmp_path: Path) -> None:
    """Each is given words of the rules, so that its functions are interpreted and not only its top level."""
    library = Path(sysconfig.get_path("stdlib"))
    skipped = ("site-packages", "bad_coding", "lib2to3/tests/data", "dist-packages")
    files = sorted(p for p in library.rglob("*.py") if not any(part in p.as_posix() for part in skipped))
    chosen = random.Random(20240229).sample(files, 150)
    for number, path in enumerate(chosen):
        copy = tmp_path / f"{path.parent.name}_{number}_{path.name}"
        copy.write_bytes(path.read_bytes() + b"\nbackward = Module = argmax = Dataset = None\n")
    write(tmp_path, {"last.py": LAST})
    files_seen, findings, problems = scan(tmp_path)
    assert files_seen == 151
    assert not [message for message in problems.values() if "nnaudit failed" in message]
    assert ("NN302", "last.py", 3) in findings
    assert {name for _, name, _ in findings} == {"last.py"}, "the standard library trains no networks"


def nested(header: str, depth: int, last: str) -> str:
    """``header`` with its formats of the depth, ``depth`` times inside itself, one space a level."""
    lines = [" " * level + header.format(level) for level in range(depth)]
    return "\n".join([*lines, " " * depth + last, ""])


def chain(arms: int) -> str:
    """One if with very many elif."""
    lines = ["if backward == 0:\n    x = 0"]
    lines += [f"elif name == {n}:\n    x = {n}\n    loss.backward()" for n in range(1, arms)]
    return "def f(loss, name):\n" + textwrap.indent("\n".join(lines), "    ")


def long_function(lines: int) -> str:
    """A training function of very many statements and branches."""
    body = ["def train(model, opt, x):", "    loss = model(x)"]
    for number in range(lines // 3):
        body += [f"    if flag{number}:", f"        loss = loss + {number}", "    loss.backward()"]
    return "\n".join([*body, "    opt.step()", ""])


def branching_calls(depth: int) -> str:
    """Each function calls the next one twice: without a budget 2 ** depth calls."""
    functions = [f"def f{n}(x):\n    f{n + 1}(x)\n    f{n + 1}(x.backward())\n" for n in range(depth)]
    return "".join([*functions, f"def f{depth}(x):\n    x.backward()\nf0(1)\n"])


ODD: dict[str, Callable[[], str]] = {
    "operators": lambda: "backward = " + " + ".join(["1"] * 900),
    "parentheses": lambda: "backward = " + "(" * 80 + "1" + ")" * 80,
    "attributes": lambda: "backward = a" + ".b" * 900,
    "calls": lambda: "backward = a" + "(1)" * 900,
    "lists": lambda: "backward = " + "[" * 80 + "]" * 80,
    "lambdas": lambda: "backward = " + "lambda: " * 200 + "1",
    "conditions": lambda: "backward = " + "1 if a else " * 300 + "2",
    "comparisons": lambda: "backward = " + " < ".join("abcdefgh" * 60),
    "very many operators": lambda: "backward = " + " + ".join(["1"] * 100_000),
    "too many parentheses": lambda: "backward = " + "(" * 5000 + ")" * 5000,
    "a long list": lambda: "backward = [" + "1, " * 50_000 + "]",
    "ifs": lambda: nested("if a{}:", 90, "x.backward()"),
    "loops": lambda: nested("for a{} in b:", 19, "x.backward()"),
    "whiles": lambda: nested("while a{}:", 19, "x.backward()"),
    "functions": lambda: nested("def f{}():", 90, "x.backward()"),
    "classes": lambda: nested("class C{}:", 90, "backward = 1"),
    "200 ifs": lambda: nested("if a{}:", 200, "x.backward()"),
    "200 loops": lambda: nested("for a{} in b:", 200, "x.backward()"),
    "withs": lambda: nested("with a{}:", 19, "x.backward()"),
    "tries": lambda: "def f():\n" + "".join(" try:\n  x.backward()\n except E:\n  x = 1\n" for _ in range(300)),
    "elifs": lambda: chain(400),
    "function of 3,000 lines": lambda: long_function(3000),
    "calls that branch": lambda: branching_calls(40),
    "mutual recursion": lambda: (
        "def f(x):\n    g(x)\n    g(x)\ndef g(x):\n    f(x)\n    f(x)\n    x.backward()\nf(1)\n"
    ),
    "its own base": lambda: "class A(A):\n    def backward(self): return super().backward()\nA().backward()\n",
    "its own attribute": lambda: "class A: pass\na = A()\na.backward = a\na.a = a\nmystery(a)\na.a.a.backward()\n",
    "list in itself": lambda: "x = []\nx.append(x)\nfor y in x:\n    y.backward()\nmystery(x)\nprint([*x, *x])\n",
    "dict in itself": lambda: "x = {}\nx['a'] = x\nx.update(x)\nmystery(x)\nx['a']['a'].backward()\n",
    "growing": lambda: "x = (1, 2)\nfor i in data:\n    x = (x, x)\n    x.backward()\n" * 20,
    "endless loops": lambda: "while True:\n    while True:\n        x.backward()\n" * 100,
    "huge numbers": lambda: f"backward = {'9' * 4000} * {'9' * 4000}\nx = 1\n" + "x = x * x + 9\n" * 500,
    "only decorators": lambda: "@a\n" * 500 + "def backward(): pass\n",
    "names": lambda: "\n".join(f"def backward{n}(x): return x.backward()" for n in range(2000)),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_code(tmp_path: Path, name: str) -> None:
    """At worst the file is a problem that says so; the file beside it is scanned."""
    write(tmp_path, {"odd.py": ODD[name](), "last.py": LAST})
    _, findings, problems = scan(tmp_path, timeout=TIMEOUT)
    assert not [message for message in problems.values() if "nnaudit failed" in message]
    assert set(problems) <= {"odd.py"}
    assert ("NN302", "last.py", 3) in findings


CYCLES: dict[str, dict[str, str]] = {
    "imports": {
        "a.py": "import b\ndef f(x): b.g(x).backward()\n",
        "b.py": "import c\ndef g(x): return c.h(x)\n",
        "c.py": "import a\ndef h(x): return a.f(x)\na.f(1)\n",
    },
    "star imports": {
        "a.py": "from b import *\ndef f(x): g(x).backward()\n",
        "b.py": "from c import *\nfrom a import *\ndef g(x): return h(x)\n",
        "c.py": "from a import *\nfrom c import *\ndef h(x): return f(x)\nh(1)\n",
    },
    "names passed round": {
        "a.py": "from b import x\nx.backward()\n",
        "b.py": "from c import x\n",
        "c.py": "from a import x\n",
    },
    "a module of itself": {"a.py": "import a\nfrom a import *\nfrom a import b\na.a.a.backward()\n"},
    "bases": {
        "a.py": "from b import B\nclass A(B):\n    def backward(self): return super().backward()\nA().backward()\n",
        "b.py": "from c import C\nclass B(C):\n    def backward(self): return super().backward()\nB().f()\n",
        "c.py": "import a\nclass C(a.A):\n    def backward(self): return super().backward()\nC().f\n",
    },
    "bases rebound": {
        "a.py": "import b\nclass A(b.B): pass\nclass A(A): pass\nb.B = A\nA().backward()\n",
        "b.py": "import a\nclass B(a.A): pass\nclass B(B): pass\na.A = B\nB().backward()\n",
    },
    "constructors": {
        "a.py": "from b import B\nclass A:\n    def __init__(self): self.b = B()\nA().b.backward()\n",
        "b.py": "import a\nclass B:\n    def __init__(self): self.a = a.A()\nB().a.backward()\n",
    },
}


@pytest.mark.parametrize("name", CYCLES)
def test_cycles(tmp_path: Path, name: str) -> None:
    write(tmp_path, {**CYCLES[name], "last.py": LAST})
    _, findings, problems = scan(tmp_path)
    assert problems == {}
    assert ("NN302", "last.py", 3) in findings


def test_many_files_that_import_each_other(tmp_path: Path) -> None:
    """A chain of 1,200 modules, each of which calls the next: no recursion over it."""
    chained = {f"m{n}.py": f"import m{n + 1}\ndef f(x): m{n + 1}.f(x).backward()\n" for n in range(1200)}
    write(tmp_path, {**chained, "m1200.py": "import m0\ndef f(x): return m0.f(x)\nf(1)\n", "last.py": LAST})
    files, findings, problems = scan(tmp_path)
    assert files == 1202
    assert problems == {}
    assert ("NN302", "last.py", 3) in findings
