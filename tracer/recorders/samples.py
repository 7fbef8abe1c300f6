"""Single samples of loaders: whether one comes with several labels, comes in two loaders, or gives its label away."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ..run import Loader
from ..watch import Watch

MAX_SAMPLES = 8192
"""Samples of a loader that are remembered by their digests."""
FIRST_BATCHES, EVERY = 64, 64
FULL_ITERATIONS, FULL_BATCHES = 3, 1024
"""So many iterations are read in full, to see samples again, as long as it costs next to nothing:"""
FREE, SHARE = 0.2, 0.003
"""seconds, and the part of the run's time."""
MAX_BATCH = 256
SAMPLED_ELEMENTS = 256
LEAST_ELEMENTS = 8
"""Samples of fewer numbers repeat by nature."""
LEAST_LENGTH = 4
MAX_COLUMNS, MAX_ROWS, MAX_CLASSES = 64, 1024, 20
LEAST_OF_A_CLASS = 5


class _Seen:
    """What is remembered of one loader."""

    def __init__(self) -> None:
        self.digests: dict[int, int | None] = {}
        self.conflicts: set[int] = set()
        self.columns: list[Any] = []
        self.labels: list[Any] = []
        self.rows = 0


class Samples:
    """Digests of samples, compared over batches, epochs and loaders."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._seen: dict[int, _Seen] = {}
        self._began = time.perf_counter()
        self._spent = 0.0

    def _is_due(self, loader: Loader) -> bool:
        if loader.batches <= FIRST_BATCHES or loader.batches % EVERY == 0:
            return True
        cheap = self._spent < FREE + SHARE * (time.perf_counter() - self._began)
        return cheap and loader.iterations <= FULL_ITERATIONS and loader.batches <= FULL_BATCHES

    def look(self, loader: Loader, inputs: Any, labels: Any | None) -> None:
        """One batch: ``inputs`` of shape (N, ...) and, where known, integer ``labels`` of shape (N,)."""
        if not self._is_due(loader):
            return
        began = time.perf_counter()
        if inputs.ndim < 2 or inputs[0].size < LEAST_ELEMENTS or inputs.dtype.kind not in "fiu":
            return
        inputs = inputs[:MAX_BATCH]
        labels = labels[: len(inputs)] if labels is not None and len(labels) == len(inputs) else None
        seen = self._seen.setdefault(loader.key, _Seen())
        self._compare(loader, seen, inputs, labels)
        same = not seen.columns or seen.columns[0].shape[1:] == inputs.shape[1:]
        if labels is not None and inputs.ndim == 2 and same and seen.rows < MAX_ROWS and inputs.shape[1] <= MAX_COLUMNS:
            seen.columns.append(np.array(inputs))
            seen.labels.append(np.array(labels))
            seen.rows += len(inputs)
        self._spent += time.perf_counter() - began

    def look_at_rows(self, loader: Loader, rows: Any) -> None:
        """Integers of shape (N, T): do the rows end in one value, some earlier than others?"""
        if rows.ndim != 2 or rows.shape[1] < LEAST_LENGTH or len(rows) < 2 or rows.dtype.kind not in "iu":
            return
        ends, counts = np.unique(rows[:, -1], return_counts=True)
        value = ends[counts.argmax()]
        filled = np.cumprod(rows[:, ::-1] == value, axis=1).sum(axis=1)
        if filled.max() > filled.min():
            name = str(int(value))
            loader.padding[name] = max(loader.padding.get(name, 0.0), float(filled.sum() / rows.size))

    def _compare(self, loader: Loader, seen: _Seen, inputs: Any, labels: Any | None) -> None:
        flat = np.ascontiguousarray(inputs).reshape(len(inputs), -1)
        if flat.shape[1] > SAMPLED_ELEMENTS:
            # An odd stride does not stay in one column of an image.
            flat = np.ascontiguousarray(flat[:, :: flat.shape[1] // SAMPLED_ELEMENTS | 1])
        told = (flat.min(axis=1) < flat.max(axis=1)).tolist()
        for i, row in enumerate(flat):
            if not told[i]:
                continue  # empty or padding: equal by nature
            digest, label = hash(row.tobytes()), None if labels is None else int(labels[i])
            if loader.iterations == 1:
                loader.remembered += 1
                loader.repeated += digest in seen.digests
            before = seen.digests.get(digest, label)
            if len(seen.digests) < MAX_SAMPLES:
                seen.digests.setdefault(digest, label)
            if before is not None and label is not None and before != label:
                seen.conflicts.add(digest)
        loader.distinct, loader.conflicting = len(seen.digests), len(seen.conflicts)

    def _share(self, loader: Loader, seen: _Seen) -> None:
        """Inputs that other loaders gave, too."""
        for key, other in self._seen.items():
            if key == loader.key or not other.digests:
                continue
            few, many = sorted((seen.digests.keys(), other.digests.keys()), key=len)
            shared = sum(digest in many for digest in few)
            for one, two in ((loader, key), (self._watch.run.of("loader", key), loader.key)):
                if shared and one is not None:
                    one.shared[str(two)] = shared
                    self._watch.record.touch(one)

    def ended(self, loader: Loader) -> None:
        """A whole iteration is over: what is shared, and which columns are nothing but the label?"""
        seen = self._seen.get(loader.key)
        if seen is None:
            return
        self._share(loader, seen)
        if not seen.columns:
            return
        values, labels = np.concatenate(seen.columns), np.concatenate(seen.labels)
        seen.columns, seen.labels, seen.rows = [], [], MAX_ROWS
        classes, counts = np.unique(labels, return_counts=True)
        if 2 <= len(classes) <= MAX_CLASSES and counts.min() >= LEAST_OF_A_CLASS:
            loader.telling = [c for c in range(values.shape[1]) if _tells(values[:, c], labels, len(classes))]


def _tells(column: Any, labels: Any, classes: int) -> bool:
    """Whether there is one value for each label, and another one for every other label."""
    distinct = np.unique(column)
    if len(distinct) != classes:
        return False
    return all(len(np.unique(labels[column == value])) == 1 for value in distinct)
