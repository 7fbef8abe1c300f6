"""NN604: the first layers get next to no gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Module, Optimizer, Parameter, Run, Stream

_Layer = tuple["Module", "Parameter", float]


class VanishingGradients(Rule):
    """The gradients of the first layers are so much smaller than those of the last that only the end learns.

    ## What it is

    On its way back the gradient is multiplied by the derivative of every activation. That of a sigmoid is at most
    0.25; ten of them leave at most a millionth. Tanh in saturation, very deep networks without residual connections
    or normalisation, and recurrent networks over long sequences do the same.

    ## Why it hurts training

    The last layers learn on top of features that stay random. The loss falls to what that allows, often to the value
    of guessing, and stops. Deeper networks become worse instead of better.

    ## How it is told apart from code that only looks alike

    - Gradients that become small everywhere as the loss is fitted are a success: the last layer's must still be
      there.
    - A gradient of exactly zero is `stuck-layer`, none at all is `disconnected-parameters`.
    - Factors of 10 to 100 between first and last layer are ordinary.
    - Embeddings get gradients in the rows that were used only; they are not compared.

    Compared are the root mean squares over the numbers of a gradient, of the first and the last weight layer of a
    network of at least 4, in the order in which they ran. At 9 of 10 steps, 20 at least, the first must be below 1e-7
    (where SageMaker Debugger's VanishingGradient rule, by mean absolute value, draws its line) and below a
    ten-thousandth of the last, which must be above 1e-5. The last two limits are the project's own; in the healthy
    runs of the project's tests the smallest ratio is about 0.01.

    ## What to do

    Use ReLU-like activations, residual connections and normalisation; initialise for the activation that is used:

    ```python
    h = h + torch.relu(self.fc(self.norm(h)))
    ```
    """

    code = "NN604"
    name = "vanishing-gradients"
    points = (35,)
    severity = Severity.ERROR
    options = {"steps": 20, "layers": 4, "ratio": 1e-4, "size": 1e-7, "last": 1e-5, "share": 0.9}

    def watch(self, run: Run) -> Iterator[Finding]:
        for optimizer in run.optimizers:
            stream = run.stream("gradient", optimizer.key)
            if stream is None or len(stream.rows) < self.number("steps"):
                continue
            networks: dict[int, list[tuple[Module, Parameter]]] = {}
            for p in evidence.members(run, optimizer):
                module = run.of("module", p.module)
                if module is None or not module.order or len(p.shape) < 2 or module.class_name.startswith("Embed"):
                    continue
                networks.setdefault(evidence.root_of(module), []).append((module, p))
            for layers in networks.values():
                layers.sort(key=lambda layer: layer[0].order)
                if len({module.key for module, _ in layers}) >= self.number("layers"):
                    yield from self._judge(optimizer, stream, layers)

    def _judge(self, optimizer: Optimizer, stream: Stream, layers: list[tuple[Module, Parameter]]) -> Iterator[Finding]:
        first, last = layers[0][1], layers[-1][1]
        before, after = _sizes(stream, first), _sizes(stream, last)
        pairs = [(a, b) for a, b in zip(before, after, strict=True) if math.isfinite(a) and math.isfinite(b)]
        small = [
            (a, b)
            for a, b in pairs
            if 0 < a < self.number("size") and a < self.number("ratio") * b and b > self.number("last")
        ]
        if len(pairs) < self.number("steps") or len(small) < self.number("share") * len(pairs):
            return
        low, high = evidence.median([a for a, _ in pairs]), evidence.median([b for _, b in pairs])
        middle = layers[len(layers) // 2]
        halfway = evidence.median([v for v in _sizes(stream, middle[1]) if math.isfinite(v)])
        module, end = layers[0][0], layers[-1][0]
        yield self.finding(
            module.line,
            f"Gradients vanish on the way to `{module.name}`: {low:.1g} for each of its weights, against {high:.1g} in "
            f"`{end.name}` (a factor of {high / low:.0e}), at {len(small)} of {len(pairs)} steps. The first layers "
            "stay as they were initialised.",
            "Replace sigmoid and tanh in hidden layers by ReLU or GELU, add residual connections and normalisation, or "
            "make the network less deep.",
            evidence=[
                Hop(f"`{module.name}` is the first weight layer", module.line, f"gradient {low:.1g}"),
                Hop(f"`{middle[0].name}` is halfway", middle[0].line, f"gradient {halfway:.1g}"),
                Hop(f"`{end.name}` is the last", end.line, f"gradient {high:.1g}"),
            ],
        )


def _sizes(stream: Stream, p: Parameter) -> list[float]:
    """Root mean square of the gradient of one number of it, at each step."""
    return [value / math.sqrt(p.size) for value in stream.column(p.key).values]
