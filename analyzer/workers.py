"""Questions about loader workers: which random generators of a data set each worker gets a copy of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import previews
from .knowledge import preprocessing, training
from .values import Class, Data, Function, Obj, Value, alternatives, constant, is_none

if TYPE_CHECKING:
    from .program import Program


@dataclass(frozen=True, slots=True)
class SharedGenerator:
    """A generator that every worker of a loader has a copy of, in the same state."""

    site: Site
    attribute: str
    loader: Site
    workers: int


def shared_generators(program: Program) -> Iterator[SharedGenerator]:
    """Generators made once by a data set, used for each sample, and copied into several workers."""
    seen: set[Site] = set()
    for loader in program.made(training.LOADER):
        workers = constant(loader.argument("num_workers"))
        if not isinstance(workers, int) or isinstance(workers, bool) or workers < 2 or not _plain(program, loader):
            continue
        for dataset in previews.bases(loader.argument("dataset") or loader):
            for name, generator in _generators(program, dataset):
                site = generator.site if isinstance(generator, (Data, Obj)) else None
                if site is not None and site not in seen:
                    seen.add(site)
                    yield SharedGenerator(site, name, loader.site, workers)


def _plain(program: Program, loader: Obj) -> bool:
    seeds = loader.argument("worker_init_fn")
    return not loader.hidden and program.untouched(loader) and (seeds is None or is_none(seeds))


def _generators(program: Program, dataset: Obj) -> Iterator[tuple[str, Value]]:
    """Attributes of a map-style data set that hold a generator and are used when a sample is fetched."""
    cls = dataset.cls
    if not isinstance(cls, Class) or cls.open or cls.library_bases & training.ITERABLE_DATASETS:
        return
    if not program.untouched(dataset) or any("get_worker_info" in c.definition.words for c in cls.ancestors()):
        return
    used = _words_of_fetching(cls)
    if used & preprocessing.GENERATOR_NAMES:
        return  # fetching itself makes a generator, or sets one back
    for name, held in program.attributes(dataset):
        options = alternatives(held)
        if name in used and all(_is_generator(v) for v in options):
            yield name, options[0]


def _words_of_fetching(cls: Class) -> frozenset[str]:
    """The identifiers of ``__getitem__`` and of the methods that it names."""
    found = cls.find("__getitem__")
    if found is None or type(found[1]) is not Function:
        return frozenset()
    words = set(found[1].definition.words)
    queue = list(words)
    done: set[str] = {"__init__"}
    while queue:
        name = queue.pop()
        method = cls.find(name) if name not in done else None
        done.add(name)
        if method is not None and type(method[1]) is Function:
            fresh = method[1].definition.words - words
            words |= fresh
            queue += fresh
    return frozenset(words)


def _is_generator(value: Value) -> bool:
    if type(value) is Obj:
        return value.cls in preprocessing.GENERATORS
    return type(value) is Data and value.op == "random.default_rng"
