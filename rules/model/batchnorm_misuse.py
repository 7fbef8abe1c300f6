"""NN419: batch normalisation where it cannot do its work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import parts
from ...tracer import evidence
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class BatchNormMisuse(Rule):
    """Batch normalisation is trained on batches of one sample, or the layer before it has a useless bias.

    ## What it is

    `nn.BatchNorm` subtracts the mean of the batch and divides by its standard deviation, and keeps running averages of
    both for evaluation. With one sample in a batch there is nothing to average over: the statistics are those of a
    single picture. A loader without `batch_size` has batches of one.

    ## Why it hurts training

    In training every sample is normalised by itself, which hides its contrast and brightness from the network; in
    evaluation the running averages are used, which are quite other numbers, so that the evaluation loss is much
    worse than the training loss. For inputs without a spatial dimension torch refuses.

    As advice (not shown by default): a bias directly before a batch normalisation is subtracted again with the mean. It
    costs memory and time, and changes nothing.

    ## How it is told apart from code that only looks alike

    - `InstanceNorm`, `GroupNorm` and `LayerNorm` do not look at the batch.
    - A loader over batches that the data set itself makes has a `collate_fn` or a `batch_sampler`, or
      `batch_size=None`.
    - `BatchNorm` with `track_running_stats=False` uses the same statistics in both modes.
    - The size must be a literal 1, or not given; the network must be in training mode and be trained by this loop.

    In a run: a batch normalisation that is trained on batches of one sample.

    ## What to do

    Use larger batches, or `nn.GroupNorm`, which works for any batch size. Before a batch normalisation say
    `bias=False`.
    """

    code = "NN419"
    name = "batchnorm-misuse"
    points = (32,)
    severity = Severity.WARNING
    triggers = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "backward")

    bad = [
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv = nn.Conv2d(3, 16, 3, bias=False)
                    self.norm = nn.BatchNorm2d(16)
                    self.fc = nn.Linear(16, 10)

                def forward(self, x):
                    return self.fc(F.relu(self.norm(self.conv(x))).mean(dim=(2, 3)))


            net = Net()
            optimizer = torch.optim.Adam(net.parameters())
            for x, y in DataLoader(torch.load("train.pt"), batch_size=1, shuffle=True):
                optimizer.zero_grad()
                loss = F.cross_entropy(net(x), y)  # <-- NN419
                loss.backward()
                optimizer.step()
            """,
            why="Batches of one, in a flat script.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            def build():
                return nn.Sequential(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 1))


            def train(dataset, epochs):
                net = build()
                criterion = nn.MSELoss()
                optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
                loader = DataLoader(dataset, shuffle=True)
                for _ in range(epochs):
                    for x, y in loader:
                        output = net(x)  # <-- NN419
                        loss = criterion(output, y)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            train(torch.load("train.pt"), 5)
            """,
            why="The size was not given, and is 1 by default.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, data):
                    conv = nn.Conv2d(3, 8, 3, bias=False)
                    self.net = nn.Sequential(conv, nn.BatchNorm2d(8), nn.Flatten(), nn.LazyLinear(2))
                    self.loader = DataLoader(data, batch_size=1)
                    self.optimizer = torch.optim.Adam(self.net.parameters())
                    self.loss = nn.CrossEntropyLoss()

                def fit(self):
                    self.net.train()
                    for x, y in self.loader:
                        loss = self.loss(self.net(x), y) / 8  # <-- NN419
                        loss.backward()
                        self.optimizer.step()
                        self.optimizer.zero_grad()


            Trainer(torch.load("train.pt")).fit()
            """,
            why="A class with a loader in an attribute.",
        ),
        Example(
            """
            # file: net.py
            from torch import nn


            class Block(nn.Module):
                def __init__(self, channels):
                    super().__init__()
                    self.body = nn.Sequential(nn.Conv3d(channels, channels, 3, bias=False), nn.BatchNorm3d(channels))

                def forward(self, x):
                    return self.body(x)
            # file: config.py
            BATCH_SIZE = 1
            # file: train.py
            import torch
            from torch.utils.data import DataLoader

            from config import BATCH_SIZE
            from net import Block

            net = Block(1)
            optimizer = torch.optim.Adam(net.parameters())
            for x, y in DataLoader(torch.load("volumes.pt"), batch_size=BATCH_SIZE, shuffle=True):
                loss = (net(x) - y).abs().mean()  # <-- NN419
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The size stands in another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv = nn.Conv2d(3, 16, 3, bias=False)
                    self.norm = nn.BatchNorm2d(16)
                    self.fc = nn.Linear(16, 10)

                def forward(self, x):
                    return self.fc(F.relu(self.norm(self.conv(x))).mean(dim=(2, 3)))


            net = Net()
            optimizer = torch.optim.Adam(net.parameters())
            for x, y in DataLoader(torch.load("train.pt"), batch_size=16, shuffle=True):
                optimizer.zero_grad()
                loss = F.cross_entropy(net(x), y)
                loss.backward()
                optimizer.step()
            net.eval()
            with torch.no_grad():
                hits = sum((net(x).argmax(1) == y).sum() for x, y in DataLoader(torch.load("test.pt"), batch_size=1))
            """,
            why="Batches of one in evaluation only.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.InstanceNorm2d(8), nn.Conv2d(8, 1, 1), nn.GroupNorm(1, 1))
            optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
            for x, y in DataLoader(torch.load("pairs.pt"), batch_size=1, shuffle=True):
                loss = (net(x) - y).abs().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="Normalisations that do not look at the batch.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            def train(bags, pictures, size):
                net = nn.Sequential(nn.Linear(10, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
                optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
                collated = DataLoader(bags, batch_size=1, collate_fn=lambda samples: samples[0])
                whole = DataLoader(bags, batch_size=None)
                sized = DataLoader(pictures, batch_size=size)
                for loader in (collated, whole, sized):
                    for x, y in loader:
                        loss = nn.functional.cross_entropy(net(x), y)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            train(torch.load("bags.pt"), torch.load("pictures.pt"), 32)
            """,
            why="The data set makes the batches, or their size is not a literal.",
        ),
        Example(
            """
            # file: net.py
            from torch import nn


            def backbone():
                return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8, track_running_stats=False))
            # file: train.py
            import torch
            from torch.utils.data import DataLoader

            from net import backbone

            net = backbone()
            optimizer = torch.optim.Adam(net.parameters())
            for x in DataLoader(torch.load("styles.pt"), batch_size=1, shuffle=True):
                loss = net(x).pow(2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="No running averages: both modes use the same statistics.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in parts.single_samples(program):
            yield self.finding(
                found.site,
                f"A network with {program.class_name(found.norm)} (made at {{0}}) is trained on batches of one sample "
                "(loader at {1}): each sample is normalised by itself, and evaluation uses quite other statistics.",
                "Use a larger batch_size, or GroupNorm instead of batch normalisation.",
                evidence=[
                    Hop("the batch normalisation", found.norm.site),
                    Hop("the loader", found.loader.site, "batch_size=1"),
                    Hop("trained here", found.site),
                ],
            )
        for bias in parts.useless_biases(program):
            yield self.finding(
                bias.site,
                f"The bias of this {bias.layer} is subtracted again by the batch normalisation at {{0}}: it does "
                "nothing.",
                "Say `bias=False`.",
                evidence=[Hop("the batch normalisation", bias.norm)],
                severity=Severity.INFO,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        single = [loader for loader in run.loaders if loader.trains and loader.batch_size == 1]
        if not single or any(loader.trains and loader.batch_size != 1 for loader in run.loaders):
            return
        trained = {found.module for found in run.passes if found.used and found.training}
        for module in run.modules:
            sizes = module.input_sizes
            if not module.base.startswith("BatchNorm") or not module.train_dependent or sizes[:1] != [1]:
                continue
            if evidence.root_of(module) not in trained or module.line is None:
                continue
            yield self.finding(
                module.line,
                f"`{module.name}` normalises by the statistics of single samples: the training loader gives batches of "
                "one. What it does in evaluation, with running statistics, is another function.",
                "Use larger batches, or GroupNorm, InstanceNorm or LayerNorm.",
                evidence=[Hop("the batches are made here", single[0].line, "batches of 1")],
            )
            break
