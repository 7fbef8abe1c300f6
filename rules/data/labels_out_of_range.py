"""NN111: the head of the model does not have as many scores as there are classes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import labels
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class LabelsOutOfRange(Rule):
    """The last layer gives fewer scores than the data has classes, so that some labels have none.

    ## What it is

    A classifier with `C` scores can be trained on labels from 0 to `C - 1`. Here the last layer is narrower than the
    number of classes of the dataset: a head that was copied from another project, labels that count from 1, a
    dataset that was exchanged for a larger one.

    ## Why it hurts training

    On a CPU the first label that is too large raises an error, perhaps only after some batches. On a GPU it is an
    assertion of a kernel that ends the process and names another line, or, with `ignore_index` or in a hand-written
    loss that indexes, a read of some other number. A head that is *wider* than needed trains, but wastes scores;
    where it is a thousand, the head of ImageNet was probably forgotten. That is only advice.

    ## How it is told apart from code that only looks alike

    - Both numbers must be known: the width of the last `Linear` (or `num_classes`), and a dataset with a fixed number
      of classes.
    - `Subset`s by indices of one's own may hold some classes only; so may datasets whose `targets` are replaced or
      that have a `target_transform`.
    - Labels that are compared, mapped or shifted on the way (`labels == 0`, `labels - 1`) have other numbers.
    - In a run, the loss has refused a target: the label and the layer that gives the scores are named. (On a GPU the
      process ends before anything can be read.)

    ## What to do

    Take the width from the data: `nn.Linear(features, len(dataset.classes))`. Where labels count from 1, subtract 1.
    """

    code = "NN111"
    name = "labels-out-of-range"
    points = (1, 4)
    severity = Severity.ERROR
    triggers = ("cross_entropy", "CrossEntropyLoss", "nll_loss", "NLLLoss")

    bad = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            train_set = datasets.CIFAR100("data", train=True, transform=transforms.ToTensor())
            loader = DataLoader(train_set, batch_size=128, shuffle=True)
            model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 256), nn.ReLU(), nn.Linear(256, 10))  # <-- NN111
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(10):
                for images, labels in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(images), labels).backward()
                    optimizer.step()
            """,
            why="The head of CIFAR-10 on CIFAR-100; a flat script.",
        ),
        Example(
            """
            # file: net.py
            from torch import nn


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv = nn.Conv2d(1, 32, 3)
                    self.fc = nn.Linear(32 * 26 * 26, 26)

                def forward(self, x):
                    features = self.conv(x).relu().flatten(1)
                    scores = self.fc(features)  # <-- NN111
                    return scores.log_softmax(dim=1)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import transforms
            from torchvision.datasets import EMNIST

            from net import Net


            def main():
                data = EMNIST("data", split="letters", train=True, transform=transforms.ToTensor())
                model, criterion = Net(), nn.NLLLoss()
                optimizer = torch.optim.Adam(model.parameters())
                for images, letters in DataLoader(data, batch_size=64, shuffle=True):
                    optimizer.zero_grad()
                    output = model(images)
                    criterion(output, letters).backward()
                    optimizer.step()


            main()
            """,
            why="The letters of EMNIST count from 1: 26 scores are one too few.",
        ),
        Example(
            """
            import torch
            from sklearn.datasets import load_iris
            from sklearn.model_selection import train_test_split
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            class Trainer:
                def __init__(self):
                    iris = load_iris()
                    x_train, x_test, y_train, y_test = train_test_split(iris.data, iris.target, stratify=iris.target)
                    data = TensorDataset(torch.tensor(x_train).float(), torch.tensor(y_train).long())
                    self.loader = DataLoader(data, batch_size=16, shuffle=True)
                    self.model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))  # <-- NN111
                    self.loss = nn.CrossEntropyLoss()
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def fit(self):
                    for x, y in self.loader:
                        self.optimizer.zero_grad()
                        self.loss(self.model(x), y).backward()
                        self.optimizer.step()


            Trainer().fit()
            """,
            why="Two scores for the three species of the iris data.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, random_split
            from torchvision import datasets, transforms
            from torchvision.models import resnet18

            transform = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])
            train_set, val_set = random_split(datasets.OxfordIIITPet("data", transform=transform), [0.9, 0.1])
            model = resnet18(num_classes=35)  # <-- NN111
            optimizer = torch.optim.Adam(model.parameters())
            for images, breeds in DataLoader(train_set, batch_size=32, shuffle=True):
                optimizer.zero_grad()
                scores = model(images)
                nn.functional.cross_entropy(scores, breeds).backward()
                optimizer.step()
            """,
            why="A model of torchvision that was told the wrong number of classes.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader, Subset
            from torchvision import datasets, transforms

            whole = datasets.MNIST("data", transform=transforms.ToTensor())
            ones_and_zeros = Subset(whole, [i for i, label in enumerate(whole.targets) if label < 2])
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
            wide = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
            optimizer = torch.optim.SGD([*model.parameters(), *wide.parameters()], lr=0.1)
            for images, labels in DataLoader(ones_and_zeros, 64, shuffle=True):
                optimizer.zero_grad()
                F.cross_entropy(model(images), labels).backward()
                optimizer.step()
            for images, labels in DataLoader(whole, 64, shuffle=True):
                optimizer.zero_grad()
                loss = F.cross_entropy(wide(images), labels) + F.cross_entropy(model(images), (labels % 2).long())
                loss.backward()
                optimizer.step()
            """,
            why="Two digits only, and labels mapped to even and odd.",
        ),
        Example(
            """
            # file: data.py
            from torchvision import datasets, transforms


            def letters(root):
                return datasets.EMNIST(
                    root, split="letters", transform=transforms.ToTensor(), target_transform=lambda label: label - 1
                )
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from data import letters

            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 26))
            optimizer = torch.optim.Adam(model.parameters())
            for images, labels in DataLoader(letters("data"), 64, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
            """,
            why="The labels are moved to begin with 0.",
        ),
        Example(
            """
            import torch
            from sklearn.datasets import load_iris, load_wine
            from torch import nn


            class Trainer:
                def __init__(self, x, y, classes):
                    self.x, self.y = torch.tensor(x).float(), torch.tensor(y)
                    self.model = nn.Linear(x.shape[1], classes)
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def fit(self):
                    for _ in range(100):
                        self.optimizer.zero_grad()
                        nn.functional.cross_entropy(self.model(self.x), self.y).backward()
                        self.optimizer.step()


            x, y = load_iris(return_X_y=True)
            Trainer(x[y < 2], y[y < 2], 2).fit()
            Trainer(*load_wine(return_X_y=True), 3).fit()
            """,
            why="Two of three species, and a head for all three cultivars.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            data = datasets.CIFAR10("data", transform=transforms.ToTensor())
            data.targets = [int(label in (2, 3, 4, 5, 6, 7)) for label in data.targets]
            model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 2))
            optimizer = torch.optim.Adam(model.parameters())
            for images, animal in DataLoader(data, 64, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images), animal).backward()
                optimizer.step()
            """,
            why="The labels of the data set are replaced: animal or not.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in labels.wrong_widths(program):
            narrow = found.width.count < found.classes.count
            words = f"{found.width.count} scores for the {found.classes.count} classes of {found.classes.words}"
            yield self.finding(
                found.width.site,
                f"The model gives {words} (made at {{0}}): labels from {found.width.count} on have no score."
                if narrow
                else f"The model gives {words} (made at {{0}}): the others are never the right answer.",
                "Take the width of the last layer from the data, `len(dataset.classes)`.",
                evidence=[Hop("the data set", found.classes.site), Hop("the loss compares them here", found.loss)],
                severity=None if narrow else Severity.INFO,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        """The script ended because a class index had no score; the layer that sets their number is named."""
        for failure in run.failures:
            use = run.of("loss", failure.loss)
            outside = _OUTSIDE.search(failure.message)
            if failure.type != "IndexError" or outside is None or use is None or not use.classes:
                continue
            label, head = int(outside[1]), run.of("module", use.maker)
            if label < 0 or label == use.classes:
                advice = "Number the classes from 0: `labels - 1` where they count from 1, `ignore_index` for padding."
            else:
                advice = f"Give the last layer {label + 1} outputs or more, or find out where label {label} comes from."
            hops = [Hop("the run ends here", failure.line, failure.type)]
            if head is not None and head.line is not None:
                hops.insert(0, Hop(f"`{head.name}` ({head.class_name}) gives the scores", head.line, f"{use.classes}"))
            yield self.finding(
                use.line,
                f"A target is class {label}, and there are scores for the classes 0 to {use.classes - 1} only: the "
                "loss cannot be computed, and the run ends. On a GPU the same shows as a device-side assert.",
                advice,
                evidence=hops,
            )


_OUTSIDE = re.compile(r"Target (-?\d+) is out of bounds")
"""What torch says on the CPU."""
