"""NN501: the model is evaluated in training mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from ...analyzer import watching
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Pass, Run


class MissingEvalMode(Rule):
    """The model is evaluated while dropout and batch normalization still behave as in training.

    ## What it is

    A module is in training mode until someone calls `eval()` on it, and again after every `train()`. This
    evaluation loop runs a model that has layers which depend on the mode (dropout, batch or instance
    normalization with running statistics, stochastic depth, dropout inside an LSTM or a transformer layer),
    and nothing on the way there has switched the model to evaluation mode.

    ## Why it hurts training

    Dropout switches off random units, so that the measured score is too low and changes from call to call.
    Batch normalization uses the statistics of the *evaluation batch*: the prediction for one sample depends
    on its neighbours in the batch. Worse, it also updates its running statistics with evaluation data, so
    that evaluation changes the model and leaks the test set into it. Early stopping, checkpoint selection
    and learning-rate schedules then follow a wrong number. `torch.no_grad()` does not help: it only switches
    off the recording of gradients and leaves the mode alone.

    ## How it is told apart from code that only looks alike

    - `eval()` and `train(False)` count wherever they are: in the called function,
      in a helper method, in a context manager, in the constructor chain (`build().to(device).eval()`).
    - A model without any mode-dependent layer behaves the same in both modes and is not reported.
    - Lightning and the Transformers `Trainer` switch the mode themselves.
    - Monte Carlo dropout switches on dropout alone, on purpose, after `eval()`.
    - Forward passes whose outputs nobody reads re-estimate the statistics of batch normalization.
    - A model handed to a function that cannot be read may have been switched there: not reported.

    In a run, the forward passes of the module that is trained count: at least 3 calls in training mode on batches of a
    loader that is never trained on, with a layer that depends on the mode, and no backward pass came back. Without a
    loader, only fixed inputs that come again at later steps, under `no_grad`, of the only network that is trained, are
    evaluation; that is a heuristic. Calls whose result nobody takes, and inputs passed through several times in a row
    (Monte Carlo dropout), are left alone.

    ## What to do

    Switch before the evaluation loop, and back before training goes on:

    ```python
    model.eval()
    with torch.no_grad():
        for inputs, targets in val_loader:
            outputs = model(inputs)
    model.train()
    ```

    Mind the parentheses: `model.eval` without them does nothing.
    """

    code = "NN501"
    name = "missing-eval-mode"
    points = (32,)
    severity = Severity.ERROR
    triggers = ("no_grad", "inference_mode", "set_grad_enabled", "argmax")
    options = {"calls": 3}

    bad = [
        Example(
            """
            import torch
            import torch.nn as nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            to_tensor = transforms.ToTensor()
            train_loader = DataLoader(datasets.MNIST("data", True, to_tensor), batch_size=64, shuffle=True)
            test_loader = DataLoader(datasets.MNIST("data", False, to_tensor), batch_size=256)

            model = nn.Sequential(
                nn.Flatten(),
                nn.Linear(784, 512),
                nn.ReLU(),
                nn.Dropout(0.5),
                nn.Linear(512, 10),
            )
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters())

            for epoch in range(10):
                for images, labels in train_loader:
                    optimizer.zero_grad()
                    loss = criterion(model(images), labels)
                    loss.backward()
                    optimizer.step()

            correct = 0
            total = 0
            with torch.no_grad():
                for images, labels in test_loader:
                    outputs = model(images)  # <-- NN501
                    predicted = outputs.argmax(dim=1)
                    total += labels.size(0)
                    correct += (predicted == labels).sum().item()
            print(f"accuracy: {100 * correct / total:.2f}%")
            """,
            why="A flat script: training, then a test loop under no_grad, but in training mode.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision.datasets import ImageFolder
            from torchvision.models import resnet18
            from torchvision.transforms import v2

            transform = v2.Compose([v2.Resize((224, 224)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])


            def train_one_epoch(model, loader, optimizer):
                model.train()
                for images, labels in loader:
                    loss = F.cross_entropy(model(images), labels)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()


            def validate(model, loader):
                hits = 0
                with torch.inference_mode():
                    for images, labels in loader:
                        logits = model(images)  # <-- NN501
                        hits += (logits.argmax(1) == labels).sum().item()
                return hits / len(loader.dataset)


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--epochs", type=int, default=10)
                parser.add_argument("--lr", type=float, default=0.01)
                args = parser.parse_args()
                train_loader = DataLoader(ImageFolder("flowers/train", transform), batch_size=32, shuffle=True)
                val_loader = DataLoader(ImageFolder("flowers/val", transform), batch_size=64)
                model = resnet18(num_classes=102)
                optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
                best = 0.0
                for epoch in range(args.epochs):
                    train_one_epoch(model, train_loader, optimizer)
                    accuracy = validate(model, val_loader)
                    if accuracy > best:
                        best = accuracy
                        torch.save(model.state_dict(), "best.pt")


            if __name__ == "__main__":
                main()
            """,
            why="Functions with a torchvision network: train() is there, its counterpart is not.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class RainNet(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.net = nn.Sequential(nn.Conv2d(4, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
                    self.out = nn.Conv2d(32, 1, 1)

                def forward(self, radar):
                    return self.out(self.net(radar))


            class Trainer:
                def __init__(self, train_set, val_set):
                    self.model = RainNet()
                    self.loss = nn.SmoothL1Loss()
                    self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
                    self.train_loader = DataLoader(train_set, batch_size=16, shuffle=True)
                    self.val_loader = DataLoader(val_set, batch_size=16)

                def fit(self, epochs):
                    for epoch in range(epochs):
                        self.model.train()
                        for radar, rain in self.train_loader:
                            self.optimizer.zero_grad()
                            loss = self.loss(self.model(radar), rain)
                            loss.backward()
                            self.optimizer.step()
                        print(epoch, self.validate())

                @torch.no_grad()
                def validate(self):
                    errors = []
                    for radar, rain in self.val_loader:
                        prediction = self.model(radar)  # <-- NN501
                        errors.append(self.loss(prediction, rain).item())
                    return sum(errors) / len(errors)


            if __name__ == "__main__":
                Trainer(torch.load("radar_train.pt"), torch.load("radar_val.pt")).fit(40)
            """,
            why="A Trainer class that switches to training mode in each epoch and never back.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            from torch.utils.data import DataLoader


            class TransformerTagger(nn.Module):
                def __init__(self, vocabulary, tags):
                    super().__init__()
                    self.embedding = nn.Embedding(vocabulary, 128)
                    layer = nn.TransformerEncoderLayer(128, nhead=4, dropout=0.1, batch_first=True)
                    self.encoder = nn.TransformerEncoder(layer, num_layers=2)
                    self.head = nn.Linear(128, tags)

                def forward(self, tokens):
                    return self.head(self.encoder(self.embedding(tokens)))


            def run():
                train_set, dev_set = torch.load("conll.pt")
                train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
                dev_loader = DataLoader(dev_set, batch_size=64)
                tagger = TransformerTagger(22000, 9)
                criterion = nn.CrossEntropyLoss(ignore_index=-100)
                optimizer = torch.optim.Adam(tagger.parameters(), lr=5e-4)
                tagger.eval()
                for epoch in range(10):
                    tagger.train()
                    for tokens, tags in train_loader:
                        optimizer.zero_grad()
                        loss = criterion(tagger(tokens).flatten(0, 1), tags.flatten())
                        loss.backward()
                        optimizer.step()
                    dev_loss = 0.0
                    with torch.no_grad():
                        for tokens, tags in dev_loader:
                            scores = tagger(tokens)  # <-- NN501
                            dev_loss += criterion(scores.flatten(0, 1), tags.flatten()).item()
                    print(epoch, dev_loss / len(dev_loader))


            run()
            """,
            why="eval() is called once, before the first epoch; train() undoes it for every later evaluation.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            def loaders(path, batch_size=128):
                blob = torch.load(path)
                train = TensorDataset(blob["x_train"], blob["y_train"])
                test = TensorDataset(blob["x_test"], blob["y_test"])
                return DataLoader(train, batch_size, shuffle=True), DataLoader(test, batch_size)


            def mean_absolute_error(model, loader):
                error = 0.0
                with torch.no_grad():
                    for x, y in loader:
                        error += (model(x).squeeze(1) - y).abs().sum().item()  # <-- NN501
                return error / len(loader.dataset)


            train_loader, test_loader = loaders("bikes.pt")
            model = nn.Sequential(nn.Linear(12, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for epoch in range(30):
                model.train()
                for x, y in train_loader:
                    optimizer.zero_grad()
                    F.mse_loss(model(x).squeeze(1), y).backward()
                    optimizer.step()
                print(epoch, mean_absolute_error(model, test_loader))
            """,
            why="train() in every epoch, and nothing that switches for the measurement.",
        ),
        Example(
            """
            # file: nets/__init__.py
            from .wavenet import WaveClassifier


            def create(name, **options):
                return {"wave": WaveClassifier}[name](**options)
            # file: nets/blocks.py
            from torch import nn


            class ResidualBlock(nn.Module):
                def __init__(self, channels, dropout):
                    super().__init__()
                    self.conv = nn.Conv1d(channels, channels, 3, padding=1)
                    self.drop = nn.Dropout(dropout)

                def forward(self, x):
                    return x + self.drop(self.conv(x).relu())
            # file: nets/wavenet.py
            from torch import nn

            from .blocks import ResidualBlock


            class WaveClassifier(nn.Module):
                def __init__(self, channels, depth, classes):
                    super().__init__()
                    self.stem = nn.Conv1d(1, channels, 9, stride=4)
                    self.blocks = nn.Sequential(*[ResidualBlock(channels, 0.1) for _ in range(depth)])
                    self.head = nn.Linear(channels, classes)

                def forward(self, wave):
                    return self.head(self.blocks(self.stem(wave)).mean(dim=2))
            # file: evaluation.py
            import torch


            def evaluate(net, loader, device):
                correct = 0
                with torch.no_grad():
                    for wave, label in loader:
                        output = net(wave.to(device))  # <-- NN501
                        correct += (output.argmax(dim=1).cpu() == label).sum().item()
                return correct / len(loader.dataset)
            # file: main.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from evaluation import evaluate
            from nets import create


            def main(device="cuda"):
                train_set, test_set = torch.load("esc50.pt")
                net = create("wave", channels=64, depth=6, classes=50).to(device)
                optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4)
                test_loader = DataLoader(test_set, batch_size=64)
                for epoch in range(25):
                    net.train()
                    for wave, label in DataLoader(train_set, batch_size=32, shuffle=True):
                        loss = F.cross_entropy(net(wave.to(device)), label.to(device))
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                    print(epoch, evaluate(net, test_loader, device))


            if __name__ == "__main__":
                main()
            """,
            why="Four files: a factory, blocks with dropout deep inside, and an evaluation helper without eval().",
        ),
        Example(
            """
            import copy

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def make_network():
                return nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 20))


            class MeanTeacher:
                def __init__(self, momentum=0.99):
                    self.student = make_network()
                    self.teacher = copy.deepcopy(self.student).requires_grad_(False)
                    self.optimizer = torch.optim.SGD(self.student.parameters(), lr=0.03, momentum=0.9)
                    self.momentum = momentum

                @torch.no_grad()
                def update_teacher(self):
                    for t, s in zip(self.teacher.parameters(), self.student.parameters()):
                        t.mul_(self.momentum).add_(s, alpha=1 - self.momentum)

                def train_epoch(self, loader):
                    self.student.train()
                    for x, y in loader:
                        loss = F.cross_entropy(self.student(x), y)
                        self.optimizer.zero_grad()
                        loss.backward()
                        self.optimizer.step()
                        self.update_teacher()

                def test(self, loader):
                    self.teacher.eval()
                    hits = 0
                    with torch.no_grad():
                        for x, y in loader:
                            hits += (self.student(x).argmax(1) == y).sum().item()  # <-- NN501
                    return hits / len(loader.dataset)


            train_set, test_set = torch.load("embeddings.pt")
            method = MeanTeacher()
            for epoch in range(20):
                method.train_epoch(DataLoader(train_set, batch_size=64, shuffle=True))
                print(epoch, method.test(DataLoader(test_set, batch_size=256)))
            """,
            why="eval() is called on the teacher; the student is the one that is evaluated.",
        ),
    ]

    good = [
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def options():
                parser = argparse.ArgumentParser()
                model = parser.add_argument_group("model")
                model.add_argument("--hidden", type=int, default=64)
                model.add_argument("--feat-drop", type=float, default=0.0)
                parser.add_argument("--lr", type=float, default=1e-3)
                return parser.parse_args()


            class Net(nn.Module):
                def __init__(self, hidden, rate):
                    super().__init__()
                    self.rate = rate
                    self.first = nn.Linear(16, hidden)
                    self.drop = nn.Dropout(rate)
                    self.second = nn.Linear(hidden, 4)

                def forward(self, x):
                    x = F.dropout(torch.relu(self.first(x)), self.rate, training=self.training)
                    return self.second(self.drop(x))


            def main(args):
                train = DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True)
                val = DataLoader(torch.load("val.pt"), batch_size=32)
                net = Net(args.hidden, args.feat_drop)
                optimizer = torch.optim.Adam(net.parameters(), lr=args.lr)
                for epoch in range(20):
                    for x, y in train:
                        optimizer.zero_grad()
                        F.cross_entropy(net(x), y).backward()
                        optimizer.step()
                    with torch.no_grad():
                        print(epoch, sum((net(x).argmax(1) == y).sum().item() for x, y in val))


            if __name__ == "__main__":
                main(options())
            """,
            why="The dropout rate is an option of the command line and 0 unless somebody sets it.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision.models import efficientnet_b0


            def run_epoch(model, loader, optimizer=None):
                training = optimizer is not None
                model.train(training)
                losses = []
                with torch.set_grad_enabled(training):
                    for images, labels in loader:
                        loss = F.cross_entropy(model(images), labels)
                        if training:
                            optimizer.zero_grad()
                            loss.backward()
                            optimizer.step()
                        losses.append(loss.item())
                return sum(losses) / len(losses)


            def top1(net, loader):
                net.train(False)
                hits = 0
                with torch.no_grad():
                    for images, labels in loader:
                        hits += (net(images).argmax(dim=1) == labels).sum().item()
                return hits / len(loader.dataset)


            def main():
                train_set, val_set = torch.load("food.pt")
                train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
                val_loader = DataLoader(val_set, batch_size=64)
                model = efficientnet_b0(num_classes=101)
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
                for epoch in range(15):
                    train_loss = run_epoch(model, train_loader, optimizer)
                    print(epoch, train_loss, run_epoch(model, val_loader), top1(model, val_loader))


            main()
            """,
            why="The mode is switched inside the called functions, once as train(False).",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class DeepSets(nn.Module):
                def __init__(self, features, hidden=128):
                    super().__init__()
                    self.phi = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.LayerNorm(hidden))
                    self.rho = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 1))

                def forward(self, points):
                    return self.rho(self.phi(points).sum(dim=1)).squeeze(-1)


            train_set, test_set = torch.load("clouds.pt")
            model = DeepSets(features=3)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            criterion = nn.MSELoss()

            for epoch in range(60):
                for points, volume in DataLoader(train_set, batch_size=64, shuffle=True):
                    optimizer.zero_grad()
                    criterion(model(points), volume).backward()
                    optimizer.step()

            with torch.no_grad():
                errors = [criterion(model(p), v).item() for p, v in DataLoader(test_set, batch_size=64)]
            print(sum(errors) / len(errors))
            """,
            why="Nothing in this network depends on the mode, so there is nothing to switch.",
        ),
        Example(
            """
            # file: modes.py
            from contextlib import contextmanager

            import torch


            @contextmanager
            def evaluating(net):
                was_training = net.training
                net.eval()
                try:
                    with torch.no_grad():
                        yield net
                finally:
                    net.train(was_training)
            # file: denoiser.py
            from torch import nn


            def build(channels=48):
                return nn.Sequential(
                    nn.Conv2d(1, channels, 3, padding=1),
                    nn.BatchNorm2d(channels),
                    nn.ReLU(),
                    nn.Conv2d(channels, 1, 3, padding=1),
                )
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from denoiser import build
            from modes import evaluating


            def psnr(net, loader):
                total = 0.0
                with evaluating(net):
                    for noisy, clean in loader:
                        total -= 10 * torch.log10(F.mse_loss(net(noisy), clean)).item()
                return total / len(loader)


            def main():
                train_set, val_set = torch.load("scans.pt")
                val_loader = DataLoader(val_set, batch_size=8)
                net = build()
                optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
                for epoch in range(50):
                    for noisy, clean in DataLoader(train_set, batch_size=8, shuffle=True):
                        optimizer.zero_grad()
                        F.l1_loss(net(noisy), clean).backward()
                        optimizer.step()
                    print(epoch, psnr(net, val_loader))
                torch.save(net.state_dict(), "denoiser.pt")

                best = build().to("cpu").eval()
                best.load_state_dict(torch.load("denoiser.pt"))
                with torch.inference_mode():
                    for noisy, clean in val_loader:
                        print(F.mse_loss(best(noisy), clean).item())


            main()
            """,
            why="A context manager switches and restores; the chain at the end loads an eval model.",
        ),
        Example(
            """
            import lightning.pytorch as pl
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class ToxicityClassifier(pl.LightningModule):
                def __init__(self, vocabulary=40000, lr=1e-3):
                    super().__init__()
                    self.lr = lr
                    self.embedding = nn.EmbeddingBag(vocabulary, 128)
                    self.dropout = nn.Dropout(0.5)
                    self.out = nn.Linear(128, 1)
                    self.loss = nn.BCEWithLogitsLoss()

                def forward(self, tokens):
                    return self.out(self.dropout(self.embedding(tokens))).squeeze(1)

                def training_step(self, batch, batch_idx):
                    tokens, toxic = batch
                    loss = self.loss(self(tokens), toxic)
                    self.log("train/loss", loss)
                    return loss

                def validation_step(self, batch, batch_idx):
                    tokens, toxic = batch
                    logits = self(tokens)
                    self.log("val/loss", self.loss(logits, toxic))
                    self.log("val/acc", ((logits > 0) == toxic.bool()).float().mean())

                def configure_optimizers(self):
                    return torch.optim.AdamW(self.parameters(), lr=self.lr)


            def main():
                train_set, val_set = torch.load("comments.pt")
                trainer = pl.Trainer(max_epochs=4, gradient_clip_val=1.0)
                trainer.fit(
                    ToxicityClassifier(),
                    DataLoader(train_set, batch_size=128, shuffle=True),
                    DataLoader(val_set, batch_size=256),
                )


            main()
            """,
            why="Lightning switches the mode around validation_step and test_step.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class Regressor(nn.Module):
                def __init__(self, features):
                    super().__init__()
                    self.body = nn.Sequential(nn.Linear(features, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1))
                    self.out = nn.Linear(64, 1)

                def forward(self, x):
                    return self.out(self.body(x)).squeeze(1)


            def enable_dropout(model):
                for module in model.modules():
                    if isinstance(module, nn.Dropout):
                        module.train()


            @torch.no_grad()
            def uncertainty(model, loader, passes=30):
                model.eval()
                enable_dropout(model)
                stds = []
                for x, _ in loader:
                    stds.append(torch.stack([model(x) for _ in range(passes)]).std(dim=0))
                return torch.cat(stds)


            @torch.no_grad()
            def recalibrate_batchnorm(model, loader):
                model.train()
                for x, _ in loader:
                    model(x)


            train_set, test_set = torch.load("concrete.pt")
            loader = DataLoader(train_set, batch_size=64, shuffle=True)
            model = Regressor(8)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for epoch in range(100):
                model.train()
                for x, y in loader:
                    optimizer.zero_grad()
                    F.mse_loss(model(x), y).backward()
                    optimizer.step()
            recalibrate_batchnorm(model, loader)
            print(uncertainty(model, DataLoader(test_set, batch_size=256)).mean().item())
            """,
            why="Monte Carlo dropout on purpose, and a pass that only re-estimates running statistics.",
        ),
        Example(
            """
            # file: trainers/base.py
            import torch


            class BaseTrainer:
                def __init__(self, model, optimizer, loss):
                    self.model = model
                    self.optimizer = optimizer
                    self.loss = loss

                def switch(self, training):
                    self.model.train(training)

                def evaluate(self, loader):
                    self.switch(training=False)
                    total = 0.0
                    with torch.no_grad():
                        for x, y in loader:
                            total += self.loss(self.model(x), y).item()
                    return total / len(loader)

                def fit(self, train_loader, val_loader, epochs):
                    for epoch in range(epochs):
                        self.switch(training=True)
                        for x, y in train_loader:
                            self.optimizer.zero_grad()
                            self.loss(self.model(x), y).backward()
                            self.optimizer.step()
                        print(epoch, self.evaluate(val_loader))
            # file: trainers/__init__.py
            from .base import BaseTrainer as BaseTrainer
            # file: main.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from trainers import BaseTrainer


            class EcgTrainer(BaseTrainer):
                def switch(self, training):
                    if training:
                        self.model.train()
                    else:
                        self.model.eval()


            def main():
                train_set, val_set = torch.load("ecg.pt")
                body = nn.Sequential(nn.Conv1d(12, 32, 7), nn.BatchNorm1d(32), nn.ReLU(), nn.Flatten())
                model = nn.Sequential(body, nn.Linear(15808, 5))
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                trainer = EcgTrainer(model, optimizer, nn.CrossEntropyLoss())
                trainer.fit(DataLoader(train_set, batch_size=64, shuffle=True), DataLoader(val_set, batch_size=64), 30)


            main()
            """,
            why="A base class evaluates; the subclass switches through a method of its own.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from companylib.inference import freeze_for_scoring


            def score(model, loader):
                freeze_for_scoring(model)
                with torch.no_grad():
                    return [model(x).sigmoid().squeeze(1).tolist() for x, _ in loader]


            def main():
                train_set, test_set = torch.load("churn.pt")
                model = nn.Sequential(nn.Linear(40, 80), nn.ReLU(), nn.Dropout(0.4), nn.Linear(80, 1))
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                model.train()
                for epoch in range(10):
                    for x, y in DataLoader(train_set, batch_size=128, shuffle=True):
                        loss = F.binary_cross_entropy_with_logits(model(x).squeeze(1), y)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                print(score(model, DataLoader(test_set, batch_size=512)))


            main()
            """,
            why="A library that cannot be read may have switched the mode.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            class Block(nn.Module):
                def __init__(self, i, o, stride=1):
                    super().__init__()
                    self.conv = nn.Conv2d(i, o, 3, stride, 1)
                    self.bn = nn.BatchNorm2d(o)
                    self.shortcut = nn.Sequential()
                    if stride != 1 or i != o:
                        self.shortcut = nn.Sequential(nn.Conv2d(i, o, 1, stride), nn.BatchNorm2d(o))

                def forward(self, x):
                    return torch.relu(self.bn(self.conv(x)) + self.shortcut(x))


            class Net(nn.Module):
                def __init__(self, block, numbers):
                    super().__init__()
                    self.planes = 16
                    self.conv1 = nn.Conv2d(3, 16, 3)
                    self.bn1 = nn.BatchNorm2d(16)
                    self.layer1 = self._make_layer(block, 16, numbers[0], 1)
                    self.layer2 = self._make_layer(block, 32, numbers[1], 2)
                    self.linear = nn.Linear(32, 10)

                def _make_layer(self, block, planes, number, stride):
                    strides = [stride] + [1] * (number - 1)
                    layers = []
                    for stride in strides:
                        layers.append(block(self.planes, planes, stride))
                        self.planes = planes
                    return nn.Sequential(*layers)

                def forward(self, x):
                    x = self.layer2(self.layer1(torch.relu(self.bn1(self.conv1(x)))))
                    return self.linear(x.mean((2, 3)))

                def eval_mode(self, train=False):
                    if train:
                        self.conv1.train()
                        self.bn1.train()
                        self.layer1.train()
                        self.layer2.train()
                        self.linear.train()
                    else:
                        self.conv1.eval()
                        self.bn1.eval()
                        self.layer1.eval()
                        self.layer2.eval()
                        self.linear.eval()


            def main():
                t = transforms.ToTensor()
                train_loader = DataLoader(datasets.CIFAR10("d", transform=t), 64, shuffle=True)
                test_loader = DataLoader(datasets.CIFAR10("d", train=False, transform=t), 64)
                model = Net(Block, [3, 2])
                criterion = nn.CrossEntropyLoss()
                optimizer = torch.optim.SGD(model.parameters(), 0.1)
                for epoch in range(3):
                    for x, y in train_loader:
                        optimizer.zero_grad()
                        loss = criterion(model(x), y)
                        loss.backward()
                        optimizer.step()
                model.eval_mode()
                hits = 0
                for x, y in test_loader:
                    hits += (model(x).argmax(1) == y).sum().item()
                print(hits)

            main()
            """,
            why="Each part is switched to evaluation by itself.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Every forward pass that measures and runs in training mode."""
        for forward, where in watching.evaluating_forwards(program):
            layer = program.train_dependent(forward.subject)
            if forward.mode is not True or not forward.intact or layer is None:
                continue
            if forward.subject in program.named_only("eval"):
                continue  # NN516 names the cause
            yield self.finding(
                forward.site,
                "The model is evaluated in training mode: no `eval()` reaches this forward pass, so dropout stays on "
                "and batch normalisation uses (and learns from) the evaluation batches.",
                "Call `model.eval()` before it and `model.train()` before training goes on.",
                evidence=[
                    Hop("this layer behaves differently in training", layer.site, program.class_name(layer)),
                    *([Hop("evaluation runs over the data here", where)] if where else []),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for found in run.passes:
            module = run.of("module", found.module)
            if not found.training or not found.train_dependent or found.used or module is None or module.library:
                continue
            trained = [other for other in evidence.trained_passes(run, found.module) if other.key != found.key]
            if found.calls < self.number("calls") or not trained or found.watched == 0 or found.consumed:
                continue
            if _repeats_in_a_row(found.inputs) or evidence.is_bare_call(run, found.line):
                continue
            loader = run.of("loader", found.loader)
            if evidence.evaluates(loader):
                what, confidence = "batches of a loader that is never trained on", Confidence.CERTAIN
            elif loader is None and not found.grad and _is_fixed_set(run, found, trained):
                what, confidence = "fixed inputs that are never trained on", Confidence.LIKELY
            else:
                continue
            name = found.train_dependent
            yield self.finding(
                found.line,
                f"`{module.name}` is evaluated in training mode: {found.calls} forward passes on {what}, while "
                f"`{name}` behaves as in training. The score is wrong and depends on the batch, and batch "
                "normalization takes evaluation data into its statistics.",
                f"Call `{module.name}.eval()` before this loop and `{module.name}.train()` before training goes on.",
                evidence=[
                    Hop(f"evaluated here, with `{name}` in training mode", found.line, f"{found.calls} calls"),
                    Hop("trained here", trained[0].line, f"{trained[0].calls} calls"),
                    *([Hop("the loader of these batches", loader.line, "0 batches trained on")] if loader else []),
                ],
                confidence=confidence,
            )

    def refute(self, finding: Finding, run: Run) -> str:
        passes = [found for found in evidence.at(run.passes, finding) if not found.used]
        if not passes or any(found.training for found in passes):
            return ""
        return f"all {sum(found.calls for found in passes)} forward passes here ran in evaluation mode"


def _repeats_in_a_row(inputs: list[str]) -> bool:
    """The same input passes several times running: several random answers are wanted."""
    equal = sum(a == b for a, b in pairwise(inputs))
    return len(set(inputs)) > 1 and 4 * equal >= len(inputs)


def _is_fixed_set(run: Run, found: Pass, trained: list[Pass]) -> bool:
    """The same inputs come again at later steps, and training never sees them; no other network is trained."""
    if found.last_step <= found.first_step or len(found.inputs) < found.calls:
        return False
    if any(other.module != found.module for other in run.passes if other.used or other.consumed):
        return False
    times = Counter(found.inputs)
    seen = {digest for other in trained for digest in other.inputs}
    return min(times.values()) > 1 and not seen.intersection(times)
