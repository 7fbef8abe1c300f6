"""Loaders: in which order samples come, which labels, what the batches hold, and who uses them."""

from __future__ import annotations

import functools
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

from ..run import Epoch, Loader
from ..watch import Recorder, Watch
from .samples import Samples

MAX_LOADERS = 128
"""Past it, loaders made on one line share a noun: some scripts make a new one every step."""
MAX_EPOCHS = 64
FULL_ITERATIONS = 8
"""The first iterations over a loader are read in full, then those whose number is a power of two."""
MAX_FULL_BATCHES = 20_000
MAX_CLASSES = 4096
MAX_RUNS = 100_000
"""Labels of which the order is examined."""
SAMPLED_ELEMENTS = 1024
INSPECTED_ELEMENTS = 1 << 17
INSPECTED_FIRST, INSPECTED_EVERY = 6, 64
COMPARED_SAMPLES = 64
MAX_TENSORS = 8
"""Tensors of a batch that its digest covers."""
_LABEL_KEYS = ("labels", "label", "targets", "target", "y")


class Reading:
    """One iteration over a loader."""

    def __init__(self, loader: Loader, epoch: Epoch, indices: bool) -> None:
        self.loader = loader
        self.epoch = epoch
        self.full = loader.iterations <= FULL_ITERATIONS or loader.iterations.bit_count() == 1
        """Whether contents and labels are read too, not only the order."""
        self.iterator: Callable[[], Any] = lambda: None
        """Gives the iterator, while it is there."""
        self.fresh = False
        """The latest batch was not followed by a backward pass yet."""
        self.gone = False
        """The iterator does not exist any more, its latest batch may: ``next(iter(loader))``."""
        self.indices: deque[int] | None = deque() if indices else None
        self.digests: set[int] = set()
        self.order = self.content = self.labels = 0
        self.last_label: int | None = None
        self.runs = self.labelled = 0
        self.classes: dict[int, int] = {}

    def trained(self) -> None:
        """A backward pass follows the latest batch."""
        if self.fresh:
            self.fresh = False
            self.epoch.trained += 1
            self.loader.training_batches += 1


class DataRecorder(Recorder):
    """Watches ``DataLoader``: the iterator it returns stays the script's own object."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._loaders: dict[int, tuple[weakref.ref[Any], Loader]] = {}
        self._readings: dict[int, tuple[weakref.ref[Any], Reading]] = {}
        self._samples = Samples(watch)

    def attach(self) -> None:
        """Patch construction, iteration, and the two steps of the iterators."""
        self.patch(DataLoader, "__init__", self._initialised)
        self.patch(DataLoader, "__iter__", self._iterated)
        self.patch(_BaseDataLoaderIter, "__next__", self._next)
        self.patch(_BaseDataLoaderIter, "_next_index", self._next_index)

    # ------------------------------------------------------------------ patches

    def _initialised(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def __init__(loader: Any, *args: Any, **kwargs: Any) -> None:
            original(loader, *args, **kwargs)
            if self.on:
                try:
                    self._loader(loader).line = self.watch.here(2)
                except Exception as error:
                    self.watch.fail(self, error)

        return __init__

    def _iterated(self, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(original)
        def __iter__(loader: Any) -> Any:
            iterator = original(loader)
            if self.on:
                try:
                    self._begin(loader, iterator)
                except Exception as error:
                    self.watch.fail(self, error)
            return iterator

        return __iter__

    def _next(self, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(original)
        def __next__(iterator: Any) -> Any:
            if not self.on:
                return original(iterator)
            try:
                batch = original(iterator)
            except StopIteration:
                try:
                    self._end(iterator)
                except Exception as error:
                    self.watch.fail(self, error)
                raise
            try:
                self._batch(iterator, batch)
                if self.watch.moment is not None:
                    self.watch.moment("batch")
            except Exception as error:
                self.watch.fail(self, error)
            return batch

        return __next__

    def _next_index(self, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(original)
        def _next_index(iterator: Any) -> Any:
            index = original(iterator)
            found = self._readings.get(id(iterator))
            if found is not None and found[1].indices is not None:
                found[1].indices.append(hash(tuple(index)) if isinstance(index, list) else hash(index))
            return index

        return _next_index

    # ------------------------------------------------------------------ events

    def _loader(self, loader: Any) -> Loader:
        found = self._loaders.get(id(loader))
        if found is not None and found[0]() is loader:
            return found[1]
        if self.watch.record.full(Loader, MAX_LOADERS):
            line = self.watch.here(3)
            alike = next((t for t in reversed(self.watch.run.loaders) if t.line == line), self.watch.run.loaders[-1])
            self._loaders[id(loader)] = (weakref.ref(loader), alike)
            return alike
        dataset = loader.dataset
        map_style = not isinstance(dataset, IterableDataset)
        made: Loader = self.watch.record.new(
            Loader,
            dataset=type(dataset).__name__,
            sampler=type(loader.sampler if loader.batch_sampler is None else _inner_sampler(loader)).__name__,
            map_style=map_style,
            batch_size=loader.batch_size,
            workers=loader.num_workers,
        )
        if map_style:
            with suppress(TypeError, NotImplementedError):
                made.samples, made.batches_per_epoch = len(dataset), len(loader)
        self._loaders[id(loader)] = (weakref.ref(loader), made)
        return made

    def _begin(self, loader: Any, iterator: Any) -> None:
        thing = self._loader(loader)
        thing.iterations += 1
        if thing.read_at is None:
            thing.read_at = self.watch.here(3)
        epoch = Epoch(step=self.watch.steps)
        thing.epochs.append(epoch)
        if len(thing.epochs) > MAX_EPOCHS:
            del thing.epochs[8]
        reading = Reading(thing, epoch, thing.map_style and thing.batch_size != 0)
        reading.iterator = weakref.ref(iterator)
        # The prefetching of worker processes has begun: those indices were drawn before we could see them.
        if thing.workers:
            reading.indices = None
        self._readings[id(iterator)] = (weakref.ref(iterator, self._gone(id(iterator), reading)), reading)
        self.watch.record.touch(thing)

    def _gone(self, key: int, reading: Reading) -> Callable[[Any], None]:
        def forget(reference: Any) -> None:
            found = self._readings.get(key)
            if found is not None and found[0] is reference:
                del self._readings[key]
            reading.gone = True
            latest = self.watch.readings[-1:] == [reading]
            if reading in self.watch.readings and not (latest and reading.fresh):
                self.watch.readings.remove(reading)

        return forget

    def _end(self, iterator: Any) -> None:
        found = self._readings.get(id(iterator))
        if found is None:
            return
        reading = found[1]
        reading.epoch.complete = True
        if reading in self.watch.readings:
            self.watch.readings.remove(reading)
        loader = reading.loader
        if not loader.label_runs and reading.labelled >= 2:
            loader.label_runs = [float(reading.labelled), float(reading.runs), *_expected_runs(reading.classes)]
        if reading.full:
            self._samples.ended(loader)
        self.watch.record.touch(loader)

    def _batch(self, iterator: Any, batch: Any) -> None:
        found = self._readings.get(id(iterator))
        if found is None:
            return
        reading = found[1]
        readings = self.watch.readings
        if not readings or readings[-1] is not reading:
            readings[:] = [other for other in readings if other is not reading and not other.gone]
            readings.append(reading)
        reading.fresh = True
        loader, epoch = reading.loader, reading.epoch
        epoch.batches += 1
        loader.batches += 1
        if reading.indices:
            reading.order = hash((reading.order, reading.indices.popleft()))
            epoch.order = _text(reading.order)
        if not reading.full or epoch.batches > MAX_FULL_BATCHES:
            reading.full = False
            self.watch.record.touch(loader)
            return
        tensors = _tensors(batch)
        inputs, labels = _parts(batch)
        loader.tensors = len(tensors)
        if tensors and all(on_host(tensor) is not None for tensor in tensors):
            self._content(reading, tensors)
        if inputs is not None:
            self._look(loader, inputs, tensors)
            began = time.perf_counter()
            self._samples.look(loader, _array(inputs), None if labels is None else _array(labels).reshape(-1))
            self.watch.spent += time.perf_counter() - began
        if labels is not None:
            _count_labels(reading, labels)
        self.watch.record.touch(loader)

    def _content(self, reading: Reading, tensors: list[torch.Tensor]) -> None:
        epoch = reading.epoch
        digest = hash(tuple(map(fingerprint, tensors[:MAX_TENSORS])))
        reading.content = hash((reading.content, digest))
        epoch.content = _text(reading.content)
        if epoch.batches == 1:
            epoch.first = _text(digest)
        if digest in reading.digests:
            epoch.repeats += 1
        elif len(reading.digests) < 100_000:
            reading.digests.add(digest)

    def _look(self, loader: Loader, inputs: torch.Tensor, tensors: list[torch.Tensor]) -> None:
        if loader.batches <= INSPECTED_FIRST or loader.batches % INSPECTED_EVERY == 0:
            began = time.perf_counter()
            _inspect(loader, inputs, tensors)
            for tensor in tensors[:MAX_TENSORS]:
                if not tensor.is_floating_point() and tensor.dim() == 2 and on_host(tensor) is not None:
                    self._samples.look_at_rows(loader, _array(tensor))
            self.watch.spent += time.perf_counter() - began


# ---------------------------------------------------------------------------- batches


def _inner_sampler(loader: Any) -> Any:
    """The sampler that decides the order; a batch sampler of the user's own decides by itself."""
    batch_sampler = loader.batch_sampler
    return batch_sampler.sampler if type(batch_sampler) is torch.utils.data.BatchSampler else batch_sampler


def _tensors(batch: Any) -> list[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        return [batch]
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, list | tuple) else ()
    return [part for part in parts if isinstance(part, torch.Tensor)]


def _parts(batch: Any) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """The input and, where there is one, the integer label of each sample."""
    if isinstance(batch, torch.Tensor):
        return on_host(batch), None
    if isinstance(batch, Mapping):
        labels = next((batch[k] for k in _LABEL_KEYS if isinstance(batch.get(k), torch.Tensor)), None)
        inputs = next((v for v in batch.values() if isinstance(v, torch.Tensor) and v is not labels), None)
    elif isinstance(batch, list | tuple):
        tensors = [v for v in batch if isinstance(v, torch.Tensor)]
        inputs = tensors[0] if tensors else None
        labels = tensors[-1] if len(tensors) > 1 else None
    else:
        return None, None
    if inputs is None:
        return None, None
    if labels is not None and not _is_label(labels, inputs):
        labels = None
    return on_host(inputs), labels


def _is_label(labels: torch.Tensor, inputs: torch.Tensor) -> bool:
    if labels.is_cuda or type(labels) is not torch.Tensor or not labels.shape or labels.shape[0] != inputs.shape[:1][0]:
        return False
    if labels.numel() != labels.shape[0]:
        return False
    if not labels.dtype.is_floating_point:
        return not labels.dtype.is_complex
    values = labels.detach().numpy() if labels.dtype is not torch.bfloat16 else labels.detach().float().numpy()
    return bool(((values == 0) | (values == 1)).all())


def on_host(tensor: torch.Tensor) -> torch.Tensor | None:
    """The tensor where its numbers can be read without waiting for a device, else None."""
    ordinary = type(tensor) is torch.Tensor and tensor.device.type == "cpu" and tensor.layout is torch.strided
    return tensor if ordinary and tensor.numel() and tensor.dim() else None


def _array(tensor: torch.Tensor) -> Any:
    tensor = tensor.detach()
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.float()
    return tensor.resolve_conj().resolve_neg().numpy()


def fingerprint(tensor: torch.Tensor) -> int:
    """A digest of the shape and of at most :data:`SAMPLED_ELEMENTS` elements spread over the tensor."""
    values = _array(tensor).reshape(-1)
    if len(values) > SAMPLED_ELEMENTS:
        # An odd stride does not stay in one column of an image.
        values = values[:: len(values) // SAMPLED_ELEMENTS | 1]
    return hash((tuple(tensor.shape), values.tobytes()))


def _text(digest: int) -> str:
    return f"{digest & 0xFFFFFFFFFFFFFFFF:016x}"


def _count_labels(reading: Reading, labels: torch.Tensor) -> None:
    loader, epoch = reading.loader, reading.epoch
    values = _array(labels).reshape(-1).astype(np.int64)
    reading.labels = hash((reading.labels, values.tobytes()))
    epoch.labels = _text(reading.labels)
    low, high = int(values.min()), int(values.max())
    if 0 <= low <= high < MAX_CLASSES:
        counts = np.bincount(values).tolist()
        counted = [(label, count) for label, count in enumerate(counts) if count]
    else:
        counted = list(zip(*(part.tolist() for part in np.unique(values, return_counts=True)), strict=True))
    if len(loader.labels) < MAX_CLASSES:
        for label, count in counted:
            name = str(label)
            loader.labels[name] = loader.labels.get(name, 0) + count
    if len(values) >= 4:
        loader.labelled_batches += 1
        loader.single_label_batches += low == high
    if not loader.label_runs and reading.labelled < MAX_RUNS:
        reading.runs += int(np.count_nonzero(values[1:] != values[:-1])) + (int(values[0]) != reading.last_label)
        reading.labelled += len(values)
        reading.last_label = int(values[-1])
        for label, count in counted:
            reading.classes[label] = reading.classes.get(label, 0) + count


def _expected_runs(classes: dict[int, int]) -> tuple[float, float]:
    """Mean and standard deviation of the number of runs in a random order (Barton and David, 1957)."""
    n = float(sum(classes.values()))
    second = sum(float(c) ** 2 for c in classes.values())
    third = sum(float(c) ** 3 for c in classes.values())
    mean = (n * (n + 1) - second) / n
    variance = (second * (second + n * (n + 1)) - 2 * n * third - n**3) / (n**2 * (n - 1))
    return mean, max(variance, 0.0) ** 0.5


def _inspect(loader: Loader, inputs: torch.Tensor, tensors: list[torch.Tensor]) -> None:
    """What one batch holds: finite numbers, spread, channels that never vary, equal samples."""
    loader.shape = list(inputs.shape)
    loader.dtype = str(inputs.dtype).removeprefix("torch.")
    if inputs.dtype.is_complex or not (inputs.dtype.is_floating_point or inputs.dtype is torch.uint8):
        return
    values = _array(inputs)
    rows = max(2, INSPECTED_ELEMENTS // max(1, values[0].size))
    values = values[:rows]
    loader.inspected += 1
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        loader.nonfinite_batches += 1
        return
    low, high = float(values.min()), float(values.max())
    loader.minimum, loader.maximum = min(loader.minimum, low), max(loader.maximum, high)
    weight = 1.0 / loader.inspected
    loader.mean += (float(values.mean()) - loader.mean) * weight
    loader.deviation += (float(values.std()) - loader.deviation) * weight
    if low == high and values.size > 1:
        loader.constant_batches += 1
        loader.constant_value = low
    if low < high and len(values) >= 4 and (values[1:] == values[:1]).all():
        loader.alike_batches += 1
    if values.ndim >= 2 and len(values) >= 2:
        _channels(loader, values)
        _duplicates(loader, values, tensors)


def _channels(loader: Loader, values: Any) -> None:
    others = tuple(axis for axis in range(values.ndim) if axis != 1)
    constant = np.flatnonzero(values.min(axis=others) == values.max(axis=others)).tolist()
    if loader.channels != values.shape[1]:
        loader.channels = values.shape[1]
        loader.constant_channels = constant[:MAX_CLASSES]
    elif loader.constant_channels:
        still = set(constant)
        loader.constant_channels = [c for c in loader.constant_channels if c in still]


def _duplicates(loader: Loader, values: Any, tensors: list[torch.Tensor]) -> None:
    if values[0].size < 8:
        return  # few features with few values repeat by nature
    count = min(len(values), COMPARED_SAMPLES)
    parts = [_array(t[:count]) for t in tensors if on_host(t) is not None and t.shape[0] == tensors[0].shape[0]]
    rows = [b"".join(part[i].tobytes() for part in parts) for i in range(count)]
    loader.compared += len(rows)
    loader.duplicated += len(rows) - len(set(rows))


def readings(watch: Watch) -> list[Reading]:
    """Iterations under way, the latest first; what has left only a batch behind is told once."""
    found = watch.readings[::-1]
    for reading in found:
        if reading.gone:
            watch.readings.remove(reading)
    return found
