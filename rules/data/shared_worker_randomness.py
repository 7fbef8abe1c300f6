"""NN114: all workers of a loader draw the same random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import workers
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class SharedWorkerRandomness(Rule):
    """A random generator that the dataset made once is copied into every worker: all of them augment alike.

    ## What it is

    `Dataset.__init__` makes a generator of its own (`np.random.default_rng`, `RandomState`, `random.Random`,
    `torch.Generator`), and `__getitem__` draws from it. With `num_workers` above 1 each worker process gets a copy
    of the dataset, generator included, in the same state. PyTorch gives every worker its own seed, but only for the
    *global* generators of torch, numpy and random.

    ## Why it hurts training

    With 8 workers the augmentations come in groups of 8 equal ones: there is an eighth of the variety, and batches
    are more alike than they should be. And since the workers are made anew from the dataset in the main process,
    which never draws, each epoch repeats the random numbers of the first one: the "random" crops of a sample are
    always the same. The network overfits as if there were hardly any augmentation.

    ## How it is told apart from code that only looks alike

    - The global functions (`np.random.rand()`, `random.random()`, `torch.rand()`) are seeded for each worker by
      current versions of PyTorch.
    - A generator that `__getitem__` makes itself, by seed and index, differs from sample to sample.
    - `worker_init_fn`, or a look at `get_worker_info`, may seed the copies: not reported.
    - One worker, or none, has one stream of numbers (a single worker still repeats it in every epoch).
    - Generators that only the constructor uses (for a split, for a fixed order) are equal on purpose.
    - Streams (`IterableDataset`) often need one order in all workers.

    ## What to do

    Use the global generator, or make one in the worker:

    ```python
    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, self.epoch, index))
    ```
    """

    code = "NN114"
    name = "shared-worker-randomness"
    points = (13,)
    severity = Severity.ERROR
    triggers = ("num_workers",)

    bad = [
        Example(
            """
            import numpy as np
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, Dataset


            class Spectrograms(Dataset):
                def __init__(self, clips, labels, seed=0):
                    self.clips, self.labels = clips, labels
                    self.rng = np.random.default_rng(seed)  # <-- NN114

                def __len__(self):
                    return len(self.clips)

                def __getitem__(self, index):
                    start = self.rng.integers(0, self.clips.shape[-1] - 128)
                    clip = self.clips[index, :, start : start + 128]
                    return torch.from_numpy(clip), self.labels[index]


            archive = np.load("clips.npz")
            train_set = Spectrograms(archive["clips"], archive["labels"])
            loader = DataLoader(train_set, batch_size=32, shuffle=True, num_workers=8)
            model = nn.Sequential(nn.Flatten(), nn.Linear(64 * 128, 10))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(50):
                for clip, label in loader:
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(clip), label).backward()
                    optimizer.step()
            """,
            why="A generator in the constructor of the data set, and eight workers.",
        ),
        Example(
            """
            import random

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader, Dataset, random_split


            class Augmented(Dataset):
                def __init__(self, images, labels):
                    super().__init__()
                    self.images, self.labels = images, labels
                    self.random = random.Random(42)  # <-- NN114

                def augment(self, image):
                    if self.random.random() < 0.5:
                        image = image.flip(-1)
                    return image * self.random.uniform(0.8, 1.2)

                def __len__(self):
                    return len(self.images)

                def __getitem__(self, index):
                    return self.augment(self.images[index]), self.labels[index]


            def main():
                data = Augmented(*torch.load("images.pt"))
                train_set, val_set = random_split(data, [900, 100])
                loader = DataLoader(train_set, 16, shuffle=True, num_workers=4, pin_memory=True)
                model = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for images, labels in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(images), labels).backward()
                    optimizer.step()


            main()
            """,
            why="A helper method draws from the generator; the loader reads a half of a split.",
        ),
        Example(
            """
            # file: data.py
            import numpy as np
            import torch
            from torch.utils.data import Dataset


            class Base(Dataset):
                def __init__(self, path, seed):
                    self.x, self.y = torch.load(path)
                    self.state = np.random.RandomState(seed)  # <-- NN114

                def __len__(self):
                    return len(self.x)


            class Noisy(Base):
                def __init__(self, path, scale):
                    super().__init__(path, seed=1)
                    self.scale = scale

                def __getitem__(self, index):
                    noise = self.state.normal(scale=self.scale, size=tuple(self.x[index].shape))
                    return self.x[index] + torch.from_numpy(noise).float(), self.y[index]
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from data import Noisy

            WORKERS = 6


            class Trainer:
                def __init__(self, path):
                    self.loader = DataLoader(Noisy(path, 0.1), batch_size=64, shuffle=True, num_workers=WORKERS)
                    self.model = nn.Linear(30, 1)
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def fit(self):
                    for x, y in self.loader:
                        self.optimizer.zero_grad()
                        nn.functional.mse_loss(self.model(x).squeeze(1), y).backward()
                        self.optimizer.step()


            Trainer("table.pt").fit()
            """,
            why="The generator is made by the base class, the sample by the class derived from it.",
        ),
        Example(
            """
            import torch
            from torch.utils.data import DataLoader, Dataset


            class Pairs(Dataset):
                def __init__(self, vectors):
                    self.vectors = vectors
                    self.generator = torch.Generator()  # <-- NN114

                def __len__(self):
                    return len(self.vectors)

                def __getitem__(self, index):
                    other = torch.randint(len(self.vectors), (1,), generator=self.generator).item()
                    return self.vectors[index], self.vectors[other]


            def loaders(path):
                return DataLoader(Pairs(torch.load(path)), batch_size=128, shuffle=True, num_workers=2)


            for anchor, negative in loaders("vectors.pt"):
                print((anchor - negative).norm(dim=1).mean())
            """,
            why="A generator of torch for the negatives of contrastive learning.",
        ),
    ]

    good = [
        Example(
            """
            import numpy as np
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, Dataset


            class Spectrograms(Dataset):
                def __init__(self, clips, labels, seed=0):
                    order = np.random.default_rng(seed).permutation(len(clips))
                    self.clips, self.labels = clips[order], labels[order]
                    self.seed = seed

                def __len__(self):
                    return len(self.clips)

                def __getitem__(self, index):
                    rng = np.random.default_rng((self.seed, index))
                    start = rng.integers(0, self.clips.shape[-1] - 128) + np.random.randint(3)
                    return torch.from_numpy(self.clips[index, :, start : start + 128]), self.labels[index]


            archive = np.load("clips.npz")
            loader = DataLoader(Spectrograms(archive["c"], archive["l"]), batch_size=32, shuffle=True, num_workers=8)
            model = nn.Sequential(nn.Flatten(), nn.Linear(64 * 128, 10))
            optimizer = torch.optim.Adam(model.parameters())
            for clip, label in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(clip), label).backward()
                optimizer.step()
            """,
            why="A generator for each sample, and the global one, which PyTorch seeds for each worker.",
        ),
        Example(
            """
            # file: data.py
            import random

            from torch.utils.data import Dataset, get_worker_info


            class Lazy(Dataset):
                def __init__(self, rows):
                    self.rows = rows
                    self.rng = random.Random(0)
                    self.ready = False

                def __len__(self):
                    return len(self.rows)

                def __getitem__(self, index):
                    if not self.ready:
                        info = get_worker_info()
                        self.rng = random.Random(info.seed if info else 0)
                        self.ready = True
                    return self.rows[index] * self.rng.random()


            class Seeded(Dataset):
                def __init__(self, rows):
                    self.rows = rows
                    self.rng = random.Random(0)

                def __len__(self):
                    return len(self.rows)

                def __getitem__(self, index):
                    return self.rows[index] + self.rng.gauss(0, 1)


            def seed_worker(worker):
                info = get_worker_info()
                info.dataset.rng = random.Random(info.seed)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from data import Lazy, Seeded, seed_worker

            rows = torch.randn(500, 4)
            model = nn.Linear(4, 4)
            optimizer = torch.optim.Adam(model.parameters())
            for loader in (
                DataLoader(Lazy(rows), 16, shuffle=True, num_workers=4),
                DataLoader(Seeded(rows), 16, shuffle=True, num_workers=4, worker_init_fn=seed_worker),
            ):
                for x in loader:
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(x), x).backward()
                    optimizer.step()
            """,
            why="The copies are seeded in the workers, lazily or by worker_init_fn.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, Dataset


            class Masked(Dataset):
                def __init__(self, rows, seed):
                    self.rows = rows
                    self.rng = np.random.default_rng(seed)
                    self.shuffle()

                def shuffle(self):
                    self.order = self.rng.permutation(len(self.rows))

                def __len__(self):
                    return len(self.rows)

                def __getitem__(self, index):
                    return self.rows[self.order[index]]


            class Trainer:
                def __init__(self, rows):
                    self.data = Masked(rows, 0)
                    self.model = nn.Linear(rows.shape[1], rows.shape[1])
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def fit(self):
                    for epoch in range(10):
                        self.data.shuffle()
                        for x in DataLoader(self.data, batch_size=16, shuffle=True, num_workers=4):
                            self.optimizer.zero_grad()
                            nn.functional.mse_loss(self.model(x), x).backward()
                            self.optimizer.step()


            Trainer(torch.randn(300, 6)).fit()
            """,
            why="The generator is used in the main process only, before the workers are made.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from torch.utils.data import DataLoader, Dataset, IterableDataset


            class Jitter(Dataset):
                def __init__(self, rows):
                    self.rows = rows
                    self.rng = np.random.default_rng(3)

                def __len__(self):
                    return len(self.rows)

                def __getitem__(self, index):
                    return self.rows[index] + self.rng.normal()


            class Shards(IterableDataset):
                def __init__(self, paths):
                    self.paths = paths
                    self.rng = np.random.default_rng(0)

                def __iter__(self):
                    for path in self.rng.permutation(self.paths):
                        yield from torch.load(path)


            for x in DataLoader(Jitter(torch.randn(100, 3)), batch_size=10, num_workers=0):
                print(x.mean())
            for x in DataLoader(Shards(["a.pt", "b.pt"]), batch_size=10, num_workers=4):
                print(x.mean())
            """,
            why="No workers; and a stream whose workers must agree on the order.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in workers.shared_generators(program):
            yield self.finding(
                found.site,
                f"`self.{found.attribute}` is made once and used for each sample; each of the {found.workers} workers "
                "of the loader at {0} gets a copy in the same state, again in every epoch: they all draw the same "
                "numbers.",
                "Draw from the global generator (PyTorch seeds it for each worker), or make a generator in the worker.",
                evidence=[Hop("the loader with its workers", found.loader, f"num_workers={found.workers}")],
            )
