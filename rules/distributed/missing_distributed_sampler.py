"""NN801: several processes train on the same samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import parallel
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class MissingDistributedSampler(Rule):
    """The model is wrapped in DistributedDataParallel, and every process reads the whole data set.

    ## What it is

    `DistributedDataParallel` averages the gradients of the processes; it does not divide the data. A loader without a
    `DistributedSampler` hands all samples to each process.

    ## Why it hurts training

    Without shuffling, or with the same seed everywhere, all processes compute the same gradient of the same batch: n
    devices do the work of one. With different orders an epoch goes n times over the data, so that every schedule
    that counts epochs, and every comparison with a run on one device, is wrong.

    ## How it is told apart from code that only looks alike

    - A `sampler` or `batch_sampler`, or one that is None only without distribution, divides the data.
    - Data sets that divide themselves (their class speaks of ranks or shards, they are cut by the rank, or they are
      iterable) are left alone; so is a loader with its own generator, or a program whose seed depends on the rank.
    - `DataParallel` has one process and splits each batch itself.
    - Lightning, Accelerate, Fabric and the Transformers Trainer put in a sampler when they get the loader.

    ## What to do

    ```python
    sampler = DistributedSampler(dataset, shuffle=True)
    loader = DataLoader(dataset, batch_size=64, sampler=sampler)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
    ```
    """

    code = "NN801"
    name = "missing-distributed-sampler"
    points = (7,)
    severity = Severity.ERROR
    triggers = ("DistributedDataParallel", "FullyShardedDataParallel", "backward")

    bad = [
        Example(
            """
            import os

            import torch
            import torch.distributed as dist
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            dist.init_process_group("nccl")
            local_rank = int(os.environ["LOCAL_RANK"])
            torch.cuda.set_device(local_rank)
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).cuda()
            model = DistributedDataParallel(model, device_ids=[local_rank])
            dataset = datasets.MNIST("data", train=True, transform=transforms.ToTensor())
            loader = DataLoader(dataset, batch_size=128, shuffle=True, num_workers=4)  # <-- NN801
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(10):
                for images, labels in loader:
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(images.cuda()), labels.cuda()).backward()
                    optimizer.step()
            """,
            why="A script for torchrun with a plain loader.",
        ),
        Example(
            """
            import torch
            import torch.distributed as dist
            import torch.multiprocessing as mp
            import torch.nn.functional as F
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel as DDP
            from torch.utils.data import DataLoader, TensorDataset


            def worker(rank, world_size, path):
                dist.init_process_group("gloo", rank=rank, world_size=world_size)
                blob = torch.load(path)
                dataset = TensorDataset(blob["x"], blob["y"])
                loader = DataLoader(dataset, shuffle=True, batch_size=64)  # <-- NN801
                model = DDP(nn.Linear(100, 5))
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(3):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                dist.destroy_process_group()


            if __name__ == "__main__":
                mp.spawn(worker, args=(4, "rows.pt"), nprocs=4)
            """,
            why="Processes started with mp.spawn.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.distributed.fsdp import FullyShardedDataParallel
            from torch.utils.data import DataLoader, Dataset


            class Sentences(Dataset):
                def __init__(self, path):
                    self.rows = torch.load(path)

                def __len__(self):
                    return len(self.rows)

                def __getitem__(self, index):
                    return self.rows[index]["tokens"], self.rows[index]["label"]


            class Trainer:
                def __init__(self, path):
                    self.model = FullyShardedDataParallel(nn.Sequential(nn.EmbeddingBag(30000, 512), nn.Linear(512, 2)))
                    self.loader = DataLoader(Sentences(path), batch_size=32, shuffle=True)  # <-- NN801
                    self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
                    self.loss = nn.CrossEntropyLoss()

                def fit(self, epochs):
                    for _ in range(epochs):
                        for tokens, labels in self.loader:
                            self.optimizer.zero_grad()
                            self.loss(self.model(tokens), labels).backward()
                            self.optimizer.step()


            if __name__ == "__main__":
                torch.distributed.init_process_group("nccl")
                Trainer("sentences.pt").fit(3)
            """,
            why="A trainer with FSDP.",
        ),
        Example(
            """
            # file: data.py
            from torch.utils.data import DataLoader
            from torchvision.datasets import CIFAR10
            from torchvision.transforms import ToTensor


            def train_loader(batch_size):
                return DataLoader(CIFAR10("data", transform=ToTensor()), batch_size, shuffle=True)  # <-- NN801
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.nn.parallel import DistributedDataParallel
            from torchvision.models import resnet18

            from data import train_loader


            def main():
                torch.distributed.init_process_group("nccl")
                model = DistributedDataParallel(resnet18(num_classes=10).cuda())
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
                for images, labels in train_loader(256):
                    optimizer.zero_grad()
                    F.cross_entropy(model(images.cuda()), labels.cuda()).backward()
                    optimizer.step()


            main()
            """,
            why="The loader is made in another file.",
        ),
    ]

    good = [
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
            sampler = DistributedSampler(dataset)
            loader = DataLoader(dataset, batch_size=128, sampler=sampler)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(10):
                sampler.set_epoch(epoch)
                for images, labels in loader:
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(images.cuda()), labels.cuda()).backward()
                    optimizer.step()
            """,
            why="A DistributedSampler divides the data.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel as DDP
            from torch.utils.data import DataLoader, TensorDataset
            from torch.utils.data.distributed import DistributedSampler


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--distributed", action="store_true")
                args = parser.parse_args()
                blob = torch.load("rows.pt")
                dataset = TensorDataset(blob["x"], blob["y"])
                model = nn.Linear(100, 5)
                sampler = None
                if args.distributed:
                    torch.distributed.init_process_group("nccl")
                    model = DDP(model)
                    sampler = DistributedSampler(dataset)
                loader = DataLoader(dataset, batch_size=64, shuffle=sampler is None, sampler=sampler)
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(3):
                    if sampler is not None:
                        sampler.set_epoch(epoch)
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()


            main()
            """,
            why="The sampler is None only without distribution.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.nn import DataParallel
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader, Dataset


            class Shard(Dataset):
                def __init__(self, rows, rank, world_size):
                    self.rows = rows[rank::world_size]

                def __len__(self):
                    return len(self.rows)

                def __getitem__(self, index):
                    return self.rows[index]


            class Trainer:
                def __init__(self, model, loader):
                    self.model, self.loader = model, loader
                    self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

                def fit(self):
                    for x, y in self.loader:
                        self.optimizer.zero_grad()
                        nn.functional.mse_loss(self.model(x), y).backward()
                        self.optimizer.step()


            rows = torch.load("rows.pt")
            rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
            shard = DataLoader(Shard(rows, rank, world_size), batch_size=32, shuffle=True)
            Trainer(DistributedDataParallel(nn.Linear(9, 1)), shard).fit()
            """,
            why="The data set divides itself.",
        ),
        Example(
            """
            # file: parallel.py
            from torch import nn


            def on_all_devices(model):
                return nn.DataParallel(model).cuda()
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader
            from torchvision.datasets import CIFAR10
            from torchvision.models import resnet18
            from torchvision.transforms import ToTensor

            from parallel import on_all_devices


            def evaluate(model, loader):
                model.eval()
                with torch.no_grad():
                    return sum((model(x).argmax(1) == y).sum().item() for x, y in loader)


            def main():
                model = on_all_devices(resnet18(num_classes=10))
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for images, labels in DataLoader(CIFAR10("data", transform=ToTensor()), 256, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(images.cuda()), labels.cuda()).backward()
                    optimizer.step()


            def check():
                model = DistributedDataParallel(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)))
                print(evaluate(model, DataLoader(CIFAR10("data", train=False, transform=ToTensor()), 256)))


            main()
            check()
            """,
            why="DataParallel splits each batch; evaluation on all samples in each process is right.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Training loaders of wrapped models that read everything."""
        for found in parallel.unsplit_loaders(program):
            yield self.finding(
                found.loader.site,
                "Every process reads the whole data set: the model is wrapped for several processes at {0}, and this "
                "loader has no sampler that divides the samples among them, so that the processes repeat each "
                "other's work.",
                "Give it `sampler=DistributedSampler(dataset)` in place of `shuffle`, and call "
                "`sampler.set_epoch(epoch)` in each epoch.",
                evidence=[Hop("the model is wrapped here", found.wrap.site)],
            )
