"""The configuration file, and which rules it selects."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import RULES, Seeds, Sigmoid, Softmax, finding

from nnaudit.analyzer.config import Config, Layer, Patterns, load
from nnaudit.analyzer.select import FileIgnores, find_rule, problems, select_rules, wants_advice
from nnaudit.rules.finding import Confidence

ALL_CODES = ["NN302", "NN304", "NN508", "NN804"]
DEFAULT = ["NN302", "NN304", "NN508"]


def config_of(folder: Path, text: str, name: str = "nnaudit.toml") -> Config:
    (folder / name).write_text(text)
    return load(folder)


def messages(config: Config) -> list[str]:
    return [problem.message for problem in config.problems]


def test_every_key_is_read(tmp_path: Path) -> None:
    config = config_of(
        tmp_path,
        """
        select = ["NN3"]
        ignore = ["NN304"]
        extend-select = ["NN804"]
        min-confidence = "likely"
        include = ["*.py", "*.ipynb"]
        exclude = ["old"]
        extend-exclude = ["generated_*.py"]
        respect-gitignore = false
        cache-dir = "cache"
        per-file-ignores = {"tests/**" = ["NN302"]}
        [rules.cross-entropy-on-probabilities]
        limit = 7
        """,
    )
    assert config.problems == ()
    assert [(layer.select, layer.ignore, layer.extend_select) for layer in config.selection] == [
        (("NN3",), ("NN304",), ("NN804",))
    ]
    assert config.min_confidence is Confidence.LIKELY
    assert config.include == ("*.py", "*.ipynb")
    assert config.excluded == ("old", "generated_*.py")
    assert not config.respect_gitignore
    assert config.cache_dir == tmp_path / "cache"
    assert config.per_file_ignores == (("tests/**", ("NN302",)),)
    assert config.rule_options == {"cross-entropy-on-probabilities": {"limit": 7}}
    [rule, _] = select_rules(RULES, config)
    assert rule.settings == {"strict": False, "limit": 7, "factor": 0.5, "mode": "min"}


def test_nearest_file_upwards_wins(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "nnaudit.toml").write_text('select = ["NN1"]')
    assert load(inner).file == tmp_path / "nnaudit.toml"
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert load(inner).file == tmp_path / "nnaudit.toml", "a pyproject.toml without our table does not count"
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.nnaudit]\n")
    assert load(inner).file == tmp_path / "a" / "pyproject.toml"
    (tmp_path / "a" / "nnaudit.toml").write_text("")
    assert load(inner).file == tmp_path / "a" / "nnaudit.toml"
    assert load(inner, tmp_path / "nnaudit.toml").file == tmp_path / "nnaudit.toml"


def test_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    config = config_of(tmp_path, '[tool.nnaudit]\nselct = ["NN3"]\nignore = ["NN304"]\n', "pyproject.toml")
    assert messages(config) == ["unknown key 'selct'; did you mean 'select'?"]
    assert config.selection[0].ignore == ("NN304",), "the rest of the file counts"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('select = "NN3"', "select: a list of strings"),
        ("select = [3]", "select: a list of strings"),
        ('min-confidence = "sure"', 'min-confidence: "certain" or "likely"'),
        ("min-confidence = []", 'min-confidence: "certain" or "likely"'),
        ("respect-gitignore = 1", "respect-gitignore: true or false"),
        ("cache-dir = 1", "cache-dir: a string"),
        ("per-file-ignores = []", "per-file-ignores: a table"),
        ("rules = 1", "rules: a table of tables"),
        ("[rules]\nNN302 = 1", "must be a table: [tool.nnaudit.rules.NN302]"),
        ("[rules.NN302]\nlimit = []", "NN302.limit must be a number"),
        ("select = [", "is not valid TOML"),
    ],
)
def test_wrong_values_are_one_problem_each(tmp_path: Path, text: str, expected: str) -> None:
    config = config_of(tmp_path, text)
    assert len(config.problems) == 1
    assert expected in config.problems[0].message
    assert config.problems[0].filename == str(tmp_path / "nnaudit.toml")
    assert [rule.code for rule in select_rules(RULES, config)] == DEFAULT


def test_missing_explicit_file_is_a_problem(tmp_path: Path) -> None:
    assert "does not exist" in messages(load(tmp_path, tmp_path / "no.toml"))[0]


def test_broken_pyproject_is_a_problem(tmp_path: Path) -> None:
    assert "is not valid TOML" in messages(config_of(tmp_path, "[tool", "pyproject.toml"))[0]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([Layer()], DEFAULT),
        ([Layer(select=("NN3",))], ["NN302", "NN304"]),
        ([Layer(select=("nn302",))], ["NN302"]),
        ([Layer(select=("clipping-order",))], ["NN508"]),
        ([Layer(select=("ALL",))], ALL_CODES),
        ([Layer(select=("ALL",), ignore=("NN3",))], ["NN508", "NN804"]),
        ([Layer(select=("NN302",), ignore=("NN3",))], ["NN302"]),
        ([Layer(select=("NN3",), ignore=("NN302",))], ["NN304"]),
        ([Layer(select=("NN302",), ignore=("NN302",))], []),
        ([Layer(ignore=("NN3",), extend_select=("NN304",))], ["NN304", "NN508"]),
        ([Layer(ignore=("ALL",))], []),
        ([Layer(extend_select=("NN804",))], ALL_CODES),
        ([Layer(extend_select=("unseeded-run",))], ALL_CODES),
        ([Layer(extend_select=("NN8",))], DEFAULT),
        ([Layer(select=("NN8",))], []),
        # the command line comes second
        ([Layer(select=("NN3",)), Layer(select=("NN508",))], ["NN508"]),
        ([Layer(select=("NN3",)), Layer(extend_select=("NN508",))], DEFAULT),
        ([Layer(select=("NN3",), extend_select=("NN804",)), Layer(select=("NN3",))], ["NN302", "NN304"]),
        ([Layer(ignore=("NN302",)), Layer(select=("NN3",))], ["NN304"]),
        ([Layer(ignore=("NN302",)), Layer(select=("NN302",))], ["NN302"]),
        ([Layer(select=("NN302",)), Layer(ignore=("NN302",))], []),
        ([Layer(), Layer(ignore=("NN3",))], ["NN508"]),
    ],
)
def test_selection(tmp_path: Path, layers: list[Layer], expected: list[str]) -> None:
    config = Config(tmp_path, selection=tuple(layers))
    assert [rule.code for rule in select_rules(reversed(RULES), config)] == expected
    assert problems(RULES, config) == ()


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Layer(), False),
        (Layer(select=("NN3",)), False),
        (Layer(select=("NN302",)), True),
        (Layer(select=("ALL",)), True),
        (Layer(extend_select=("NN302",)), True),
    ],
)
def test_advice_of_an_ordinary_rule_must_be_asked_for(tmp_path: Path, layer: Layer, expected: bool) -> None:
    assert wants_advice(Softmax, Config(tmp_path, selection=(layer,))) is expected


@pytest.mark.parametrize(
    ("selector", "offer"),
    [
        ("NN303", "'NN30"),
        ("cross-entropy-on-probability", "'cross-entropy-on-probabilities'"),
        ("xyz", "nnaudit rules"),
    ],
)
def test_unknown_selector_names_the_nearest(tmp_path: Path, selector: str, offer: str) -> None:
    for layer in (Layer(select=(selector,)), Layer(ignore=(selector,)), Layer(extend_select=(selector,))):
        [problem] = problems(RULES, Config(tmp_path, selection=(layer,)))
        assert f"unknown rule {selector!r}" in problem.message
        assert offer in problem.message


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("NN302", {"limti": 1}, "unknown option 'limti'; did you mean 'limit'?"),
        ("NN302", {"limit": 1.5}, "limit: a whole number is needed"),
        ("NN302", {"limit": True}, "limit: a whole number is needed"),
        ("NN302", {"strict": 1}, "strict: true or false is needed"),
        ("NN302", {"factor": "x"}, "factor: a number is needed"),
        ("NN304", {"limit": 1}, "has no options"),
        ("cliping-order", {}, "did you mean 'clipping-order'?"),
    ],
)
def test_wrong_rule_options(tmp_path: Path, name: str, options: dict[str, object], expected: str) -> None:
    config = Config(tmp_path, rule_options={name: options})  # type: ignore[dict-item]
    [problem] = problems(RULES, config)
    assert expected in problem.message
    assert select_rules(RULES, config)[0].settings == Softmax.options, "a wrong option does not count"


def test_whole_number_for_a_float_option(tmp_path: Path) -> None:
    config = Config(tmp_path, rule_options={"NN302": {"factor": 2}})
    assert problems(RULES, config) == ()
    assert select_rules(RULES, config)[0].settings["factor"] == 2


def test_find_rule() -> None:
    assert find_rule("nn304", RULES) is Sigmoid
    assert find_rule("unseeded-run", RULES) is Seeds
    assert find_rule("NN3", RULES) is None


def test_per_file_ignores(tmp_path: Path) -> None:
    entries = (("tests/**", ("NN3",)), ("*_demo.py", ("cross-entropy-on-probabilities",)))
    dropped = FileIgnores(Config(tmp_path, per_file_ignores=entries))
    assert dropped(str(tmp_path / "tests" / "a" / "x.py"), finding(), Softmax)
    assert dropped(str(tmp_path / "src" / "x_demo.py"), finding(), Softmax)
    assert not dropped(str(tmp_path / "src" / "x_demo.py"), finding(rule=Sigmoid), Sigmoid)
    assert not dropped(str(tmp_path / "src" / "tests.py"), finding(), Softmax)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("build", "build", True),
        ("build", "a/build", True),
        ("build", "rebuild", False),
        ("build/", "build", True),
        ("./docs/old", "docs/old", True),
        ("docs/old", "x/docs/old", False),
        ("*.gen.py", "a/b.gen.py", True),
        ("a/**/x.py", "a/x.py", True),
        ("a/**/x.py", "a/b/c/x.py", True),
        ("**/x.py", "x.py", True),
        ("a/**", "a", True),
        ("a/**", "ab", False),
        ("a[12].py", "a2.py", True),
    ],
)
def test_patterns(pattern: str, path: str, expected: bool) -> None:
    assert Patterns([pattern])(path) is expected
