"""NN205: images enter the network with numbers from 0 to 255."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import pipelines
from ...tracer import evidence
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class UncalibratedInput(Rule):
    """The images are never scaled: the network is trained on numbers from 0 to 255.

    ## What it is

    Images are read as bytes and only made float on the way to the network: `PILToTensor`, `ToTensorV2` without
    `Normalize`, `torch.from_numpy(cv2.imread(...)).float()`. Nothing divides by 255 and nothing normalises.

    ## Why it hurts training

    Initialisations are made for inputs of mean 0 and variance 1. With a mean around 120 and a second moment of about
    15,000 the first activations are a hundred times too large; sigmoid and tanh saturate, softmax is one-hot from the
    first step, the first layer's gradients are a hundred times those of the others, and a learning rate that
    is small enough for it is too small for the rest. Since all inputs are positive, updates of the first layer all
    have one sign. Pretrained weights expect normalised inputs and do badly on others.

    ## How it is told apart from code that only looks alike

    - `ToTensor` divides by 255; so do `ToDtype(..., scale=True)`, `ConvertImageDtype`, `Normalize` of albumentations.
    - A division or subtraction anywhere on the way, in the data set, in the loop or at the start of `forward`, counts.
    - A model that begins with a normalisation layer calibrates its own input; a model whose first operation cannot be
      seen, or that is known to normalise (detectors of torchvision), is not judged.
    - Labels, masks and indices are no inputs; only what the trained model is called with is looked at.

    In a run: what reaches the first layer is measured, whatever was done to it before; layers that normalise or
    embed, and networks whose weights were loaded, are not judged. LeCun et al., "Efficient BackProp" (1998), want
    mean 0 and deviation 1; reported are deviations of 20 and more, and means 20 deviations away from zero. Small
    numbers are not: most inputs of that kind are sparse.

    ## What to do

    Scale and normalise in the pipeline:

    ```python
    transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    A.Compose([A.Normalize(), ToTensorV2()])
    ```
    """

    code = "NN205"
    name = "uncalibrated-input"
    points = (12,)
    severity = Severity.WARNING
    triggers = ("PILToTensor", "ToTensorV2", "imread", "open", "ToDtype", "ToImage", "read_image")
    options = {"deviation": 20, "offset": 20, "looks": 5}

    bad = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            train_set = datasets.FashionMNIST("data", train=True, transform=transforms.PILToTensor())
            loader = DataLoader(train_set, batch_size=64, shuffle=True)
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            for epoch in range(10):
                for images, labels in loader:
                    optimizer.zero_grad()
                    scores = model(images.float())  # <-- NN205
                    F.cross_entropy(scores, labels).backward()
                    optimizer.step()
            """,
            why="PILToTensor keeps the bytes, and the loop only makes them float.",
        ),
        Example(
            """
            import cv2
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, Dataset


            class Cells(Dataset):
                def __init__(self, table):
                    self.table = table

                def __len__(self):
                    return len(self.table)

                def __getitem__(self, index):
                    path, count = self.table[index]
                    image = cv2.imread(path)
                    image = cv2.resize(image, (96, 96))
                    return torch.from_numpy(image).permute(2, 0, 1).float(), float(count)


            class Counter(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv = nn.Conv2d(3, 16, 5, stride=2)
                    self.head = nn.Linear(16, 1)

                def forward(self, x):
                    return self.head(torch.tanh(self.conv(x)).mean((2, 3))).squeeze(1)


            def main():
                loader = DataLoader(Cells(torch.load("cells.pt")), batch_size=16, shuffle=True)
                model = Counter()
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(30):
                    for images, counts in loader:
                        output = model(images)  # <-- NN205
                        optimizer.zero_grad()
                        nn.functional.mse_loss(output, counts.float()).backward()
                        optimizer.step()


            main()
            """,
            why="OpenCV's bytes go through float into a convolution and tanh.",
        ),
        Example(
            """
            # file: data.py
            import albumentations as A
            import numpy as np
            from albumentations.pytorch import ToTensorV2
            from PIL import Image
            from torch.utils.data import Dataset

            pipeline = A.Compose([A.Resize(128, 128), A.HorizontalFlip(), ToTensorV2()])


            class Shoes(Dataset):
                def __init__(self, paths, labels):
                    self.paths, self.labels = paths, labels

                def __len__(self):
                    return len(self.paths)

                def __getitem__(self, index):
                    image = np.array(Image.open(self.paths[index]).convert("RGB"))
                    return pipeline(image=image)["image"], self.labels[index]
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import resnet18

            from data import Shoes


            class Trainer:
                def __init__(self, paths, labels):
                    self.loader = DataLoader(Shoes(paths, labels), batch_size=32, shuffle=True)
                    self.model = resnet18(num_classes=9)
                    self.optimizer = torch.optim.AdamW(self.model.parameters())

                def fit(self):
                    for images, labels in self.loader:
                        images = images.to("cuda", dtype=torch.float32)
                        self.optimizer.zero_grad()
                        scores = self.model(images)  # <-- NN205
                        nn.functional.cross_entropy(scores, labels.cuda()).backward()
                        self.optimizer.step()


            Trainer(*torch.load("shoes.pt")).fit()
            """,
            why="ToTensorV2 does not scale as ToTensor does, and Normalize is missing.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.datasets import ImageFolder
            from torchvision.transforms import v2

            steps = v2.Compose([v2.ToImage(), v2.Resize((64, 64)), v2.ToDtype(torch.float32)])
            loader = DataLoader(ImageFolder("textures", steps), batch_size=64, shuffle=True)
            encoder = nn.Sequential(nn.Conv2d(3, 32, 3, 2), nn.Sigmoid(), nn.Flatten(), nn.Linear(30752, 47))
            optimizer = torch.optim.Adam(encoder.parameters())
            for epoch in range(10):
                for images, labels in loader:
                    optimizer.zero_grad()
                    scores = encoder(images)  # <-- NN205
                    nn.functional.cross_entropy(scores, labels).backward()
                    optimizer.step()
            """,
            why="ToDtype without scale=True and no Normalize.",
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

            train_set = datasets.FashionMNIST("data", train=True, transform=transforms.PILToTensor())
            loader = DataLoader(train_set, batch_size=64, shuffle=True)
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
            deep = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(784, 10))
            optimizer = torch.optim.SGD([*model.parameters(), *deep.parameters()], lr=0.01)
            for images, labels in loader:
                images = images.float()
                optimizer.zero_grad()
                loss = F.cross_entropy(model(images / 255), labels) + F.cross_entropy(deep(images), labels)
                loss.backward()
                optimizer.step()
            """,
            why="The loop scales for one model; the other begins with batch normalization.",
        ),
        Example(
            """
            # file: data.py
            import cv2
            import numpy as np
            import torch
            from torch.utils.data import Dataset


            class Cells(Dataset):
                def __init__(self, table):
                    self.table = table

                def __len__(self):
                    return len(self.table)

                def __getitem__(self, index):
                    path, mask = self.table[index]
                    image = cv2.imread(path).astype(np.float32) / 127.5 - 1.0
                    mask = cv2.imread(mask, cv2.IMREAD_GRAYSCALE)
                    return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask).long()
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from data import Cells

            model = nn.Conv2d(3, 2, 3, padding=1)
            optimizer = torch.optim.Adam(model.parameters())
            for image, mask in DataLoader(Cells(torch.load("t.pt")), batch_size=4, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(image), mask).backward()
                optimizer.step()
            """,
            why="Scaled to -1..1 by hand; the mask stays a mask.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms
            from torchvision.models.detection import fasterrcnn_resnet50_fpn


            class Calibrated(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.register_buffer("mean", torch.tensor([123.7, 116.3, 103.5]).view(3, 1, 1))
                    self.body = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))

                def forward(self, x):
                    return self.body((x.float() - self.mean) / 58.0)


            class Palette(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.embed = nn.Embedding(256, 8)
                    self.head = nn.Linear(8, 10)

                def forward(self, x):
                    return self.head(self.embed(x.long()).mean((1, 2, 3)))


            data = datasets.CIFAR10("d", transform=transforms.PILToTensor())
            models = Calibrated(), Palette()
            optimizer = torch.optim.Adam([p for model in models for p in model.parameters()])
            for images, labels in DataLoader(data, 64, shuffle=True):
                optimizer.zero_grad()
                sum(nn.functional.cross_entropy(model(images), labels) for model in models).backward()
                optimizer.step()
            detector = fasterrcnn_resnet50_fpn()
            print(detector(list(images.float())))
            """,
            why="Models that calibrate, or embed, their own input.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.datasets import ImageFolder
            from torchvision.transforms import v2


            class Trainer:
                def __init__(self):
                    cpu = v2.Compose([v2.PILToTensor(), v2.Resize((64, 64))])
                    self.loader = DataLoader(ImageFolder("textures", cpu), batch_size=64, shuffle=True)
                    self.gpu = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.25] * 3)])
                    self.model = nn.Sequential(nn.Flatten(), nn.Linear(12288, 47))
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def fit(self):
                    for images, labels in self.loader:
                        images = self.gpu(images.cuda())
                        self.optimizer.zero_grad()
                        nn.functional.cross_entropy(self.model(images), labels.cuda()).backward()
                        self.optimizer.step()


            Trainer().fit()
            """,
            why="Bytes travel to the GPU, where a second pipeline scales them.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in pipelines.uncalibrated_inputs(program):
            more = " Pretrained weights expect normalised images." if found.learnt else ""
            hops = [Hop("the image has bytes since here", found.made)] if found.made is not None else []
            yield self.finding(
                found.site,
                "The model is trained on images with numbers from 0 to 255 (read or converted at {0}, never scaled): "
                f"the first layer saturates and dominates the gradients.{more}",
                "Divide by 255 and normalise (`ToTensor` and `Normalize`; `A.Normalize` before `ToTensorV2`).",
                evidence=hops,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for module in run.modules:
            stream = run.stream("input", module.key)
            if stream is None or len(stream.rows) < self.number("looks") or module.loaded:
                continue
            rows = [row for row in stream.rows if math.isfinite(row[0])]
            mean = evidence.median([row[1] for row in rows]) if rows else 0.0
            deviation = evidence.median([max(row[0] ** 2 - row[1] ** 2, 0.0) ** 0.5 for row in rows]) if rows else 0.0
            if deviation < self.number("deviation") and abs(mean) < self.number("offset") * max(deviation, 1e-6):
                continue
            if deviation <= 0:
                continue
            yield self.finding(
                module.line,
                f"The first layer, `{module.name}`, gets inputs with mean {mean:.3g} and deviation {deviation:.3g}: "
                "far from zero and one, for which layers are initialised. Its gradients and outputs are as far off.",
                "Subtract the mean and divide by the deviation of the training data (`transforms.Normalize`, a "
                "scaler), or divide images by 255.",
                evidence=[Hop(f"`{module.name}` is the first layer", module.line, f"{len(rows)} batches looked at")],
            )
