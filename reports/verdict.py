"""The verdict on a run in about ten lines: what was seen, how the loss went, what could not be observed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from ..rules.finding import Finding, Line
from ..tracer.judge import ranked
from ..tracer.run import Loader, Run, Series
from .experiments import screen
from .summary import count
from .text import Style

BLOCKS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 24
MAX_LISTED = 3
ESCAPES = re.compile(r"[\x00-\x1f\x7f]")


def verdict(run: Run, findings: Sequence[Finding], hidden_likely: int, record: str | None, *, color: bool) -> str:
    """The lines, each of one subject."""
    style = Style(color)
    rows = [
        *(("data", text) for text in _loaders(run)),
        *(("model", text) for text in _models(run)),
        *(("loss", text) for text in _losses(run)),
        *(("metric", text) for text in _metrics(run)),
        *(("optimizer", text) for text in _optimizers(run)),
        *screen(run),
        ("found", _found(findings, hidden_likely)),
        *(("first", text) for text in _first(findings)),
        *(("not seen", ESCAPES.sub(" ", note.text)) for note in run.notes),
    ]
    if record is not None:
        rows.append(("record", f"{record} (judge it again: nnaudit report {record})"))
    lines = [style.bold(_head(run))]
    before = ""
    for name, text in rows:
        lines.append(f"  {'' if name == before else name:<10}{text}")
        before = name
    return "\n".join(lines) + "\n"


def _head(run: Run) -> str:
    arguments = run.meta.get("arguments") or ["the run"]
    seconds = run.meta.get("seconds")
    took = f" in {seconds:.1f} s" if isinstance(seconds, int | float) else ""
    end = "" if run.finished else "; the record ends before the script did"
    return f"nnaudit: {arguments[0]}: {count(run.steps, 'optimizer step')}{took}, torch {run.meta.get('torch')}{end}"


def _loaders(run: Run) -> list[str]:
    used = [loader for loader in run.loaders if loader.batches]
    texts = [_loader(loader, bool(run.backwards)) for loader in used[:MAX_LISTED]]
    if len(used) > MAX_LISTED:
        texts.append(f"and {count(len(used) - MAX_LISTED, 'more loader')}")
    return texts or (["no DataLoader was used: batches are seen only where they enter a model"] if run.passes else [])


def _loader(loader: Loader, trained: bool) -> str:
    role = "; trains" if loader.training_batches * 2 >= loader.batches else "; evaluates" if trained else ""
    samples = "" if loader.samples is None else f", {loader.samples:,} samples"
    epochs = f", {count(loader.iterations, 'iteration')}"
    classes = f", {len(loader.labels)} classes" if len(loader.labels) > 1 else ""
    return f"{_at(loader.line)}: {loader.dataset}{samples}{classes}{epochs}, {loader.sampler}{role}"


def _models(run: Run) -> list[str]:
    keys = list(dict.fromkeys(p.module for p in run.passes))
    texts = []
    for key in keys[:MAX_LISTED]:
        module = run.of("module", key)
        inside = [m for m in run.modules if m.key == key or m.root == key]
        held = [p for p in run.parameters if p.module in {m.key for m in inside}]
        owned = sum(p.size for p in held if p.optimizers)
        total = sum(p.size for p in held)
        share = (
            f"{total:,} parameters, {owned:,} in an optimizer" if owned != total else f"{total:,} parameters, all in"
        )
        share += "" if owned != total else " an optimizer"
        texts.append(f"{module.name} ({module.class_name}): {count(len(inside), 'module')}, {share}")
    if len(keys) > MAX_LISTED:
        texts.append(f"and {count(len(keys) - MAX_LISTED, 'more model')}")
    return texts


def _losses(run: Run) -> list[str]:
    texts = []
    for backward in run.backwards[:MAX_LISTED]:
        stream = run.stream("objective", backward.key)
        if stream is None:
            continue
        series = stream.column(backward.key)
        used = [run.of("loss", key) for key in backward.losses]
        names = ", ".join(dict.fromkeys(use.function for use in used if use is not None)) or "loss"
        first, last = _ends(series)
        texts.append(f"{names}, backward at {_at(backward.line)}: {first:.4g} → {last:.4g}  {curve(series)}")
    return texts


def _metrics(run: Run) -> list[str]:
    texts = []
    for metric in run.metrics:
        stream = run.stream("metric", metric.key)
        if stream is None or metric.count < 2:
            continue
        name = ESCAPES.sub(" ", metric.name)
        texts.append(f"{name}: {metric.first:.4g} → {metric.last:.4g}  {curve(stream.column(metric.key))}")
    if len(texts) > MAX_LISTED:
        texts[MAX_LISTED:] = [f"and {count(len(texts) - MAX_LISTED, 'more metric')}"]
    return texts


def _ends(series: Series) -> tuple[float, float]:
    """Means of the first and last twentieth: single batches say little."""
    part = max(1, len(series.values) // 20)
    return sum(series.values[:part]) / part, sum(series.values[-part:]) / part


def curve(series: Series) -> str:
    """A small picture of a series."""
    values = [v for v in series.values if v == v and abs(v) != float("inf")]
    if len(values) < 2:
        return ""
    width = min(CURVE_WIDTH, len(values))
    means = []
    for i in range(width):
        part = values[i * len(values) // width : (i + 1) * len(values) // width]
        means.append(sum(part) / len(part))
    low, high = min(means), max(means)
    if high == low:
        return BLOCKS[0] * width
    return "".join(BLOCKS[round((v - low) / (high - low) * (len(BLOCKS) - 1))] for v in means)


def _optimizers(run: Run) -> list[str]:
    texts = []
    used = [o for o in run.optimizers if o.steps]
    for optimizer in used[:MAX_LISTED]:
        rates = ", ".join(f"{rate:.3g}" for rate in dict.fromkeys(optimizer.rates))
        rate = f", learning rate {rates}" if rates else ""
        skipped = f", {optimizer.skipped} skipped by the scaler" if optimizer.skipped else ""
        texts.append(
            f"{optimizer.class_name} at {_at(optimizer.line)}: {count(optimizer.steps, 'step')}{rate}{skipped}"
        )
    if len(used) > MAX_LISTED:
        texts.append(f"and {count(len(used) - MAX_LISTED, 'more optimizer')}")
    return texts


def _found(findings: Sequence[Finding], hidden_likely: int) -> str:
    by_severity: dict[str, int] = {}
    for finding in findings:
        by_severity[finding.severity.value] = by_severity.get(finding.severity.value, 0) + 1
    words = {"error": "error", "warning": "warning", "info": "piece of advice"}
    text = ", ".join(count(by_severity[k], w) for k, w in words.items() if k in by_severity) or "nothing wrong"
    return text + (
        f"; {count(hidden_likely, 'likely finding')} hidden (--min-confidence likely)" if hidden_likely else ""
    )


def _first(findings: Sequence[Finding]) -> list[str]:
    """Which finding to mend first, where there are several, and what it explains."""
    if len(findings) < 2:
        return []
    first = ranked(findings)[0]
    effects = sorted({f"{f.code} {f.name}" for f in findings if f.explained_by == first.code})
    return [f"{first.code} {first.name}, {first.place}" + (f": it explains {', '.join(effects)}" if effects else "")]


def _at(line: Line | None) -> str:
    if line is None:
        return "?"
    relative = os.path.relpath(line.file)
    return f"{line.file if relative.startswith('..') else relative}:{line.row}"
