"""The package itself: what is installed, what importing costs, who imports whom."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import nnaudit

ROOT = Path(nnaudit.__file__).resolve().parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOT_INSTALLED = {"tests", "examples", "benchmarks", "docs", "build", "dist"}


def package_folders() -> set[str]:
    """Dotted names of all folders that hold our modules."""
    names = set()
    for path in source_files():
        names.add(".".join(("nnaudit", *path.relative_to(ROOT).parent.parts)))
    return names


def source_files() -> list[Path]:
    """Every module of the package."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        top = Path(folder) == ROOT
        folders[:] = sorted(
            name for name in folders if name[0] not in "._" and not (top and (name in NOT_INSTALLED or "egg" in name))
        )
        found += [Path(folder, name) for name in sorted(files) if name.endswith(".py")]
    return found


def test_packages_are_the_folders() -> None:
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(package_folders())
    for path in {path.parent for path in source_files()}:
        assert (path / "__init__.py").is_file(), f"{path} lacks __init__.py"


def test_version_is_the_same_everywhere() -> None:
    version = PROJECT["project"]["version"]
    assert nnaudit.__version__ == version
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_core_dependencies_stay_small() -> None:
    names = {item.split(">")[0].split("=")[0] for item in PROJECT["project"]["dependencies"]}
    assert names == {"libcst", "click", "rich", "pathspec"}


def test_constraints_pin_every_dependency() -> None:
    pins = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["test"]]
    for requirement in wanted:
        assert requirement.split(">")[0].split("=")[0].lower() in pins, requirement
    assert pins["torch"] == "2.13.0"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names in a wheel that was built from a copy with everything that must stay out of it."""
    copy = tmp_path_factory.mktemp("wheel") / "nnaudit"
    ignored = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, copy, ignore=ignored)
    for name in (".venv/lib/site.py", "build/types/old.py", "tests/left.py", "examples/left.py", "benchmarks/left.py"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("x = 1\n")
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(copy.parent / "out"),
        str(copy),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    [built] = (copy.parent / "out").glob("*.whl")
    return zipfile.ZipFile(built).namelist()


def test_wheel_holds_the_package_and_nothing_else(wheel: list[str]) -> None:
    modules = {name for name in wheel if ".dist-info/" not in name}
    expected = {f"nnaudit/{path.relative_to(ROOT).as_posix()}" for path in source_files()}
    assert modules == expected | {"nnaudit/py.typed"}
    rules = {name for name in modules if name.startswith("nnaudit/rules/") and name.count("/") == 3}
    assert len(rules) > 14
    assert any(name.endswith("licenses/LICENSE") for name in wheel)


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "numpy"):
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
"""


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(nnaudit.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


SCRIPT = """import torch
import numpy as np
model = torch.nn.Sequential(torch.nn.Linear(8, 3), torch.nn.Softmax(dim=1))
criterion = torch.nn.CrossEntropyLoss()
for x, y in loader:
    loss = criterion(model(x), y)
    loss.backward()
"""


CLEAN = """import torch
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST

model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
criterion = torch.nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(MNIST("data"), batch_size=32, shuffle=True)
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
"""


def test_scan_imports_neither_torch_nor_numpy(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    code = BLOCK + (
        "import nnaudit\n"
        "result = nnaudit.scan('.', select=['ALL'], jobs=2)\n"
        "assert 'NN302' in [finding.code for finding in result.findings], result\n"
        "assert not result.problems\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\n"
    )
    run = run_python(code, tmp_path)
    assert run.returncode == 0, run.stderr


def test_judging_a_record_needs_neither_torch_nor_numpy(tmp_path: Path) -> None:
    """A record is made here of nouns alone; the command reads and judges it with torch blocked."""
    code = BLOCK + (
        "from pathlib import Path\n"
        "from nnaudit.tracer.run import Line, LossUse\n"
        "from nnaudit.tracer.store import Record\n"
        "record = Record(Path('run/rank0.sqlite'), print)\n"
        "record.start()\n"
        "record.new(LossUse, line=Line('train.py', 7), function='cross_entropy', evaluations=30, checked=30,\n"
        "           with_graph=30, classes=3, input_shape=[8, 3], probabilities=30, within_unit=30, positive=30,\n"
        "           low=0.0, high=1.0, elements=720)\n"
        "record.stop()\n"
        "from nnaudit.interfaces.cli import main\n"
        "try:\n"
        "    main(['report', 'run', '--output-format', 'concise'])\n"
        "finally:\n"
        "    assert not {'torch', 'numpy'} & set(sys.modules)\n"
    )
    run = run_python(code, tmp_path)
    assert run.returncode == 1, run.stderr
    assert "train.py:7:1: NN302 [certain]" in run.stdout


def test_warm_scan_of_clean_files_does_not_import_the_parser(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(CLEAN)
    code = "import sys, nnaudit\nnnaudit.scan('.', select=['NN302'])\nprint('libcst' in sys.modules)\n"
    assert run_python(code, tmp_path).stdout == "True\n"
    assert run_python(code, tmp_path).stdout == "False\n"


def test_importing_the_package_is_cheap(tmp_path: Path) -> None:
    code = "import sys, nnaudit\nprint(sorted(name for name in sys.modules if name.startswith(('nnaudit', 'libcst'))))"
    assert run_python(code, tmp_path).stdout == "['nnaudit']\n"


# ---------------------------------------------------------------------------- who imports whom


def module_name(path: Path) -> str:
    parts = ["nnaudit", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in source_files()}


def imports(name: str, *, when: str) -> set[str]:
    """Our modules that ``name`` imports: ``load`` (executed on import) or ``any`` (also later, not for typing)."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in statements(ast.parse(path.read_text()), inside_functions=when == "any"):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            target = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                inner = f"{target}.{alias.name}"
                if inner in MODULES:
                    found.add(inner)
                elif target in MODULES:
                    found.add(target)
    return found - {name}


def statements(node: ast.AST, *, inside_functions: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not inside_functions:
            continue
        yield child
        yield from statements(child, inside_functions=inside_functions)


CONCRETE = {name for name in MODULES if name.startswith("nnaudit.rules.") and name.count(".") == 3}


def test_the_check_itself_sees_imports() -> None:
    assert "nnaudit.rules.finding" in imports("nnaudit.rules.rule", when="load")
    assert "nnaudit.analyzer.program" not in imports("nnaudit.rules.rule", when="any"), "only for typing"
    assert "nnaudit.analyzer.engine" in imports("nnaudit.interfaces.scan", when="any")
    assert "nnaudit.analyzer.engine" not in imports("nnaudit.interfaces.scan", when="load")
    assert len(CONCRETE) >= 14


def test_the_ground_floor_imports_nothing_of_ours() -> None:
    assert imports("nnaudit.rules.finding", when="any") == set()
    assert imports("nnaudit.rules.rule", when="any") == {"nnaudit.rules.finding"}


def test_only_interfaces_meet_concrete_rules() -> None:
    allowed = {"nnaudit.rules.rule", "nnaudit.rules.finding"}
    for name in MODULES:
        used = {other for other in imports(name, when="any") if other.startswith("nnaudit.rules")}
        if name.startswith(("nnaudit.analyzer", "nnaudit.tracer", "nnaudit.reports")):
            assert used <= allowed, name
        elif name.startswith("nnaudit.rules") and name not in CONCRETE:
            assert not used & CONCRETE, name


def test_concrete_rules_stand_alone() -> None:
    for name in CONCRETE:
        used = imports(name, when="any")
        assert not used & CONCRETE, name
        assert "nnaudit.analyzer.program" not in used, f"{name}: Program is for typing only"
        assert not {other for other in used if other.startswith(("nnaudit.reports", "nnaudit.interfaces"))}, name


def test_lower_floors_do_not_import_higher_ones() -> None:
    for name in MODULES:
        used = imports(name, when="any")
        if name.startswith("nnaudit.analyzer"):
            assert not {other for other in used if other.startswith(("nnaudit.reports", "nnaudit.interfaces"))}, name
        if name.startswith("nnaudit.tracer"):
            above = ("nnaudit.analyzer", "nnaudit.reports", "nnaudit.interfaces")
            assert not {other for other in used if other.startswith(above)}, name
        if name.startswith("nnaudit.reports"):
            assert not {other for other in used if other.startswith("nnaudit.interfaces")}, name


def test_imports_have_no_circle() -> None:
    graph = {name: imports(name, when="load") for name in MODULES}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*above, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())
