"""Questions about training in several processes: who reads which samples, and who synchronises gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import effects as fx
from . import lineage, watching
from .effects import Effect, LoopNode
from .knowledge import modules, training
from .values import Const, Data, Library, Obj, Value, alternatives, constant, is_none

if TYPE_CHECKING:
    from .program import Program


@dataclass(frozen=True, slots=True, eq=False)
class Unsplit:
    """A loader that hands the same samples to every process."""

    loader: Obj
    wrap: Effect


def unsplit_loaders(program: Program) -> Iterator[Unsplit]:
    """Loaders without a sampler whose batches train a model that is wrapped for several processes."""
    seeded = [d for op in training.SEEDS for d in program.operations(op) if _depends_on_rank(program, d)]
    for root in program.roots:
        wraps = {e.subject: e for e in root.effects if _synchronises(e)}
        if not wraps or any(d.site is None or d.site.file in root.files for d in seeded):
            continue
        readers: dict[Obj, Effect] = {}
        for forward in program.training_forwards(root):
            if forward.subject in wraps:
                readers.update({v: wraps[forward.subject] for i in forward.inputs for v in program.loaders(i)})
        trained = {loader for loader, _ in lineage.training_loaders(program)}
        for loader, wrap in readers.items():
            if loader in trained and _reads_everything(program, loader):
                yield Unsplit(loader, wrap)


def _synchronises(effect: Effect) -> bool:
    path = effect.inputs[0] if effect.kind == "wrap" and effect.inputs else None
    return type(path) is Library and path.path in modules.SYNCHRONISED


def _reads_everything(program: Program, loader: Obj) -> bool:
    """Whether a loader certainly reads a whole map-style data set in each process."""
    if loader.hidden or not program.untouched(loader):
        return False
    if any(loader.argument(n) is not None for n in ("batch_sampler", "generator", "worker_init_fn", "collate_fn")):
        return False
    sampler, dataset = loader.argument("sampler"), loader.argument("dataset")
    if (sampler is not None and not is_none(sampler)) or dataset is None:
        return False
    return all(_whole(program, v) for v in alternatives(dataset)) and not _depends_on_rank(program, dataset)


def _whole(program: Program, dataset: Value) -> bool:
    if type(dataset) is Data and dataset.op == "part":
        return _whole(program, dataset.inputs[0])
    if type(dataset) is not Obj or not program.untouched(dataset) or not program.is_dataset(dataset):
        return False
    if isinstance(dataset.cls, str):
        return dataset.cls != "torch.utils.data.Subset"
    if dataset.cls.open or dataset.cls.library_bases & training.ITERABLE_DATASETS:
        return False
    return not any(_speaks_of_rank(word) for cls in dataset.cls.ancestors() for word in cls.definition.words)


def _speaks_of_rank(word: str) -> bool:
    return "rank" in word.lower() or "world_size" in word.lower() or "shard" in word.lower()


def _depends_on_rank(program: Program, value: Value) -> bool:
    """Whether the number of the process has a part in a value."""
    for v in program.history(value, into_objects=True):
        if type(v) is Data and (
            _speaks_of_rank(v.op)
            or any(type(i) is Const and isinstance(i.value, str) and _speaks_of_rank(i.value) for i in v.inputs)
        ):
            return True
    return False


# ---------------------------------------------------------------------------- order of the samples


@dataclass(frozen=True, slots=True, eq=False)
class SameOrder:
    """A sampler that is never told the epoch, and the loop over the epochs."""

    sampler: Obj
    epochs: LoopNode


def samplers_without_epoch(program: Program) -> Iterator[SameOrder]:
    """Shuffling distributed samplers that are read in several epochs, with no ``set_epoch``."""
    seen: set[Obj] = set()
    for loop in program.loops:
        epochs = next((o for o in reversed(loop.outer) if not o.exact and len(o.passes) > 1), None)
        if epochs is None or not any(e.kind == "backward" for e in fx.effects(loop.body)):
            continue
        # Who tells one sampler knows about it: the one that is not told is that of the evaluation.
        if "set_epoch" in program.identifiers(loop.root):
            continue
        for loader in program.loaders(loop.node.iterable):
            for sampler in _distributed_samplers(program, loader):
                if sampler not in seen:
                    seen.add(sampler)
                    yield SameOrder(sampler, epochs)


def _distributed_samplers(program: Program, loader: Obj) -> Iterator[Obj]:
    if loader.hidden or not program.untouched(loader):
        return
    given = loader.argument("sampler")
    for v in alternatives(given) if given is not None else ():
        if type(v) is not Obj or v.cls != training.DISTRIBUTED_SAMPLER or v.hidden or not program.untouched(v):
            continue
        if v.argument("shuffle") is None or constant(v.argument("shuffle")) is True:
            yield v


# ---------------------------------------------------------------------------- scores of a share


def scores_of_a_share(program: Program) -> Iterator[tuple[Obj, Site, Site]]:
    """Samplers that hand each process a share to be evaluated on, where nothing joins the scores.

    With the place of the loop and of a forward pass whose outputs are scored in it.
    """
    seen: set[Obj] = set()
    for evaluation in program.evaluation_loops:
        loop = evaluation.loop
        samplers = [
            list(_dividing_samplers(program, v)) for v in program.loaders(loop.node.iterable) if program.untouched(v)
        ]
        scored = [e for e in evaluation.forwards if e.result is not None and _is_scored(program, e.result)]
        if not samplers or not all(samplers) or not scored or _joins(program.identifiers(loop.root)):
            continue
        for sampler in (s for each in samplers for s in each):
            if sampler not in seen:
                seen.add(sampler)
                yield sampler, evaluation.site, scored[0].site


def _dividing_samplers(program: Program, loader: Obj) -> Iterator[Obj]:
    given = loader.argument("sampler")
    options = alternatives(given) if given is not None and not loader.hidden else ()
    samplers = [v for v in options if type(v) is Obj and v.cls == training.DISTRIBUTED_SAMPLER]
    if len(samplers) == len(options):
        yield from (v for v in samplers if program.untouched(v))


def _is_scored(program: Program, result: Value) -> bool:
    return any(v in program.scored for v in watching.flat(result))


def _joins(words: frozenset[str]) -> bool:
    """Whether code speaks of joining numbers of several processes (``all_reduce``, ``gather_for_metrics``, ...)."""
    return any("reduce" in word or "gather" in word or word in _JOINING for word in words)


_JOINING = frozenset(("sync_dist", "synchronize_between_processes", "torchmetrics", "broadcast", "hvd", "ignite"))


# ---------------------------------------------------------------------------- gradients that are not synchronised


@dataclass(frozen=True, slots=True, eq=False)
class Bypass:
    """A training pass through the module inside the wrapper."""

    forward: Effect
    wrap: Effect


def bypassed_wrappers(program: Program) -> Iterator[Bypass]:
    """``ddp.module(x)`` on the way of a loss: the wrapper does not see the pass and synchronises nothing."""
    wraps = {e.subject: e for e, _ in program.effects("wrap") if _synchronises(e)}
    for root in program.roots:
        places = {e.site for e in root.effects if e.kind == "bypass" and e.subject in wraps}
        for forward in program.training_forwards(root) if places else ():
            if forward.site in places and program.untouched(forward.subject):
                yield Bypass(forward, wraps[forward.subject])


# ---------------------------------------------------------------------------- files and seeds


def unsafe_loads(program: Program) -> Iterator[tuple[Site, bool]]:
    """``torch.load(..., weights_only=False)``: its place, and whether weights are taken from it."""
    restored = [e.inputs[0] for e, _ in program.effects("restore")]
    weights = {v for state in restored for v in program.history(state)}
    for data in program.operations("load"):
        if data.site is not None and constant(data.option("weights_only")) is False:
            yield data.site, data in weights


def unseeded_trainings(program: Program) -> Iterator[tuple[Effect, Effect]]:
    """A backward pass and a step of a run that seeds no generator, one for each file."""
    files: set[str] = set()
    for root in program.roots:
        backward = next((e for e in root.effects if e.kind == "backward"), None)
        step = next((e for e in root.effects if e.kind == "step" and program.is_optimizer(e.subject)), None)
        if backward is None or step is None or backward.site.file in files:
            continue
        if not program.seeding_files & (program.connected(root.filename) | root.files):
            files.add(backward.site.file)
            yield backward, step
