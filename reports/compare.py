"""Two runs side by side: settings, the order of the data, the first step at which numbers part, findings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..rules.finding import Finding
from .export import scalars
from .summary import count
from .text import Style

if TYPE_CHECKING:
    from ..tracer.run import Run

TOLERANCE = 1e-4
"""Relative difference that is one: numbers are kept as float32."""
SHOWN = 8
NO_DIFFERENCE = "no difference"


def compare(
    runs: tuple[Run, Run], findings: tuple[Sequence[Finding], Sequence[Finding]], names: tuple[str, str], *, color: bool
) -> str:
    """The differences, each on a line; a line says so where there are none."""
    style = Style(color)
    parts = [style.bold(f"A: {names[0]}") + "\n", style.bold(f"B: {names[1]}") + "\n"]
    for title, lines in (
        ("settings", list(_settings(*runs))),
        ("order of the data", list(_order(*runs))),
        ("numbers", list(_numbers(*runs))),
        ("findings", list(_findings(*findings))),
    ):
        parts.append(f"{style.bold(title)}\n" + "".join(f"  {line}\n" for line in lines or [NO_DIFFERENCE]))
    return "".join(parts)


def _settings(a: Run, b: Run) -> Iterator[str]:
    one, other = dict(_facts(a)), dict(_facts(b))
    for name in dict.fromkeys((*one, *other)):
        if one.get(name) != other.get(name):
            yield f"{name}: {one.get(name, 'not there')} | {other.get(name, 'not there')}"


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    yield "arguments", " ".join(map(str, run.meta.get("arguments") or ()))
    for name in ("torch", "python", "world", "steps"):
        yield name, str(run.meta.get(name))
    for i, loader in enumerate(run.loaders):
        what = f"{loader.dataset}, {loader.samples} samples, batches of {loader.batch_size}, {loader.sampler}"
        yield f"loader {i + 1}", f"{what}, {count(loader.workers, 'worker')}"
    for i, optimizer in enumerate(run.optimizers):
        rates = ", ".join(f"{rate:g}" for rate in optimizer.rates)
        yield (
            f"optimizer {i + 1}",
            f"{optimizer.class_name}, learning rate {rates}, {len(optimizer.parameters)} tensors",
        )
    for i, module in enumerate(m for m in run.modules if m.root is None):
        size = sum(
            p.size for p in run.parameters if (o := run.of("module", p.module)) and module.key in (o.root, o.key)
        )
        yield f"model {i + 1}", f"{module.name} ({module.class_name}), {size:,} parameters"


def _order(a: Run, b: Run) -> Iterator[str]:
    for i, (one, other) in enumerate(zip(a.loaders, b.loaders, strict=False)):
        for epoch, (x, y) in enumerate(zip(one.epochs, other.epochs, strict=False)):
            if x.content and y.content and x.content != y.content:
                first = ", from the first batch on" if x.first != y.first else ""
                yield f"loader {i + 1}: other batches in iteration {epoch + 1}{first}"
                break


def _numbers(a: Run, b: Run) -> Iterator[str]:
    one: dict[str, dict[int, float]] = {}
    other: dict[str, dict[int, float]] = {}
    for run, into in ((a, one), (b, other)):
        for scalar in scalars(run):
            if not scalar.tag.startswith("time/"):
                into.setdefault(scalar.tag, {})[scalar.step] = scalar.value
    parted = []
    for tag in one.keys() & other.keys():
        steps = sorted(one[tag].keys() & other[tag].keys())
        step = next((s for s in steps if not _close(one[tag][s], other[tag][s])), None)
        if step is not None:
            parted.append((step, tag))
    for step, tag in sorted(parted)[:SHOWN]:
        yield f"{tag} parts at step {step}: {one[tag][step]:.6g} | {other[tag][step]:.6g}"
    if len(parted) > SHOWN:
        yield f"and {len(parted) - SHOWN} more of {len(one.keys() & other.keys())} quantities"


def _close(x: float, y: float) -> bool:
    if math.isnan(x) or math.isnan(y):
        return math.isnan(x) and math.isnan(y)
    return x == y or abs(x - y) <= TOLERANCE * max(abs(x), abs(y))


def _findings(a: Sequence[Finding], b: Sequence[Finding]) -> Iterator[str]:
    one = {(f.code, f.place.filename, f.place.location.row): f for f in a}
    other = {(f.code, f.place.filename, f.place.location.row): f for f in b}
    for key, finding in one.items():
        if key not in other:
            yield f"only in A: {finding.place}: {finding.code} {finding.name}"
    for key, finding in other.items():
        if key not in one:
            yield f"only in B: {finding.place}: {finding.code} {finding.name}"
