"""NN604: the first layers get next to no gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import optimizers
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
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

    In the source, a model that is trained must be a plain chain with at least 5 hidden sigmoid layers, or 8 of tanh,
    and neither normalisation nor a shortcut (a sum or a concatenation) on the way. Careful initialisation may still
    save it, so the finding is `likely`.

    In a run, compared are the root mean squares over the numbers of a gradient, of the first and the last weight
    layer of a network of at least 4, in the order in which they ran. At 9 of 10 steps, 20 at least, the first must be
    below 1e-7 (where SageMaker Debugger's VanishingGradient rule, by mean absolute value, draws its line) and below a
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
    triggers = ("backward",)
    options = {"steps": 20, "layers": 4, "ratio": 1e-4, "size": 1e-7, "last": 1e-5, "share": 0.9}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(
                nn.Linear(64, 64),
                nn.Sigmoid(),
                nn.Linear(64, 64),
                nn.Sigmoid(),
                nn.Linear(64, 64),
                nn.Sigmoid(),
                nn.Linear(64, 64),
                nn.Sigmoid(),
                nn.Linear(64, 64),
                nn.Sigmoid(),
                nn.Linear(64, 10),
            )
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for x, y in DataLoader(torch.load("digits.pt"), batch_size=64, shuffle=True):
                optimizer.zero_grad()
                scores = model(x)  # <-- NN604
                loss = nn.functional.cross_entropy(scores, y)
                loss.backward()
                optimizer.step()
            """,
            why="Five hidden sigmoid layers.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            from torch.utils.data import DataLoader


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.a = nn.Linear(30, 50)
                    self.b = nn.Linear(50, 50)
                    self.c = nn.Linear(50, 50)
                    self.d = nn.Linear(50, 50)
                    self.e = nn.Linear(50, 50)
                    self.out = nn.Linear(50, 2)

                def forward(self, x):
                    x = torch.sigmoid(self.a(x))
                    x = torch.sigmoid(self.b(x))
                    x = torch.sigmoid(self.c(x))
                    x = torch.sigmoid(self.d(x))
                    x = torch.sigmoid(self.e(x))
                    return self.out(x)


            def main():
                net = Net()
                optimizer = torch.optim.Adam(net.parameters())
                for x, y in DataLoader(torch.load("cells.pt"), batch_size=32, shuffle=True):
                    scores = net(x)  # <-- NN604
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(scores, y).backward()
                    optimizer.step()


            main()
            """,
            why="Five in a forward method.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Fitter:
                def __init__(self):
                    self.blocks = nn.Sequential(
                        nn.Sequential(nn.Linear(9, 32), nn.Sigmoid(), nn.Linear(32, 32), nn.Sigmoid()),
                        nn.Sequential(nn.Linear(32, 32), nn.Sigmoid(), nn.Linear(32, 32), nn.Sigmoid()),
                        nn.Sequential(nn.Linear(32, 32), nn.Sigmoid(), nn.Linear(32, 32), nn.Sigmoid()),
                        nn.Linear(32, 1),
                    )
                    self.optimizer = torch.optim.SGD(self.blocks.parameters(), lr=0.1, momentum=0.9)

                def fit(self, loader):
                    for x, y in loader:
                        prediction = self.blocks(x)  # <-- NN604
                        self.optimizer.zero_grad()
                        nn.functional.mse_loss(prediction, y).backward()
                        self.optimizer.step()


            Fitter().fit(DataLoader(torch.load("proteins.pt"), batch_size=64, shuffle=True))
            """,
            why="Blocks inside a Sequential.",
        ),
        Example(
            """
            # file: model.py
            from torch import nn


            class Encoder(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.first = nn.Linear(784, 128)
                    self.second = nn.Linear(128, 128)
                    self.third = nn.Linear(128, 128)
                    self.fourth = nn.Linear(128, 128)
                    self.fifth = nn.Linear(128, 128)
                    self.last = nn.Linear(128, 10)
                    self.activation = nn.Sigmoid()

                def forward(self, x):
                    for layer in (self.first, self.second, self.third, self.fourth, self.fifth):
                        x = self.activation(layer(x))
                    return self.last(x)
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from model import Encoder

            model = Encoder()
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in DataLoader(torch.load("mnist.pt"), batch_size=64, shuffle=True):
                optimizer.zero_grad()
                scores = model(x.flatten(1))  # <-- NN604
                F.cross_entropy(scores, y).backward()
                optimizer.step()
            """,
            why="A loop over four layers, in another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(
                nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(),
                nn.Linear(32, 1),
            )
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for x, y in DataLoader(torch.load("digits.pt"), batch_size=64, shuffle=True):
                optimizer.zero_grad()
                loss = nn.functional.binary_cross_entropy(torch.sigmoid(model(x)), y)
                loss.backward()
                optimizer.step()
            """,
            why="ReLU inside, one sigmoid at the end.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            from torch.utils.data import DataLoader


            class Gated(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.layers = nn.ModuleList(nn.Linear(50, 50) for _ in range(4))
                    self.gates = nn.ModuleList(nn.Linear(50, 50) for _ in range(4))
                    self.out = nn.Linear(50, 2)

                def forward(self, x):
                    for layer, gate in zip(self.layers, self.gates):
                        x = x + torch.sigmoid(gate(x)) * torch.tanh(layer(x))
                    return self.out(x)


            def main():
                net = Gated()
                optimizer = torch.optim.Adam(net.parameters())
                for x, y in DataLoader(torch.load("cells.pt"), batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(net(x), y).backward()
                    optimizer.step()


            main()
            """,
            why="Gates on a shortcut.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class LeNet:
                def __init__(self):
                    self.net = nn.Sequential(
                        nn.Conv2d(1, 6, 5), nn.Sigmoid(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Sigmoid(),
                        nn.Flatten(),
                        nn.Linear(1024, 120), nn.BatchNorm1d(120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(),
                        nn.Linear(84, 10),
                    )
                    self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.9, momentum=0.5)

                def fit(self, loader):
                    for x, y in loader:
                        self.optimizer.zero_grad()
                        nn.functional.cross_entropy(self.net(x), y).backward()
                        self.optimizer.step()


            LeNet().fit(DataLoader(torch.load("mnist.pt"), batch_size=256, shuffle=True))
            """,
            why="Normalisation on the way.",
        ),
        Example(
            """
            # file: model.py
            from torch import nn


            def policy():
                return nn.Sequential(
                    nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(),
                    nn.Linear(64, 4),
                )
            # file: train.py
            import torch
            import torch.nn.functional as F

            from model import policy

            net = policy()
            optimizer = torch.optim.Adam(net.parameters(), lr=3e-4)
            for states, actions in torch.load("demonstrations.pt"):
                optimizer.zero_grad()
                F.cross_entropy(net(states), actions).backward()
                optimizer.step()
            """,
            why="Three layers of tanh are usual.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Deep chains of saturating activations in models that are trained."""
        for found in optimizers.saturating_stacks(program):
            yield self.finding(
                found.forward.site,
                f"The model is a chain of {found.depth} hidden {found.activation} layers (the first at {{0}}) without "
                "normalisation or shortcuts: each multiplies the gradient by a number far below 1, and the first "
                "layers hardly learn.",
                "Use ReLU-like activations, normalisation, or residual connections.",
                evidence=[Hop("the gradient arrives last here", found.first.site or found.forward.site)],
                confidence=Confidence.LIKELY,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for optimizer in run.optimizers:
            stream = run.stream("gradient", optimizer.key)
            if stream is None or len(stream.rows) < self.number("steps"):
                continue
            networks: dict[int, list[tuple[Module, Parameter]]] = {}
            for p in evidence.members(run, optimizer):
                module = run.of("module", p.module)
                if module is None or not module.order or len(p.shape) < 2 or module.base.startswith("Embed"):
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
