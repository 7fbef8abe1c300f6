"""NN407: the numbers that one layer puts out are not the numbers that the next one takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import fitting
from ...analyzer.knowledge import modules
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Failure, Module, Run

_MISMATCH = re.compile(
    r"""mat1\ and\ mat2\ shapes | expected\ input.*to\ have.*channels | must\ match\ the\ size\ of\ tensor
    | Sizes\ of\ tensors\ must\ match | shape\ '.*'\ is\ invalid\ for\ input | size\ mismatch,\ got
    | input\.size\(-1\)\ must\ be\ equal | Expected\ hidden | running_mean\ should\ contain
    | expected\ input\ with\ shape | normalized_shape | embed_dim\ | Expected\ size\ for\ first\ two\ dimensions
    | was\ expecting\ embedding\ dimension | Expected\ number\ of\ channels | expected.*D.*input
    | size\ of\ tensor | inconsistent\ tensor\ size | not\ broadcastable | Kernel\ size\ can't\ be\ greater""",
    re.VERBOSE | re.IGNORECASE,
)
_PRODUCT = re.compile(r"\((\d+)x(\d+) and (\d+)x(\d+)\)")
_LEAVES = re.compile(r"(Linear|Bilinear|(Lazy)?Conv.*|BatchNorm.*|InstanceNorm.*|GroupNorm|LayerNorm|RNN|LSTM|GRU)$")


class ShapeMismatch(Rule):
    """Two layers do not fit together: the forward pass fails with an error about shapes.

    ## What it is

    The size that a layer was made for is not the size of what reaches it: the number of features after `flatten`
    was computed for another image size, padding or pooling; the channels of one convolution are not those of the
    next; a recurrent layer returns twice the width because it is bidirectional.

    ## Why it hurts training

    The run ends with an error of torch's, and the message names two matrices, but neither the layer nor the place
    where its size is written down. The traceback ends in torch's own code or in `forward`; the number to be changed
    stands in the constructor.

    ## How it is told apart from code that only looks alike

    - Only errors that torch raises about sizes, inside the forward pass of a module, are explained.
    - An error in the script's own code between two layers is reported at that line.
    - Weights that do not fit into a model (`load_state_dict`), and losses whose arguments differ in size, are other
      mistakes.
    - An error that the script catches ends nothing and is not reported.

    In the source, both sizes must be literals that can be followed from one layer to the next; a layer that may be one
    of several is not judged. In a run, the layers of the same forward pass and their shapes were recorded up to the one
    that failed; there is no threshold.

    In an experiment the model is called with fewer samples. Only a size that the loader will give is reported: that of
    its last batch.

    ## What to do

    Give the layer the size that arrives, best by computing it from what comes before:

    ```python
    with torch.no_grad():
        features = self.features(torch.zeros(1, 3, 32, 32)).flatten(1).shape[1]
    self.fc = nn.Linear(features, 10)  # or nn.LazyLinear(10)
    ```
    """

    code = "NN407"
    name = "shape-mismatch"
    points = (25,)
    severity = Severity.ERROR
    experiments = ("sizes",)
    triggers = modules.LAYER_WORDS

    bad = [
        Example(
            """
            import torch
            from torch import nn

            model = nn.Sequential(
                nn.Linear(784, 128),
                nn.ReLU(),
                nn.Linear(256, 10),  # <-- NN407
            )
            output = model(torch.rand(32, 784))
            """,
            why="Two layers of a container.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
                    self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
                    self.norm = nn.BatchNorm2d(64)
                    self.fc = nn.Linear(64, 10)

                def forward(self, x):
                    x = F.max_pool2d(F.relu(self.conv1(x)), 2)
                    x = self.conv2(x)  # <-- NN407
                    x = F.adaptive_avg_pool2d(F.relu(self.norm(x)), 1)
                    return self.fc(torch.flatten(x, 1))
            """,
            why="Channels that do not chain; nobody runs the model here.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Tagger(nn.Module):
                def __init__(self, vocabulary):
                    super().__init__()
                    self.embedding = nn.Embedding(vocabulary, 100)
                    self.lstm = nn.LSTM(100, 128, batch_first=True, bidirectional=True)
                    self.out = nn.Linear(128, 17)

                def forward(self, tokens):
                    states, _ = self.lstm(self.embedding(tokens))
                    return self.out(states)  # <-- NN407
            """,
            why="A bidirectional network returns twice the width.",
        ),
        Example(
            """
            # file: features.py
            from torch import nn


            class Features(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Sequential(
                        nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2)
                    )

                def forward(self, x):
                    return self.body(x).flatten(1)
            # file: train.py
            import torch
            from torch import nn

            from features import Features

            features = Features()
            head = nn.Linear(16 * 5 * 5, 10)
            x = torch.zeros(8, 1, 28, 28)
            scores = head(features(x))  # <-- NN407
            """,
            why="The features of a picture of 28 by 28, counted for 32 by 32, in another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn

            model = nn.Sequential(
                nn.Linear(784, 128),
                nn.ReLU(),
                nn.Linear(128, 10),
            )
            output = model(torch.rand(32, 28 * 28))
            images = torch.rand(8, 1, 28, 28)
            lenet = nn.Sequential(
                nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(kernel_size=2, stride=2),
                nn.Conv2d(6, 16, kernel_size=5), nn.Sigmoid(), nn.AvgPool2d(2, 2), nn.Flatten(),
                nn.Linear(16 * 5 * 5, 120), nn.Sigmoid(), nn.Linear(120, 10),
            )
            scores = lenet(images)
            """,
            why="Sizes that fit, computed along a convolutional network.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F


            class ConvNet(nn.Module):
                def __init__(self, widths=(64, 128, 256)):
                    super().__init__()
                    channels = 3
                    layers = []
                    for width in widths:
                        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                        channels = width
                    self.body = nn.Sequential(*layers)
                    self.shortcuts = nn.ModuleList([nn.Conv2d(3, 64, 1), nn.Conv2d(64, 256, 1)])
                    self.fc = nn.Linear(channels, 10)

                def forward(self, x):
                    y = x
                    for layer in self.shortcuts:
                        y = layer(y)
                    x = self.body(x) + y
                    x = F.adaptive_avg_pool2d(x, (1, 1))
                    return self.fc(x.view(x.size(0), -1))


            net = ConvNet()
            print(net(torch.rand(2, 3, 32, 32)).shape)
            """,
            why="Layers made in loops, applied in loops.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Encoder(nn.Module):
                def __init__(self, kind):
                    super().__init__()
                    if kind == "small":
                        self.body, self.head = nn.Linear(10, 32), nn.Linear(32, 2)
                    else:
                        self.body, self.head = nn.Linear(10, 64), nn.Linear(64, 2)
                    self.rnn = nn.GRU(2, 8, bidirectional=True, batch_first=True)
                    self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
                    self.norm = nn.LayerNorm(16)
                    self.out = nn.Linear(16 + 2, 4)

                def forward(self, x):
                    x = self.head(torch.relu(self.body(x)))
                    states, last = self.rnn(x)
                    states = self.norm(states + self.attention(states, states, states)[0])
                    return self.out(torch.cat([states, x], dim=-1))
            """,
            why="Two variants whose layers fit each other, concatenation, a bidirectional network.",
        ),
        Example(
            """
            # file: parts.py
            from torch import nn


            class Down(nn.Module):
                def __init__(self, a, b):
                    super().__init__()
                    self.conv = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b))

                def forward(self, x):
                    return self.conv(x)
            # file: unet.py
            import torch
            from torch import nn

            from parts import Down


            class UNet(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.inc = nn.Conv2d(3, 64, 3, padding=1)
                    self.down1, self.down2 = Down(64, 128), Down(128, 256)
                    self.up1 = nn.ConvTranspose2d(256, 128, 2, stride=2)
                    self.up2 = nn.ConvTranspose2d(256, 64, 2, stride=2)
                    self.outc = nn.Conv2d(128, 2, 1)

                def forward(self, x):
                    a = self.inc(x)
                    b = self.down1(a)
                    c = self.down2(b)
                    d = self.up2(torch.cat([self.up1(c), b], dim=1))
                    return self.outc(torch.cat([d, a], dim=1))
            """,
            why="Skip connections add up to the width of the next layer.",
        ),
        Example(
            """
            import torch
            from torch import nn

            net = nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(8, 16, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(16 * 7 * 7, 10),
            )
            x = torch.rand(1, 1, 28, 28)
            for layer in net:
                x = layer(x)
                print(type(layer).__name__, x.shape)


            class Encoder(nn.Module):
                def __init__(self, depth):
                    super().__init__()
                    self.first = nn.Linear(5, 8)
                    self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(depth)] + [nn.Linear(8, 3)])

                def forward(self, x):
                    x = self.first(x)
                    for layer in self.layers:
                        x = torch.relu(layer(x))
                    return x


            Encoder(9)(torch.rand(2, 5))
            """,
            why="Many layers, one after the other.",
        ),
        Example(
            """
            import torch
            from torch import nn

            model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
            try:
                model(torch.randn(4, 100))
            except RuntimeError as error:
                print("caught:", error)

            deep = nn.Sequential(*[layer for _ in range(20) for layer in (nn.Linear(64, 64), nn.ReLU())])
            x = torch.randn(1, 64)
            for number, layer in enumerate(deep):
                x = layer(x)
                print(number, x.shape)
            """,
            why="An error that is asked for, and layers of which one at a time is taken.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Dense(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.first = nn.Conv2d(3, 8, 3, padding=1)
                    self.second = nn.Conv2d(8, 8, 3, padding=1)
                    self.last = nn.Conv2d(24, 4, 1)

                def forward(self, x):
                    a = self.first(x)
                    b = self.second(a)
                    return self.last(torch.cat([a, b, a], axis=1))


            Dense()(torch.rand(2, 3, 16, 16))
            """,
            why="The axis goes by either name.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Bottleneck(nn.Module):
                def __init__(self, inside, outside, factorised=False):
                    super().__init__()
                    block = nn.Sequential(nn.Conv2d(inside, 16, 1), nn.Conv2d(16, outside, 1))
                    if factorised:
                        block.insert(1, nn.Conv2d(16, 16, (5, 1), padding=(2, 0)))
                        block.insert(2, nn.Conv2d(16, 16, (1, 5), padding=(0, 2)))
                    else:
                        block.insert(1, nn.Conv2d(16, 16, 3, padding=1))
                    self.block = block

                def forward(self, x):
                    return torch.relu(self.block(x))


            network = nn.Sequential(Bottleneck(3, 64), Bottleneck(64, 64, factorised=True))
            print(network(torch.rand(2, 3, 64, 64)).shape)
            """,
            why="Layers are inserted between the two, in either case.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in fitting.mismatches(program):
            yield self.finding(
                found.site,
                f"{found.layer} takes {found.expected} {found.what}, but {found.arrives} arrive (input {found.shape}): "
                "the forward pass fails.",
                f"Make it for {found.arrives} {found.what}, or change what comes before it so that {found.expected} "
                "arrive.",
                evidence=[
                    Hop(f"{found.arrives} {found.what} are put out here", found.source or found.site, str(found.shape)),
                    Hop(f"and {found.expected} are expected here", found.site),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for failure in run.failures:
            module = run.of("module", failure.module)
            loading = "state_dict" in failure.message
            if failure.type != "RuntimeError" and failure.type != "ValueError":
                continue
            if module is None or loading or not _MISMATCH.search(failure.message):
                continue
            layer = module if _LEAVES.match(module.base) and module.line else None
            where = layer.line if layer else failure.line
            first = failure.message.splitlines()[0][:200]
            yield self.finding(
                where,
                f"{_fact(failure, module)} Torch says: {first.rstrip('.')}.",
                _advice(failure, module.name),
                evidence=_flow(run, failure),
            )

    def probe(self, run: Run) -> Iterator[Finding]:
        for resize in run.resizes:
            if not resize.comes:
                continue
            yield self.finding(
                resize.line,
                f"The loader's last batch has {resize.samples} samples instead of {resize.batch_size}, and "
                f"`{resize.module}` cannot take it: {resize.message.rstrip('.')}.",
                "Take the size of the batch from the input (`x.size(0)`, `flatten(1)`) instead of writing it down, or "
                "make the loader with `drop_last=True`.",
                evidence=[Hop("it fails here", resize.line, f"{resize.samples} samples")],
            )


def _fact(failure: Failure, module: Module) -> str:
    product = _PRODUCT.search(failure.message)
    arrived = failure.flow[-1][2] if failure.flow else ""
    shape = f" of shape {arrived}" if arrived else ""
    if product and module.base == "Linear":
        return (
            f"`{module.name}` takes {product[3]} features, but {product[2]} arrive (input{shape}): the forward pass "
            "fails and the run ends."
        )
    what = f"`{module.name}` ({module.class_name})"
    return f"{what} cannot work on its input{shape}: the forward pass fails and the run ends."


def _advice(failure: Failure, name: str) -> str:
    product = _PRODUCT.search(failure.message)
    if product:
        return f"Make `{name}` for {product[2]} inputs, or change what comes before it so that {product[3]} arrive."
    return f"Make the sizes of `{name}` agree with the shapes that arrive; the layers before it are listed."


def _flow(run: Run, failure: Failure) -> list[Hop]:
    """The last layers before the failure, with their shapes."""
    hops = []
    by_name = {module.name: module for module in run.modules}
    for name, class_name, inputs, outputs in failure.flow[-4:-1]:
        module = by_name.get(name)
        if module is not None and outputs:
            hops.append(Hop(f"`{name}` ({class_name})", module.line, f"{inputs} -> {outputs}"))
    return [*hops[-2:], Hop("the forward pass fails here", failure.line, failure.type)]
