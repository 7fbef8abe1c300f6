"""NN314: a classifier is evaluated by its loss alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import metrics
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class LossIsTheOnlyMetric(Rule):
    """The evaluation of a classifier measures nothing but the loss.

    ## What it is

    An evaluation loop computes cross-entropy (or another loss of classes) on held-out data, and nowhere is a prediction
    held against a label: no accuracy, no area under a curve, no overlap, no perplexity.

    ## Why it hurts training

    A loss says little by itself: is 0.31 good? It can fall while a rare class is never found, and rise (through
    overconfidence) while accuracy still grows. A network that predicts background everywhere has a fine loss.

    ## How it is told apart from code that only looks alike

    - Regression is left alone: a squared or absolute error is a metric.
    - Any comparison of predictions with labels counts as a metric, and so does a name that speaks of one, in any file
      of the run.
    - It is advice, and off by default.

    ## What to do

    Report what the network is for: accuracy or, for unequal classes, recall of each class; intersection over union for
    masks; perplexity for text. Compare it with the best constant prediction.
    """

    code = "NN314"
    name = "loss-is-the-only-metric"
    points = (21,)
    severity = Severity.INFO
    triggers = ("eval", "no_grad", "inference_mode")

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 7))
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            loader = DataLoader(torch.load("train.pt"), 64, shuffle=True)
            held_out = DataLoader(torch.load("validation.pt"), 256)
            for epoch in range(20):
                model.train()
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(x), y)
                    loss.backward()
                    optimizer.step()
                model.eval()
                total = 0.0
                with torch.no_grad():
                    for x, y in held_out:  # <-- NN314
                        total += criterion(model(x), y).item()
                print(epoch, total / len(held_out))
            """,
            why="Only the mean loss is printed.",
        ),
        Example(
            """
            # file: engine.py
            import torch
            import torch.nn.functional as F


            @torch.no_grad()
            def validation_loss(network, batches, device):
                network.eval()
                losses = []
                for inputs, targets in batches:  # <-- NN314
                    outputs = network(inputs.to(device))
                    losses.append(F.binary_cross_entropy_with_logits(outputs, targets.to(device)).item())
                return sum(losses) / len(losses)

            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from engine import validation_loss

            network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
            optimizer = torch.optim.AdamW(network.parameters(), lr=3e-4)
            train = DataLoader(torch.load("train.pt"), 32, shuffle=True)
            validation = DataLoader(torch.load("validation.pt"), 32)
            best = float("inf")
            for epoch in range(30):
                network.train()
                for inputs, targets in train:
                    optimizer.zero_grad(set_to_none=True)
                    F.binary_cross_entropy_with_logits(network(inputs), targets).backward()
                    optimizer.step()
                loss = validation_loss(network, validation, "cpu")
                if loss < best:
                    best = loss
                    torch.save(network.state_dict(), "best.pt")
            """,
            why="The helper returns the mean loss, and the best weights are chosen by it.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, model, train, valid):
                    self.model, self.train_loader, self.valid_loader = model, train, valid
                    self.optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
                    self.criterion = nn.NLLLoss()

                def epoch(self):
                    self.model.train()
                    for images, labels in self.train_loader:
                        self.optimizer.zero_grad()
                        self.criterion(self.model(images), labels).backward()
                        self.optimizer.step()

                def validate(self):
                    self.model.eval()
                    running = 0.0
                    with torch.inference_mode():
                        for images, labels in self.valid_loader:  # <-- NN314
                            running += self.criterion(self.model(images), labels).item() * len(labels)
                    return running / len(self.valid_loader.dataset)


            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.LogSoftmax(dim=1))
            train, valid = torch.load("train.pt"), torch.load("valid.pt")
            trainer = Trainer(model, DataLoader(train, 64, shuffle=True), DataLoader(valid, 64))
            for number in range(10):
                trainer.epoch()
                print(number, trainer.validate())
            """,
            why="A trainer whose validation adds up losses.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, random_split

            data = torch.load("tiles.pt")
            train, test = random_split(data, [0.8, 0.2])
            net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 6, 1))
            loss_function = nn.CrossEntropyLoss(ignore_index=255)
            optimizer = torch.optim.Adam(net.parameters())
            for epoch in range(40):
                net.train()
                for tile, labels in DataLoader(train, 8, shuffle=True):
                    loss = loss_function(net(tile), labels)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                net.eval()
                test_loss = []
                with torch.no_grad():
                    for tile, labels in DataLoader(test, 8):  # <-- NN314
                        test_loss.append(loss_function(net(tile), labels).item())
                print(f"epoch {epoch}: {sum(test_loss) / len(test_loss):.3f}")
            """,
            why="Loss of a segmentation, in a list.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 7))
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            loader = DataLoader(torch.load("train.pt"), 64, shuffle=True)
            held_out = DataLoader(torch.load("validation.pt"), 256)
            for epoch in range(20):
                model.train()
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(x), y)
                    loss.backward()
                    optimizer.step()
                model.eval()
                total, right = 0.0, 0
                with torch.no_grad():
                    for x, y in held_out:
                        outputs = model(x)
                        total += criterion(outputs, y).item()
                        right += (outputs.argmax(1) == y).sum().item()
                print(epoch, total / len(held_out), right / len(held_out.dataset))
            """,
            why="Accuracy stands beside the loss.",
        ),
        Example(
            """
            # file: scores.py
            import numpy as np
            from sklearn.metrics import roc_auc_score


            def area(outputs, targets):
                return roc_auc_score(np.concatenate(targets), np.concatenate(outputs))

            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from scores import area

            network = nn.Linear(64, 1)
            optimizer = torch.optim.AdamW(network.parameters(), lr=3e-4)
            for inputs, targets in DataLoader(torch.load("train.pt"), 32, shuffle=True):
                optimizer.zero_grad()
                F.binary_cross_entropy_with_logits(network(inputs), targets).backward()
                optimizer.step()
            network.eval()
            outputs, truth, loss = [], [], 0.0
            with torch.no_grad():
                for inputs, targets in DataLoader(torch.load("validation.pt"), 32):
                    logits = network(inputs)
                    loss += F.binary_cross_entropy_with_logits(logits, targets).item()
                    outputs.append(logits.numpy())
                    truth.append(targets.numpy())
            print(loss, area(outputs, truth))
            """,
            why="The area under the curve is computed in another file.",
        ),
        Example(
            """
            import math

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Embedding(5000, 64), nn.Linear(64, 5000))
            optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
            for tokens in DataLoader(torch.load("train.pt"), 16, shuffle=True):
                optimizer.zero_grad()
                F.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:]).backward()
                optimizer.step()
            model.eval()
            losses = []
            with torch.no_grad():
                for tokens in DataLoader(torch.load("validation.pt"), 16):
                    losses.append(F.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:]).item())
            print("perplexity", math.exp(sum(losses) / len(losses)))
            """,
            why="Perplexity is the metric of a language model.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 1))
            criterion = nn.MSELoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for x, y in DataLoader(torch.load("train.pt"), 64, shuffle=True):
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
            model.eval()
            total = 0.0
            with torch.no_grad():
                for x, y in DataLoader(torch.load("validation.pt"), 256):
                    total += criterion(model(x), y).item()
            print(total)
            """,
            why="A squared error is a metric by itself.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for site, use in metrics.judged_by_loss_alone(program):
            yield self.finding(
                site,
                "This evaluation measures the loss and nothing else: no prediction is held against a label anywhere.",
                "Report accuracy, or what the network is for, beside the loss.",
                evidence=[Hop("the loss is computed here", use.site)],
            )
