"""Questions about images on their way to the model: the steps of a pipeline, and what they do to the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..rules.finding import Site
from . import previews
from .knowledge import training, vision
from .knowledge.vision import BYTES, FLOAT_BYTES, NORMALISED, TINY, UNIT
from .memo import remembered
from .values import Data, Library, Mapping, Obj, Sequence, Value, alternatives, constant, is_none

if TYPE_CHECKING:
    from .effects import Effect
    from .program import Program

MAX_DEPTH = 60


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a pipeline: ``family`` is the prefix of its library, "" for what is not known."""

    family: str
    name: str
    value: Value
    site: Site | None


@dataclass(frozen=True, slots=True)
class Image:
    """The range of an image's numbers, by what it came to be so, and how it was normalised."""

    range: str
    site: Site | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    bgr: bool = False
    normalise: Site | None = None


# ---------------------------------------------------------------------------- pipelines


def steps(program: Program, value: Value) -> list[Step] | None:
    """The steps of a pipeline in order; None where they are not all known."""
    options = alternatives(value)
    if len(options) != 1:
        return None
    if is_none(value):
        return []
    if type(value) is Library:
        return [_step(value.path, value, None)]
    if type(value) is not Obj or not isinstance(value.cls, str) or not program.untouched(value):
        return None
    if value.cls not in vision.COMPOSES:
        return [_step(value.cls, value, value.site)]
    listed = value.argument("0") or value.argument("transforms")
    if value.hidden or type(listed) is not Sequence or listed.open:
        return None
    found: list[Step] = []
    for item in listed.items:
        inner = steps(program, item)
        if inner is None:
            options = alternatives(item)
            site = item.site if isinstance(item, (Obj, Data)) else None
            found.append(Step("", "?", item, site))
        else:
            found += inner
    return found


def _step(path: str, value: Value, site: Site | None) -> Step:
    for family in (vision.TORCHVISION, vision.ALBUMENTATIONS):
        if path.startswith(family):
            return Step(family, path.rsplit(".", 1)[-1], value, site)
    return Step("", path.rsplit(".", 1)[-1], value, site)


def pipelines(program: Program) -> Iterator[tuple[Obj, list[Step]]]:
    """Every ``Compose`` of a library, with its steps (unknown ones as ``?``)."""
    for composed in program.made(*sorted(vision.COMPOSES - {"torch.nn.Sequential"})):
        found = steps(program, composed)
        if found:
            yield composed, found


def numbers(value: Value | None) -> tuple[float, ...] | None:
    """A literal number, or a literal tuple or list of numbers."""
    items = value.items if type(value) is Sequence and not value.open else (value,)
    found = [constant(v) for v in items]
    if not found or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in found):
        return None
    return tuple(float(v) for v in found)  # type: ignore[arg-type]


def normalisation(step: Step) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and deviation of a ``Normalize`` step, None where they are not literal."""
    if type(step.value) is not Obj:
        return None, None
    mean, std = step.value.argument("mean"), step.value.argument("std")
    mean, std = mean or step.value.argument("0"), std or step.value.argument("1")
    if step.family == vision.ALBUMENTATIONS and not step.value.hidden:
        defaults = vision.IMAGENET_MEAN, vision.IMAGENET_STD
        return defaults[0] if mean is None else numbers(mean), defaults[1] if std is None else numbers(std)
    return numbers(mean), numbers(std)


# ---------------------------------------------------------------------------- one step


def after(program: Program, image: Image | None, step: Step) -> Image | None:
    """The image after a step, None where that is not known."""
    if image is None or step.family == "":
        return None
    if step.name == "Lambda" and step.value in program.callbacks:
        return image_of(program, program.callbacks[step.value], image)
    if step.name in vision.OPAQUE_STEPS:
        return None
    if step.family == vision.ALBUMENTATIONS:
        return _albumentations(image, step)
    if step.name in vision.TO_TENSOR:
        return replace(image, range=UNIT, site=step.site) if image.range == BYTES else image
    if step.name in vision.CONVERTS:
        return replace(image, range=UNIT, site=step.site) if image.range == BYTES else image
    if step.name == "ToDtype":
        return _to_dtype(image, step)
    if step.name in ("Normalize", "normalize"):
        mean, std = normalisation(step)
        return replace(image, range=NORMALISED, site=step.site, mean=mean, std=std, normalise=step.site)
    return image


def _to_dtype(image: Image, step: Step) -> Image | None:
    assert isinstance(step.value, Obj)
    dtype, scale = step.value.argument("0") or step.value.argument("dtype"), step.value.argument("scale")
    scale = scale or step.value.argument("1")
    if type(dtype) is not Library or not dtype.path.startswith("torch.float"):
        return None
    if image.range != BYTES:
        return image
    scaled = False if scale is None and not step.value.hidden else constant(scale)
    if not isinstance(scaled, bool):
        return None
    return replace(image, range=UNIT if scaled else FLOAT_BYTES, site=step.site)


def _albumentations(image: Image, step: Step) -> Image | None:
    assert isinstance(step.value, Obj)
    if step.name == "Normalize":
        if step.value.argument("normalization") is not None:
            return None
        mean, std = normalisation(step)
        return replace(image, range=NORMALISED, site=step.site, mean=mean, std=std, normalise=step.site)
    if step.name == "ToFloat":
        return replace(image, range=UNIT, site=step.site) if image.range in (BYTES, FLOAT_BYTES) else image
    if step.name == "FromFloat":
        return None
    return image


# ---------------------------------------------------------------------------- images in the program


@remembered
def image_of(program: Program, value: Value, argument: Image | None = None, depth: int = 0) -> Image | None:
    """The image that a value holds; None where it is no image, or its range is not known."""
    options = alternatives(value)
    if len(options) > 1:
        found = {image_of(program, v, argument, depth + 1) for v in options}
        return found.pop() if len(found) == 1 else None
    if type(value) is Sequence and value.items and not value.open:
        found = {image_of(program, v, argument, depth + 1) for v in value.items}
        return found.pop() if len(found) == 1 else None
    if type(value) is not Data or depth > MAX_DEPTH:
        return None
    op = value.op
    if op == "argument":
        return argument
    if op in vision.READERS:
        return Image(BYTES, value.site, bgr=op in vision.BGR_READERS and _in_colour(value))
    if op == "[]" and len(value.inputs) == 2 and (sample := _from_loader(program, value, depth)) is not None:
        return sample
    if not value.inputs:
        return None
    if op == "call":
        return _called(program, value, argument, depth)
    inner = image_of(program, value.inputs[0], argument, depth + 1)
    if inner is None and op in ("*", "+") and len(value.inputs) == 2:
        return _arithmetic(value, image_of(program, value.inputs[1], argument, depth + 1), value.inputs[0])
    if inner is None:
        return None
    return _operation(value, inner)


def _in_colour(read: Data) -> bool:
    """Whether ``cv2.imread`` was told nothing, or to give three channels."""
    flag = read.option("flags", 1)
    return flag is None or constant(flag) == 1 or (type(flag) is Library and flag.path == "cv2.IMREAD_COLOR")


def _operation(value: Data, inner: Image) -> Image | None:
    op = value.op
    if op in vision.TO_FLOAT:
        return replace(inner, range=FLOAT_BYTES) if inner.range == BYTES else inner
    if op in ("astype", "array", "asarray", "tensor", "as_tensor", "to", "type"):
        return _typed(value, inner)
    if op == "cv2.cvtColor":
        code = value.option("code", 1)
        turned = type(code) is Library and "BGR2" in code.path
        return replace(inner, bgr=inner.bgr and not turned) if type(code) is Library else None
    if op in _SCALES or op in _SHIFTS:
        return _arithmetic(value, inner, value.inputs[1] if len(value.inputs) > 1 else None)
    if op == "[]":
        return _reversed(value, inner)
    if op in ("flip", "unary-"):
        return None if inner.bgr else inner
    name = op.rsplit(".", 1)[-1]
    if op.startswith("torchvision.transforms.functional."):
        return after_function(inner, name, value)
    return inner if op in vision.KEEPS or name in vision.KEEPS else None


def after_function(image: Image, name: str, value: Data) -> Image | None:
    """The image after a function of ``torchvision.transforms.functional``."""
    if name in vision.TO_TENSOR or name in vision.CONVERTS:
        return replace(image, range=UNIT, site=value.site) if image.range == BYTES else image
    if name == "normalize":
        mean, std = numbers(value.option("mean", 1)), numbers(value.option("std", 2))
        return replace(image, range=NORMALISED, site=value.site, mean=mean, std=std, normalise=value.site)
    if name in ("to_dtype", "to_pil_image", "to_dtype_image"):
        return None
    return image


def _reversed(value: Data, inner: Image) -> Image | None:
    """``image[:, :, ::-1]`` turns the channels around; other items keep what they are."""
    index = value.inputs[1]
    parts = index.items if type(index) is Sequence else (index,)
    last = parts[-1] if parts else index
    backwards = type(last) is Data and last.op == "[:]" and type(last.inputs[2]) is Data
    backwards = backwards or (type(last) is Data and last.op == "[:]" and constant(last.inputs[2]) == -1)
    if backwards or type(last) is Sequence:
        return replace(inner, bgr=False)
    return inner


def _typed(value: Data, inner: Image) -> Image | None:
    """A conversion with a type named in it."""
    given = value.option("dtype", 1)
    words = given.path if type(given) is Library else constant(given) if given is not None else ""
    if isinstance(words, str) and "float" in words and inner.range == BYTES:
        return replace(inner, range=FLOAT_BYTES)
    return inner


_SCALES = frozenset(("/", "div", "div_", "true_divide", "divide", "*", "mul", "mul_"))
_SHIFTS = frozenset(("-", "+", "sub", "sub_", "add"))


def _arithmetic(value: Data, inner: Image | None, other: Value | None) -> Image | None:
    if inner is None or other is None:
        return None
    number = constant(other)
    if value.op in _SCALES and isinstance(number, (int, float)):
        factor = 1 / number if number and value.op[:1] in ("/", "d", "t") else float(number)
        if 1 / 257 < factor < 1 / 254:
            scaled = {BYTES: UNIT, FLOAT_BYTES: UNIT, UNIT: TINY}.get(inner.range)
            if inner.range == NORMALISED and inner.normalise is not None:
                scaled = TINY
            return replace(inner, range=scaled, site=value.site) if scaled else None
        if factor == 1:
            return inner
    return replace(inner, range=NORMALISED, site=value.site, mean=None, std=None)


def _called(program: Program, value: Data, argument: Image | None, depth: int) -> Image | None:
    """A pipeline applied to an image: ``transform(image)``, ``transform(image=image)["image"]``."""
    callee = value.inputs[0]
    found = steps(program, callee) if type(callee) is Obj else None
    if found is None or len(value.inputs) < 2:
        return None
    image = image_of(program, value.inputs[1], argument, depth + 1)
    return through(program, image, found)


def through(program: Program, image: Image | None, pipeline: list[Step]) -> Image | None:
    """The image after all steps."""
    for step in pipeline:
        image = after(program, image, step)
    return image


def _from_loader(program: Program, value: Data, depth: int) -> Image | None:
    """``batch[i]`` of a loader: the i-th part of a sample of its data set."""
    batch, index = value.inputs
    if type(batch) is Data and batch.op == "element" and type(batch.inputs[0]) is Obj:
        loader = batch.inputs[0]
        if loader.cls == training.LOADER:
            return image_of_loader(program, loader, constant(index), depth)
    return None


def image_of_loader(program: Program, loader: Obj, key: object, depth: int = 0) -> Image | None:
    """The image that one part of a loader's batches holds."""
    dataset, collate = loader.argument("dataset"), loader.argument("collate_fn")
    if dataset is None or loader.hidden or not program.untouched(loader):
        return None
    if collate is not None and not is_none(collate):
        return None
    found = set()
    behind = previews.bases(dataset)
    for base in behind:
        found.add(_image_of_dataset(program, base, key, depth))
    return found.pop() if len(found) == 1 and behind else None


def _image_of_dataset(program: Program, dataset: Obj, key: object, depth: int) -> Image | None:
    if not program.untouched(dataset):
        return None
    if isinstance(dataset.cls, str):
        return _library_image(program, dataset, key)
    sample = program.samples.get(dataset)
    part: Value | None = None
    if type(sample) is Sequence and isinstance(key, int) and not sample.open and key < len(sample.items):
        part = sample.items[key]
    elif type(sample) is Mapping and isinstance(key, str):
        part = sample.get(key)
    return None if part is None else image_of(program, part, None, depth + 1)


def _library_image(program: Program, dataset: Obj, key: object) -> Image | None:
    if not str(dataset.cls).startswith("torchvision.datasets.") or key != 0 or dataset.hidden:
        return None
    if program.was_rewritten(dataset, "transform"):
        return None
    pipeline = pipeline_of(dataset)
    if pipeline is None:
        return None
    found = steps(program, pipeline)
    return None if found is None else through(program, Image(BYTES, dataset.site), found)


def pipeline_of(dataset: Obj) -> Value | None:
    """The transform that a dataset of torchvision was given."""
    given = dataset.argument("transform")
    if given is not None:
        return given
    for name, value in dataset.arguments:
        if name.isdigit() and type(value) is Obj and str(value.cls).startswith(vision.TORCHVISION):
            return value
    return None


# ---------------------------------------------------------------------------- what enters a model


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """An image that enters a model, and whether the model is trained on it."""

    effect: Effect
    image: Image
    trains: bool


def entries(program: Program) -> Iterator[Entry]:
    """Every forward pass whose first input is an image of known range."""
    for root in program.roots:
        trained = {id(e) for e in program.training_forwards(root)}
        for effect in root.effects:
            if effect.kind != "forward" or not effect.inputs:
                continue
            image = image_of(program, effect.inputs[0])
            if image is not None:
                yield Entry(effect, image, id(effect) in trained)


def begins_with_normalisation(program: Program, entry: Entry) -> bool | None:
    """Whether a model itself normalises what it gets; None where its first operation was not seen."""
    model, given = entry.effect.subject, entry.effect.inputs[0]
    if type(model) is not Obj:
        return None
    if isinstance(model.cls, str) and model.cls.startswith("torchvision.models."):
        return False if expects_imagenet(model.cls) else None
    result = entry.effect.result
    if result is None:
        return None
    first = first_operations(program, result, given)
    if not first or any(v.op in vision.TO_INDICES for v in first):
        return None
    return any("Norm" in v.op or v.op in _SCALES or v.op in _SHIFTS or v.op == "call" for v in first)


def first_operations(program: Program, result: Value, given: Value) -> list[Data]:
    """What is done to an input first, behind conversions and changes of shape."""
    found: list[Data] = []
    frontier = {given}
    for value in sorted((v for v in program.history(result) if type(v) is Data), key=lambda v: v.depth):
        if value.op == "output" or not any(v in frontier for v in value.inputs):
            continue
        if value.inputs[0] in frontier and value.op in vision.KEEPS | vision.TO_FLOAT:
            frontier.add(value)
        else:
            found.append(value)
    return found


def expects_imagenet(path: str) -> bool:
    """Whether a model of torchvision is one whose weights expect ImageNet's mean and deviation."""
    return path.rsplit(".", 1)[-1].startswith(vision.IMAGENET_FAMILIES)
