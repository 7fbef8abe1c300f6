"""NN515: the best weights are kept by reference, and training goes on in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import checkpoints
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class BestWeightsByReference(Rule):
    """`best = model.state_dict()` holds the live tensors; after further steps they are no longer the best ones.

    ## What it is

    `state_dict()` copies nothing: its tensors are the parameters themselves, and every optimizer step changes them in
    place. A script that keeps `best = model.state_dict()` when the validation score improves, trains on, and at the
    end restores or saves `best`, restores the *last* weights. `best_model = model` is worse still: it is only a
    second name. The same goes for weights that are kept to start afresh (`initial = model.state_dict()` before
    several runs).

    ## Why it hurts training

    Early stopping and model selection have no effect: the model that is returned is the last, most overfitted one,
    while the score that is reported is that of the best epoch. Runs that should start from equal weights start
    from trained ones.

    ## How it is told apart from code that only looks alike

    - `best = model` is judged where a score is compared in a loop that goes on to train the model; as the name may mean
      something else, the finding is `likely`.
    - `copy.deepcopy(model)`, `copy.deepcopy(model.state_dict())` and `{k: v.clone() for k, v in
      model.state_dict().items()}` are copies.
    - `torch.save(model.state_dict(), path)` writes the numbers of that moment.
    - A state that is restored or saved before the next step is still what it was.
    - `target.load_state_dict(model.state_dict())` copies the numbers into another network.
    - A state that is edited (`state.update(pretrained)`) and loaded back is not a memory of old weights.

    ## What to do

    ```python
    best = copy.deepcopy(model.state_dict())
    ```

    or write it to a file at once: `torch.save(model.state_dict(), "best.pt")`.
    """

    code = "NN515"
    name = "best-weights-by-reference"
    points = (15,)
    severity = Severity.ERROR
    triggers = ("state_dict",)

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2))
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            train_loader = DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True)
            x_valid, y_valid = torch.load("valid.pt")

            best_loss, best_weights = float("inf"), None
            for epoch in range(100):
                for x, y in train_loader:
                    optimizer.zero_grad()
                    criterion(model(x), y).backward()
                    optimizer.step()
                with torch.no_grad():
                    valid_loss = criterion(model(x_valid), y_valid).item()
                if valid_loss < best_loss:
                    best_loss = valid_loss
                    best_weights = model.state_dict()  # <-- NN515
            model.load_state_dict(best_weights)
            torch.save(model, "final.pt")
            """,
            why="The best weights of a script.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.optim as optim
            from torch.utils.data import DataLoader
            from torchvision.models import resnet18


            def evaluate(model, loader):
                model.eval()
                with torch.no_grad():
                    return sum((model(x).argmax(1) == y).sum().item() for x, y in loader)


            def train_model(model, criterion, optimizer, train_loader, valid_loader, num_epochs=25):
                best_model_wts = model.state_dict()  # <-- NN515
                best_hits = 0
                for epoch in range(num_epochs):
                    model.train()
                    for inputs, labels in train_loader:
                        optimizer.zero_grad()
                        loss = criterion(model(inputs), labels)
                        loss.backward()
                        optimizer.step()
                    hits = evaluate(model, valid_loader)
                    if hits > best_hits:
                        best_hits = hits
                        best_model_wts = model.state_dict()  # <-- NN515
                model.load_state_dict(best_model_wts)
                return model


            if __name__ == "__main__":
                net = resnet18(num_classes=2)
                sgd = optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
                train = DataLoader(torch.load("train.pt"), batch_size=4, shuffle=True)
                train_model(net, nn.CrossEntropyLoss(), sgd, train, DataLoader(torch.load("valid.pt"), batch_size=4))
            """,
            why="A function that returns the best model.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, model, patience=5):
                    self.model = model
                    self.patience = patience
                    self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
                    self.best_state = None
                    self.best_loss = float("inf")

                def run_epoch(self, loader):
                    for x, y in loader:
                        self.optimizer.zero_grad()
                        nn.functional.mse_loss(self.model(x), y).backward()
                        self.optimizer.step()

                @torch.no_grad()
                def validate(self, loader):
                    return sum(nn.functional.mse_loss(self.model(x), y).item() for x, y in loader) / len(loader)

                def fit(self, train_loader, valid_loader, epochs):
                    waited = 0
                    for epoch in range(epochs):
                        self.run_epoch(train_loader)
                        loss = self.validate(valid_loader)
                        if loss < self.best_loss:
                            self.best_loss, waited = loss, 0
                            self.best_state = self.model.state_dict()  # <-- NN515
                        else:
                            waited += 1
                            if waited >= self.patience:
                                break
                    torch.save({"model": self.best_state, "loss": self.best_loss}, "best.pt")


            if __name__ == "__main__":
                train = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True)
                Trainer(nn.Linear(12, 1)).fit(train, DataLoader(torch.load("valid.pt"), batch_size=64), 200)
            """,
            why="Early stopping that saves the state at the end.",
        ),
        Example(
            """
            # file: folds.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            def run_fold(model, rows, initial):
                model.load_state_dict(initial)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
                for epoch in range(20):
                    for x, y in DataLoader(rows, batch_size=16, shuffle=True):
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            # file: cross_validation.py
            import torch
            from torch import nn

            from folds import run_fold


            def main():
                model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 2))
                initial = model.state_dict()  # <-- NN515
                for rows in torch.load("folds.pt"):
                    run_fold(model, rows, initial)
                    print(model[0].weight.norm())


            main()
            """,
            why="Every fold is meant to start from the first weights.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def fit(model, train_loader, x_valid, y_valid, epochs):
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                best_model, best_loss = None, float("inf")
                for epoch in range(epochs):
                    for x, y in train_loader:
                        optimizer.zero_grad()
                        F.mse_loss(model(x), y).backward()
                        optimizer.step()
                    with torch.no_grad():
                        loss = F.mse_loss(model(x_valid), y_valid).item()
                    if loss < best_loss:
                        best_loss = loss
                        best_model = model  # <-- NN515
                return best_model


            network = nn.Sequential(nn.Linear(9, 32), nn.ReLU(), nn.Linear(32, 1))
            loader = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True)
            torch.save(fit(network, loader, *torch.load("valid.pt"), 100).state_dict(), "best.pt")
            """,
            why="The best model is only a second name of the model.",
        ),
    ]

    good = [
        Example(
            """
            import copy

            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            def train_model(model, optimizer, train_loader, x_valid, y_valid, epochs):
                best, best_loss = copy.deepcopy(model.state_dict()), float("inf")
                for epoch in range(epochs):
                    for x, y in train_loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                    with torch.no_grad():
                        loss = F.cross_entropy(model(x_valid), y_valid).item()
                    if loss < best_loss:
                        best, best_loss = copy.deepcopy(model.state_dict()), loss
                        torch.save(model.state_dict(), "best.pt")
                model.load_state_dict(best)
                return model


            net = nn.Linear(20, 2)
            train = DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True)
            train_model(net, torch.optim.Adam(net.parameters()), train, *torch.load("valid.pt"), 50)
            """,
            why="A deep copy, and a file written at once.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import resnet18


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Linear(512, 64)
                    self.head = nn.Linear(64, 5)

                def forward(self, x):
                    return self.head(F.relu(self.body(x)))


            def main():
                model = Net()
                state = model.state_dict()
                pretrained = {k: v for k, v in torch.load("pretrained.pt").items() if k in state}
                state.update(pretrained)
                model.load_state_dict(state)
                optimizer = torch.optim.Adam(model.parameters())
                best = None
                for epoch in range(20):
                    for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                        optimizer.zero_grad()
                        loss = F.cross_entropy(model(x), y)
                        loss.backward()
                        optimizer.step()
                    if epoch % 5 == 0:
                        best = {k: v.detach().clone() for k, v in model.state_dict().items()}
                if best is not None:
                    model.load_state_dict(best)


            main()
            """,
            why="A state that is edited and loaded back, and a cloned one.",
        ),
        Example(
            """
            import random
            from collections import deque

            import torch
            import torch.nn.functional as F
            from torch import nn


            class Agent:
                def __init__(self):
                    self.policy = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
                    self.target = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
                    self.target.load_state_dict(self.policy.state_dict())
                    self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=1e-3)
                    self.memory = deque(maxlen=10_000)

                def learn(self, steps):
                    for step in range(steps):
                        s, a, r, s2 = map(torch.stack, zip(*random.sample(self.memory, 64)))
                        with torch.no_grad():
                            wanted = r + 0.99 * self.target(s2).max(dim=1).values
                        loss = F.mse_loss(self.policy(s).gather(1, a).squeeze(1), wanted)
                        self.optimizer.zero_grad()
                        loss.backward()
                        self.optimizer.step()
                        if step % 500 == 0:
                            self.target.load_state_dict(self.policy.state_dict())
                            torch.save({"policy": self.policy.state_dict(), "step": step}, "agent.pt")


            Agent().learn(50_000)
            """,
            why="Target networks and checkpoints use the state at once.",
        ),
        Example(
            """
            # file: checkpoint.py
            import torch


            def save(model, optimizer, epoch, path, average=None):
                state = model.state_dict()
                smooth = average.state_dict() if average is not None else None
                parts = {"model": state, "average": smooth, "optimizer": optimizer.state_dict(), "epoch": epoch}
                torch.save(parts, path)


            def load(model, path):
                checkpoint = torch.load(path, weights_only=True)
                model.load_state_dict(checkpoint["model"])
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from checkpoint import load, save

            model = nn.Linear(30, 2)
            average = nn.Linear(30, 2) if torch.cuda.is_available() else None
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(10):
                for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                save(model, optimizer, epoch, f"epoch{epoch}.pt", average)
            load(model, "epoch3.pt")
            """,
            why="What is restored comes from a file.",
        ),
        Example(
            """
            import copy

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def fit(model, average, train_loader, x_valid, y_valid, epochs, start):
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                best_model, best_loss = None, float("inf")
                for epoch in range(epochs):
                    for x, y in train_loader:
                        optimizer.zero_grad()
                        F.mse_loss(model(x), y).backward()
                        optimizer.step()
                    if epoch >= start:
                        average.update_parameters(model)
                        judged = average
                    else:
                        judged = model
                    with torch.no_grad():
                        loss = F.mse_loss(judged(x_valid), y_valid).item()
                    if loss < best_loss:
                        best_loss, best_model = loss, copy.deepcopy(judged)
                return best_model


            network = nn.Sequential(nn.Linear(9, 32), nn.ReLU(), nn.Linear(32, 1))
            mean = torch.optim.swa_utils.AveragedModel(network)
            loader = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True)
            torch.save(fit(network, mean, loader, *torch.load("valid.pt"), 100, 50).state_dict(), "best.pt")
            """,
            why="A deep copy of the model; the second name chooses which one is judged.",
        ),
        Example(
            """
            import copy

            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Linear(8, 1)
            optimizer = torch.optim.Adam(model.parameters())
            best, best_loss = copy.deepcopy({"model": model.state_dict()}), float("inf")
            for epoch in range(20):
                for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(x).squeeze(1), y).backward()
                    optimizer.step()
                with torch.no_grad():
                    x, y = torch.load("val.pt")
                    loss = nn.functional.mse_loss(model(x).squeeze(1), y).item()
                if loss < best_loss:
                    best_loss = loss
                    best = copy.deepcopy({"model": model.state_dict(), "epoch": epoch})
            torch.save(best, "best.pt")
            """,
            why="A deep copy of a dict copies the states in it.",
        ),
        Example(
            """
            import argparse

            import torch
            from torch import nn


            class Half(nn.Module):
                def __init__(self, module):
                    super().__init__()
                    self.module = module.half()

                def forward(self, x):
                    return self.module(x.half()).float()

                def state_dict(self, *args, **kwargs):
                    return self.module.state_dict(*args, **kwargs)


            def save(model, optimizer, step):
                state = {"step": step}
                state["model"] = model.state_dict()
                state["optimizer"] = optimizer.state_dict()
                torch.save(state, f"{step}.pt")


            parser = argparse.ArgumentParser()
            parser.add_argument("--half", action="store_true")
            args = parser.parse_args()
            model = nn.Linear(8, 2)
            if args.half:
                model = Half(model)
            optimizer = torch.optim.Adam(model.parameters())
            for step, (x, y) in enumerate(torch.load("batches.pt")):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
                if step % 100 == 0:
                    save(model, optimizer, step)
            save(model, optimizer, step)
            """,
            why="Saved in the call that takes it, whichever model it is.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """States that are used as if the steps since had not changed them."""
        for found in checkpoints.kept_by_reference(program):
            use = "restored" if found.use.kind == "restore" else "saved"
            yield self.finding(
                found.snapshot.site,
                f"`state_dict()` is kept without a copy: its tensors are the parameters themselves, the steps at {{0}} "
                f"change them, and what is {use} at {{1}} are the last weights, not those of this moment.",
                "Keep `copy.deepcopy(model.state_dict())`.",
                evidence=[
                    Hop("the parameters are changed in place here", found.step.site),
                    Hop(f"the state is {use} here", found.use.site),
                ],
            )
        for named, step in checkpoints.second_names(program):
            yield self.finding(
                named.site,
                "This gives the model a second name and copies nothing: the steps at {0} go on changing it, and what "
                "is kept here as the best model is the last one.",
                "Keep `copy.deepcopy(model)`.",
                evidence=[Hop("the parameters are changed in place here", step.site)],
                confidence=Confidence.LIKELY,
            )
