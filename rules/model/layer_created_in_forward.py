"""NN412: a layer with parameters is made inside forward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import forwards
from ...analyzer.knowledge import modules
from ..finding import Finding, Hop, Line, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Module, Run


class LayerCreatedInForward(Rule):
    """A layer is made inside `forward`, so every pass uses new random weights that nobody trains.

    ## What it is

    `nn.Linear(...)`, `nn.Conv2d(...)`, `nn.LayerNorm(...)` or `nn.Parameter(torch.randn(...))` stands in `forward`
    instead of `__init__`. The layer lives for one pass: it is made with fresh weights, used once and thrown away.

    ## Why it hurts training

    The optimizer was given `model.parameters()` before the layer existed, and the layer of the next pass is another
    one: its weights never learn. What passes through it is multiplied by other random numbers in every step, so that
    what comes behind cannot learn either, or learns to ignore it. The layer stays on the CPU when the model moves,
    and predictions differ from call to call.

    ## How it is told apart from code that only looks alike

    - Activations, pooling, losses and other layers without parameters may be made anywhere.
    - A layer made under a condition (`if self.proj is None`) is made once, when the sizes are known.
    - A layer whose weights are then set, loaded or frozen is a fixed operation.
    - Layers made in `__init__`, or by a method that only `__init__` calls, are right, however deep they lie.
    - Functions such as `F.linear(x, w)` make no layer.

    In a run: at least 5 layers of one line that ran inside a model and are not among its sub-modules, with
    parameters that no optimizer has.

    ## What to do

    Make it in `__init__`; where the size is not known there, use a lazy layer:

    ```python
    def __init__(self):
        super().__init__()
        self.project = nn.LazyLinear(64)
    ```
    """

    code = "NN412"
    name = "layer-created-in-forward"
    points = (22, 23)
    severity = Severity.ERROR
    triggers = modules.LAYER_WORDS
    options = {"layers": 5}

    bad = [
        Example(
            """
            import torch
            from torch import nn


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv = nn.Conv2d(3, 16, 3)

                def forward(self, x):
                    x = torch.relu(self.conv(x)).flatten(1)
                    fc = nn.Linear(x.shape[1], 10)  # <-- NN412
                    return fc(x)


            net = Net()
            optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
            """,
            why="The size is known in forward only, so the layer was made there.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn


            class CrossAttention(nn.Module):
                def __init__(self, dim):
                    super().__init__()
                    self.dim = dim
                    self.q = nn.Linear(dim, dim)

                def forward(self, x, context):
                    attended = nn.MultiheadAttention(self.dim, 4, batch_first=True)(  # <-- NN412
                        self.q(x), context, context
                    )[0]
                    norm = nn.LayerNorm(self.dim).to(x.device)  # <-- NN412
                    return norm(x + attended)


            class Decoder(nn.Module):
                def __init__(self, dim, depth):
                    super().__init__()
                    self.blocks = nn.ModuleList(CrossAttention(dim) for _ in range(depth))

                def forward(self, x, context):
                    for block in self.blocks:
                        x = block(x, context)
                    return x
            """,
            why="Attention and a norm made in a block that a model runs several times.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Gate(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.width = width
                    self.fc = nn.Linear(width, width)

                def forward(self, x):
                    scale = nn.Parameter(torch.randn(self.width))  # <-- NN412
                    return self.fc(x) * torch.sigmoid(scale)


            class Model(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.gate = Gate(8)

                def forward(self, x):
                    return self.gate(x)
            """,
            why="A parameter that is drawn again in every pass.",
        ),
        Example(
            """
            # file: blocks.py
            from torch import nn


            class Bottleneck(nn.Module):
                def __init__(self, channels, out):
                    super().__init__()
                    self.reduce = nn.Conv2d(channels, out, 1)
                    self.act = nn.ReLU()

                def forward(self, x):
                    return self.act(self.reduce(x))
            # file: model.py
            from torch import nn

            from blocks import Bottleneck


            class Pyramid(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.stem = nn.Conv2d(3, 32, 3, stride=2)

                def squeeze(self, x):
                    bottleneck = Bottleneck(x.size(1), 8)  # <-- NN412
                    return bottleneck(x)

                def forward(self, x):
                    return self.squeeze(self.stem(x))
            """,
            why="A block of the project, made in a method that forward calls.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn


            class Net(nn.Module):
                def __init__(self, bases):
                    super().__init__()
                    self.build(bases)
                    self.head = None

                def build(self, width):
                    self.fc = nn.Linear(width, width)

                def forward(self, x, y=None):
                    x = nn.ReLU()(self.fc(x))
                    x = nn.AdaptiveAvgPool1d(4)(x.unsqueeze(1)).squeeze(1)
                    if self.head is None:
                        self.head = nn.Linear(x.size(1), 10).to(x.device)
                    x = self.head(x)
                    try:
                        x = self.scale(x)
                    except AttributeError:
                        self.scale = nn.Linear(10, 10)
                    x = nn.LayerNorm(10, elementwise_affine=False)(x)
                    if y is not None:
                        return nn.CrossEntropyLoss()(x, y)
                    return x
            """,
            why="Layers without parameters, and two that are made once, in the first pass.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn


            class Blur(nn.Module):
                def __init__(self, channels):
                    super().__init__()
                    self.channels = channels
                    self.register_buffer("kernel", torch.ones(channels, 1, 3, 3) / 9)
                    self.project = nn.LazyLinear(10)

                def forward(self, x):
                    conv = nn.Conv2d(self.channels, self.channels, 3, padding=1, groups=self.channels, bias=False)
                    conv.weight.data = self.kernel
                    conv.weight.requires_grad = False
                    x = conv(x)
                    return self.project(F.conv2d(x, self.kernel, groups=self.channels).flatten(1))
            """,
            why="A fixed filter: its weights are set by hand.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Adapter(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.down = nn.Linear(width, 16)

                def forward(self, x):
                    return self.down(x)

                def grow(self, width):
                    self.up = nn.Linear(16, width)
                    return self


            def probe(features, labels, classes):
                head = nn.Linear(features.shape[1], classes)
                optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
                for _ in range(100):
                    loss = nn.functional.cross_entropy(head(features), labels)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                return head
            """,
            why="Layers made in other methods and functions than forward.",
        ),
        Example(
            """
            # file: heads.py
            from torch import nn


            def make_head(width, classes):
                return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))
            # file: model.py
            import torch
            from torch import nn

            from heads import make_head


            class Model(nn.Module):
                def __init__(self, width, tasks):
                    super().__init__()
                    self.body = nn.Linear(32, width)
                    self.heads = nn.ModuleDict({t: make_head(width, n) for t, n in tasks.items()})

                def forward(self, x, task):
                    mask = torch.bernoulli(torch.full_like(x, 0.9))
                    return self.heads[task](torch.relu(self.body(x * mask)))
            """,
            why="A factory in another file, called by the constructor.",
        ),
        Example(
            """
            from functools import wraps

            import torch
            from torch import nn


            def once(name):
                def decorate(function):
                    @wraps(function)
                    def wrapper(self, *args):
                        if getattr(self, name, None) is None:
                            setattr(self, name, function(self, *args))
                        return getattr(self, name)

                    return wrapper

                return decorate


            class Projected(nn.Module):
                def __init__(self, net, width):
                    super().__init__()
                    self.net, self.width = net, width

                @once("projector")
                def make_projector(self, hidden):
                    return nn.Linear(hidden.shape[1], self.width)

                def forward(self, x):
                    hidden = self.net(x)
                    return self.make_projector(hidden)(hidden)


            model = Projected(nn.Linear(8, 32), 4)
            model(torch.randn(2, 8))
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in torch.load("batches.pt"):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            """,
            why="A decorator keeps what the first pass has made.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Chain(nn.Sequential):
                def forward(self, x, samples):
                    for layer in self:
                        x = layer(x)
                    return x.expand(samples, *x.shape)


            class Squeeze(nn.Module):
                def __init__(self, channels):
                    super().__init__()
                    self.pool = nn.AdaptiveAvgPool2d(1)
                    self.first = nn.Conv2d(channels, channels // 4, 1)
                    self.second = nn.Conv2d(channels // 4, channels, 1)

                def forward(self, x, samples):
                    scale = Chain(self.pool, self.first, nn.ReLU(), self.second, nn.Sigmoid())(x, samples)
                    return scale * x


            print(Squeeze(16)(torch.rand(2, 16, 8, 8), 3).shape)
            """,
            why="A container around layers that stay has no weights of its own.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in forwards.made_in_forward(program):
            yield self.finding(
                found.made.site,
                f"`{found.what}` is made inside the forward pass of {found.owner}: each pass has new random weights, "
                "no optimizer owns them, and they are thrown away.",
                "Make it in `__init__` (an `nn.Lazy...` layer where its size is not known there).",
                evidence=[Hop(f"a fresh `{found.what}` in every pass", found.made.site)],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        made: dict[Line, list[Module]] = {}
        for module in run.modules:
            if not module.registered and not module.library and module.line is not None:
                made.setdefault(module.line, []).append(module)
        owned = {p.module for p in run.parameters if p.trainable and not p.optimizers}
        for line, layers in made.items():
            if len(layers) < self.number("layers") or not any(m.key in owned for m in layers):
                continue
            root = run.of("module", layers[0].root)
            yield self.finding(
                line,
                f"{len(layers)} different {layers[0].class_name} layers were made on this line while "
                f"`{root.name if root is not None else 'the model'}` ran: each has new random weights, no optimizer "
                "gets them, and they are thrown away.",
                "Make the layer once, in `__init__`, and call it here.",
                evidence=[Hop("made anew in each pass", line, f"{len(layers)} layers so far")],
            )
