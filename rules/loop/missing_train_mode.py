"""NN502: training goes on in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import order
from ...tracer import evidence
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class MissingTrainMode(Rule):
    """After the first evaluation the model stays in evaluation mode, and training goes on without dropout.

    ## What it is

    `eval()` changes the mode of a model for good, until `train()` is called. Here the epoch loop evaluates
    with `eval()`, and no `train()` is called before the next epoch trains: only the first epoch, or only the
    steps before the first evaluation, run in training mode.

    ## Why it hurts training

    From the second epoch on, dropout does nothing, so that the network overfits as if it had none. Batch
    normalization uses its running statistics instead of those of the batch and stops updating them: they stay
    as they were after the first epoch, while the weights below move on. The activations are no longer
    normalised, and the loss may become unstable. The curve often shows a jump after the first epoch, and
    looks innocent otherwise.

    ## How it is told apart from code that only looks alike

    - `train()` counts wherever it is: at the start of the epoch, in the function that trains, at the end of
      the function that evaluates, or as `train(was_training)`.
    - An evaluation after the last epoch may leave the model as it is.
    - A model without any mode-dependent layer behaves the same in both modes and is not reported.
    - A frozen part (`backbone.eval()`, every `BatchNorm2d` put into evaluation mode) after `model.train()` is a
      known recipe for fine-tuning, and so is a teacher or a perceptual network that always stays in `eval()`.
    - A copy that is evaluated (`deepcopy(model).eval()`, an average of the weights) leaves the original alone.
    - Lightning and the Transformers `Trainer` switch the mode themselves.

    In a run, a module that a backward pass came back to in training mode is trained later in evaluation mode, with a
    layer that depends on the mode: at least 10 calls, at least 9 of 10 of them used by a backward pass that an
    optimizer step follows, and no call in training mode in between or after.

    ## What to do

    Set the mode at the beginning of every phase, not once before the loop:

    ```python
    for epoch in range(epochs):
        model.train()
        train_one_epoch(model, train_loader)
        model.eval()
        validate(model, val_loader)
    ```
    """

    code = "NN502"
    name = "missing-train-mode"
    points = (32,)
    severity = Severity.ERROR
    triggers = ("backward",)
    options = {"calls": 10, "used": 0.9}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            train_set = datasets.SVHN("data", split="train", transform=transforms.ToTensor())
            test_set = datasets.SVHN("data", split="test", transform=transforms.ToTensor())
            train_loader = DataLoader(train_set, batch_size=128, shuffle=True)
            test_loader = DataLoader(test_set, batch_size=256)

            model = nn.Sequential(
                nn.Conv2d(3, 32, 3),
                nn.BatchNorm2d(32),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(4),
                nn.Flatten(),
                nn.Dropout(0.4),
                nn.Linear(512, 10),
            )
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

            model.train()
            for epoch in range(20):
                for images, labels in train_loader:
                    optimizer.zero_grad()
                    outputs = model(images)  # <-- NN502
                    loss = criterion(outputs, labels)
                    loss.backward()
                    optimizer.step()

                model.eval()
                hits = 0
                with torch.no_grad():
                    for images, labels in test_loader:
                        hits += (model(images).argmax(1) == labels).sum().item()
                print(epoch, hits / len(test_set))
            """,
            why="train() once before the loop, eval() in every epoch.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision.models import mobilenet_v2


            def train_epoch(net, loader, optimizer):
                total = 0.0
                for images, labels in loader:
                    logits = net(images)  # <-- NN502
                    loss = F.cross_entropy(logits, labels)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    total += loss.item()
                return total / len(loader)


            @torch.no_grad()
            def evaluate(net, loader):
                net.eval()
                return sum((net(x).argmax(1) == y).sum().item() for x, y in loader) / len(loader.dataset)


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--epochs", type=int, default=30)
                parser.add_argument("--batch-size", type=int, default=64)
                args = parser.parse_args()
                train_set, val_set = torch.load("dogs.pt")
                train_loader = DataLoader(train_set, args.batch_size, shuffle=True)
                val_loader = DataLoader(val_set, args.batch_size)
                net = mobilenet_v2(num_classes=120)
                optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
                for epoch in range(args.epochs):
                    print(epoch, train_epoch(net, train_loader, optimizer), evaluate(net, val_loader))


            if __name__ == "__main__":
                main()
            """,
            why="The function that evaluates switches, the function that trains does not switch back.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class Translator(nn.Module):
                def __init__(self, vocabulary, dim=256):
                    super().__init__()
                    self.embedding = nn.Embedding(vocabulary, dim)
                    self.transformer = nn.Transformer(dim, 4, 3, 3, dropout=0.1, batch_first=True)
                    self.out = nn.Linear(dim, vocabulary)

                def forward(self, source, target):
                    return self.out(self.transformer(self.embedding(source), self.embedding(target)))


            class Trainer:
                def __init__(self, model, train_set, dev_set):
                    self.model = model
                    self.train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
                    self.dev_loader = DataLoader(dev_set, batch_size=64)
                    self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

                def loss(self, logits, target):
                    return F.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=0)

                def dev_loss(self):
                    self.model.eval()
                    losses = []
                    with torch.no_grad():
                        for source, target in self.dev_loader:
                            losses.append(self.loss(self.model(source, target[:, :-1]), target).item())
                    return sum(losses) / len(losses)

                def fit(self, epochs):
                    step = 0
                    for _ in range(epochs):
                        self.model.train()
                        for source, target in self.train_loader:
                            self.optimizer.zero_grad()
                            logits = self.model(source, target[:, :-1])  # <-- NN502
                            self.loss(logits, target).backward()
                            self.optimizer.step()
                            step += 1
                            if step % 1000 == 0:
                                print(step, self.dev_loss())


            Trainer(Translator(16000), *torch.load("iwslt.pt")).fit(10)
            """,
            why="An evaluation every thousand steps in the midst of an epoch; training goes on in eval mode.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            blob = torch.load("protein.pt")
            train_loader = DataLoader(TensorDataset(blob["x"], blob["y"]), batch_size=256, shuffle=True)
            val_loader = DataLoader(TensorDataset(blob["x_val"], blob["y_val"]), batch_size=1024)
            model = nn.Sequential(nn.Linear(9, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 1))
            loss_fn = nn.MSELoss()
            optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)


            def run_epoch():
                for x, y in train_loader:
                    optimizer.zero_grad()
                    loss = loss_fn(model(x), y)  # <-- NN502
                    loss.backward()
                    optimizer.step()


            def run_validation():
                model.train(False)
                with torch.inference_mode():
                    return sum(loss_fn(model(x), y).item() for x, y in val_loader) / len(val_loader)


            best = float("inf")
            for epoch in range(200):
                run_epoch()
                score = run_validation()
                if score < best:
                    best = score
                    torch.save(model.state_dict(), "best.pt")
            """,
            why="train(False) for the validation, and nothing that switches back.",
        ),
        Example(
            """
            # file: learners/base.py
            import torch


            class Learner:
                def __init__(self, net, optimizer, criterion):
                    self.net = net
                    self.optimizer = optimizer
                    self.criterion = criterion

                def validate(self, loader):
                    self.net.eval()
                    with torch.no_grad():
                        return sum(self.criterion(self.net(x), y).item() for x, y in loader)
            # file: learners/__init__.py
            from .base import Learner as Learner
            # file: networks.py
            from torch import nn


            class ConvBlock(nn.Sequential):
                def __init__(self, n_in, n_out):
                    super().__init__(nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU())


            def build_counter():
                return nn.Sequential(ConvBlock(3, 32), ConvBlock(32, 64), nn.Conv2d(64, 1, 1))
            # file: main.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from learners import Learner
            from networks import build_counter


            class CrowdLearner(Learner):
                def fit(self, train_loader, val_loader, epochs):
                    self.net.train()
                    for epoch in range(epochs):
                        for image, density in train_loader:
                            prediction = self.net(image)  # <-- NN502
                            loss = self.criterion(prediction, density)
                            self.optimizer.zero_grad()
                            loss.backward()
                            self.optimizer.step()
                        print(epoch, self.validate(val_loader))


            def main():
                train_set, val_set = torch.load("crowds.pt")
                net = build_counter()
                learner = CrowdLearner(net, torch.optim.Adam(net.parameters(), lr=1e-5), nn.MSELoss())
                learner.fit(DataLoader(train_set, batch_size=4, shuffle=True), DataLoader(val_set, batch_size=4), 100)


            main()
            """,
            why="A base class in another file evaluates and forgets; the subclass trains.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def train(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()


            def accuracy(model, loader):
                model.eval()
                with torch.no_grad():
                    hits = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
                model.train()
                return hits / len(loader.dataset)


            def report(model, loader):
                was_training = model.training
                model.eval()
                with torch.inference_mode():
                    loss = sum(F.cross_entropy(model(x), y).item() for x, y in loader) / len(loader)
                model.train(was_training)
                return loss


            train_set, val_set = torch.load("phonemes.pt")
            train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
            val_loader = DataLoader(val_set, batch_size=256)
            model = nn.Sequential(nn.Linear(39, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 61))
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for epoch in range(30):
                train(model, train_loader, optimizer)
                print(epoch, accuracy(model, val_loader), report(model, val_loader))
            """,
            why="Every phase sets its own mode, one of them at the end of the evaluation.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision.models import vgg11_bn


            def train(net, loader, max_epochs, goal):
                optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
                for epoch in range(max_epochs):
                    total = 0.0
                    for images, labels in loader:
                        optimizer.zero_grad()
                        loss = F.cross_entropy(net(images), labels)
                        loss.backward()
                        optimizer.step()
                        total += loss.item()
                    if total / len(loader) < goal:
                        net.eval()
                        break


            def test(net, loader):
                net.eval()
                correct = 0
                with torch.no_grad():
                    for images, labels in loader:
                        correct += (net(images).argmax(dim=1) == labels).sum().item()
                print(correct / len(loader.dataset))


            def main():
                train_set, test_set = torch.load("textures.pt")
                net = vgg11_bn(num_classes=47)
                train(net, DataLoader(train_set, batch_size=32, shuffle=True), max_epochs=100, goal=0.05)
                test(net, DataLoader(test_set, batch_size=64))


            main()
            """,
            why="The evaluation comes after the last epoch, or after the break that ends training.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import resnet50


            class FineTuner(nn.Module):
                def __init__(self, classes):
                    super().__init__()
                    self.backbone = resnet50(weights="DEFAULT")
                    self.backbone.fc = nn.Identity()
                    self.backbone.requires_grad_(False)
                    self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(2048, classes))

                def train(self, mode=True):
                    super().train(mode)
                    self.backbone.eval()
                    return self

                def forward(self, images):
                    return self.head(self.backbone(images))


            def freeze_batchnorm(net):
                for module in net.modules():
                    if isinstance(module, nn.BatchNorm2d):
                        module.eval()


            def main():
                train_set, val_set = torch.load("mushrooms.pt")
                net = FineTuner(12)
                optimizer = torch.optim.Adam(net.head.parameters(), lr=1e-3)
                for epoch in range(8):
                    net.train()
                    freeze_batchnorm(net)
                    for images, labels in DataLoader(train_set, batch_size=32, shuffle=True):
                        optimizer.zero_grad()
                        F.cross_entropy(net(images), labels).backward()
                        optimizer.step()
                    net.eval()
                    with torch.no_grad():
                        hits = sum((net(x).argmax(1) == y).sum().item() for x, y in DataLoader(val_set, 64))
                    print(epoch, hits / len(val_set))


            main()
            """,
            why="Fine-tuning with a frozen backbone in evaluation mode, the head in training mode.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import vgg16


            class PerceptualLoss(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.features = vgg16(weights="DEFAULT").features[:16].eval()
                    for p in self.features.parameters():
                        p.requires_grad = False

                def forward(self, output, target):
                    return F.mse_loss(self.features(output), self.features(target))


            generator = nn.Sequential(
                nn.Conv2d(3, 64, 3, padding=1),
                nn.BatchNorm2d(64),
                nn.ReLU(),
                nn.Conv2d(64, 3, 3, padding=1),
            )
            perceptual = PerceptualLoss()
            perceptual.eval()
            optimizer = torch.optim.Adam(generator.parameters(), lr=1e-4)
            for epoch in range(40):
                for blurred, sharp in DataLoader(torch.load("gopro.pt"), batch_size=8, shuffle=True):
                    restored = generator(blurred)
                    loss = F.l1_loss(restored, sharp) + 0.1 * perceptual(restored, sharp)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                print(epoch, loss.item())
            """,
            why="A perceptual network stays in eval() for ever; the generator trains.",
        ),
        Example(
            """
            # file: averaging.py
            import copy

            import torch


            class WeightAverage:
                def __init__(self, model, decay=0.999):
                    self.module = copy.deepcopy(model).eval()
                    self.decay = decay

                @torch.no_grad()
                def update(self, model):
                    for averaged, current in zip(self.module.state_dict().values(), model.state_dict().values()):
                        if averaged.dtype.is_floating_point:
                            averaged.mul_(self.decay).add_(current, alpha=1 - self.decay)
                        else:
                            averaged.copy_(current)
            # file: train.py
            import copy

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from averaging import WeightAverage


            def mae(net, loader):
                net.eval()
                with torch.no_grad():
                    return sum(F.l1_loss(net(x), y).item() for x, y in loader) / len(loader)


            def main():
                train_set, val_set = torch.load("ocean.pt")
                model = nn.Sequential(nn.Conv1d(5, 32, 5), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 1, 1))
                average = WeightAverage(model)
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
                for epoch in range(50):
                    for x, y in DataLoader(train_set, batch_size=32, shuffle=True):
                        optimizer.zero_grad()
                        F.l1_loss(model(x), y).backward()
                        optimizer.step()
                        average.update(model)
                    snapshot = copy.deepcopy(model)
                    print(mae(average.module, DataLoader(val_set, 64)), mae(snapshot, DataLoader(val_set, 64)))


            main()
            """,
            why="A copy is evaluated; the model that trains never leaves its mode.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class Siren(nn.Module):
                def __init__(self, width=256):
                    super().__init__()
                    self.first = nn.Linear(2, width)
                    self.second = nn.Linear(width, width)
                    self.out = nn.Linear(width, 3)

                def forward(self, coordinates):
                    x = torch.sin(30 * self.first(coordinates))
                    return self.out(torch.sin(self.second(x)))


            class Fitter:
                def __init__(self, pixels):
                    self.net = Siren()
                    self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-4)
                    self.loader = DataLoader(pixels, batch_size=8192, shuffle=True)
                    self.grid = torch.cartesian_prod(torch.linspace(-1, 1, 256), torch.linspace(-1, 1, 256))

                @torch.no_grad()
                def render(self):
                    self.net.eval()
                    return self.net(self.grid).view(256, 256, 3)

                def fit(self, epochs):
                    for epoch in range(epochs):
                        for coordinates, colours in self.loader:
                            loss = F.mse_loss(self.net(coordinates), colours)
                            self.optimizer.zero_grad()
                            loss.backward()
                            self.optimizer.step()
                        torch.save(self.render(), f"{epoch:04d}.pt")


            Fitter(torch.load("pixels.pt")).fit(500)
            """,
            why="A network without mode-dependent layers: eval() is a habit here and changes nothing.",
        ),
        Example(
            """
            from enum import Enum

            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Phase(Enum):
                TRAIN = "train"
                TEST = "test"


            def run(phase, model, loader, optimizer):
                if phase == Phase.TRAIN:
                    model.train()
                else:
                    model.eval()
                total = 0.0
                for x, y in loader:
                    with torch.set_grad_enabled(phase == Phase.TRAIN):
                        loss = nn.functional.cross_entropy(model(x), y)
                    if phase == Phase.TRAIN:
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                    total += loss.item()
                return total


            model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
            optimizer = torch.optim.Adam(model.parameters())
            loaders = {p: DataLoader(torch.load(p.value), batch_size=16, shuffle=p is Phase.TRAIN) for p in Phase}
            for epoch in range(5):
                for phase in Phase:
                    print(phase, run(phase, model, loaders[phase], optimizer))
            """,
            why="One question, asked twice, has one answer.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for forward, switch in order.training_forwards_in_eval_mode(program):
            layer = program.train_dependent(forward.subject)
            # Where `train` is named without parentheses, NN516 names the cause.
            if layer is None or forward.subject in program.named_only("train"):
                continue
            yield self.finding(
                forward.site,
                "The model trains in evaluation mode: `eval()` at {0} is not followed by `train()` before this "
                "forward pass, so from the second pass on dropout is off and batch normalisation is frozen.",
                "Call `model.train()` at the start of every training epoch.",
                evidence=[
                    Hop("the model is switched to evaluation here", switch.site),
                    Hop("and contains this layer, which behaves differently", layer.site, program.class_name(layer)),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for found in run.passes:
            module = run.of("module", found.module)
            if found.training or not found.eval_dependent or not found.grad or module is None or module.library:
                continue
            if found.calls < self.number("calls") or found.used < self.number("used") * found.watched:
                continue
            loader = run.of("loader", found.loader)
            if loader is not None and not loader.trains:
                continue
            before = [other for other in evidence.trained_passes(run, found.module) if other.training and other.grad]
            # Attacks and penalties run in evaluation mode beside a training pass, step by step.
            if not before or any(other.last_step >= found.first_step for other in before):
                continue
            # One step for each call: the pass is what is trained.
            if found.last_step - found.first_step < self.number("calls") - 1:
                continue
            first = max(before, key=lambda other: other.last_step)
            name = found.eval_dependent
            yield self.finding(
                found.line,
                f"Since step {found.first_step}, `{module.name}` is trained in evaluation mode ({found.calls} forward "
                f"passes; until step {first.last_step} it was in training mode): `{name}` does nothing, or keeps its "
                "old statistics, from there on.",
                f"Call `{module.name}.train()` at the beginning of every epoch: an evaluation has called `eval()`, and "
                "nothing has switched back.",
                evidence=[
                    Hop("trained in training mode at first", first.line, f"{first.calls} calls"),
                    Hop("trained in evaluation mode later", found.line, f"{found.calls} calls"),
                ],
            )

    def refute(self, finding: Finding, run: Run) -> str:
        passes = [found for found in evidence.at(run.passes, finding) if found.used]
        if not passes or any(not found.training for found in passes):
            return ""
        return f"all {sum(found.calls for found in passes)} trained forward passes here ran in training mode"
