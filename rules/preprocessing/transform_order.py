"""NN207: the steps of an image pipeline stand in an order that spoils the image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import pipelines
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class TransformOrder(Rule):
    """The steps of an image pipeline do not fit together: scaled twice, normalised too early, clamped afterwards.

    ## What it is

    Each step expects an image of a certain kind: PIL image or tensor, numbers from 0 to 255, from 0 to 1, or
    normalised. In the wrong order the numbers come out wrong: `Normalize` before `ToTensor`; a division by 255 after
    `ToTensor` or `Normalize`, which scale already; means of 0..255 for an image within 0..1, or the other way round
    (`ToDtype(torch.float32)` without `scale=True`); `ColorJitter` after `Normalize`, which clamps to 0..1.

    ## Why it hurts training

    Mostly nothing raises an error. An image that was scaled twice lies within 0.004: the network sees a constant,
    and what it learns it learns from biases. Inputs in the hundreds saturate the first layers and make the loss
    explode. A clamp after normalising removes the darker half of every image. Pretrained weights are worthless on
    such inputs.

    ## How it is told apart from code that only looks alike

    - `Normalize` of albumentations divides by 255 itself and works on arrays, so it comes before `ToTensorV2`;
      `Normalize` of torchvision works on tensors and comes after `ToTensor`.
    - `ToTensor` scales images and bytes, but not arrays of floats: whether a mean of 123 fits is judged only where
      the images are known to be bytes.
    - `ToFloat` with `Normalize(max_pixel_value=1)` fits. So does `RandomErasing` after `Normalize`.
    - Behind a step of one's own, or `Lambda`s that cannot be followed, nothing is known.

    In a run: images (four axes, 1 or 3 channels) whose brightest pixel is at most 1/255.

    ## What to do

    ```python
    torchvision:      Resize, RandomCrop, ColorJitter, ToTensor, Normalize, RandomErasing
    torchvision v2:   ToImage, RandomCrop, ColorJitter, ToDtype(torch.float32, scale=True), Normalize
    albumentations:   Resize, RandomCrop, ColorJitter, Normalize, ToTensorV2
    ```
    """

    code = "NN207"
    name = "transform-order"
    points = (12,)
    severity = Severity.ERROR
    triggers = ("Compose", "Normalize", "ToTensor", "to_tensor", "ToTensorV2")
    options = {"batches": 3}

    bad = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            transform = transforms.Compose([transforms.ToTensor()])
            train_set = datasets.CIFAR100("data", train=True, transform=transform)
            loader = DataLoader(train_set, batch_size=128, shuffle=True)
            model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 256), nn.ReLU(), nn.Linear(256, 100))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(10):
                for images, labels in loader:
                    images = images.float() / 255.0  # <-- NN207
                    optimizer.zero_grad()
                    F.cross_entropy(model(images), labels).backward()
                    optimizer.step()
            """,
            why="ToTensor has scaled the image, and the loop divides once more.",
        ),
        Example(
            """
            import albumentations as A
            import cv2
            import torch
            from albumentations.pytorch import ToTensorV2
            from torch import nn
            from torch.utils.data import DataLoader, Dataset

            pipeline = A.Compose(
                [
                    A.RandomCrop(224, 224),
                    A.ToFloat(max_value=255),
                    A.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),  # <-- NN207
                    ToTensorV2(),
                ]
            )


            class Leaves(Dataset):
                def __init__(self, table):
                    self.table = table

                def __len__(self):
                    return len(self.table)

                def __getitem__(self, index):
                    path, label = self.table[index]
                    image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
                    return pipeline(image=image)["image"], label


            class Trainer:
                def __init__(self, table):
                    self.loader = DataLoader(Leaves(table), batch_size=16, shuffle=True)
                    self.net = nn.Sequential(nn.Conv2d(3, 16, 7, 4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(20))
                    self.optimizer = torch.optim.Adam(self.net.parameters())

                def epoch(self):
                    for images, labels in self.loader:
                        self.optimizer.zero_grad()
                        nn.functional.cross_entropy(self.net(images), labels).backward()
                        self.optimizer.step()


            Trainer(torch.load("leaves.pt")).epoch()
            """,
            why="Two steps of albumentations that both divide by 255.",
        ),
        Example(
            """
            # file: transforms.py
            import torch
            from torchvision.transforms import v2

            MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


            def build(training):
                steps = [v2.ToImage()]
                if training:
                    steps += [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()]
                else:
                    steps += [v2.Resize(256), v2.CenterCrop(224)]
                return v2.Compose([*steps, v2.ToDtype(torch.float32), v2.Normalize(MEAN, STD)])  # <-- NN207
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.datasets import ImageFolder
            from torchvision.models import resnet18

            from transforms import build

            loader = DataLoader(ImageFolder("pets/train", build(True)), batch_size=32, shuffle=True)
            model = resnet18(num_classes=37)
            optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
            for epoch in range(5):
                for images, labels in loader:
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(images), labels).backward()
                    optimizer.step()
            """,
            why="ToDtype without scale=True leaves 0..255; the means are those of 0..1.",
        ),
        Example(
            """
            from torchvision import datasets, transforms


            def cifar(root):
                normalize = transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261))
                train = transforms.Compose(
                    [
                        transforms.RandomCrop(32, padding=4),
                        transforms.ToTensor(),
                        normalize,
                        transforms.ColorJitter(0.2, 0.2, 0.2),  # <-- NN207
                    ]
                )
                return datasets.CIFAR10(root, train=True, transform=train)


            def digits(root):
                steps = [
                    transforms.Resize(32),
                    transforms.Normalize((0.1307,), (0.3081,)),  # <-- NN207
                    transforms.ToTensor(),
                ]
                return datasets.MNIST(root, transform=transforms.Compose(steps))


            def scenes(root):
                caffe = transforms.Normalize([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])  # <-- NN207
                return datasets.ImageFolder(root, transforms.Compose([transforms.ToTensor(), caffe]))


            print(len(cifar("data")), len(digits("data")), len(scenes("scenes")))
            """,
            why="Jitter after normalising, normalising before there is a tensor, and means of another range.",
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

            train = transforms.Compose(
                [
                    transforms.RandomCrop(32, padding=4),
                    transforms.ColorJitter(0.2, 0.2, 0.2),
                    transforms.ToTensor(),
                    transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)),
                    transforms.RandomErasing(p=0.2),
                ]
            )
            raw = transforms.Compose([transforms.PILToTensor()])
            model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
            optimizer = torch.optim.Adam(model.parameters())
            for transform in (train, raw):
                for images, labels in DataLoader(datasets.CIFAR10("d", transform=transform), 64, shuffle=True):
                    inputs = images.float() / 255 if transform is raw else images
                    optimizer.zero_grad()
                    F.cross_entropy(model(inputs), labels).backward()
                    optimizer.step()
            """,
            why="The usual order; bytes that PILToTensor leaves alone are scaled in the loop.",
        ),
        Example(
            """
            # file: data.py
            import albumentations as A
            import cv2
            import numpy as np
            import torch
            from albumentations.pytorch import ToTensorV2
            from torch.utils.data import Dataset

            usual = A.Compose([A.Resize(128, 128), A.Normalize(), ToTensorV2()])
            scaled = A.Compose([A.ToFloat(255), A.Normalize((0.5,), (0.5,), max_pixel_value=1.0), ToTensorV2()])


            class Tiles(Dataset):
                def __init__(self, paths, pipeline=None):
                    self.paths = paths
                    self.pipeline = pipeline

                def __len__(self):
                    return len(self.paths)

                def __getitem__(self, index):
                    image = cv2.imread(self.paths[index])[:, :, ::-1]
                    if self.pipeline is None:
                        return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)
                    return self.pipeline(image=image)["image"]
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from data import Tiles, scaled, usual

            model = nn.Conv2d(3, 3, 3, padding=1)
            optimizer = torch.optim.Adam(model.parameters())
            for pipeline in (usual, scaled, None):
                for tiles in DataLoader(Tiles(["a.png", "b.png"], pipeline), batch_size=2, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(tiles), tiles).backward()
                    optimizer.step()
            """,
            why="Albumentations scales once; without a pipeline the data set does.",
        ),
        Example(
            """
            import cv2
            import numpy as np
            from torchvision import transforms


            class ToBoxes:
                def __call__(self, image):
                    return image, np.zeros((0, 4))


            class Detector:
                def __init__(self):
                    # The image is an array of floats up to 255, which ToTensor does not scale.
                    self.transform = transforms.Compose(
                        [transforms.ToTensor(), transforms.Normalize([104.0, 117.0, 123.0], [1.0, 1.0, 1.0])]
                    )

                def prepare(self, path):
                    image = cv2.imread(path).astype(np.float32)
                    return self.transform(image)


            print(Detector().prepare("street.jpg").shape)
            print(transforms.Compose([transforms.Resize(64), ToBoxes()]))
            """,
            why="Means of 0..255 for an array of floats.",
        ),
        Example(
            """
            import torch
            from torchvision import datasets
            from torchvision.transforms import v2

            gpu = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.5])])
            bytes_first = v2.Compose(
                [
                    v2.PILToTensor(),
                    v2.RandAugment(),
                    v2.ConvertImageDtype(torch.float32),
                    v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
                ]
            )
            to_bytes = v2.Compose([v2.ToTensor(), v2.Lambda(lambda image: image * 255.0)])
            for pipeline in (gpu, bytes_first, to_bytes):
                print(len(datasets.FakeData(100, transform=pipeline)))
            """,
            why="Conversions that scale, and one that is meant to go back to 0..255.",
        ),
        Example(
            """
            import torchvision.transforms as T

            MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
            prepare = T.Compose([T.Resize(128), T.ToTensor(), T.Normalize(MEAN, STD)])
            restore = T.Compose(
                [
                    T.Normalize(mean=[0, 0, 0], std=[1 / s for s in STD]),
                    T.Normalize(mean=[-m for m in MEAN], std=[1.0, 1.0, 1.0]),
                ]
            )
            """,
            why="Two steps that turn a normalised image back.",
        ),
        Example(
            """
            from torchvision import transforms

            MEAN, STD = [0.43, 0.43, 0.40], [0.2, 0.2, 0.2]
            prepare = transforms.Compose(
                [
                    transforms.ToTensor(),
                    transforms.Normalize(MEAN, [1.0, 1.0, 1.0]),
                    transforms.Normalize([0, 0, 0], STD),
                ]
            )
            """,
            why="First moved, then scaled: one normalisation in two steps.",
        ),
        Example(
            """
            import torch
            from torchvision import datasets, transforms

            MEAN, STD = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
            normalize = transforms.Normalize(MEAN, STD)
            back = transforms.Compose([
                transforms.Normalize(torch.zeros_like(MEAN), 1 / STD),
                transforms.Normalize(-MEAN, torch.ones_like(STD)),
            ])
            data = datasets.CIFAR10("data", transform=transforms.Compose([transforms.ToTensor(), normalize]))
            image = back(data[0][0])
            print(image.min(), image.max())
            """,
            why="Two steps turn a normalised image back: first the deviation, then the mean.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in pipelines.order_mistakes(program):
            hops = [Hop(found.other_words, found.other)] if found.other is not None else []
            yield self.finding(found.site, f"{found.what}.", found.advice, evidence=hops)

    def watch(self, run: Run) -> Iterator[Finding]:
        for loader in run.loaders:
            images = len(loader.shape) == 4 and loader.channels in (1, 3) and loader.dtype.startswith("float")
            if loader.line is None or not images or not loader.trains or loader.inspected < self.number("batches"):
                continue
            if not 0 <= loader.minimum < loader.maximum <= 1.01 / 255:
                continue
            yield self.finding(
                loader.line,
                f"All pixels lie between {loader.minimum:.2g} and {loader.maximum:.2g}: they were divided by 255 "
                "twice, and the image is next to black.",
                "`ToTensor` scales bytes to 0..1 by itself: leave the other division out.",
                evidence=[Hop("the images are read here", loader.read_at, f"{loader.inspected} batches looked at")],
            )
