"""NN116: the test data decides which model is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import selection
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class TestSetModelSelection(Rule):
    """The checkpoint, the moment to stop or the learning rate is chosen by the score on the test data.

    ## What it is

    After each epoch the model is evaluated on the test part, and the result decides: the best weights are saved,
    training ends when the score no longer rises, or `ReduceLROnPlateau` lowers the rate. The same score is then
    reported as the result.

    ## Why it hurts training

    The best of many noisy numbers is too good: with 50 epochs and a test set of 1,000 samples, choosing the epoch by
    the test score alone adds one to two percentage points that new data will not give. Comparisons between models
    become a comparison of luck, and a method that varies more from epoch to epoch looks better. The test set has
    become a validation set, and there is no test set any more.

    ## How it is told apart from code that only looks alike

    - A part is the test part by its name in the data: `train=False` of torchvision, `split="test"`, a folder or file
      called test, `data["test"]`; never by the name of a variable.
    - Of data that comes in two parts only (`train=False`), the second serves many people as validation data and the
      score is not reported: there the finding is likely, not certain.
    - Scores on the test part that are only printed or logged decide nothing.
    - Checkpoints that are saved in every epoch, or by the training loss, were not chosen by the test part.
    - A part that was cut off the training data (validation) is there for such decisions.
    - Numbers that come from several parts, or from data whose part is not known, are left alone.

    ## What to do

    Cut a validation part off the training data, decide by that, and use the test part once, at the end:

    ```python
    train_part, val_part = random_split(train_set, [0.9, 0.1])
    ```
    """

    code = "NN116"
    name = "test-set-model-selection"
    points = (15, 21)
    severity = Severity.WARNING
    triggers = ("save", "ReduceLROnPlateau", "deepcopy", "backward")

    bad = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            train_set = datasets.CIFAR10("data", train=True, transform=transforms.ToTensor())
            test_set = datasets.CIFAR10("data", train=False, transform=transforms.ToTensor())
            train_loader = DataLoader(train_set, batch_size=128, shuffle=True)
            test_loader = DataLoader(test_set, batch_size=256)
            net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 256), nn.ReLU(), nn.Linear(256, 10))
            optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
            best_acc = 0
            for epoch in range(100):
                for x, y in train_loader:
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()
                    optimizer.step()
                correct, total = 0, 0
                with torch.no_grad():
                    for x, y in test_loader:
                        correct += net(x).argmax(1).eq(y).sum().item()
                        total += y.size(0)
                acc = 100.0 * correct / total
                if acc > best_acc:  # <-- NN116
                    torch.save({"net": net.state_dict(), "acc": acc}, "ckpt.pth")
                    best_acc = acc
            print(best_acc)
            """,
            why="The best epoch on the test images is kept; a flat script.",
        ),
        Example(
            """
            import copy

            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import transforms
            from torchvision.datasets import ImageFolder
            from torchvision.models import resnet18


            @torch.no_grad()
            def test(model, loader, criterion):
                model.eval()
                return sum(criterion(model(x), y).item() for x, y in loader) / len(loader)


            def train(model, loader, criterion, optimizer):
                model.train()
                for x, y in loader:
                    optimizer.zero_grad()
                    criterion(model(x), y).backward()
                    optimizer.step()


            def main():
                resize = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])
                train_loader = DataLoader(ImageFolder("birds/train", resize), 32, shuffle=True)
                test_loader = DataLoader(ImageFolder("birds/test", resize), 64)
                model = resnet18(num_classes=200)
                criterion = nn.CrossEntropyLoss()
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
                best_loss, best_weights = float("inf"), None
                for epoch in range(25):
                    train(model, train_loader, criterion, optimizer)
                    loss = test(model, test_loader, criterion)
                    print(epoch, loss)
                    if loss < best_loss:  # <-- NN116
                        best_loss = loss
                        best_weights = copy.deepcopy(model.state_dict())
                model.load_state_dict(best_weights)


            main()
            """,
            why="Functions; the weights with the lowest loss on the test folder are copied.",
        ),
        Example(
            """
            # file: stopping.py
            class EarlyStopping:
                def __init__(self, patience):
                    self.patience = patience
                    self.best = None
                    self.waited = 0

                def __call__(self, score):
                    if self.best is None or score > self.best:
                        self.best, self.waited = score, 0
                    else:
                        self.waited += 1
                    return self.waited >= self.patience
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            from stopping import EarlyStopping


            class Trainer:
                def __init__(self):
                    self.train_set = datasets.SVHN("data", split="train", transform=transforms.ToTensor())
                    self.test_set = datasets.SVHN("data", split="test", transform=transforms.ToTensor())
                    self.model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 100), nn.ReLU(), nn.Linear(100, 10))
                    self.optimizer = torch.optim.Adam(self.model.parameters())
                    self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizer, mode="max")
                    self.stopping = EarlyStopping(5)

                def score(self):
                    hits = 0
                    with torch.no_grad():
                        for x, y in DataLoader(self.test_set, 512):
                            hits += (self.model(x).argmax(1) == y).sum().item()
                    return hits / len(self.test_set)

                def fit(self):
                    for epoch in range(100):
                        for x, y in DataLoader(self.train_set, 64, shuffle=True):
                            self.optimizer.zero_grad()
                            nn.functional.cross_entropy(self.model(x), y).backward()
                            self.optimizer.step()
                        score = self.score()
                        self.scheduler.step(score)  # <-- NN116
                        if self.stopping(score):
                            break


            Trainer().fit()
            """,
            why="The schedule in a Trainer class follows the test part.",
        ),
        Example(
            """
            import pandas as pd
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            train = pd.read_csv("train.csv")
            test = pd.read_csv("test.csv")


            def tensors(frame):
                return torch.tensor(frame.drop(columns="y").values).float(), torch.tensor(frame["y"].values).float()


            x_test, y_test = tensors(test)
            loader = DataLoader(TensorDataset(*tensors(train)), batch_size=32, shuffle=True)
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
            optimizer = torch.optim.Adam(model.parameters())
            best = 1e9
            for epoch in range(200):
                for x, y in loader:
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(x).squeeze(1), y).backward()
                    optimizer.step()
                with torch.no_grad():
                    error = nn.functional.l1_loss(model(x_test).squeeze(1), y_test).item()
                if error > best:  # <-- NN116
                    break
                best = error
            """,
            why="Training stops as soon as the error on test.csv rises.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader, random_split
            from torchvision import datasets, transforms


            def accuracy(model, loader):
                hits = total = 0
                with torch.no_grad():
                    for x, y in loader:
                        hits += (model(x).argmax(1) == y).sum().item()
                        total += len(y)
                return hits / total


            whole = datasets.MNIST("data", train=True, transform=transforms.ToTensor())
            train_set, val_set = random_split(whole, [55_000, 5_000])
            test_set = datasets.MNIST("data", train=False, transform=transforms.ToTensor())
            train_loader, val_loader = DataLoader(train_set, 64, shuffle=True), DataLoader(val_set, 512)
            test_loader = DataLoader(test_set, 512)
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
            optimizer = torch.optim.Adam(model.parameters())
            best = 0.0
            for epoch in range(20):
                for x, y in train_loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                score = accuracy(model, val_loader)
                if score > best:
                    best = score
                    torch.save(model.state_dict(), "best.pt")
            model.load_state_dict(torch.load("best.pt"))
            print(accuracy(model, test_loader))
            """,
            why="A validation part decides; the test part is used once, at the end.",
        ),
        Example(
            """
            # file: evaluate.py
            import torch


            def accuracy(model, loader):
                with torch.no_grad():
                    hits = [(model(x).argmax(1) == y).float().mean().item() for x, y in loader]
                return sum(hits) / len(hits)
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            from evaluate import accuracy

            train_loader = DataLoader(datasets.USPS("d", train=True, transform=transforms.ToTensor()), 64, shuffle=True)
            test_loader = DataLoader(datasets.USPS("d", train=False, transform=transforms.ToTensor()), 512)
            model = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            lowest = float("inf")
            for epoch in range(30):
                total = 0.0
                for x, y in train_loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                    total += loss.item()
                print(epoch, total, accuracy(model, test_loader))
                if total < lowest:
                    lowest = total
                    torch.save(model.state_dict(), "model.pt")
                if epoch % 10 == 9:
                    torch.save(model.state_dict(), f"epoch{epoch}.pt")
            """,
            why="The test accuracy is only printed; the training loss and the number of the epoch decide.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import transforms
            from torchvision.datasets import ImageFolder


            class Runner:
                def __init__(self, root):
                    plain = transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()])
                    self.train_loader = DataLoader(ImageFolder("cells/train", plain), 32, shuffle=True)
                    self.val_loader = DataLoader(ImageFolder("cells/val", plain), 64)
                    self.test_loader = DataLoader(ImageFolder("cells/test", plain), 64)
                    self.model = nn.Sequential(nn.Flatten(), nn.Linear(12288, 4))
                    self.optimizer = torch.optim.Adam(self.model.parameters())
                    self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizer)

                def loss_on(self, loader):
                    with torch.no_grad():
                        losses = [nn.functional.cross_entropy(self.model(x), y).item() for x, y in loader]
                    return sum(losses) / len(losses)

                def run(self):
                    for epoch in range(50):
                        for x, y in self.train_loader:
                            self.optimizer.zero_grad()
                            nn.functional.cross_entropy(self.model(x), y).backward()
                            self.optimizer.step()
                        self.scheduler.step(self.loss_on(self.val_loader))
                    print(self.loss_on(self.test_loader))


            Runner("cells").run()
            """,
            why="Three folders, each for its purpose.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from sklearn.model_selection import train_test_split
            from torch import nn

            x, y = np.load("x.npy").astype(np.float32), np.load("y.npy")
            x_train, x_test, y_train, y_test = map(torch.from_numpy, train_test_split(x, y, test_size=0.2))
            model = nn.Sequential(nn.Linear(x.shape[1], 32), nn.ReLU(), nn.Linear(32, 3))
            optimizer = torch.optim.Adam(model.parameters())
            best = float("inf")
            for epoch in range(500):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x_train), y_train).backward()
                optimizer.step()
                with torch.no_grad():
                    loss = nn.functional.cross_entropy(model(x_test), y_test).item()
                if loss < best:
                    best = loss
                    torch.save(model.state_dict(), "best.pt")
            """,
            why="What was cut off here may well be the validation part, whatever the variable is called.",
        ),
        Example(
            """
            import datasets
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            train_data, test_data = datasets.load_dataset("imdb", split=["train", "test"])
            parts = train_data.train_test_split(test_size=0.25)
            train_loader = DataLoader(parts["train"].with_format("torch"), batch_size=64, shuffle=True)
            valid_loader = DataLoader(parts["test"].with_format("torch"), batch_size=64)
            model = nn.Sequential(nn.EmbeddingBag(30_000, 100), nn.Linear(100, 2))
            optimizer = torch.optim.Adam(model.parameters())
            best = float("inf")
            for epoch in range(5):
                for batch in train_loader:
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(batch["ids"]), batch["label"]).backward()
                    optimizer.step()
                with torch.no_grad():
                    loss = sum(nn.functional.cross_entropy(model(b["ids"]), b["label"]).item() for b in valid_loader)
                if loss < best:
                    best = loss
                    torch.save(model.state_dict(), "best.pt")
            print(len(test_data))
            """,
            why="The second part of a split of the training data goes by the name of test there.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            config = {"epochs": 30, "test_interval": 5, "path": "run"}
            model = nn.Linear(12, 3)
            optimizer = torch.optim.Adam(model.parameters())


            def validate(loader):
                with torch.no_grad():
                    return sum((model(x).argmax(1) == y).sum().item() for x, y in loader)


            for epoch in range(config["epochs"]):
                for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x), y).backward()
                    optimizer.step()
                right = validate(DataLoader(torch.load("val.pt"), batch_size=32))
                if epoch % config["test_interval"] == 1 or epoch == config["epochs"] - 1:
                    torch.save(model.state_dict(), f"{config['path']}/{epoch}.pt")
            """,
            why="A setting whose name speaks of tests is no score.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in selection.by_test_data(program):
            hops = [Hop("the test data is set up here", found.made)] if found.made is not None else []
            yield self.finding(
                found.site,
                f"Here {found.what} by a number that was measured on {found.words}: the best of many test scores is "
                "too good, and no unseen data is left to tell how good the model really is.",
                "Cut a validation part off the training data and decide by that; use the test part once, at the end.",
                evidence=hops,
                confidence=Confidence.CERTAIN if found.certain else Confidence.LIKELY,
            )
