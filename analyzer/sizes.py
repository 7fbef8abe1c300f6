"""Questions about numbers of samples: how many a data set has, against the size of its batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import lineage, previews
from .knowledge import datasets, splitting
from .values import Data, Obj, Value, alternatives, constant

if TYPE_CHECKING:
    from .program import Program

SHARE = 10
MAX_STEPS = 30


@dataclass(frozen=True, slots=True)
class Oversized:
    """A training loader whose batch is a large share of its data."""

    loader: Site
    batch: int
    samples: int
    words: str
    made: Site


def oversized_batches(program: Program) -> Iterator[Oversized]:
    """Training loaders with a literal batch size of more than a tenth of a known number of samples."""
    seen: set[Site] = set()
    for loader, _ in lineage.training_loaders(program):
        batch = constant(loader.argument("batch_size"))
        if not isinstance(batch, int) or isinstance(batch, bool) or loader.hidden or loader.site in seen:
            continue
        found = _samples(program, loader)
        if found is not None and batch * SHARE > found[0]:
            seen.add(loader.site)
            yield Oversized(loader.site, batch, *found)


def _samples(program: Program, loader: Obj) -> tuple[int, str, Site] | None:
    """How many samples a loader's data set has at most, by what, and where that is said."""
    dataset = loader.argument("dataset")
    behind = previews.bases(dataset) if dataset is not None else []
    if len(behind) != 1 or not program.untouched(behind[0]):
        return None
    base = behind[0]
    if base.cls == "torch.utils.data.TensorDataset":
        first = base.argument("0")
        return None if first is None else _rows(first)
    name = str(base.cls).rsplit(".", 1)[-1]
    count = datasets.TRAINING_SAMPLES.get(name) if str(base.cls).startswith("torchvision.datasets.") else None
    changed = program.was_rewritten(base, "data") or base.hidden
    return None if count is None or changed else (count, name, base.site)


def _rows(value: Value) -> tuple[int, str, Site] | None:
    """The number of rows of an array that is made with a literal size, or loaded from scikit-learn."""
    for _ in range(MAX_STEPS):
        options = alternatives(value)
        if len(options) != 1 or type(value) is not Data or not value.inputs:
            return None
        if value.op in ("randn", "rand", "randint", "zeros", "ones", "random.randn", "random.rand") and value.site:
            count = constant(value.inputs[0])
            known = isinstance(count, int) and not isinstance(count, bool) and value.op != "randint"
            return (int(count), f"`{value.op}`", value.site) if known else None  # type: ignore[call-overload]
        loaded = value.inputs[0]
        if (
            value.op in (".data", "[]")
            and type(loaded) is Data
            and loaded.op in datasets.SKLEARN_SAMPLES
            and loaded.site
        ):
            return datasets.SKLEARN_SAMPLES[loaded.op], f"`{loaded.op.rsplit('.', 1)[-1]}`", loaded.site
        if value.op in datasets.LABEL_PASSES or value.op == "part" or value.op in splitting.CLEANING:
            value = loaded
        elif value.op in ("transform", "fit_transform") and len(value.inputs) > 1:
            value = value.inputs[1]
        else:
            return None
    return None
