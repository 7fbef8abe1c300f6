"""NN115: the evaluation runs on samples that the model is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import overlap
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class TrainEvalOverlap(Rule):
    """The validation data contains training samples, so the model is judged by what it has learnt by heart.

    ## What it is

    The loader for the validation reads the same dataset as the one for training, or a part of it: a copied line in
    which the dataset was not exchanged, `train=True` in both, training on the whole dataset after it was split, or
    `val_set.dataset`, which undoes the split.

    ## Why it hurts training

    The validation loss falls as long as the training loss does. Overfitting cannot be seen, early stopping never
    stops, the best checkpoint is the most overfitted one, and every number that is reported is too good. It comes
    out only when the model meets data that is really new.

    ## How it is told apart from code that only looks alike

    - A loader over the training data that only measures the training accuracy is fine. The overlap counts where the
      number decides something (best checkpoint, early stop, `ReduceLROnPlateau`, a `val_dataloader` of Lightning),
      or where a part was split off for the evaluation and the training reads all the data nevertheless.
    - Two samplers, or two `Subset`s with indices of one split, divide one dataset rightly.
    - Two datasets over the same files with different transforms are one dataset here; `train=True` and `train=False`,
      and folders with different names, are two.
    - Data that is drawn anew each time it is made, streams, and datasets that are switched to another part by a
      method are not known to be the same.

    In a run: inputs are compared by digests (up to 8192 of each loader). Loaders belong together when one network
    was trained on the one and evaluated on the other. At least 5 shared inputs and one in fifty are reported; where
    nearly all are shared, it may be the training set on purpose, and the finding is only likely.

    ## What to do

    Divide once, and give each loader its own part:

    ```python
    train_set, val_set = random_split(dataset, [0.9, 0.1])
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=256)
    ```
    """

    code = "NN115"
    name = "train-eval-overlap"
    points = (15,)
    severity = Severity.ERROR
    triggers = ("DataLoader", "Trainer", "random_split")
    options = {"samples": 5, "share": 0.02, "all": 0.9, "repeats": 0.01}

    bad = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader, random_split
            from torchvision import datasets, transforms

            dataset = datasets.ImageFolder("flowers", transforms.ToTensor())
            n_val = int(0.15 * len(dataset))
            train_set, val_set = random_split(dataset, [len(dataset) - n_val, n_val])
            train_loader = DataLoader(dataset, batch_size=32, shuffle=True)
            val_loader = DataLoader(val_set, batch_size=128)  # <-- NN115

            model = nn.Sequential(nn.Flatten(), nn.Linear(27648, 128), nn.ReLU(), nn.Linear(128, 5))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(20):
                for images, labels in train_loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(images), labels).backward()
                    optimizer.step()
                hits = 0
                with torch.no_grad():
                    for images, labels in val_loader:
                        hits += (model(images).argmax(1) == labels).sum().item()
                print(epoch, hits / len(val_set))
            """,
            why="The whole dataset is trained on, though a part was split off; a flat script.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms


            def evaluate(model, loader):
                model.eval()
                total = 0.0
                with torch.no_grad():
                    for images, digits in loader:
                        total += F.cross_entropy(model(images), digits).item()
                return total / len(loader)


            def main():
                augment = transforms.Compose([transforms.RandomRotation(10), transforms.ToTensor()])
                plain = transforms.ToTensor()
                train_set = datasets.MNIST("data", train=True, transform=augment, download=True)
                val_set = datasets.MNIST("data", train=True, transform=plain)
                train_loader = DataLoader(train_set, 64, shuffle=True)
                val_loader = DataLoader(val_set, 512)  # <-- NN115
                model = nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Dropout(), nn.Linear(100, 10))
                optimizer = torch.optim.Adam(model.parameters())
                best = float("inf")
                for epoch in range(30):
                    model.train()
                    for images, digits in train_loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(images), digits).backward()
                        optimizer.step()
                    loss = evaluate(model, val_loader)
                    if loss < best:
                        best = loss
                        torch.save(model.state_dict(), "best.pt")


            main()
            """,
            why="Two datasets that differ in the transform only; the checkpoint is chosen by the training data.",
        ),
        Example(
            """
            # file: data.py
            import torch
            from torch.utils.data import DataLoader, TensorDataset, random_split


            def loaders(path, size):
                x, y = torch.load(path)
                train_set, val_set = random_split(TensorDataset(x, y), [0.8, 0.2])
                train_loader = DataLoader(train_set, size, shuffle=True)
                val_loader = DataLoader(val_set.dataset, size)  # <-- NN115
                return train_loader, val_loader
            # file: train.py
            import torch
            from torch import nn

            from data import loaders


            class Trainer:
                def __init__(self, model, train_loader, val_loader):
                    self.model = model
                    self.train_loader, self.val_loader = train_loader, val_loader
                    self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                    self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizer)

                def train_epoch(self):
                    for x, y in self.train_loader:
                        self.optimizer.zero_grad()
                        nn.functional.cross_entropy(self.model(x), y).backward()
                        self.optimizer.step()

                @torch.no_grad()
                def validate(self):
                    losses = [nn.functional.cross_entropy(self.model(x), y).item() for x, y in self.val_loader]
                    return sum(losses) / len(losses)

                def fit(self, epochs):
                    for _ in range(epochs):
                        self.train_epoch()
                        self.scheduler.step(self.validate())


            Trainer(nn.Linear(40, 6), *loaders("pulses.pt", 64)).fit(50)
            """,
            why="The attribute dataset of one half is the whole again; the schedule follows it.",
        ),
        Example(
            """
            import pytorch_lightning as pl
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms


            class Classifier(pl.LightningModule):
                def __init__(self, batch_size=64):
                    super().__init__()
                    self.batch_size = batch_size
                    self.net = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
                    self.data = datasets.FashionMNIST("data", train=True, transform=transforms.ToTensor())

                def training_step(self, batch, index):
                    x, y = batch
                    return nn.functional.cross_entropy(self.net(x), y)

                def validation_step(self, batch, index):
                    x, y = batch
                    self.log("val_loss", nn.functional.cross_entropy(self.net(x), y))

                def configure_optimizers(self):
                    return torch.optim.Adam(self.parameters())

                def train_dataloader(self):
                    return DataLoader(self.data, self.batch_size, shuffle=True)

                def val_dataloader(self):
                    return DataLoader(self.data, self.batch_size)  # <-- NN115


            trainer = pl.Trainer(max_epochs=10, callbacks=[pl.callbacks.EarlyStopping("val_loss")])
            trainer.fit(Classifier())
            """,
            why="Lightning: both hooks return loaders over one dataset.",
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

            augment = transforms.Compose([transforms.RandomCrop(32, 4), transforms.ToTensor()])
            order = torch.randperm(50_000).tolist()
            train_set = Subset(datasets.CIFAR10("data", train=True, transform=augment), order[:45_000])
            val_set = Subset(datasets.CIFAR10("data", train=True, transform=transforms.ToTensor()), order[45_000:])
            train_loader = DataLoader(train_set, 128, shuffle=True)
            val_loader = DataLoader(val_set, 512)
            model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
            optimizer = torch.optim.Adam(model.parameters())
            best = 0
            for epoch in range(10):
                for x, y in train_loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                hits = 0
                with torch.no_grad():
                    for x, y in val_loader:
                        hits += (model(x).argmax(1) == y).sum().item()
                if hits > best:
                    best = hits
                    torch.save(model.state_dict(), "best.pt")
            """,
            why="One dataset twice, with different transforms, but with the indices of one split.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms


            def accuracy(model, loader):
                hits = total = 0
                with torch.no_grad():
                    for x, y in loader:
                        hits += (model(x).argmax(1) == y).sum().item()
                        total += len(y)
                return hits / total


            train_set = datasets.KMNIST("data", train=True, transform=transforms.ToTensor())
            test_set = datasets.KMNIST("data", train=False, transform=transforms.ToTensor())
            train_loader = DataLoader(train_set, 64, shuffle=True)
            fit_loader = DataLoader(train_set, 1024)
            test_loader = DataLoader(test_set, 1024)
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(5):
                for x, y in train_loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                print(epoch, "fit", accuracy(model, fit_loader), "test", accuracy(model, test_loader))
            """,
            why="A second loader over the training data only shows how well the model fits.",
        ),
        Example(
            """
            # file: data.py
            from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset, random_split


            def by_samplers(dataset, border):
                order = list(range(len(dataset)))
                train = DataLoader(dataset, 32, sampler=SubsetRandomSampler(order[:border]))
                return train, DataLoader(dataset, 32, sampler=SubsetRandomSampler(order[border:]))


            def by_split(x, y):
                train_set, val_set = random_split(TensorDataset(x, y), [0.9, 0.1])
                return DataLoader(train_set, 32, shuffle=True), DataLoader(val_set, 32)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            from data import by_samplers, by_split


            def fit(train_loader, val_loader, epochs):
                model = nn.Linear(12, 1)
                optimizer = torch.optim.Adam(model.parameters())
                best = float("inf")
                for _ in range(epochs):
                    for x, y in train_loader:
                        optimizer.zero_grad()
                        nn.functional.mse_loss(model(x).squeeze(1), y).backward()
                        optimizer.step()
                    with torch.no_grad():
                        loss = sum(nn.functional.mse_loss(model(x).squeeze(1), y).item() for x, y in val_loader)
                    if loss < best:
                        best = loss
                        torch.save(model.state_dict(), "best.pt")
                return best


            x, y = torch.load("wind.pt")
            fit(*by_samplers(TensorDataset(x, y), 800), 10)
            fit(*by_split(x, y), 10)
            """,
            why="Samplers divide one dataset; random_split makes two halves.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, Dataset


            class Sines(Dataset):
                def __init__(self, size):
                    self.x = torch.rand(size, 1) * 6
                    self.y = self.x.sin() + 0.1 * torch.randn(size, 1)

                def __len__(self):
                    return len(self.x)

                def __getitem__(self, index):
                    return self.x[index], self.y[index]


            class Reviews(Dataset):
                def __init__(self, path):
                    self.parts = torch.load(path)
                    self.part = "train"

                def use(self, part):
                    self.part = part
                    return self

                def __len__(self):
                    return len(self.parts[self.part])

                def __getitem__(self, index):
                    return self.parts[self.part][index]


            def fit(model, train_loader, val_loader):
                optimizer = torch.optim.Adam(model.parameters())
                scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
                for epoch in range(40):
                    for x, y in train_loader:
                        optimizer.zero_grad()
                        nn.functional.mse_loss(model(x), y).backward()
                        optimizer.step()
                    with torch.no_grad():
                        scheduler.step(sum(nn.functional.mse_loss(model(x), y).item() for x, y in val_loader))


            fit(nn.Linear(1, 1), DataLoader(Sines(1000), 32, shuffle=True), DataLoader(Sines(1000), 32))
            train_reviews, val_reviews = Reviews("reviews.pt").use("train"), Reviews("reviews.pt").use("val")
            fit(nn.Linear(300, 1), DataLoader(train_reviews, 32, shuffle=True), DataLoader(val_reviews, 32))
            """,
            why="Samples that are drawn anew, and a dataset that is told which part it is.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            archive = torch.load("protein.pt")
            train_loader = DataLoader(TensorDataset(archive["x"], archive["y"]), batch_size=256, shuffle=True)
            val_loader = DataLoader(TensorDataset(archive["x_val"], archive["y_val"]), batch_size=1024)
            model = nn.Linear(9, 1)
            optimizer = torch.optim.Adam(model.parameters())
            best = float("inf")
            for epoch in range(20):
                for x, y in train_loader:
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(x), y).backward()
                    optimizer.step()
                with torch.no_grad():
                    loss = sum(nn.functional.mse_loss(model(x), y).item() for x, y in val_loader)
                if loss < best:
                    best = loss
                    torch.save(model.state_dict(), "best.pt")
            """,
            why="The arrays of one file may well be different parts.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            image = torch.load("scene.pt")
            labels = torch.load("labels.pt")
            index = torch.load("index.pt")


            def patches(places, size=7):
                found = torch.from_numpy(np.zeros((len(index), size, size, 3))).float()
                for i in range(len(places)):
                    row, column = places[i]
                    found[i] = image[row:row + size, column:column + size]
                return found


            train = TensorDataset(patches(index[0]), labels[index[0]])
            val = TensorDataset(patches(index[1]), labels[index[1]])
            train_loader, val_loader = DataLoader(train, 64, shuffle=True), DataLoader(val, 64)
            model = nn.Sequential(nn.Flatten(), nn.Linear(147, 9))
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), 1e-3)
            best = 0.0
            for epoch in range(50):
                model.train()
                for x, y in train_loader:
                    optimizer.zero_grad()
                    criterion(model(x), y).backward()
                    optimizer.step()
                model.eval()
                with torch.no_grad():
                    hits = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
                if hits > best:
                    best = hits
                    torch.save(model.state_dict(), "best.pt")
            """,
            why="Both arrays are made of zeros by one function, and filled from other places.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in overlap.overlaps(program):
            yield self.finding(
                found.site,
                f"The data of this evaluation overlaps with the training data (set up at {{0}}): {found.why}. "
                "Overfitting cannot be seen, and what is selected here is what was learnt by heart.",
                "Divide the data once, and give training and evaluation different parts.",
                evidence=[
                    Hop("the training data is set up here", found.trained),
                    Hop("the evaluation is used here", found.used),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for loader in run.loaders:
            if loader.line is None or not evidence.evaluates(loader):
                continue
            for trained in evidence.trained_beside(run, loader):
                shared = loader.shared.get(str(trained.key), 0)
                known = min(1.0, trained.distinct / trained.samples) if trained.samples else 1.0
                share = shared / (known * loader.distinct) if loader.distinct else 0.0
                # Where the training data repeats itself, so will new data: few different inputs are possible.
                if trained.repeated > self.number("repeats") * trained.remembered:
                    continue
                if shared < self.number("samples") or share < self.number("share"):
                    continue
                every = share > self.number("all")
                yield self.finding(
                    loader.line,
                    f"{shared} of {loader.distinct} different evaluation inputs looked at are training inputs, too"
                    + ("" if known == 1 else f" (of which {known:.0%} are known)")
                    + ": the score counts what was learned by heart.",
                    "Cut the data into parts that share no sample, and remove duplicates before.",
                    evidence=[
                        Hop("the training data is loaded here", trained.line, f"{trained.distinct} inputs known"),
                        Hop("the evaluation reads its samples here", loader.read_at, f"{shared} shared"),
                    ],
                    # The training set itself may be evaluated on, to compare with.
                    confidence=Confidence.LIKELY if every else Confidence.CERTAIN,
                )
