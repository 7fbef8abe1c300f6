"""Questions about pipelines: steps that do not fit together, and images that reach a model in the wrong range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from .knowledge import vision
from .knowledge.vision import BYTES, FLOAT_BYTES, NORMALISED, TINY, UNIT
from .transforms import (
    Entry,
    Image,
    Step,
    begins_with_normalisation,
    expects_imagenet,
    first_operations,
    image_of,
    normalisation,
    numbers,
    pipeline_of,
    pipelines,
    through,
)
from .values import UNKNOWN, Const, Data, Library, Obj, Value, alternatives, constant, is_none

if TYPE_CHECKING:
    from .program import Program


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong in the order of a pipeline: where, what, what to do, and the step it clashes with."""

    site: Site
    what: str
    advice: str
    other: Site | None
    other_words: str


def order_mistakes(program: Program) -> Iterator[Mistake]:
    """Steps of one pipeline that do not fit together, and images that are scaled twice."""
    on_bytes = _applied_to_bytes(program)
    for composed, found in pipelines(program):
        for index, step in enumerate(found):
            mistake = _clash(found[:index], step, found[index + 1 :])
            if mistake is None and composed in on_bytes:
                mistake = _range_clash(program, found[:index], step)
            if mistake is not None:
                yield mistake
    for entry in program.entries:
        if entry.image.range == TINY and entry.image.site is not None:
            yield Mistake(
                entry.image.site,
                "The image is divided by 255 although it was scaled to 0..1 (or normalised) before: all its numbers "
                "lie within 0.004 or so, and the network sees nearly constant inputs",
                "Leave this division out: `ToTensor` and `Normalize` have scaled the image.",
                entry.effect.site,
                "the image enters the model here",
            )


def _applied_to_bytes(program: Program) -> set[Value]:
    """Pipelines that certainly get images of bytes: ``ToTensor`` leaves arrays of floats as they are."""
    found: set[Value] = set()
    for dataset in program.objects:
        if isinstance(dataset.cls, str) and dataset.cls.startswith("torchvision.datasets."):
            found.update(alternatives(pipeline_of(dataset) or UNKNOWN))
    for data in program.operations("call"):
        if len(data.inputs) > 1 and type(data.inputs[0]) is Obj and data.inputs[0].cls in vision.COMPOSES:
            image = image_of(program, data.inputs[1])
            if image is not None and image.range == BYTES:
                found.add(data.inputs[0])
    return found


def _clash(before: list[Step], step: Step, later: list[Step]) -> Mistake | None:
    if step.site is None:
        return None
    if step.family == vision.TORCHVISION:
        return _torchvision_clash(before, step, later)
    if step.family == vision.ALBUMENTATIONS and step.name == "Normalize":
        return _albumentations_clash(before, step)
    return None


def _completes(first: Step, second: Step) -> bool:
    """Whether two steps may be halves of one, as in turning an image back: the one only scales, or the other moves."""
    both = normalisation(first), normalisation(second)
    if any(mean is None or std is None for mean, std in both):
        return True
    return any((mean is not None and not any(mean)) or (std is not None and set(std) == {1.0}) for mean, std in both)


def _torchvision_clash(before: list[Step], step: Step, later: list[Step]) -> Mistake | None:
    assert step.site is not None
    late = _tensor_made_later(before, step, later)
    if late is not None:
        return late
    earlier = next((s for s in before if s.name == "Normalize" and s.family == vision.TORCHVISION), None)
    rest = before[before.index(earlier) + 1 :] if earlier is not None else []
    if earlier is not None and all(s.family == vision.TORCHVISION and s.name not in vision.OPAQUE_STEPS for s in rest):
        if step.name in vision.CLAMPS:
            words = f"`{step.name}` works on images within 0..1, and `Normalize` comes before it: it clamps to 0 all "
            words += "that is darker than the mean, half of the image"
            advice = f"Put `{step.name}` before `Normalize`."
            return Mistake(step.site, words, advice, earlier.site, "the image is normalised here")
        if step.name == "Normalize" and not _completes(earlier, step):
            words = "The image is normalised twice: the second mean and deviation are those of raw images"
            return Mistake(step.site, words, "Keep one `Normalize`.", earlier.site, "it is normalised here before")
    return None


def _tensor_made_later(before: list[Step], step: Step, later: list[Step]) -> Mistake | None:
    """A step that needs a tensor stands before the one that makes it."""
    made = next((s for s in later if s.name in vision.TO_TENSOR), None)
    if made is None or step.site is None or step.name not in ("Normalize", "RandomErasing"):
        return None
    for earlier in before:
        known = earlier.family == vision.TORCHVISION and earlier.name not in vision.OPAQUE_STEPS
        if not known or earlier.name in vision.AS_TENSOR | vision.TO_TENSOR | vision.CONVERTS | {"ToDtype"}:
            return None
    words = f"`{step.name}` needs a tensor, and `{made.name}` makes it only afterwards"
    return Mistake(step.site, words, f"Put `{step.name}` after `{made.name}`.", made.site, "the tensor is made here")


def _range_clash(program: Program, before: list[Step], step: Step) -> Mistake | None:
    """``Normalize`` with a mean of another range than the image has there."""
    if step.family != vision.TORCHVISION or step.name != "Normalize" or step.site is None:
        return None
    image = through(program, Image(BYTES), before)
    mean, _ = normalisation(step)
    if image is None or mean is None:
        return None
    if image.range == FLOAT_BYTES and max(mean) <= 1:
        words = "The image still has numbers from 0 to 255 here, and the mean is that of images within 0..1: what "
        words += "comes out reaches the hundreds"
        advice = "Write `ToDtype(torch.float32, scale=True)`."
        return Mistake(step.site, words, advice, image.site, "made float here, not scaled")
    if image.range == UNIT and max(mean) > 1.5:
        words = (
            f"The image lies within 0..1 here, and the mean {max(mean):g} is that of images from 0 to 255: all that "
        )
        words += "comes out is nearly one constant"
        return Mistake(step.site, words, "Divide mean and deviation by 255.", image.site, "scaled to 0..1 here")
    return None


def _albumentations_clash(before: list[Step], step: Step) -> Mistake | None:
    assert isinstance(step.value, Obj)
    assert step.site is not None
    if step.value.hidden or step.value.argument("normalization") is not None:
        return None
    given = step.value.argument("max_pixel_value") or step.value.argument("2")
    largest = 255.0 if given is None else constant(given)
    scaled = next((s for s in before if s.family == vision.ALBUMENTATIONS and s.name in ("ToFloat", "Normalize")), None)
    if scaled is not None and largest == 255.0:
        words = f"`Normalize` divides by 255 itself, and `{scaled.name}` has scaled the image before: all that comes "
        words += "out is nearly one constant"
        return Mistake(step.site, words, "Keep one of the two.", scaled.site, "scaled here before")
    mean, _ = normalisation(step)
    if mean is not None and max(mean) > 1.5 and largest == 255.0:
        words = (
            f"`Normalize` of albumentations divides by 255 first, and the mean {max(mean):g} is that of images from "
        )
        words += "0 to 255: all that comes out is nearly one constant"
        return Mistake(step.site, words, "Divide mean and deviation by 255, or pass `max_pixel_value=1`.", None, "")
    tensor = next((s for s in before if s.name in ("ToTensorV2", "ToTensor")), None)
    if tensor is not None:
        words = f"`Normalize` works on arrays with channels last, and `{tensor.name}` comes before it"
        advice = f"Put `{tensor.name}` last."
        return Mistake(step.site, words, advice, tensor.site, "the tensor is made here")
    return None


# ---------------------------------------------------------------------------- images that reach a model


@dataclass(frozen=True, slots=True)
class Uncalibrated:
    """A model is trained on images from 0 to 255."""

    site: Site
    made: Site | None
    learnt: bool


def uncalibrated_inputs(program: Program) -> Iterator[Uncalibrated]:
    """Training passes whose images were never scaled, in a model that does not normalise them itself."""
    seen: set[Site] = set()
    for entry in program.entries:
        if not entry.trains or entry.image.range not in (BYTES, FLOAT_BYTES) or entry.effect.site in seen:
            continue
        if begins_with_normalisation(program, entry) is False:
            seen.add(entry.effect.site)
            yield Uncalibrated(entry.effect.site, entry.image.site, is_pretrained(entry.effect.subject))


@dataclass(frozen=True, slots=True)
class Inconsistent:
    """Training and evaluation images of one model differ in their range or normalisation."""

    site: Site
    words: str
    trained: Site
    trained_words: str
    evaluated: Site


def inconsistent_inputs(program: Program) -> Iterator[Inconsistent]:
    """Models that are evaluated on images scaled or normalised otherwise than those they were trained on."""
    trained: dict[Value, set[Image]] = {}
    for entry in program.entries:
        if entry.trains:
            trained.setdefault(entry.effect.subject, set()).add(_numbers_only(entry.image))
    places = {e.effect.subject: e for e in program.entries if e.trains}
    evaluating = {id(f) for loop in program.evaluation_loops for f in loop.forwards}
    seen: set[Site] = set()
    for entry in program.entries:
        known = trained.get(entry.effect.subject)
        if id(entry.effect) not in evaluating or known is None or len(known) != 1:
            continue
        (other,) = known
        image = _numbers_only(entry.image)
        if not _comparable(image) or not _comparable(other) or _alike(image, other):
            continue
        first = places[entry.effect.subject].image
        site = entry.image.normalise or entry.image.site or entry.effect.site
        if site not in seen:
            seen.add(site)
            place = first.normalise or first.site or places[entry.effect.subject].effect.site
            yield Inconsistent(site, _words(image), place, _words(other), entry.effect.site)


def _numbers_only(image: Image) -> Image:
    if image.mean is not None and not any(image.mean) and image.std is not None and set(image.std) == {1.0}:
        return Image(UNIT)
    return Image(BYTES if image.range == FLOAT_BYTES else image.range, None, image.mean, image.std)


def _comparable(image: Image) -> bool:
    return image.range != NORMALISED or (image.mean is not None and image.std is not None)


def _alike(one: Image, other: Image) -> bool:
    """Whether two images lie in the same range, small differences of the constants apart."""
    if one.range != other.range:
        return False
    near = all(abs(a - b) < 0.02 for a, b in zip(one.mean or (), other.mean or (), strict=False))
    return near and all(0.9 < a / b < 1.1 for a, b in zip(one.std or (), other.std or (), strict=False) if b)


def _words(image: Image) -> str:
    if image.range != NORMALISED:
        return f"within {image.range}"
    return f"normalised by mean {_listed(image.mean)} and deviation {_listed(image.std)}"


def _listed(constants: tuple[float, ...] | None) -> str:
    return "(" + ", ".join(f"{n:g}" for n in constants or ()) + ")"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A pretrained model gets images of another kind than it was trained on."""

    site: Site
    what: str
    advice: str
    model: Site
    used: Site


def foreign_inputs(program: Program) -> Iterator[Foreign]:
    """Pretrained models of torchvision whose images are not normalised as those that they were trained on."""
    seen: set[Site] = set()
    for entry in program.entries:
        model, image = _first_network(program, entry), entry.image
        if model is None or not is_pretrained(model) or not expects_imagenet(str(model.cls)):
            continue
        found = _foreign(image)
        site = image.normalise or image.site or entry.effect.site
        if found is not None and site not in seen:
            seen.add(site)
            yield Foreign(site, *found, model.site, entry.effect.site)


def _first_network(program: Program, entry: Entry) -> Obj | None:
    """The model that takes the image first: the one that is called, or the backbone inside it."""
    model = entry.effect.subject
    if type(model) is not Obj or isinstance(model.cls, str) or entry.effect.result is None:
        return model if type(model) is Obj else None
    first = first_operations(program, entry.effect.result, entry.effect.inputs[0])
    found = {_backbone(v) for v in first}
    return found.pop() if len(found) == 1 else None


def _backbone(data: Data) -> Obj | None:
    """The model of torchvision behind its call, that of its ``features``, or of its first ``children()``."""
    value = data.option("model") if data.op == "torchvision.models" else data.inputs[0] if data.op == "call" else None
    if type(value) is Obj and value.cls == "torch.nn.Sequential" and len(value.arguments) == 1:
        value = value.arguments[0][1]
    while type(value) is Data and value.inputs and (value.op in _PARTS or value.op.startswith(".")):
        index = value.inputs[1] if value.op == "[]" else None
        if index is not None and not (type(index) is Data and index.op == "[:]" and is_none(index.inputs[0])):
            return None
        value = value.inputs[0]
    return value if type(value) is Obj else None


_PARTS = frozenset(("[]", "children", "list()", "star"))


def _foreign(image: Image) -> tuple[str, str] | None:
    advice = "Use `weights.transforms()` of the weights that are loaded, or ImageNet's mean and deviation."
    if image.bgr:
        turn = "Turn them right after reading: `cv2.cvtColor(image, cv2.COLOR_BGR2RGB)`."
        return "has its channels in the order blue, green, red (`cv2.imread`)", turn
    if image.range == UNIT:
        return "is scaled to 0..1 and never normalised", advice
    if image.range == NORMALISED and image.mean is not None and image.std is not None:
        far = [abs(a - b) for a, b in zip(image.mean, vision.IMAGENET_MEAN, strict=False)]
        wide = [b / a for a, b in zip(image.std, vision.IMAGENET_STD, strict=False) if a > 0]
        if max(far) > 0.06 or min(wide, default=1) < 0.7 or max(wide, default=1) > 1.5:
            return _words(image).replace("normalised", "is normalised"), advice
    return None


def is_pretrained(model: Value) -> bool:
    """Whether a model of torchvision was made with pretrained weights."""
    if type(model) is not Obj or not isinstance(model.cls, str) or model.hidden:
        return False
    if not model.cls.startswith("torchvision.models."):
        return False
    for name in ("weights", "pretrained", "0"):
        given = model.argument(name)
        if given is not None:
            return type(given) is Library or (type(given) is Const and given.value not in (None, False))
    return False


# ---------------------------------------------------------------------------- strength of augmentation


@dataclass(frozen=True, slots=True)
class Heavy:
    """A random step with an extreme parameter."""

    site: Site
    what: str


def heavy_steps(program: Program) -> Iterator[Heavy]:
    """Random steps whose literal parameters leave little of the image, and pipelines with very many of them."""
    for _, found in pipelines(program):
        random = [s for s in found if s.family == vision.TORCHVISION and s.name in vision.DISTORTS]
        if len(random) > vision.MAX_DISTORTIONS and random[0].site is not None:
            names = ", ".join(f"`{s.name}`" for s in random)
            yield Heavy(random[0].site, f"{len(random)} distortions one after the other ({names})")
        for step in found:
            what = _extreme(step)
            if what is not None and step.site is not None:
                yield Heavy(step.site, what)


def _extreme(step: Step) -> str | None:
    """What is extreme about a step, in words."""
    if type(step.value) is not Obj or step.family != vision.TORCHVISION:
        return None
    for name, position, limit, lowest, words in vision.EXTREMES.get(step.name, ()):
        given = numbers(step.value.argument(name) or step.value.argument(str(position)))
        if not given:
            continue
        if step.name == "ColorJitter" and len(given) == 2 and name != "hue":
            given = (1 - min(given),)  # a range of factors
        worst = min(given) if lowest else max(given)
        if (worst < limit) if lowest else (worst > limit):
            return f"`{step.name}` with {name} {worst:g} {words}"
    return None
