"""NN803: the processes' models drift apart, because their gradients are not synchronised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import parallel
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class RanksDiverge(Rule):
    """The training calls `ddp.module(x)`: the wrapper does not see the pass, and gradients are not averaged.

    ## What it is

    `DistributedDataParallel` prepares the averaging of gradients when *it* is called. The module inside, called as
    `ddp.module(x)` or `model.module(x)`, runs like any local module: `backward()` fills its gradients, and nothing
    exchanges them.

    ## Why it hurts training

    Each process trains its own model on its own part of the data. Nothing fails and nothing is slow; the loss falls in
    every process. What is saved is the model of one process, which has seen a fraction of the data, and metrics
    that are averaged over processes describe a model that does not exist.

    ## How it is told apart from code that only looks alike

    - Evaluation, sampling and saving through `.module` is right, and usual.
    - `DataParallel` has one process, in which nothing can drift apart.
    - A sub-module that is really called `module` is no wrapper.
    - Only passes that a backward pass reaches are reported.

    ## What to do

    Call the wrapper itself in training: `loss = criterion(ddp(x), y)`. If another method than `forward` is needed, let
    `forward` choose it (`ddp(x, mode="features")`).
    """

    code = "NN803"
    name = "ranks-diverge"
    points = (23,)
    severity = Severity.ERROR
    triggers = ("DistributedDataParallel", "FullyShardedDataParallel", "backward")

    bad = [
        Example(
            """
            import torch
            import torch.distributed as dist
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader, DistributedSampler

            dist.init_process_group("nccl")
            dataset = torch.load("rows.pt")
            sampler = DistributedSampler(dataset)
            model = DistributedDataParallel(nn.Linear(100, 5).cuda())
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(10):
                sampler.set_epoch(epoch)
                for x, y in DataLoader(dataset, batch_size=64, sampler=sampler):
                    optimizer.zero_grad()
                    loss = nn.functional.cross_entropy(model.module(x.cuda()), y.cuda())  # <-- NN803
                    loss.backward()
                    optimizer.step()
            """,
            why="The module inside is called in a script.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.nn.parallel import DistributedDataParallel as DDP
            from torch.utils.data import DataLoader, DistributedSampler


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Linear(64, 64)
                    self.head = nn.Linear(64, 3)

                def forward(self, x):
                    return self.head(F.relu(self.body(x)))


            def train(rank, dataset):
                ddp = DDP(Net().to(rank), device_ids=[rank])
                optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1)
                for x, y in DataLoader(dataset, batch_size=32, sampler=DistributedSampler(dataset)):
                    scores = ddp.module(x.to(rank))  # <-- NN803
                    optimizer.zero_grad()
                    F.cross_entropy(scores, y.to(rank)).backward()
                    optimizer.step()


            if __name__ == "__main__":
                torch.multiprocessing.spawn(train, args=(torch.load("rows.pt"),), nprocs=2)
            """,
            why="A function for each process.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader, DistributedSampler


            class Trainer:
                def __init__(self, dataset):
                    self.model = DistributedDataParallel(nn.Sequential(nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 1)))
                    self.optimizer = torch.optim.Adam(self.model.parameters())
                    self.sampler = DistributedSampler(dataset)
                    self.loader = DataLoader(dataset, batch_size=32, sampler=self.sampler)

                def loss(self, x, y):
                    return nn.functional.mse_loss(self.model.module(x), y)  # <-- NN803

                def fit(self, epochs):
                    for epoch in range(epochs):
                        self.sampler.set_epoch(epoch)
                        for x, y in self.loader:
                            self.optimizer.zero_grad()
                            self.loss(x, y).backward()
                            self.optimizer.step()


            torch.distributed.init_process_group("gloo")
            Trainer(torch.load("rows.pt")).fit(10)
            """,
            why="The loss of a trainer goes around the wrapper.",
        ),
        Example(
            """
            # file: steps.py
            import torch.nn.functional as F


            def train_step(model, optimizer, images, labels):
                optimizer.zero_grad()
                loss = F.cross_entropy(model.module(images), labels)  # <-- NN803
                loss.backward()
                optimizer.step()
                return loss.item()
            # file: train.py
            import torch
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader, DistributedSampler
            from torchvision.models import resnet18

            from steps import train_step


            def main():
                model = DistributedDataParallel(resnet18(num_classes=10).cuda())
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                dataset = torch.load("images.pt")
                for images, labels in DataLoader(dataset, batch_size=64, sampler=DistributedSampler(dataset)):
                    train_step(model, optimizer, images.cuda(), labels.cuda())


            main()
            """,
            why="The step of another file.",
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

            dist.init_process_group("nccl")
            dataset = torch.load("rows.pt")
            sampler = DistributedSampler(dataset)
            model = DistributedDataParallel(nn.Linear(100, 5).cuda())
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(10):
                sampler.set_epoch(epoch)
                for x, y in DataLoader(dataset, batch_size=64, sampler=sampler):
                    optimizer.zero_grad()
                    loss = nn.functional.cross_entropy(model(x.cuda()), y.cuda())
                    loss.backward()
                    optimizer.step()
                if dist.get_rank() == 0:
                    torch.save(model.module.state_dict(), "last.pt")
            """,
            why="The wrapper is called; the module inside is saved.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.nn.parallel import DistributedDataParallel as DDP
            from torch.utils.data import DataLoader, DistributedSampler


            def evaluate(ddp, loader):
                ddp.eval()
                with torch.no_grad():
                    return sum((ddp.module(x).argmax(1) == y).sum().item() for x, y in loader)


            def train(rank, train_set, valid_set):
                ddp = DDP(nn.Linear(64, 3).to(rank))
                optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1)
                for x, y in DataLoader(train_set, batch_size=32, sampler=DistributedSampler(train_set)):
                    optimizer.zero_grad()
                    F.cross_entropy(ddp(x), y).backward()
                    optimizer.step()
                if rank == 0:
                    print(evaluate(ddp, DataLoader(valid_set, batch_size=256)))


            if __name__ == "__main__":
                torch.multiprocessing.spawn(train, args=torch.load("sets.pt"), nprocs=2)
            """,
            why="The evaluation of one process calls the module inside.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Wrapped(nn.Module):
                def __init__(self, module, scale):
                    super().__init__()
                    self.module = module
                    self.scale = scale

                def forward(self, x):
                    return self.scale * self.module(x)


            class Trainer:
                def __init__(self):
                    self.model = Wrapped(nn.Linear(30, 1), 0.1)
                    self.parallel = nn.DataParallel(nn.Linear(30, 1))
                    parameters = [*self.model.parameters(), *self.parallel.parameters()]
                    self.optimizer = torch.optim.Adam(parameters)

                def fit(self, loader):
                    for x, y in loader:
                        self.optimizer.zero_grad()
                        output = self.model.module(x) + self.model(x) + self.parallel.module(x)
                        nn.functional.mse_loss(output, y).backward()
                        self.optimizer.step()


            Trainer().fit(DataLoader(torch.load("rows.pt"), batch_size=32, shuffle=True))
            """,
            why="A part that is called module, and DataParallel in one process.",
        ),
        Example(
            """
            # file: steps.py
            import torch
            import torch.nn.functional as F


            def unwrap(model):
                return model.module if hasattr(model, "module") else model


            def train_step(model, teacher, optimizer, x, y):
                with torch.no_grad():
                    soft = teacher.module(x).softmax(dim=1)
                scores = model(x)
                loss = F.cross_entropy(scores, y) + F.cross_entropy(scores, soft)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            # file: train.py
            import torch
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader, DistributedSampler

            from steps import train_step, unwrap


            def main():
                teacher = DistributedDataParallel(nn.Linear(50, 4))
                model = DistributedDataParallel(nn.Linear(50, 4))
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                dataset = torch.load("rows.pt")
                for x, y in DataLoader(dataset, batch_size=64, sampler=DistributedSampler(dataset)):
                    train_step(model, teacher, optimizer, x, y)
                torch.save(unwrap(model).state_dict(), "student.pt")


            main()
            """,
            why="A teacher without gradients, called through its wrapper's module.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Training passes through the module inside a synchronising wrapper."""
        for found in parallel.bypassed_wrappers(program):
            yield self.finding(
                found.forward.site,
                "The module inside the wrapper of {0} is called: the wrapper does not see this pass, so the gradients "
                "of the processes are not averaged, and each process trains a model of its own.",
                "Call the wrapper itself: `model(x)` in place of `model.module(x)`.",
                evidence=[Hop("the model is wrapped for several processes here", found.wrap.site)],
            )
