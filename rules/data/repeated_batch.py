"""NN103: the same batch is trained on again and again, the rest of the data never."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import lineage
from ..finding import Confidence, Finding, Hop, Line, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Epoch, Loader, Pass, Run


class RepeatedBatch(Rule):
    """Training sees the same batch again and again, though the data has many.

    ## What it is

    `next(iter(loader))` begins a new iteration and takes its first batch. Inside the training loop, with a
    loader that does not shuffle, or whose generator gets the same seed each time, that is always the same
    batch: the rest of the data is never used. The same comes of a `break` in the wrong place, of a sampler
    that starts anew, and of a data set whose `__getitem__` or stream hands out one buffer over and over.

    ## Why it hurts training

    The network learns a few dozen samples by heart. The training loss falls beautifully, nearly to zero, and
    the validation loss never follows; it looks like overfitting of a network that is too large, and the usual
    cures (dropout, weight decay, augmentation) do not help, because the data is missing.

    ## How it is told apart from code that only looks alike

    - Taking one batch from a loader once and training on that may be on purpose (to see whether the model can learn at
      all): where 20 or more steps do so, the finding is only likely. So it is for slices made by hand that always
      cut the same part, less than half, out of a tensor.
    - A batch that is drawn for a picture, for a metric or for an example is not followed by a backward pass.
    - `next(iter(loader))` with shuffling draws another batch each time.
    - Batches of one sample, or from a sampler that draws with replacement, repeat by nature.
    - A stream without end may go over its data several times in one iteration.
    - Loaders that hold one batch altogether have nothing else to give.
    - In the source, `iter(loader)` counts only where every step of training begins with it and the loader is known to
      read in stored order; under a condition (every so many steps, after `StopIteration`) it is the right thing.

    Batches are compared by a digest of all tensors in them. Iterations over a loader that ended after one batch
    count from 5 on; within one iteration more than 3 batches and more than a fifth of all must have come before.
    These limits are the project's own choice: with 5 equal digests chance is excluded, and a fifth leaves room for
    data that contains copies.

    ## What to do

    Iterate over the loader, and start it anew only when it is exhausted:

    ```python
    for epoch in range(epochs):
        for x, y in train_loader:
            ...
    ```

    Where the loop counts steps, keep the iterator: `batches = iter(loader)` before the loop, `next(batches)` in it,
    and a new `iter(loader)` on `StopIteration`.
    """

    code = "NN103"
    name = "repeated-batch"
    points = (1,)
    severity = Severity.ERROR
    triggers = ("DataLoader", "backward")
    options = {"iterations": 5, "repeats": 3, "share": 0.2, "steps": 20}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            x, y = torch.load("tokens.pt")
            train_loader = DataLoader(TensorDataset(x, y), batch_size=32)
            model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

            for step in range(10_000):
                inputs, labels = next(iter(train_loader))  # <-- NN103
                optimizer.zero_grad()
                loss = criterion(model(inputs), labels)
                loss.backward()
                optimizer.step()
                if step % 500 == 0:
                    print(step, loss.item())
            """,
            why="A loop over steps that begins a new iteration each time; a flat script.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms
            from torchvision.models import resnet18


            def train_steps(model, loader, steps):
                model.train()
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
                step = 0
                while step < steps:
                    batches = iter(loader)  # <-- NN103
                    images, labels = next(batches)
                    optimizer.zero_grad()
                    F.cross_entropy(model(images), labels).backward()
                    optimizer.step()
                    step += 1


            def main():
                train_set = datasets.CIFAR10("data", transform=transforms.ToTensor())
                loader = DataLoader(train_set, batch_size=64, shuffle=False, num_workers=4)
                train_steps(resnet18(num_classes=10), loader, 5000)


            main()
            """,
            why="The iterator is made in the while loop, one line before its first and only use.",
        ),
        Example(
            """
            # file: loaders.py
            import torch
            from torch.utils.data import DataLoader, TensorDataset


            def make_loader(path, batch_size):
                signals, ages = torch.load(path)
                return DataLoader(TensorDataset(signals, ages), batch_size=batch_size)
            # file: train.py
            import torch
            from torch import nn

            from loaders import make_loader


            class Trainer:
                def __init__(self, path):
                    self.loader = make_loader(path, 128)
                    self.model = nn.Sequential(nn.Linear(500, 64), nn.ReLU(), nn.Linear(64, 1))
                    self.optimizer = torch.optim.AdamW(self.model.parameters())

                def step(self, batch):
                    signals, ages = batch
                    self.optimizer.zero_grad()
                    loss = nn.functional.l1_loss(self.model(signals).squeeze(1), ages)
                    loss.backward()
                    self.optimizer.step()
                    return loss.item()

                def fit(self, epochs, steps_per_epoch=200):
                    for epoch in range(epochs):
                        total = 0.0
                        for _ in range(steps_per_epoch):
                            total += self.step(next(iter(self.loader)))  # <-- NN103
                        print(epoch, total / steps_per_epoch)


            Trainer("ecg.pt").fit(30)
            """,
            why="Epochs of a fixed number of steps in a class; the loader is made in another file.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            source = TensorDataset(torch.randn(5000, 16), torch.randint(0, 4, (5000,)))
            target = TensorDataset(torch.randn(3000, 16))
            source_loader = DataLoader(source, batch_size=50, shuffle=True)
            target_loader = DataLoader(target, batch_size=50)
            encoder, head = nn.Linear(16, 32), nn.Linear(32, 4)
            optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()])
            for epoch in range(20):
                for x, y in source_loader:
                    (unlabelled,) = next(iter(target_loader))  # <-- NN103
                    features, others = encoder(x), encoder(unlabelled)
                    distance = (features.mean(0) - others.mean(0)).pow(2).sum()
                    optimizer.zero_grad()
                    (nn.functional.cross_entropy(head(features), y) + 0.1 * distance).backward()
                    optimizer.step()
            """,
            why="Two loaders: the second one always gives its first batch.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            x, y = torch.load("tokens.pt")
            loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
            images, _ = next(iter(loader))
            print(images.shape)
            model = nn.Linear(64, 10)
            optimizer = torch.optim.Adam(model.parameters())
            batches = iter(loader)
            for step in range(10_000):
                try:
                    inputs, labels = next(batches)
                except StopIteration:
                    batches = iter(loader)
                    inputs, labels = next(batches)
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs), labels).backward()
                optimizer.step()
            """,
            why="The iterator is kept, and begun anew when it is exhausted.",
        ),
        Example(
            """
            # file: config.py
            BATCH = 64
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            from config import BATCH

            data = TensorDataset(torch.randn(4096, 20), torch.randn(4096))
            loader = DataLoader(data, BATCH, shuffle=True)
            model = nn.Linear(20, 1)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            for step in range(2000):
                x, y = next(iter(loader))
                optimizer.zero_grad()
                F.mse_loss(model(x).squeeze(1), y).backward()
                optimizer.step()
            """,
            why="Slow, but the loader shuffles: each iteration begins with another batch.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            class Trainer:
                def __init__(self, train_set, val_set):
                    self.train_loader = DataLoader(train_set, batch_size=16, shuffle=True)
                    self.val_loader = DataLoader(val_set, batch_size=16)
                    self.model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def preview(self):
                    x, y = next(iter(self.val_loader))
                    with torch.no_grad():
                        return self.model(x).argmax(1) == y

                def fit(self, epochs):
                    for epoch in range(epochs):
                        for x, y in self.train_loader:
                            self.optimizer.zero_grad()
                            nn.functional.cross_entropy(self.model(x), y).backward()
                            self.optimizer.step()
                        print(epoch, self.preview().float().mean())


            Trainer(
                TensorDataset(torch.randn(800, 8), torch.randint(0, 3, (800,))),
                TensorDataset(torch.randn(200, 8), torch.randint(0, 3, (200,))),
            ).fit(10)
            """,
            why="The first batch of the validation data is only looked at.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            loader = DataLoader(TensorDataset(torch.randn(512, 10), torch.randn(512)), batch_size=32)
            model = nn.Linear(10, 1)
            optimizer = torch.optim.Adam(model.parameters())

            # Can it learn one batch by heart?
            x, y = next(iter(loader))
            for step in range(300):
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(x).squeeze(1), y)
                loss.backward()
                optimizer.step()
            print("one batch:", loss.item())

            order = torch.randperm(512)
            for step in range(3000):
                if step % len(loader) == 0:
                    batches = iter(DataLoader(loader.dataset, 32, sampler=order.tolist()))
                x, y = next(batches)
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x).squeeze(1), y).backward()
                optimizer.step()
            """,
            why="One batch on purpose, before the loop; then an iterator that is begun anew when its epoch is over.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in lineage.restarted_loaders(program):
            yield self.finding(
                found.begun,
                "`iter` begins a new pass over the loader at every step, and the loader (made at {0}) reads its data "
                "in stored order: every step trains on the same first batch, the rest of the data is never used.",
                "Loop over the loader, or make `batches = iter(loader)` once before the loop and call `next(batches)` "
                "in it.",
                evidence=[
                    Hop("the loader is made here, without shuffling", found.loader.site),
                    Hop("each pass of this loop is a training step", found.loop.site),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        places: dict[Line | None, list[Loader]] = {}
        for loader in run.loaders:
            constant = loader.inspected > 0 and loader.constant_batches == loader.inspected
            if loader.trains and loader.read_at is not None and not constant:
                places.setdefault(loader.read_at, []).append(loader)
        for loaders in places.values():
            finding = self._first_only(loaders) or next(filter(None, map(self._within, loaders)), None)
            if finding is not None:
                yield finding
        yield from filter(None, (self._held(run, found) for found in run.passes))

    def _held(self, run: Run, found: Pass) -> Finding | None:
        """One input at every step: the only batch ever taken from a loader, or a part of the data cut out anew."""
        enough = len(found.inputs) >= self.number("steps") and len(set(found.inputs)) == 1
        if not enough or not found.grad or 2 * found.used < found.watched:
            return None
        # A loader is only known for the first pass, when the batch is fresh.
        same = (p for p in run.passes if p.inputs[:1] == found.inputs[:1] and p.loader is not None)
        loader = next((run.of("loader", p.loader) for p in same), None)
        if loader is None:
            if found.drawn < 0.9 * len(found.inputs):
                return None
            line, what = found.line, "each time a new cut out of a larger tensor, and always the same part"
        else:
            if loader.batches > 1 or (loader.batches_per_epoch or 0) < 2:
                return None
            line, what = loader.read_at, f"the only one that was ever taken from a loader of {loader.batches_per_epoch}"
        return self.finding(
            line,
            f"All {found.calls} training passes get the same batch ({what}). The rest of the data is never used. This "
            "is right only as a test of whether the network can learn one batch by heart.",
            "Take the next batch at every step: loop over the loader, or move the start of the slice.",
            evidence=[Hop("the same input enters the model here", found.line, f"{found.calls} times")],
            confidence=Confidence.LIKELY,
        )

    def _first_only(self, loaders: list[Loader]) -> Finding | None:
        """Iterations that each took the same first batch and were left."""
        loader = loaders[-1]
        if loader.batches_per_epoch is None or loader.batches_per_epoch < 2:
            return None
        epochs = [epoch for other in loaders for epoch in other.epochs]
        taken = Counter(e.first for e in epochs if e.first and e.batches == 1 and e.trained and not e.complete)
        times = max(taken.values(), default=0)
        # Any iteration that went on shows that the others were left on purpose.
        if times < self.number("iterations") or any(epoch.batches > 1 for epoch in epochs):
            return None
        if 2 * times < len(epochs):
            return None
        seen = (
            f"{loader.batch_size} of {loader.samples} samples" if loader.batch_size and loader.samples else "one batch"
        )
        return self.finding(
            loader.read_at,
            f"Each iteration over this loader is given up after its first batch, and that was the same one {times} "
            f"times: training sees {seen}, the other {loader.batches_per_epoch - 1} batches are never used.",
            "Loop over the loader, or make `batches = iter(loader)` once before the loop and call `next(batches)` in "
            "it.",
            evidence=[
                Hop("the loader is made here", loader.line, f"{loader.batches_per_epoch} batches an epoch"),
                Hop("the same batch comes out here", loader.read_at, f"{times} of {len(epochs)} iterations"),
            ],
        )

    def _within(self, loader: Loader) -> Finding | None:
        """One iteration that brings batches twice."""
        if (loader.batch_size or 2) < 2 or loader.sampler in ("WeightedRandomSampler", "RandomSampler"):
            # RandomSampler may draw with replacement; without, it cannot repeat a batch.
            return None
        epoch = next(filter(self._repeats, loader.epochs), None)
        if epoch is None:
            return None
        whole = loader.map_style and loader.batches_per_epoch is not None
        if epoch.batches > (loader.batches_per_epoch or 0) if whole else epoch.batches - epoch.repeats > 2:
            return None  # a stream without end may pass over its data many times in one iteration
        return self.finding(
            loader.read_at,
            f"{epoch.repeats} of the {epoch.batches} batches of one iteration had come before in the same iteration: "
            f"training sees only {epoch.batches - epoch.repeats} different batches.",
            "Let each sample appear once in an epoch: look for a sampler, a generator or a buffer of the data set that "
            "starts anew, and return copies of buffers that are filled again.",
            evidence=[
                Hop("the loader is made here", loader.line, f"{loader.dataset}, {loader.sampler}"),
                Hop("equal batches come out here", loader.read_at, f"{epoch.repeats} of {epoch.batches}"),
            ],
        )

    def _repeats(self, epoch: Epoch) -> bool:
        many = epoch.repeats > self.number("repeats") and epoch.repeats > self.number("share") * epoch.batches
        return many and 2 * epoch.trained >= epoch.batches
