"""Every rule: its shape, its page, and its examples, which are tests."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import places, scan_files

import nnaudit
from nnaudit.rules import discover
from nnaudit.rules.finding import Severity
from nnaudit.rules.rule import FINDING_MARK, Example, Rule

GROUPS = {
    "1": "data",
    "2": "preprocessing",
    "3": "loss",
    "4": "model",
    "5": "loop",
    "6": "optimization",
    "7": "numerics",
    "8": "distributed",
}
SECTIONS = [
    "What it is",
    "Why it hurts training",
    "How it is told apart from code that only looks alike",
    "What to do",
]
KINDS = ("bad", "good")

each_rule = pytest.mark.parametrize("rule", discover(), ids=lambda rule: rule.code)


def each_example(*kinds: str) -> pytest.MarkDecorator:
    """One test for every example of these kinds."""
    cases = [
        pytest.param(rule, example, id=f"{rule.code}-{kind}{number}")
        for rule in discover()
        for kind in kinds
        for number, example in enumerate(getattr(rule, kind))
    ]
    return pytest.mark.parametrize(("rule", "example"), cases)


def test_there_are_rules() -> None:
    assert len(discover()) >= 14


def test_codes_and_names_are_unique() -> None:
    assert len({rule.code for rule in discover()}) == len(discover())
    assert len({rule.name for rule in discover()}) == len(discover())


@each_rule
def test_shape(rule: type[Rule]) -> None:
    assert re.fullmatch(r"NN[1-8]\d\d", rule.code)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)
    assert rule.__name__.lower() == rule.name.replace("-", "")
    assert rule.points == tuple(sorted(set(rule.points)))
    assert rule.points or rule.code == "NN805"  # what a file may do when it is loaded is no point of the checklist
    assert set(rule.points) <= set(range(1, 38))
    assert isinstance(rule.severity, Severity)
    assert rule.scans() or rule.watches() or rule.probes()
    assert bool(rule.triggers) == rule.scans()
    assert all(trigger.isidentifier() for trigger in rule.triggers)


@each_rule
def test_file(rule: type[Rule]) -> None:
    path = Path(inspect.getfile(rule))
    assert path.stem == rule.name.replace("-", "_")
    assert path.parent.name == GROUPS[rule.code[2]]
    title = inspect.getdoc(sys.modules[rule.__module__]) or ""
    assert title.startswith(f"{rule.code}: ")
    assert len(title.splitlines()) == 1


@each_rule
def test_page(rule: type[Rule]) -> None:
    page = inspect.getdoc(rule) or ""
    summary, _, rest = page.partition("\n\n")
    assert summary.endswith(".")
    assert "\n" not in summary
    assert rest.startswith("## ")
    assert re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE) == SECTIONS
    sections = [text.strip() for text in re.split(r"^## .*$", page, flags=re.MULTILINE)[1:]]
    assert all(len(text) > 80 for text in sections)
    assert page.count("```") % 2 == 0


@pytest.mark.parametrize("rule", [rule for rule in discover() if rule.scans()], ids=lambda rule: rule.code)
@pytest.mark.parametrize("kind", KINDS)
def test_there_are_enough_examples(rule: type[Rule], kind: str) -> None:
    examples = getattr(rule, kind)
    assert len(examples) >= 4
    assert any(len(example.files) > 1 for example in examples), "no example has several files"
    assert len({example.text for example in examples}) == len(examples)
    assert all(re.fullmatch(r"[A-Za-z_].*\.", example.why) for example in examples), "each example says why it is there"


@each_example(*KINDS)
def test_examples_parse(rule: type[Rule], example: Example) -> None:
    for path, text in example.files.items():
        assert path.endswith(".py")
        ast.parse(text, path)


@each_example("bad")
def test_bad_examples_are_marked(rule: type[Rule], example: Example) -> None:
    marks = example.marked(rule.code)
    assert marks
    assert example.text.count(FINDING_MARK) == len(marks), "marks of other rules"
    words = set(re.findall(r"\w+", example.text))
    assert words & set(rule.triggers), "no file has a trigger: the prefilter would skip the project"


@each_example("good")
def test_good_examples_are_not_marked(rule: type[Rule], example: Example) -> None:
    assert FINDING_MARK not in example.text


@each_example("bad")
def test_bad_examples_are_found(rule: type[Rule], example: Example, tmp_path: Path) -> None:
    """At exactly the marked lines, and no other rule says anything."""
    expected = sorted((rule.code, path, row) for path, row in example.marked(rule.code))
    assert places(scan_files(example.files, tmp_path, own=rule.code), tmp_path) == expected


@each_example("good")
def test_good_examples_stay_silent(rule: type[Rule], example: Example, tmp_path: Path) -> None:
    assert places(scan_files(example.files, tmp_path, own=rule.code), tmp_path) == []


@each_example("bad")
def test_findings_are_readable(rule: type[Rule], example: Example, tmp_path: Path) -> None:
    for finding in scan_files(example.files, tmp_path, select=[rule.code], own=rule.code):
        assert (finding.name, finding.points) == (rule.name, rule.points)
        assert finding.message.endswith(".")
        assert finding.advice.endswith(".")
        assert not re.search(r"\{\d*\}", finding.message + finding.advice), "a place was not filled in"


def test_rules_need_neither_torch_nor_numpy() -> None:
    program = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['numpy'] = None\n"
        "from nnaudit.rules import discover\n"
        "print(len(discover()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(discover())


def test_healthy_scripts_stay_silent() -> None:
    """The scripts that the tracer must leave alone are right from the source, too."""
    runs = Path(__file__).parent / "runs"
    result = nnaudit.scan([runs / "healthy", runs / "equal"], cache=False)
    assert result.problems == ()
    assert [f"{f.code} {f.place}" for f in result.findings] == []
