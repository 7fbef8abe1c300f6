"""The documentation of all rules as Markdown files: a page for each, and an index by code and by checklist point."""

from __future__ import annotations

from collections.abc import Sequence

from ..rules.rule import Rule
from .catalogue import markdown
from .checklist import POINTS
from .model import group_of, rule_dict

SOURCES = {"scan": "source", "watch": "run", "probe": "experiment"}
INDEX = "README.md"


def pages(rules: Sequence[type[Rule]]) -> dict[str, str]:
    """File name -> text."""
    files = {f"{rule.code}.md": markdown(rule) for rule in rules}
    files[INDEX] = _index(rules)
    return files


_HEAD = """# Rules

Written by `nnaudit rules --write-docs docs/rules` from the rules themselves: change those. *source* means that
`nnaudit scan` finds it, *run* that `nnaudit trace` does. Rules of severity info are advice and off unless they are
selected by code or name."""


def _index(rules: Sequence[type[Rule]]) -> str:
    parts = [_HEAD, "## By code"]
    group = None
    for rule in rules:
        if group_of(rule) != group:
            group = group_of(rule)
            parts.append(
                f"### {group.capitalize()}\n\n| code | name | severity | from | finds |\n|---|---|---|---|---|"
            )
        parts[-1] += "\n" + _row(rule)
    parts += ["## By point of the checklist", "| point | question | rules |\n|---:|---|---|"]
    for point, question in POINTS.items():
        named = ", ".join(f"[{rule.code}]({rule.code}.md)" for rule in rules if point in rule.points)
        parts[-1] += f"\n| {point} | {question} | {named} |"
    return "\n\n".join(parts) + "\n"


def _row(rule: type[Rule]) -> str:
    row = rule_dict(rule)
    sources = ", ".join(SOURCES[name] for name in row["detectors"])
    cells = (f"[{rule.code}]({rule.code}.md)", row["name"], row["severity"], sources, row["summary"])
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
