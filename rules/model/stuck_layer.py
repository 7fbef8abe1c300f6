"""NN405: a layer whose weights do not move, or whose units are dead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Module, Optimizer, Parameter, Run


class StuckLayer(Rule):
    """A layer is in the optimizer and in the loss, and still cannot learn: its gradient is zero at every step.

    ## What it is

    A hidden unit behind a ReLU whose input is negative for every sample puts out zero and lets no gradient through:
    it is dead, and cannot recover. Large negative biases, a learning rate that once was too high, or inputs far from
    zero do that to a whole layer. Weights also stand still when their updates are lost in rounding: a bfloat16 weight
    near 1 does not notice anything below 0.004.

    ## Why it hurts training

    The layer is as good as not there, or hands on a constant. What comes after it learns from the bias, from a
    residual connection, or not at all. The loss may fall all the same, and nothing warns.

    ## How it is told apart from code that only looks alike

    - A gradient of exactly zero at the first steps only (zero-initialised residual branches, adapters, LoRA) is
      intended: it becomes nonzero as soon as its neighbour has moved.
    - Parameters that never get a gradient at all are `disconnected-parameters`; when nothing in the optimizer gets
      one, the fault is elsewhere.
    - Terms of the loss that are multiplied by zero for a while look the same from here. Only a layer whose outputs
      were negative at all looks is reported with certainty; other zero gradients are a likely finding.
    - Some dead units are normal. Inputs that are sparse by nature (one-hot, padding) belong to no layer before them.

    At least 10 steps are looked at (and 200 were made, if the run has not ended), and the gradient of all weights
    of the layer is exactly zero at each, while other weights of the same optimizer have one. Units count as dead
    when nothing but zero came out of them in 10 looks; 9 of 10 units of a layer must be dead. (SageMaker
    Debugger's DeadRelu rule calls a *layer* dead at 50 percent, which ordinary networks reach; Lu et al., "Dying
    ReLU and Initialization", 2019, describe how whole layers die.) Weights that gradients do not move must have
    256 numbers and a rate of 1e-7 or more; below, the rate is the fault.

    ## What to do

    Look at the biases and the scale of the initialisation, and use an activation that lets a gradient through for
    negative inputs:

    ```python
    nn.init.kaiming_normal_(self.fc.weight, nonlinearity="relu")
    nn.init.zeros_(self.fc.bias)
    h = F.leaky_relu(self.fc(x), 0.01)
    ```

    Where rounding is the reason, keep the weights in float32 and let autocast do the rest.
    """

    code = "NN405"
    name = "stuck-layer"
    points = (23, 33)
    severity = Severity.ERROR
    options = {"looks": 10, "running": 200, "dead": 0.9, "numbers": 256, "rate": 1e-7}

    def watch(self, run: Run) -> Iterator[Finding]:
        reported: set[int] = set()
        for optimizer in run.optimizers:
            members = [p for p in evidence.members(run, optimizer) if p.trainable and not p.frozen_steps]
            learning = [p for p in members if p.nonzero]
            if not learning:
                continue
            layers: dict[int, list[Parameter]] = {}
            for p in members:
                if p.module is not None:
                    layers.setdefault(p.module, []).append(p)
            for key, own in layers.items():
                module = run.of("module", key)
                if not module.order or not module.registered or module.line is None:
                    continue
                if all(p.looked >= self.number("looks") and p.nonzero == 0 for p in own):
                    reported.add(key)
                    if run.finished or optimizer.steps >= self.number("running"):
                        yield self._without_gradient(run, optimizer, module, own)
                elif any(self._is_unmoved(run, optimizer, p) for p in own):
                    yield self._unmoved(module, next(p for p in own if self._is_unmoved(run, optimizer, p)), optimizer)
        for module in run.modules:
            yield from self._dead_units(run, module, reported)

    def _without_gradient(self, run: Run, optimizer: Optimizer, module: Module, own: list[Parameter]) -> Finding:
        stream = run.stream("activation", module.key)
        highest = [row[3] for row in list(stream.rows)] if stream else []
        dead = len(highest) >= self.number("looks") and max(highest) < 0
        seen = (
            f"its outputs were negative for every sample (at most {max(highest):.3g} in {len(highest)} looks), where a "
            "ReLU lets nothing through"
            if dead
            else "something behind it lets no gradient through"
        )
        looked = min(p.looked for p in own)
        return self.finding(
            module.line,
            f"`{module.name}` is stuck: the gradient of its {sum(p.size for p in own):,} parameters was exactly zero "
            f"at all {looked} steps looked at; {seen}. It keeps its values and cannot recover.",
            f"Look at the bias and the initialisation of `{module.name}`, lower the learning rate, or use an "
            "activation with a slope for negative inputs, such as `leaky_relu`.",
            evidence=[
                Hop(f"`{module.name}` is made here", module.line, f"0 of {looked} gradients are not zero"),
                Hop("its optimizer steps here", optimizer.step_line, f"{optimizer.steps} steps"),
            ],
            confidence=evidence.settled(run) if dead else Confidence.LIKELY,
        )

    def _is_unmoved(self, run: Run, optimizer: Optimizer, p: Parameter) -> bool:
        """Gradients come, the rate is not zero, and no number changes."""
        rates = run.stream("rate", optimizer.key)
        lowest = min((min(row) for row in list(rates.rows)), default=0.0) if rates else 0.0
        still = p.checked >= self.number("looks") and p.moved == 0 and p.nonzero == p.looked >= self.number("looks")
        return still and p.size >= self.number("numbers") and lowest >= self.number("rate")

    def _unmoved(self, module: Module, p: Parameter, optimizer: Optimizer) -> Finding:
        return self.finding(
            module.line,
            f"`{p.name}` does not move: {p.checked} steps were looked at, each had a gradient, and not one of its "
            f"{p.size:,} numbers changed. The updates are lost in rounding, or undone.",
            "Keep the weights in float32 (use autocast instead of `model.half()` or `.bfloat16()`), and look for code "
            "that restores them.",
            evidence=[
                Hop(f"`{module.name}` is made here", module.line, f"0 of {p.checked} steps moved it"),
                Hop("its optimizer steps here", optimizer.step_line, f"{optimizer.steps} steps"),
            ],
            confidence=Confidence.LIKELY,
        )

    def _dead_units(self, run: Run, module: Module, reported: set[int]) -> Iterator[Finding]:
        """The units that a layer reads are those that the layer before it has made, if the numbers agree."""
        feeder = run.of("module", module.feeder)
        if feeder is None or feeder.key in reported or module.looks < self.number("looks") or module.units < 8:
            return
        if feeder.line is None or feeder.library or _width(feeder) != module.units:
            return
        if module.dead_units < self.number("dead") * module.units:
            return
        own = [p for p in run.parameters if p.module == feeder.key]
        if not any(p.optimizers and p.trainable for p in own):
            return
        yield self.finding(
            feeder.line,
            f"{module.dead_units} of the {module.units} units of `{feeder.name}` are dead: nothing but zero reached "
            f"`{module.name}` from them in {module.looks} looks. They get no gradient and cannot recover.",
            f"Look at the bias and the initialisation of `{feeder.name}`, lower the learning rate, or use an "
            "activation with a slope for negative inputs, such as `leaky_relu`.",
            evidence=[
                Hop(f"`{feeder.name}` makes the units", feeder.line, f"{module.dead_units} of {module.units} dead"),
                Hop(f"`{module.name}` reads them", module.line, f"{module.looks} looks"),
            ],
            confidence=Confidence.LIKELY,
        )


def _width(module: Module) -> int:
    """Units that a layer puts out, from the shape of its output."""
    sizes = [int(size) for size in re.findall(r"\d+", module.output_shape.split(",")[0])]
    if not sizes:
        return 0
    return sizes[1] if module.base.startswith("Conv") and len(sizes) > 1 else sizes[-1]
