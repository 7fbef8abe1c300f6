"""NN204: training and evaluation prepare their images differently."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import pipelines
from ...tracer import evidence
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Loader, Run


class InconsistentPreprocessing(Rule):
    """The evaluation scales or normalises its images otherwise than the training did.

    ## What it is

    The pipelines of the training and of the validation or test data were written separately and do not agree: one
    normalises and the other does not, the means and deviations are different ones, one divides by 255 and the
    other leaves the bytes.

    ## Why it hurts training

    The model is evaluated on numbers that it has never seen. The training loss is good, the validation score is bad
    or merely mediocre, and it looks like overfitting; more regularisation, the usual cure, makes it worse. Running
    statistics of batch normalization make a small shift large. In the other direction the deployed model fails.

    ## How it is told apart from code that only looks alike

    - Augmentation (crops, flips, jitter) in the training pipeline alone is right: only the range and the
      normalisation are compared.
    - What counts is what enters the model: a loop that scales its batches itself makes up for a shorter pipeline.
    - Means that differ in the third digit (0.2010 and 0.2023) are the same to a network.
    - Two models, or a model for each data set, are not compared with one another.
    - Steps of one's own, statistics that are computed, and unknown datasets are not known, so not reported.

    In a run: mean and deviation of the inputs of a training loader are compared with those of a loader that the
    same network is evaluated on. A shift of 3 deviations, or a factor of 4 between the deviations, is more than
    augmentation or a small sample does; both are options.

    ## What to do

    Share the last steps:

    ```python
    finish = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    train_transform = transforms.Compose([transforms.RandomCrop(32, 4), *finish])
    val_transform = transforms.Compose(finish)
    ```
    """

    code = "NN204"
    name = "inconsistent-preprocessing"
    points = (14, 15)
    severity = Severity.ERROR
    triggers = ("Compose", "Normalize", "ToTensor", "ToTensorV2", "imread")
    options = {"shift": 3, "ratio": 4}

    bad = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            train_transform = transforms.Compose(
                [
                    transforms.RandomHorizontalFlip(),
                    transforms.ToTensor(),
                    transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)),
                ]
            )
            test_transform = transforms.Compose([transforms.ToTensor()])  # <-- NN204
            train_loader = DataLoader(datasets.CIFAR10("data", True, train_transform), 128, shuffle=True)
            test_loader = DataLoader(datasets.CIFAR10("data", False, test_transform), 256)
            net = nn.Sequential(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(28800, 10))
            optimizer = torch.optim.Adam(net.parameters())
            for epoch in range(20):
                net.train()
                for x, y in train_loader:
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()
                    optimizer.step()
                net.eval()
                with torch.no_grad():
                    hits = 0
                    for x, y in test_loader:
                        hits += (net(x).argmax(1) == y).sum().item()
                print(epoch, hits)
            """,
            why="Normalize was forgotten in the test pipeline; a flat script.",
        ),
        Example(
            """
            # file: data.py
            import albumentations as A
            import cv2
            from albumentations.pytorch import ToTensorV2
            from torch.utils.data import Dataset


            class Moles(Dataset):
                def __init__(self, table, pipeline):
                    self.table = table
                    self.pipeline = pipeline

                def __len__(self):
                    return len(self.table)

                def __getitem__(self, index):
                    path, label = self.table[index]
                    image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
                    return self.pipeline(image=image)["image"], label


            augment = A.Compose([A.RandomCrop(224, 224), A.HorizontalFlip(), A.Normalize(), ToTensorV2()])
            plain = A.Compose([A.CenterCrop(224, 224), A.Normalize((0.5, 0.5, 0.5)), ToTensorV2()])  # <-- NN204
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import resnet34

            from data import Moles, augment, plain


            def evaluate(model, loader):
                model.eval()
                with torch.no_grad():
                    return sum(nn.functional.cross_entropy(model(x), y).item() for x, y in loader)


            def main():
                tables = torch.load("tables.pt")
                train_loader = DataLoader(Moles(tables[0], augment), 32, shuffle=True)
                val_loader = DataLoader(Moles(tables[1], plain), 64)
                model = resnet34(num_classes=2)
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
                for epoch in range(10):
                    model.train()
                    for x, y in train_loader:
                        optimizer.zero_grad()
                        nn.functional.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    print(evaluate(model, val_loader))


            main()
            """,
            why="ImageNet's constants in one pipeline of albumentations, 0.5 in the other.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from PIL import Image
            from torch import nn
            from torch.utils.data import DataLoader, Dataset
            from torchvision import transforms


            class Train(Dataset):
                def __init__(self, table):
                    self.table = table
                    self.transform = transforms.Compose([transforms.RandomCrop(64), transforms.ToTensor()])

                def __len__(self):
                    return len(self.table)

                def __getitem__(self, index):
                    path, label = self.table[index]
                    return self.transform(Image.open(path)), label


            class Val(Train):
                def __getitem__(self, index):
                    path, label = self.table[index]
                    image = np.array(Image.open(path).resize((64, 64)), dtype=np.float32)  # <-- NN204
                    return torch.from_numpy(image).permute(2, 0, 1), label


            class Trainer:
                def __init__(self, train_table, val_table):
                    self.train_loader = DataLoader(Train(train_table), 32, shuffle=True)
                    self.val_loader = DataLoader(Val(val_table), 64)
                    self.model = nn.Sequential(nn.Flatten(), nn.Linear(12288, 64), nn.ReLU(), nn.Linear(64, 6))
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def fit(self, epochs):
                    for _ in range(epochs):
                        for x, y in self.train_loader:
                            self.optimizer.zero_grad()
                            nn.functional.cross_entropy(self.model(x), y).backward()
                            self.optimizer.step()
                        self.validate()

                @torch.no_grad()
                def validate(self):
                    for x, y in self.val_loader:
                        print((self.model(x).argmax(1) == y).float().mean().item())


            Trainer(*torch.load("tables.pt")).fit(10)
            """,
            why="A data set for the validation that overrides how images are read, without scaling.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets
            from torchvision.transforms import v2

            raw = v2.Compose([v2.PILToTensor()])
            scaled = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
            train_loader = DataLoader(datasets.FashionMNIST("data", transform=scaled), 64, shuffle=True)
            val_loader = DataLoader(datasets.FashionMNIST("data", train=False, transform=raw), 256)  # <-- NN204
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(5):
                for x, y in train_loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                with torch.no_grad():
                    for x, y in val_loader:
                        print(F.cross_entropy(model(x.float()), y).item())
            """,
            why="Bytes in the evaluation, made float in the loop but never divided by 255.",
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

            train_transform = transforms.Compose(
                [
                    transforms.RandomCrop(32, padding=4),
                    transforms.ColorJitter(0.3),
                    transforms.ToTensor(),
                    transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
                ]
            )
            test_transform = transforms.Compose(
                [transforms.ToTensor(), transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2023))]
            )
            train_loader = DataLoader(datasets.CIFAR10("d", transform=train_transform), 64, shuffle=True)
            test_loader = DataLoader(datasets.CIFAR10("d", train=False, transform=test_transform), 256)
            model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(5):
                for x, y in train_loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                with torch.no_grad():
                    for x, y in test_loader:
                        print((model(x).argmax(1) == y).float().mean().item())
            """,
            why="Augmentation in training only; a deviation that differs in the third digit.",
        ),
        Example(
            """
            # file: data.py
            from torchvision import datasets, transforms


            def loaders_for(name):
                pixels = transforms.ToTensor()
                centred = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
                transform = pixels if name == "MNIST" else centred
                cls = datasets.MNIST if name == "MNIST" else datasets.FashionMNIST
                return cls("d", True, transform), cls("d", False, transform)
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from data import loaders_for


            def run(name):
                train_set, test_set = loaders_for(name)
                model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in DataLoader(train_set, 64, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                with torch.no_grad():
                    for x, y in DataLoader(test_set, 256):
                        print(name, (model(x).argmax(1) == y).float().mean().item())


            for name in ("MNIST", "FashionMNIST"):
                run(name)
            """,
            why="Two data sets with a pipeline each, and a model for each.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms


            class Trainer:
                def __init__(self):
                    train_set = datasets.SVHN("d", transform=transforms.ToTensor())
                    test_set = datasets.SVHN("d", split="test", transform=transforms.PILToTensor())
                    self.train_loader = DataLoader(train_set, 64, shuffle=True)
                    self.test_loader = DataLoader(test_set, 256)
                    self.model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def fit(self):
                    for x, y in self.train_loader:
                        self.optimizer.zero_grad()
                        F.cross_entropy(self.model(x), y).backward()
                        self.optimizer.step()

                def test(self):
                    with torch.no_grad():
                        for x, y in self.test_loader:
                            x = x.float() / 255
                            print((self.model(x).argmax(1) == y).float().mean().item())


            trainer = Trainer()
            trainer.fit()
            trainer.test()
            """,
            why="The loop scales the bytes that the test pipeline leaves.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms


            class Standardise:
                def __init__(self, mean, std):
                    self.mean, self.std = mean, std

                def __call__(self, image):
                    return (image - self.mean) / self.std


            images = datasets.KMNIST("d", transform=transforms.ToTensor())
            sample = torch.stack([images[i][0] for i in range(1000)])
            own = Standardise(sample.mean(), sample.std())
            train_set = datasets.KMNIST("d", transform=transforms.Compose([transforms.ToTensor(), own]))
            fixed = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.19, 0.35)])
            test_set = datasets.KMNIST("d", train=False, transform=fixed)
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in DataLoader(train_set, 64, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            with torch.no_grad():
                print(sum((model(x).argmax(1) == y).sum().item() for x, y in DataLoader(test_set, 256)))
            """,
            why="The constants of one side are computed: they may well be the others.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in pipelines.inconsistent_inputs(program):
            yield self.finding(
                found.site,
                f"The images of the evaluation are {found.words}, those of the training (at {{0}}) "
                f"{found.trained_words}: the model is judged on numbers that it has never seen.",
                "Give both pipelines the same last steps (`ToTensor` and `Normalize` with the same constants).",
                evidence=[
                    Hop("the images of the training get their range here", found.trained),
                    Hop("the evaluation runs here", found.evaluated),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for loader in run.loaders:
            if loader.line is None or not evidence.evaluates(loader) or not _measured(loader):
                continue
            for trained in evidence.trained_beside(run, loader):
                if not _measured(trained) or trained.dtype != loader.dtype or trained.shape[1:2] != loader.shape[1:2]:
                    continue
                shift = abs(loader.mean - trained.mean) / trained.deviation
                ratio = loader.deviation / trained.deviation
                limit = self.number("ratio")
                if shift < self.number("shift") and 1 / limit < ratio < limit:
                    continue
                numbers = f"mean {loader.mean:.3g} and deviation {loader.deviation:.3g}"
                before = f"mean {trained.mean:.3g} and deviation {trained.deviation:.3g}"
                yield self.finding(
                    loader.line,
                    f"The evaluation gets inputs with {numbers}, the training with {before}: they are not prepared "
                    "alike, and the network meets numbers that it was never trained on.",
                    "Use the same steps for both, but for random augmentation.",
                    evidence=[
                        Hop("the training data is loaded here", trained.line, before),
                        Hop("evaluated here", loader.read_at, numbers),
                    ],
                )
                break


def _measured(loader: Loader) -> bool:
    """Whether the range of its inputs is known from several batches."""
    return loader.inspected >= 2 and loader.deviation > 0 and not loader.nonfinite_batches
