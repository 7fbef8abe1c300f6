"""NN409: squeeze() takes away the axis of the batch as well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import fitting
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class SqueezeWithoutDim(Rule):
    """`squeeze()` without a dimension also removes the batch axis when a batch has one sample.

    ## What it is

    `x.squeeze()` removes *every* axis of length 1. For predictions of shape `(N, 1)` that gives `(N,)`, until a batch
    has a single sample: then it gives a scalar. A loader that does not drop its last batch has such a batch whenever
    the number of samples leaves a remainder of one, and evaluation often runs with batches of one on purpose.

    ## Why it hurts training

    After most of an epoch the loss raises an error about shapes, or, worse, it does not: an element-wise loss
    broadcasts, `softmax(dim=0)` or `cat` works along another axis, an accuracy counts wrongly. Whether it happens
    depends on the number of samples, so it comes with new data, another split or another batch size.

    ## How it is told apart from code that only looks alike

    - `squeeze(1)`, `squeeze(-1)`, `squeeze(dim=...)` remove one axis and no other.
    - A loader with `drop_last=True` has no smaller batch.
    - Tensors without a batch axis (a picture to plot, a scalar) may be squeezed.
    - The batch must come from a loader that can be seen, and its axis must still be in front.

    It is certain where the result goes into a loss that refuses a missing axis (cross-entropy, NLL, binary
    cross-entropy), and likely elsewhere.

    In a run: a loss whose input had one axis fewer than its target, for batches of one sample alone.

    ## What to do

    Name the axis that shall go, or drop the incomplete batch with `drop_last=True`:

    ```python
    prediction = model(x).squeeze(-1)
    ```
    """

    code = "NN409"
    name = "squeeze-without-dim"
    points = (25,)
    severity = Severity.WARNING
    triggers = ("squeeze",)

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            x, y = torch.load("heart.pt")
            loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
            model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 1))
            criterion = nn.BCEWithLogitsLoss()
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(20):
                for features, label in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(features).squeeze(), label)  # <-- NN409
                    loss.backward()
                    optimizer.step()
            """,
            why="One output, squeezed for the loss, in a flat script.",
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
                    self.body = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
                    self.fc = nn.Linear(32, 10)

                def forward(self, x):
                    x = self.body(x).squeeze()  # <-- NN409
                    return self.fc(x)


            def main():
                net = Net()
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                for x, y in DataLoader(torch.load("cifar.pt"), batch_size=128, shuffle=True):
                    loss = F.cross_entropy(net(x), y)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()


            main()
            """,
            why="Features after global pooling.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, dataset):
                    self.net = nn.Linear(64, 5)
                    self.loader = DataLoader(dataset, batch_size=16, shuffle=True)
                    self.loss = nn.CrossEntropyLoss()
                    self.optimizer = torch.optim.Adam(self.net.parameters())

                def fit(self):
                    for x, y in self.loader:
                        loss = self.loss(self.net(x), y.squeeze().long())  # <-- NN409
                        self.optimizer.zero_grad()
                        loss.backward()
                        self.optimizer.step()


            Trainer(torch.load("data.pt")).fit()
            """,
            why="Labels of shape (N, 1).",
        ),
        Example(
            """
            # file: data.py
            from torch.utils.data import DataLoader


            def make_loader(dataset, train):
                return DataLoader(dataset, batch_size=8, shuffle=train, num_workers=4)
            # file: train.py
            import torch
            from torch import nn

            from data import make_loader

            net = nn.Sequential(nn.Linear(300, 1), nn.Sigmoid())
            optimizer = torch.optim.Adam(net.parameters())
            for x, y in make_loader(torch.load("reviews.pt"), True):
                p = torch.squeeze(net(x))  # <-- NN409
                loss = nn.functional.binary_cross_entropy(p, y.float())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The function instead of the method; the loader is in another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            x, y = torch.load("heart.pt")
            loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
            model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 1))
            criterion = nn.BCEWithLogitsLoss()
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(20):
                for features, label in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(features).squeeze(1), label)
                    loss = loss + criterion(model(features).squeeze(dim=-1), label)
                    loss.backward()
                    optimizer.step()
                print(loss.squeeze().item())
            """,
            why="One axis is named; a scalar may be squeezed.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def main():
                net = nn.Linear(20, 1)
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                loader = DataLoader(torch.load("train.pt"), batch_size=128, shuffle=True, drop_last=True)
                for x, y in loader:
                    loss = F.binary_cross_entropy_with_logits(net(x).squeeze(), y)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()


            main()
            """,
            why="The last batch is dropped.",
        ),
        Example(
            """
            import matplotlib.pyplot as plt
            import torch
            from torch.utils.data import DataLoader


            def show(dataset):
                images, labels = next(iter(DataLoader(dataset, batch_size=64)))
                plt.imshow(images[0].squeeze(), cmap="gray")
                for image, label in zip(images, labels):
                    plt.imshow(image.squeeze().numpy())


            class Head(torch.nn.Module):
                def forward(self, x):
                    return x.squeeze()


            show(torch.load("mnist.pt"))
            """,
            why="Single pictures, and a module whose input is not known.",
        ),
        Example(
            """
            # file: data.py
            import torch
            from torch.utils.data import DataLoader


            def collate(samples):
                return torch.stack([s[0] for s in samples])[None], torch.tensor([s[1] for s in samples])


            def make_loader(dataset):
                return DataLoader(dataset, batch_size=8, shuffle=True, collate_fn=collate)
            # file: train.py
            import torch
            from torch import nn

            from data import make_loader

            net = nn.Linear(300, 1)
            optimizer = torch.optim.Adam(net.parameters())
            for x, y in make_loader(torch.load("bags.pt")):
                loss = nn.functional.binary_cross_entropy_with_logits(net(x.squeeze(0)).squeeze(-1), y.float())
                single = net(x.squeeze())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="A collate function of one's own decides what the first axis is.",
        ),
        Example(
            """
            import h5py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
            loader = DataLoader(torch.load("clips.pt"), batch_size=2)
            with h5py.File("features.h5", "w") as file, torch.no_grad():
                for number, (clip, label) in enumerate(loader):
                    file.create_dataset(str(number), data=model(clip).numpy().squeeze())
            """,
            why="Arrays are written to a file one by one.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in fitting.squeezed_batches(program):
            evidence = [
                Hop("the loader keeps its last batch, which may have one sample", found.loader.site),
                Hop("every axis of length 1 is removed here", found.site, str(found.shape)),
            ]
            if found.loss is not None:
                evidence.append(Hop("the loss refuses a missing axis", found.loss))
            yield self.finding(
                found.site,
                f"`squeeze()` of a batch of shape {found.shape} removes the batch axis too when a batch has one "
                "sample, as the last one of the loader at {0} may.",
                "Name the axis: `squeeze(-1)`, or drop the last batch.",
                evidence=evidence,
                confidence=Confidence.CERTAIN if found.loss is not None else Confidence.LIKELY,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for use in run.losses:
            if not use.alone:
                continue
            yield self.finding(
                use.line,
                f"A batch of one sample reached {use.function} without its batch axis ({use.alone} of "
                f"{use.evaluations} evaluations), against a target that has it: something on the way squeezes every "
                "axis of size 1.",
                "Name the axis: `squeeze(1)` or `squeeze(-1)`.",
                evidence=[Hop("prediction and target meet here", use.line, f"{use.alone} batches of one sample")],
            )
