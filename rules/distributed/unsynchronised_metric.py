"""NN806: each process scores its own share of the evaluation data, and nothing joins the scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import parallel
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class UnsynchronisedMetric(Rule):
    """A `DistributedSampler` gives each process a share of the evaluation data, and no process sees all scores.

    ## What it is

    The evaluation loop reads a loader with a `DistributedSampler`. Each process counts on its own share, and nowhere in
    the code are counts added up over processes (`all_reduce`, `all_gather`, `gather_for_metrics`, torchmetrics,
    `sync_dist=True`).

    ## Why it hurts training

    With eight processes the printed accuracy is that of an eighth of the data. It is noisier than it looks, other
    ranks would print another number, and a checkpoint chosen by it may differ from rank to rank.

    ## How it is told apart from code that only looks alike

    - Where any identifier in the files of the run speaks of reducing or gathering, the rule is silent.
    - Loaders without that sampler give each process all the data: slow, but right.
    - Losses that are only watched while training goes on are not asked for.

    ## What to do

    Add counts up before dividing: `torch.distributed.all_reduce(hits)` and the same for the number of samples. The
    sampler pads the data to a multiple of the number of processes; torchmetrics and accelerate's `gather_for_metrics`
    take care of both.
    """

    code = "NN806"
    name = "unsynchronised-metric"
    points = (21,)
    severity = Severity.WARNING
    triggers = ("DistributedSampler",)

    bad = [
        Example(
            """
            import os

            import torch
            import torch.distributed as dist
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler


            def main(rank):
                dist.init_process_group("nccl")
                train_set, test_set = torch.load("train.pt"), torch.load("test.pt")
                sampler = DistributedSampler(train_set)
                loader = DataLoader(train_set, 64, sampler=sampler)
                test_loader = DataLoader(test_set, 64, sampler=DistributedSampler(test_set, shuffle=False))  # <-- NN806
                model = DistributedDataParallel(nn.Linear(20, 5).to(rank), device_ids=[rank])
                criterion = nn.CrossEntropyLoss()
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
                for epoch in range(10):
                    sampler.set_epoch(epoch)
                    model.train()
                    for x, y in loader:
                        optimizer.zero_grad()
                        criterion(model(x.to(rank)), y.to(rank)).backward()
                        optimizer.step()
                    model.eval()
                    hits = total = 0
                    with torch.no_grad():
                        for x, y in test_loader:
                            hits += (model(x.to(rank)).argmax(1) == y.to(rank)).sum().item()
                            total += len(y)
                    if rank == 0:
                        print(epoch, hits / total)


            main(int(os.environ["LOCAL_RANK"]))
            """,
            why="Rank 0 prints the accuracy on its own share.",
        ),
        Example(
            """
            # file: data.py
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler


            def build(dataset, train, world, rank):
                sampler = DistributedSampler(dataset, num_replicas=world, rank=rank, shuffle=train)  # <-- NN806
                return DataLoader(dataset, batch_size=32, sampler=sampler, num_workers=4), sampler

            # file: train.py
            import os

            import torch
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel

            from data import build


            @torch.no_grad()
            def validate(model, loader, device):
                model.eval()
                wrong, seen = 0, 0
                for images, labels in loader:
                    predicted = model(images.to(device)).max(1)[1]
                    wrong += predicted.ne(labels.to(device)).sum().item()
                    seen += labels.size(0)
                return wrong / seen


            def main():
                rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
                torch.distributed.init_process_group("gloo")
                loader, _ = build(torch.load("validation.pt"), False, world, rank)
                model = DistributedDataParallel(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
                model.load_state_dict(torch.load("weights.pt"))
                print("error", validate(model, loader, "cpu"))


            main()
            """,
            why="One function makes both loaders; the error of a share is printed.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel as DDP
            from torch.utils.data import DataLoader, DistributedSampler


            class Trainer:
                def __init__(self, model, train_set, val_set, rank):
                    self.rank = rank
                    self.model = DDP(model.to(rank), device_ids=[rank])
                    self.sampler = DistributedSampler(train_set)
                    self.train_loader = DataLoader(train_set, batch_size=16, sampler=self.sampler)
                    self.val_loader = DataLoader(val_set, 16, sampler=DistributedSampler(val_set))  # <-- NN806
                    self.criterion = nn.BCEWithLogitsLoss()
                    self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
                    self.best = float("inf")

                def fit(self, epochs):
                    for epoch in range(epochs):
                        self.sampler.set_epoch(epoch)
                        self.model.train()
                        for x, y in self.train_loader:
                            self.optimizer.zero_grad()
                            self.criterion(self.model(x.to(self.rank)), y.to(self.rank)).backward()
                            self.optimizer.step()
                        loss = self.validate()
                        if loss < self.best:
                            self.best = loss
                            torch.save(self.model.module.state_dict(), "best.pt")

                @torch.no_grad()
                def validate(self):
                    self.model.eval()
                    total = 0.0
                    for x, y in self.val_loader:
                        total += self.criterion(self.model(x.to(self.rank)), y.to(self.rank)).item()
                    return total / len(self.val_loader)


            torch.distributed.init_process_group("nccl")
            network = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 1))
            trainer = Trainer(network, torch.load("train.pt"), torch.load("val.pt"), 0)
            trainer.fit(20)
            """,
            why="The best weights are chosen by the loss on the share of each process.",
        ),
        Example(
            """
            import os

            import torch
            import torch.distributed as dist
            from torch import nn
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            from torchvision import datasets, transforms

            dist.init_process_group("nccl")
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            test_set = datasets.CIFAR10("data", train=False, transform=transforms.ToTensor())
            sampler = DistributedSampler(test_set, shuffle=False, drop_last=False)  # <-- NN806
            model = nn.parallel.DistributedDataParallel(torch.load("model.pt").to(device), device_ids=[device.index])
            model.eval()
            top5, samples = 0, 0
            with torch.inference_mode():
                for images, labels in DataLoader(test_set, batch_size=256, sampler=sampler, pin_memory=True):
                    images, labels = images.to(device), labels.to(device)
                    found = model(images).topk(5, dim=1).indices
                    top5 += (found == labels[:, None]).any(1).sum().item()
                    samples += len(labels)
            if dist.get_rank() == 0:
                print(f"top-5 accuracy {top5 / samples:.4f}")
            """,
            why="A test of saved weights, run by all processes.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.distributed as dist
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler


            def main(rank):
                dist.init_process_group("nccl")
                test_set = torch.load("test.pt")
                test_loader = DataLoader(test_set, 64, sampler=DistributedSampler(test_set, shuffle=False))
                model = DistributedDataParallel(nn.Linear(20, 5).to(rank), device_ids=[rank])
                model.eval()
                counts = torch.zeros(2, device=rank)
                with torch.no_grad():
                    for x, y in test_loader:
                        counts[0] += (model(x.to(rank)).argmax(1) == y.to(rank)).sum()
                        counts[1] += len(y)
                dist.all_reduce(counts)
                if rank == 0:
                    print(counts[0] / counts[1])


            main(0)
            """,
            why="Counts are added up over all processes.",
        ),
        Example(
            """
            import os

            import torch
            import torch.distributed as dist
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler

            dist.init_process_group("nccl")
            rank = int(os.environ["LOCAL_RANK"])
            train_set, test_set = torch.load("train.pt"), torch.load("test.pt")
            sampler = DistributedSampler(train_set)
            loader = DataLoader(train_set, 64, sampler=sampler)
            test_loader = DataLoader(test_set, 256)
            model = DistributedDataParallel(nn.Linear(20, 5).to(rank), device_ids=[rank])
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            for epoch in range(10):
                sampler.set_epoch(epoch)
                model.train()
                for x, y in loader:
                    optimizer.zero_grad()
                    criterion(model(x.to(rank)), y.to(rank)).backward()
                    optimizer.step()
                if rank == 0:
                    model.eval()
                    hits = 0
                    with torch.no_grad():
                        for x, y in test_loader:
                            hits += (model.module(x.to(rank)).argmax(1) == y.to(rank)).sum().item()
                    print(epoch, hits / len(test_set))
            """,
            why="Rank 0 evaluates on all the data.",
        ),
        Example(
            """
            # file: metrics.py
            import torch
            import torch.distributed as dist


            def joined(value, device):
                total = torch.tensor([float(value)], device=device)
                dist.all_reduce(total)
                return total.item()

            # file: train.py
            import torch
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler

            from metrics import joined


            @torch.no_grad()
            def evaluate(model, loader, device):
                model.eval()
                hits = seen = 0
                for x, y in loader:
                    hits += (model(x.to(device)).argmax(1) == y.to(device)).sum().item()
                    seen += len(y)
                return joined(hits, device) / joined(seen, device)


            torch.distributed.init_process_group("nccl")
            test_set = torch.load("test.pt")
            loader = DataLoader(test_set, 64, sampler=DistributedSampler(test_set, shuffle=False))
            model = DistributedDataParallel(nn.Linear(20, 5).cuda())
            print(evaluate(model, loader, "cuda"))
            """,
            why="Counts are joined in another file.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.nn.parallel import DistributedDataParallel
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler

            torch.distributed.init_process_group("gloo")
            rank = torch.distributed.get_rank()
            texts = torch.load("texts.pt")
            loader = DataLoader(texts, 64, sampler=DistributedSampler(texts, shuffle=False))
            model = DistributedDataParallel(nn.Sequential(nn.Linear(300, 128), nn.ReLU(), nn.Linear(128, 64)))
            model.load_state_dict(torch.load("encoder.pt"))
            model.eval()
            parts = []
            with torch.no_grad():
                for batch in loader:
                    parts.append(model(batch).cpu())
            torch.save(torch.cat(parts), f"embeddings_{rank}.pt")
            """,
            why="Nothing is scored: each process writes its share of the embeddings.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for sampler, loop, forward in parallel.scores_of_a_share(program):
            yield self.finding(
                sampler.site,
                "This sampler gives each process a share of the evaluation data, and nothing adds up the scores of the "
                "loop at {0} over processes: what is reported is the score of one share.",
                "Add up counts with `torch.distributed.all_reduce` before dividing, or use torchmetrics or "
                "`gather_for_metrics`.",
                evidence=[Hop("evaluated here", loop), Hop("these outputs are scored", forward)],
            )
