"""NN315: cross-entropy over one single class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class SingleLogitCrossEntropy(Rule):
    """Cross-entropy gets one score per sample, and the softmax of one number is always 1.

    ## What it is

    A network for a yes-or-no question has one output. `nn.CrossEntropyLoss` expects one score for each class and
    applies softmax over them; over one score that gives 1, whatever the score is.

    ## Why it hurts training

    The loss is exactly zero from the first step on, and so are all gradients. Nothing is learned, and the log shows
    the best loss there can be. With a few metrics beside it, the model looks like one that has converged to
    guessing.

    ## How it is told apart from code that only looks alike

    - `BCEWithLogitsLoss` is the loss for one score per sample.
    - Two outputs with `CrossEntropyLoss` are right for a yes-or-no question too.
    - Contrastive losses have one column for each sample of the batch; the last batch may have one sample, and the
      batches before it had more.
    - In `(N, classes, length)` the second dimension holds the classes; a length of 1 does not matter.

    In the source, the number of dimensions of the scores and the size of the second one must be known, from literals
    in the layers and from how the batch was made. In a run, three evaluations in training are demanded, all with a loss
    of exactly zero: then no batch can have had more classes. Three is the project's own choice.

    ## What to do

    Take the loss for one score, with float targets of the same shape:

    ```python
    loss = F.binary_cross_entropy_with_logits(model(x).squeeze(-1), y.float())
    ```

    or give the network one output for each class.
    """

    code = "NN315"
    name = "single-logit-cross-entropy"
    points = (19,)
    severity = Severity.ERROR
    triggers = ("CrossEntropyLoss", "cross_entropy", "backward")
    options = {"evaluations": 3}

    bad = [
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms


            class CatDog(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv = nn.Conv2d(3, 16, 3, padding=1)
                    self.fc = nn.Linear(16, 1)

                def forward(self, x):
                    x = F.adaptive_avg_pool2d(F.relu(self.conv(x)), 1)
                    return self.fc(torch.flatten(x, 1))


            data = datasets.ImageFolder("cats_and_dogs", transforms.ToTensor())
            model = CatDog()
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters())
            for images, labels in DataLoader(data, batch_size=32, shuffle=True):
                optimizer.zero_grad()
                loss = criterion(model(images), labels)  # <-- NN315
                loss.backward()
                optimizer.step()
            """,
            why="A yes-or-no question, one output, cross-entropy.",
        ),
        Example(
            """
            import torch
            from sklearn.datasets import load_breast_cancer
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            def main():
                table = load_breast_cancer()
                x = torch.tensor(table.data, dtype=torch.float32)
                y = torch.tensor(table.target, dtype=torch.long)
                net = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                for features, label in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True):
                    loss = nn.functional.cross_entropy(net(features), label)  # <-- NN315
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()


            main()
            """,
            why="A table with two classes, in a function.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Segmentation(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
                    self.out = nn.Conv2d(8, 1, kernel_size=1)

                def forward(self, x):
                    return self.out(self.body(x))


            class Trainer:
                def __init__(self):
                    self.net = Segmentation()
                    self.loss = nn.CrossEntropyLoss()
                    self.optimizer = torch.optim.Adam(self.net.parameters())

                def step(self, masks):
                    scores = self.net(torch.rand(4, 1, 64, 64))
                    loss = self.loss(scores, masks)  # <-- NN315
                    self.optimizer.zero_grad()
                    loss.backward()
                    self.optimizer.step()
            """,
            why="One channel for a mask.",
        ),
        Example(
            """
            # file: config.py
            OUTPUTS = 1
            # file: net.py
            import torch
            from torch import nn

            from config import OUTPUTS


            class Net(nn.Module):
                def __init__(self, outputs=OUTPUTS):
                    super().__init__()
                    self.hidden = nn.Linear(784, 100)
                    self.out = nn.Linear(100, outputs)

                def forward(self, x):
                    return self.out(torch.relu(self.hidden(x.view(x.size(0), -1))))
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from net import Net

            net = Net()
            optimizer = torch.optim.Adam(net.parameters())
            for x, y in DataLoader(torch.load("odd_or_even.pt"), batch_size=64, shuffle=True):
                loss = F.cross_entropy(net(x), y)  # <-- NN315
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The number of outputs is in another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms


            class CatDog(nn.Module):
                def __init__(self, outputs):
                    super().__init__()
                    self.conv = nn.Conv2d(3, 16, 3, padding=1)
                    self.fc = nn.Linear(16, outputs)

                def forward(self, x):
                    x = F.adaptive_avg_pool2d(F.relu(self.conv(x)), 1)
                    return self.fc(torch.flatten(x, 1))


            data = datasets.ImageFolder("cats_and_dogs", transforms.ToTensor())
            two, one = CatDog(2), CatDog(1)
            optimizer = torch.optim.Adam([*two.parameters(), *one.parameters()])
            for images, labels in DataLoader(data, batch_size=32, shuffle=True):
                optimizer.zero_grad()
                loss = F.cross_entropy(two(images), labels)
                loss = loss + F.binary_cross_entropy_with_logits(one(images).squeeze(1), labels.float())
                loss.backward()
                optimizer.step()
            """,
            why="Two outputs for cross-entropy, one for the binary version.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn


            class Scorer(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Linear(300, 64)
                    self.score = nn.Linear(64, 1)

                def forward(self, choices):
                    return self.score(torch.tanh(self.body(choices))).squeeze(-1)


            def train(batches):
                net = Scorer()
                optimizer = torch.optim.Adam(net.parameters())
                for choices, answer in batches:
                    loss = F.cross_entropy(net(choices), answer)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="One score for each of several choices: the choices are the classes.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class Span(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.rnn = nn.GRU(100, 64, batch_first=True)
                    self.start = nn.Linear(64, 1)

                def forward(self, x):
                    states, _ = self.rnn(x)
                    return self.start(states)


            net = Span()
            optimizer = torch.optim.Adam(net.parameters())
            for x, start in DataLoader(torch.load("squad.pt"), batch_size=8, shuffle=True):
                loss = F.cross_entropy(net(x), start.unsqueeze(1))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="In (N, T, 1) the positions are the classes.",
        ),
        Example(
            """
            # file: config.py
            import json

            OUTPUTS = json.load(open("config.json"))["outputs"]
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from config import OUTPUTS

            net = nn.Linear(20, OUTPUTS)
            scores = nn.Linear(20, 1)
            optimizer = torch.optim.Adam([*net.parameters(), *scores.parameters()])
            for x, y in DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True):
                pairs = scores(x) + scores(x).t()
                loss = F.cross_entropy(net(x), y) + F.cross_entropy(pairs, torch.arange(len(x)))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The number of outputs is not known; a table of pairs has a column for each sample.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for use in program.losses:
            shape = program.shapes.of(use.prediction) if use.loss.function == "cross_entropy" else None
            if shape is None or shape.rank is None or shape.rank < 2 or shape.dim(1) != 1:
                continue
            made = program.activation(use.prediction)
            yield self.finding(
                use.site,
                f"cross-entropy over one single class (scores of shape {shape}): the softmax of one number is 1, the "
                "loss is always 0 and has no gradient, so nothing is learned.",
                "Use `binary_cross_entropy_with_logits` (`BCEWithLogitsLoss`) with float targets, or give the model "
                "one output for each class.",
                evidence=[
                    Hop("the scores are made here", (made and made.site) or use.site, str(shape)),
                    Hop("and reach the loss here", use.site),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for use in run.losses:
            if use.function != "cross_entropy" or use.classes != 1 or len(use.input_shape) < 2 or not use.with_graph:
                continue
            values = run.stream("loss", use.key)
            if use.checked < self.number("evaluations") or values is None or use.first != 0 or use.last != 0:
                continue
            if any(row[0] != 0 for row in values.rows):
                continue
            module = run.of("module", use.maker)
            shape = "×".join(map(str, use.input_shape))
            evidence = [Hop("the loss is computed here", use.line, f"scores {shape}, loss always 0")]
            if module is not None:
                evidence.insert(0, Hop(f"`{module.name}` has one output", module.line or use.line, shape))
            yield self.finding(
                use.line,
                f"cross-entropy over one single class (scores of shape {shape}): the softmax of one number is 1, the "
                f"loss was 0 in all {use.evaluations} evaluations and has no gradient, so nothing is learned.",
                "Use `binary_cross_entropy_with_logits` (`BCEWithLogitsLoss`) with float targets, or give the model "
                "one output for each class.",
                evidence=evidence,
            )
