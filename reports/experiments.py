"""What the experiments of a run say: data, model, loss or loop; the table of all of them, and that of shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..tracer.evidence import listed
from ..tracer.probes.names import EXPERIMENTS, REASONS
from .export import short_place
from .summary import count

if TYPE_CHECKING:
    from ..tracer.results import Fit, Probe
    from ..tracer.run import Run

FITTED = 0.5
"""Share of the constant's loss below which samples count as learned."""


def screen(run: Run) -> list[tuple[str, str]]:
    """A row for the experiments, and one for each part of the training: what they say of it."""
    if not run.probes:
        return []
    made = [probe for probe in run.probes if not probe.reason]
    seconds = sum(probe.seconds for probe in run.probes)
    rows = [("tried", f"{len(made)} of {count(len(run.probes), 'experiment')} in {seconds:.1f} s{_refused(run)}")]
    parts = (("in data", _data), ("in model", _model), ("in loss", _loss), ("in loop", _loop))
    return rows + [(name, text) for name, say in parts if (text := say(run))]


def _refused(run: Run) -> str:
    reasons = list(dict.fromkeys(probe.reason for probe in run.probes if probe.reason))
    return f" (not made: {', '.join(reasons)})" if reasons else ""


def _fits(run: Run, data: str) -> list[Fit]:
    return [fit for fit in run.fits if fit.data == data]


def _learned(fit: Fit) -> bool:
    return fit.best <= FITTED * fit.constant


def _data(run: Run) -> str:
    batch, pattern = _fits(run, "batch"), _fits(run, "pattern")
    if not batch:
        return ""
    last = batch[-1]
    if _learned(last):
        return f"{count(last.samples, 'sample')} of them can be learned by heart: inputs and targets agree that far"
    if pattern and _learned(pattern[-1]):
        return "suspect: the model learns made data of the same shape, and not these: look at labels and pairing"
    return ""


def _model(run: Run) -> str:
    said = []
    made = {probe.name for probe in run.probes if not probe.reason}
    if run.cuts:
        said.append(f"the loss does not reach {listed(name for cut in run.cuts for name in cut.parameters)}")
    elif "connectivity" in made:
        said.append("the loss reaches every parameter")
    if run.blinds:
        said.append(f"from `{run.blinds[0].module}` on it does not see its input")
    mixes = [mix for mix in run.mixes if mix.sure or not mix.changed]
    if mixes:
        said.append(f"`{mixes[0].operation}` at {short_place(mixes[0].line)} mixes samples or axes")
    elif "crosstalk" in made and not run.mixes:
        said.append("samples do not mix")
    batch, pattern = _fits(run, "batch"), _fits(run, "pattern")
    known = [str(fit.samples) for fit in batch if _learned(fit)]
    if known:
        said.append(f"it learns {', '.join(known)} samples by heart")
    said += [f"it cannot learn {count(fit.samples, 'sample')} by heart" for fit in batch if not _learned(fit)]
    if pattern:
        said.append(f"it {'learns' if _learned(pattern[-1]) else 'cannot learn'} data that are known to be learnable")
    return "; ".join(said)


def _loss(run: Run) -> str:
    said = [f"`{check.name}`: {check.detail}" for check in run.checks if check.wrong and check.is_loss]
    for chance in run.chances[:1]:
        said.append(f"the first is {chance.real:.3g}, a guess gives {chance.expected:.3g}")
        if chance.real < FITTED * chance.expected:
            said.append(f"with exchanged labels it is {chance.exchanged:.3g}")
    return "; ".join(said)


def _loop(run: Run) -> str:
    for fit in _fits(run, "batch")[-1:]:
        if fit.own is None or not _learned(fit):
            continue
        if fit.own <= FITTED * fit.constant:
            return f"the script's own optimizer learns {count(fit.samples, 'sample')} by heart"
        if not fit.own_settled:
            continue
        return (
            f"suspect: {fit.optimizer} at {fit.rate:g} learns {count(fit.samples, 'sample')} by heart "
            f"({fit.best:.3g}), the script's own optimizer does not ({fit.own:.3g}): look at the learning rate"
        )
    return ""


def table(run: Run) -> str:
    """Every experiment, and the shapes that flow through the model."""
    lines = ["experiments"]
    lines += [f"  {probe.name:<14}{_outcome(probe)}" for probe in run.probes]
    layers = list(run.things["layer"].values())
    if layers:
        names = [layer.name or layer.operation for layer in layers]
        width = min(48, max(map(len, names)) + 2)
        lines.append("shapes")
        for name, layer in zip(names, layers, strict=True):
            place = f"  {short_place(layer.line)}" if layer.line is not None else ""
            lines.append(f"  {name:<{width}}{layer.inputs or '-'} -> {layer.outputs}{place}")
    lines += [*_axes(run), *_resizes(run)]
    return "\n".join(lines) + "\n"


def _axes(run: Run) -> Iterator[str]:
    if run.axes:
        yield "other sizes of the inputs"
    for axis in run.axes:
        words = {0: f"only {axis.size} ({axis.message})", 1: "any size"}.get(
            axis.divisor, f"multiples of {axis.divisor}"
        )
        yield f"  argument {axis.argument + 1}, axis {axis.axis}: {words}"


def _resizes(run: Run) -> Iterator[str]:
    for resize in run.resizes:
        yield f"  {count(resize.samples, 'sample')} instead of {resize.batch_size}: {resize.message}"


def _outcome(probe: Probe) -> str:
    question = EXPERIMENTS[probe.name].question if probe.name in EXPERIMENTS else ""
    if not probe.reason:
        return f"{probe.seconds:5.1f} s  {question}"
    detail = f" ({probe.detail})" if probe.detail else ""
    return f"not made  {REASONS.get(probe.reason, probe.reason)}{detail}"
