"""NN504: the forward pass of the training runs with gradients switched off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import updates
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Backward, Pass, Run


class TrainingUnderNoGrad(Rule):
    """The training's own forward pass runs under `no_grad`, so that nothing can be learned.

    ## What it is

    `torch.no_grad()`, `inference_mode()` or `set_grad_enabled(False)` surrounds the forward pass whose loss is
    differentiated: left over from an evaluation that shares the code, put around both phases, or switched off for
    good by a call that nobody takes back.

    ## Why it hurts training

    The output has no graph. `backward()` fails with "element 0 of tensors does not require grad", and the usual first
    aid, `loss.requires_grad_()`, silences the error and leaves the fault: `backward()` then has nothing to go through,
    no parameter gets a gradient, and every step does nothing. Metrics are printed, and stay where chance puts them.

    ## How it is told apart from code that only looks alike

    - Teachers, target networks and the features of a frozen backbone run under `no_grad` in the training loop; some
      other network gets gradients there.
    - Evaluation under `no_grad` is right.
    - When the model runs with gradients and the loss is cut off later, that is `loss-cut-from-graph`.

    In the source, every forward pass behind the loss must run with gradients off, whatever else the loss is made of
    must be data, and no code of the model may switch gradients on again. If the model is only a parameter of a function
    that nobody calls, the finding is `likely`.

    In a run, `backward()` was called at least 3 times, each time on a tensor that no operation has made, all steps of
    all optimizers (3 at least) found no gradient, and on batches that were trained on, the model ran with gradients
    off only. Or torch refused to call `backward()`, and the latest forward pass ran with gradients off: no pass before
    was ever differentiated, or those of this very line were, before something switched gradients off.

    ## What to do

    Switch gradients off for evaluation only, and take `loss.requires_grad_()` out:

    ```python
    with torch.set_grad_enabled(phase == "train"):
        outputs = model(inputs)
        loss = criterion(outputs, labels)
    ```
    """

    code = "NN504"
    name = "training-under-no-grad"
    points = (23,)
    severity = Severity.ERROR
    triggers = ("no_grad", "inference_mode", "set_grad_enabled")
    options = {"steps": 3}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 2))
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            loader = DataLoader(torch.load("cells.pt"), batch_size=32, shuffle=True)

            for epoch in range(20):
                for features, labels in loader:
                    with torch.no_grad():
                        outputs = model(features)  # <-- NN504
                    loss = criterion(outputs, labels)
                    loss.requires_grad = True
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                print(epoch, loss.item())
            """,
            why="no_grad around the training's own forward pass, and the error silenced.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Regressor(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.body = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
                    self.head = nn.Linear(width, 1)

                def forward(self, x):
                    return self.head(self.body(x)).squeeze(-1)


            @torch.no_grad()
            def run_epoch(model, loader, optimizer=None):
                total = 0.0
                for x, y in loader:
                    loss = F.mse_loss(model(x), y)  # <-- NN504
                    if optimizer is not None:
                        optimizer.zero_grad()
                        loss.requires_grad_()
                        loss.backward()
                        optimizer.step()
                    total += loss.item()
                return total / len(loader)


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--epochs", type=int, default=20)
                args = parser.parse_args()
                model = Regressor(64)
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
                train_loader = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True)
                valid_loader = DataLoader(torch.load("valid.pt"), batch_size=64)
                for epoch in range(args.epochs):
                    print(run_epoch(model, train_loader, optimizer), run_epoch(model, valid_loader))


            main()
            """,
            why="One decorated function for training and evaluation.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import resnet18


            class Trainer:
                def __init__(self, train_set, valid_set):
                    self.model = resnet18(num_classes=5)
                    self.criterion = nn.CrossEntropyLoss()
                    self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
                    self.train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
                    self.valid_loader = DataLoader(valid_set, batch_size=32)

                def train(self):
                    self.model.train()
                    with torch.set_grad_enabled(False):
                        for images, labels in self.train_loader:
                            self.optimizer.zero_grad()
                            loss = self.criterion(self.model(images), labels)  # <-- NN504
                            loss.requires_grad_(True)
                            loss.backward()
                            self.optimizer.step()

                def validate(self):
                    self.model.eval()
                    hits = 0
                    with torch.set_grad_enabled(False):
                        for images, labels in self.valid_loader:
                            hits += (self.model(images).argmax(1) == labels).sum().item()
                    return hits


            if __name__ == "__main__":
                trainer = Trainer(torch.load("train.pt"), torch.load("valid.pt"))
                for epoch in range(10):
                    trainer.train()
                    print(epoch, trainer.validate())
            """,
            why="Copied from the validation, in a trainer.",
        ),
        Example(
            """
            # file: models/encoder.py
            import torch
            from torch import nn


            class Encoder(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.layers = nn.Sequential(nn.Linear(128, 64), nn.Tanh(), nn.Linear(64, 32))

                def forward(self, x):
                    return self.layers(x)

                @torch.inference_mode()
                def encode(self, x):
                    return self(x)  # <-- NN504
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from models.encoder import Encoder


            def main():
                model = Encoder()
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                for left, right, same in DataLoader(torch.load("pairs.pt"), batch_size=64, shuffle=True):
                    loss = nn.functional.cosine_embedding_loss(model.encode(left), model.encode(right), same)
                    optimizer.zero_grad()
                    loss.requires_grad_()
                    loss.backward()
                    optimizer.step()


            main()
            """,
            why="A method meant for inference is used for the training, in two files.",
        ),
    ]

    good = [
        Example(
            """
            import copy

            import torch
            import torch.nn as nn
            import torch.optim as optim
            from torch.utils.data import DataLoader
            from torchvision.models import resnet34


            def train_model(model, criterion, optimizer, loaders, num_epochs):
                best, best_hits = copy.deepcopy(model.state_dict()), 0
                for epoch in range(num_epochs):
                    for phase in ["train", "val"]:
                        if phase == "train":
                            model.train()
                        else:
                            model.eval()
                        hits = 0
                        for inputs, labels in loaders[phase]:
                            optimizer.zero_grad()
                            with torch.set_grad_enabled(phase == "train"):
                                outputs = model(inputs)
                                loss = criterion(outputs, labels)
                                if phase == "train":
                                    loss.backward()
                                    optimizer.step()
                            hits += (outputs.argmax(1) == labels).sum().item()
                        if phase == "val" and hits > best_hits:
                            best, best_hits = copy.deepcopy(model.state_dict()), hits
                model.load_state_dict(best)
                return model


            net = resnet34(num_classes=2)
            data = {
                "train": DataLoader(torch.load("train.pt"), batch_size=8, shuffle=True),
                "val": DataLoader(torch.load("val.pt"), batch_size=8),
            }
            train_model(net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.001, momentum=0.9), data, 25)
            """,
            why="Gradients on in the training phase only.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            teacher = nn.Sequential(nn.Linear(100, 500), nn.ReLU(), nn.Linear(500, 10))
            student = nn.Sequential(nn.Linear(100, 30), nn.ReLU(), nn.Linear(30, 10))
            teacher.load_state_dict(torch.load("teacher.pt"))
            teacher.eval()
            optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)

            for epoch in range(10):
                for x, y in DataLoader(torch.load("audio.pt"), batch_size=64, shuffle=True):
                    with torch.no_grad():
                        soft = teacher(x).softmax(dim=1)
                    scores = student(x)
                    loss = F.kl_div(scores.log_softmax(dim=1), soft, reduction="batchmean")
                    loss = loss + F.cross_entropy(scores, y)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="A teacher runs without gradients, the student with them.",
        ),
        Example(
            """
            # file: attack.py
            import torch
            import torch.nn.functional as F


            class Purifier:
                def __init__(self, network, steps):
                    self.network = network
                    self.steps = steps

                @torch.no_grad()
                def embed(self, images):
                    return self.network(images)

                def fit(self, images, target, lr=0.05):
                    with torch.no_grad():
                        wanted = self.embed(target)
                    latent = images.clone().requires_grad_()
                    optimizer = torch.optim.Adam([latent], lr=lr)
                    for _ in range(self.steps):
                        loss = F.mse_loss(self.network(latent), wanted)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                    return latent.detach()
            # file: run.py
            import torch
            from torchvision.models import vgg16

            from attack import Purifier

            purifier = Purifier(vgg16().features.eval(), steps=200)
            torch.save(purifier.fit(torch.load("noisy.pt"), torch.load("clean.pt")), "purified.pt")
            """,
            why="The wanted embedding is fixed; what is trained is an image.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import resnet50

            backbone = nn.Sequential(*list(resnet50(weights="DEFAULT").children())[:-1], nn.Flatten()).eval()
            head = nn.Linear(2048, 37)
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
            torch.set_grad_enabled(False)
            loader = DataLoader(torch.load("pets.pt"), batch_size=64)
            batches = [(backbone(images), labels) for images, labels in loader]
            torch.set_grad_enabled(True)
            for epoch in range(50):
                for features, labels in batches:
                    optimizer.zero_grad()
                    loss = criterion(head(features), labels)
                    loss.backward()
                    optimizer.step()
            """,
            why="Features of a frozen backbone are computed once; the head has its gradients.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Losses that are backpropagated, with gradients off in every forward pass behind them."""
        for found in updates.without_gradients(program):
            yield self.finding(
                found.forward.site,
                "The training's forward pass runs with gradients switched off, and its loss is backpropagated at {0}: "
                "there is no graph to go back through, so no parameter of the model gets a gradient.",
                "Take this call out of `no_grad` in the training phase (`torch.set_grad_enabled(is_training)`), and "
                "remove `loss.requires_grad_()` if it is there.",
                evidence=[Hop("the loss is backpropagated here", found.backward.site)],
                confidence=Confidence.CERTAIN if found.known else Confidence.LIKELY,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for failure in run.failures:
            if evidence.REFUSED in failure.message:
                latest = [found for found in run.passes if found.last_step == run.steps]
                used = {(found.module, found.line) for found in run.passes if found.used}
                off = [found for found in latest if not used or (found.module, found.line) in used]
                if off and not any(found.grad for found in latest):
                    yield from self._report(run, off, "backward() fails: the loss has no graph", None)
        stepped = [optimizer for optimizer in run.optimizers if optimizer.steps]
        if not stepped or any(optimizer.without_gradient < optimizer.steps for optimizer in stepped):
            return
        if sum(optimizer.steps for optimizer in stepped) < self.number("steps"):
            return
        for place in run.backwards:
            if place.calls < self.number("steps") or place.leaf < place.calls:
                continue
            trained = [found for found in run.passes if self._is_trained_on(run, found)]
            if trained and not any(found.grad for found in trained):
                yield from self._report(run, trained, "no parameter gets a gradient and no step has an effect", place)
                return

    def _is_trained_on(self, run: Run, found: Pass) -> bool:
        loader = run.of("loader", found.loader)
        return found.training if loader is None else bool(loader.trains)

    def _report(self, run: Run, passes: list[Pass], effect: str, place: Backward | None) -> Iterator[Finding]:
        owners = [m for p in run.parameters if (m := run.of("module", p.module)) is not None]
        roots = {evidence.root_of(owner) for owner in owners}
        for found in passes:
            module = run.of("module", found.module)
            if module is None or found.grad or found.module not in roots:
                continue
            hops = [Hop("forward pass with gradients off", found.line, f"{found.calls} calls")]
            if place is not None:
                hops.append(Hop("backward on a tensor without a graph", place.line, f"{place.leaf} calls"))
            yield self.finding(
                found.line,
                f"`{module.name}` is trained with gradients switched off: {found.calls} forward passes ran under "
                f"no_grad or inference_mode, so {effect}.",
                "Take this call out of `no_grad` in the training phase (`torch.set_grad_enabled(is_training)`), and "
                "remove `loss.requires_grad_()`.",
                evidence=[
                    *hops,
                    *(Hop("steps without a gradient", o.step_line, f"{o.steps} steps") for o in run.optimizers[:1]),
                ],
            )
