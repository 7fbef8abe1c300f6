"""The nouns of a recorded run: what rules read, live or years later, without torch.

Everything here is a plain number, text or list. Recorders fill it in while the script runs
(:mod:`.recorders`), :mod:`.store` writes it down and reads it back, rules only read it.

Units: *steps* count calls of ``optimizer.step`` over all optimizers, in order; times are seconds. State is
bounded: a noun stands for a place or an object of the program, not for an event, and streams of
numbers thin themselves out (:class:`Stream`).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..rules.finding import Line
from .results import (
    Axis,
    Blind,
    Chance,
    Check,
    Collated,
    Cut,
    Fit,
    Labels,
    Layer,
    Mix,
    Probe,
    Resize,
    Term,
    Trial,
)
from .thing import Thing

SCHEMA = 1
"""Version of the record; raised whenever an older reader could misread a newer record."""

MAX_POINTS = 2048
"""Rows that a stream keeps; past it every second one is dropped, again and again."""


@dataclass(slots=True)
class Epoch:
    """One iteration over a loader. Digests are of content (a sample of it) or of indices; "" where not known.

    ``labels`` is the digest of the sequence of labels, ``order`` that of the sample indices, ``content`` that of the
    batches (all tensors of each). ``repeats`` counts batches whose content came before in the same iteration.
    ``trained`` counts batches that were followed by a backward pass. ``first`` is the digest of the first batch.
    """

    batches: int = 0
    complete: bool = False
    order: str = ""
    content: str = ""
    labels: str = ""
    first: str = ""
    repeats: int = 0
    trained: int = 0
    step: int = 0


@dataclass(slots=True)
class Loader(Thing):
    """A ``DataLoader``. ``line`` is where it was made, ``read_at`` where it is iterated over."""

    KIND = "loader"
    LINES = ("line", "read_at")
    line: Line | None = None
    read_at: Line | None = None
    dataset: str = ""
    sampler: str = ""
    map_style: bool = True
    samples: int | None = None
    batch_size: int | None = None
    batches_per_epoch: int | None = None
    workers: int = 0
    batches: int = 0
    training_batches: int = 0
    iterations: int = 0
    epochs: list[Epoch] = field(default_factory=list)
    # Labels (integer targets, one a sample).
    labels: dict[str, int] = field(default_factory=dict)
    """Class -> samples seen, at most 4096 classes."""
    label_runs: list[float] = field(default_factory=list)
    """Of the first complete epoch's label sequence: samples, runs of equal labels, expected runs, their deviation."""
    labelled_batches: int = 0
    single_label_batches: int = 0
    # Contents, from the batches that were looked into.
    tensors: int = 0
    """Tensors in a batch; what follows is about the first."""
    inspected: int = 0
    shape: list[int] = field(default_factory=list)
    dtype: str = ""
    nonfinite_batches: int = 0
    constant_batches: int = 0
    """Batches whose input is one single number."""
    constant_value: float = 0.0
    constant_channels: list[int] = field(default_factory=list)
    """Channels (axis 1) or features that never varied in any inspected batch."""
    channels: int = 0
    duplicated: int = 0
    compared: int = 0
    """Samples (inputs and labels) compared within their batches, and how many equalled another one there."""
    alike_batches: int = 0
    """Inspected batches whose inputs are one sample over and over, whatever the labels are."""
    distinct: int = 0
    conflicting: int = 0
    """Different inputs among the samples that were remembered, and those that came with several labels."""
    remembered: int = 0
    repeated: int = 0
    """Inputs remembered in the first iteration, and how many of them had come before in it."""
    shared: dict[str, int] = field(default_factory=dict)
    """Key of another loader -> inputs that came from both."""
    padding: dict[str, float] = field(default_factory=dict)
    """Integer with which rows of a batch end -> largest share of the positions that it fills up to the end of rows."""
    telling: list[int] = field(default_factory=list)
    """Columns of two-dimensional inputs that hold one value for each class, and nothing else."""
    minimum: float = float("inf")
    maximum: float = float("-inf")
    mean: float = 0.0
    deviation: float = 0.0

    @property
    def trains(self) -> bool:
        """Whether at least half of its batches were followed by a backward pass."""
        return 0 < self.batches <= 2 * self.training_batches


@dataclass(slots=True)
class Module(Thing):
    """An ``nn.Module`` that ran. ``name`` is as users write it (``model.encoder.fc1``); shapes are texts."""

    KIND = "module"
    LINES = ("line",)
    name: str = ""
    class_name: str = ""
    base: str = ""
    """The class of ``torch.nn`` that it is, or the nearest one that it derives from; "" for ``Module``."""
    line: Line | None = None
    root: int | None = None
    registered: bool = True
    """False: it ran inside ``root``'s forward but is not among its sub-modules."""
    leaf: bool = True
    train_dependent: bool = False
    """Behaves differently in training: dropout with a rate, batch normalisation with running statistics."""
    calls: int = 0
    recorded_graph: int = 0
    """Calls with gradients switched on (of the calls that were looked at)."""
    order: int = 0
    """Position in the first forward pass that it ran in."""
    input_shape: str = ""
    output_shape: str = ""
    input_sizes: list[int] = field(default_factory=list)
    """The shape of its first argument in the first call."""
    batch_first: bool | None = None
    """Where a recurrent layer expects the batch; None for others."""
    given_state: bool = False
    """A recurrent layer that was called with a state."""
    loaded: bool = False
    """``load_state_dict`` wrote to it, or to something in it, before it was trained."""
    library: bool = False
    """The code of an installed library made it."""
    choice: str = ""
    """Name of the innermost ``ModuleDict`` or ``ModuleList`` that holds it: the script picks from these by itself."""
    # Units of its input (features or channels): how many never were anything but zero.
    units: int = 0
    dead_units: int = 0
    looks: int = 0
    feeder: int | None = None
    """The module with parameters that ran just before it, whose units these are."""


@dataclass(slots=True)
class Parameter(Thing):
    """A tensor that is trained, or that looks as if it should be."""

    KIND = "parameter"
    LINES = ("line",)
    name: str = ""
    shape: list[int] = field(default_factory=list)
    size: int = 0
    module: int | None = None
    line: Line | None = None
    plain: bool = False
    """A tensor with gradient that no module registers."""
    trainable: bool = True
    optimizers: list[int] = field(default_factory=list)
    steps: int = 0
    with_gradient: int = 0
    """Steps of its optimizers looked at, and how many of them found a gradient; 0 only if no step at all did."""
    looked: int = 0
    nonzero: int = 0
    """Steps whose gradient norm was read, and how many were not zero."""
    checked: int = 0
    moved: int = 0
    """Steps before and after which the values were compared, and how many changed them."""
    reached: int = 0
    """Backward graphs, of those walked, that lead to it."""
    reached_by: list[int] = field(default_factory=list)
    """The places of those backward passes."""
    loaded: bool = False
    """``load_state_dict`` wrote to it before it was trained."""
    moved_by_hand: bool = False
    """Something that is not an optimizer changed its values."""
    frozen_steps: int = 0
    """Steps of its optimizer at which it did not require gradients."""
    untrained: bool = False
    """When found frozen or without an optimizer, it held what torch's layers are initialised with."""


@dataclass(slots=True)
class Optimizer(Thing):
    """An optimizer. A *cycle* is the time from one of its steps to the next."""

    KIND = "optimizer"
    LINES = ("line", "step_line", "uncleared_line", "cleared_line")
    line: Line | None = None
    step_line: Line | None = None
    class_name: str = ""
    parameters: list[int] = field(default_factory=list)
    steps: int = 0
    without_gradient: int = 0
    """Steps at which every gradient was None."""
    cycles: int = 0
    uncleared: int = 0
    """Cycles examined, and those whose step used gradients left over from the step before."""
    uncleared_line: Line | None = None
    """The backward pass that added to the left-over gradients."""
    zeroed: int = 0
    """Cycles with a backward pass whose gradients were cleared before the step."""
    cleared_line: Line | None = None
    rates: list[float] = field(default_factory=list)
    skipped: int = 0
    """Steps that a GradScaler left out."""


@dataclass(slots=True)
class LossUse(Thing):
    """A place where a known loss is evaluated; ``checked`` evaluations had their inputs looked at."""

    KIND = "loss"
    LINES = ("line",)
    line: Line | None = None
    function: str = ""
    reduction: str = "mean"
    weighted: bool = False
    evaluations: int = 0
    with_graph: int = 0
    checked: int = 0
    input_shape: list[int] = field(default_factory=list)
    target_shape: list[int] = field(default_factory=list)
    input_dtype: str = ""
    target_dtype: str = ""
    made_by: str = ""
    """The operation that made the input, as its graph node says (``SoftmaxBackward0``), "" if none."""
    maker: int | None = None
    """The module that made the input, where one did."""
    probabilities: int = 0
    """Checked evaluations whose input rows are non-negative and sum to 1."""
    log_probabilities: int = 0
    """Checked evaluations whose rows of exp(input) sum to 1."""
    positive: int = 0
    """Checked evaluations with a positive number in the input."""
    within_unit: int = 0
    """Checked evaluations whose whole input lies in [0, 1]."""
    outside_unit: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    elements: int = 0
    ignored: int | None = None
    """``ignore_index`` of losses of classes."""
    padded: dict[str, float] = field(default_factory=dict)
    """Integer with which a loader fills up rows -> its share of the targets."""
    broadcast: int = 0
    integer_input: int = 0
    gradient_in_target_only: int = 0
    classes: int | None = None
    by_column: int = 0
    """Checked evaluations whose probabilities sum to 1 along the batch."""
    alone: int = 0
    """Evaluations of one sample whose batch axis was gone from the input, and not from the target."""
    target_low: float = float("inf")
    target_high: float = float("-inf")
    """Range of floating-point targets."""
    several: int = 0
    """Checked evaluations with floating-point targets of which some rows do not sum to 1."""
    target_deviation: float = 0.0
    """Standard deviation of the targets of the checked evaluations (regression)."""
    first: float | None = None
    last: float | None = None

    @property
    def measured(self) -> int:
        """Checked evaluations whose input was read, and was finite."""
        return self.within_unit + self.outside_unit


@dataclass(slots=True)
class Pass(Thing):
    """Forward calls of an outermost module from one line, in one mode, on one loader's batches.

    ``watched`` calls were asked whether a backward pass came back to them, ``used`` ones were.
    """

    KIND = "pass"
    LINES = ("line", "drop_line")
    module: int = 0
    line: Line | None = None
    training: bool = True
    grad: bool = True
    loader: int | None = None
    train_dependent: str = ""
    """Name of a layer in training mode that behaves differently there, "" if there is none."""
    eval_dependent: str = ""
    """The same for evaluation mode."""
    calls: int = 0
    watched: int = 0
    used: int = 0
    graph: int = 0
    """Calls whose output carried a graph."""
    drawn: int = 0
    """Calls, of those whose inputs have a digest, with a new view of less than half of a larger tensor as input."""
    consumed: int = 0
    """Calls whose output went into another outermost module as it was."""
    drops: int = 0
    drop_line: Line | None = None
    """Calls of functional dropout in it that were not told the mode, and the line of the first."""
    first_step: int = 0
    last_step: int = 0
    inputs: list[str] = field(default_factory=list)
    """Digests of the first input of the first 512 calls; none of what lies on another device."""


@dataclass(slots=True)
class Backward(Thing):
    """A place where ``backward`` is called. ``walked`` graphs were followed to their leaves."""

    KIND = "backward"
    LINES = ("line", "pairs_line")
    line: Line | None = None
    calls: int = 0
    walked: int = 0
    parameters: int = 0
    """Parameters that the last walked graph reached."""
    leaf: int = 0
    """Calls on a tensor that no operation made."""
    nonfinite: int = 0
    steps: int = 0
    """Optimizer steps that followed, before the next backward pass."""
    optimizers: list[int] = field(default_factory=list)
    """The optimizers that made them."""
    losses: list[int] = field(default_factory=list)
    """Uses of known losses that were evaluated just before."""
    sizes: list[int] = field(default_factory=list)
    """Nodes of the graphs that were walked: those of the first three calls, then of the tenth, the hundredth ..."""
    alive: int = 0
    most_alive: int = 0
    """Graphs of losses that exist at the moment, and the largest number of them, of the calls that were marked."""
    by_hand: int = 0
    uncleared: int = 0
    """Calls before which the script itself had moved a tensor, and those that add to the gradient it has used."""
    compared: int = 0
    pairs: int = 0
    """Graphs whose end was looked at for a table of all pairs between prediction and target, and those that had one."""
    pairs_line: Line | None = None
    pairs_operation: str = ""
    pairs_shapes: list[list[int]] = field(default_factory=list)
    """Where the table is made, by what, and the shapes of its two operands; empty where that was not found."""


@dataclass(slots=True)
class Clip(Thing):
    """A place where gradients are clipped by norm or value."""

    KIND = "clip"
    LINES = ("line",)
    line: Line | None = None
    function: str = ""
    limit: float = 0.0
    calls: int = 0
    steps: int = 0
    """Steps that followed a call, of which ``exceeded`` had larger gradients than the limit allows."""
    exceeded: int = 0
    largest: float = 0.0
    without_gradient: int = 0
    """Calls that found no gradient."""
    idle: int = 0
    """Calls before which no backward pass had run since the last step of the parameters' optimizer."""
    followed: int = 0
    """Of those, calls after which one ran before the next step."""
    scaled: int = 0
    """Steps of a GradScaler that had not unscaled the gradients when they were clipped."""


@dataclass(slots=True)
class Scheduler(Thing):
    """A learning-rate scheduler."""

    KIND = "scheduler"
    LINES = ("line", "step_line")
    line: Line | None = None
    step_line: Line | None = None
    class_name: str = ""
    optimizer: int | None = None
    steps: int = 0
    before: int = 0
    """Calls of ``step`` before the first step of its optimizer; its construction does not count."""


@dataclass(slots=True)
class Load(Thing):
    """A call of ``load_state_dict`` of a module: how many of the given names it has."""

    KIND = "load"
    LINES = ("line",)
    line: Line | None = None
    module: str = ""
    given: int = 0
    matched: int = 0
    wanted: int = 0
    """Names that the module has."""
    example: str = ""
    expected: str = ""
    """The first name given, and the first that the module has."""


@dataclass(slots=True)
class Metric(Thing):
    """A number that the script logs under a name (``SummaryWriter.add_scalar``, ``wandb.log``, a progress bar ...)."""

    KIND = "metric"
    LINES = ("line",)
    line: Line | None = None
    name: str = ""
    through: str = ""
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    low: float = float("inf")
    high: float = float("-inf")


@dataclass(slots=True)
class NonFinite(Thing):
    """The first number that was not finite: the operation that made it, and from what."""

    KIND = "nonfinite"
    LINES = ("line", "loss_line")
    line: Line | None = None
    loss_line: Line | None = None
    operation: str = ""
    module: int | None = None
    step: int = 0
    where: str = ""
    """``forward``, ``gradient``, ``input``, ``weights`` or ``loss``: in which part it was found."""
    low: float | None = None
    high: float | None = None
    count: int = 0
    size: int = 0
    detail: str = ""


@dataclass(slots=True)
class Failure(Thing):
    """An exception that ended the script, with the modules that ran up to it."""

    KIND = "failure"
    LINES = ("line",)
    line: Line | None = None
    type: str = ""
    message: str = ""
    module: int | None = None
    """The innermost module whose forward was running."""
    flow: list[list[str]] = field(default_factory=list)
    """The last modules of the pass: name, class, input shapes, output shapes."""
    loss: int | None = None


@dataclass(slots=True)
class Note(Thing):
    """Something that could not be observed, and why."""

    KIND = "note"
    text: str = ""


KINDS: tuple[type[Thing], ...] = (
    Loader,
    Module,
    Parameter,
    Optimizer,
    LossUse,
    Pass,
    Backward,
    Clip,
    Scheduler,
    Load,
    Metric,
    NonFinite,
    Failure,
    Note,
    Probe,
    Layer,
    Mix,
    Collated,
    Axis,
    Resize,
    Cut,
    Blind,
    Chance,
    Term,
    Fit,
    Check,
    Trial,
    Labels,
)


class Series(NamedTuple):
    """Values of one quantity over steps."""

    steps: list[int]
    values: list[float]


class Stream:
    """Rows of numbers over steps, all of the same things in the same order: ``layout`` holds their keys.

    Bounded: after :data:`MAX_POINTS` rows only every second one is kept, and only every second one of
    those that follow; ``stride`` says how many rows one stands for.
    """

    __slots__ = ("layout", "name", "owner", "rows", "seen", "steps", "stride")

    def __init__(self, name: str, owner: int, layout: Iterable[int]) -> None:
        self.name = name
        self.owner = owner
        self.layout = tuple(layout)
        self.steps: array[int] = array("q")
        self.rows: list[array[float]] = []
        self.stride = 1
        self.seen = 0

    def add(self, step: int, row: array[float]) -> bool:
        """Keep a row; False where it is one of those left out."""
        self.seen += 1
        if (self.seen - 1) % self.stride:
            return False
        self.steps.append(step)
        self.rows.append(row)
        if len(self.rows) > MAX_POINTS:
            del self.rows[1::2]
            del self.steps[1::2]
            self.stride *= 2
        return True

    def column(self, key: int, part: int = 0, parts: int = 1) -> Series:
        """One thing's values; ``part`` of ``parts`` where each thing has several numbers in a row."""
        index = self.layout.index(key) * parts + part
        return Series(list(self.steps), [row[index] for row in self.rows])

    @property
    def last(self) -> array[float]:
        """The latest row."""
        return self.rows[-1]


@dataclass
class Run:
    """One process of one run."""

    meta: dict[str, Any] = field(default_factory=dict)
    things: dict[str, dict[int, Any]] = field(default_factory=lambda: {kind.KIND: {} for kind in KINDS})
    streams: dict[tuple[str, int], Stream] = field(default_factory=dict)
    text: dict[tuple[str, int], str] = field(default_factory=dict)
    """Source lines as they were when the script ran."""
    finished: bool = False
    """The script ended while it was being watched (not killed)."""

    def of(self, kind: str, key: int | None) -> Any:
        """One noun, None where there is none."""
        return None if key is None else self.things[kind].get(key)

    @property
    def loaders(self) -> list[Loader]:
        """All data loaders, in the order of their first use."""
        return list(self.things["loader"].values())

    @property
    def modules(self) -> list[Module]:
        """All modules that ran."""
        return list(self.things["module"].values())

    @property
    def parameters(self) -> list[Parameter]:
        """All parameters known."""
        return list(self.things["parameter"].values())

    @property
    def optimizers(self) -> list[Optimizer]:
        """All optimizers."""
        return list(self.things["optimizer"].values())

    @property
    def losses(self) -> list[LossUse]:
        """All places where a known loss is evaluated."""
        return list(self.things["loss"].values())

    @property
    def passes(self) -> list[Pass]:
        """All kinds of forward calls of outermost modules."""
        return list(self.things["pass"].values())

    @property
    def backwards(self) -> list[Backward]:
        """All places where ``backward`` is called."""
        return list(self.things["backward"].values())

    @property
    def clips(self) -> list[Clip]:
        """All places where gradients are clipped."""
        return list(self.things["clip"].values())

    @property
    def schedulers(self) -> list[Scheduler]:
        """All learning-rate schedulers."""
        return list(self.things["scheduler"].values())

    @property
    def loads(self) -> list[Load]:
        """All calls that load weights into a module."""
        return list(self.things["load"].values())

    @property
    def metrics(self) -> list[Metric]:
        """What the script logs."""
        return list(self.things["metric"].values())

    @property
    def nonfinite(self) -> list[NonFinite]:
        """First numbers that were not finite."""
        return list(self.things["nonfinite"].values())

    @property
    def failures(self) -> list[Failure]:
        """The exception that ended the script, if one did."""
        return list(self.things["failure"].values())

    @property
    def probes(self) -> list[Probe]:
        """The experiments, those that did not take place too."""
        return list(self.things["probe"].values())

    @property
    def mixes(self) -> list[Mix]:
        """Operations that mix samples or axes."""
        return list(self.things["mix"].values())

    @property
    def collated(self) -> list[Collated]:
        """Collate functions that part the fields of samples."""
        return list(self.things["collated"].values())

    @property
    def axes(self) -> list[Axis]:
        """Sizes that the model takes."""
        return list(self.things["axis"].values())

    @property
    def resizes(self) -> list[Resize]:
        """Sizes of batches that fail."""
        return list(self.things["resize"].values())

    @property
    def cuts(self) -> list[Cut]:
        """Parameters that the loss does not reach, and why."""
        return list(self.things["cut"].values())

    @property
    def blinds(self) -> list[Blind]:
        """Layers behind which the input no longer counts."""
        return list(self.things["blind"].values())

    @property
    def chances(self) -> list[Chance]:
        """First losses beside those of a guess."""
        return list(self.things["chance"].values())

    @property
    def terms(self) -> list[Term]:
        """Terms of the sum that is minimised."""
        return list(self.things["term"].values())

    @property
    def fits(self) -> list[Fit]:
        """Trainings of a copy on a few samples."""
        return list(self.things["fit"].values())

    @property
    def checks(self) -> list[Check]:
        """Gradients that were checked."""
        return list(self.things["check"].values())

    @property
    def trials(self) -> list[Trial]:
        """Trainings with one setting changed."""
        return list(self.things["trial"].values())

    @property
    def labels(self) -> list[Labels]:
        """What simple classifiers make of the labels."""
        return list(self.things["labels"].values())

    @property
    def notes(self) -> list[Note]:
        """What could not be observed."""
        return list(self.things["note"].values())

    @property
    def steps(self) -> int:
        """Optimizer steps so far."""
        return int(self.meta.get("steps", 0))

    def stream(self, name: str, owner: int = 0) -> Stream | None:
        """A stream of numbers, None where nothing was recorded."""
        found = self.streams.get((name, owner))
        return found if found is not None and found.rows else None

    def all_things(self) -> Iterator[Thing]:
        """Every noun."""
        for things in self.things.values():
            yield from list(things.values())
