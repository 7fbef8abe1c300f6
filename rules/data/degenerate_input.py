"""NN104: what the loader gives carries no information, or not all that it should."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Loader, Run


class DegenerateInput(Rule):
    """The inputs of training are constant, not finite, partly constant, or copies of each other.

    ## What it is

    Something on the way from the file to the loader destroys the data: integer division (`image // 255` is zero
    for almost all bytes), a conversion to `uint8` after scaling to 0..1, an image that could not be read and
    became zeros, a clip at the wrong end, a channel that is overwritten, a mean that is itself not a number, one
    sample that is copied into the whole batch.

    ## Why it hurts training

    The network can learn nothing from inputs that do not differ: it learns the frequencies of the labels, the loss
    stops at their entropy, and everything that is tried on the model or the learning rate changes nothing. A
    constant channel halves or thirds the information in the same silent way. One number that is not finite makes
    the loss, the gradients and with the next step all weights not finite.

    ## How it is told apart from code that only looks alike

    - Only loaders that training uses are judged, and only tensors of floating-point numbers or bytes: tokens and
      masks are often constant.
    - Missing values written as NaN, which the model or the loss leaves out, keep the loss finite.
    - Where a batch holds more than input and target, its first tensor may be a grid, a mask or a prompt.
    - An alpha channel is constant by right; so are blank margins of images and single columns of tables.
    - Planes of a board game, spectral bands and one-hot columns may well be constant for a while: images of more
      than 4 channels are not judged.
    - Samples that were drawn twice by a weighted sampler are meant to be equal.

    Looked at are the first 6 batches and every 64th after them; 3 of them are the least that is judged. A table
    (likely only) needs 10 batches looked at, two constant columns, and not more than 32 columns. More than
    half of the samples of wide inputs (at least 8 numbers) must equal another one in their batch, labels included
    (likely only); or all inputs of each batch are one and the same, whatever the labels (likely only: it may be a
    grid). These
    limits are the project's own choice.

    ## What to do

    Look at what training really gets, and repair the line that destroys it:

    ```python
    x, y = next(iter(train_loader))
    print(x.shape, x.dtype, x.min(), x.max(), x.mean((0, 2, 3)), x.std((0, 2, 3)))

    image = torch.from_numpy(array).float() / 255  # not // 255
    ```
    """

    code = "NN104"
    name = "degenerate-input"
    points = (1,)
    severity = Severity.ERROR
    options = {"batches": 3, "table_batches": 10, "table_columns": 32, "duplicates": 0.5}

    def watch(self, run: Run) -> Iterator[Finding]:
        broken = bool(run.nonfinite) or any(place.nonfinite for place in run.backwards)
        for loader in run.loaders:
            if loader.read_at is None or not loader.trains:
                continue
            if loader.nonfinite_batches and broken:
                yield self._not_finite(loader)
            elif loader.inspected >= self.number("batches"):
                finding = (
                    self._constant(loader) or self._alike(loader) or self._channels(loader) or self._duplicates(loader)
                )
                if finding is not None:
                    yield finding

    def _not_finite(self, loader: Loader) -> Finding:
        return self.finding(
            loader.read_at,
            f"{loader.nonfinite_batches} of {loader.inspected} batches that were looked at hold NaN or infinite "
            "numbers, and the loss is not finite either: one such batch ruins all weights.",
            "Find the samples (`torch.isfinite(x).all()`) and remove or impute them before training; check divisions "
            "by a standard deviation of zero and logarithms of zero in the preprocessing.",
            evidence=[
                Hop("the loader is made here", loader.line, loader.dataset),
                Hop("batches with such numbers come out here", loader.read_at, _shape(loader)),
            ],
        )

    def _constant(self, loader: Loader) -> Finding | None:
        if loader.constant_batches < loader.inspected:
            return None
        size = 1
        for length in loader.shape[1:]:
            size *= length
        if size < 2:
            return None
        value = f"{loader.constant_value:g}"
        same = f", here {value}" if loader.minimum == loader.maximum else ""
        certain = loader.tensors <= 2
        return self.finding(
            loader.read_at,
            f"Every batch is one single number in all places{same} ({loader.inspected} batches of {_shape(loader)} "
            "looked at): the inputs carry no information, and the network can only learn how frequent the labels are.",
            "Find the step of the preprocessing that destroys them: integer division (`// 255`), a cast to integers "
            "after scaling to 0..1, a clip, or a file that was not read.",
            evidence=[
                Hop("the loader is made here", loader.line, loader.dataset),
                Hop("constant batches come out here", loader.read_at, f"{loader.dtype}, all {value}"),
            ],
            confidence=Confidence.CERTAIN if certain else Confidence.LIKELY,
        )

    def _alike(self, loader: Loader) -> Finding | None:
        if loader.alike_batches < loader.inspected or loader.tensors > 2:
            return None
        return self.finding(
            loader.read_at,
            f"All samples of a batch have the same input, in each of the {loader.inspected} batches of "
            f"{_shape(loader)} looked at: within a batch the network cannot tell one sample from another.",
            "Return a copy (`.clone()`, `.copy()`) of a buffer that the data set fills again for each sample, and "
            "check how it finds a sample by its index.",
            evidence=[
                Hop("the loader is made here", loader.line, loader.dataset),
                Hop(
                    "equal inputs come out here",
                    loader.read_at,
                    f"{loader.alike_batches} of {loader.inspected} batches",
                ),
            ],
            confidence=Confidence.LIKELY,
        )

    def _channels(self, loader: Loader) -> Finding | None:
        constant, channels = loader.constant_channels, loader.channels
        if not 0 < len(constant) < channels or loader.tensors > 2 or loader.minimum >= loader.maximum:
            return None
        image = len(loader.shape) == 4 and 2 <= channels <= 4 and min(loader.shape[2:]) >= 4
        alpha = channels in (2, 4) and constant == [channels - 1]
        table = (
            len(loader.shape) == 2
            and len(constant) >= 2
            and channels <= self.number("table_columns")
            and loader.inspected >= self.number("table_batches")
        )
        if not table and (not image or alpha):
            return None
        kind = "Channel" if image else "Column"
        names = ", ".join(map(str, constant[:6])) + (", ..." if len(constant) > 6 else "")
        return self.finding(
            loader.read_at,
            f"{kind}{'s' if len(constant) > 1 else ''} {names} of {channels} never vary ({loader.inspected} batches of "
            f"{_shape(loader)} looked at), the others do: what they should tell is lost.",
            "Follow them back through the preprocessing: a wrong index, a scale of zero, or a cast to integers.",
            evidence=[
                Hop("the loader is made here", loader.line, loader.dataset),
                Hop("they come out constant here", loader.read_at, f"{len(constant)} of {channels}"),
            ],
            confidence=Confidence.CERTAIN if image else Confidence.LIKELY,
        )

    def _duplicates(self, loader: Loader) -> Finding | None:
        if loader.sampler not in ("SequentialSampler", "RandomSampler") or loader.tensors > 2:
            return None
        if not loader.compared or loader.duplicated <= self.number("duplicates") * loader.compared:
            return None
        if loader.samples is not None and loader.batch_size is not None and loader.samples <= loader.batch_size:
            return None
        return self.finding(
            loader.read_at,
            f"{loader.duplicated} of {loader.compared} samples are exact copies of another sample in their batch: a "
            "batch tells far less than its size promises.",
            "Check how the data set finds a sample by its index, and whether a buffer that is filled again is returned "
            "without `.copy()` or `.clone()`.",
            evidence=[
                Hop("the loader is made here", loader.line, loader.dataset),
                Hop("copies come out here", loader.read_at, f"{loader.duplicated} of {loader.compared}"),
            ],
            confidence=Confidence.LIKELY,
        )


def _shape(loader: Loader) -> str:
    return "×".join(map(str, loader.shape))
