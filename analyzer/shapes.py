"""Shapes of tensors, as far as literals, layers and loaders tell them.

A dimension is a number, :data:`BATCH` (how many samples a loader put together), a value of the program that is the
size of something (``x.size(1)``), or None where it is unknown. What a shape does not know it does not guess: rules ask
for a dimension and stay silent on None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from .knowledge import shapes as known
from .knowledge import training
from .values import Const, Data, Obj, Value, alternatives
from .values import Sequence as Items

if TYPE_CHECKING:
    from .program import Program

BATCH: Final = "batch"
Dim: TypeAlias = "int | str | Value | None"
MAX_DEPTH = 150


@dataclass(frozen=True, slots=True)
class Shape:
    """The dimensions at the front and at the back; ``open`` where it is not known how many lie between."""

    front: tuple[Dim, ...] = ()
    back: tuple[Dim, ...] = ()
    open: bool = False

    @property
    def dims(self) -> tuple[Dim, ...] | None:
        """All dimensions, None where their number is unknown."""
        return None if self.open else self.front + self.back

    @property
    def rank(self) -> int | None:
        """How many dimensions there are."""
        return None if self.open else len(self.front) + len(self.back)

    def dim(self, index: int) -> Dim:
        """One dimension, counted from the back where the index is negative."""
        dims = self.dims
        if dims is None:
            dims = self.front if index >= 0 else self.back
        return dims[index] if -len(dims) <= index < len(dims) else None

    def __str__(self) -> str:
        parts = [*map(_text, self.front), *(["..."] if self.open else []), *map(_text, self.back)]
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _text(dim: Dim) -> str:
    return "N" if dim == BATCH else str(dim) if isinstance(dim, int) else "?"


SCALAR = Shape()


def exactly(*dims: Dim) -> Shape:
    """A shape with all its dimensions."""
    return Shape(tuple(dims))


class Shapes:
    """Finds shapes by following histories; every value is asked once."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._known: dict[Value, Shape | None] = {}
        self._depth = 0

    def of(self, value: Value | None) -> Shape | None:
        """The shape of a value, None where nothing is known or its alternatives differ."""
        if value is None:
            return None
        found = {self._one(v) for v in alternatives(value)}
        return found.pop() if len(found) == 1 else None

    def _one(self, value: Value) -> Shape | None:
        if value not in self._known:
            self._known[value] = None
            if self._depth < MAX_DEPTH:
                self._depth += 1
                self._known[value] = self._find(value)
                self._depth -= 1
        return self._known[value]

    def _find(self, value: Value) -> Shape | None:
        if type(value) is Const and isinstance(value.value, (int, float)):
            return SCALAR
        if type(value) is not Data:
            return None
        handler = _HANDLERS.get(value.op)
        if handler is not None:
            return handler(self, value)
        if value.op in known.SAME_SHAPE:
            return self.of(value.inputs[0]) if value.inputs else None
        if value.op in known.REDUCTIONS:
            return _reduced(self, value)
        if value.op in known.CONVOLUTIONS:
            return _convolution(self, value)
        if value.op in known.POOLS:
            return _pool(self, value)
        return None


# ---------------------------------------------------------------------------- arguments


def setting(data: Data, name: str, position: int) -> Value | None:
    """An argument of a layer's constructor, by name or by position."""
    return data.option(name) or data.option(str(position))


def _argument(data: Data, name: str, position: int) -> Value | None:
    """An argument of an operation (``position`` counts the tensor as 0); ``axis`` is torch's other name for ``dim``."""
    return data.option(name, position) or (data.option("axis") if name == "dim" else None)


def integer(value: Value | None) -> int | None:
    """A literal whole number."""
    literal = type(value) is Const and isinstance(value.value, int) and not isinstance(value.value, bool)
    return value.value if literal else None  # type: ignore[union-attr]


def _flag(value: Value | None, default: bool) -> bool | None:
    if value is None:
        return default
    return value.value if type(value) is Const and isinstance(value.value, bool) else None


def _numbers(value: Value | None, count: int, default: int) -> list[int] | None:
    """``3`` or ``(3, 3)`` as so many numbers."""
    if value is None:
        return [default] * count
    if type(value) is Items and not value.open:
        found = [integer(v) for v in value.items]
        if len(found) == 1:
            found = found * count
        return found if len(found) == count and None not in found else None  # type: ignore[return-value]
    one = integer(value)
    return None if one is None else [one] * count


def _size(shapes: Shapes, value: Value) -> Dim:
    """A dimension that an argument asks for: a number, or the size of something."""
    number = integer(value)
    if number is not None:
        return number
    if type(value) is not Data:
        return None
    source, index = asked_size(value)
    if source is not None and index is not None:
        shape = shapes.of(source)
        found = shape.dim(index) if shape is not None else None
        return found if found is not None else value
    return value if value.op in ("len()", "//", "*", "+", "-") else None


def _is_spread(value: Value) -> bool:
    """``*sizes``: nobody knows how many."""
    return type(value) is Data and value.op == "star"


def asked_size(value: Data) -> tuple[Value | None, int | None]:
    """``x.size(1)`` and ``x.shape[1]`` as (x, 1)."""
    if value.op == "size" and len(value.inputs) == 2:
        return value.inputs[0], integer(value.inputs[1])
    if value.op == "len()" and value.inputs:
        return value.inputs[0], 0
    if value.op == "[]" and type(inner := value.inputs[0]) is Data and inner.op in (".shape", "size"):
        return (inner.inputs[0], integer(value.inputs[1])) if len(inner.inputs) == 1 else (None, None)
    return None, None


def _whole(shapes: Shapes, value: Value) -> Shape | None:
    """``x.size()`` and ``x.shape``: the shape of x."""
    sized = type(value) is Data and value.op in ("size", ".shape") and len(value.inputs) == 1
    return shapes.of(value.inputs[0]) if sized and type(value) is Data else None


# ---------------------------------------------------------------------------- making tensors


def _sized(skip: int) -> Callable[[Shapes, Data], Shape | None]:
    """``torch.zeros(3, 4)`` or ``torch.zeros((3, 4))``, behind ``skip`` other arguments."""

    def handler(shapes: Shapes, data: Data) -> Shape | None:
        given: tuple[Value, ...] = data.inputs[skip:]
        named = data.option("size") or (data.inputs[0] if data.op == "full" and data.inputs else None)
        if named is not None:
            given = (named,)
        if len(given) == 1 and type(given[0]) is Items:
            if given[0].open:
                return None
            given = given[0].items
        if not given or any(type(v) is Items or _is_spread(v) for v in given):
            return None
        if len(given) == 1 and integer(given[0]) is None:
            return _whole(shapes, given[0])  # one name may hold a whole tuple
        return exactly(*(_size(shapes, v) for v in given))

    return handler


def _literal(shapes: Shapes, data: Data) -> Shape | None:
    """``torch.tensor([[1, 2], [3, 4]])``, or of an array."""
    return _nested(shapes, data.inputs[0]) if data.inputs else None


def _nested(shapes: Shapes, value: Value) -> Shape | None:
    if type(value) is not Items:
        return shapes.of(value)
    if value.open or not value.items:
        return None
    inner = {_nested(shapes, v) for v in value.items}
    one = inner.pop() if len(inner) == 1 else None
    return exactly(len(value.items), *one.dims) if one is not None and one.dims is not None else None


def _line(shapes: Shapes, data: Data) -> Shape | None:
    return exactly(None)


# ---------------------------------------------------------------------------- loaders and tables


def batched(program: Program, loader: Value) -> bool:
    """Whether a loader stacks samples to batches along a new first axis, as loaders do by default."""
    if type(loader) is not Obj or loader.cls != training.LOADER or loader.hidden:
        return False
    if loader.argument("collate_fn") is not None or loader.argument("batch_sampler") is not None:
        return False
    size = loader.argument("batch_size")
    return size is not None and not (type(size) is Const and (size.value is None or size.value == 1))


def _item(shapes: Shapes, data: Data) -> Shape | None:
    base, index = data.inputs[0], data.inputs[1]
    if type(base) is Data and base.op == "element":
        part = type(index) is Data and index.op == "[:]"  # some rows of a tensor, or some entries of a tuple
        return None if part else _batch_part(shapes, base, index)
    if type(base) is Data and base.op in known.RECURRENT:
        return _recurrent_part(shapes, base, index)
    if type(base) is Data and base.op == "[]" and type(inner := base.inputs[0]) is Data and inner.op == "LSTM":
        return _hidden_state(shapes, inner) if integer(base.inputs[1]) == 1 else None
    if type(base) is Data and base.op in known.ARRAYS_BY_POSITION:
        ranks = known.ARRAYS_BY_POSITION[base.op]
        at = integer(index)
        return exactly(*[None] * ranks[at]) if at is not None and 0 <= at < len(ranks) else None
    if type(base) is Data and base.op in ("max", "min") and integer(index) in (0, 1):
        return _reduced(shapes, base)
    if _is_table(base):
        if type(index) is Const and isinstance(index.value, str):
            return exactly(None)
        return exactly(None, None) if type(index) is Items else None
    if type(base) is Data and base.op == ".iloc":
        return _positional(index) if _is_table(base.inputs[0]) else None
    shape = shapes.of(base)
    return _indexed(shape, index) if shape is not None else None


def _batch_part(shapes: Shapes, element: Data, index: Value) -> Shape | None:
    """One entry of a loader's batch."""
    loader, at = element.inputs[0], integer(index)
    if not batched(shapes.program, loader):
        return None
    if type(index) is not Const:
        return _indexed(Shape((BATCH,), (), True), index)
    assert isinstance(loader, Obj)
    dataset = loader.argument("dataset")
    while type(dataset) is Data and dataset.op == "part":
        dataset = dataset.inputs[0]
    if type(dataset) is Obj and dataset.cls == "torch.utils.data.TensorDataset" and at is not None:
        given = dataset.argument(str(at))
        shape = shapes.of(given) if given is not None else None
        if shape is not None and shape.dims:
            return exactly(BATCH, *shape.dims[1:])
    if type(dataset) is Obj and isinstance(dataset.cls, str) and at is not None:
        name = dataset.cls.rpartition(".")[2]
        if dataset.cls.startswith("torchvision.datasets.") and name in known.LABELLED_IMAGES and at < 2:
            label = dataset.argument("target_transform")
            return (
                exactly(BATCH) if at == 1 and label is None else exactly(BATCH, None, None, None) if at == 0 else None
            )
    # The first of several tensors, or the first sample of one tensor: only unpacking and keys tell.
    several = isinstance(index.value, str) or shapes.program.notes.unpacked.get(element, 0) > 1
    return Shape((BATCH,), (), True) if several else None


def _is_table(value: Value) -> bool:
    """Whether a value is a pandas table."""
    while type(value) is Data and value.op in ("dropna", "sample", "reset_index", "copy", "fillna", "part", "drop"):
        value = value.inputs[0]
    return type(value) is Data and value.op in known.READS_TABLES


def _positional(index: Value) -> Shape | None:
    """``table.iloc[:, 3]`` and ``table.iloc[:, 1:]``."""
    if type(index) is not Items or index.open or len(index.items) != 2:
        return None
    kept = [v for v in index.items if type(v) is not Const]
    return exactly(*[None] * len(kept))


def _table(shapes: Shapes, data: Data) -> Shape | None:
    return exactly(None, None)


def _part(shapes: Shapes, data: Data) -> Shape | None:
    """What a split leaves: the same shape but for the number of samples."""
    shape = shapes.of(data.inputs[0])
    return exactly(None, *shape.dims[1:]) if shape is not None and shape.dims else None


def _scaled(shapes: Shapes, data: Data) -> Shape | None:
    """``scaler.transform(X)``."""
    return shapes.of(data.inputs[1]) if len(data.inputs) > 1 else None


def _values(shapes: Shapes, data: Data) -> Shape | None:
    """``table.values``, ``series.values``, ``x.max(1).values``."""
    inner = data.inputs[0]
    if type(inner) is Data and inner.op in ("max", "min", "sort", "topk", "median"):
        return _reduced(shapes, inner) if inner.op in ("max", "min", "median") else None
    return exactly(None, None) if _is_table(inner) else shapes.of(inner)


# ---------------------------------------------------------------------------- changing shapes


def _indexed(shape: Shape, index: Value) -> Shape | None:
    """``x[0]``, ``x[:, -1]``, ``x[:, None]`` ..."""
    parts = index.items if type(index) is Items and not index.open else (index,)
    out: list[Dim] = []
    rest = list(shape.front if shape.open else shape.dims or ())
    for part in parts:
        if type(part) is Const and part.value is None:
            out.append(1)
            continue
        if not rest and not shape.open:
            return None
        size = rest.pop(0) if rest else None
        if integer(part) is not None:
            continue
        if type(part) is Data and part.op == "[:]":
            whole = all(type(v) is Const and v.value is None for v in part.inputs)
            out.append(size if whole else None)
        else:
            return None  # a mask or a list of indices
    if not shape.open:
        return exactly(*out, *rest)
    return Shape((*out, *rest), shape.back, True) if len(parts) == 1 else None


def _squeeze(shapes: Shapes, data: Data) -> Shape | None:
    shape = shapes.of(data.inputs[0])
    where = _argument(data, "dim", 1)
    if shape is None:
        return None
    if where is None:
        dims = shape.dims
        if dims is None or any(not isinstance(d, int) and d != BATCH for d in dims):
            return None
        return exactly(*(d for d in dims if d != 1))
    at = integer(where)
    if at is None or not isinstance(shape.dim(at), (int, str)):
        return None
    return _without(shape, at) if shape.dim(at) == 1 else shape


def _without(shape: Shape, at: int) -> Shape | None:
    dims = shape.dims
    if dims is not None:
        at %= max(len(dims), 1)
        return exactly(*dims[:at], *dims[at + 1 :])
    if at < 0:
        at += len(shape.back)
        return Shape(shape.front, shape.back[:at] + shape.back[at + 1 :], True) if at >= 0 else None
    return Shape(shape.front[:at] + shape.front[at + 1 :], shape.back, True) if at < len(shape.front) else None


def _unsqueeze(shapes: Shapes, data: Data) -> Shape | None:
    shape, at = shapes.of(data.inputs[0]), integer(_argument(data, "dim", 1))
    if shape is None or at is None:
        return None
    dims = shape.dims
    if dims is not None:
        at = at + len(dims) + 1 if at < 0 else at
        return exactly(*dims[:at], 1, *dims[at:])
    if at < 0:
        cut = len(shape.back) + at + 1
        return Shape(shape.front, (*shape.back[:cut], 1, *shape.back[cut:]), True) if cut >= 0 else None
    if at > len(shape.front):
        return None
    return Shape((*shape.front[:at], 1, *shape.front[at:]), shape.back, True)


def _flatten(shapes: Shapes, data: Data) -> Shape | None:
    layer = data.op == "Flatten"
    shape = shapes.of(data.inputs[0])
    start = integer((setting(data, "start_dim", 0) if layer else _argument(data, "start_dim", 1)) or Const(int(layer)))
    end = integer((setting(data, "end_dim", 1) if layer else _argument(data, "end_dim", 2)) or Const(-1))
    if shape is None or start is None or end is None:
        return None
    dims = shape.dims
    if dims is None:
        return exactly(shape.dim(0), None) if (start, end) == (1, -1) else None
    start, end = start % max(len(dims), 1), end % max(len(dims), 1)
    return exactly(*dims[:start], _product(dims[start : end + 1]), *dims[end + 1 :])


def _product(dims: Sequence[Dim]) -> int | None:
    total = 1
    for dim in dims:
        if not isinstance(dim, int):
            return None
        total *= dim
    return total


def _view(shapes: Shapes, data: Data) -> Shape | None:
    given: tuple[Value, ...] = data.inputs[1:]
    if len(given) == 1 and type(given[0]) is Items:
        given = given[0].items if not given[0].open else ()
    if not given or (len(given) == 1 and integer(given[0]) is None) or any(map(_is_spread, given)):
        return None
    dims = [_size(shapes, v) for v in given]
    if dims.count(-1) == 1:
        at = dims.index(-1)
        dims[at] = _left_over(shapes.of(data.inputs[0]), [d for d in dims if d != -1])
    return exactly(*dims)


def _left_over(shape: Shape | None, others: list[Dim]) -> Dim:
    """What ``-1`` stands for beside these dimensions."""
    dims = None if shape is None else shape.dims
    if dims is None:
        return None
    left = list(dims)
    rest = []
    for other in others:
        if not isinstance(other, int) and other in left:
            left.remove(other)
        else:
            rest.append(other)
    symbols = [d for d in left if not isinstance(d, int)]
    whole, taken = _product([d for d in left if isinstance(d, int)]), _product(rest)
    if whole is None or taken is None or taken == 0 or whole % taken:
        return None
    if not symbols:
        return whole // taken
    return symbols[0] if len(symbols) == 1 and whole == taken else None


def _permute(shapes: Shapes, data: Data) -> Shape | None:
    given: tuple[Value, ...] = data.inputs[1:]
    if len(given) == 1 and type(given[0]) is Items:
        given = given[0].items
    order = [integer(v) for v in given]
    if not order or None in order:
        return None
    shape = shapes.of(data.inputs[0])
    if shape is None:
        return exactly(*[None] * len(order))
    return exactly(*(shape.dim(at) for at in order if at is not None)) if shape.rank in (None, len(order)) else None


def _transpose(shapes: Shapes, data: Data) -> Shape | None:
    shape = shapes.of(data.inputs[0])
    a, b = (integer(_argument(data, f"dim{i}", i + 1)) for i in (0, 1))
    if data.op in ("t", ".T") and shape is not None and shape.rank == 2:
        a, b = 0, 1
    if shape is None or a is None or b is None:
        return None
    if shape.dims is not None:
        dims = list(shape.dims)
        if max(a, b) >= len(dims) or min(a, b) < -len(dims):
            return None
        dims[a], dims[b] = dims[b], dims[a]
        return exactly(*dims)
    if {a, b} == {0, 1}:
        return Shape((shape.dim(1), shape.dim(0)), shape.back if len(shape.front) < 2 else (), True)
    return Shape((), (shape.dim(-1), shape.dim(-2)), True) if {a, b} == {-1, -2} else None


def _reduced(shapes: Shapes, data: Data) -> Shape | None:
    where = _argument(data, "dim", 1) or data.option("axis")
    if where is None:
        return SCALAR
    at, keep = integer(where), _flag(_argument(data, "keepdim", 2), False)
    shape = shapes.of(data.inputs[0]) if data.inputs else None
    if shape is None or at is None or keep is None:
        return None
    if not keep:
        return _without(shape, at)
    dims = shape.dims
    if dims is None or not -len(dims) <= at < len(dims):
        return None
    at %= len(dims)
    return exactly(*dims[:at], 1, *dims[at + 1 :])


def _cat(shapes: Shapes, data: Data) -> Shape | None:
    parts = data.inputs[0] if data.inputs else None
    at = integer(_argument(data, "dim", 1) or Const(0))
    if type(parts) is not Items or parts.open or at is None or not parts.items:
        return None
    found = [s for v in parts.items if (s := shapes.of(v)) is not None]
    if len(found) < len(parts.items) or any(s.dims is None for s in found):
        return None
    rows = [s.dims or () for s in found]
    if len({len(r) for r in rows}) != 1 or not -len(rows[0]) <= at < len(rows[0]):
        return None
    at %= len(rows[0])
    sizes = [r[at] for r in rows]
    total = sum(s for s in sizes if isinstance(s, int)) if all(isinstance(s, int) for s in sizes) else None
    first = next((r for r in rows if None not in r), rows[0])
    return exactly(*first[:at], total, *first[at + 1 :])


def _arithmetic(shapes: Shapes, data: Data) -> Shape | None:
    if len(data.inputs) < 2:
        return shapes.of(data.inputs[0]) if data.inputs else None
    return together(*(shapes.of(v) for v in data.inputs[:2]))


def together(left: Shape | None, right: Shape | None) -> Shape | None:
    """What two shapes broadcast to."""
    if left is None or right is None:
        return None
    if left == right or right == SCALAR:
        return left
    if left == SCALAR:
        return right
    if left.dims is None or right.dims is None:
        return None
    length = max(len(left.dims), len(right.dims))
    a, b = ((1,) * (length - len(s.dims)) + s.dims for s in (left, right) if s.dims is not None)
    return exactly(*(_wider(x, y) for x, y in zip(a, b, strict=True)))


def _wider(a: Dim, b: Dim) -> Dim:
    if a == b or b == 1:
        return a
    return b if a == 1 else None


# ---------------------------------------------------------------------------- layers


def _linear(shapes: Shapes, data: Data) -> Shape | None:
    out = integer(setting(data, "out_features", 1 if data.op == "Linear" else 0))
    shape = shapes.of(data.inputs[0]) if data.inputs else None
    if shape is None or (shape.open and not shape.back):
        return Shape(shape.front if shape is not None else (), (out,), True)
    if shape.dims is not None:
        return exactly(*shape.dims[:-1], out)
    return Shape(shape.front, (*shape.back[:-1], out), True)


def _embedding(shapes: Shapes, data: Data) -> Shape | None:
    shape, width = shapes.of(data.inputs[0]), integer(setting(data, "embedding_dim", 1))
    if shape is None:
        return Shape((), (width,), True)
    return exactly(*shape.dims, width) if shape.dims is not None else Shape(shape.front, (*shape.back, width), True)


def _leading(shape: Shape | None, inner: int) -> tuple[tuple[Dim, ...], bool]:
    """What lies before the last ``inner`` dimensions, and whether more may."""
    if shape is None:
        return (), True
    if shape.dims is not None:
        return shape.dims[:-inner], False
    return shape.front[:1], True


def _convolution(shapes: Shapes, data: Data) -> Shape | None:
    count, transposed = known.CONVOLUTIONS[data.op]
    shape = shapes.of(data.inputs[0]) if data.inputs else None
    channels = integer(setting(data, "out_channels", 1))
    spatial: tuple[Dim, ...] = (None,) * count
    names = ("kernel_size", "stride", "padding", "dilation")
    if not transposed:
        kernel, stride, padding, dilation = (
            _numbers(setting(data, n, i + 2), count, d)
            for i, (n, d) in enumerate(zip(names, (0, 1, 0, 1), strict=True))
        )
        same = setting(data, "padding", 4)
        if type(same) is Const and same.value == "same" and shape is not None:
            spatial = tuple(shape.dim(i - count) for i in range(count))
        elif kernel and stride and padding is not None and dilation and shape is not None:
            spatial = tuple(
                _slid(shape.dim(i - count), kernel[i], stride[i], padding[i], dilation[i], False) for i in range(count)
            )
    front, is_open = _leading(shape, count + 1)
    return Shape(front, (channels, *spatial), True) if is_open else exactly(*front, channels, *spatial)


def _slid(size: Dim, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> int | None:
    """How many places a window takes."""
    if not isinstance(size, int) or stride < 1:
        return None
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    return (-(-room // stride) if ceil else room // stride) + 1 if room >= 0 else None


def _pool(shapes: Shapes, data: Data) -> Shape | None:
    count, layer = known.POOLS[data.op], data.op[:1].isupper()
    shape = shapes.of(data.inputs[0]) if data.inputs else None
    if shape is None:
        return None
    names = ("kernel_size", "stride", "padding")
    read = setting if layer else (lambda d, n, i: d.option(n, i + 1))
    given = [read(data, n, i) for i, n in enumerate(names)]
    kernel = _numbers(given[0], count, 0)
    stride = kernel if given[1] is None else _numbers(given[1], count, 0)
    padding = _numbers(given[2], count, 0)
    ceil = _flag(data.option("ceil_mode"), False)
    simple = data.option("dilation") is None and data.option("3") is None and (layer or len(data.inputs) <= 4)
    spatial: tuple[Dim, ...] = (None,) * count
    if kernel and stride and padding is not None and simple and ceil is False:
        spatial = tuple(_slid(shape.dim(i - count), kernel[i], stride[i], padding[i], 1, False) for i in range(count))
    return _spatial(shape, spatial)


def _spatial(shape: Shape, spatial: tuple[Dim, ...]) -> Shape:
    """The shape with other sizes in its last dimensions."""
    count = len(spatial)
    if shape.dims is not None:
        return exactly(*shape.dims[:-count], *spatial)
    channels = (shape.back[-count - 1],) if len(shape.back) > count else ()
    return Shape(shape.front[:1], (*channels, *spatial), True)


def _adaptive(count: int) -> Callable[[Shapes, Data], Shape | None]:
    def handler(shapes: Shapes, data: Data) -> Shape | None:
        shape = shapes.of(data.inputs[0]) if data.inputs else None
        layer = data.op[:1].isupper()
        given = setting(data, "output_size", 0) if layer else data.option("output_size", 1)
        size = _numbers(given, count, 0) if given is not None else None
        if shape is None:
            return None
        return _spatial(shape, tuple(size) if size else (None,) * count)

    return handler


def _recurrent_part(shapes: Shapes, rnn: Data, index: Value) -> Shape | None:
    """``output, hidden = rnn(x)``."""
    if integer(index) == 1:
        return _hidden_state(shapes, rnn) if rnn.op != "LSTM" else None
    hidden, both = integer(rnn.option("hidden_size")), _flag(rnn.option("bidirectional"), False)
    shape = shapes.of(rnn.inputs[0]) if rnn.inputs else None
    width = None if hidden is None or both is None else hidden * (1 + both)
    if integer(index) != 0 or rnn.option("proj_size") is not None:
        return None
    if shape is None or shape.dims is None:
        return Shape(shape.front if shape is not None else (), (width,), True)
    return exactly(*shape.dims[:-1], width)


def _hidden_state(shapes: Shapes, rnn: Data) -> Shape | None:
    hidden = integer(rnn.option("hidden_size"))
    shape = shapes.of(rnn.inputs[0]) if rnn.inputs else None
    first = _flag(rnn.option("batch_first"), False)
    if rnn.option("proj_size") is not None or first is None:
        return None
    return exactly(None, None if shape is None or shape.rank != 3 else shape.dim(0 if first else 1), hidden)


def _output(shapes: Shapes, data: Data) -> Shape | None:
    return shapes.of(data.inputs[1])


def _element(shapes: Shapes, data: Data) -> Shape | None:
    """A whole batch of a loader over single tensors."""
    return Shape((BATCH,), (), True) if batched(shapes.program, data.inputs[0]) else None


def _bunch(shapes: Shapes, data: Data) -> Shape | None:
    """``load_iris().data`` and ``.target``; of a tensor, ``.data`` is the tensor."""
    inner = data.inputs[0]
    if type(inner) is Data and inner.op.startswith("sklearn.datasets."):
        return exactly(None, None) if data.op == ".data" else exactly(None)
    return shapes.of(inner) if data.op == ".data" else None


_HANDLERS: dict[str, Callable[[Shapes, Data], Shape | None]] = {
    **dict.fromkeys(("randn", "rand", "zeros", "ones", "empty", "random.rand", "random.randn"), _sized(0)),
    "full": _sized(0),
    **dict.fromkeys(("tensor", "array", "as_tensor", "asarray", "from_numpy"), _literal),
    **dict.fromkeys(("arange", "linspace", "randperm"), _line),
    **dict.fromkeys(known.READS_TABLES, _table),
    "part": _part,
    **dict.fromkeys(("fit_transform", "transform"), _scaled),
    **dict.fromkeys((".values", "to_numpy"), _values),
    "[]": _item,
    "element": _element,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    **dict.fromkeys(("flatten", "Flatten"), _flatten),
    **dict.fromkeys(("view", "reshape"), _view),
    "permute": _permute,
    **dict.fromkeys(("transpose", "t", ".T"), _transpose),
    **dict.fromkeys(("cat", "concat"), _cat),
    **dict.fromkeys(("+", "-", "*", "/", "**", "add", "sub", "mul", "div"), _arithmetic),
    **dict.fromkeys(("Linear", "LazyLinear"), _linear),
    "Embedding": _embedding,
    **{f"{name}{n}d": _adaptive(n) for name in ("AdaptiveAvgPool", "AdaptiveMaxPool") for n in (1, 2, 3)},
    **{f"{name}{n}d": _adaptive(n) for name in ("adaptive_avg_pool", "adaptive_max_pool") for n in (1, 2, 3)},
    "output": _output,
    **dict.fromkeys((".data", ".target"), _bunch),
}
