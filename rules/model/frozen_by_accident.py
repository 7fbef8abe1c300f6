"""NN403: a layer that was never trained before is frozen together with the ones that were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Line, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Module, Parameter, Run


class FrozenByAccident(Rule):
    """A layer with random initial weights is frozen, though an optimizer was given its parameters.

    ## What it is

    `requires_grad = False` keeps a parameter as it is. That makes sense for weights that were learned before. Here
    the parameters of a new layer are frozen as well: a condition on names (`name.startswith("head")`) leaves out an
    adapter, the whole model is frozen and only the last layer thawed, or a new layer is put in before the model is
    frozen and not after.

    ## Why it hurts training

    The layer keeps its random numbers for good. Everything that comes from the pretrained part has to pass through a
    random projection, and what is behind it has to make the best of that. The loss falls, the result is mediocre, and
    there is no warning: an optimizer passes over parameters without a gradient in silence.

    ## How it is told apart from code that only looks alike

    - Weights that `load_state_dict` has written, or that a library has made, may be frozen: that is fine-tuning.
    - Teachers, averages of weights and target networks are in no optimizer.
    - A layer that is frozen for some epochs and then thawed (gradual unfreezing) was not frozen at every step.
    - Weights that no longer look like the draws of an initialisation have been trained, or set, by somebody.
    - A random projection that shall stay random looks like a mistake; without loaded, frozen weights beside it in the
      same network the finding is only likely.

    All parameters of the layer were frozen at all steps of their optimizer that were looked at, 5 at least (and
    200 steps were made, if the run has not ended), and the layer ran. Its weights lie within the bounds that
    `nn.Linear.reset_parameters` and its kin draw from (uniform, 1/sqrt(number of inputs); normal for embeddings),
    and fill them: training leaves these bounds within a few steps.

    ## What to do

    Say what is to be frozen, not what is to be trained, and look at the list:

    ```python
    model.backbone.requires_grad_(False)
    print([name for name, p in model.named_parameters() if p.requires_grad])
    ```
    """

    code = "NN403"
    name = "frozen-by-accident"
    points = (23,)
    severity = Severity.ERROR
    options = {"steps": 5, "running": 200}

    def watch(self, run: Run) -> Iterator[Finding]:
        yield from self._whole(run)
        frozen: dict[Line | None, list[tuple[Module, list[Parameter]]]] = {}
        for module in run.modules:
            own = [p for p in run.parameters if p.module == module.key]
            if not own or not all(self._is_frozen(run, p) for p in own) or not any(p.untrained for p in own):
                continue
            if module.order and module.registered and not module.loaded and not module.library and module.line:
                frozen.setdefault(module.line, []).append((module, own))
        for line, found in frozen.items():
            module, own = found[0]
            optimizer = run.of("optimizer", own[0].optimizers[0])
            beside = [p for p in evidence.members(run, optimizer) if p.loaded and p.frozen_steps == p.steps]
            learning = [p for p in evidence.members(run, optimizer) if p.with_gradient]
            if not learning:
                continue
            tensors = [p for _, parameters in found for p in parameters]
            names = evidence.listed(other.name for other, _ in found)
            loaded = run.of("module", beside[0].module) if beside else None
            yield self.finding(
                line,
                f"{names} has random initial weights and is frozen: at all {own[0].steps} steps looked at, its "
                f"{sum(p.size for p in tensors):,} parameters had requires_grad=False, though the optimizer was given "
                "them. What passes through it passes through random numbers for good.",
                f"Set `requires_grad_(True)` on {names} before training, or freeze by name only what was loaded.",
                evidence=[
                    Hop(f"`{module.name}` is made here", line, "never trained, never loaded"),
                    *([Hop(f"`{loaded.name}` is frozen too, and was loaded", loaded.line)] if loaded else []),
                    Hop("this optimizer was given its parameters", optimizer.line, f"{optimizer.steps} steps"),
                ],
                confidence=evidence.settled(run) if beside else Confidence.LIKELY,
            )

    def _is_frozen(self, run: Run, p: Parameter) -> bool:
        always = p.frozen_steps == p.steps >= self.number("steps")
        if not run.finished and run.steps < self.number("running"):
            return False  # it may be thawed
        return always and bool(p.optimizers) and not p.loaded and not p.with_gradient and not p.moved_by_hand

    def _whole(self, run: Run) -> Iterator[Finding]:
        """Nothing is left to learn: torch refuses to call backward."""
        for failure in run.failures:
            if evidence.REFUSED not in failure.message:
                continue
            given = [p for optimizer in run.optimizers for p in evidence.members(run, optimizer)]
            if given and not any(p.trainable for p in run.parameters) and any(found.grad for found in run.passes):
                optimizer = next(o for o in run.optimizers if o.parameters)
                yield self.finding(
                    optimizer.line or failure.line,
                    f"Every parameter is frozen: all {len(given)} tensors of the optimizer have requires_grad=False, "
                    "so the loss has no graph and backward() fails.",
                    "Thaw what shall learn: `model.head.requires_grad_(True)`, before the optimizer is made.",
                    evidence=[
                        Hop("the optimizer is made here", optimizer.line, f"{len(given)} frozen tensors"),
                        Hop("backward fails here", failure.line),
                    ],
                )
