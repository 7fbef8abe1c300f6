"""NN203: evaluation data is augmented at random."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import lineage
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class RandomEvaluationTransform(Rule):
    """The data for evaluation passes random augmentations, so that the score is noisy and too low.

    ## What it is

    The pipeline of a validation or test dataset contains transforms that draw at random (`RandomCrop`,
    `RandomHorizontalFlip`, `ColorJitter`, `RandomErasing` ...). Often one transform serves both parts, or one
    dataset with augmentation is divided by `random_split` or `Subset`, and both halves share its transform.

    ## Why it hurts training

    The score of one and the same model changes from call to call, by more than the differences that early
    stopping and model selection look for. It measures harder images than those that will come later, so it is
    too low. The best checkpoint is then the luckiest one.

    ## How it is told apart from code that only looks alike

    - Two datasets over the same files, one augmented and one plain, with `Subset`s of each, are right.
    - Deterministic transforms with lively names (`CenterCrop`, `TenCrop`, `Resize`, `Normalize`) draw nothing.
    - `random_split` itself is random once and for all; without augmentation in the dataset it does no harm.
    - Augmentation behind a condition (`if train:`, `if self.augment:`) is judged by what the evaluation gets.
    - Augmentation of the batch in the training loop never reaches the evaluation.
    - Replacing the transform of the evaluation half afterwards counts, when the half has its own copy.

    ## What to do

    ```python
    train_set = ImageFolder("train", transform=augmenting)
    val_set = ImageFolder("val", transform=plain)      # resize, centre crop, to tensor, normalise
    ```

    With one folder: make two datasets and give both the same split of indices,
    `Subset(augmented, train_indices)` and `Subset(plain, val_indices)`.
    """

    code = "NN203"
    name = "random-evaluation-transform"
    points = (13, 15)
    severity = Severity.WARNING
    triggers = ("transforms", "Compose", "random_split", "Subset", "Dataset", "DataLoader")

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, models, transforms

            transform = transforms.Compose(
                [
                    transforms.RandomCrop(32, padding=4),
                    transforms.RandomHorizontalFlip(),
                    transforms.ToTensor(),
                    transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
                ]
            )
            trainset = datasets.CIFAR10("./data", train=True, download=True, transform=transform)
            testset = datasets.CIFAR10("./data", train=False, download=True, transform=transform)  # <-- NN203
            trainloader = DataLoader(trainset, batch_size=128, shuffle=True)
            testloader = DataLoader(testset, batch_size=256)

            net = models.resnet18(num_classes=10)
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

            for epoch in range(30):
                net.train()
                for inputs, targets in trainloader:
                    optimizer.zero_grad()
                    criterion(net(inputs), targets).backward()
                    optimizer.step()

                net.eval()
                correct = 0
                with torch.no_grad():
                    for inputs, targets in testloader:
                        correct += (net(inputs).argmax(1) == targets).sum().item()
                print(epoch, correct / len(testset))
            """,
            why="One transform for training and test, in a flat script.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader, random_split
            from torchvision.datasets import ImageFolder
            from torchvision.models import efficientnet_b0
            from torchvision.transforms import v2


            def make_loaders(root, batch_size):
                transform = v2.Compose(
                    [
                        v2.RandomResizedCrop(224),
                        v2.ColorJitter(brightness=0.4, contrast=0.4),
                        v2.ToImage(),
                        v2.ToDtype(torch.float32, scale=True),
                    ]
                )
                dataset = ImageFolder(root, transform=transform)
                n_train = int(0.8 * len(dataset))
                train_set, val_set = random_split(dataset, [n_train, len(dataset) - n_train])  # <-- NN203
                return DataLoader(train_set, batch_size, shuffle=True), DataLoader(val_set, batch_size)


            @torch.no_grad()
            def validate(model, loader):
                model.eval()
                return sum(F.cross_entropy(model(x), y).item() for x, y in loader) / len(loader)


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("root")
                parser.add_argument("--batch-size", type=int, default=32)
                args = parser.parse_args()
                train_loader, val_loader = make_loaders(args.root, args.batch_size)
                model = efficientnet_b0(num_classes=len(train_loader.dataset.dataset.classes))
                optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
                for epoch in range(20):
                    model.train()
                    for x, y in train_loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    print(epoch, validate(model, val_loader))


            main()
            """,
            why="random_split of one augmented folder: both halves share its transform.",
        ),
        Example(
            """
            import albumentations as A
            import cv2
            import torch
            from albumentations.pytorch import ToTensorV2
            from torch import nn
            from torch.utils.data import DataLoader, Dataset

            train_pipeline = A.Compose([A.RandomCrop(256, 256), A.HorizontalFlip(p=0.5), A.Normalize(), ToTensorV2()])
            val_pipeline = A.Compose([A.Resize(256, 256), A.HorizontalFlip(p=0.5), A.Normalize(), ToTensorV2()])


            class Roads(Dataset):
                def __init__(self, names, pipeline):
                    self.names = names
                    self.pipeline = pipeline

                def __len__(self):
                    return len(self.names)

                def __getitem__(self, index):
                    image = cv2.cvtColor(cv2.imread(f"images/{self.names[index]}"), cv2.COLOR_BGR2RGB)
                    mask = cv2.imread(f"masks/{self.names[index]}", cv2.IMREAD_GRAYSCALE)
                    out = self.pipeline(image=image, mask=mask)
                    return out["image"], out["mask"].long()


            class Trainer:
                def __init__(self, train_names, val_names):
                    self.net = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.Conv2d(32, 2, 1))
                    self.train_set = Roads(train_names, train_pipeline)
                    self.val_set = Roads(val_names, val_pipeline)  # <-- NN203
                    self.loss = nn.CrossEntropyLoss()
                    self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3)

                def fit(self, epochs=50):
                    for epoch in range(epochs):
                        self.net.train()
                        for image, mask in DataLoader(self.train_set, batch_size=8, shuffle=True):
                            self.optimizer.zero_grad()
                            self.loss(self.net(image), mask).backward()
                            self.optimizer.step()
                        print(epoch, self.validate())

                def validate(self):
                    self.net.eval()
                    with torch.no_grad():
                        losses = [self.loss(self.net(i), m).item() for i, m in DataLoader(self.val_set, batch_size=8)]
                    return sum(losses) / len(losses)


            Trainer(*torch.load("names.pt")).fit()
            """,
            why="An albumentations pipeline for the validation that still flips, in a Trainer class.",
        ),
        Example(
            """
            # file: data/transforms.py
            from torchvision import transforms


            def build_transform(size):
                return transforms.Compose(
                    [
                        transforms.Resize((size, size)),
                        transforms.RandomRotation(15),
                        transforms.ToTensor(),
                        transforms.RandomErasing(p=0.25),
                    ]
                )
            # file: data/__init__.py
            from torchvision.datasets import ImageFolder

            from .transforms import build_transform


            def build_dataset(folder, cfg):
                return ImageFolder(folder, build_transform(cfg.size))
            # file: train.py
            from dataclasses import dataclass

            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import convnext_tiny

            from data import build_dataset


            @dataclass
            class Config:
                size: int = 128
                batch_size: int = 32
                epochs: int = 15


            def main(cfg):
                train_set = build_dataset("signs/train", cfg)
                test_set = build_dataset("signs/test", cfg)  # <-- NN203
                model = convnext_tiny(num_classes=43)
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
                for epoch in range(cfg.epochs):
                    model.train()
                    for images, labels in DataLoader(train_set, cfg.batch_size, shuffle=True):
                        optimizer.zero_grad()
                        nn.functional.cross_entropy(model(images), labels).backward()
                        optimizer.step()
                model.eval()
                hits = 0
                with torch.no_grad():
                    for images, labels in DataLoader(test_set, cfg.batch_size):
                        hits += (model(images).argmax(1) == labels).sum().item()
                print(hits / len(test_set))


            main(Config())
            """,
            why="A helper in the data package builds the transform and ignores which part asks for it.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from sklearn.model_selection import train_test_split
            from torch import nn
            from torch.utils.data import DataLoader, Subset
            from torchvision import datasets, transforms

            augment = transforms.Compose([transforms.RandomAffine(10, translate=(0.1, 0.1)), transforms.ToTensor()])
            dataset = datasets.EMNIST("data", split="letters", transform=augment)
            indices = np.arange(len(dataset))
            train_indices, val_indices = train_test_split(indices, test_size=0.1, stratify=dataset.targets)
            train_set = Subset(dataset, train_indices)
            val_set = Subset(dataset, val_indices)  # <-- NN203

            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 27))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(10):
                model.train()
                for images, letters in DataLoader(train_set, batch_size=256, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(images), letters).backward()
                    optimizer.step()
                model.eval()
                with torch.inference_mode():
                    hits = sum((model(x).argmax(1) == y).sum().item() for x, y in DataLoader(val_set, batch_size=512))
                print(epoch, hits / len(val_set))
            """,
            why="Subsets by index of one dataset that augments; the evaluation half is made by Subset.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms
            from torchvision.models import resnet34

            normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
            train_transform = transforms.Compose(
                [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normalize]
            )
            val_transform = transforms.Compose(
                [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), normalize]
            )
            test_transform = transforms.Compose([transforms.ToTensor(), normalize, transforms.TenCrop(224)])
            train_set = datasets.ImageFolder("scenes/train", train_transform)
            val_set = datasets.ImageFolder("scenes/val", val_transform)
            test_set = datasets.ImageFolder("scenes/test", test_transform)

            model = resnet34(num_classes=365)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
            for epoch in range(20):
                model.train()
                for images, labels in DataLoader(train_set, batch_size=64, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(images), labels).backward()
                    optimizer.step()
                model.eval()
                with torch.no_grad():
                    hits = sum((model(x).argmax(1) == y).sum().item() for x, y in DataLoader(val_set, batch_size=64))
                print(epoch, hits / len(val_set))

            with torch.no_grad():
                for crops, labels in DataLoader(test_set, batch_size=8):
                    logits = model(crops.flatten(0, 1)).view(crops.size(0), 10, -1).mean(dim=1)
                    print((logits.argmax(1) == labels).float().mean().item())
            """,
            why="A pipeline for each part; CenterCrop and TenCrop draw nothing.",
        ),
        Example(
            """
            # file: data/splits.py
            import torch
            from torch.utils.data import Subset
            from torchvision.datasets import ImageFolder

            from .transforms import build_transform


            def train_val_split(root, share=0.8, seed=0):
                augmented = ImageFolder(root, transform=build_transform(train=True))
                plain = ImageFolder(root, transform=build_transform(train=False))
                order = torch.randperm(len(augmented), generator=torch.Generator().manual_seed(seed)).tolist()
                border = int(share * len(order))
                return Subset(augmented, order[:border]), Subset(plain, order[border:])
            # file: data/transforms.py
            from torchvision import transforms


            def build_transform(train):
                steps = [transforms.Resize((96, 96))]
                if train:
                    steps.append(transforms.RandomHorizontalFlip())
                    steps += [transforms.ColorJitter(0.2, 0.2, 0.2)]
                steps.append(transforms.ToTensor())
                return transforms.Compose(steps)
            # file: data/__init__.py
            from .splits import train_val_split

            __all__ = ["train_val_split"]
            # file: main.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision.models import shufflenet_v2_x1_0

            from data import train_val_split

            train_set, val_set = train_val_split("butterflies")
            model = shufflenet_v2_x1_0(num_classes=100)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for epoch in range(10):
                model.train()
                for x, y in DataLoader(train_set, batch_size=64, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                model.eval()
                with torch.no_grad():
                    print(sum(F.cross_entropy(model(x), y).item() for x, y in DataLoader(val_set, batch_size=64)))
            """,
            why="Two datasets over one folder, one augmented and one plain, divided by the same indices.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader, random_split
            from torchvision import datasets
            from torchvision.transforms import v2

            plain = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
            dataset = datasets.GTSRB("data", transform=v2.Compose([v2.Resize((48, 48)), plain]))
            train_set, val_set = random_split(dataset, [0.9, 0.1], generator=torch.Generator().manual_seed(1))
            augment = v2.Compose([v2.RandomAffine(10), v2.RandomErasing(0.2)])

            net = nn.Sequential(nn.Conv2d(3, 64, 3, 2), nn.BatchNorm2d(64), nn.Flatten(), nn.Linear(33856, 43))
            optimizer = torch.optim.Adam(net.parameters())
            for epoch in range(15):
                net.train()
                for images, labels in DataLoader(train_set, batch_size=64, shuffle=True):
                    images = augment(images)
                    if torch.rand(()) < 0.5:
                        images = images + 0.05 * torch.randn_like(images)
                    optimizer.zero_grad()
                    F.cross_entropy(net(images), labels).backward()
                    optimizer.step()
                net.eval()
                hits = 0
                with torch.no_grad():
                    for images, labels in DataLoader(val_set, batch_size=256):
                        hits += (net(images).argmax(1) == labels).sum().item()
                print(epoch, hits / len(val_set))
            """,
            why="random_split of a dataset without augmentation; the batch is augmented in the loop.",
        ),
        Example(
            """
            import random

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader, Dataset


            class Volumes(Dataset):
                def __init__(self, path, augment=False):
                    self.scans, self.masks = torch.load(path)
                    self.augment = augment

                def __len__(self):
                    return len(self.scans)

                def __getitem__(self, index):
                    scan, mask = self.scans[index], self.masks[index]
                    if self.augment:
                        if random.random() < 0.5:
                            scan, mask = scan.flip(-1), mask.flip(-1)
                        scan = scan * random.uniform(0.9, 1.1)
                    return scan, mask


            class Experiment:
                def __init__(self):
                    self.train_set = Volumes("train.pt", augment=True)
                    self.val_set = Volumes("val.pt")
                    self.net = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.InstanceNorm3d(8), nn.Conv3d(8, 3, 1))
                    self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-3)

                def train(self):
                    self.net.train()
                    for scan, mask in DataLoader(self.train_set, batch_size=2, shuffle=True):
                        self.optimizer.zero_grad()
                        F.cross_entropy(self.net(scan), mask).backward()
                        self.optimizer.step()

                @torch.no_grad()
                def evaluate(self):
                    self.net.eval()
                    loader = DataLoader(self.val_set, batch_size=2)
                    return sum(F.cross_entropy(self.net(scan), mask).item() for scan, mask in loader) / len(loader)


            experiment = Experiment()
            for epoch in range(100):
                experiment.train()
                print(epoch, experiment.evaluate())
            """,
            why="A dataset that flips only when it is told to.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader, Dataset, random_split
            from torchvision import transforms
            from torchvision.datasets import ImageFolder
            from torchvision.models import googlenet


            class Transformed(Dataset):
                def __init__(self, subset, transform):
                    self.subset = subset
                    self.transform = transform

                def __len__(self):
                    return len(self.subset)

                def __getitem__(self, index):
                    image, label = self.subset[index]
                    return self.transform(image), label


            augment = transforms.Compose([transforms.RandomResizedCrop(160), transforms.ToTensor()])
            plain = transforms.Compose([transforms.Resize(180), transforms.CenterCrop(160), transforms.ToTensor()])
            first, second = random_split(ImageFolder("shoes"), [0.85, 0.15])
            train_loader = DataLoader(Transformed(first, augment), batch_size=32, shuffle=True)
            val_loader = DataLoader(Transformed(second, plain), batch_size=64)

            model = googlenet(num_classes=9, aux_logits=False)
            optimizer = torch.optim.Adam(model.parameters(), lr=2e-4)
            for epoch in range(12):
                model.train()
                for images, labels in train_loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(images), labels).backward()
                    optimizer.step()
                model.eval()
                with torch.inference_mode():
                    print(epoch, sum(F.cross_entropy(model(x), y).item() for x, y in val_loader) / len(val_loader))
            """,
            why="The halves of random_split get a transform each, from a wrapper dataset.",
        ),
        Example(
            """
            import copy

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader, random_split
            from torchvision import datasets, transforms


            def loaders(batch_size=128):
                augment = transforms.Compose([transforms.RandomCrop(28, padding=2), transforms.ToTensor()])
                dataset = datasets.KMNIST("data", transform=augment)
                train_set, val_set = random_split(dataset, [50_000, 10_000])
                val_set.dataset = copy.copy(dataset)
                val_set.dataset.transform = transforms.ToTensor()
                return DataLoader(train_set, batch_size, shuffle=True), DataLoader(val_set, batch_size)


            def main():
                train_loader, val_loader = loaders()
                model = nn.Sequential(nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Dropout(0.1), nn.Linear(200, 10))
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(10):
                    model.train()
                    for images, labels in train_loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(images), labels).backward()
                        optimizer.step()
                    model.eval()
                    correct = 0
                    with torch.no_grad():
                        for images, labels in val_loader:
                            correct += (model(images).argmax(dim=1) == labels).sum().item()
                    print(epoch, correct / len(val_loader.dataset))


            main()
            """,
            why="The evaluation half has its own copy of the dataset, whose transform is replaced.",
        ),
        Example(
            """
            import torch
            from accelerate import Accelerator
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            accelerator = Accelerator()
            augment = transforms.Compose([transforms.RandomResizedCrop(64), transforms.ToTensor()])
            plain = transforms.Compose([transforms.Resize(72), transforms.CenterCrop(64), transforms.ToTensor()])
            loader = DataLoader(datasets.ImageFolder("train", transform=augment), batch_size=32, shuffle=True)
            val_loader = DataLoader(datasets.ImageFolder("val", transform=plain), batch_size=32)
            model = nn.Sequential(nn.Flatten(), nn.Linear(64 * 64 * 3, 10))
            optimizer = torch.optim.Adam(model.parameters())
            schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
            model, optimizer, loader, val_loader, schedule = accelerator.prepare(
                model, optimizer, loader, val_loader, schedule
            )
            for epoch in range(9):
                model.train()
                for x, y in loader:
                    optimizer.zero_grad()
                    accelerator.backward(nn.functional.cross_entropy(model(x), y))
                    optimizer.step()
                model.eval()
                right = 0
                with torch.no_grad():
                    for x, y in val_loader:
                        right += (model(x).argmax(1) == y).sum()
                schedule.step()
            """,
            why="Five things handed to a framework come back in the same order.",
        ),
        Example(
            """
            # file: data.py
            from torch.utils.data import DataLoader
            from torchvision import transforms as T
            from torchvision.datasets import ImageFolder


            def get_loader(folder, size, mode):
                steps = []
                if mode == "train":
                    steps.append(T.RandomHorizontalFlip())
                steps.append(T.Resize(size))
                steps.append(T.ToTensor())
                return DataLoader(ImageFolder(folder, T.Compose(steps)), batch_size=16, shuffle=mode == "train")
            # file: main.py
            import argparse

            import torch
            from torch import nn

            from data import get_loader

            parser = argparse.ArgumentParser()
            parser.add_argument("--mode", default="train", choices=["train", "test"])
            args = parser.parse_args()
            model = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
            optimizer = torch.optim.Adam(model.parameters())
            loader = get_loader("faces", 64, args.mode)
            if args.mode == "train":
                for x, y in loader:
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x), y).backward()
                    optimizer.step()
            else:
                model.eval()
                hits = 0
                with torch.no_grad():
                    for x, y in loader:
                        hits += (model(x).argmax(1) == y).sum()
                print(hits)
            """,
            why="The flip is there in the mode that trains only.",
        ),
        Example(
            """
            import argparse

            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import transforms as T
            from torchvision.datasets import ImageFolder

            noisy, plain = T.Compose([T.RandomCrop(48), T.ToTensor()]), T.Compose([T.CenterCrop(48), T.ToTensor()])
            loaders = {
                "indoor_train": DataLoader(ImageFolder("indoor/train", noisy), batch_size=8, shuffle=True),
                "indoor_test": DataLoader(ImageFolder("indoor/test", plain), batch_size=1),
                "outdoor_train": DataLoader(ImageFolder("outdoor/train", noisy), batch_size=8, shuffle=True),
                "outdoor_test": DataLoader(ImageFolder("outdoor/test", plain), batch_size=1),
            }
            parser = argparse.ArgumentParser()
            parser.add_argument("--trainset", default="indoor_train")
            parser.add_argument("--testset", default="indoor_test")
            args = parser.parse_args()
            net = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
            optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
            for x, y in loaders[args.trainset]:
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x), y).backward()
                optimizer.step()
            net.eval()
            total = 0
            with torch.no_grad():
                for x, y in loaders[args.testset]:
                    total += (net(x).argmax(1) == y).sum()
            """,
            why="Which loader it is, the command line says.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for use in lineage.random_evaluation_transforms(program):
            yield self.finding(
                use.dataset,
                f"The evaluation data pass through `{use.transform}` (made at {{0}}), which draws at random: scores "
                "vary from run to run and do not measure the model on the real data.",
                "Give the evaluation data a pipeline of their own without random augmentation.",
                evidence=[Hop("the random transform", use.site), Hop("the data are evaluated here", use.evaluated)],
            )
