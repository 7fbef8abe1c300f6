"""NN208: augmentation leaves little of the image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import pipelines
from ..finding import Finding, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class HeavyAugmentation(Rule):
    """Random transforms are so strong, or so many, that the label can no longer be seen in the image.

    ## What it is

    A parameter of a random transform is extreme (a brightness that can reach black, crops of a hundredth of the image,
    erasing more than half of it), or many distorting transforms stand one after the other.

    ## Why it hurts training

    Augmentation shall change what does not matter and keep what does. Beyond that the network is trained on images
    whose label is a guess: the training loss stays high, higher than the loss on clean validation images, convergence
    is slow, and small networks underfit. Point 13 of the checklist: too much augmentation regularises too much.

    ## How it is told apart from code that only looks alike

    - Usual strengths (jitter of 0.4, crops from 8 percent on as for ImageNet) are not reported.
    - Contrastive learning wants strong augmentation, and large networks on large data bear it: this is only advice, and
      off by default.
    - Only literal parameters of torchvision's transforms are read. The limits are the project's own choice.
    - Resizing, normalising, flips and paddings distort nothing.

    ## What to do

    Look at a batch of augmented images: a person should still name the class. Begin with a crop and a flip, and add one
    transform at a time while the validation score rises.
    """

    code = "NN208"
    name = "heavy-augmentation"
    points = (13, 30)
    severity = Severity.INFO
    triggers = ("Compose",)

    bad = [
        Example(
            """
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            train_transform = transforms.Compose(
                [
                    transforms.RandomHorizontalFlip(),
                    transforms.ColorJitter(brightness=1.0, contrast=0.2),  # <-- NN208
                    transforms.ToTensor(),
                ]
            )
            loader = DataLoader(datasets.CIFAR10("data", transform=train_transform), batch_size=64, shuffle=True)
            print(next(iter(loader))[0].shape)
            """,
            why="A brightness factor between 0 and 2.",
        ),
        Example(
            """
            from torchvision import transforms


            def build(size):
                return transforms.Compose(
                    [
                        transforms.RandomResizedCrop(size, scale=(0.01, 1.0)),  # <-- NN208
                        transforms.ToTensor(),
                        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
                    ]
                )


            print(build(224))
            """,
            why="Crops down to a hundredth of the image.",
        ),
        Example(
            """
            # file: augment.py
            from torchvision.transforms import v2


            class Augment:
                def __init__(self):
                    self.steps = v2.Compose(
                        [
                            v2.RandomResizedCrop(64, scale=(0.5, 1.0)),  # <-- NN208
                            v2.RandomRotation(30),
                            v2.RandomPerspective(0.4),
                            v2.ColorJitter(0.4, 0.4, 0.4),
                            v2.RandomGrayscale(0.2),
                            v2.GaussianBlur(3),
                            v2.RandomSolarize(128),
                            v2.RandomErasing(),
                        ]
                    )

                def __call__(self, image):
                    return self.steps(image)
            # file: train.py
            from torchvision import datasets

            from augment import Augment

            print(datasets.CIFAR10("data", transform=Augment())[0])
            """,
            why="Eight distortions one after the other.",
        ),
        Example(
            """
            import torch
            from torchvision import transforms

            steps = [
                transforms.ToTensor(),
                transforms.RandomErasing(p=0.9, scale=(0.1, 0.8)),  # <-- NN208
            ]
            print(transforms.Compose(steps), torch.__version__)
            """,
            why="Most of the image may be erased.",
        ),
    ]

    good = [
        Example(
            """
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            train_transform = transforms.Compose(
                [
                    transforms.RandomResizedCrop(32, scale=(0.08, 1.0)),
                    transforms.RandomHorizontalFlip(),
                    transforms.ColorJitter((0.6, 1.4), 0.4, 0.4, 0.1),
                    transforms.ToTensor(),
                    transforms.RandomErasing(),
                ]
            )
            print(len(DataLoader(datasets.CIFAR10("data", transform=train_transform), batch_size=64)))
            """,
            why="What is usual for ImageNet.",
        ),
        Example(
            """
            # file: config.py
            JITTER = 0.3
            # file: train.py
            from torchvision import transforms

            from config import JITTER


            def build(strength):
                return transforms.Compose(
                    [
                        transforms.Resize(256),
                        transforms.CenterCrop(224),
                        transforms.Pad(4),
                        transforms.RandomCrop(224),
                        transforms.RandomHorizontalFlip(),
                        transforms.RandomVerticalFlip(),
                        transforms.ColorJitter(JITTER, strength),
                        transforms.ToTensor(),
                        transforms.Normalize([0.5], [0.5]),
                    ]
                )


            print(build(0.2))
            """,
            why="Many steps, of which hardly any distorts.",
        ),
        Example(
            """
            from torchvision import transforms


            class TwoViews:
                def __init__(self, options):
                    jitter = transforms.ColorJitter(**options)
                    self.view = transforms.Compose([transforms.RandomApply([jitter], p=0.8), transforms.ToTensor()])

                def __call__(self, image):
                    return self.view(image), self.view(image)


            print(TwoViews({"brightness": 0.8}))
            """,
            why="A strength that is usual in contrastive learning.",
        ),
        Example(
            """
            import albumentations as A
            from torchvision import transforms

            print(A.Compose([A.RandomBrightnessContrast(0.2), A.HorizontalFlip(), A.Normalize()]))
            print(transforms.Compose([transforms.GaussianBlur(5, sigma=(0.1, 2.0)), transforms.ToTensor()]))
            """,
            why="Mild blur, and transforms of another library.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in pipelines.heavy_steps(program):
            yield self.finding(
                found.site,
                f"Heavy augmentation: {found.what}. The label may no longer be visible, and training is slow.",
                "Look at a batch of augmented images, and weaken or leave out what hides the class.",
            )
