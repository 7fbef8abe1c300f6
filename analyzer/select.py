"""Which rules run: ``select``, ``extend-select`` and ``ignore`` of the configuration and the command line.

A selector is a code (``NN302``), a prefix (``NN3``), a name (``cross-entropy-on-probabilities``) or
``ALL``. The most specific selector that fits a rule decides; among equals the later layer (the command
line) decides, within one layer ``ignore``. Rules of severity info are advice, not silent bugs: only
their exact code or name, or ``ALL``, switches them on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum

from ..rules.finding import Finding, Severity
from ..rules.rule import Rule
from .config import Config, Layer, Patterns, Scalar, nearest
from .result import Problem

ALL = "ALL"


class Fit(IntEnum):
    """How closely a selector fits a rule; prefixes of more characters fit more closely."""

    NONE = 0
    DEFAULT = 1
    EVERY = 2
    PREFIX = 10
    EXACT = 100


def select_rules(all_rules: Iterable[type[Rule]], config: Config) -> list[Rule]:
    """The rules that the configuration switches on, with their settings, ordered by code."""
    rules = sorted(all_rules, key=lambda rule: rule.code)
    return [rule(_settings(rule, config)) for rule in rules if is_selected(rule, config)]


def is_selected(rule: type[Rule] | Rule, config: Config) -> bool:
    """Whether the rule runs."""
    return _decision(rule, config, advice=rule.severity is Severity.INFO)


def wants_advice(rule: type[Rule] | Rule, config: Config) -> bool:
    """Whether findings of severity info of this rule are shown (a rule may lower a finding's severity)."""
    return _decision(rule, config, advice=True)


def _decision(rule: type[Rule] | Rule, config: Config, *, advice: bool) -> bool:
    """The verdict of the selector that ranks highest by (fit, layer, ignore)."""
    layers = config.selection
    # A later `select` replaces an earlier one; earlier `ignore`s stay and yield only to closer selectors.
    replaced = max((number for number, layer in enumerate(layers) if layer.select is not None), default=-1)
    best = (Fit.DEFAULT.value, -1, False) if replaced < 0 and not advice else (Fit.NONE.value, -1, True)
    for number, layer in enumerate(layers):
        switches_on = layer.extend_select if number >= replaced else ()
        if number == replaced:
            switches_on = (*(layer.select or ()), *switches_on)
        for selector in switches_on:
            close = fit(selector, rule)
            if close and not (advice and Fit.PREFIX <= close < Fit.EXACT):
                best = max(best, (close, number, False))
        for selector in layer.ignore:
            if close := fit(selector, rule):
                best = max(best, (close, number, True))
    return not best[2]


def fit(selector: str, rule: type[Rule] | Rule | Finding) -> int:
    """How closely a selector fits a rule, or the rule that a finding is of (a :class:`Fit`, or more than PREFIX)."""
    text = selector.strip()
    if text.upper() == ALL:
        return Fit.EVERY
    if text.upper() == rule.code or text.lower() == rule.name:
        return Fit.EXACT
    if text and rule.code.startswith(text.upper()):
        return Fit.PREFIX + len(text)
    return Fit.NONE


def find_rule(text: str, all_rules: Iterable[type[Rule]]) -> type[Rule] | None:
    """The rule of this code or name."""
    return next((rule for rule in all_rules if fit(text, rule) == Fit.EXACT), None)


def suggestion(text: str, all_rules: Sequence[type[Rule]]) -> str:
    """``; did you mean ...?`` with the nearest code or name, or where to look."""
    known = [word for rule in all_rules for word in (rule.code, rule.name)]
    return nearest(text, known) or "; `nnaudit rules` lists all of them"


def problems(all_rules: Sequence[type[Rule]], config: Config) -> tuple[Problem, ...]:
    """What is wrong with the selectors and rule options, one line each."""
    found: list[Problem] = []
    for layer in config.selection:
        named = (*(layer.select or ()), *layer.extend_select, *layer.ignore)
        found.extend(_unknown(selector, all_rules, layer) for selector in named if not _known(selector, all_rules))
    origin = str(config.file) if config.file else ""
    for _, selectors in config.per_file_ignores:
        layer = Layer(origin=origin)
        found.extend(_unknown(selector, all_rules, layer) for selector in selectors if not _known(selector, all_rules))
    for name, table in config.rule_options.items():
        rule = find_rule(name, all_rules)
        if rule is None:
            found.append(Problem(origin, f"rules: unknown rule {name!r}{suggestion(name, all_rules)}"))
            continue
        for key, value in table.items():
            if message := _wrong_option(rule, key, value):
                found.append(Problem(origin, f"rules.{name}: {message}"))
    return tuple(dict.fromkeys(found))


def _known(selector: str, all_rules: Sequence[type[Rule]]) -> bool:
    return selector.strip().upper() == ALL or any(fit(selector, rule) for rule in all_rules)


def _unknown(selector: str, all_rules: Sequence[type[Rule]], layer: Layer) -> Problem:
    return Problem(layer.origin, f"unknown rule {selector!r}{suggestion(selector, all_rules)}")


def _wrong_option(rule: type[Rule], key: str, value: Scalar) -> str | None:
    if key not in rule.options:
        if not rule.options:
            return f"unknown option {key!r}; {rule.name} has no options"
        return f"unknown option {key!r}{nearest(key, rule.options) or '; known: ' + ', '.join(rule.options)}"
    default = rule.options[key]
    kind = type(default)
    if type(value) is kind or (kind is float and type(value) is int):
        return None
    wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}[kind]
    return f"{key}: {wanted} is needed (default {default!r})"


def _settings(rule: type[Rule], config: Config) -> dict[str, Scalar]:
    settings: dict[str, Scalar] = {}
    for name, table in config.rule_options.items():
        if fit(name, rule) == Fit.EXACT:
            settings.update({key: value for key, value in table.items() if not _wrong_option(rule, key, value)})
    return settings


class FileIgnores:
    """``per-file-ignores``: which findings are dropped because of the file they are in."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._entries = [(Patterns([pattern]), selectors) for pattern, selectors in config.per_file_ignores]

    def __call__(self, path: str, finding: Finding, rule: type[Rule] | Rule) -> bool:
        """Whether the finding in the file at the absolute ``path`` is to be dropped."""
        if not self._entries:
            return False
        relative = self._config.relative(path)
        return any(
            pattern(relative) and any(fit(selector, rule) for selector in selectors)
            for pattern, selectors in self._entries
        )
