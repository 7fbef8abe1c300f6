"""engine.scan as a whole: the same answer however it is asked, and the right rows and columns."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import libcst as cst
import pytest
from libcst.metadata import MetadataWrapper, PositionProvider

from nnaudit.analyzer import engine, load, source
from nnaudit.analyzer.cache import Cache
from nnaudit.analyzer.config import Config
from nnaudit.analyzer.lower import Lowering
from nnaudit.analyzer.positions import _COMPOUND, locate
from nnaudit.analyzer.program import Program
from nnaudit.analyzer.result import ScanResult
from nnaudit.rules import discover
from nnaudit.rules.finding import Finding, Place, Severity
from nnaudit.rules.loss.cross_entropy_on_probabilities import CrossEntropyOnProbabilities
from nnaudit.rules.rule import Rule

MODEL = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(4, 4)]
        self.head = nn.Sequential(nn.Linear(4, 2), nn.Softmax(dim=1))
    def forward(self, x):
        return self.head(self.layers[0](x))
"""

TRAIN = """
from torch import nn, optim
from model import Net
from utils import measure
model = Net()
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.1)
for x, y in loader:
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    measure(model(x).softmax(1), y)
"""

UTILS = """
import torch.nn.functional as F
def measure(scores, y):
    return F.cross_entropy(scores, y)
"""

PROJECT = {"model.py": MODEL, "train.py": TRAIN, "utils.py": UTILS}
FOUND = {("NN302", "train.py", 9), ("NN302", "utils.py", 4), ("NN402", "model.py", 6), ("NN505", "train.py", 10)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


@pytest.fixture
def project(folder: Path) -> Path:
    write(folder, PROJECT)
    return folder


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def scan(*paths: Path, rules: Sequence[Rule] | None = None, **options: object) -> ScanResult:
    chosen = [rule() for rule in discover()] if rules is None else rules
    return engine.scan(paths, chosen, Config(folder=Path.cwd()), **options)  # type: ignore[arg-type]


def places(result: ScanResult) -> set[tuple[str, str, int]]:
    """(code, file, row) of each finding; mere advice apart."""
    assert len({f.sort_key for f in result.findings}) == len(result.findings)
    found = (f for f in result.findings if f.severity is not Severity.INFO)
    return {(f.code, f.place.filename, f.place.location.row) for f in found}


# ---------------------------------------------------------------------------- the same answer


def test_the_project_has_these_findings(project: Path) -> None:
    """What the tests below compare is not empty."""
    assert places(scan(project)) == FOUND


def test_processes_do_not_matter(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = scan(project)
    pools: list[int] = []
    original = load._in_processes

    def in_processes(missing: object, lower: object, processes: int) -> Iterator[object]:
        pools.append(processes)
        return original(missing, lower, processes)  # type: ignore[arg-type]

    monkeypatch.setattr(load, "_in_processes", in_processes)
    monkeypatch.setattr(load, "MIN_BYTES_PER_PROCESS", 10)
    monkeypatch.setattr(load, "CHUNK_BYTES", 10)
    assert scan(project, jobs=2) == alone
    assert pools == [2]


def test_the_cache_does_not_matter(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uncached = scan(project)
    cold = scan(project, cache=Cache(project / ".nnaudit_cache"))
    monkeypatch.setattr("nnaudit.analyzer.lower.lower", None)  # a warm scan lowers nothing
    warm = scan(project, cache=Cache(project / ".nnaudit_cache"))
    assert uncached == cold == warm


def test_the_cache_does_not_keep_what_was_edited(project: Path) -> None:
    cache = Cache(project / ".nnaudit_cache")
    scan(project, cache=cache)
    write(project, {"model.py": MODEL.replace(", nn.Softmax(dim=1)", "")})
    assert places(scan(project, cache=cache)) == FOUND - {("NN302", "train.py", 9)}


@pytest.mark.parametrize("order", list(itertools.permutations(PROJECT)))
def test_the_order_of_paths_does_not_matter(project: Path, order: tuple[str, ...]) -> None:
    assert scan(*(project / name for name in order)) == scan(project)


def test_a_path_named_twice_is_one(project: Path) -> None:
    assert scan(project, project / "train.py", project) == scan(project)


@pytest.mark.parametrize("name", PROJECT)
def test_one_file_named_keeps_the_facts_of_the_others(project: Path, name: str) -> None:
    """train.py needs what model.py returns; utils.py is only wrong because of what train.py hands it."""
    one = scan(project / name)
    assert one.findings == tuple(f for f in scan(project).findings if f.place.filename == name)
    assert one.files == 1


def test_a_caller_without_any_trigger_is_seen(folder: Path) -> None:
    files = {"utils.py": UTILS, "go.py": "from utils import measure\nmeasure(x.softmax(1), y)\n"}
    write(folder, files)
    assert places(scan(folder / "utils.py")) == {("NN302", "utils.py", 4)}


def test_files_of_packages_are_reached_through_re_exports(folder: Path) -> None:
    train = TRAIN.replace("from model", "from nets").replace("from utils import measure", "measure = print")
    write(folder, {"nets/__init__.py": "from .net import Net", "nets/net.py": MODEL, "scripts/train.py": train})
    assert places(scan(folder / "scripts")) == {("NN302", "scripts/train.py", 9), ("NN505", "scripts/train.py", 10)}


# ---------------------------------------------------------------------------- unsaved text


def test_unsaved_text_counts_instead_of_the_file(project: Path) -> None:
    clean = {project / "train.py": TRAIN.replace("criterion(model(x), y)", "model(x).mean()")}
    assert ("NN302", "train.py", 9) not in places(scan(project, overlay=clean))
    moved = {project / "train.py": "\n\n" + TRAIN}
    assert ("NN302", "train.py", 11) in places(scan(project / "train.py", overlay=moved))


def test_unsaved_text_of_another_file_counts(project: Path) -> None:
    overlay = {project / "model.py": MODEL.replace(", nn.Softmax(dim=1)", "")}
    assert places(scan(project / "train.py", overlay=overlay)) == {("NN505", "train.py", 10)}


def test_a_file_that_is_not_saved_yet(project: Path) -> None:
    new = project / "new.py"
    assert places(scan(new, overlay={new: TRAIN})) == {("NN302", "new.py", 9), ("NN505", "new.py", 10)}


# ---------------------------------------------------------------------------- what goes wrong


class Failing(CrossEntropyOnProbabilities):
    """Finds what its parent finds, then fails."""

    code, name = "NN399", "failing"

    def scan(self, program: Program) -> Iterator[Finding]:
        yield from super().scan(program)
        raise KeyError("surprise")


def test_a_rule_that_raises_is_one_problem(project: Path) -> None:
    rules = [rule() for rule in discover()]
    result = scan(project, rules=[Failing(), *rules])
    [problem] = result.problems
    assert "NN399" in problem.message
    assert "surprise" in problem.message
    assert places(result) >= FOUND


def test_an_interpreter_that_fails_on_a_file_is_one_problem(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """model.py is lost, and with it what train.py knows of the model; everything else stays."""
    original = engine.Linker.run

    def run(linker: engine.Linker) -> object:
        interpreter = linker.interpreter
        run_module = interpreter.run_module

        def failing(scope: object) -> None:
            if scope.filename == "model.py":  # type: ignore[attr-defined]
                raise ZeroDivisionError("surprise")
            run_module(scope)  # type: ignore[arg-type]

        interpreter.run_module = failing  # type: ignore[method-assign]
        return original(linker)

    monkeypatch.setattr(engine.Linker, "run", run)
    result = scan(project)
    assert [p.filename for p in result.problems] == ["model.py"]
    assert "nnaudit failed" in result.problems[0].message
    assert ("NN302", "utils.py", 4) in places(result)


BAD: dict[str, str | bytes] = {
    "broken.py": "def f(:\n",
    "python2.py": "print 'loss'\n",
    "binary.py": b"\0\1\2",
    "latin.py": b"x = '\xe9'\n",
    "notebook.ipynb": "{}",
    "deep.py": "x = " + "(" * 3000 + ")" * 3000,
}


def test_each_bad_file_is_one_problem_and_the_rest_is_scanned(project: Path) -> None:
    write(project, BAD)
    result = scan(project, *(project / name for name in (*BAD, "missing.py")))
    names = [str(Path(p.filename).name) for p in result.problems]
    assert sorted(names) == sorted([*BAD, "missing.py"])
    assert all("nnaudit failed" not in p.message for p in result.problems)
    assert places(result) == FOUND


def test_a_named_file_is_read_even_if_nothing_in_it_matters(project: Path) -> None:
    write(project, {"notes.py": "def f(:\n"})
    assert scan(project).problems == ()
    [problem] = scan(project, project / "notes.py").problems
    assert (problem.filename, problem.row) == ("notes.py", 1)


def test_bad_files_that_were_not_named_are_no_problem(project: Path) -> None:
    write(project, BAD)
    result = scan(project / "train.py")
    assert result.problems == ()
    assert {code for code, _, _ in places(result)} == {"NN302", "NN505"}


def test_an_empty_project(folder: Path) -> None:
    write(folder, {"empty.py": ""})
    result = scan(folder)
    assert (result.findings, result.problems, result.files) == ((), (), 1)


# ---------------------------------------------------------------------------- one finding a line


def test_two_losses_in_a_line_are_one_finding(folder: Path) -> None:
    measure = "import torch.nn.functional as F\np = x.softmax(1)\n"
    write(folder, {"a.py": measure + "l = F.cross_entropy(p, y) + F.cross_entropy(p, z)\n"})
    [found] = scan(folder).findings
    assert found.place.location.column == 5
    write(folder, {"a.py": measure + "l = (F.cross_entropy(p, y) +\n     F.cross_entropy(p, z))\n"})
    assert places(scan(folder)) == {("NN302", "a.py", 3), ("NN302", "a.py", 4)}


def test_a_function_reached_in_many_ways_is_one_finding(folder: Path) -> None:
    calls = "for _ in range(9):\n    measure(x.softmax(1), y)\nmeasure(z.softmax(1), y)\n"
    write(folder, {"a.py": UTILS + calls, "b.py": "from a import measure\n" + calls})
    assert [f.sort_key[:3] for f in scan(folder).findings] == [("a.py", 0, 4)]


def test_two_rules_on_one_line_are_two_findings(project: Path) -> None:
    class Again(CrossEntropyOnProbabilities):
        """The same under another code."""

        code, name = "NN399", "again"

        def scan(self, program: Program) -> Iterator[Finding]:
            return (replace(f, code=self.code) for f in super().scan(program))

    result = scan(project / "train.py", rules=[CrossEntropyOnProbabilities(), Again()])
    assert places(result) == {("NN302", "train.py", 9), ("NN399", "train.py", 9)}


# ---------------------------------------------------------------------------- rows and columns

HEAD = "import torch.nn.functional as F\nfrom torch import nn\np = nn.Softmax(1)(x)\n"
CALL = "«F.cross_entropy(p, y)»"


@pytest.mark.parametrize(
    "text",
    [
        CALL,
        f"loss = {CALL}",
        f"if flag:\n\tif other:\n\t\tloss\t=\t{CALL}  # comment",
        f"name = 'ééé 漢字 😀'; loss = {CALL}",
        f"π = 1\nλ = (π, {CALL}, π)",
        f"loss = (  ( {CALL} ) )",
        f"loss = 1 + \\\n    {CALL}",
        f"values = [\n    1,\n\n    # comment\n    {CALL},\n]",
        f'text = """\nmany\nlines\n"""; loss = {CALL}',
        f"if {CALL} > 1:\n    pass",
        f"while not {CALL}: pass",
        f"with open({CALL}) as f:\n    pass",
        f"print(f'{{{CALL}}}')",
        f"@decorate\n@other(1)\ndef f(a):\n    return {CALL}\nf(1)",
        f"class A:\n    @property\n    def f(self):\n        return {CALL}\nA().f",
        f"total = sum({CALL} for _ in range(3))",
        f"\n\n\x0c\nloss = {CALL}",
        "loss = «F.cross_entropy(\n    p,\n    y,\n)»",
        "loss = «F.cross_entropy(p,\n                       target=y)»",
        "loss = «F . cross_entropy (p, y)»",
        "loss = («F\n    .cross_entropy(p, y)»)",
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "BOM"])
def test_the_range_of_a_finding(folder: Path, text: str, newline: str, mark: str) -> None:
    """What stands in « » is found; every newline counts as one, and columns count characters."""
    whole = HEAD + text + "\n"
    start, end = whole.index("«"), whole.index("»") - 1
    whole = whole.replace("«", "").replace("»", "")
    write(folder, {"a.py": (mark + whole).replace("\n", newline)})
    [found] = scan(folder, rules=[CrossEntropyOnProbabilities()]).findings
    for location, offset in ((found.place.location, start), (found.place.end_location, end)):
        before = whole[:offset]
        assert (location.row, location.column) == (before.count("\n") + 1, offset - before.rfind("\n"))


def test_positions_agree_with_those_of_libcst() -> None:
    """Every node of real files; libcst computes them the slow way. Compound statements are cut to their header."""
    folder = Path(engine.__file__).parent
    for path in [folder / "expressions.py", folder / "load.py", Path(__file__)]:
        read = source.read(path)
        wrapper = MetadataWrapper(cst.parse_module(read.text), unsafe_skip_copy=True)
        slow = wrapper.resolve(PositionProvider)
        lowering = Lowering(record=True)
        lowering.file(wrapper.module, read.filename, 0)
        nodes = dict(enumerate(lowering.nodes or []))
        assert len(nodes) > 900
        for number, place in locate(read, nodes).items():
            known = slow[nodes[number]]
            assert (place.location.row, place.location.column) == (known.start.line, known.start.column + 1)
            if not isinstance(nodes[number], _COMPOUND):
                end = place.end_location
                assert (end.row, end.column) == (known.end.line, known.end.column + 1)


def test_a_compound_statement_ends_with_its_header() -> None:
    text = "x = 1\nfor i in data:  \n    pass\n"
    lowering = Lowering(record=True)
    lowering.file(cst.parse_module(text), "a.py", 3)
    [number] = [n for n, node in enumerate(lowering.nodes or []) if isinstance(node, cst.For)]
    read = source.Source(Path("a.py"), "a.py", text, text.encode(), (source.Cell(text),))
    place = locate(read, [number])[number]
    assert ((place.location.row, place.location.column), place.end_location.row) == ((2, 1), 2)
    assert place.end_location.column == len("for i in data:") + 1


# ---------------------------------------------------------------------------- notebooks


def notebook(*cells: tuple[str, str]) -> str:
    """A notebook of (kind, text)."""
    made = [{"cell_type": kind, "source": text.splitlines(keepends=True), "metadata": {}} for kind, text in cells]
    return json.dumps({"cells": made, "nbformat": 4, "nbformat_minor": 5, "metadata": {}})


def test_findings_in_notebooks_name_the_cell_and_the_row_in_it(folder: Path) -> None:
    text = notebook(
        ("markdown", "# Title\n\nwords"),
        ("code", "%matplotlib inline\n!pip install torch\n" + HEAD),
        ("code", "%%bash\nls\nls\n"),
        ("raw", "x"),
        ("code", "é = 1\nloss = F.cross_entropy(\n    p, y)\n"),
    )
    write(folder, {"a.ipynb": text})
    [found] = scan(folder / "a.ipynb").findings
    place = found.place
    assert (place.filename, place.cell) == ("a.ipynb", 5)
    assert (place.location.row, place.location.column) == (2, 8)
    assert (place.end_location.row, place.end_location.column) == (3, 10)
    [softmax, *_] = [hop.at for hop in found.evidence]
    assert isinstance(softmax, Place)
    assert (softmax.cell, softmax.location.row) == (2, 5)


def test_the_same_row_of_two_cells_is_two_findings(folder: Path) -> None:
    write(
        folder,
        {"a.ipynb": notebook(("code", HEAD), ("code", "F.cross_entropy(p, y)"), ("code", "F.cross_entropy(p, y)"))},
    )
    assert [(f.place.cell, f.place.location.row) for f in scan(folder / "a.ipynb").findings] == [(2, 1), (3, 1)]


def test_a_notebook_uses_the_modules_beside_it(project: Path) -> None:
    write(project, {"a.ipynb": notebook(("code", TRAIN))})
    assert places(scan(project / "a.ipynb")) == {("NN302", "a.ipynb", 9), ("NN505", "a.ipynb", 10)}
