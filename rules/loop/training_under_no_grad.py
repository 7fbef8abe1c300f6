"""NN504: the forward pass of the training runs with gradients switched off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Backward, Pass, Run


class TrainingUnderNoGrad(Rule):
    """The training's own forward pass runs under `no_grad`, so that nothing can be learned.

    ## What it is

    `torch.no_grad()`, `inference_mode()` or `set_grad_enabled(False)` surrounds the forward pass whose loss is
    differentiated: left over from an evaluation that shares the code, put around both phases, or switched off for
    good by a call that nobody takes back.

    ## Why it hurts training

    The output has no graph. `backward()` fails with "element 0 of tensors does not require grad", and the usual first
    aid, `loss.requires_grad_()`, silences the error and leaves the fault: `backward()` then has nothing to go through,
    no parameter gets a gradient, and every step does nothing. Metrics are printed, and stay where chance puts them.

    ## How it is told apart from code that only looks alike

    - Teachers, target networks and the features of a frozen backbone run under `no_grad` in the training loop; some
      other network gets gradients there.
    - Evaluation under `no_grad` is right.
    - When the model runs with gradients and the loss is cut off later, that is `loss-cut-from-graph`.

    `backward()` was called at least 3 times, each time on a tensor that no operation has made, all steps of all
    optimizers (3 at least) found no gradient, and on batches that were trained on, the model ran with gradients
    off only. Or torch refused to call `backward()`, and the latest forward pass ran with gradients off: no pass before
    was ever differentiated, or those of this very line were, before something switched gradients off.

    ## What to do

    Switch gradients off for evaluation only, and take `loss.requires_grad_()` out:

    ```python
    with torch.set_grad_enabled(phase == "train"):
        outputs = model(inputs)
        loss = criterion(outputs, labels)
    ```
    """

    code = "NN504"
    name = "training-under-no-grad"
    points = (23,)
    severity = Severity.ERROR
    options = {"steps": 3}

    def watch(self, run: Run) -> Iterator[Finding]:
        for failure in run.failures:
            if evidence.REFUSED in failure.message:
                latest = [found for found in run.passes if found.last_step == run.steps]
                used = {(found.module, found.line) for found in run.passes if found.used}
                off = [found for found in latest if not used or (found.module, found.line) in used]
                if off and not any(found.grad for found in latest):
                    yield from self._report(run, off, "backward() fails: the loss has no graph", None)
        stepped = [optimizer for optimizer in run.optimizers if optimizer.steps]
        if not stepped or any(optimizer.without_gradient < optimizer.steps for optimizer in stepped):
            return
        if sum(optimizer.steps for optimizer in stepped) < self.number("steps"):
            return
        for place in run.backwards:
            if place.calls < self.number("steps") or place.leaf < place.calls:
                continue
            trained = [found for found in run.passes if self._is_trained_on(run, found)]
            if trained and not any(found.grad for found in trained):
                yield from self._report(run, trained, "no parameter gets a gradient and no step has an effect", place)
                return

    def _is_trained_on(self, run: Run, found: Pass) -> bool:
        loader = run.of("loader", found.loader)
        return found.training if loader is None else bool(loader.trains)

    def _report(self, run: Run, passes: list[Pass], effect: str, place: Backward | None) -> Iterator[Finding]:
        owners = [m for p in run.parameters if (m := run.of("module", p.module)) is not None]
        roots = {evidence.root_of(owner) for owner in owners}
        for found in passes:
            module = run.of("module", found.module)
            if module is None or found.grad or found.module not in roots:
                continue
            hops = [Hop("forward pass with gradients off", found.line, f"{found.calls} calls")]
            if place is not None:
                hops.append(Hop("backward on a tensor without a graph", place.line, f"{place.leaf} calls"))
            yield self.finding(
                found.line,
                f"`{module.name}` is trained with gradients switched off: {found.calls} forward passes ran under "
                f"no_grad or inference_mode, so {effect}.",
                "Take this call out of `no_grad` in the training phase (`torch.set_grad_enabled(is_training)`), and "
                "remove `loss.requires_grad_()`.",
                evidence=[
                    *hops,
                    *(Hop("steps without a gradient", o.step_line, f"{o.steps} steps") for o in run.optimizers[:1]),
                ],
            )
