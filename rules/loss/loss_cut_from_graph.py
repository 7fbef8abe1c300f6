"""NN309: the loss is not connected with the network, or not with all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Backward, Module, Optimizer, Parameter, Run

REFUSED = "does not require grad and does not have a grad_fn"
"""What torch says of a loss without a graph."""


class LossCutFromGraph(Rule):
    """The chain of operations from the parameters to the loss is broken, so that gradients do not arrive.

    ## What it is

    Autograd follows the operations that made the loss back to the parameters. The chain ends wherever a tensor is
    turned into something else and back: `.item()`, `.detach()`, `.data`, `.numpy()`, `torch.tensor(...)` of a tensor,
    `argmax`, rounding, or a `no_grad` around part of the forward pass. `requires_grad_()` on the result silences
    torch's error and mends nothing: the new tensor has no past.

    ## Why it hurts training

    Parameters before the break get no gradient and keep their initial values for ever. Where everything lies before
    it, the loss stays where it is, for no reason that the log would show. Where only part does, the rest trains on
    the features of a random network: the loss falls, but less than it could, and nobody notices.

    ## How it is told apart from code that only looks alike

    - A part that is frozen (`requires_grad=False`), that no optimizer holds, or that ran under `no_grad`, as a
      teacher or a target network, is cut off on purpose.
    - A module that never ran in the forward pass is `disconnected-parameters`; a whole forward pass under `no_grad`
      is `training-under-no-grad`.
    - An output that the loss does not use (a pooler, an auxiliary head) hangs at the end or the side of the network:
      only layers that ran before all the layers that are reached count as cut off.
    - Activation checkpoints hide the inner graph until it runs backwards: what gets a gradient at any step is
      connected, whatever the graph looks like.
    - Gradients that the script writes itself, closures and optimizers that need no gradient are left alone.

    Nothing is reached: an optimizer made at least 3 steps, all of them without any gradient, though backward was
    called each time. A part is not reached: at its optimizer's steps that were looked at, 5 at least, no gradient was
    there, and no graph that was walked led to it. While the script runs that is only likely (a warm-up with detached
    features may end); it is certain when the run has ended and 20 steps were looked at. The numbers are the project's
    own choice.

    ## What to do

    Keep tensors tensors until after `backward`, and detach only what is logged:

    ```python
    loss = criterion(model(x), y)
    loss.backward()
    total += loss.item()
    ```

    Replace steps without a gradient (`argmax`, rounding) by differentiable ones (softmax, a straight-through
    estimator).
    """

    code = "NN309"
    name = "loss-cut-from-graph"
    points = (18, 23)
    severity = Severity.ERROR
    options = {"steps": 3, "looked": 5, "certain": 20}

    def watch(self, run: Run) -> Iterator[Finding]:
        yield from self._refused(run)
        for optimizer in run.optimizers:
            if optimizer.steps < self.number("steps"):
                continue
            members = [p for key in optimizer.parameters if (p := run.of("parameter", key)) is not None]
            place = _place(run, optimizer)
            if place is None or place.calls < self.number("steps") or place.walked + place.leaf == 0:
                continue
            if optimizer.without_gradient == optimizer.steps:
                yield from self._nothing(run, optimizer, members, place)
            else:
                yield from self._part(run, members, place)

    def _refused(self, run: Run) -> Iterator[Finding]:
        """Torch stopped the run: the loss has no graph, though the network ran with gradients on."""
        for failure in run.failures:
            if REFUSED not in failure.message:
                continue
            latest = [found for found in run.passes if found.last_step == run.steps]
            ran = [found for found in latest if found.grad]
            if not ran or any(found.training and not found.grad for found in latest):
                continue
            if not any(p.trainable and p.module is not None for p in run.parameters):
                continue
            yield self.finding(
                failure.line,
                "backward() is called on a loss that has no graph, though the model ran with gradients switched on: "
                "on the way from its output to the loss, the tensor was turned into a number or a new tensor. Torch "
                "ends the run here.",
                "Compute the loss from the model's output with torch operations only; no `.item()`, `.detach()`, "
                "`.data`, `.numpy()`, `torch.tensor(...)` or `argmax` before `backward()`.",
                evidence=[Hop("the model ran here, with gradients on", ran[-1].line)],
            )

    def _nothing(self, run: Run, optimizer: Optimizer, members: list[Parameter], place: Backward) -> Iterator[Finding]:
        """None of an optimizer's parameters ever got a gradient."""
        waiting = [p for p in members if _waits(run, p)]
        if not waiting or any(p.reached or p.with_gradient for p in members):
            return
        alone = all(o.without_gradient == o.steps for o in run.optimizers)
        leaf = place.leaf == place.calls
        # Parameters that no optimizer holds: then the optimizer holds the wrong ones.
        if alone and any(p.reached and p.module is not None and not p.plain for p in run.parameters):
            return
        what = "a tensor that no operation made" if leaf else "a graph that leads to none of them"
        first = run.of("module", waiting[0].module)
        yield self.finding(
            place.line,
            f"Not one of the {len(members)} tensors of the {optimizer.class_name} optimizer got a gradient in "
            f"{optimizer.steps} steps: backward() starts from {what}. The steps change nothing, and the layers stay "
            "as they were initialised.",
            "Compute the loss from the model's output with torch operations only; no `.item()`, `.detach()`, `.data`, "
            "`.numpy()`, `torch.tensor(...)` or `argmax` before `backward()`.",
            evidence=[
                Hop(f"`{first.name}` ran with gradients on and waits for one", first.line or place.line),
                Hop("backward starts here", place.line, "no grad_fn" if leaf else f"{place.parameters} leaves reached"),
            ],
            confidence=Confidence.CERTAIN if alone else self._sure(run, optimizer.steps),
        )

    def _part(self, run: Run, members: list[Parameter], place: Backward) -> Iterator[Finding]:
        """Layers before the cut get nothing, the layers behind it do."""
        reached: dict[int, Module] = {}
        missed: dict[int, Module] = {}
        tensors: dict[int, list[Parameter]] = {}
        for p in members:
            module = run.of("module", p.module)
            if module is None or not module.order or not module.recorded_graph or p.plain:
                continue
            tensors.setdefault(module.key, []).append(p)
            if p.reached or p.with_gradient:
                reached[module.key] = module
            elif _waits(run, p) and p.steps >= self.number("looked"):
                missed[module.key] = module
        missed = {key: module for key, module in missed.items() if key not in reached}
        if not reached or not missed:
            return
        cut = [module for module in missed.values() if _before(module, reached.values())]
        if not cut:
            return
        cut.sort(key=lambda module: (module.root or module.key, module.order))
        lost = [p for module in cut for p in tensors[module.key]]
        last = cut[-1]
        root = last.root or last.key
        behind = [m for m in reached.values() if (m.root or m.key) == root] or list(reached.values())
        after = min(behind, key=lambda module: module.order)
        names = ", ".join(f"`{module.name}`" for module in cut[:3]) + (", ..." if len(cut) > 3 else "")
        yield self.finding(
            place.line,
            f"The loss is cut off from {names}: {len(lost)} of the {len(members)} tensors of the optimizer got no "
            f"gradient at any of the steps looked at ({min(p.steps for p in lost)}), though these layers run with "
            f"gradients on. They keep their initial values; the chain is broken between `{last.name}` and "
            f"`{after.name}`.",
            "Look for `.detach()`, `.data`, `.item()`, `.numpy()`, `torch.tensor(...)`, `argmax` or `no_grad` between "
            f"`{last.name}` and `{after.name}`, and remove it. If the part shall not be trained, give the optimizer "
            "only the rest.",
            evidence=[
                Hop(f"`{last.name}` is the last that is not reached", last.line or place.line, "no gradient"),
                Hop(f"`{after.name}` is reached", after.line or place.line, "gradient"),
                Hop("backward starts here", place.line, f"{place.parameters} leaves reached"),
            ],
            confidence=self._sure(run, min(p.steps for p in lost)),
        )

    def _sure(self, run: Run, looked: int) -> Confidence:
        """A warm-up may end as long as the script runs."""
        return Confidence.CERTAIN if run.finished and looked >= self.number("certain") else Confidence.LIKELY


def _waits(run: Run, p: Parameter) -> bool:
    """It should have got a gradient: it is trainable, and its layer ran with gradients on."""
    module = run.of("module", p.module)
    ran = module is not None and module.order > 0 and module.recorded_graph > 0
    return bool(ran and p.trainable and not p.frozen_steps and not p.reached and not p.with_gradient)


def _before(module: Module, reached: Iterable[Module]) -> bool:
    """Whether it ran before all reached layers of its network; a network without any is cut off as a whole."""
    root = module.root or module.key
    return all(module.order < other.order for other in reached if (other.root or other.key) == root)


def _place(run: Run, optimizer: Optimizer) -> Backward | None:
    """The backward pass that this optimizer's steps follow most."""
    places = [place for place in run.backwards if optimizer.key in place.optimizers]
    return max(places, key=lambda place: place.steps, default=None)
