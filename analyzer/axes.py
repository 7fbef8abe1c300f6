"""Questions about the axes of images: height and width exchanged, channels moved by a reshape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..rules.finding import Site
from .knowledge import vision
from .values import Data, Obj, Sequence, Value, alternatives, constant, is_none

if TYPE_CHECKING:
    from .program import Program

MAX_STEPS = 30
HEIGHT, WIDTH = "height", "width"


@dataclass(frozen=True, slots=True)
class Swapped:
    """Axes that change places: where, what happens, what to write, and where the image comes from."""

    site: Site
    what: str
    advice: str
    image: Site


def swapped_axes(program: Program) -> Iterator[Swapped]:
    """Sizes given as (height, width) where (width, height) is expected; reshapes in place of transpositions."""
    for op in vision.RESIZES:
        for data in program.operations(op):
            found = _resize(data)
            if found is not None:
                yield found
    for op in ("reshape", "view"):
        for data in program.operations(op):
            found = _reshape(data)
            if found is not None:
                yield found


def _resize(data: Data) -> Swapped | None:
    """``cv2.resize(image, (h, w))`` with the height and width of that image."""
    if not data.inputs or data.site is None:
        return None
    size = data.option("dsize" if data.op.startswith("cv2.") else "size", 1)
    if type(size) is not Sequence or len(size.items) != 2 or size.open:
        return None
    first, second = (_extent(v) for v in size.items)
    if first is None or second is None or (first[0], second[0]) != (HEIGHT, WIDTH):
        return None
    image = _turned_nowhere(data.inputs[0])
    if first[1] is not second[1] or _turned_nowhere(first[1]) is not image or image is None or image.site is None:
        return None
    name = data.op.rsplit(".", 1)[-1]
    return Swapped(
        data.site,
        f"`{name}` takes (width, height) and gets the height first: every image that is not square is stretched",
        "Exchange the two: width first.",
        image.site,
    )


def _extent(value: Value) -> tuple[str, Value] | None:
    """Whether a number is the height or the width of an image, perhaps scaled, and of which image."""
    for _ in range(MAX_STEPS):
        if type(value) is not Data or not value.inputs:
            return None
        if value.op in ("int()", "round()", "//", "/"):
            value = value.inputs[0]
        elif value.op == "*":
            numbers = [v for v in value.inputs if type(v) is Data]
            if len(numbers) != 1:
                return None
            value = numbers[0]
        else:
            return _side(value)
    return None


def _side(value: Data) -> tuple[str, Value] | None:
    """``image.shape[0]`` is the height of an array, ``image.size[0]`` the width of a PIL image."""
    if value.op in (".height", ".width"):
        return value.op[1:], value.inputs[0]
    if value.op != "[]" or len(value.inputs) != 2:
        return None
    source, index = value.inputs[0], constant(value.inputs[1])
    if type(source) is Data and source.op == "[]" and len(source.inputs) == 2 and _from_the_start(source.inputs[1]):
        source = source.inputs[0]
    if type(source) is not Data or index not in (0, 1):
        return None
    if source.op == ".shape":
        return (HEIGHT, WIDTH)[int(index == 1)], source.inputs[0]
    if source.op == ".size":
        return (WIDTH, HEIGHT)[int(index == 1)], source.inputs[0]
    return None


def _from_the_start(index: Value) -> bool:
    return type(index) is Data and index.op == "[:]" and is_none(index.inputs[0]) and is_none(index.inputs[2])


def _turned_nowhere(value: Value) -> Data | None:
    """The image that was read, if nothing on the way turned, cropped or resized it."""
    for _ in range(MAX_STEPS):
        options = alternatives(value)
        if len(options) != 1 or type(value) is not Data:
            return None
        if value.op in vision.READERS:
            return value
        if value.op not in vision.KEEPS_SIZE or not value.inputs:
            return None
        value = value.inputs[0]
    return None


def _reshape(data: Data) -> Swapped | None:
    """``array.reshape(3, h, w)`` of an image with channels last."""
    dims = data.inputs[1:]
    if len(dims) == 1 and type(dims[0]) is Sequence and not dims[0].open:
        dims = dims[0].items
    if len(dims) not in (3, 4) or data.site is None:
        return None
    if constant(dims[-3]) != 3 or constant(dims[-1]) == 3:
        return None
    image = _channels_last(data.inputs[0])
    if image is None:
        return None
    return Swapped(
        data.site,
        f"`{data.op}` does not move the channels to the front: it cuts the rows of pixels (red, green, blue, red, ...) "
        "into other pieces, and each channel of the result is a third of the image with all colours mixed",
        "Move the axes: `permute(2, 0, 1)` or `transpose(2, 0, 1)`; of a batch `(0, 3, 1, 2)`.",
        image,
    )


def _channels_last(value: Value) -> Site | None:
    """Where an image with channels last was read, if nothing has moved its axes."""
    for _ in range(MAX_STEPS):
        options = alternatives(value)
        if len(options) != 1 or type(value) is not Data or not value.inputs:
            return None
        if value.op == ".data":
            dataset = value.inputs[0]
            known = type(dataset) is Obj and dataset.cls in vision.CHANNELS_LAST_DATA
            return dataset.site if known and isinstance(dataset, Obj) else None
        if value.op in vision.READERS:
            plain = value.op != "cv2.imread" or len(value.inputs) == 1
            return value.site if plain and not value.op.startswith("torchvision.") else None
        if value.op not in vision.KEEPS_AXES:
            return None
        value = value.inputs[0]
    return None
