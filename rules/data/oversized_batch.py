"""NN112: a batch is a large share of all the data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import sizes
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class OversizedBatch(Rule):
    """The batch holds more than a tenth of the training data, so that an epoch has only a few updates.

    ## What it is

    The literal `batch_size` of a training loader stands against a dataset whose size is known, and fewer than ten
    batches make an epoch.

    ## Why it hurts training

    An update costs a pass over the batch, and ten large batches give ten updates where small ones give hundreds. Then
    "50 epochs" are a few hundred steps, and training ends long before the loss does. Large batches also lack the noise
    that helps to find broad minima, unless rate and schedule are adapted.

    ## How it is told apart from code that only looks alike

    - Only data of known size is judged: torchvision's and scikit-learn's datasets, and arrays made with literal sizes.
    - Methods that want all data at once (L-BFGS, full-batch training without a loader) use no loader.
    - Loaders for evaluation may be as large as memory allows.
    - It is advice, and off by default: small datasets with many epochs train well.

    In a run: the size of the data set is known, whatever it is made of; at least 2000 samples (`samples`), because
    small problems may be solved in whole batches.

    ## What to do

    Begin with 16 to 64 samples a batch, or count training in steps and not in epochs. The limit of a tenth is the
    project's own choice.
    """

    code = "NN112"
    name = "oversized-batch"
    points = (11,)
    severity = Severity.INFO
    triggers = ("DataLoader",)
    options = {"samples": 2000}

    bad = [
        Example(
            """
            import torch
            from sklearn.datasets import load_iris
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            iris = load_iris()
            data = TensorDataset(torch.tensor(iris.data).float(), torch.tensor(iris.target))
            loader = DataLoader(data, batch_size=64, shuffle=True)  # <-- NN112
            model = nn.Linear(4, 3)
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(20):
                for x, y in loader:
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
            why="Three updates an epoch on 150 flowers.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms


            def main():
                flowers = datasets.Flowers102("data", split="train", transform=transforms.ToTensor())
                loader = DataLoader(flowers, batch_size=512, shuffle=True)  # <-- NN112
                model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(512, 102))
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for images, labels in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(images), labels).backward()
                    optimizer.step()


            main()
            """,
            why="Half of the training images in one batch.",
        ),
        Example(
            """
            # file: data.py
            import torch
            from torch.utils.data import TensorDataset, random_split


            def toy():
                x = torch.randn(1000, 10)
                return random_split(TensorDataset(x, x.sum(1)), [0.8, 0.2])
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from data import toy


            class Trainer:
                def __init__(self):
                    self.train_set, self.val_set = toy()
                    self.model = nn.Linear(10, 1)
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def fit(self):
                    for x, y in DataLoader(self.train_set, batch_size=256, shuffle=True):  # <-- NN112
                        self.optimizer.zero_grad()
                        nn.functional.mse_loss(self.model(x).squeeze(1), y).backward()
                        self.optimizer.step()


            Trainer().fit()
            """,
            why="A part of a thousand random rows.",
        ),
        Example(
            """
            import torch
            from sklearn.datasets import load_digits
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import StandardScaler
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            x, y = load_digits(return_X_y=True)
            x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
            x_train = StandardScaler().fit_transform(x_train)
            data = TensorDataset(torch.tensor(x_train).float(), torch.tensor(y_train))
            model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
            optimizer = torch.optim.Adam(model.parameters())
            for inputs, digits in DataLoader(data, batch_size=500, shuffle=True):  # <-- NN112
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs), digits).backward()
                optimizer.step()
            """,
            why="Five hundred of fewer than 1,800 digits.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from sklearn.datasets import load_iris
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            iris = load_iris()
            data = TensorDataset(torch.tensor(iris.data).float(), torch.tensor(iris.target))
            model = nn.Linear(4, 3)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in DataLoader(data, batch_size=8, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            with torch.no_grad():
                for x, y in DataLoader(data, batch_size=150):
                    print((model(x).argmax(1) == y).float().mean())
            """,
            why="Small batches in training, one large one in the evaluation.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            loader = DataLoader(datasets.MNIST("data", transform=transforms.ToTensor()), batch_size=1024, shuffle=True)
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
            for images, labels in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(images), labels).backward()
                optimizer.step()
            """,
            why="A thousand of 60,000.",
        ),
        Example(
            """
            # file: data.py
            import torch
            from torch.utils.data import TensorDataset


            def load(path):
                x, y = torch.load(path)
                return TensorDataset(x, y)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from data import load


            class Trainer:
                def __init__(self, path, batch_size=4096):
                    self.loader = DataLoader(load(path), batch_size=batch_size, shuffle=True)
                    self.model = nn.Linear(20, 1)
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def fit(self):
                    for x, y in self.loader:
                        self.optimizer.zero_grad()
                        nn.functional.mse_loss(self.model(x).squeeze(1), y).backward()
                        self.optimizer.step()


            Trainer("large.pt").fit()
            """,
            why="How much data the file holds is not known.",
        ),
        Example(
            """
            import torch
            from torch import nn

            x = torch.randn(200, 5)
            y = x.sum(1)
            model = nn.Linear(5, 1)
            optimizer = torch.optim.LBFGS(model.parameters())


            def closure():
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(x).squeeze(1), y)
                loss.backward()
                return loss


            for step in range(20):
                optimizer.step(closure)
            """,
            why="All data at once, as L-BFGS wants it.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in sizes.oversized_batches(program):
            yield self.finding(
                found.loader,
                f"A batch of {found.batch} is more than a tenth of the data ({found.words} at {{0}} has at most "
                f"{found.samples:,} samples): an epoch has only a few updates.",
                "Begin with 16 to 64 samples a batch, or count training in steps.",
                evidence=[Hop("the data comes from here", found.made, f"{found.samples:,} samples")],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for loader in run.loaders:
            samples, batch = loader.samples or 0, loader.batch_size or 0
            if loader.line is None or not loader.trains or samples < self.number("samples") or 10 * batch < samples:
                continue
            yield self.finding(
                loader.line,
                f"A batch of {batch} is more than a tenth of the {samples:,} training samples: an epoch has "
                f"{loader.batches_per_epoch} updates.",
                "Begin with 16 to 64 samples a batch, or count training in steps.",
                evidence=[Hop("training reads the batches here", loader.read_at, f"{loader.iterations} epochs so far")],
            )
