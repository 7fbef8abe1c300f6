"""NN503: an evaluation records a graph that nobody uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import watching
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class EvaluationRecordsGraph(Rule):
    """The model is evaluated with gradients switched on, and no gradient is ever asked for.

    ## What it is

    `eval()` changes what dropout and batch normalization do; it does not switch off the recording of gradients. Here
    the trained model runs over evaluation data outside of `torch.no_grad()` and `torch.inference_mode()`: every
    operation keeps what its derivative needs, and no `backward()` and no `torch.autograd.grad` follows.

    ## Why it hurts training

    Evaluation takes several times the memory that it needs, because all activations of all layers are kept until the
    output is forgotten. It is slower, and it limits the batch size, or ends in an out-of-memory error far into a run.
    Collecting the outputs in a list keeps the graphs of the whole data set. The numbers themselves are right.

    ## How it is told apart from code that only looks alike

    - Saliency maps, adversarial attacks and gradient penalties on evaluation data do use the graph.
    - Batches of a loader that is trained on are training, also where a step is skipped.
    - A frozen network records nothing, whatever the mode.
    - Copies and averages of the model that are never trained are not judged.

    In the source, a loop over data runs a model that is trained elsewhere in the project, with gradients on, and
    nothing in it is differentiated; the model was switched to evaluation before. Unseen code may still use the graph,
    so the finding is `likely`.

    In a run, at least 5 outputs were asked whether a derivative came back to them, all of them carried a graph, none
    was used, and no batch of their loader was followed by `backward()`. Where batches are made by hand, the network
    must have been in evaluation mode there and in training mode in training, and the finding is only likely. The
    number is the project's own choice.

    ## What to do

    ```python
    model.eval()
    with torch.inference_mode():  # or torch.no_grad()
        for inputs, targets in val_loader:
            outputs = model(inputs)
    ```
    """

    code = "NN503"
    name = "evaluation-records-graph"
    points = (32,)
    severity = Severity.WARNING
    triggers = ("backward",)
    options = {"calls": 5}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(784, 200), nn.ReLU(), nn.Dropout(0.3), nn.Linear(200, 10))
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            train_loader = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True)
            test_loader = DataLoader(torch.load("test.pt"), batch_size=64)

            for epoch in range(10):
                model.train()
                for images, labels in train_loader:
                    optimizer.zero_grad()
                    loss = criterion(model(images.flatten(1)), labels)
                    loss.backward()
                    optimizer.step()
                model.eval()
                correct = 0
                for images, labels in test_loader:
                    outputs = model(images.flatten(1))  # <-- NN503
                    correct += (outputs.argmax(dim=1) == labels).sum().item()
                print(epoch, correct / len(test_loader.dataset))
            """,
            why="eval() but no no_grad(), in a script.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Forecaster(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.rnn = nn.GRU(6, 48, batch_first=True)
                    self.drop = nn.Dropout(0.1)
                    self.out = nn.Linear(48, 12)

                def forward(self, series):
                    return self.out(self.drop(self.rnn(series)[0][:, -1]))


            def train(model, loader, optimizer):
                model.train()
                for series, target in loader:
                    optimizer.zero_grad()
                    loss = F.l1_loss(model(series), target)
                    loss.backward()
                    optimizer.step()


            def validate(model, loader):
                model.eval()
                losses = []
                for series, target in loader:
                    losses.append(F.l1_loss(model(series), target).item())  # <-- NN503
                return sum(losses) / len(losses)


            def main():
                model = Forecaster()
                optimizer = torch.optim.Adam(model.parameters())
                train_loader = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True)
                valid_loader = DataLoader(torch.load("valid.pt"), batch_size=64)
                for epoch in range(30):
                    train(model, train_loader, optimizer)
                    print(epoch, validate(model, valid_loader))


            main()
            """,
            why="Training and validation as functions.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import mobilenet_v2


            class Trainer:
                def __init__(self, train_set, valid_set):
                    self.net = mobilenet_v2(num_classes=8)
                    self.loss = nn.CrossEntropyLoss()
                    self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.05, momentum=0.9)
                    self.train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
                    self.valid_loader = DataLoader(valid_set, batch_size=32)

                def train_epoch(self):
                    self.net.train()
                    for images, labels in self.train_loader:
                        self.optimizer.zero_grad()
                        self.loss(self.net(images), labels).backward()
                        self.optimizer.step()

                def valid_epoch(self):
                    self.net.eval()
                    total = 0.0
                    for images, labels in self.valid_loader:
                        total += self.loss(self.net(images), labels).item()  # <-- NN503
                    return total / len(self.valid_loader)

                def fit(self, epochs):
                    for epoch in range(epochs):
                        self.train_epoch()
                        print(epoch, self.valid_epoch())


            Trainer(torch.load("train.pt"), torch.load("valid.pt")).fit(20)
            """,
            why="A trainer's validation epoch.",
        ),
        Example(
            """
            # file: evaluation.py
            import torch


            def predictions(model, loader):
                model.eval()
                found = []
                for features, _ in loader:
                    found.append(model(features).argmax(dim=1))  # <-- NN503
                return torch.cat(found)
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from evaluation import predictions

            model = nn.Sequential(nn.Linear(54, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 7))
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            train_loader = DataLoader(torch.load("train.pt"), batch_size=512, shuffle=True)
            test_loader = DataLoader(torch.load("test.pt"), batch_size=512)
            for epoch in range(5):
                model.train()
                for features, labels in train_loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(features), labels).backward()
                    optimizer.step()
            torch.save(predictions(model, test_loader), "predicted.pt")
            """,
            why="The evaluating function stands in another file.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))
            optimizer = torch.optim.Adam(model.parameters())
            train_loader = DataLoader(torch.load("train.pt"), batch_size=16, shuffle=True)
            test_loader = DataLoader(torch.load("test.pt"), batch_size=16)
            for epoch in range(20):
                for noisy, clean in train_loader:
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(noisy), clean).backward()
                    optimizer.step()
                total = 0.0
                for noisy, clean in test_loader:
                    restored = model(noisy)  # <-- NN503
                    total += nn.functional.mse_loss(restored, clean).item()
                print(epoch, total / len(test_loader))
            """,
            why="A network without dropout, whose author left out eval() as well.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(784, 200), nn.ReLU(), nn.Dropout(0.3), nn.Linear(200, 10))
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            train_loader = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True)
            test_loader = DataLoader(torch.load("test.pt"), batch_size=64)

            for epoch in range(10):
                model.train()
                for images, labels in train_loader:
                    optimizer.zero_grad()
                    loss = criterion(model(images.flatten(1)), labels)
                    loss.backward()
                    optimizer.step()
                model.eval()
                correct = 0
                with torch.no_grad():
                    for images, labels in test_loader:
                        outputs = model(images.flatten(1))
                        correct += (outputs.argmax(dim=1) == labels).sum().item()
                print(epoch, correct / len(test_loader.dataset))
            """,
            why="The same under no_grad.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def train(model, loader, optimizer):
                model.train()
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()


            def robust_accuracy(model, loader, epsilon):
                model.eval()
                hits = 0
                for x, y in loader:
                    x.requires_grad_()
                    loss = F.cross_entropy(model(x), y)
                    (gradient,) = torch.autograd.grad(loss, x)
                    with torch.no_grad():
                        hits += (model(x + epsilon * gradient.sign()).argmax(1) == y).sum().item()
                return hits


            def saliency(model, loader):
                model.eval()
                maps = []
                for x, y in loader:
                    x.requires_grad_()
                    model(x).gather(1, y[:, None]).sum().backward()
                    maps.append(x.grad.abs())
                return torch.cat(maps)


            net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 10))
            optimizer = torch.optim.Adam(net.parameters())
            train_loader = DataLoader(torch.load("train.pt"), batch_size=128, shuffle=True)
            test_loader = DataLoader(torch.load("test.pt"), batch_size=128)
            for epoch in range(20):
                train(net, train_loader, optimizer)
                print(epoch, robust_accuracy(net, test_loader, 8 / 255))
            torch.save(saliency(net, test_loader), "saliency.pt")
            """,
            why="An attack and a saliency map use the graph.",
        ),
        Example(
            """
            # file: evaluation.py
            import torch


            @torch.inference_mode()
            def evaluate(model, loader, metric):
                was_training = model.training
                model.eval()
                for x, y in loader:
                    metric.update(model(x), y)
                model.train(was_training)
                return metric.compute()
            # file: train.py
            import torch
            import torch.nn.functional as F
            import torchmetrics
            from torch import nn
            from torch.utils.data import DataLoader

            from evaluation import evaluate


            def main():
                model = nn.Sequential(nn.Linear(40, 80), nn.ReLU(), nn.Dropout(0.2), nn.Linear(80, 3))
                optimizer = torch.optim.Adam(model.parameters())
                train_loader = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True)
                valid_loader = DataLoader(torch.load("valid.pt"), batch_size=64)
                for epoch in range(10):
                    for x, y in train_loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    print(evaluate(model, valid_loader, torchmetrics.Accuracy(task="multiclass", num_classes=3)))


            main()
            """,
            why="A decorated function in another file.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class Calibrator:
                def __init__(self, model):
                    self.model = model
                    self.temperature = nn.Parameter(torch.ones(1))

                def fit(self, loader):
                    self.model.eval()
                    scores, labels = [], []
                    for x, y in loader:
                        scores.append(self.model(x))
                        labels.append(y)
                    scores, labels = torch.cat(scores), torch.cat(labels)
                    optimizer = torch.optim.SGD([self.temperature, *self.model.parameters()], lr=0.001)
                    for _ in range(50):
                        optimizer.zero_grad()
                        F.cross_entropy(scores / self.temperature, labels).backward(retain_graph=True)
                        optimizer.step()


            def main():
                model = nn.Linear(20, 4)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                Calibrator(model).fit(DataLoader(torch.load("calibration.pt"), batch_size=256))


            main()
            """,
            why="The outputs collected here are differentiated later.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Evaluation loops that run a trained model with gradients on and use no graph."""
        for forward, loop in watching.recording_evaluations(program):
            yield self.finding(
                forward.site,
                "This evaluation records gradients and nothing uses them: `eval()` does not switch recording off, so "
                "every activation of the model is kept in memory until the output is forgotten.",
                "Put the evaluation into `with torch.no_grad():` or `torch.inference_mode()`.",
                evidence=[Hop("evaluation runs over the data here", loop)],
                confidence=Confidence.LIKELY,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for found in run.passes:
            module, loader = run.of("module", found.module), run.of("loader", found.loader)
            if not found.grad or found.used or module is None:
                continue
            by_hand = loader is None and not found.training
            if not by_hand and not evidence.evaluates(loader):
                continue
            if found.graph < self.number("calls") or found.graph < found.watched or found.consumed:
                continue
            trained = evidence.trained_passes(run, found.module)
            if not trained or (by_hand and not all(other.training for other in trained)):
                continue
            batches = "in evaluation mode" if by_hand else "on a loader that is never trained on"
            yield self.finding(
                found.line,
                f"The evaluation of `{module.name}` records gradients: {found.calls} forward passes {batches}, "
                f"none of the {found.graph} graphs looked at was used. They hold all activations "
                "in memory.",
                "Put the evaluation into `with torch.no_grad():` or `torch.inference_mode()`.",
                evidence=[
                    Hop("evaluated here, with gradients on", found.line, f"{found.calls} calls"),
                    *([] if loader is None else [Hop("the loader of these batches", loader.line, "0 trained on")]),
                    Hop("trained here", trained[0].line, f"{trained[0].calls} calls"),
                ],
                confidence=Confidence.LIKELY if by_hand else Confidence.CERTAIN,
            )
