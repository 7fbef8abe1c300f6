"""NN802: the distributed sampler is never told the epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import parallel
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class MissingSetEpoch(Rule):
    """A `DistributedSampler` shuffles the same way in every epoch, because `set_epoch` is never called.

    ## What it is

    `DistributedSampler` draws its order from a seed and the number of the epoch, so that all processes agree on it. It
    does not count the epochs itself: without `sampler.set_epoch(epoch)` the number stays 0.

    ## Why it hurts training

    Every epoch hands out the same batches in the same order, and each process sees the same part of the data for
    the whole training. It is as if the data were not shuffled: the gradients of an epoch repeat, batch normalization
    sees the same groups, and the model learns from the order.

    ## How it is told apart from code that only looks alike

    - With `shuffle=False` (evaluation) there is no order to renew.
    - One pass over the data needs no number; a loop over epochs must be around it.
    - `loader.sampler.set_epoch(epoch)`, and a helper that calls it, count.
    - Lightning, Accelerate and the Transformers Trainer call it themselves.

    In a run: at least 3 whole epochs of a DistributedSampler in the same order.

    ## What to do

    ```python
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for batch in loader:
            ...
    ```
    """

    code = "NN802"
    name = "missing-set-epoch"
    points = (7,)
    severity = Severity.ERROR
    triggers = ("DistributedSampler",)
    options = {"epochs": 3}

    bad = [
        Example(
            """
            import torch
            import torch.distributed as dist
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader, DistributedSampler
            from torchvision import datasets, transforms

            dist.init_process_group("nccl")
            model = DistributedDataParallel(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).cuda())
            dataset = datasets.MNIST("data", train=True, transform=transforms.ToTensor())
            sampler = DistributedSampler(dataset)  # <-- NN802
            loader = DataLoader(dataset, batch_size=128, sampler=sampler)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(10):
                for images, labels in loader:
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(images.cuda()), labels.cuda()).backward()
                    optimizer.step()
            """,
            why="A script whose sampler never hears of the epoch.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel as DDP
            from torch.utils.data import DataLoader, TensorDataset
            from torch.utils.data.distributed import DistributedSampler


            def prepare(dataset, rank, world_size, batch_size=32):
                sampler = DistributedSampler(dataset, num_replicas=world_size, rank=rank, shuffle=True)  # <-- NN802
                return DataLoader(dataset, batch_size=batch_size, sampler=sampler, pin_memory=True)


            def train_epoch(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()


            def main(rank, world_size, epochs):
                blob = torch.load("rows.pt")
                loader = prepare(TensorDataset(blob["x"], blob["y"]), rank, world_size)
                model = DDP(nn.Linear(100, 5).to(rank))
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(epochs):
                    train_epoch(model, loader, optimizer)


            if __name__ == "__main__":
                torch.multiprocessing.spawn(main, args=(4, 10), nprocs=4)
            """,
            why="Made in one function, read in another, in processes started with spawn.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader, DistributedSampler
            from torchvision.models import resnet50


            class Trainer:
                def __init__(self, dataset, distributed):
                    self.model = resnet50(num_classes=100).cuda()
                    self.sampler = None
                    if distributed:
                        self.model = DistributedDataParallel(self.model)
                        self.sampler = DistributedSampler(dataset)  # <-- NN802
                    self.loader = DataLoader(dataset, 64, shuffle=self.sampler is None, sampler=self.sampler)
                    self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)

                def fit(self, epochs):
                    for epoch in range(epochs):
                        for images, labels in self.loader:
                            self.optimizer.zero_grad()
                            nn.functional.cross_entropy(self.model(images.cuda()), labels.cuda()).backward()
                            self.optimizer.step()


            def main(distributed):
                Trainer(torch.load("images.pt"), distributed).fit(90)


            main(torch.distributed.is_initialized())
            """,
            why="A trainer that is distributed on demand.",
        ),
        Example(
            """
            # file: data.py
            import torch
            from torch.utils.data import DataLoader, DistributedSampler


            def loaders(path):
                train, valid = torch.load(path)
                return (
                    DataLoader(train, batch_size=64, sampler=DistributedSampler(train)),  # <-- NN802
                    DataLoader(valid, batch_size=64, sampler=DistributedSampler(valid, shuffle=False)),
                )
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel

            from data import loaders


            def main():
                train_loader, valid_loader = loaders("spectra.pt")
                model = DistributedDataParallel(nn.Linear(512, 8))
                optimizer = torch.optim.AdamW(model.parameters())
                for epoch in range(20):
                    for x, y in train_loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    with torch.no_grad():
                        hits = sum((model(x).argmax(1) == y).sum() for x, y in valid_loader)
                    torch.distributed.all_reduce(hits)
                    print(hits)


            main()
            """,
            why="Both samplers in another file; the one for validation does not shuffle.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel as DDP
            from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

            blob = torch.load("rows.pt")
            dataset = TensorDataset(blob["x"], blob["y"])
            loader = DataLoader(dataset, batch_size=64, sampler=DistributedSampler(dataset))
            model = DDP(nn.Linear(100, 5))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(3):
                loader.sampler.set_epoch(epoch)
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
            why="set_epoch through the loader.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel as DDP
            from torch.utils.data import DataLoader, DistributedSampler


            def train_once(model, dataset):
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for x, y in DataLoader(dataset, batch_size=64, sampler=DistributedSampler(dataset)):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()


            def evaluate(model, dataset, epochs):
                loader = DataLoader(dataset, batch_size=64, sampler=DistributedSampler(dataset))
                for _ in range(epochs):
                    with torch.no_grad():
                        print(sum(model(x).sum() for x, _ in loader))


            def main():
                model = DDP(nn.Linear(100, 5))
                train_once(model, torch.load("train.pt"))
                evaluate(model, torch.load("valid.pt"), 3)


            main()
            """,
            why="One pass over the data, and an evaluation.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader, DistributedSampler, RandomSampler


            class Trainer:
                def __init__(self, dataset, distributed):
                    self.model = nn.Linear(64, 2)
                    self.distributed = distributed
                    if distributed:
                        self.model = DistributedDataParallel(self.model)
                        self.sampler = DistributedSampler(dataset)
                    else:
                        self.sampler = RandomSampler(dataset)
                    self.loader = DataLoader(dataset, batch_size=64, sampler=self.sampler)
                    self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

                def start_epoch(self, epoch):
                    if self.distributed:
                        self.sampler.set_epoch(epoch)

                def fit(self, epochs):
                    for epoch in range(epochs):
                        self.start_epoch(epoch)
                        for x, y in self.loader:
                            self.optimizer.zero_grad()
                            nn.functional.cross_entropy(self.model(x), y).backward()
                            self.optimizer.step()


            Trainer(torch.load("rows.pt"), torch.distributed.is_initialized()).fit(10)
            """,
            why="A helper method tells the sampler, which is another one without distribution.",
        ),
        Example(
            """
            # file: data.py
            import torch
            from torch.utils.data import DataLoader, DistributedSampler


            def train_loader(path):
                dataset = torch.load(path)
                sampler = DistributedSampler(dataset, shuffle=True)
                return DataLoader(dataset, batch_size=64, sampler=sampler), sampler
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel

            from data import train_loader


            def main():
                loader, sampler = train_loader("spectra.pt")
                model = DistributedDataParallel(nn.Linear(512, 8))
                optimizer = torch.optim.AdamW(model.parameters())
                for epoch in range(20):
                    sampler.set_epoch(epoch)
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()


            main()
            """,
            why="The sampler comes back from another file with its loader.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler


            def run(model, optimizer, loader):
                for x, y in loader:
                    loss = nn.functional.cross_entropy(model(x), y)
                    if model.training:
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            def main(rank, train_set, val_set):
                model = DistributedDataParallel(nn.Linear(16, 3).to(rank), device_ids=[rank])
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                train_sampler, val_sampler = DistributedSampler(train_set), DistributedSampler(val_set)
                train_loader = DataLoader(train_set, batch_size=32, sampler=train_sampler)
                val_loader = DataLoader(val_set, batch_size=32, sampler=val_sampler)
                for epoch in range(10):
                    train_sampler.set_epoch(epoch)
                    model.train()
                    run(model, optimizer, train_loader)
                    model.eval()
                    run(model, optimizer, val_loader)
            """,
            why="The sampler of the evaluation needs no new order.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Shuffling distributed samplers of training loops over epochs, with no set_epoch."""
        for found in parallel.samplers_without_epoch(program):
            yield self.finding(
                found.sampler.site,
                "This sampler is never told the epoch: without `set_epoch` it draws the same order in each pass of the "
                "loop at {0}, and each process sees the same samples in the same batches all the time.",
                "Call `sampler.set_epoch(epoch)` at the start of each epoch.",
                evidence=[Hop("this loop goes over the epochs", found.epochs.site)],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for loader in run.loaders:
            orders = [epoch.order for epoch in loader.epochs if epoch.complete and epoch.order]
            if loader.sampler != "DistributedSampler" or not loader.trains or loader.line is None:
                continue
            if len(orders) < self.number("epochs") or len(set(orders)) > 1 or (loader.samples or 0) < 8:
                continue
            yield self.finding(
                loader.line,
                f"All {len(orders)} epochs gave the samples in the same order: the DistributedSampler was never told "
                "the number of the epoch, or does not shuffle.",
                "Call `sampler.set_epoch(epoch)` at the beginning of each epoch.",
                evidence=[Hop("training reads the samples here", loader.read_at, f"{len(orders)} equal epochs")],
            )
