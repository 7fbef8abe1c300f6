"""The rules for people: the table of all, and one rule's page."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

from ..rules.rule import FILE_MARK, Example, Rule
from .model import page, rule_dict
from .text import Style

PAGE_WIDTH = 100


def as_json(rules: Sequence[type[Rule]]) -> str:
    """All rules as a JSON array."""
    return json.dumps([rule_dict(rule) for rule in rules], indent=2) + "\n"


def as_text(rules: Sequence[type[Rule]], *, color: bool = False) -> str:
    """One line a rule."""
    style = Style(color)
    rows = [rule_dict(rule) for rule in rules]
    name = max((len(row["name"]) for row in rows), default=0)
    lines = [
        f"{style.bold(row['code'])}  {row['name']:<{name}}  {row['severity']:<7}  {' '.join(row['detectors']):<10}  "
        f"{row['summary']}".rstrip()
        for row in rows
    ]
    return "".join(line + "\n" for line in lines)


def explanation(rule: type[Rule], *, color: bool = False, terminal: bool = False) -> str:
    """One rule's page: rendered for a terminal, as Markdown otherwise."""
    text = markdown(rule)
    if not terminal:
        return text
    from rich.console import Console
    from rich.markdown import Markdown

    out = io.StringIO()
    measure = Console()
    width = min(measure.width, PAGE_WIDTH)
    console = Console(file=out, force_terminal=True, width=width, no_color=not color, legacy_windows=False)
    console.print(Markdown(text, code_theme="ansi_dark" if color else "bw"))
    return out.getvalue()


def markdown(rule: type[Rule]) -> str:
    """The page with title, facts, options and examples."""
    facts = [f"**Severity:** {rule.severity.value}"]
    if rule.points:
        facts.append(f"**Checklist points:** {', '.join(map(str, rule.points))}")
    parts = [f"# {rule.code} {rule.name}", " · ".join(facts), page(rule)]
    if rule.options:
        options = "\n".join(f"{key} = {json.dumps(value)}" for key, value in rule.options.items())
        parts += ["## Options", f"```toml\n[tool.nnaudit.rules.{rule.name}]\n{options}\n```"]
    parts += _examples("Found", rule.bad) + _examples("Not found", rule.good)
    parts += ["## Allow it", _ALLOW.format(code=rule.code)]
    return "\n\n".join(part for part in parts if part) + "\n"


_ALLOW = """In one line:

```python
...  # nnaudit: ignore[{code}] why
```

In a file, by a comment on a line of its own:

```python
# nnaudit: ignore-file[{code}] why
```

Everywhere, in pyproject.toml:

```toml
[tool.nnaudit]
ignore = ["{code}"]
```"""


def _examples(title: str, examples: Sequence[Example]) -> list[str]:
    parts = [f"## {title}"] if examples else []
    for example in examples:
        if example.why:
            parts.append(" ".join(example.why.split()))
        parts.append(f"```python\n{_text(example)}```")
    return parts


def _text(example: Example) -> str:
    files = example.files
    if len(files) == 1:
        return next(iter(files.values()))
    return "\n".join(f"{FILE_MARK}{path}\n{text}" for path, text in files.items())
