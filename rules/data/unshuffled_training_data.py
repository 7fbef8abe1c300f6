"""NN101: training batches come in the order of the file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from ...analyzer import lineage
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Epoch, Loader, Run


class UnshuffledTrainingData(Rule):
    """The training data is never shuffled: each epoch shows the same batches in the same order.

    ## What it is

    A `DataLoader` over a map-style dataset drives training and has neither `shuffle=True` nor a sampler; its
    default is file order. The same goes for mini-batches cut by hand, `x[i:i + batch_size]`, from arrays that
    nobody permutes.

    ## Why it hurts training

    Stochastic gradient descent rests on batches that are random samples of the data. Files are often sorted:
    by class, by date, by patient, by difficulty. Then each batch holds one class only, the network learns the
    latest class and forgets the one before, batch normalization collects the statistics of single classes,
    and the loss of one epoch swings in the same rhythm again and again. Also without any sorting, the same
    batches in the same order make the gradient noise repeat itself, and generalisation suffers.

    ## How it is told apart from code that only looks alike

    - Only a loader that *trains* counts: loaders for evaluation, for embeddings or for predictions belong in
      file order.
    - A `sampler` or a `batch_sampler` (weighted, distributed, of one's own) decides the order itself.
    - An `IterableDataset` cannot be shuffled by its loader; a dataset whose `__getitem__` draws at random needs
      no shuffling.
    - `shuffle=args.shuffle`, `shuffle=(sampler is None)` and `**loader_options` are not known, so not reported.
    - Arrays that were permuted before the epoch (`randperm`, `np.random.permutation`) are shuffled; the whole
      data as one batch has no order.
    - Sequence models with state that is carried from batch to batch need the order of the file.

    In a run, two complete epochs must have brought equal batches (equal contents; or, likely, equal labels where
    the inputs are augmented), in at least 4 batches an epoch. One epoch is enough where its labels are sorted: the
    number of runs of equal labels is compared with that of a random order (mean and variance of Barton and David,
    1957); fewer than half the expected runs with a one-sided p below 1e-6 is no accident. A sampler of one's
    own, a recurrent layer that is given its state, and a data set whose labels differ from epoch to epoch are left
    alone. Batches made by hand must come back in the same cycle three times to be called likely. Numbers without
    another source are the project's own choice, made so that chance cannot reach them.

    ## What to do

    Shuffle where the training loader is made:

    ```python
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=256)
    ```

    By hand: `order = torch.randperm(len(x))` in every epoch, then `x[order[i:i + batch_size]]`.
    """

    code = "NN101"
    name = "unshuffled-training-data"
    points = (7,)
    severity = Severity.WARNING
    triggers = ("DataLoader", "backward")
    options = {"batches": 4, "p": 1e-6, "cycles": 3}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.datasets import ImageFolder
            from torchvision.models import resnet34
            from torchvision.transforms import Compose, Resize, ToTensor

            transform = Compose([Resize((224, 224)), ToTensor()])
            train_data = ImageFolder("plants/train", transform)
            val_data = ImageFolder("plants/val", transform)
            train_loader = DataLoader(train_data, batch_size=32, num_workers=4)  # <-- NN101
            val_loader = DataLoader(val_data, batch_size=64, num_workers=4)

            model = resnet34(num_classes=38)
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

            for epoch in range(10):
                model.train()
                for images, labels in train_loader:
                    optimizer.zero_grad()
                    loss = criterion(model(images), labels)
                    loss.backward()
                    optimizer.step()

                model.eval()
                correct = 0
                with torch.no_grad():
                    for images, labels in val_loader:
                        correct += (model(images).argmax(1) == labels).sum().item()
                print(epoch, correct / len(val_data))
            """,
            why="A flat script; both loaders are made without shuffle.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, Dataset


            class PriceDataset(Dataset):
                def __init__(self, rows):
                    self.rows = rows

                def __len__(self):
                    return len(self.rows)

                def __getitem__(self, index):
                    row = self.rows[index]
                    return row[:-1], row[-1]


            class Trainer:
                def __init__(self, rows, lr=1e-3):
                    self.loader = DataLoader(PriceDataset(rows), batch_size=64, shuffle=False)  # <-- NN101
                    self.model = nn.Sequential(nn.Linear(rows.shape[1] - 1, 64), nn.ReLU(), nn.Linear(64, 1))
                    self.criterion = nn.HuberLoss()
                    self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr)

                def train_epoch(self):
                    total = 0.0
                    for features, price in self.loader:
                        loss = self.criterion(self.model(features).squeeze(1), price)
                        self.optimizer.zero_grad()
                        loss.backward()
                        self.optimizer.step()
                        total += loss.item()
                    return total / len(self.loader)

                def fit(self, epochs):
                    for epoch in range(epochs):
                        print(epoch, self.train_epoch())


            if __name__ == "__main__":
                Trainer(torch.load("diamonds.pt")).fit(50)
            """,
            why="shuffle=False in the constructor of a Trainer class, which trains with that loader.",
        ),
        Example(
            """
            import numpy as np
            import torch
            import torch.nn.functional as F
            from torch import nn


            def train(net, features, labels, batch_size=128, epochs=30, lr=0.05):
                optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
                for epoch in range(epochs):
                    losses = []
                    for start in range(0, len(features), batch_size):  # <-- NN101
                        x = features[start : start + batch_size]
                        y = labels[start : start + batch_size]
                        optimizer.zero_grad()
                        loss = F.cross_entropy(net(x), y)
                        loss.backward()
                        optimizer.step()
                        losses.append(loss.item())
                    print(f"epoch {epoch}: {np.mean(losses):.4f}")


            def main():
                archive = np.load("letters.npz")
                features = torch.from_numpy(archive["pixels"]).float().div(255)
                labels = torch.from_numpy(archive["letter"]).long()
                net = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 26))
                train(net, features, labels)


            if __name__ == "__main__":
                main()
            """,
            why="Mini-batches cut by hand, always from the front of the arrays to their end.",
        ),
        Example(
            """
            from dataclasses import dataclass

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset, random_split


            @dataclass
            class Options:
                batch_size: int = 32
                lr: float = 2e-4
                epochs: int = 8


            def make_loaders(options):
                tokens, labels = torch.load("intents.pt")
                train_part, dev_part = random_split(TensorDataset(tokens, labels), [0.9, 0.1])
                train_loader = DataLoader(train_part, options.batch_size, False)  # <-- NN101
                dev_loader = DataLoader(dev_part, options.batch_size, False)
                return train_loader, dev_loader


            @torch.no_grad()
            def accuracy(model, loader):
                model.eval()
                hits = [(model(x).argmax(1) == y).float().mean().item() for x, y in loader]
                return sum(hits) / len(hits)


            def main(options):
                train_loader, dev_loader = make_loaders(options)
                model = nn.Sequential(nn.EmbeddingBag(12000, 128), nn.Dropout(0.2), nn.Linear(128, 64))
                optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr)
                for epoch in range(options.epochs):
                    model.train()
                    for x, y in train_loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    print(epoch, accuracy(model, dev_loader))


            main(Options())
            """,
            why="A function makes both loaders from one dataclass; the order of the arguments hides the False.",
        ),
        Example(
            """
            # file: data/__init__.py
            from .audio import get_dataloader as get_dataloader
            # file: data/audio.py
            import csv

            import torch
            import torchaudio
            from torch.utils.data import DataLoader, Dataset


            class Birdsong(Dataset):
                def __init__(self, index):
                    with open(index) as handle:
                        self.items = list(csv.reader(handle))

                def __len__(self):
                    return len(self.items)

                def __getitem__(self, i):
                    path, label = self.items[i]
                    wave, _ = torchaudio.load(path)
                    return wave[:, :16000], torch.tensor(int(label))


            def get_dataloader(index, batch_size):
                dataset = Birdsong(index)
                return DataLoader(dataset, batch_size=batch_size, num_workers=8, pin_memory=True)  # <-- NN101
            # file: trainer.py
            import torch.nn.functional as F


            class Trainer:
                def __init__(self, model, optimizer):
                    self.model, self.optimizer = model, optimizer

                def fit(self, loader, epochs):
                    for _ in range(epochs):
                        for wave, label in loader:
                            loss = F.cross_entropy(self.model(wave), label)
                            self.optimizer.zero_grad()
                            loss.backward()
                            self.optimizer.step()
            # file: main.py
            import torch
            from torch import nn

            from data import get_dataloader
            from trainer import Trainer

            body = nn.Sequential(nn.Conv1d(1, 64, 80, 16), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten())
            model = nn.Sequential(body, nn.Linear(64, 50))
            Trainer(model, torch.optim.Adam(model.parameters())).fit(get_dataloader("train.csv", 64), epochs=40)
            """,
            why="The loader comes from a data package, the loop that trains on it stands in another file.",
        ),
        Example(
            """
            import lightning as L
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms


            class DigitsData(L.LightningDataModule):
                def __init__(self, batch_size=64):
                    super().__init__()
                    self.batch_size = batch_size

                def setup(self, stage=None):
                    self.train_set = datasets.USPS("data", train=True, transform=transforms.ToTensor())
                    self.val_set = datasets.USPS("data", train=False, transform=transforms.ToTensor())

                def train_dataloader(self):
                    return DataLoader(self.train_set, batch_size=self.batch_size)  # <-- NN101

                def val_dataloader(self):
                    return DataLoader(self.val_set, batch_size=self.batch_size)


            class LitClassifier(L.LightningModule):
                def __init__(self):
                    super().__init__()
                    self.net = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))

                def training_step(self, batch, batch_idx):
                    images, labels = batch
                    return F.cross_entropy(self.net(images), labels)

                def validation_step(self, batch, batch_idx):
                    images, labels = batch
                    self.log("val_loss", F.cross_entropy(self.net(images), labels))

                def configure_optimizers(self):
                    return torch.optim.Adam(self.parameters(), lr=1e-3)


            if __name__ == "__main__":
                L.Trainer(max_epochs=5).fit(LitClassifier(), datamodule=DigitsData())
            """,
            why="Lightning: train_dataloader without shuffle.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from torch import nn


            def train(x, y, epochs, size):
                model = nn.Sequential(nn.Linear(x.shape[1], 32), nn.ReLU(), nn.Linear(32, 4))
                optimizer = torch.optim.Adam(model.parameters())
                batches = len(x) // size
                for epoch in range(epochs):
                    for number in range(batches):  # <-- NN101
                        inputs = x[number * size : (number + 1) * size]
                        labels = y[number * size : (number + 1) * size]
                        optimizer.zero_grad()
                        nn.functional.cross_entropy(model(inputs), labels).backward()
                        optimizer.step()
                for epoch in range(epochs):
                    for inputs, labels in zip(x.split(size), y.split(size)):  # <-- NN101
                        optimizer.zero_grad()
                        nn.functional.cross_entropy(model(inputs), labels).backward()
                        optimizer.step()
                return model


            archive = np.load("gestures.npz")
            train(torch.from_numpy(archive["x"]), torch.from_numpy(archive["y"]), 20, 64)
            """,
            why="Batches by their number, and the pieces of split.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, random_split
            from torchvision import datasets, transforms

            data = datasets.ImageFolder("plants", transforms.Compose([transforms.Resize(64), transforms.ToTensor()]))
            train_set, val_set = random_split(data, [0.8, 0.2])
            train_loader = DataLoader(train_set, batch_size=16)  # <-- NN101 likely
            val_loader = DataLoader(val_set, batch_size=16)
            net = nn.Sequential(nn.Flatten(), nn.Linear(64 * 64 * 3, 12))
            optimizer = torch.optim.Adam(net.parameters())
            for epoch in range(30):
                for x, y in train_loader:
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(net(x), y).backward()
                    optimizer.step()
            """,
            why="A random split draws the order once.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision.datasets import CIFAR100
            from torchvision.models import resnet18
            from torchvision.transforms import ToTensor

            train_set = CIFAR100("data", train=True, transform=ToTensor())
            test_set = CIFAR100("data", train=False, transform=ToTensor())
            train_loader = DataLoader(train_set, 128, True, num_workers=8)
            embedding_loader = DataLoader(train_set, 512, shuffle=False)
            test_loader = DataLoader(test_set, 512)

            model = resnet18(num_classes=100)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
            for epoch in range(50):
                model.train()
                for images, labels in train_loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(images), labels).backward()
                    optimizer.step()

            model.eval()
            with torch.no_grad():
                embeddings = torch.cat([model(images) for images, _ in embedding_loader])
                hits = sum((model(images).argmax(1) == labels).sum().item() for images, labels in test_loader)
            torch.save(embeddings, "embeddings.pt")
            print(hits / len(test_set))
            """,
            why="The training loader shuffles; those for evaluation and embeddings keep the order of the file.",
        ),
        Example(
            """
            import random

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader, DistributedSampler, Sampler, TensorDataset, WeightedRandomSampler


            class BucketSampler(Sampler):
                def __init__(self, lengths, batch_size):
                    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
                    self.batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]

                def __len__(self):
                    return len(self.batches)

                def __iter__(self):
                    random.shuffle(self.batches)
                    return iter(self.batches)


            def make_loader(dataset, weights, lengths, kind):
                if kind == "weighted":
                    return DataLoader(dataset, batch_size=32, sampler=WeightedRandomSampler(weights, len(weights)))
                if kind == "bucket":
                    return DataLoader(dataset, batch_sampler=BucketSampler(lengths, 32))
                sampler = DistributedSampler(dataset) if torch.distributed.is_initialized() else None
                return DataLoader(dataset, batch_size=32, shuffle=(sampler is None), sampler=sampler)


            def main(kind="bucket"):
                x, y, lengths = torch.load("utterances.pt")
                weights = 1.0 / torch.bincount(y)[y]
                model = nn.Linear(x.size(1), int(y.max()) + 1)
                optimizer = torch.optim.Adam(model.parameters())
                loader = make_loader(TensorDataset(x, y), weights, lengths.tolist(), kind)
                for epoch in range(10):
                    for features, labels in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(features), labels).backward()
                        optimizer.step()


            main()
            """,
            why="A weighted sampler, a batch sampler of the project, and shuffle that depends on the sampler.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def build_loader(split, training, **options):
                return DataLoader(torch.load(f"{split}.pt"), shuffle=training, **options)


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--no-shuffle", dest="shuffle", action="store_false")
                parser.add_argument("--batch-size", type=int, default=64)
                args = parser.parse_args()
                loader_args = {"batch_size": args.batch_size, "shuffle": args.shuffle, "drop_last": True}

                first = build_loader("first", training=True, batch_size=args.batch_size)
                second = DataLoader(torch.load("second.pt"), **loader_args)
                third = DataLoader(torch.load("third.pt"), batch_size=args.batch_size, shuffle=args.shuffle)
                model = nn.Sequential(nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 1))
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                for stage in (first, second, third):
                    for x, y in stage:
                        loss = F.mse_loss(model(x).squeeze(1), y)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            if __name__ == "__main__":
                main()
            """,
            why="Decided by a variable, by an argument, and by options that are unpacked.",
        ),
        Example(
            """
            # file: streams/datasets.py
            import random

            import numpy as np
            import torch
            from torch.utils.data import Dataset, IterableDataset


            class TextStream(IterableDataset):
                def __init__(self, paths):
                    self.paths = paths

                def __iter__(self):
                    for path in random.sample(self.paths, len(self.paths)):
                        tokens = np.fromfile(path, dtype=np.uint16)
                        for i in range(0, len(tokens) - 257, 256):
                            yield torch.from_numpy(tokens[i : i + 257].astype(np.int64))


            class RandomCrops(Dataset):
                def __init__(self, tokens, length=256, size=10_000):
                    self.tokens, self.length, self.size = tokens, length, size

                def __len__(self):
                    return self.size

                def __getitem__(self, index):
                    start = random.randrange(len(self.tokens) - self.length - 1)
                    return self.tokens[start : start + self.length + 1]
            # file: streams/__init__.py
            from .datasets import RandomCrops, TextStream

            __all__ = ["RandomCrops", "TextStream"]
            # file: train.py
            import glob

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from streams import RandomCrops, TextStream

            model = nn.Sequential(nn.Embedding(50257, 128), nn.Linear(128, 50257))
            optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4)
            pretraining = DataLoader(TextStream(glob.glob("shards/*.bin")), batch_size=16)
            finetuning = DataLoader(RandomCrops(torch.load("poems.pt")), batch_size=16, num_workers=2)
            for loader in (pretraining, finetuning):
                for block in loader:
                    logits = model(block[:, :-1])
                    loss = F.cross_entropy(logits.flatten(0, 1), block[:, 1:].flatten())
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="Datasets that stream or draw at random: the loader's order means nothing.",
        ),
        Example(
            """
            import numpy as np
            import torch
            import torch.nn.functional as F
            from torch import nn


            def batches(n, size):
                order = np.random.permutation(n)
                for start in range(0, n, size):
                    yield order[start : start + size]


            def predict(net, x, size=1024):
                with torch.no_grad():
                    return torch.cat([net(x[i : i + size]) for i in range(0, len(x), size)])


            x, y = torch.load("waves.pt")
            net = nn.Sequential(nn.Linear(x.size(1), 64), nn.Tanh(), nn.Linear(64, 1))
            optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
            for epoch in range(100):
                for index in batches(len(x), 64):
                    optimizer.zero_grad()
                    F.mse_loss(net(x[index]), y[index]).backward()
                    optimizer.step()

                order = torch.randperm(len(x))
                x, y = x[order], y[order]
                for start in range(0, len(x), 64):
                    optimizer.zero_grad()
                    F.mse_loss(net(x[start : start + 64]), y[start : start + 64]).backward()
                    optimizer.step()
                print(epoch, F.mse_loss(predict(net, x), y).item())

            fine_tuner = torch.optim.LBFGS(net.parameters())


            def closure():
                fine_tuner.zero_grad()
                loss = F.mse_loss(net(x), y)
                loss.backward()
                return loss


            for _ in range(20):
                fine_tuner.step(closure)
            """,
            why="Cut by hand, from a permutation; evaluated by hand, in order; and one batch for all.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class LanguageModel(nn.Module):
                def __init__(self, vocabulary, width=200):
                    super().__init__()
                    self.embedding = nn.Embedding(vocabulary, width)
                    self.lstm = nn.LSTM(width, width)
                    self.decoder = nn.Linear(width, vocabulary)

                def forward(self, tokens, state):
                    output, state = self.lstm(self.embedding(tokens), state)
                    return self.decoder(output), state


            def batchify(tokens, columns):
                rows = len(tokens) // columns
                return tokens[: rows * columns].view(columns, rows).t().contiguous()


            corpus = batchify(torch.load("penn_treebank.pt"), columns=20)
            chunks = DataLoader(corpus, batch_size=35, shuffle=False, drop_last=True)
            model = LanguageModel(10000)
            optimizer = torch.optim.SGD(model.parameters(), lr=20.0)
            for epoch in range(40):
                state = None
                for chunk in chunks:
                    logits, state = model(chunk[:-1], state)
                    state = tuple(s.detach() for s in state)
                    loss = F.cross_entropy(logits.flatten(0, 1), chunk[1:].flatten())
                    optimizer.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(model.parameters(), 0.25)
                    optimizer.step()
            """,
            why="Truncated backpropagation: the state goes from batch to batch, so the order is needed.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from torch import nn

            x, y = torch.load("gestures.pt")
            order = np.arange(len(x))
            model = nn.Linear(x.shape[1], 4)
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(20):
                np.random.shuffle(order)
                for start in range(0, len(x), 64):
                    rows = order[start : start + 64]
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                    optimizer.step()
                fresh = torch.randperm(len(x))
                for inputs, labels in zip(x[fresh].split(64), y[fresh].split(64)):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(inputs), labels).backward()
                    optimizer.step()
            """,
            why="Numbers of rows that are shuffled in place, and pieces of permuted arrays.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            def train(model, loader, micro):
                optimizer = torch.optim.AdamW(model.parameters())
                for epoch in range(5):
                    for x, y in loader:
                        optimizer.zero_grad()
                        for i in range(0, len(x), micro):
                            part, target = x[i : i + micro], y[i : i + micro]
                            (nn.functional.mse_loss(model(part), target) * len(part) / len(x)).backward()
                        optimizer.step()


            def saliency(model, images):
                maps = []
                for image, label in DataLoader(images, batch_size=1):
                    image.requires_grad_()
                    model(image)[0, label].sum().backward()
                    maps.append(image.grad.abs())
                return maps


            def smoke():
                data = TensorDataset(torch.randn(40, 6), torch.arange(40) % 2)
                net = nn.Linear(6, 2)
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                for epoch in range(2):
                    for x, y in DataLoader(data, batch_size=8):
                        optimizer.zero_grad()
                        nn.functional.cross_entropy(net(x), y).backward()
                        optimizer.step()
            """,
            why="Pieces of one batch add up to one step, noise has no order, and an explanation updates nothing.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        restarted = {found.loader for found in lineage.restarted_loaders(program)}  # NN103 tells why
        for loader, trained in lineage.training_loaders(program):
            if loader in restarted or not lineage.reads_in_order(program, loader) or lineage.is_noise(program, loader):
                continue
            drawn = lineage.drawn_once(program, loader)
            yield self.finding(
                loader.site,
                _DRAWN if drawn else _STORED,
                "Pass `shuffle=True` (or a sampler) to the training loader.",
                evidence=[Hop("training runs over it here", trained)],
                confidence=Confidence.LIKELY if drawn else Confidence.CERTAIN,
            )
        for sliced in lineage.batches_in_file_order(program):
            yield self.finding(
                sliced.loop.site,
                "Mini-batches are cut from the training data in stored order, the same in every epoch of the loop at "
                "{0}.",
                "Draw a new `torch.randperm(len(x))` every epoch and index with it.",
                evidence=[Hop("the epochs", sliced.epochs.site), Hop("a batch is cut here", sliced.site)],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        if _state_is_carried(run):
            return
        used = {found.loader for found in run.passes if found.grad and found.used}
        places: dict[object, list[Loader]] = {}
        for loader in run.loaders:
            if loader.trains and loader.key in used and loader.line is not None:
                places.setdefault((loader.line, loader.samples, loader.batch_size), []).append(loader)
        for loaders in places.values():
            loader = loaders[-1]
            if loader.sampler not in ("SequentialSampler", "_InfiniteConstantSampler"):
                continue
            finding = next(filter(None, map(self._sorted, loaders)), None) or self._same_order(loaders)
            if finding is not None:
                yield finding
        yield from self._cycles(run)

    def _sorted(self, loader: Loader) -> Finding | None:
        """One epoch, whose labels come in far fewer runs than in a random order."""
        if loader.sampler != "SequentialSampler" or len(loader.label_runs) != 4:
            return None
        samples, runs, expected, deviation = loader.label_runs
        epoch = next((e for e in loader.epochs if e.complete), None)
        if epoch is None or epoch.batches < self.number("batches") or len(loader.labels) < 2 or deviation <= 0:
            return None
        p = 0.5 * math.erfc((expected - runs) / deviation / math.sqrt(2))
        if 2 * runs >= expected or p >= self.number("p"):
            return None
        chance = f"p = {p:.1g}" if p > 0 else "p < 1e-300"
        return self.finding(
            loader.line,
            f"The training loader reads its data set in stored order, and that is sorted by label: {samples:.0f} "
            f"labels of {len(loader.labels)} classes come in {runs:.0f} runs, in random order it would be about "
            f"{expected:.0f} ({chance}). Batches hold few classes, and the network forgets one while it learns the "
            "next.",
            "Pass `shuffle=True` (or a sampler) to the training loader.",
            evidence=[
                Hop("training iterates over it here", loader.read_at),
                Hop("runs of equal labels in an epoch", loader.line, f"{runs:.0f} of about {expected:.0f}"),
            ],
        )

    def _same_order(self, loaders: list[Loader]) -> Finding | None:
        """Two epochs with the same batches; of one loader, or of loaders that the same line makes."""
        loader = loaders[-1]
        epochs = [(other, epoch) for other in loaders for epoch in other.epochs if self._counts(epoch)]
        certain = likely = False
        for (first, a), (second, b) in combinations(epochs[:8], 2):
            if a.batches != b.batches:
                continue
            if a.content and a.content == b.content:
                certain = True
                break
            same_order = first is second and a.order and a.order == b.order
            same_labels = a.labels and a.labels == b.labels and _minority(loader) >= 8
            likely = likely or bool(same_order and same_labels)
        if not certain and not likely:
            return None
        batches = epochs[0][1].batches
        if certain:
            fact = f"every epoch brings the same {batches} batches"
        else:
            fact = f"the labels of all {batches} batches are the same ones in every epoch"
        return self.finding(
            loader.line,
            f"The training loader reads its data set in stored order: {fact}. Neighbouring samples stay together, and "
            "the error that each batch makes in the gradient comes back in every epoch instead of averaging out.",
            "Pass `shuffle=True` (or a sampler) to the training loader.",
            evidence=[
                Hop("training iterates over it here", loader.read_at),
                Hop("the sampler that sets the order", loader.line, loader.sampler),
            ],
            confidence=Confidence.CERTAIN if certain and loader.map_style else Confidence.LIKELY,
        )

    def _counts(self, epoch: Epoch) -> bool:
        """A whole epoch of training on batches that differ."""
        enough = epoch.complete and epoch.batches >= self.number("batches")
        return enough and 2 * epoch.trained >= epoch.batches and 2 * epoch.repeats < epoch.batches

    def _cycles(self, run: Run) -> Iterator[Finding]:
        """Batches made by hand that come back in the same order."""
        for found in run.passes:
            if found.loader is not None or not found.grad or not found.training or 2 * found.used < found.watched:
                continue
            inputs = found.inputs
            longest = int(len(inputs) / self.number("cycles"))
            for period in range(int(self.number("batches")), longest + 1):
                if inputs[period] == inputs[0]:
                    if len(set(inputs[:period])) == period and inputs[period:] == inputs[:-period]:
                        yield self.finding(
                            found.line,
                            f"The model gets the same {period} batches in the same order again and again (seen "
                            f"{len(inputs) // period} times): nothing shuffles the data between epochs, and the error "
                            "that each batch makes in the gradient comes back instead of averaging out.",
                            "Draw a new `torch.randperm(len(x))` every epoch and index with it, or use "
                            "`DataLoader(..., shuffle=True)`.",
                            evidence=[Hop("the batches enter the model here", found.line, f"{period} in a cycle")],
                            confidence=Confidence.LIKELY,
                        )
                    break

    def refute(self, finding: Finding, run: Run) -> str:
        loaders = [loader for loader in evidence.at(run.loaders, finding) if loader.trains]
        contents = [[e.content for e in loader.epochs if e.complete and e.content] for loader in loaders]
        if not loaders or any(len(known) < 2 or len(set(known)) < len(known) for known in contents):
            return ""
        return f"its {len(contents[0])} epochs looked at came with other batches each"


def _minority(loader: Loader) -> int:
    """Samples that do not have the most frequent label: the fewer, the less an equal order of labels says."""
    return sum(loader.labels.values()) - max(loader.labels.values(), default=0)


def _state_is_carried(run: Run) -> bool:
    """A recurrent layer is given a state: perhaps that of the batch before, and then batches must keep their order."""
    return any(module.given_state for module in run.modules)


_STORED = (
    "The training loader reads its data set in stored order, the same in every epoch (trained on in the loop at {0}): "
    "neighbouring samples are alike and the gradients are biased."
)
_DRAWN = (
    "The training loader reads the part that a random split has made in the same order in every epoch (trained on in "
    "the loop at {0}): the same samples meet in the same batches, and the error of each batch never averages out."
)
