"""Questions about data: which loaders train and in what order they read, what was split when, what draws at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import effects as fx
from . import gradients, splits
from .effects import Effect, LoopNode
from .knowledge import preprocessing, splitting, tensors, training
from .values import Class, Const, Data, Function, Obj, Sequence, Union, Value, alternatives, constant, is_none

if TYPE_CHECKING:
    from .interpret import Root
    from .program import Loop, Program


# ---------------------------------------------------------------------------- training loaders


def training_loaders(program: Program) -> Iterator[tuple[Obj, Site]]:
    """Loaders whose batches reach a backward pass, each with the place of the training."""
    return iter(program.training_loaders)


def find_training_loaders(program: Program) -> Iterator[tuple[Obj, Site]]:
    """The same, found anew."""
    seen: set[tuple[Obj, Site]] = set()
    for loader, where in program.framework_training_loaders:
        seen.add((loader, where))
        yield loader, where
    summing: dict[LoopNode, bool] = {}
    for loop in program.loops:
        for effect in program.own_effects(loop):
            if effect.kind != "backward":
                continue
            outermost = (*loop.outer, loop.node)[0]
            if outermost not in summing:
                summing[outermost] = _sums_over_all(program, loop.root, outermost) or not updates(program, outermost)
            if summing[outermost]:
                continue
            mixed = _of_several_kinds(program, effect.subject)
            read_here = _read_by(program, loop)
            for value in program.history(effect.subject):
                if value in read_here and value not in mixed and (value, loop.site) not in seen:
                    assert isinstance(value, Obj)
                    seen.add((value, loop.site))
                    yield value, loop.site


def _sums_over_all(program: Program, root: Root, outermost: LoopNode) -> bool:
    """Whether the gradients of the whole pass are summed and no step is taken: the order cannot matter."""
    kinds = {e.kind for body in outermost.passes for e in fx.effects(body)}
    if kinds & {"step", "escape"}:
        return False
    return any(e.kind == "zero_grad" and program.is_optimizer(e.subject) for e in root.effects)


def updates(program: Program, loop: LoopNode) -> bool:
    """Whether something in a loop may change weights; gradients alone serve to explain, to attack, and to check."""
    seen = [e for body in loop.passes for e in fx.effects(body)]
    return any(e.kind in ("step", "escape") or _writes_weights(e) for e in seen) or program.assigns_data


def _writes_weights(effect: Effect) -> bool:
    """Whether something that may be a parameter is changed in place."""
    options = alternatives(effect.subject) if effect.kind == "edit" else ()
    return any(type(v) is Obj or (type(v) is Data and v.op in _MAY_BE_WEIGHTS) for v in options)


_MAY_BE_WEIGHTS = tensors.CREATES | {".data", ".weight", ".bias", "element", "param", "detach"}


def _of_several_kinds(program: Program, value: Value) -> set[Value]:
    """Loaders of which it is not known that they are the one that is read: replaced by something, or one of several."""
    found: set[Value] = set()
    for item in program.history(value):
        if type(item) is not Data:
            continue
        together = [v for v in item.inputs if _is_loader(v)]
        if len(together) > 1:
            found.update(together)
        for part in item.inputs:
            options = alternatives(part)
            read = len(options) > 1 and any(_is_loader(v) or (type(v) is Data and v.op in _READS) for v in options)
            behind = [program.loaders(v) for v in options] if read else []
            loaders = {v for each in behind for v in each}
            if not all(behind) or not all(reads_in_order(program, v) for v in loaders):
                found.update(loaders)
    return found


_READS = frozenset(("element", "[]"))


def _is_loader(value: Value) -> bool:
    return type(value) is Obj and value.cls == training.LOADER


def _read_by(program: Program, loop: Loop) -> set[Value]:
    """Loaders that a loop, or one around it, takes its batches from (by iterating, or by ``next``)."""
    read: set[Value] = set()
    for node in (*loop.outer, loop.node):
        read.update(program.loaders(node.iterable))
    for effect in program.own_effects(loop):
        if effect.kind == "next":
            read.update(program.loaders(effect.subject))
    return read


def reads_in_order(program: Program, loader: Obj) -> bool:
    """Whether a loader certainly reads a map-style data set in stored order, epoch after epoch."""
    if loader.hidden or not program.untouched(loader):
        return False
    shuffle = loader.argument("shuffle")
    if shuffle is not None and constant(shuffle) not in (False, None, 0):
        return False
    for name in ("sampler", "batch_sampler", "collate_fn"):
        given = loader.argument(name)
        if name != "collate_fn" and given is not None and not is_none(given):
            return False
    size = loader.argument("batch_size")
    if size is not None and is_none(size):
        return False
    if type(size) is Data and size.op in ("len()", "[]", ".shape"):
        return False
    dataset = loader.argument("dataset")
    return dataset is not None and all(_stored_order(program, v) for v in alternatives(dataset))


def _stored_order(program: Program, dataset: Value) -> bool:
    """Whether reading a data set from 0 to its length gives the stored order."""
    if type(dataset) is Union:
        return all(_stored_order(program, v) for v in dataset.alternatives)
    if was_permuted(program, dataset):
        return False
    if type(dataset) is Data and dataset.op == "part":
        return _stored_order(program, dataset.inputs[0])
    if type(dataset) is not Obj or not program.untouched(dataset):
        return False
    if dataset.cls == "torch.utils.data.Subset":
        inner = dataset.argument("dataset")
        return inner is not None and _stored_order(program, inner)
    if isinstance(dataset.cls, str):
        return training.is_dataset(dataset.cls)
    return _is_map_style(dataset.cls)


def is_noise(program: Program, loader: Obj) -> bool:
    """Whether the inputs of a loader are random numbers: in any order, one is like the other."""
    dataset = loader.argument("dataset")
    if type(dataset) is not Obj or dataset.cls != "torch.utils.data.TensorDataset":
        return False
    first = dataset.argument("0")
    made = [v for v in program.history(first) if type(v) is Data and v.op in tensors.CREATES] if first else []
    return bool(made) and all(v.op in _DRAWS for v in made)


_DRAWS = frozenset(("rand", "randn", "randint", "rand_like", "randn_like", "normal"))


def drawn_once(program: Program, loader: Obj) -> bool:
    """Whether the samples of a loader come from a split at random: in an order that was drawn once."""
    dataset = loader.argument("dataset")
    return dataset is not None and any(
        type(v) is Data and v.op == "part" and constant(v.option("shuffle")) is not False
        for v in program.history(dataset, into_objects=True)
    )


def _is_map_style(cls: Class) -> bool:
    """A project data set that looks up the index it is asked for, and shuffles nothing itself."""
    if cls.open or cls.library_bases & training.ITERABLE_DATASETS:
        return False
    found = cls.find("__getitem__")
    if found is None:
        return any(training.is_dataset(base) and base != "torch.utils.data.Dataset" for base in cls.library_bases)
    get_item = found[1]
    if type(get_item) is not Function or len(get_item.definition.params) < 2:
        return False
    if get_item.definition.params[1].name not in get_item.definition.words:
        return False
    return not any(ancestor.definition.words & preprocessing.SHUFFLES for ancestor in cls.ancestors())


def was_permuted(program: Program, value: Value) -> bool:
    """Whether something on the way was put in random order."""
    for item in program.history(value, into_objects=True):
        if item in program.shuffled:
            return True
        if type(item) is Data and (item.op.rsplit(".", 1)[-1] in preprocessing.SHUFFLES or item.op == "touched?"):
            return True
    return False


@dataclass(frozen=True, slots=True, eq=False)
class SlicedBatches:
    """Hand-made mini-batches: the loop over offsets, the loop over epochs, and where a batch is cut."""

    loop: LoopNode
    epochs: LoopNode
    site: Site


def batches_in_file_order(program: Program) -> Iterator[SlicedBatches]:
    """Loops that train on ``x[i:i + size]`` and ``y[i:i + size]``, or on ``x.split(size)``, in stored order."""
    for loop in program.loops:
        backward = [e for e in program.own_effects(loop) if e.kind == "backward"]
        if not backward or not loop.outer:
            continue
        # Pieces of one batch, whose gradients add up to one step, need no order.
        if not program.assigns_data and not any(e.kind == "step" or _writes_weights(e) for e in fx.effects(loop.body)):
            continue
        cuts: dict[Value, Site] = {}
        for effect in backward:
            for value in program.history(effect.subject):
                base = _piece_of(value, program.index_of(loop)) if type(value) is Data else None
                if base is not None:
                    cuts[base] = program.sliced_at(value) or loop.site  # type: ignore[arg-type]
        if len(cuts) >= 2 and not any(was_permuted(program, base) for base in cuts):
            yield SlicedBatches(loop.node, loop.outer[-1], next(iter(cuts.values())))


def _piece_of(value: Data, index: Value) -> Value | None:
    """The array of which a value is the piece for this step of a loop."""
    if value.op == "[]" and len(value.inputs) == 2 and type(index) is Data and index.op == "index":
        return value.inputs[0] if _cut_at(value.inputs[1], index) else None
    if value.op == "element" and type(value.inputs[0]) is Data:
        pieces = value.inputs[0]
        known = pieces.op in _PIECES and type(pieces.inputs[0]) is Data
        return pieces.inputs[0] if known and value in _elements(index) else None
    return None


_PIECES = frozenset(("split", "chunk", "array_split", "tensor_split"))


def _elements(element: Value) -> list[Value]:
    """What a loop binds in one step, one by one (``zip`` binds several, ``enumerate`` a number beside them)."""
    if type(element) is Sequence:
        return [part for item in element.items for part in _elements(item)]
    return [element]


def _cut_at(index: Value, start: Value) -> bool:
    """``start:start + size``, ``start * size:(start + 1) * size``, or a piece of the numbers in order."""
    if type(index) is not Data:
        return False
    if index.op == "[]" and type(index.inputs[0]) is Data and index.inputs[0].op in ("arange", "range"):
        return _cut_at(index.inputs[1], start)
    if index.op != "[:]":
        return False
    lower = index.inputs[0]
    return lower is start or (type(lower) is Data and lower.op == "*" and start in lower.inputs)


@dataclass(frozen=True, slots=True, eq=False)
class Restart:
    """A loader that is begun anew at every step of training, so that only its first batch is ever seen."""

    loader: Obj
    begun: Site
    loop: LoopNode


def restarted_loaders(program: Program) -> Iterator[Restart]:
    """``next(iter(loader))`` in the body of a training loop, with a loader that reads in stored order."""
    for loop in program.loops:
        own = program.own_effects(loop)
        trained = [e.subject for e in own if e.kind == "backward"]
        if not trained or loop.node.exact:
            continue
        for effect in own:
            loader = effect.subject
            if effect.kind != "iter" or type(loader) is not Obj or loader.cls != training.LOADER:
                continue
            taken = {e.site for e in own if e.kind == "next" and e.subject is loader}
            if len(taken) != 1 or program.conditional(loop, effect) or not reads_in_order(program, loader):
                continue
            if any(program.comes_from(value, loader) for value in trained):
                yield Restart(loader, effect.site, loop.node)


# ---------------------------------------------------------------------------- splits


@dataclass(frozen=True, slots=True)
class Leak:
    """Statistics that saw the data that were later held out."""

    fitted: Site
    split: Site
    what: str


def statistics_before_split(program: Program) -> Iterator[Leak]:
    """Transformers fitted, or statistics taken, on data of which a part is held out afterwards."""
    seen: set[Site] = set()
    divided = [(site, value, True) for site, value in _splits(program)]
    divided += [(site, value, False) for site, value in (*cut_by_lists(program), *_pieces(program))]
    for split, value, plain in divided:
        history = set(program.history(value, into_objects=True, through_unseen=False))
        if any(_is_computed(v) for v in history):
            continue  # what is cut apart is what a network gave
        for leak in (*_fitted(program, split, value, history), *_computed(program, split, value, history, plain)):
            if leak.fitted not in seen:
                seen.add(leak.fitted)
                yield leak


def _splits(program: Program) -> Iterator[tuple[Site, Value]]:
    for effect, _ in program.effects("split"):
        yield effect.site, effect.subject
    for name in splitting.CROSS_VALIDATIONS:
        for data in program.operations(name):
            value = data.option("X", 1)
            if value is not None and data.site is not None:
                yield data.site, value
    yield from _halves(program)
    for data, site in program.items_taken:
        share = splits.share_of(program, data)
        if (
            share is not None
            and share.held_out
            and isinstance(share.division, tuple)
            and share.division[0] == splits.BY_COLUMN
        ):
            yield site, share.whole


def _halves(program: Program) -> Iterator[tuple[Site, Value]]:
    """``x[:n]`` and ``x[n:]`` of the same array, also as ``x[0:n]`` and ``x[n:len(x)]``."""
    heads: dict[tuple[Value, object], Site] = {}
    tails: set[tuple[Value, object]] = set()
    for data, site in program.slices:
        base, index = data.inputs
        assert isinstance(index, Data)
        lower, upper, step = index.inputs
        ends = is_none(upper) or (type(upper) is Data and upper.op == "len()" and upper.inputs == (base,))
        if is_none(step) and (is_none(lower) or constant(lower) == 0) and not ends:
            heads[base, splits.bound(upper)] = site
        elif is_none(step) and ends:
            tails.add((base, splits.bound(lower)))
    for (base, bound), site in heads.items():
        if (base, bound) in tails and not _is_one(bound):
            yield site, base


def _pieces(program: Program) -> Iterator[tuple[Site, Value]]:
    """Adjacent pieces of any kind: ``table[:n, :]`` and ``table[n:, :]``, ``x[:a]`` and ``x[a:b]``."""
    for base, bounds in program.borders.items():
        for edge, site in bounds.items():
            if not _is_one(edge):
                yield site, base


def _is_one(bound: object) -> bool:
    """Whether one row is cut off, to be held against another."""
    return type(bound) is Const and bound.value == 1


def cut_by_lists(program: Program) -> Iterator[tuple[Site, Value]]:
    """``x[borders1[part]:borders2[part]]``: one slice that is taken with other bounds for each part of the data."""
    places: dict[Site, dict[tuple[Value, ...], Value]] = {}
    for (base, bounds), site in program.row_slices:
        if not is_none(bounds[0]) and not is_none(bounds[1]):
            places.setdefault(site, {})[bounds[:2]] = base
    for site, taken in places.items():
        known = [pair for pair in taken if not any(_counts(program, v) for v in pair)]
        chosen = any(len(alternatives(v)) > 1 for pair in known for v in pair)
        if len(known) > 1 or chosen:
            for pair in known:
                yield site, taken[pair]


def _counts(program: Program, value: Value) -> bool:
    """Whether a bound moves with a loop or a position."""
    return any(type(v) is Data and v.op in ("index", "param", "element") for v in program.history(value))


def _fitted(program: Program, split: Site, value: Value, history: set[Value]) -> Iterator[Leak]:
    """A scaler and its like whose ``fit`` saw what is split."""
    for effect, _ in program.effects("fit"):
        owner = effect.subject
        cls = learner(owner)
        if cls is None or not program.untouched(owner):
            continue
        used = effect.result in history if effect.result is not owner else _applied_to_part(program, owner, split)
        seen = any(d in history or d is value for d in effect.inputs)
        if (used and seen) or _written_back(program, effect, split, history):
            yield Leak(effect.site, split, f"{cls.rsplit('.', 1)[-1]} is fitted")


def learner(owner: Value, depth: int = 0) -> str | None:
    """The class whose ``fit`` learns statistics of its data: a transformer, or a pipeline of such; None for others."""
    if type(owner) is not Obj or not isinstance(owner.cls, str) or depth > 3:
        return None
    if preprocessing.learns(owner.cls):
        return owner.cls
    if owner.cls not in preprocessing.PIPELINES:
        return None
    steps = owner.argument("0") or owner.argument("steps") or owner.argument("transformers")
    if type(steps) is not Sequence or steps.open:
        return None
    parts = [v for step in steps.items for v in (step.items if type(step) is Sequence else (step,))]
    inside = [v for v in parts if type(v) is Obj]
    if any(splitting.is_estimator(str(v.cls)) and v.cls not in preprocessing.PIPELINES for v in inside):
        return None
    return owner.cls if any(learner(v, depth + 1) for v in inside) else None


def _written_back(program: Program, effect: Effect, split: Site, history: set[Value]) -> bool:
    """``table[columns] = scaler.fit_transform(table[columns])`` before the table is split."""
    for write, root in program.effects("write"):
        if write.subject not in history or effect.result is None or write.inputs[1] is not effect.result:
            continue
        if not any(program.comes_from(d, write.subject) for d in effect.inputs):
            continue
        order = [e for e in root.effects if e is write or (e.kind == "split" and e.site == split)]
        if len(order) > 1 and order[0] is write:
            return True
        if any(site == split and data.serial > write.inputs[1].serial for data, site in program.items_taken):  # type: ignore[attr-defined]
            return True
    return False


def _applied_to_part(program: Program, owner: Value, split: Site) -> bool:
    """Whether ``owner.transform`` was applied to a part made at ``split``, or to all the data before it."""
    return any(data.inputs[:1] == (owner,) for data in program.operations("transform"))


def _computed(program: Program, split: Site, value: Value, history: set[Value], rows: bool) -> Iterator[Leak]:
    """``(x - x.mean()) / x.std()`` where ``x`` is split before or afterwards.

    What is cut along several axes may be an image: there (not ``rows``) the statistic must name the axis of the rows.
    """
    for data, statistic in normalisations(program):
        whole = statistic.inputs[0]
        if not rows and _axis(statistic) is None:
            continue
        if _is_one_sample(program, whole):
            continue
        if (data in history and _has_samples_of(data.inputs[0], whole)) or (
            whole in history and _is_part_of(program, data.inputs[0], split, whole)
        ):
            if data in history and data not in set(program.history(value, True, False, collected=False)):
                continue  # each sample by its own statistic, then collected
            assert statistic.site is not None
            yield Leak(statistic.site, split, f"`{statistic.op}` is computed")


def _is_computed(value: Value) -> bool:
    """Whether a network, one of its layers, or an estimator gave a value."""
    return type(value) is Data and (value.op in _PREDICTED or gradients.is_layer(value.op))


_PREDICTED = frozenset(("output", "torchvision.models", "predict", "predict_proba", "decision_function"))


def _has_samples_of(value: Value, whole: Value) -> bool:
    """Whether the samples of a value are those of ``whole``: not merely shifted by a statistic of them."""
    waiting, seen = [value], {value}
    while waiting:
        each = waiting.pop()
        if each is whole:
            return True
        new = [v for option in alternatives(each) for v in splits.carriers(option) if v not in seen]
        seen.update(new)
        waiting += new
    return False


def _is_one_sample(program: Program, value: Value) -> bool:
    """Whether a value is a piece that a loop or a data set takes out by number: what is cut of it is no split."""
    return any(
        type(v) is Data and v.op == "[]" and len(v.inputs) == 2 and _counts_along(v.inputs[1])
        for v in program.history(value)
    )


def _counts_along(index: Value) -> bool:
    if type(index) is Sequence:
        return any(_counts_along(v) for v in index.items[:1])
    if type(index) is not Data:
        return False
    moved = index.op in ("[:]", "+", "*", "-") and any(_counts_along(v) for v in index.inputs)
    return moved or index.op in ("index", "param")


def normalisations(program: Program) -> Iterator[tuple[Data, Data]]:
    """Every ``x - mean`` and ``x / std`` whose statistic is taken over samples: the result and the statistic."""
    for op in preprocessing.APPLIES_STATISTICS:
        for data in program.operations(op):
            statistic = next((s for v in data.inputs[1:] if (s := _statistic(v)) is not None), None)
            if statistic is None or statistic.site is None or not _reduces_samples(statistic):
                continue
            if op in preprocessing.SHIFTS and statistic.op in preprocessing.EXTREMES:
                continue
            yield data, statistic


def _is_part_of(program: Program, value: Value, split: Site, whole: Value) -> bool:
    """Whether the samples of a value are a part of the whole's: not a column, or a number that was taken of it."""
    waiting, seen = [value], {value}
    while waiting:
        item = waiting.pop()
        if type(item) is Data and item.op == "part" and item.site == split:
            return True
        if type(item) is Data and item.op == "[]" and item.inputs[0] is whole and program.sliced_at(item) is not None:
            return True
        new = [v for option in alternatives(item) for v in splits.carriers(option) if v not in seen]
        seen.update(new)
        waiting += new
    return False


def _statistic(value: Value) -> Data | None:
    """The reduction behind a value, through an epsilon or a shape change."""
    for _ in range(6):
        if type(value) is not Data:
            return None
        if value.op in tensors.STATISTICS and value.inputs:
            return value
        if value.op in ("+", "clip", "clamp", "maximum", "[]", "-") or value.op in tensors.PASSES:
            if not value.inputs:
                return None
            value = value.inputs[0]
            continue
        return None
    return None


def _axis(statistic: Data) -> Value | None:
    """The axis or axes that a reduction names, None where it runs over everything."""
    axis = statistic.option("axis") or statistic.option("dim") or statistic.option("axis", 1)
    return None if axis is None or is_none(axis) else axis


def _reduces_samples(statistic: Data) -> bool:
    """Whether the reduction runs over samples: no axis, axis 0, or several axes that include it."""
    axis = _axis(statistic)
    if axis is None:
        return True
    if type(axis) is Sequence:
        return any(constant(v) == 0 for v in axis.items)
    return type(axis) is Const and axis.value == 0


# ---------------------------------------------------------------------------- random transforms


@dataclass(frozen=True, slots=True)
class RandomTransform:
    """An evaluation data set whose pipeline draws at random."""

    dataset: Site
    transform: str
    site: Site
    evaluated: Site


def random_evaluation_transforms(program: Program) -> Iterator[RandomTransform]:
    """Random augmentation in the pipeline of data that are only evaluated on."""
    training = {loader for loader, _ in training_loaders(program)}
    trained_on = [v for loader in training for v in alternatives(loader.argument("dataset") or loader)]
    seen: set[Site] = set()
    for loop in program.evaluation_loops:
        loaders = [] if loop.repeated else program.loaders(loop.loop.node.iterable)
        # Where a name stands for one of several loaders, only what all of them do is sure.
        if not loaders or any(v in training or not program.untouched(v) for v in loaders):
            continue
        given = [v for loader in loaders for v in alternatives(loader.argument("dataset") or loader)]
        drawing = [(dataset, _random_transform(program, dataset)) for dataset in given]
        for dataset, found in drawing if all(found for _, found in drawing) else ():
            place = _place(program, dataset, trained_on)
            if found is not None and place is not None and place not in seen:
                seen.add(place)
                yield RandomTransform(place, _short(found), found.site, loop.site)


def _place(program: Program, dataset: Value, trained_on: list[Value]) -> Site | None:
    """Where the evaluation data set is made; if a factory makes the training set too, where this one is asked for."""
    if not isinstance(dataset, (Data, Obj)):
        return None
    if type(dataset) is Obj:
        for other in trained_on:
            if type(other) is Obj and other.site == dataset.site and other.context != dataset.context:
                return next((s for s in dataset.context if s not in other.context), dataset.site)
    return dataset.site


def _short(transform: Obj) -> str:
    return str(transform.cls).rsplit(".", 1)[-1]


def _random_transform(program: Program, dataset: Value) -> Obj | None:
    if type(dataset) is Data and dataset.op == "part":
        if program.was_rewritten(dataset, "transform") or program.was_rewritten(dataset, "dataset"):
            return None
        return _random_transform(program, dataset.inputs[0])
    if type(dataset) is not Obj or not program.untouched(dataset):
        return None
    if dataset.cls == "torch.utils.data.Subset":
        inner = dataset.argument("dataset")
        return None if inner is None else _random_transform(program, inner)
    if program.was_rewritten(dataset, "transform") and isinstance(dataset.cls, str):
        return None
    values = [v for _, v in dataset.arguments]
    if isinstance(dataset.cls, Class):
        # Arguments may be used for training only: what the instance kept counts.
        values = [v for _, v in program.attributes(dataset)]
        sample = program.samples.get(dataset)
        if sample is not None:
            values = [sample]
    for value in values:
        if all(program.untouched(v) for v in alternatives(value)):
            drawing = [_drawing(program, dataset, part) for part in _parts(program, value)]
            if drawing and all(drawing):
                return drawing[0]
    return None


def _parts(program: Program, value: Value) -> list[Value]:
    """The parts of a sample (support and query, image and crop) that pass through a pipeline; else the whole."""
    if type(value) is not Sequence:
        return [value]
    return [v for v in value.items if any(map(_is_transform, program.history(v, into_objects=True)))]


def _is_transform(value: Value) -> bool:
    return type(value) is Obj and isinstance(value.cls, str) and preprocessing.is_transform(value.cls)


def _drawing(program: Program, dataset: Obj, value: Value) -> Obj | None:
    """A transform on the way to a value that certainly is there and draws at random."""
    for item in program.history(value, into_objects=True):
        if type(item) is Obj and _is_transform(item) and preprocessing.draws_at_random(item):
            return None if program.notes.optional(item, dataset) else item
    return None


# ---------------------------------------------------------------------------- statistics of the batch


@dataclass(frozen=True, slots=True)
class BatchStatistic:
    """Inputs of a model normalised by a statistic of their own batch."""

    site: Site
    what: str
    model: Site


def batch_statistics(program: Program) -> Iterator[BatchStatistic]:
    """``(x - x.mean()) / x.std()`` where ``x`` is a batch of a loader, on the way into a trained model."""
    applied = dict.fromkeys(normalisations(program))
    seen: set[Site] = set()
    for root in program.roots:
        for effect in program.training_forwards(root):
            history = {v for given in effect.inputs for v in program.history(given, through_unseen=False)}
            for data, statistic in applied:
                assert statistic.site is not None
                if data not in history or statistic.site in seen:
                    continue
                batch = _whole_batch(program, statistic.inputs[0])
                if batch is not None and _whole_batch(program, data.inputs[0]) is batch:
                    seen.add(statistic.site)
                    yield BatchStatistic(statistic.site, statistic.op, effect.site)


def _whole_batch(program: Program, value: Value) -> Value | None:
    """The part of a loader's batch that a value is, all its samples along the first axis; None for anything else."""
    for _ in range(30):
        if type(value) is not Data or not value.inputs:
            return None
        if value.op == "[]" or value.op == "element":
            batch = value.inputs[0] if value.op == "[]" else value
            if type(batch) is Data and batch.op == "element" and type(batch.inputs[0]) is Obj:
                return value if _holds_several(program, batch.inputs[0]) else None
            return None
        if value.op not in _SAME_ROWS and value.op not in preprocessing.APPLIES_STATISTICS:
            return None
        value = value.inputs[0]
    return None


_SAME_ROWS = frozenset("float double half to cuda cpu contiguous clone detach unsqueeze squeeze flatten type".split())


def _holds_several(program: Program, loader: Obj) -> bool:
    """Whether a loader's batches are known to have several samples."""
    if loader.cls != training.LOADER or loader.hidden or not program.untouched(loader):
        return False
    size = loader.argument("batch_size")
    collate = loader.argument("collate_fn")
    if collate is not None and not is_none(collate):
        return False
    return size is not None and not is_none(size) and constant(size) != 1
