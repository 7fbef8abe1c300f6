"""What experiments leave in a run: nouns as in :mod:`.run`, of which the rules judge in ``probe``."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..rules.finding import Line
from .thing import Thing


@dataclass(slots=True)
class Probe(Thing):
    """An experiment on a copy of the training at its first step. ``reason`` says why it did not take place."""

    KIND = "probe"
    LINES = ("line",)
    name: str = ""
    line: Line | None = None
    """The backward pass before which it took place."""
    model: str = ""
    reason: str = ""
    detail: str = ""
    seconds: float = 0.0
    steps: int = 0
    """Of an experiment that trains: the steps made."""


@dataclass(slots=True)
class Layer(Thing):
    """A row of the table of shapes: one operation of the model, as the batch flows through it."""

    KIND = "layer"
    LINES = ("line",)
    name: str = ""
    operation: str = ""
    line: Line | None = None
    inputs: str = ""
    outputs: str = ""


@dataclass(slots=True)
class Mix(Thing):
    """An operation behind which a sample depends on other samples, or a view that exchanges axes."""

    KIND = "mix"
    LINES = ("line",)
    operation: str = ""
    line: Line | None = None
    module: str = ""
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    samples: int = 0
    """Size of the batch."""
    changed: int = 0
    """Other samples whose output moved when one sample was exchanged; 0 where only axes were exchanged."""
    sure: bool = False
    """A loader made the batch, so that this axis holds the samples."""


@dataclass(slots=True)
class Axis(Thing):
    """An axis of an input behind that of the samples: which sizes the model takes there. A note, not a problem."""

    KIND = "axis"
    LINES = ("line",)
    line: Line | None = None
    """Where the first other size failed."""
    argument: int = 0
    axis: int = 0
    size: int = 0
    divisor: int = 0
    """Multiples of it run, 1: any size; 0: only its own size does."""
    message: str = ""


@dataclass(slots=True)
class Collated(Thing):
    """A collate function that does not keep the fields of a sample together: another order of samples shows it."""

    KIND = "collated"
    LINES = ("line",)
    line: Line | None = None
    samples: int = 0
    fields: int = 0


@dataclass(slots=True)
class Resize(Thing):
    """A batch of another size failed."""

    KIND = "resize"
    LINES = ("line",)
    line: Line | None = None
    module: str = ""
    samples: int = 0
    batch_size: int = 0
    message: str = ""
    comes: bool = False
    """The loader will give a batch of this size."""


@dataclass(slots=True)
class Cut(Thing):
    """Trained parameters to which no gradient of the loss flows, and the operation at which the path ends.

    ``operation`` is "" where what they compute is not part of the loss, and ``unused`` where their layer did not run.
    """

    KIND = "cut"
    LINES = ("line",)
    line: Line | None = None
    operation: str = ""
    parameters: list[str] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True)
class Blind(Thing):
    """The first layer that gives the same for the batch and for random numbers in its place."""

    KIND = "blind"
    LINES = ("line",)
    line: Line | None = None
    module: str = ""
    before: float = 0.0
    left: float = 0.0
    """Relative difference of what goes in, and of what comes out."""


@dataclass(slots=True)
class Chance(Thing):
    """The first loss of a known kind, beside that of exchanged labels and of an empty input."""

    KIND = "chance"
    LINES = ("line",)
    line: Line | None = None
    function: str = ""
    expected: float = 0.0
    """Of a guess: ln of the number of classes, ln 2."""
    real: float = 0.0
    exchanged: float = 0.0
    empty: float = 0.0


@dataclass(slots=True)
class Term(Thing):
    """A known loss in the sum that is minimised; without a line, all other terms together."""

    KIND = "term"
    LINES = ("line",)
    line: Line | None = None
    name: str = ""
    value: float = 0.0
    gradient: float = 0.0
    """Norm of its gradient, with its factor in the sum, over the weights that all terms reach."""


@dataclass(slots=True)
class Fit(Thing):
    """A copy of the model trained on a few samples only; losses are means of the script's own loss."""

    KIND = "fit"
    LINES = ("line",)
    line: Line | None = None
    model: str = ""
    data: str = ""
    """``batch``: samples of the batch; ``pattern``: made ones of the same shape that are known to be learnable."""
    function: str = ""
    samples: int = 0
    constant: float = 0.0
    """The loss of the best constant prediction."""
    first: float = 0.0
    best: float = 0.0
    reference: float | None = None
    """The best loss of a plain network with one hidden layer on the same samples."""
    steps: int = 0
    optimizer: str = ""
    rate: float = 0.0
    own: float | None = None
    """The best loss with the script's own optimizer."""
    own_settled: bool = False
    """It had stopped falling."""
    settled: bool = False
    """It had stopped falling, or a tenth of the constant's loss was reached."""
    parameters: int = 0
    worst: str = ""
    """Which part of the targets was fitted least."""


@dataclass(slots=True)
class Check(Thing):
    """Gradients by formula against differences in float64 of a function of the script's own."""

    KIND = "check"
    LINES = ("line",)
    line: Line | None = None
    name: str = ""
    is_loss: bool = False
    wrong: bool = False
    argument: int = 0
    formula: float = 0.0
    differences: float = 0.0
    """The entry of the two Jacobians that differs most."""
    detail: str = ""


@dataclass(slots=True)
class Trial(Thing):
    """The batch trained with one setting changed: from the first loss to the last of ``steps``."""

    KIND = "trial"
    LINES = ("line",)
    line: Line | None = None
    name: str = ""
    setting: str = ""
    value: float = 0.0
    first: float = 0.0
    last: float = 0.0
    steps: int = 0
    own: bool = False
    """The script's own setting."""


@dataclass(slots=True)
class Labels(Thing):
    """What simple classifiers make of the samples that they have not seen, and of labels that were exchanged."""

    KIND = "labels"
    LINES = ("line",)
    line: Line | None = None
    samples: int = 0
    classes: int = 0
    accuracy: float = 0.0
    exchanged: float = 0.0
    """Their accuracy on exchanged labels."""
    largest: float = 0.0
    """Share of the largest class."""
    doubted: int = 0
    examples: list[int] = field(default_factory=list)
    """Samples whose label is confidently another one: how many, and places of some in the order of reading."""
