"""Looking ahead: what code gives that only a library will call, run once on an opaque argument and taken back.

A data loader calls ``__getitem__`` in its workers, a pipeline calls the user's function for each image. Neither call
stands in the source, so its result is found by running the code here; nothing it does stays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from . import access
from .values import Class, Data, Function, Obj, Sequence, Value, alternatives

if TYPE_CHECKING:
    from .interpret import Interpreter

MAX_DATASETS = 8
MAX_STEPS = 1_500
"""Statements and calls that one preview may run."""


def look_at_samples(run: Interpreter, loader: Obj) -> None:
    """Find out what the data sets behind a loader give for one index."""
    dataset = loader.argument("dataset")
    for base in bases(dataset)[:MAX_DATASETS] if dataset is not None else ():
        if base in run.samples or not isinstance(base.cls, Class):
            continue
        found = base.cls.find("__getitem__")
        if found is None or type(found[1]) is not Function:
            continue
        run.samples[base] = run.space.data("sample", None, (base,))
        method = run.space.function(found[1].definition, found[1].frame, found[1].owner, base)
        index = run.space.data("index", base.site, ())
        result = _aside(run, partial(run.call, method, ((None, index),), base.site))
        if result is not None:
            run.samples[base] = result


def look_at_callback(run: Interpreter, holder: Obj) -> None:
    """Find out what the function that a library object holds makes of its argument."""
    given = holder.argument("0") or holder.argument("lambd") or holder.argument("image")
    if type(given) is not Function or holder in run.callbacks:
        return
    argument = run.space.data("argument", holder.site, ())
    function = given
    result = _aside(run, lambda: run.call(function, ((None, argument),), holder.site))
    if result is not None:
        run.callbacks[holder] = result


def bases(dataset: Value) -> list[Obj]:
    """The data sets that were made, behind subsets, halves of a split and concatenations."""
    found: list[Obj] = []
    queue = list(alternatives(dataset))
    while queue and len(found) <= MAX_DATASETS:
        item = queue.pop()
        if type(item) is Sequence:
            queue += [v for part in item.items for v in alternatives(part)]
        elif type(item) is Data and item.op in ("part", "copy") and item.inputs:
            queue += alternatives(item.inputs[0])
        elif type(item) is Obj and item.cls in ("torch.utils.data.Subset", "torch.utils.data.ConcatDataset"):
            inner = item.argument("dataset") or item.argument("datasets")
            queue += alternatives(inner) if inner is not None else ()
        elif type(item) is Obj:
            found.append(item)
    return found


def _aside(run: Interpreter, body: Callable[[], Value]) -> Value | None:
    """Run something and take back all that it did; None where it did not come to an end."""
    if run.exhausted() or run.inside_forward:
        return None
    mark = run.state.mark()
    outside = (run.block, run.dead, run.touched, run.grad, run.loop, run.reached)
    steps, limit = run.steps, run.limit
    run.block, run.loop, run.reached = [], None, set(run.reached)
    run.limit = min(limit, steps + MAX_STEPS)
    result = access.frozen(run, body())
    died = run.dead
    run.block, run.dead, run.touched, run.grad, run.loop, run.reached = outside
    run.budget -= run.steps - steps
    run.steps, run.limit = steps, limit  # what the script itself does is not cut short by it
    run.state.undo(mark)
    return None if died is not None else result
