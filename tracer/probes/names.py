"""The experiments by name, and why one may not take place, in words. Torch-free: the command line reads it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class About(NamedTuple):
    """The question that an experiment answers, the part of the data, model, loss and loop that it is about.

    ``share`` is its part of the time; ``optional`` ones are made only when they are asked for.
    """

    question: str
    subject: str
    share: float = 1.0
    optional: bool = False


EXPERIMENTS = {
    "connectivity": About("does the loss reach every parameter", "model"),
    "shapes": About("what shapes flow through the model, and are axes exchanged", "model"),
    "sizes": About("do smaller batches run", "model"),
    "collate": About("does the collate function keep inputs and labels together", "data"),
    "crosstalk": About("does a sample change the outputs of others", "model"),
    "input": About("does the input reach the output", "model"),
    "chance": About("is the first loss that of a guess", "loss"),
    "terms": About("how strongly does each term of a sum of losses pull", "loss"),
    "functions": About("are the gradients of the script's own functions right", "loss"),
    "losses": About("does a loss of the script's own behave like one", "loss"),
    "overfit": About("can a few samples be learned by heart", "model", 6.0),
    "solvable": About("can the model learn data that is known to be learnable", "data", 4.0),
    "rates": About("at which learning rates does the loss of the batch fall", "loop", 3.0, optional=True),
    "optimizers": About("does another optimizer get further", "loop", 3.0, optional=True),
    "regularisers": About("do dropout and weight decay hold the training back", "loop", 2.0, optional=True),
    "labels": About("can simple classifiers tell the classes apart, and which labels do they doubt", "data", 4.0, True),
    "search": About("are there settings that get further in a few steps", "loop", 3.0, optional=True),
}

PROBES = {name: about.optional for name, about in EXPERIMENTS.items()}

REASONS = {
    "no-fork": "this system cannot fork a process",
    "accelerator": "the process holds an accelerator, which a forked child cannot use",
    "distributed": "what a child sent would reach the other ranks",
    "shared-memory": "the weights lie in memory that processes share",
    "time": "the time for experiments was over (--probe-budget)",
    "memory": "there was not enough memory",
    "crash": "the child process died",
    "failed": "the experiment failed",
    "no-model": "no module with trainable parameters ran before this backward pass",
    "source-not-found": "the lines between forward pass and backward could not be found",
    "loss-not-reproduced": "running these lines again gave another loss",
    "changes-its-input": "running these lines changes what they work on",
    "older-graph": "the loss goes back to a graph from before these lines",
    "not-deterministic": "the same input gives different results",
    "no-sample-axis": "it is not clear which axis holds the samples",
    "batch-too-small": "the batch has too few samples",
    "equal-samples": "all samples are equal",
    "no-tensor-input": "the model is given no tensor",
    "random-input-fails": "the model cannot run on random numbers",
    "no-known-loss": "no loss with a known least value is part of it",
    "one-term": "the loss is no sum with a known loss in it",
    "no-targets": "no target counts in this batch",
    "empty-input-fails": "the model cannot run on zeros",
    "contradicting-targets": "equal inputs have different targets",
    "nothing-trainable": "nothing that the loss reaches is trained",
    "not-a-classification": "the task is not one class for each sample",
    "several-inputs": "the model has not just one input",
    "no-optimizer": "no usual optimizer holds what the loss reaches",
    "no-regulariser": "there is no dropout layer and no weight decay",
    "no-loader": "no loader gave the batch",
    "no-scikit-learn": "scikit-learn is not installed: pip install 'nnaudit[data]'",
    "default-collate": "the loader uses torch's own collate function",
    "no-own-function": "the script defines no autograd function",
    "no-own-loss": "the script defines no loss of a prediction and a target",
}
"""Reason code -> words."""

INAPPLICABLE = frozenset(
    """no-model no-sample-axis batch-too-small equal-samples no-tensor-input no-known-loss no-targets
    contradicting-targets nothing-trainable not-a-classification several-inputs no-own-function no-own-loss
    not-deterministic empty-input-fails random-input-fails no-optimizer no-regulariser no-loader default-collate
    order-in-batch one-term""".split()
)
"""Reasons that say that an experiment's question does not arise; with the others it could not be answered."""


def unknown(names: Iterable[str]) -> str:
    """What is wrong with these names of experiments, "" if nothing is."""
    wrong = next((name for name in names if name not in EXPERIMENTS), None)
    return "" if wrong is None else f"{wrong!r} is no experiment; there are: {', '.join(EXPERIMENTS)}"
