"""docs/rules is what the rules say: `make docs` writes it."""

from __future__ import annotations

import re
from pathlib import Path

from nnaudit.reports.checklist import POINTS
from nnaudit.reports.rule_pages import INDEX, pages
from nnaudit.rules import discover

DOCS = Path(__file__).parent.parent / "docs" / "rules"


def test_pages_are_in_step_with_the_rules() -> None:
    expected = pages(discover())
    assert {path.name for path in DOCS.iterdir()} == set(expected), "run `make docs`"
    differing = [name for name, text in expected.items() if (DOCS / name).read_text(encoding="utf-8") != text]
    assert differing == [], "run `make docs`"


def test_the_index_names_each_point_and_each_rule() -> None:
    index = pages(discover())[INDEX]
    assert list(POINTS) == list(range(1, 38))
    assert all(f"\n| {point} | " in index for point in POINTS)
    assert set(re.findall(r"\((NN\d+)\.md\)", index)) == {rule.code for rule in discover()}
