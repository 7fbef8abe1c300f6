"""NN416: all layers of a kind get the same constant as weights."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from ...analyzer import starts
from ...analyzer.knowledge import modules
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run, Stream


class PoorInitialization(Rule):
    """The weights of all linear or convolutional layers are set to one constant, so all units stay equal.

    ## What it is

    A loop over `model.modules()` (or a function given to `apply`) sets the *weight* of every layer of a kind to a
    constant: `nn.init.zeros_(m.weight)`, `nn.init.constant_(m.weight, 0.1)`, `nn.init.ones_(m.weight)`.

    ## Why it hurts training

    Units with equal weights compute equal outputs and get equal gradients: they stay equal for ever, and a layer of
    a hundred units learns what one unit could. With zeros in two layers in a row no gradient gets through at all.
    Random initial weights are there to break this symmetry.

    ## How it is told apart from code that only looks alike

    - Biases, and the weights of normalisation layers, are constants as a rule.
    - One layer that is set to zero on purpose (the last layer of a residual branch, of an adapter or of a head) is
      named by its attribute, not found by its class.
    - A network that is seen to have a single layer of the kind is left alone.

    That hidden layers are among them is taken from the loop over all modules; hence the finding is only likely.

    In a run: the deviation of the outputs of at least 5 layers with weights, in the pass before the first step. It
    shall stay near 1 (Glorot and Bengio, 2010; He et al., 2015); reported is a factor of 4 a layer, up or down,
    that goes on from layer to layer.

    ## What to do

    Leave torch's own initialisation, or draw: `nn.init.kaiming_normal_(m.weight)`, `nn.init.xavier_uniform_(m.weight)`.
    """

    code = "NN416"
    name = "poor-initialization"
    points = (28,)
    severity = Severity.ERROR
    triggers = ("constant_", "zeros_", "ones_", *modules.LAYER_WORDS)
    options = {"layers": 5, "factor": 4}

    bad = [
        Example(
            """
            import torch
            from torch import nn

            net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
            for m in net.modules():
                if isinstance(m, nn.Linear):
                    nn.init.constant_(m.weight, 0.5)  # <-- NN416
                    nn.init.zeros_(m.bias)
            optimizer = torch.optim.Adam(net.parameters())
            """,
            why="A loop over all modules.",
        ),
        Example(
            """
            import torch.nn as nn
            from torch.nn import init


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3))
                    self.reset()

                def reset(self):
                    for layer in self.modules():
                        if isinstance(layer, (nn.Conv2d, nn.Linear)):
                            init.zeros_(layer.weight)  # <-- NN416
                        elif isinstance(layer, nn.BatchNorm2d):
                            init.ones_(layer.weight)

                def forward(self, x):
                    return self.body(x)


            net = Net()
            """,
            why="A method of the model, with a tuple of classes.",
        ),
        Example(
            """
            from torch import nn


            def init_weights(m):
                if isinstance(m, nn.Linear):
                    nn.init.ones_(m.weight)  # <-- NN416
                    m.bias.data.fill_(0.01)


            def build(depth):
                model = nn.Sequential(*[nn.Linear(32, 32) for _ in range(depth)])
                model.apply(init_weights)
                return model
            """,
            why="A function for apply.",
        ),
        Example(
            """
            # file: weights.py
            from torch import nn


            def initialise(network, value=0.01):
                for module in network.modules():
                    if isinstance(module, nn.Conv1d):
                        nn.init.constant_(module.weight, value)  # <-- NN416
            # file: train.py
            from torch import nn

            from weights import initialise

            network = nn.Sequential(nn.Conv1d(1, 8, 3), nn.Tanh(), nn.Conv1d(8, 8, 3))
            initialise(network)
            """,
            why="The loop and the constant are in another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn

            net = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 1))
            for m in net.modules():
                if isinstance(m, nn.Linear):
                    nn.init.kaiming_normal_(m.weight)
                    nn.init.constant_(m.bias, 0)
                elif isinstance(m, (nn.BatchNorm1d, nn.GroupNorm)):
                    nn.init.constant_(m.weight, 1)
                    nn.init.constant_(m.bias, 0)
            nn.init.zeros_(net[-1].weight)
            """,
            why="Biases and norms are constants, weights are drawn; the last layer starts at zero on purpose.",
        ),
        Example(
            """
            import torch.nn as nn


            class Bottleneck(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.conv = nn.Conv2d(width, width, 3, padding=1)
                    self.bn = nn.BatchNorm2d(width)

                def forward(self, x):
                    return x + self.bn(self.conv(x))


            class Net(nn.Module):
                def __init__(self, zero_init_residual=True):
                    super().__init__()
                    self.blocks = nn.Sequential(Bottleneck(8), Bottleneck(8))
                    if zero_init_residual:
                        for m in self.modules():
                            if isinstance(m, Bottleneck):
                                nn.init.constant_(m.bn.weight, 0)
                    self.gate = nn.Sequential(nn.Dropout(0.1), nn.Linear(8, 8), nn.Sigmoid())
                    for m in self.gate.modules():
                        if isinstance(m, nn.Linear):
                            nn.init.zeros_(m.weight)

                def forward(self, x):
                    return self.blocks(x)


            net = Net()
            """,
            why="The last norm of each residual branch, and the one layer of a gate, start at zero.",
        ),
        Example(
            """
            from torch import nn


            class Adapter(nn.Module):
                def __init__(self, width, rank):
                    super().__init__()
                    self.down = nn.Linear(width, rank, bias=False)
                    self.up = nn.Linear(rank, width, bias=False)
                    nn.init.kaiming_uniform_(self.down.weight, a=5**0.5)
                    nn.init.zeros_(self.up.weight)

                def forward(self, x):
                    return x + self.up(self.down(x))


            adapter = Adapter(64, 4)
            """,
            why="One layer of an adapter is zero, the other one is drawn.",
        ),
        Example(
            """
            # file: weights.py
            from torch import nn


            def init_weights(m, name=""):
                if isinstance(m, nn.Linear):
                    if "head" in name:
                        nn.init.zeros_(m.weight)
                    else:
                        nn.init.trunc_normal_(m.weight, std=0.02)
                    if m.bias is not None:
                        nn.init.zeros_(m.bias)
                elif isinstance(m, nn.LayerNorm):
                    nn.init.ones_(m.weight)
                elif isinstance(m, nn.Embedding):
                    nn.init.constant_(m.weight, 0.0)
            # file: train.py
            from torch import nn

            from weights import init_weights

            net = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
            net.apply(init_weights)
            """,
            why="The usual initialisation of a Transformer.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in starts.constant_weights(program):
            yield self.finding(
                found.site,
                f"The weights of every {found.layer} are set to one constant: its units compute the same, get the same "
                "gradients and stay equal.",
                "Draw them at random (`nn.init.kaiming_normal_`, `nn.init.xavier_uniform_`), or leave torch's own.",
                evidence=[Hop(f"every {found.layer} that is found by its class", found.site, found.how)],
                confidence=Confidence.LIKELY,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for layers in evidence.chains(run).values():
            if len(layers) < self.number("layers") or any(m.loaded for m, _ in layers):
                continue
            sizes = [(m, row) for m, stream in layers if (row := _first(stream)) is not None]
            if len(sizes) < self.number("layers"):
                continue
            first, last = sizes[0][1], sizes[-1][1]
            each = (last / first) ** (1 / (len(sizes) - 1))
            limit = self.number("factor")
            if 1 / limit < each < limit or not _steady([size for _, size in sizes], each > 1):
                continue
            word = "grow" if each > 1 else "shrink"
            yield self.finding(
                sizes[0][0].line,
                f"Before the first step the activations {word} from {first:.3g} in `{sizes[0][0].name}` to {last:.3g} "
                f"in `{sizes[-1][0].name}`, by a factor of {each:.2g} a layer over {len(sizes)} layers: the gradients "
                "do the same on their way back.",
                "Initialise with `nn.init.kaiming_normal_` (ReLU) or `nn.init.xavier_normal_` (tanh), or normalise "
                "between the layers.",
                evidence=[Hop(f"`{m.name}`", m.line, f"deviation {size:.2g}") for m, size in sizes[:8]],
            )


def _first(stream: Stream) -> float | None:
    """The deviation before the first step."""
    row = stream.rows[0]
    size = max(row[0] ** 2 - row[1] ** 2, 0.0) ** 0.5
    return size if stream.steps[0] == 0 and 0 < size < float("inf") else None


def _steady(sizes: list[float], grows: bool) -> bool:
    """Whether nearly every layer goes the same way."""
    same = sum((b > a) == grows for a, b in pairwise(sizes))
    return same >= len(sizes) - 2
