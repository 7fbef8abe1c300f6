"""Every output format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from house import RULES, Clip, Seeds, Softmax, finding, place

from nnaudit import reports
from nnaudit.analyzer.result import Problem, ScanResult, Unknown
from nnaudit.reports import catalogue, summary
from nnaudit.reports.text import SourceLines
from nnaudit.rules.finding import Confidence, Finding, Hop, Location, Place, Severity

TRAIN = "import torch\nloss = criterion(model(x), y)\n\nprint(loss)\n"
MODEL = "class Net:\n    def forward(self, x):\n        return softmax(x)\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


HOPS = (
    Hop("returns probabilities", place("model.py", 3, 16, 10), "softmax"),
    Hop("is fed to", place("train.py", 2, 8, 9)),
)


def result(*findings: Finding, **more: object) -> ScanResult:
    return ScanResult(findings, **more)  # type: ignore[arg-type]


def render(format: str, *findings: Finding, color: bool = False, **more: object) -> str:
    rules = [rule() for rule in RULES]
    return reports.render(format, result(*findings, **more), rules, color=color)


def test_full() -> None:
    text = render("full", finding(place("train.py", 2, 8, 22), evidence=HOPS))
    assert text == (
        "train.py:2:8: NN302 [certain] cross-entropy-on-probabilities\n"
        "  Softmax already turned logits into probabilities.\n"
        "    |\n"
        "  1 | import torch\n"
        "  2 | loss = criterion(model(x), y)\n"
        "    |        ^^^^^^^^^^^^^^^^^^^^^^\n"
        "  3 |\n"
        "  4 | print(loss)\n"
        "  why I believe this\n"
        "    1. model.py:3:16  returns probabilities [softmax]\n"
        "       3 |         return softmax(x)\n"
        "    2. train.py:2:8  is fed to\n"
        "       2 | loss = criterion(model(x), y)\n"
        "  what to do\n"
        "    Return logits.\n"
        "  more: nnaudit explain NN302\n"
        "\n"
    )


def test_full_without_the_file_still_tells() -> None:
    text = render("full", finding(place("gone.py", 2)))
    assert "gone.py:2:5: NN302" in text
    assert "|" not in text


def test_colour_only_on_request() -> None:
    assert "\x1b[" in render("full", finding(), color=True)
    assert "\x1b[" in render("concise", finding(), color=True)
    for format in reports.FORMATS:
        assert "\x1b[" not in render(format, finding())
    plain = render("full", finding(evidence=HOPS))
    colored = render("full", finding(evidence=HOPS), color=True)
    import re

    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == plain


def test_a_scanned_file_cannot_steer_the_terminal(project: Path) -> None:
    (project / "train.py").write_text("x = 1\nevil = '\x1b]0;title\x07'  # \u202e\n")
    for format in reports.FORMATS:
        text = render(format, finding(message="name \x1b[31m", evidence=[Hop("\x1b[2J", place())]))
        assert "\x1b" not in text, format
        assert "\x07" not in text
        assert "\u202e" not in text


@pytest.mark.parametrize(
    ("line", "column", "width", "shown", "carets"),
    [
        ("\tloss = f(x)", 2, 4, "    loss = f(x)", "    ^^^^"),
        ("名 = f(x)", 5, 4, "名 = f(x)", "     ^^^^"),
        ("a", 1, 0, "a", "^"),
        ("a", 9, 3, "a", None),
    ],
)
def test_carets_stand_below_the_code(
    project: Path, line: str, column: int, width: int, shown: str, carets: str | None
) -> None:
    (project / "train.py").write_text(line + "\n")
    lines = render("full", finding(place("train.py", 1, column, width))).split("\n")
    assert lines[3] == f"  1 | {shown}"
    if carets is not None:
        assert lines[4] == f"    | {carets}"


def test_long_lines_are_cut_around_the_finding(project: Path) -> None:
    (project / "train.py").write_text("x = [" + "1, " * 5000 + "HERE, " + "2, " * 5000 + "]\n")
    lines = render("full", finding(place("train.py", 1, 15006, 4))).split("\n")
    assert len(lines[3]) < 180
    start = lines[4].index("^")
    assert lines[3][start : start + 4] == "HERE"


def test_a_range_over_several_rows_underlines_the_first(project: Path) -> None:
    at = Place("train.py", Location(2, 8), Location(4, 3))
    assert "    |        ^^^^^^^^^^^^^^^^^^^^^^\n" in render("full", finding(at))


def test_concise_is_one_line_a_finding() -> None:
    text = render("concise", finding(message="Two\nlines."), finding(place("a.py", 3), Clip))
    assert text.split("\n")[0] == "train.py:2:5: NN302 [certain] Two lines. Return logits."
    assert len(text.splitlines()) == 2


def test_json_fields() -> None:
    [entry] = json.loads(render("json", finding(evidence=HOPS[:1], confidence=Confidence.LIKELY)))
    assert entry == {
        "code": "NN302",
        "name": "cross-entropy-on-probabilities",
        "points": [19],
        "severity": "error",
        "confidence": "likely",
        "verdict": "claimed",
        "explained_by": None,
        "message": "Softmax already turned logits into probabilities. Return logits.",
        "advice": "Return logits.",
        "filename": "train.py",
        "location": {"row": 2, "column": 5},
        "end_location": {"row": 2, "column": 8},
        "cell": None,
        "evidence": [
            {
                "message": "returns probabilities",
                "filename": "model.py",
                "location": {"row": 3, "column": 16},
                "end_location": {"row": 3, "column": 26},
                "cell": None,
                "value": "softmax",
            }
        ],
        "fix": None,
        "url": None,
    }
    assert json.loads(render("json")) == []
    assert render("json", finding(message="é")).isascii()


def test_github_escapes() -> None:
    text = render("github", finding(place("a,b:c%.py", 2), message="50%\nof it"))
    assert text == (
        "::error title=nnaudit (NN302),file=a%2Cb%3Ac%25.py,line=2,endLine=2,col=5,endColumn=8::"
        "a,b:c%25.py:2:5: NN302 [certain] 50%25%0Aof it Return logits.\n"
    )
    assert render("github", finding(rule=Clip)).startswith("::warning ")
    assert render("github", finding(severity=Severity.INFO)).startswith("::notice ")
    several = render("github", finding(Place("a.py", Location(1, 2), Location(3, 4))))
    assert "col=" not in several
    assert "endLine=3" in several
    assert "line=" not in render("github", finding(place("n.ipynb", cell=3)))


def sarif(*findings: Finding, **more: object) -> dict:  # type: ignore[type-arg]
    document = json.loads(render("sarif", *findings, **more))
    assert document["version"] == "2.1.0"
    [run] = document["runs"]
    return run


def test_sarif_structure() -> None:
    run = sarif(finding(evidence=HOPS), finding(place("a b.py"), Clip), finding(rule=Seeds))
    driver = run["tool"]["driver"]
    assert driver["name"] == "nnaudit"
    assert [rule["id"] for rule in driver["rules"]] == [rule.code for rule in RULES]
    assert driver["rules"][0]["shortDescription"] == {"text": "Cross-entropy receives probabilities."}
    first, second, third = run["results"]
    assert [entry["level"] for entry in run["results"]] == ["error", "warning", "note"]
    for entry in run["results"]:
        assert driver["rules"][entry["ruleIndex"]]["id"] == entry["ruleId"]
    assert first["message"] == {"text": "Softmax already turned logits into probabilities. Return logits."}
    assert first["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "train.py", "uriBaseId": "SRCROOT"},
                "region": {"startLine": 2, "startColumn": 5, "endLine": 2, "endColumn": 8},
            }
        }
    ]
    [flow] = first["codeFlows"]
    steps = [step["location"]["message"]["text"] for step in flow["threadFlows"][0]["locations"]]
    assert steps == ["returns probabilities [softmax]", "is fed to", first["message"]["text"].split(" Return")[0]]
    assert [location["id"] for location in first["relatedLocations"]] == [0, 1]
    assert second["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20b.py"
    assert "codeFlows" not in third
    assert run["originalUriBaseIds"]["SRCROOT"]["uri"].endswith("/")


def test_sarif_tells_what_could_not_be_done() -> None:
    [invocation] = sarif(problems=(Problem("x.py", "is Python 2", 3), Problem("", "odd")))["invocations"]
    assert invocation["executionSuccessful"] is False
    first, second = invocation["toolExecutionNotifications"]
    assert first["locations"][0]["physicalLocation"]["region"] == {"startLine": 3}
    assert "locations" not in second
    assert sarif()["invocations"] == [{"executionSuccessful": True, "toolExecutionNotifications": []}]


def test_sarif_notebook_rows_are_no_rows_of_the_file() -> None:
    [entry] = sarif(finding(place("n.ipynb", cell=3)))["results"]
    [location] = entry["locations"]
    assert "region" not in location["physicalLocation"]
    assert location["logicalLocations"][0]["name"] == "cell 3, row 2"


def prints(*findings: Finding) -> list[str]:
    return [entry["partialFingerprints"]["nnaudit/v1"] for entry in sarif(*findings)["results"]]


def test_fingerprints_survive_moved_lines(project: Path) -> None:
    before = prints(finding(place(row=2)))
    (project / "train.py").write_text("# new\n# lines\n" + TRAIN)
    assert prints(finding(place(row=4))) == before
    assert prints(finding(place(row=3))) != before
    assert prints(finding(place(row=4), Clip)) != before
    assert len(set(prints(finding(place(row=4)), finding(place(row=4))))) == 2


def test_sarif_has_no_null(project: Path) -> None:
    assert ": null" not in render("sarif", finding(evidence=HOPS), problems=(Problem("x.py", "m"),))


def test_every_format_renders_nothing() -> None:
    for format in reports.FORMATS:
        assert isinstance(render(format), str)
    assert render("full") == render("concise") == render("github") == ""


def test_unsaved_text_is_shown(project: Path) -> None:
    lines = SourceLines({project / "train.py": "\nunsaved = 1\n"})
    assert "2 | unsaved = 1" in reports.render("full", result(finding()), source=lines)


def test_closing_lines() -> None:
    both = result(finding(), finding(place("a.py"), Clip), files=9, lines=100, loops=7, understood=5)
    assert summary.closing(both, 3) == (
        "2 findings (1 error, 1 warning) in 2 files.\n"
        "9 files, 100 lines: 7 training loops, 5 fully understood (--show-unknown); "
        "3 likely findings hidden (--min-confidence likely)\n"
    )
    assert summary.closing(result(files=1, lines=2, loops=1, understood=1), 0) == (
        "All checks passed.\n1 file, 2 lines: 1 training loop, 1 fully understood\n"
    )
    assert summary.closing(result(files=1), 1).startswith("All checks passed.\n")
    assert "no training loops; 1 likely finding hidden" in summary.closing(result(files=1), 1)
    assert summary.closing(result(), 0).startswith("No Python files found")
    assert summary.closing(result(problems=(Problem("x", "y"),)), 0).startswith("Nothing found in what could be read.")
    assert "1 piece of advice" in summary.closing(result(finding(severity=Severity.INFO)), 0)


def test_statistics_count_by_rule() -> None:
    three = result(finding(rule=Clip), finding(), finding())
    assert summary.statistics(three) == "2  NN302  cross-entropy-on-probabilities\n1  NN508  clipping-order\n"
    assert json.loads(summary.statistics(three, as_json=True))[0] == {
        "code": "NN302",
        "name": "cross-entropy-on-probabilities",
        "count": 2,
    }


def test_unknown_loops_are_listed() -> None:
    text = summary.unknown(result(unknown=(Unknown(place(), "`build` is not known"),)))
    assert text == "train.py:2:5: not fully understood: `build` is not known\n"


def test_catalogue() -> None:
    table = catalogue.as_text(RULES)
    assert table.splitlines()[0].split() == [
        "NN302",
        "cross-entropy-on-probabilities",
        "error",
        *"Cross-entropy receives probabilities.".split(),
    ]
    entry = json.loads(catalogue.as_json(RULES))[0]
    assert entry["code"] == "NN302"
    assert entry["options"] == Softmax.options
    assert entry["summary"] == "Cross-entropy receives probabilities."


def test_page_for_files_is_markdown_and_for_terminals_is_rendered() -> None:
    text = catalogue.explanation(Softmax)
    assert text.startswith("# NN302 cross-entropy-on-probabilities\n")
    assert "limit = 3" in text
    assert 'mode = "min"' in text
    rendered = catalogue.explanation(Softmax, terminal=True)
    assert "# NN302" not in rendered
    assert "NN302 cross-entropy-on-probabilities" in rendered
