"""Questions about labels: where the targets of a loss come from, how many classes they have, how wide the head is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import previews
from .knowledge import datasets, splitting, training
from .values import Data, Mapping, Obj, Sequence, Value, alternatives, constant, is_none

if TYPE_CHECKING:
    from .program import LossUse, Program

MAX_STEPS = 40
CLASSIFYING = ("cross_entropy", "nll_loss")
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")


@dataclass(frozen=True, slots=True)
class Classes:
    """How many classes labels have, by what data set."""

    count: int
    words: str
    site: Site


def source(program: Program, value: Value) -> Value | Obj | None:
    """What a part of a loader's batch is made of: a tensor of a ``TensorDataset``, a part of a sample.

    The data set itself for the labels of one of torchvision. None where that is not known.
    """
    if type(value) is not Data or value.op != "[]" or len(value.inputs) != 2:
        return None
    batch, key = value.inputs[0], constant(value.inputs[1])
    if type(batch) is not Data or batch.op != "element" or type(batch.inputs[0]) is not Obj:
        return None
    loader = batch.inputs[0]
    dataset, collate = loader.argument("dataset"), loader.argument("collate_fn")
    if loader.cls != training.LOADER or dataset is None or loader.hidden or not program.untouched(loader):
        return None
    if (collate is not None and not is_none(collate)) or not _all_of_it(dataset):
        return None
    behind = previews.bases(dataset)
    return _part_of(program, behind[0], key) if len(behind) == 1 else None


def _all_of_it(dataset: Value) -> bool:
    """Whether the data set, or a random half of it, is read: indices of one's own may leave classes out."""
    while type(dataset) is Data and dataset.op == "part":
        dataset = dataset.inputs[0]
    return type(dataset) is Obj and dataset.cls != "torch.utils.data.Subset"


def _part_of(program: Program, dataset: Obj, key: object) -> Value | None:
    if not program.untouched(dataset):
        return None
    if dataset.cls == "torch.utils.data.TensorDataset":
        return dataset.argument(str(key))
    if isinstance(dataset.cls, str):
        return dataset if key == 1 and dataset.cls.startswith("torchvision.datasets.") else None
    sample = program.samples.get(dataset)
    if type(sample) is Sequence and isinstance(key, int) and not sample.open and 0 <= key < len(sample.items):
        return sample.items[key]
    if type(sample) is Mapping and isinstance(key, str):
        return sample.get(key)
    return None


def classes_of(program: Program, target: Value) -> Classes | None:
    """How many classes a target has, where its data set tells and nothing on the way changes them."""
    for value in _back(program, target):
        if type(value) is Obj:
            return _torchvision(program, value)
        if type(value) is Data:
            found = _sklearn(value)
            if found is not None:
                return found
    return None


def multi_label(program: Program, target: Value) -> Site | None:
    """Where a target was made that marks several classes of a sample, None for any other."""
    for value in _back(program, target):
        if type(value) is Data and value.op in ("fit_transform", "transform") and value.inputs:
            owner = value.inputs[0]
            if type(owner) is Obj and owner.cls in datasets.MULTI_LABEL_ENCODERS:
                return value.site
        if type(value) is Obj and value.cls == "torchvision.datasets.CelebA":
            kind = value.argument("target_type") or value.argument("2")
            if value.hidden or value.argument("target_transform") is not None or value.argument("4") is not None:
                return None
            return value.site if kind is None or constant(kind) == "attr" else None
    return None


def _back(program: Program, target: Value) -> Iterator[Value]:
    """A target and what it is made of, as long as each label stays what it is."""
    value = target
    for _ in range(MAX_STEPS):
        options = alternatives(value)
        if len(options) != 1:
            return
        yield value
        behind = source(program, value)
        if behind is not None:
            value = behind
            continue
        if type(value) is not Data or not value.inputs:
            return
        if (
            value.op in datasets.LABEL_PASSES
            or (value.op == "part" and len(value.inputs) == 2)
            or (value.op == "[]" and _keeps_classes(value.inputs[1]))
        ):
            value = value.inputs[0]
        else:
            return


def _keeps_classes(index: Value) -> bool:
    if type(index) is not Data:
        return False
    if index.op == "[]":
        return _keeps_classes(index.inputs[0])
    return index.op in ("[:]", "element", "split") or index.op.rsplit(".", 1)[-1] in splitting.PERMUTATIONS


def _torchvision(program: Program, dataset: Obj) -> Classes | None:
    name = str(dataset.cls).rsplit(".", 1)[-1]
    changed = any(
        program.was_rewritten(dataset, n) for n in ("targets", "labels", "data", "target_transform", "samples")
    )
    if changed or dataset.hidden or dataset.argument("target_transform") is not None:
        return None
    if name == "EMNIST":
        split = constant(dataset.argument("split") or dataset.argument("1"))
        count = datasets.EMNIST_CLASSES.get(str(split))
        more = ", counted from 1" if split == "letters" else ""
        return None if count is None else Classes(count, f"EMNIST ({split}{more})", dataset.site)
    count = datasets.TORCHVISION_CLASSES.get(name)
    return None if count is None else Classes(count, name, dataset.site)


def _sklearn(value: Data) -> Classes | None:
    """``load_iris().target``, ``load_iris(return_X_y=True)[1]``."""
    loaded = value.inputs[0] if value.inputs else None
    labels = value.op == ".target" or (value.op == "[]" and constant(value.inputs[1]) in (1, "target"))
    if not labels or type(loaded) is not Data or loaded.site is None:
        return None
    count = datasets.SKLEARN_CLASSES.get(loaded.op)
    if count is None or loaded.option("n_class") is not None or loaded.option("as_frame") is not None:
        return None
    return Classes(count, f"`{loaded.op.rsplit('.', 1)[-1]}`", loaded.site)


# ---------------------------------------------------------------------------- the width of a head


@dataclass(frozen=True, slots=True)
class Width:
    """How many scores a model gives, and the layer that says so."""

    count: int
    site: Site


def width_of(program: Program, prediction: Value) -> Width | None:
    """How many scores a prediction has for each sample; None unless a known last layer tells."""
    value = prediction
    for _ in range(MAX_STEPS):
        options = alternatives(value)
        if len(options) != 1 or type(value) is not Data or not value.inputs:
            return None
        if value.op == "output":
            model = value.inputs[0]
            if type(model) is Obj and str(model.cls).startswith("torchvision.models."):
                return _declared(program, model)
            value = value.inputs[1]
        elif value.op == "Linear":
            count = constant(value.option("out_features") or value.option("1"))
            found = isinstance(count, int) and not isinstance(count, bool) and value.site is not None
            return Width(int(count), value.site) if found else None  # type: ignore[call-overload, arg-type]
        elif value.op in _KEEPS_WIDTH:
            value = value.inputs[0]
        else:
            return None
    return None


_KEEPS_WIDTH = frozenset(
    """softmax Softmax log_softmax LogSoftmax relu ReLU sigmoid Sigmoid tanh Tanh Dropout dropout BatchNorm1d float to
    cuda cpu contiguous log clamp Identity""".split()
)


def _declared(program: Program, model: Obj) -> Width | None:
    """``resnet18(num_classes=10)`` with its own head."""
    count = constant(model.argument("num_classes"))
    if not isinstance(count, int) or isinstance(count, bool) or not program.untouched(model):
        return None
    if any(program.was_rewritten(model, name) for name in ("fc", "classifier", "head", "heads")):
        return None
    return Width(count, model.site)


# ---------------------------------------------------------------------------- labels against losses


@dataclass(frozen=True, slots=True)
class WrongWidth:
    """A head that is narrower or wider than the number of classes."""

    width: Width
    classes: Classes
    loss: Site


def wrong_widths(program: Program) -> Iterator[WrongWidth]:
    """Classification losses whose prediction has another number of scores than the labels have classes."""
    seen: set[tuple[Site, Site]] = set()
    for use in _of(program, CLASSIFYING):
        assert use.target is not None
        width, classes = width_of(program, use.prediction), classes_of(program, use.target)
        if width is None or classes is None or width.count in (1, classes.count):
            continue  # a single score is no matter of how many classes there are
        if (width.site, classes.site) not in seen:
            seen.add((width.site, classes.site))
            yield WrongWidth(width, classes, use.site)


@dataclass(frozen=True, slots=True)
class WrongKind:
    """Targets of another kind than the loss compares with."""

    loss: Site
    made: Site
    what: str
    advice: str


def wrong_kinds(program: Program) -> Iterator[WrongKind]:
    """Numbers of classes in a binary loss, several marks a sample in a loss for one class."""
    seen: set[Site] = set()
    for use in _of(program, BINARY):
        classes = classes_of(program, use.target) if use.target is not None else None
        if classes is not None and classes.count > 2 and use.site not in seen:
            seen.add(use.site)
            what = f"the targets number {classes.count} classes ({classes.words}), and a binary loss expects 0 or 1"
            yield WrongKind(use.site, classes.site, what, "Use `CrossEntropyLoss` with one score for each class.")
    for use in _of(program, ("cross_entropy",)):
        made = multi_label(program, use.target) if use.target is not None else None
        if made is not None and use.site not in seen:
            seen.add(use.site)
            what = (
                "the targets mark several classes of a sample, and cross-entropy lets the classes exclude one another"
            )
            yield WrongKind(use.site, made, what, "Use `BCEWithLogitsLoss`, and a threshold in place of `argmax`.")


def _of(program: Program, functions: tuple[str, ...]) -> Iterator[LossUse]:
    for use in program.losses:
        if use.loss.function in functions and use.target is not None:
            yield use
