"""NN119: the targets are not of the kind that the loss compares with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import labels
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class LabelKindMismatch(Rule):
    """Numbers of classes go into a binary loss, or several marks a sample into a loss for one class.

    ## What it is

    `BCELoss` and `BCEWithLogitsLoss` compare each score with 0 or 1, `CrossEntropyLoss` with the number of one class.
    Here the numbers of more than two classes are made float and compared by a binary loss; or targets that mark
    several classes of a sample (`MultiLabelBinarizer`, the attributes of CelebA) go into cross-entropy.

    ## Why it hurts training

    A binary loss of the target 7 is not an error: it is a loss without a minimum, -7 times a logarithm, that pulls
    all scores towards infinity and grows more negative from epoch to epoch. Cross-entropy on several marks makes the
    classes compete: the best that a model can give a sample with three labels is a third for each, and `argmax` names
    one of them. Both run without a word.

    ## How it is told apart from code that only looks alike

    - Labels that become 0 and 1 on the way (`labels == 3`, `labels % 2`, `one_hot`) fit a binary loss.
    - Data with two classes fits both losses. Data sets and encoders must be known.
    - One-hot or smoothed targets are legal in cross-entropy.
    - CelebA's `identity` is one class a sample.

    In a run: cross-entropy whose floating-point targets have rows that do not sum to 1 (at 3 evaluations at least),
    and binary cross-entropy with targets outside 0..1.

    ## What to do

    One class a sample: `CrossEntropyLoss` on scores of shape (N, C) and integer labels of shape (N).
    Several: `BCEWithLogitsLoss` on scores and float targets of shape (N, C), and a threshold to read them.
    """

    code = "NN119"
    name = "label-kind-mismatch"
    points = (1, 19)
    severity = Severity.ERROR
    triggers = (
        "BCELoss",
        "BCEWithLogitsLoss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "MultiLabelBinarizer",
        "CelebA",
    )
    options = {"evaluations": 3}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            loader = DataLoader(datasets.MNIST("data", transform=transforms.ToTensor()), batch_size=64, shuffle=True)
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 1))
            criterion = nn.BCEWithLogitsLoss()
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(5):
                for images, digits in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(images).squeeze(1), digits.float())  # <-- NN119
                    loss.backward()
                    optimizer.step()
            """,
            why="The digits 0 to 9 in a binary loss; a flat script.",
        ),
        Example(
            """
            import torch
            from sklearn.preprocessing import MultiLabelBinarizer
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            def load(path):
                vectors, genres = torch.load(path)
                marks = MultiLabelBinarizer().fit_transform(genres)
                return TensorDataset(vectors, torch.tensor(marks, dtype=torch.float32)), marks.shape[1]


            def main():
                data, classes = load("films.pt")
                model = nn.Sequential(nn.Linear(300, 128), nn.ReLU(), nn.Linear(128, classes))
                criterion = nn.CrossEntropyLoss()
                optimizer = torch.optim.Adam(model.parameters())
                for vectors, marks in DataLoader(data, batch_size=32, shuffle=True):
                    scores = model(vectors)
                    loss = criterion(scores, marks)  # <-- NN119
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    print((scores.argmax(1) == marks.argmax(1)).float().mean())


            main()
            """,
            why="Films have several genres, and cross-entropy wants one.",
        ),
        Example(
            """
            # file: data.py
            import torch
            from sklearn.datasets import load_wine
            from sklearn.model_selection import train_test_split
            from torch.utils.data import TensorDataset


            def wine():
                x, y = load_wine(return_X_y=True)
                x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
                train = TensorDataset(torch.tensor(x_train).float(), torch.tensor(y_train).float())
                return train, TensorDataset(torch.tensor(x_test).float(), torch.tensor(y_test).float())
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from data import wine


            class Trainer:
                def __init__(self):
                    self.train_set, self.test_set = wine()
                    self.model = nn.Sequential(nn.Linear(13, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())
                    self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)

                def epoch(self):
                    for x, y in DataLoader(self.train_set, batch_size=16, shuffle=True):
                        output = self.model(x)
                        loss = F.binary_cross_entropy(output, y.unsqueeze(1))  # <-- NN119
                        self.optimizer.zero_grad()
                        loss.backward()
                        self.optimizer.step()


            Trainer().epoch()
            """,
            why="Three cultivars, made float in another file.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import transforms
            from torchvision.datasets import CelebA
            from torchvision.models import mobilenet_v2

            faces = CelebA("data", split="train", target_type="attr", transform=transforms.ToTensor())
            net = mobilenet_v2(num_classes=40)
            optimizer = torch.optim.Adam(net.parameters())
            for images, attributes in DataLoader(faces, batch_size=32, shuffle=True):
                scores = net(images)
                loss = nn.functional.cross_entropy(scores, attributes.float())  # <-- NN119
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The forty attributes of a face do not exclude one another.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            loader = DataLoader(datasets.MNIST("data", transform=transforms.ToTensor()), batch_size=64, shuffle=True)
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
            one = nn.Sequential(nn.Flatten(), nn.Linear(784, 1))
            optimizer = torch.optim.Adam([*model.parameters(), *one.parameters()])
            for images, digits in loader:
                optimizer.zero_grad()
                scores = model(images)
                loss = F.binary_cross_entropy_with_logits(scores, F.one_hot(digits, 10).float())
                loss = loss + F.cross_entropy(scores, digits) + F.cross_entropy(scores, F.one_hot(digits, 10).float())
                seven = (digits == 7).float()
                loss = loss + F.binary_cross_entropy_with_logits(one(images).squeeze(1), seven)
                loss.backward()
                optimizer.step()
            """,
            why="One-hot targets fit both losses, and one digit against the others is binary.",
        ),
        Example(
            """
            # file: data.py
            import torch
            from sklearn.datasets import load_breast_cancer
            from sklearn.preprocessing import MultiLabelBinarizer
            from torch.utils.data import TensorDataset


            def tumours():
                x, y = load_breast_cancer(return_X_y=True)
                return TensorDataset(torch.tensor(x).float(), torch.tensor(y).float())


            def films(path):
                vectors, genres = torch.load(path)
                return TensorDataset(vectors, torch.tensor(MultiLabelBinarizer().fit_transform(genres)).float())
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from data import films, tumours


            def fit(data, model):
                criterion = nn.BCEWithLogitsLoss()
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in DataLoader(data, batch_size=16, shuffle=True):
                    optimizer.zero_grad()
                    criterion(model(x), y.view(len(y), -1)).backward()
                    optimizer.step()


            fit(tumours(), nn.Linear(30, 1))
            fit(films("films.pt"), nn.Linear(300, 19))
            """,
            why="Two classes, and several marks, in a binary loss.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import transforms
            from torchvision.datasets import CelebA


            class Trainer:
                def __init__(self, smiling):
                    pixels = transforms.ToTensor()
                    faces = CelebA("data", target_type="identity", transform=pixels)
                    if smiling:
                        faces = CelebA("data", transform=pixels, target_transform=lambda attributes: attributes[31])
                    self.loader = DataLoader(faces, batch_size=32, shuffle=True)
                    self.net = nn.Sequential(nn.Conv2d(3, 8, 7, 4), nn.Flatten(), nn.LazyLinear(10_178))
                    self.optimizer = torch.optim.Adam(self.net.parameters())

                def fit(self):
                    for images, person in self.loader:
                        self.optimizer.zero_grad()
                        nn.functional.cross_entropy(self.net(images), person).backward()
                        self.optimizer.step()


            Trainer(False).fit()
            Trainer(True).fit()
            """,
            why="A person is one class, and so is one attribute of the forty.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            data = datasets.FashionMNIST("data", transform=transforms.ToTensor())
            data.targets = (data.targets > 4).long()
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 1))
            optimizer = torch.optim.Adam(model.parameters())
            for images, labels in DataLoader(data, batch_size=64, shuffle=True):
                optimizer.zero_grad()
                nn.functional.binary_cross_entropy_with_logits(model(images).squeeze(1), labels.float()).backward()
                optimizer.step()
            """,
            why="The labels of the data set were made binary before.",
        ),
        Example(
            """
            import argparse

            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms


            def criterion_for(classes):
                if classes == 1:
                    return nn.BCEWithLogitsLoss()
                return nn.CrossEntropyLoss()


            parser = argparse.ArgumentParser()
            parser.add_argument("--classes", type=int, default=10)
            args = parser.parse_args()
            data = datasets.CIFAR10("data", transform=transforms.ToTensor())
            net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, args.classes))
            criterion = criterion_for(args.classes)
            optimizer = torch.optim.Adam(net.parameters())
            for x, y in DataLoader(data, batch_size=64, shuffle=True):
                optimizer.zero_grad()
                criterion(net(x), y).backward()
                optimizer.step()
            """,
            why="The number of classes says which loss it is.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in labels.wrong_kinds(program):
            yield self.finding(
                found.loss,
                f"Here {found.what}: the loss has no sensible minimum, and the scores cannot be read as meant.",
                found.advice,
                evidence=[Hop("the targets come from here", found.made)],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for use in run.losses:
            if not use.with_graph or use.line is None:
                continue
            if use.function == "cross_entropy" and use.classes != 1 and use.several >= self.number("evaluations"):
                found = "the rows of the targets do not sum to 1: several classes of a sample are true"
                advice = "For several labels a sample use BCEWithLogitsLoss, with a threshold in place of argmax."
            elif use.function.startswith("binary_cross_entropy") and (use.target_high > 1 or use.target_low < 0):
                found = f"the targets lie between {use.target_low:.3g} and {use.target_high:.3g}, not between 0 and 1"
                advice = "For one class a sample use CrossEntropyLoss on as many scores; scale soft targets to 0..1."
            else:
                continue
            yield self.finding(
                use.line,
                f"{use.function} gets targets of another kind: {found}. The loss has no sensible minimum.",
                advice,
                evidence=[Hop("the targets meet the scores here", use.line, f"{use.checked} evaluations looked at")],
            )
