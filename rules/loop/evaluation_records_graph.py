"""NN503: an evaluation records a graph that nobody uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Run


class EvaluationRecordsGraph(Rule):
    """The model is evaluated with gradients switched on, and no gradient is ever asked for.

    ## What it is

    `eval()` changes what dropout and batch normalization do; it does not switch off the recording of gradients. Here
    the trained model runs over evaluation data outside of `torch.no_grad()` and `torch.inference_mode()`: every
    operation keeps what its derivative needs, and no `backward()` and no `torch.autograd.grad` follows.

    ## Why it hurts training

    Evaluation takes several times the memory that it needs, because all activations of all layers are kept until the
    output is forgotten. It is slower, and it limits the batch size, or ends in an out-of-memory error far into a run.
    Collecting the outputs in a list keeps the graphs of the whole data set. The numbers themselves are right.

    ## How it is told apart from code that only looks alike

    - Saliency maps, adversarial attacks and gradient penalties on evaluation data do use the graph.
    - Batches of a loader that is trained on are training, also where a step is skipped.
    - A frozen network records nothing, whatever the mode.
    - Copies and averages of the model that are never trained are not judged.

    At least 5 outputs were asked whether a derivative came back to them, all of them carried a graph, none was used,
    and no batch of their loader was followed by `backward()`. Where batches are made by hand, the network must have
    been in evaluation mode there and in training mode in training, and the finding is only likely. The number is the
    project's own choice.

    ## What to do

    ```python
    model.eval()
    with torch.inference_mode():  # or torch.no_grad()
        for inputs, targets in val_loader:
            outputs = model(inputs)
    ```
    """

    code = "NN503"
    name = "evaluation-records-graph"
    points = (32,)
    severity = Severity.WARNING
    options = {"calls": 5}

    def watch(self, run: Run) -> Iterator[Finding]:
        for found in run.passes:
            module, loader = run.of("module", found.module), run.of("loader", found.loader)
            if not found.grad or found.used or module is None:
                continue
            by_hand = loader is None and not found.training
            if not by_hand and not evidence.evaluates(loader):
                continue
            if found.graph < self.number("calls") or found.graph < found.watched or found.consumed:
                continue
            trained = evidence.trained_passes(run, found.module)
            if not trained or (by_hand and not all(other.training for other in trained)):
                continue
            batches = "in evaluation mode" if by_hand else "on a loader that is never trained on"
            yield self.finding(
                found.line,
                f"The evaluation of `{module.name}` records gradients: {found.calls} forward passes {batches}, "
                f"none of the {found.graph} graphs looked at was used. They hold all activations "
                "in memory.",
                "Put the evaluation into `with torch.no_grad():` or `torch.inference_mode()`.",
                evidence=[
                    Hop("evaluated here, with gradients on", found.line, f"{found.calls} calls"),
                    *([] if loader is None else [Hop("the loader of these batches", loader.line, "0 trained on")]),
                    Hop("trained here", trained[0].line, f"{trained[0].calls} calls"),
                ],
                confidence=Confidence.LIKELY if by_hand else Confidence.CERTAIN,
            )
