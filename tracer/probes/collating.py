"""Does the collate function keep inputs and labels together?"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch.utils.data import IterableDataset
from torch.utils.data._utils.collate import default_collate, default_convert

from ..results import Collated
from .replay import Randomness, Skip, tensors_in
from .scene import Scene

MOST = 16


def collate(scene: Scene) -> None:
    """The same samples in two orders: every field of the batch must follow in the same way."""
    function = getattr(scene.iterator, "_collate_fn", None)
    dataset = getattr(scene.iterator, "_dataset", None)
    if function is None or dataset is None or isinstance(dataset, IterableDataset):
        raise Skip("no-loader")
    if function in (default_collate, default_convert):
        raise Skip("default-collate")
    count = min(MOST, scene.batch_size or MOST, len(dataset))
    if count < 3:
        raise Skip("batch-too-small")
    items = [dataset[i] for i in range(count)]
    order = [*range(1, count), 0]
    state = Randomness.now()

    def fields(positions: Sequence[int]) -> list[torch.Tensor]:
        state.restore()
        return list(tensors_in(function([copy.deepcopy(items[i]) for i in positions])))

    first, again, turned = fields(range(count)), fields(range(count)), fields(order)
    if len(first) != len(turned) or any(not torch.equal(a, b) for a, b in zip(first, again, strict=True)):
        raise Skip("not-deterministic")
    if any(t.dim() == 1 and sorted(t.tolist()) == list(range(count)) for t in first):
        raise Skip("order-in-batch")
    moves = [move for a, b in zip(first, turned, strict=True) if (move := _move(a, b, count))]
    if len(moves) < 2:
        raise Skip("no-sample-axis")
    if any(one[i] != other[i] for one, other in pairwise(moves) for i in one.keys() & other.keys()):
        line = scene.code_line(function) or scene.code_line(type(function).__call__)
        scene.send(Collated(0, line, count, len(moves)))


def _move(before: torch.Tensor, after: torch.Tensor, count: int) -> dict[int, int]:
    """Where each row that occurs once is in the other; nothing where the rows are no samples."""
    if before.shape != after.shape or not before.dim() or before.shape[0] != count:
        return {}
    rows, others = ([tuple(row.reshape(-1).tolist()) for row in t] for t in (before, after))
    counting = (
        before.dim() == 1 and not before.is_floating_point() and rows == sorted(rows) and others == sorted(others)
    )
    if counting or sorted(rows) != sorted(others):
        return {}  # offsets, positions: they say where samples begin, and belong to none
    return {i: others.index(row) for i, row in enumerate(rows) if rows.count(row) == 1}
