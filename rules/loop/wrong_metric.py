"""NN517: a metric is computed of the wrong numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import metrics
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class WrongMetric(Rule):
    """Accuracy is taken with a threshold on logits, over the wrong axis, or divided by the number of batches.

    ## What it is

    - `outputs > 0.5` or `torch.round(outputs)` where the loss is `BCEWithLogitsLoss`: the outputs are scores around 0,
      not probabilities, and 0.5 stands for a probability of 62 percent.
    - `outputs.argmax(0)` of scores of shape (samples, classes): the best *sample* of each class.
    - `correct / len(loader)` where `correct` counts samples: `len` of a loader is its number of batches.

    ## Why it hurts training

    The model may learn well and the number that is watched says something else: an accuracy of 29 (or 2900 percent),
    or one that is biased against the positive class. Early stopping, the choice of a checkpoint and every comparison
    of hyperparameters follow that number.

    ## How it is told apart from code that only looks alike

    - `torch.sigmoid(outputs) > 0.5` and `outputs > 0` are right for logits; a model that ends in a sigmoid, or one
      that regresses 0 and 1, has its threshold at 0.5.
    - `correct / len(loader.dataset)` and a count of samples are right; so is a mean per batch divided by the number of
      batches, and a quotient that is divided by the batch size afterwards.
    - With `batch_size=1` both numbers are the same.
    - `argmax(0)` of the scores of one sample is right.

    That outputs are logits must be known from the loss that takes outputs of the same model. A threshold whose result
    is not seen being held against labels gives a `likely` finding.

    In a run: accuracies, precisions, recalls, F1, IoU, Dice and AUC that the script logs (TensorBoard, wandb,
    Lightning, MLflow, tqdm), outside 0..100.

    ## What to do

    ```python
    predicted = torch.sigmoid(outputs) > 0.5     # or: outputs > 0
    predicted = outputs.argmax(dim=1)
    accuracy = correct / len(loader.dataset)
    ```
    """

    code = "NN517"
    name = "wrong-metric"
    points = (21,)
    severity = Severity.ERROR
    triggers = ("BCEWithLogitsLoss", "binary_cross_entropy_with_logits", "argmax", "DataLoader")
    options = {"values": 2}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 1))
            criterion = nn.BCEWithLogitsLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            train_loader = DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True)
            valid_loader = DataLoader(torch.load("valid.pt"), batch_size=32)

            for epoch in range(50):
                for x, y in train_loader:
                    optimizer.zero_grad()
                    loss = criterion(model(x).squeeze(1), y.float())
                    loss.backward()
                    optimizer.step()
                hits, seen = 0, 0
                with torch.no_grad():
                    for x, y in valid_loader:
                        predicted = (model(x).squeeze(1) > 0.5).long()  # <-- NN517
                        hits += (predicted == y).sum().item()
                        seen += len(y)
                print(epoch, hits / seen)
            """,
            why="A threshold of 0.5 on logits.",
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
                    self.hidden = nn.Linear(784, 100)
                    self.out = nn.Linear(100, 10)

                def forward(self, x):
                    return self.out(F.relu(self.hidden(x.flatten(1))))


            def accuracy(model, loader):
                correct = 0
                with torch.no_grad():
                    for images, labels in loader:
                        predicted = model(images).argmax(dim=1)
                        correct += (predicted == labels).sum().item()
                return 100 * correct / len(loader)  # <-- NN517


            def main():
                net = Net()
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                train_loader = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True)
                test_loader = DataLoader(torch.load("test.pt"), batch_size=1000)
                for epoch in range(5):
                    for images, labels in train_loader:
                        optimizer.zero_grad()
                        F.cross_entropy(net(images), labels).backward()
                        optimizer.step()
                    print(epoch, accuracy(net, test_loader))


            main()
            """,
            why="Samples are counted and divided by batches.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, dataset):
                    self.model = nn.Sequential(nn.Linear(20, 40), nn.Tanh(), nn.Linear(40, 4))
                    self.criterion = nn.CrossEntropyLoss()
                    self.optimizer = torch.optim.RMSprop(self.model.parameters(), lr=1e-3)
                    self.loader = DataLoader(dataset, batch_size=16, shuffle=True)

                def fit(self, epochs):
                    for _ in range(epochs):
                        hits = 0
                        for x, y in self.loader:
                            scores = self.model(x)
                            loss = self.criterion(scores, y)
                            self.optimizer.zero_grad()
                            loss.backward()
                            self.optimizer.step()
                            _, predicted = torch.max(scores.data, 0)  # <-- NN517
                            hits += (predicted == y).sum().item()
                        print(hits / len(self.loader.dataset))


            Trainer(torch.load("vehicles.pt")).fit(20)
            """,
            why="The maximum over the samples.",
        ),
        Example(
            """
            # file: metrics.py
            import torch


            def binary_accuracy(outputs, labels):
                predicted = torch.round(outputs)  # <-- NN517
                return (predicted == labels).float().mean().item()
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from metrics import binary_accuracy


            def main():
                model = nn.Sequential(nn.EmbeddingBag(5000, 64), nn.Linear(64, 1), nn.Flatten(0))
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(5):
                    score = 0.0
                    loader = DataLoader(torch.load("reviews.pt"), batch_size=64, shuffle=True)
                    for words, labels in loader:
                        outputs = model(words)
                        loss = F.binary_cross_entropy_with_logits(outputs, labels)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                        score += binary_accuracy(outputs, labels)
                    print(epoch, score / len(loader))


            main()
            """,
            why="Logits are rounded by a helper of another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 1))
            criterion = nn.BCEWithLogitsLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            train_loader = DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True)
            valid_loader = DataLoader(torch.load("valid.pt"), batch_size=32)

            for epoch in range(50):
                hits = 0
                for x, y in train_loader:
                    optimizer.zero_grad()
                    scores = model(x).squeeze(1)
                    loss = criterion(scores, y.float())
                    loss.backward()
                    optimizer.step()
                    hits += ((scores > 0).long() == y).sum().item()
                right = 0
                with torch.no_grad():
                    for x, y in valid_loader:
                        predicted = torch.round(torch.sigmoid(model(x).squeeze(1)))
                        right += (predicted == y).sum().item()
                print(epoch, hits / len(train_loader.dataset), right / len(valid_loader.dataset))
            """,
            why="A threshold of 0 for logits, and 0.5 for probabilities.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def evaluate(model, loader, batch_size):
                correct, mean = 0, 0.0
                with torch.no_grad():
                    for x, y in loader:
                        predicted = model(x).argmax(1)
                        correct += (predicted == y).sum().item()
                        mean += (predicted == y).float().mean().item()
                print(correct / (len(loader) * batch_size), correct / len(loader) / batch_size)
                return mean / len(loader)


            def one_by_one(model, dataset):
                loader = DataLoader(dataset, batch_size=1)
                correct = 0
                for x, y in loader:
                    correct += (model(x).argmax(1) == y).sum().item()
                return correct / len(loader)


            def main(batch_size=64):
                model = nn.Linear(64, 10)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for x, y in DataLoader(torch.load("train.pt"), batch_size=batch_size, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                valid = torch.load("valid.pt")
                loader = DataLoader(valid, batch_size=batch_size, drop_last=True)
                print(evaluate(model, loader, batch_size), one_by_one(model, valid))


            main()
            """,
            why="Means per batch, a batch size in the denominator, and batches of one.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Perceptron:
                def __init__(self):
                    self.net = nn.Linear(8, 3)
                    self.loss = nn.CrossEntropyLoss()
                    self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01)

                def fit(self, rows):
                    right = 0
                    for x, y in rows:
                        scores = self.net(x)
                        loss = self.loss(scores.unsqueeze(0), y.unsqueeze(0))
                        self.optimizer.zero_grad()
                        loss.backward()
                        self.optimizer.step()
                        right += (scores.argmax(0) == y).item()
                    return right / len(rows)


            class Regressor:
                def __init__(self):
                    self.net = nn.Linear(8, 1)
                    self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01)

                def fit(self, x, y):
                    for _ in range(100):
                        outputs = self.net(x).squeeze(1)
                        self.optimizer.zero_grad()
                        nn.functional.mse_loss(outputs, y).backward()
                        self.optimizer.step()
                    return ((self.net(x).squeeze(1) > 0.5) == (y > 0.5)).float().mean()


            print(Perceptron().fit(torch.load("rows.pt")), Regressor().fit(*torch.load("all.pt")))
            """,
            why="One sample at a time has one axis; a regression to 0 and 1 has its threshold at 0.5.",
        ),
        Example(
            """
            # file: model.py
            import torch
            from torch import nn


            class Tagger(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.out = nn.Linear(300, 12)

                def forward(self, x):
                    return self.out(x)

                @torch.no_grad()
                def probabilities(self, x):
                    return torch.sigmoid(self(x))
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from model import Tagger


            def main(threshold=0.5):
                model = Tagger()
                optimizer = torch.optim.Adam(model.parameters())
                loader = DataLoader(torch.load("tags.pt"), batch_size=32, shuffle=True)
                for x, y in loader:
                    optimizer.zero_grad()
                    F.binary_cross_entropy_with_logits(model(x), y).backward()
                    optimizer.step()
                hits = sum(((model.probabilities(x) > threshold) == y.bool()).sum().item() for x, y in loader)
                print(hits / (12 * len(loader.dataset)))


            main()
            """,
            why="The threshold is on probabilities of another method.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Thresholds on logits, maxima over samples, and counts divided by the number of batches."""
        for found in metrics.wrong_scores(program):
            message, advice, hop = _TEXTS[found.kind]
            yield self.finding(
                found.site,
                message,
                advice,
                evidence=[Hop(hop, found.because)],
                confidence=Confidence.CERTAIN if found.known else Confidence.LIKELY,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for metric in run.metrics:
            words = set(re.findall(r"[a-z0-9]+", metric.name.lower()))
            if not words & _SHARES or metric.count < self.number("values"):
                continue
            if metric.low >= 0 and metric.high <= 100 * (1 + 1e-6):
                continue
            yield self.finding(
                metric.line,
                f"`{metric.name}` is a share and was logged with values from {metric.low:.4g} to {metric.high:.4g}: "
                "it is divided by the wrong number, or not at all.",
                "Divide the number of hits by the number of samples (not of batches) that were counted.",
                evidence=[Hop(f"logged through `{metric.through}`", metric.line, f"{metric.count} values")],
            )


_TEXTS = {
    "threshold": (
        (
            "0.5 is a threshold for probabilities, but these outputs are unnormalised scores (the loss at {0} applies "
            "the sigmoid itself): only what the model gives more than 62 percent counts as positive."
        ),
        "Compare `torch.sigmoid(outputs)` with 0.5, or the scores with 0.",
        "this loss takes the same outputs as logits",
    ),
    "round": (
        (
            "These outputs are unnormalised scores (the loss at {0} applies the sigmoid itself), and rounding them "
            "gives neither 0 nor 1: the comparison with the labels counts hardly anything rightly."
        ),
        "Round `torch.sigmoid(outputs)`.",
        "this loss takes the same outputs as logits",
    ),
    "batches": (
        (
            "Right answers are counted sample by sample and divided by `len` of the loader made at {0}, which is its "
            "number of batches: the accuracy is too large by the batch size."
        ),
        "Divide by the number of samples: `len(loader.dataset)`.",
        "this loader hands out batches",
    ),
    "axis": (
        (
            "This takes the maximum over axis 0, the samples of the batch: the loss at {0} takes the same scores with "
            "classes along axis 1, so the result is the best sample of each class."
        ),
        "Use `argmax(dim=1)`.",
        "this loss takes classes along axis 1",
    ),
}


_SHARES = frozenset("acc accuracy precision recall f1 iou miou dice auc auroc top1 top5".split())
"""Words in the names of metrics that are shares, given from 0 to 1 or in percent."""
