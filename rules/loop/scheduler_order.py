"""NN507: the learning-rate schedule is stepped at the wrong place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import order
from ...analyzer.interpret import Root
from ...analyzer.values import Obj
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Optimizer, Run, Scheduler, Stream


class SchedulerOrder(Rule):
    """The learning-rate scheduler is stepped at the wrong place, in the wrong unit, or not at all.

    ## What it is

    A scheduler changes the learning rate each time its `step()` is called, and knows nothing else about time.
    This one is called before `optimizer.step()`, or once per batch although its numbers count epochs, or
    never; or a `ReduceLROnPlateau` is called without the metric, or with the number of the epoch instead.

    ## Why it hurts training

    - Before `optimizer.step()`: the first value of the schedule is skipped and all others come one step early.
    - Per batch instead of per epoch: a decay meant for epoch 30 happens at batch 30. The rate is next to zero
      before the first epoch is over, and the network stops learning without any error.
    - Never: the rate stays at its initial value, also the one that was chosen high for a warm-up.
    - `ReduceLROnPlateau` with the epoch's number: the "metric" gets worse every time, so that the rate is cut
      after each `patience` epochs, whatever the loss does.

    ## How it is told apart from code that only looks alike

    - Schedules that count batches (`OneCycleLR`, `CyclicLR`, a `T_max` or `total_steps` computed from
      `len(loader)`, a warm-up in steps) belong into the batch loop.
    - `CosineAnnealingWarmRestarts.step(epoch + i / iterations)` takes a fraction of an epoch, by design.
    - The order within *one* epoch counts; the scheduler of the epoch before comes first in any loop.
    - A scheduler that is returned, stored for a framework (Lightning, Transformers, Accelerate), or handed to a
      function nobody can read may be stepped there.
    - Steps before the first epoch bring a resumed run to where it was.
    - Schedulers of other libraries (timm) take the epoch as an argument and have their own rules.

    In a run: a scheduler that was never stepped in at least 20 optimizer steps, and a rate that falls below a ten-
    thousandth of its highest value before the first half of the training is over, and stays there.

    ## What to do

    Know the unit of the schedule, and call it after the optimizer:

    ```python
    for epoch in range(epochs):
        for batch in loader:
            ...
            optimizer.step()
        scheduler.step()            # StepLR, CosineAnnealingLR(T_max=epochs), ...
        # plateau.step(val_loss)    # ReduceLROnPlateau wants the metric
    ```
    """

    code = "NN507"
    name = "scheduler-order"
    points = (36,)
    severity = Severity.WARNING
    triggers = ("lr_scheduler",)
    options = {"steps": 20, "share": 0.5}

    bad = [
        Example(
            """
            from torch import nn, optim
            from torch.optim import lr_scheduler
            from torch.utils.data import DataLoader
            from torchvision import datasets, models, transforms

            transform = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])
            train_loader = DataLoader(datasets.ImageFolder("ants_bees/train", transform), batch_size=4, shuffle=True)

            model = models.resnet18(num_classes=2)
            criterion = nn.CrossEntropyLoss()
            optimizer = optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
            scheduler = lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)

            for epoch in range(25):
                scheduler.step()  # <-- NN507
                model.train()
                running_loss = 0.0
                for inputs, labels in train_loader:
                    optimizer.zero_grad()
                    outputs = model(inputs)
                    loss = criterion(outputs, labels)
                    loss.backward()
                    optimizer.step()
                    running_loss += loss.item() * inputs.size(0)
                print(epoch, running_loss)
            """,
            why="The order of old tutorials: the scheduler at the start of the epoch, before the optimizer.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch.optim.lr_scheduler import CosineAnnealingLR
            from torch.utils.data import DataLoader


            class SpeechNet(torch.nn.Module):
                def __init__(self, commands):
                    super().__init__()
                    self.conv = torch.nn.Conv1d(40, 96, 9, padding=4)
                    self.rnn = torch.nn.GRU(96, 96, batch_first=True)
                    self.out = torch.nn.Linear(96, commands)

                def forward(self, mel):
                    x = F.relu(self.conv(mel)).transpose(1, 2)
                    return self.out(self.rnn(x)[0].mean(dim=1))


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--lr", type=float, default=0.1)
                parser.add_argument("--epochs", type=int, default=60)
                args = parser.parse_args()
                model = SpeechNet(35)
                optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
                scheduler = CosineAnnealingLR(optimizer, T_max=args.epochs)  # <-- NN507
                loader = DataLoader(torch.load("commands.pt"), batch_size=128, shuffle=True)
                for epoch in range(args.epochs):
                    model.train()
                    for mel, command in loader:
                        loss = F.cross_entropy(model(mel), command)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                    print(f"epoch {epoch}: loss {loss.item():.4f} lr {scheduler.get_last_lr()[0]:.5f}")


            if __name__ == "__main__":
                main()
            """,
            why="The scheduler is made and never stepped.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, model, dataset, epochs=90, lr=0.05):
                    self.epochs = epochs
                    self.model = model
                    self.loader = DataLoader(dataset, batch_size=64, shuffle=True)
                    self.criterion = nn.CrossEntropyLoss()
                    self.optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
                    self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=epochs)

                def train_batch(self, x, y):
                    self.optimizer.zero_grad()
                    loss = self.criterion(self.model(x), y)
                    loss.backward()
                    self.optimizer.step()
                    self.scheduler.step()  # <-- NN507
                    return loss.item()

                def fit(self):
                    for epoch in range(self.epochs):
                        losses = [self.train_batch(x, y) for x, y in self.loader]
                        print(epoch, sum(losses) / len(losses))


            if __name__ == "__main__":
                network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 512), nn.ReLU(), nn.Linear(512, 10))
                Trainer(network, torch.load("cifar10.pt")).fit()
            """,
            why="Once per batch, though T_max is the number of epochs.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.optim.lr_scheduler import ReduceLROnPlateau
            from torch.utils.data import DataLoader

            train_set, val_set = torch.load("solar.pt")
            train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
            val_loader = DataLoader(val_set, batch_size=256)
            model = nn.Sequential(nn.Linear(48, 96), nn.ReLU(), nn.Dropout(0.1), nn.Linear(96, 24))
            loss_fn = nn.L1Loss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            scheduler = ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=5)


            def validate():
                model.eval()
                with torch.no_grad():
                    return sum(loss_fn(model(x), y).item() for x, y in val_loader) / len(val_loader)


            for epoch in range(100):
                model.train()
                for x, y in train_loader:
                    optimizer.zero_grad()
                    loss_fn(model(x), y).backward()
                    optimizer.step()
                val_loss = validate()
                scheduler.step(epoch)  # <-- NN507
                print(epoch, val_loss)
            """,
            why="ReduceLROnPlateau gets the number of the epoch where it expects the metric.",
        ),
        Example(
            """
            # file: schedules.py
            from torch.optim.lr_scheduler import OneCycleLR


            def build_schedule(optimizer, cfg, steps_per_epoch):
                return OneCycleLR(optimizer, max_lr=cfg["lr"], total_steps=cfg["epochs"] * steps_per_epoch)
            # file: loops.py
            import torch.nn.functional as F


            def train_epoch(net, loader, optimizer, schedule):
                net.train()
                for mixture, voice in loader:
                    optimizer.zero_grad()
                    loss = F.l1_loss(net(mixture), voice)
                    loss.backward()
                    schedule.step()  # <-- NN507
                    optimizer.step()
            # file: main.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from loops import train_epoch
            from schedules import build_schedule


            def main():
                cfg = {"lr": 3e-3, "epochs": 50}
                net = nn.Sequential(nn.Conv1d(1, 64, 16, 8), nn.ReLU(), nn.ConvTranspose1d(64, 1, 16, 8))
                loader = DataLoader(torch.load("musdb.pt"), batch_size=16, shuffle=True)
                optimizer = torch.optim.AdamW(net.parameters(), lr=cfg["lr"])
                schedule = build_schedule(optimizer, cfg, len(loader))
                for epoch in range(cfg["epochs"]):
                    train_epoch(net, loader, optimizer, schedule)


            main()
            """,
            why="In each batch, between backward and the optimizer, in a loop that lives in another file.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision.models import densenet121

            EPOCHS = 90

            model = densenet121(num_classes=1000).cuda()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
            scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[30, 60, 80], gamma=0.1)
            scaler = torch.amp.GradScaler("cuda")
            loader = DataLoader(torch.load("imagenet.pt"), batch_size=256, shuffle=True, num_workers=16)

            for epoch in range(EPOCHS):
                model.train()
                for images, labels in loader:
                    optimizer.zero_grad(set_to_none=True)
                    with torch.autocast("cuda"):
                        loss = F.cross_entropy(model(images.cuda()), labels.cuda())
                    scaler.scale(loss).backward()
                    scaler.step(optimizer)
                    scaler.update()
                    scheduler.step()  # <-- NN507
                print(epoch, loss.item())
            """,
            why="Milestones in epochs, stepped after every batch of a mixed-precision loop.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts, LambdaLR, OneCycleLR
            from torch.utils.data import DataLoader


            def make_scheduler(kind, optimizer, epochs, steps, warmup=500):
                if kind == "onecycle":
                    return OneCycleLR(optimizer, max_lr=0.01, epochs=epochs, steps_per_epoch=steps)
                if kind == "cosine":
                    return CosineAnnealingLR(optimizer, T_max=epochs * steps)
                return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warmup))


            def train(kind, epochs=20):
                model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
                loader = DataLoader(torch.load("robots.pt"), batch_size=32, shuffle=True)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
                scheduler = make_scheduler(kind, optimizer, epochs, len(loader))
                for _ in range(epochs):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                        scheduler.step()

                restarts = CosineAnnealingWarmRestarts(optimizer, T_0=10)
                for epoch in range(epochs):
                    for i, (x, y) in enumerate(loader):
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                        restarts.step(epoch + i / len(loader))


            train("cosine")
            """,
            why="Schedules that count batches are stepped in the batch loop.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, model, train_set, val_set):
                    self.model = model
                    self.train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
                    self.val_loader = DataLoader(val_set, batch_size=64)
                    self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                    self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizer, mode="max", patience=3)

                def end_epoch(self, accuracy):
                    self.plateau.step(accuracy)
                    print(self.optimizer.param_groups[0]["lr"])

                @torch.no_grad()
                def accuracy(self):
                    self.model.eval()
                    hits = sum((self.model(x).argmax(1) == y).sum().item() for x, y in self.val_loader)
                    return hits / len(self.val_loader.dataset)

                def fit(self, epochs):
                    for _ in range(epochs):
                        self.model.train()
                        for x, y in self.train_loader:
                            self.optimizer.zero_grad()
                            F.cross_entropy(self.model(x), y).backward()
                            self.optimizer.step()
                        self.end_epoch(self.accuracy())


            network = nn.Sequential(nn.Linear(561, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 6))
            Trainer(network, *torch.load("har.pt")).fit(40)
            """,
            why="The plateau gets its metric, in a helper that ends the epoch.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.optim.lr_scheduler import StepLR
            from torch.utils.data import DataLoader


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--start-epoch", type=int, default=0)
                parser.add_argument("--epochs", type=int, default=100)
                parser.add_argument("--warmup", type=int, default=5)
                parser.add_argument("--no-schedule", action="store_true")
                args = parser.parse_args()
                model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 2))
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                scheduler = None if args.no_schedule else StepLR(optimizer, step_size=30)
                if scheduler is not None:
                    for _ in range(args.start_epoch):
                        scheduler.step()
                loader = DataLoader(torch.load("genes.pt"), batch_size=64, shuffle=True)
                for epoch in range(args.start_epoch, args.epochs):
                    for x, y in loader:
                        loss = F.cross_entropy(model(x), y)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                    if scheduler is not None and epoch >= args.warmup:
                        scheduler.step()


            main()
            """,
            why="A resumed run first brings the scheduler to where it was; a warm-up skips some epochs.",
        ),
        Example(
            """
            import lightning as L
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments, get_scheduler


            class LitRegressor(L.LightningModule):
                def __init__(self):
                    super().__init__()
                    self.net = nn.Linear(12, 1)

                def training_step(self, batch, batch_idx):
                    x, y = batch
                    return F.mse_loss(self.net(x).squeeze(1), y)

                def configure_optimizers(self):
                    optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
                    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
                    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}


            def fine_tune(train_set, eval_set):
                model = AutoModelForSequenceClassification.from_pretrained("distilbert-base-uncased")
                optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
                schedule = get_scheduler("linear", optimizer, num_warmup_steps=100, num_training_steps=1000)
                arguments = TrainingArguments("out", max_steps=1000)
                Trainer(
                    model, arguments, train_dataset=train_set, eval_dataset=eval_set, optimizers=(optimizer, schedule)
                ).train()


            def main():
                L.Trainer(max_epochs=50).fit(LitRegressor(), DataLoader(torch.load("wells.pt"), 64, shuffle=True))
                fine_tune(*torch.load("reviews.pt"))


            if __name__ == "__main__":
                main()
            """,
            why="Handed to a framework, which steps it: Lightning and Transformers.",
        ),
        Example(
            """
            # file: engine/__init__.py
            from .step import StepRunner as StepRunner
            # file: engine/step.py
            import torch


            class StepRunner:
                def __init__(self, optimizer, scheduler, accumulate):
                    self.optimizer = optimizer
                    self.scheduler = scheduler
                    self.scaler = torch.amp.GradScaler("cuda")
                    self.accumulate = accumulate
                    self.seen = 0

                def __call__(self, loss):
                    self.scaler.scale(loss / self.accumulate).backward()
                    self.seen += 1
                    if self.seen % self.accumulate == 0:
                        self.scaler.step(self.optimizer)
                        self.scaler.update()
                        self.optimizer.zero_grad()
                        self.scheduler.step()
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.optim.lr_scheduler import LinearLR, SequentialLR, StepLR
            from torch.utils.data import DataLoader

            from engine import StepRunner

            ACCUMULATE, EPOCHS = 4, 10
            model = torch.nn.Linear(768, 30).cuda()
            loader = DataLoader(torch.load("patents.pt"), batch_size=64, shuffle=True)
            updates = EPOCHS * len(loader) // ACCUMULATE
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
            warmup = LinearLR(optimizer, start_factor=0.1, total_iters=200)
            decay = StepLR(optimizer, step_size=updates // 3)
            runner = StepRunner(optimizer, SequentialLR(optimizer, [warmup, decay], milestones=[200]), ACCUMULATE)
            for epoch in range(EPOCHS):
                for x, y in loader:
                    with torch.autocast("cuda"):
                        loss = F.cross_entropy(model(x.cuda()), y.cuda())
                    runner(loss)
            """,
            why="Mixed precision and accumulation: the schedule follows the optimizer inside its branch.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from timm.scheduler import CosineLRScheduler
            from torch import nn
            from torch.optim.lr_scheduler import ExponentialLR
            from torch.utils.data import DataLoader


            def main(epochs=100):
                loader = DataLoader(torch.load("spectra.pt"), batch_size=128, shuffle=True)
                encoder, head = nn.Linear(1024, 64), nn.Linear(64, 8)
                optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-3)
                head_optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
                scheduler = CosineLRScheduler(optimizer, t_initial=epochs, warmup_t=5)
                head_scheduler = ExponentialLR(head_optimizer, gamma=0.97)
                for epoch in range(epochs):
                    scheduler.step(epoch)
                    for x, y in loader:
                        loss = F.cross_entropy(head(F.relu(encoder(x))), y)
                        optimizer.zero_grad()
                        head_optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                        head_optimizer.step()
                    head_scheduler.step()
                    print(epoch, loss.item())


            main()
            """,
            why="A timm schedule takes the epoch; two optimizers with a schedule each, in different loops.",
        ),
        Example(
            """
            import argparse

            import torch
            from torch import nn

            parser = argparse.ArgumentParser()
            parser.add_argument("--start-epoch", type=int, default=0)
            args = parser.parse_args()
            model = nn.Linear(4, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5)
            for _ in range(args.start_epoch):
                scheduler.step()
            for epoch in range(args.start_epoch, 20):
                for x, y in torch.load("batches.pt"):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x), y).backward()
                    optimizer.step()
                scheduler.step()
            """,
            why="A resumed run catches up with the epochs that it has had.",
        ),
        Example(
            """
            # file: base.py
            class Trainer:
                def __init__(self):
                    self.warmup = None
                    self.scheduler = None
                    self.build()

                def build(self):
                    raise NotImplementedError

                def fit(self, loader, epochs):
                    for epoch in range(epochs):
                        for batch in loader:
                            self.train_step(batch)
                            if self.warmup:
                                with self.warmup.dampening():
                                    self.scheduler.step()
            # file: train.py
            import torch
            from torch import nn

            from base import Trainer


            class Classifier(Trainer):
                def build(self):
                    self.model = nn.Linear(8, 3)
                    self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
                    self.scheduler = torch.optim.lr_scheduler.MultiStepLR(self.optimizer, milestones=[1000, 2000])

                def train_step(self, batch):
                    x, y = batch
                    self.optimizer.zero_grad()
                    nn.functional.cross_entropy(self.model(x), y).backward()
                    self.optimizer.step()


            Classifier().fit(torch.load("batches.pt"), 10)
            """,
            why="The base class steps it where it warms up.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for scheduler, root in program.schedulers_in_roots:
            yield from self._order(program, scheduler, root)
        for scheduler, optimizer_step in order.schedulers_never_stepped(program):
            yield self.finding(
                scheduler.site,
                "This learning-rate scheduler is never stepped although its optimizer is (at {0}): the learning rate "
                "never changes.",
                "Call `scheduler.step()` once an epoch, after the optimizer's steps (once a batch for per-batch "
                "schedules).",
                evidence=[Hop("the optimizer steps here", optimizer_step.site)],
            )

    def _order(self, program: Program, scheduler: Obj, root: Root) -> Iterator[Finding]:
        for effect, optimizer_step in order.scheduler_before_optimizer(program, scheduler, root):
            yield self.finding(
                effect.site,
                "The scheduler steps before the optimizer's first step (at {0}): the first value of the schedule is "
                "skipped.",
                "Call `scheduler.step()` after `optimizer.step()`, at the end of the epoch.",
                evidence=[Hop("the optimizer steps here, after the scheduler", optimizer_step.site)],
            )
        for effect, loop in order.epoch_schedule_per_batch(program, scheduler, root):
            yield self.finding(
                effect.site,
                f"{program.class_name(scheduler)} counts epochs here but is stepped for every batch of the loop at "
                "{0}: the learning rate decays within the first epochs.",
                "Step it once an epoch, outside the loop over batches.",
                evidence=[Hop("the loop over batches", loop.site), Hop("the schedule is made here", scheduler.site)],
            )
        for effect, reason in order.plateau_without_metric(program, scheduler, root):
            yield self.finding(
                effect.site,
                f"ReduceLROnPlateau needs the watched metric and gets {reason}: it cannot tell a plateau.",
                "Pass the validation loss (or metric): `scheduler.step(val_loss)`.",
                evidence=[Hop("the scheduler is made here", scheduler.site)],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        names = {scheduler.class_name for scheduler in run.schedulers}
        inner = names & {"SequentialLR", "ChainedScheduler"}
        for scheduler in run.schedulers:
            optimizer = run.of("optimizer", scheduler.optimizer)
            stepped = max((o.steps for o in run.optimizers), default=0)
            if not scheduler.steps and not inner and run.finished and stepped >= self.number("steps"):
                yield self.finding(
                    scheduler.line,
                    f"This {scheduler.class_name} was never stepped in {stepped} optimizer steps: the learning rate "
                    "stays what it is.",
                    "Call `scheduler.step()` once an epoch, or once a step where the schedule counts steps.",
                    evidence=[Hop("the scheduler is made here", scheduler.line)],
                )
            elif optimizer is not None and scheduler.steps and not inner and run.finished:
                yield from self._vanished(run, scheduler, optimizer)

    def _vanished(self, run: Run, scheduler: Scheduler, optimizer: Optimizer) -> Iterator[Finding]:
        """The rate as run: next to nothing for most of the training."""
        stream = run.stream("rate", optimizer.key)
        if stream is None or optimizer.steps < self.number("steps"):
            return
        highest = max(max(row) for row in stream.rows)
        small = next((s for s, row in zip(stream.steps, stream.rows, strict=True) if _lasts(stream, s, highest)), None)
        if small is None or small > self.number("share") * run.steps or highest <= 0:
            return
        yield self.finding(
            scheduler.step_line or scheduler.line,
            f"After step {small} of {run.steps} the learning rate is below a ten-thousandth of its highest value "
            f"({highest:.3g}), and stays there: {scheduler.class_name} was stepped {scheduler.steps} times for "
            f"{optimizer.steps} optimizer steps. Most of the training changes nothing.",
            "Step it as often as its lengths are meant: once an epoch, or once a step.",
            evidence=[
                Hop("the scheduler is made here", scheduler.line, f"{scheduler.steps} steps"),
                Hop("the optimizer steps here", optimizer.step_line, f"{optimizer.steps} steps"),
            ],
        )


def _lasts(stream: Stream, step: int, highest: float) -> bool:
    """Whether the rate is next to nothing from this step on."""
    rest = [max(row) for s, row in zip(stream.steps, stream.rows, strict=True) if s >= step]
    return max(rest) < 1e-4 * highest
