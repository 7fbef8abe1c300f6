"""NN105: height and width, or channels and pixels, change places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import axes
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class SwappedAxes(Rule):
    """The axes of an image are exchanged: its size is given the wrong way round, or it is reshaped, not transposed.

    ## What it is

    Arrays say (height, width, channels), OpenCV's and PIL's sizes are (width, height), PyTorch wants
    (channels, height, width). `cv2.resize(image, image.shape[:2])` exchanges height and width, and
    `image.reshape(3, h, w)` does not move the channels: it reads the same row of numbers with other borders.

    ## Why it hurts training

    Images that are not square are stretched, those of portrait and landscape format differently. A reshaped image is
    far worse: each "channel" holds a third of the picture with the colours interleaved, neighbours are no longer
    neighbours, and a convolution has nothing to find. Nothing raises an error, the loss falls a little (the
    histogram is still there), and the accuracy stays poor. Pretrained weights are worthless on such images.

    ## How it is told apart from code that only looks alike

    - Sizes of functions of torch and torchvision are (height, width): only OpenCV's and PIL's `resize` are judged, and
      only with the height and width of that very image, not of one that was turned before.
    - `transpose`, `permute`, `moveaxis` move axes; a `reshape` after them, or to (h, w, 3), is fine.
    - Images read as one channel, and data that has channels first already, may be reshaped.
    - Where an array comes from must be known (`cv2.imread`, PIL, `CIFAR10(...).data`).

    In a run: the first layer is a convolution, its input is square in the second and third axis and has 1, 3 or 4
    in the last one.

    ## What to do

    ```python
    height, width = image.shape[:2]
    image = cv2.resize(image, (width // 2, height // 2))
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    ```
    """

    code = "NN105"
    name = "swapped-axes"
    points = (1,)
    severity = Severity.ERROR
    triggers = ("resize", "reshape", "view", "imread")

    bad = [
        Example(
            """
            import cv2
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, Dataset


            class Crowd(Dataset):
                def __init__(self, table):
                    self.table = table

                def __len__(self):
                    return len(self.table)

                def __getitem__(self, index):
                    path, count = self.table[index]
                    image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
                    h, w = image.shape[:2]
                    small = cv2.resize(image, (h // 2, w // 2))  # <-- NN105
                    return torch.from_numpy(small).permute(2, 0, 1).float() / 255, count


            loader = DataLoader(Crowd(torch.load("crowd.pt")), batch_size=1, shuffle=True)
            model = nn.Sequential(nn.Conv2d(3, 16, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 1))
            optimizer = torch.optim.Adam(model.parameters())
            for image, count in loader:
                optimizer.zero_grad()
                nn.functional.mse_loss(model(image).squeeze(1), count.float()).backward()
                optimizer.step()
            """,
            why="Height first in OpenCV's size.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset
            from torchvision.datasets import CIFAR10


            def tensors(root):
                cifar = CIFAR10(root, train=True, download=True)
                pixels = torch.tensor(cifar.data).float() / 255
                images = pixels.view(-1, 3, 32, 32)  # <-- NN105
                return TensorDataset((images - 0.5) / 0.25, torch.tensor(cifar.targets))


            def main():
                model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(28_800, 10))
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(10):
                    for x, y in DataLoader(tensors("data"), batch_size=128, shuffle=True):
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()


            main()
            """,
            why="The array of CIFAR-10 has channels last; view does not move them.",
        ),
        Example(
            """
            # file: images.py
            import numpy as np
            import torch
            from PIL import Image


            def read(path, size=64):
                image = Image.open(path).convert("RGB").resize((size, size))
                array = np.array(image, dtype=np.float32) / 255
                planes = array.reshape(3, size, size)  # <-- NN105
                return torch.from_numpy(planes)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, Dataset

            from images import read


            class Faces(Dataset):
                def __init__(self, paths, ages):
                    self.paths, self.ages = paths, ages

                def __len__(self):
                    return len(self.paths)

                def __getitem__(self, index):
                    return read(self.paths[index]), self.ages[index]


            class Trainer:
                def __init__(self, paths, ages):
                    self.loader = DataLoader(Faces(paths, ages), batch_size=32, shuffle=True)
                    self.model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.Flatten(), nn.Linear(28_800, 1))
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def fit(self):
                    for x, y in self.loader:
                        self.optimizer.zero_grad()
                        nn.functional.l1_loss(self.model(x).squeeze(1), y.float()).backward()
                        self.optimizer.step()


            Trainer(*torch.load("faces.pt")).fit()
            """,
            why="reshape in a helper of another file.",
        ),
        Example(
            """
            import torch
            from PIL import Image
            from torchvision.transforms.functional import to_tensor


            class Thumbnails:
                def __init__(self, factor):
                    self.factor = factor

                def __call__(self, path):
                    image = Image.open(path)
                    width, height = image.size
                    small = image.resize((int(height * self.factor), int(width * self.factor)))  # <-- NN105
                    return to_tensor(small)


            thumbnails = Thumbnails(0.25)
            torch.save([thumbnails(name) for name in ("a.jpg", "b.jpg")], "small.pt")
            """,
            why="PIL's size is (width, height), too.",
        ),
    ]

    good = [
        Example(
            """
            import cv2
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, Dataset
            from torchvision.transforms import functional


            class Crowd(Dataset):
                def __init__(self, table):
                    self.table = table

                def __len__(self):
                    return len(self.table)

                def __getitem__(self, index):
                    path, count = self.table[index]
                    image = cv2.imread(path)[:, :, ::-1]
                    h, w = image.shape[:2]
                    image = cv2.resize(image, (w // 2, h // 2))
                    turned = cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)
                    turned = cv2.resize(turned, (image.shape[0], image.shape[1]))
                    tensor = torch.from_numpy(turned.transpose(2, 0, 1).copy()).float() / 255
                    return functional.resize(tensor, [h, w]), count


            model = nn.Sequential(nn.Conv2d(3, 16, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 1))
            optimizer = torch.optim.Adam(model.parameters())
            for image, count in DataLoader(Crowd(torch.load("crowd.pt")), batch_size=1, shuffle=True):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(image).squeeze(1), count.float()).backward()
                optimizer.step()
            """,
            why="Width first; an image that was turned before; a function of torchvision, which takes height first.",
        ),
        Example(
            """
            # file: images.py
            import numpy as np
            import torch
            from PIL import Image


            def read(path, size=64):
                array = np.array(Image.open(path).convert("RGB").resize((size, size)), dtype=np.float32)
                return torch.from_numpy(array.transpose(2, 0, 1).reshape(3, size, size) / 255)


            def grey(path):
                array = np.array(Image.open(path).convert("L"))
                return torch.from_numpy(array.reshape(1, *array.shape))
            # file: train.py
            import torch
            from torch import nn

            from images import grey, read

            model = nn.Conv2d(3, 3, 3, padding=1)
            optimizer = torch.optim.Adam(model.parameters())
            for path in ("a.png", "b.png"):
                x = read(path).unsqueeze(0)
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x), x).backward()
                optimizer.step()
                print(grey(path).shape, x.view(1, 3, 64, 64).shape)
            """,
            why="Transposed first; a reshape that changes nothing; one channel only.",
        ),
        Example(
            """
            import pickle

            import numpy as np
            import torch
            from torchvision.datasets import CIFAR10, SVHN


            class Raw:
                def __init__(self, root):
                    with open(f"{root}/data_batch_1", "rb") as stream:
                        rows = pickle.load(stream, encoding="bytes")[b"data"]
                    self.batch = rows.reshape(-1, 3, 32, 32)
                    self.svhn = SVHN(root).data.reshape(-1, 3, 32, 32)
                    self.cifar = torch.tensor(CIFAR10(root).data).permute(0, 3, 1, 2)
                    self.rows = CIFAR10(root).data.reshape(-1, 32 * 32, 3)


            print(Raw("data").batch.shape, np.zeros((3, 4)).reshape(3, 2, 2).shape)
            """,
            why="The rows of CIFAR's files, and SVHN, have channels first.",
        ),
        Example(
            """
            import cv2
            import numpy as np


            def letterbox(image, size):
                height, width = image.shape[:2]
                scale = size / max(height, width)
                inner = cv2.resize(image, (int(width * scale), int(height * scale)))
                canvas = np.zeros((size, size, 3), np.uint8)
                canvas[: inner.shape[0], : inner.shape[1]] = inner
                return canvas


            def match(image, other):
                rows, columns = other.shape[0], other.shape[1]
                return cv2.resize(image, (columns, rows))


            first, second = cv2.imread("a.png"), cv2.imread("b.png")
            print(letterbox(first, 640).shape, match(first, second).shape)
            """,
            why="The usual ways to do it right.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in axes.swapped_axes(program):
            hops = [Hop("the image is read here", found.image)]
            yield self.finding(found.site, f"{found.what}.", found.advice, evidence=hops)

    def watch(self, run: Run) -> Iterator[Finding]:
        for module in run.modules:
            sizes = module.input_sizes
            first = module.base == "Conv2d" and run.stream("input", module.key) is not None
            if not first or len(sizes) != 4:
                continue
            _, channels, height, width = sizes
            if width not in (1, 3, 4) or channels != height or channels <= 2 * width:
                continue
            yield self.finding(
                module.line,
                f"`{module.name}` is the first layer and gets images of shape {module.input_shape}: the channels are "
                f"the last axis, and it takes the {channels} rows of the image for channels.",
                "Put the channels first: `images.permute(0, 3, 1, 2)`.",
                evidence=[Hop("it expects (samples, channels, height, width)", module.line, module.input_shape)],
            )
