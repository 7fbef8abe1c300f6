"""NN609: the optimizer holds the parameters of before a change of the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import updates
from ...tracer import evidence
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class StaleOptimizer(Rule):
    """The optimizer was made before a layer was replaced, added or unfrozen, and never gets the new parameters.

    ## What it is

    An optimizer collects the parameters once, when it is made. Here the model is changed afterwards: a new head takes
    the place of the old one, a layer is added, or a frozen part that `filter(lambda p: p.requires_grad, ...)` had left
    out is told to require gradients again. The optimizer goes on with the old collection.

    ## Why it hurts training

    The new layer stays as it was initialised, and the optimizer keeps updating a layer that is no longer part of the
    model. A replaced head is the worst case: everything else adapts to a random projection. Nothing fails, because
    gradients are computed for the new layer as for any other.

    ## How it is told apart from code that only looks alike

    - Parameters added with `add_param_group` are known to the optimizer.
    - An optimizer that is made anew after the change has them all.
    - Freezing and unfreezing is harmless for an optimizer that was given *all* parameters.
    - Wrapping a layer (`DataParallel`, `torch.compile`) keeps its parameters.
    - Layers without parameters (`model.fc = nn.Identity()`) change nothing for the optimizer.
    - Parts that no optimizer was ever given are `parameters-not-optimized`.

    In a run: an optimizer of which no parameter ever had a gradient (10 steps), and parameters of the same shapes
    that get gradients and are in no optimizer.

    ## What to do

    Change the model first, and make the optimizer last:

    ```python
    model = resnet18(weights="DEFAULT")
    model.fc = nn.Linear(512, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    ```
    """

    code = "NN609"
    name = "stale-optimizer"
    points = (23,)
    severity = Severity.ERROR
    triggers = ("backward",)
    options = {"steps": 10}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import resnet18

            model = resnet18(weights="DEFAULT")
            optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
            model.fc = nn.Linear(512, 2)  # <-- NN609
            criterion = nn.CrossEntropyLoss()
            loader = DataLoader(torch.load("bees.pt"), batch_size=8, shuffle=True)

            for epoch in range(25):
                for images, labels in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(images), labels)
                    loss.backward()
                    optimizer.step()
                print(epoch, loss.item())
            """,
            why="The head is replaced after the optimizer was made.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Tagger(nn.Module):
                def __init__(self, words, tags):
                    super().__init__()
                    self.embedding = nn.Embedding(words, 100)
                    self.rnn = nn.LSTM(100, 100, batch_first=True)
                    self.out = nn.Linear(100, tags)

                def forward(self, x):
                    return self.out(self.rnn(self.embedding(x))[0])

                def grow(self, tags):
                    self.out = nn.Linear(100, tags)  # <-- NN609


            def train(model, optimizer, loader):
                for words, tags in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(words).flatten(0, 1), tags.flatten()).backward()
                    optimizer.step()


            def main():
                model = Tagger(20000, 12)
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                train(model, optimizer, DataLoader(torch.load("coarse.pt"), batch_size=32, shuffle=True))
                model.grow(45)
                train(model, optimizer, DataLoader(torch.load("fine.pt"), batch_size=32, shuffle=True))


            main()
            """,
            why="The second task gets a new head, in a method, and keeps the old optimizer.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import vgg16


            class FineTuner:
                def __init__(self, classes):
                    self.model = vgg16(weights="DEFAULT")
                    self.model.classifier[6] = nn.Linear(4096, classes)
                    for p in self.model.features.parameters():
                        p.requires_grad = False
                    trainable = filter(lambda p: p.requires_grad, self.model.parameters())
                    self.optimizer = torch.optim.Adam(trainable, lr=1e-4)
                    self.criterion = nn.CrossEntropyLoss()

                def run(self, loader, epochs):
                    for _ in range(epochs):
                        for images, labels in loader:
                            self.optimizer.zero_grad()
                            self.criterion(self.model(images), labels).backward()
                            self.optimizer.step()

                def unfreeze(self):
                    for p in self.model.features.parameters():
                        p.requires_grad = True  # <-- NN609


            if __name__ == "__main__":
                tuner = FineTuner(102)
                data = DataLoader(torch.load("flowers.pt"), batch_size=32, shuffle=True)
                tuner.run(data, 5)
                tuner.unfreeze()
                tuner.run(data, 20)
            """,
            why="The features are unfrozen, but filter had left them out of the optimizer.",
        ),
        Example(
            """
            # file: heads.py
            from torch import nn


            def new_head(model, classes):
                model.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))  # <-- NN609
                return model
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision.models import mobilenet_v2

            from heads import new_head


            def main():
                model = mobilenet_v2(weights="DEFAULT")
                optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
                model = new_head(model, 37)
                for images, labels in DataLoader(torch.load("pets.pt"), batch_size=64, shuffle=True):
                    loss = F.cross_entropy(model(images), labels)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()


            main()
            """,
            why="A helper of another file replaces the head.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import resnet18

            model = resnet18(weights="DEFAULT")
            for p in model.parameters():
                p.requires_grad = False
            model.fc = nn.Linear(512, 2)
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.001, momentum=0.9)
            loader = DataLoader(torch.load("bees.pt"), batch_size=8, shuffle=True)

            for epoch in range(25):
                for images, labels in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(images), labels)
                    loss.backward()
                    optimizer.step()
            for p in model.parameters():
                p.requires_grad = True
            optimizer = torch.optim.SGD(model.parameters(), lr=0.0001, momentum=0.9)
            for images, labels in loader:
                optimizer.zero_grad()
                criterion(model(images), labels).backward()
                optimizer.step()
            """,
            why="Head first; a second optimizer after the unfreezing.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Growing(nn.Module):
                def __init__(self, features):
                    super().__init__()
                    self.body = nn.Linear(features, 64)
                    self.head = nn.Linear(64, 2)

                def forward(self, x):
                    return self.head(F.relu(self.body(x)))


            def train(model, optimizer, loader):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()


            def grow(model, tasks):
                for classes in tasks:
                    model.head = nn.Linear(64, classes)
                    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                    train(model, optimizer, DataLoader(torch.load(f"{classes}.pt"), batch_size=32, shuffle=True))


            def main():
                model = Growing(30)
                grow(model, torch.load("tasks.pt"))
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                loader = DataLoader(torch.load("first.pt"), batch_size=32, shuffle=True)
                train(model, optimizer, loader)
                model.head = nn.Linear(64, 5)
                optimizer.add_param_group({"params": model.head.parameters()})
                train(model, optimizer, DataLoader(torch.load("second.pt"), batch_size=32, shuffle=True))


            main()
            """,
            why="The new head is added to the optimizer, or each head gets an optimizer of its own.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import resnet50


            class Schedule:
                def __init__(self, model):
                    self.model = model
                    self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)

                def freeze(self, frozen):
                    for p in self.model.layer1.parameters():
                        p.requires_grad = not frozen

                def run(self, loader):
                    for epoch in range(10):
                        if epoch == 0:
                            self.freeze(True)
                        if epoch == 3:
                            for p in self.model.parameters():
                                p.requires_grad = True
                        for x, y in loader:
                            self.optimizer.zero_grad()
                            nn.functional.cross_entropy(self.model(x), y).backward()
                            self.optimizer.step()


            net = resnet50(num_classes=10)
            Schedule(net).run(DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True))
            """,
            why="The optimizer was given all parameters, frozen or not.",
        ),
        Example(
            """
            # file: wrap.py
            import torch
            from torch import nn


            def speed_up(model):
                model.features = nn.DataParallel(model.features)
                model.classifier = torch.compile(model.classifier)
                return model
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from wrap import speed_up


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.features = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
                    self.classifier = nn.Linear(64, 10)

                def forward(self, x):
                    return self.classifier(self.features(x))


            def embed(model, loader):
                model.classifier = nn.Identity()
                return [model(x) for x, _ in loader]


            model = Net()
            optimizer = torch.optim.Adam(model.parameters())
            loader = DataLoader(torch.load("digits.pt"), batch_size=32, shuffle=True)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(speed_up(model)(x), y).backward()
                optimizer.step()
            torch.save(embed(model, loader), "embedded.pt")
            """,
            why="Wrapped layers keep their parameters; the head is taken off after the training.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Base(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.build()

                def build(self):
                    pass


            class Segmenter(Base):
                def build(self):
                    self.body = nn.Conv2d(3, 8, 3)
                    self.aux = nn.Conv2d(8, 2, 1)

                def train(self, mode=True):
                    if not hasattr(self, "aux"):
                        self.aux = nn.Conv2d(8, 2, 1)
                    return super().train(mode)

                def forward(self, x):
                    return self.aux(self.body(x))


            model = Segmenter()
            optimizer = torch.optim.Adam(model.parameters())
            model.train()
            for x, y in torch.load("masks.pt"):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            """,
            why="What is asked for is there from the start.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Changes of a model between the making of its optimizer and a step."""
        for found in updates.stale_optimizers(program):
            what = (
                f"This new {program.class_name(found.part)} takes its place in the model after the optimizer at {{0}} "
                "had collected the parameters: the step at {1} does not know it, and it stays as it was initialised."
                if found.part is not None
                else "These parameters are told to learn again, but the optimizer at {0} was given only what required "
                "gradients when it was made: the step at {1} leaves them as they are."
            )
            yield self.finding(
                found.change.site,
                what,
                "Make the optimizer after this change, or give it the parameters with `add_param_group`.",
                evidence=[
                    Hop("the optimizer collects the parameters here", found.optimizer.site),
                    Hop("and steps here", found.step.site),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for optimizer in run.optimizers:
            free = evidence.replaced(run, optimizer, self.number("steps"))
            if not free:
                continue
            yield self.finding(
                optimizer.line,
                f"None of the {len(optimizer.parameters)} parameters of this optimizer had a gradient at any of "
                f"{optimizer.steps} steps, "
                f"while {evidence.listed(p.name for p in free)} of the same shapes get gradients and are in no "
                "optimizer: it holds the parameters of another model, or of before a change.",
                "Make the optimizer after the last change of the model, from the model that is trained.",
                evidence=[Hop("it steps here", optimizer.step_line, f"{optimizer.steps} steps without a gradient")],
            )
