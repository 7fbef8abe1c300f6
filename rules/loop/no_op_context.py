"""NN516: a statement names a method or makes a context, and does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.effects import Effect
    from ...analyzer.program import Program


class NoOpContext(Rule):
    """A method is named but not called, or a context is made but not entered: the line does nothing.

    ## What it is

    `model.eval`, `optimizer.zero_grad`, `optimizer.step` or `loss.backward` without parentheses is a valid statement
    that looks up a method and forgets it. `torch.no_grad()` on a line of its own makes a context manager that nobody
    enters; gradients are recorded as before. The same goes for `torch.autocast(...)`.

    ## Why it hurts training

    No exception is raised, and the code reads as if the step had been made. Without `step` nothing is learned; without
    `zero_grad` gradients add up; without `eval` dropout and batch normalization go on as in training; without
    `no_grad` the evaluation keeps a graph and needs several times the memory.

    ## How it is told apart from code that only looks alike

    - `torch.set_grad_enabled(False)` acts at once, also as a plain statement.
    - A method that is handed on (`register(model.eval)`), stored (`step = optimizer.step`) or returned is used.
    - `@torch.no_grad()` and `with torch.no_grad():` are entered; so is a context given to `ExitStack.enter_context`.
    - Attributes that merely share such a name (`config.step`) are not judged unless their owner is known as an
      optimizer, a scheduler, a model or a loss; a plain name that only may be one gives a `likely` finding.

    ## What to do

    Call the method, and put what the context is meant for inside it:

    ```python
    model.eval()
    with torch.no_grad():
        outputs = model(inputs)
    ```
    """

    code = "NN516"
    name = "no-op-context"
    points = (32,)
    severity = Severity.ERROR
    triggers = ("no_grad", "inference_mode", "enable_grad", "autocast", "zero_grad", "backward")

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            loader = DataLoader(torch.load("digits.pt"), batch_size=64, shuffle=True)

            for epoch in range(10):
                for images, labels in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(images), labels)
                    loss.backward()
                    optimizer.step  # <-- NN516
                print(epoch, loss.item())
            """,
            why="The step is named, not made; nothing is learned.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.hidden = nn.Linear(784, 256)
                    self.drop = nn.Dropout(0.5)
                    self.out = nn.Linear(256, 10)

                def forward(self, x):
                    return self.out(self.drop(F.relu(self.hidden(x.flatten(1)))))


            def train(model, loader, optimizer):
                model.train()
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()


            def evaluate(model, loader):
                model.eval  # <-- NN516
                correct = 0
                with torch.no_grad():
                    for x, y in loader:
                        correct += (model(x).argmax(dim=1) == y).sum().item()
                return correct


            def main():
                train_loader = DataLoader(torch.load("train.pt"), batch_size=128, shuffle=True)
                valid_loader = DataLoader(torch.load("valid.pt"), batch_size=128)
                net = Net()
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
                for epoch in range(20):
                    train(net, train_loader, optimizer)
                    print(epoch, evaluate(net, valid_loader))


            if __name__ == "__main__":
                main()
            """,
            why="eval without parentheses, in the evaluating function.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, model, train_set, valid_set):
                    self.model = model
                    self.criterion = nn.MSELoss()
                    self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
                    self.train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
                    self.valid_loader = DataLoader(valid_set, batch_size=256)

                def fit(self, epochs):
                    for epoch in range(epochs):
                        self.model.train()
                        for x, y in self.train_loader:
                            self.optimizer.zero_grad()
                            loss = self.criterion(self.model(x), y)
                            loss.backward()
                            self.optimizer.step()
                        print(epoch, self.validate())

                def validate(self):
                    self.model.eval()
                    torch.no_grad()  # <-- NN516
                    total = 0.0
                    for x, y in self.valid_loader:
                        total += self.criterion(self.model(x), y).item()
                    return total / len(self.valid_loader)


            if __name__ == "__main__":
                regressor = nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 1))
                Trainer(regressor, torch.load("houses_train.pt"), torch.load("houses_valid.pt")).fit(50)
            """,
            why="no_grad() on a line of its own, in a trainer.",
        ),
        Example(
            """
            # file: engine/steps.py
            import torch.nn.functional as F


            def train_step(model, optimizer, tokens, labels):
                optimizer.zero_grad  # <-- NN516
                loss = F.cross_entropy(model(tokens), labels)
                loss.backward()
                optimizer.step()
                return loss.item()
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from engine.steps import train_step

            model = nn.Sequential(nn.EmbeddingBag(30000, 128), nn.Linear(128, 4))
            optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
            loader = DataLoader(torch.load("ag_news.pt"), batch_size=64, shuffle=True)
            for epoch in range(5):
                losses = [train_step(model, optimizer, tokens, labels) for tokens, labels in loader]
                print(epoch, sum(losses) / len(losses))
            """,
            why="zero_grad without parentheses in a helper of another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            train_loader = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True)
            valid_loader = DataLoader(torch.load("valid.pt"), batch_size=64)

            for epoch in range(10):
                torch.set_grad_enabled(True)
                model.train()
                for images, labels in train_loader:
                    optimizer.zero_grad()
                    loss = criterion(model(images), labels)
                    loss.backward()
                    optimizer.step()
                torch.set_grad_enabled(False)
                model.eval()
                hits = sum((model(images).argmax(1) == labels).sum().item() for images, labels in valid_loader)
                print(epoch, hits)
            """,
            why="set_grad_enabled acts as a plain statement.",
        ),
        Example(
            """
            import contextlib

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class Hooks:
                def __init__(self):
                    self.after = []

                def register(self, function):
                    self.after.append(function)

                def run(self):
                    for function in self.after:
                        function()


            def main():
                model = nn.Linear(100, 5)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
                hooks = Hooks()
                hooks.register(optimizer.step)
                hooks.register(optimizer.zero_grad)
                for x, y in DataLoader(torch.load("spectra.pt"), batch_size=16, shuffle=True):
                    with contextlib.ExitStack() as stack:
                        stack.enter_context(torch.autocast("cuda", dtype=torch.bfloat16))
                        loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    hooks.run()


            main()
            """,
            why="Methods handed on, and a context entered through a stack.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class Schedule:
                def __init__(self, step, train):
                    self.step = step
                    self.train = train

                @property
                def eval(self):
                    self.train = False
                    return self


            @torch.no_grad()
            def accuracy(model, loader):
                model.eval()
                return sum((model(x).argmax(1) == y).float().mean().item() for x, y in loader) / len(loader)


            def main(schedule):
                model = nn.Sequential(nn.Linear(20, 50), nn.ReLU(), nn.Linear(50, 2))
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                train_loader = DataLoader(torch.load("a.pt"), batch_size=schedule.step, shuffle=True)
                valid_loader = DataLoader(torch.load("b.pt"), batch_size=schedule.step)
                if schedule.train:
                    for x, y in train_loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
                schedule.eval
                print(accuracy(model, valid_loader))


            main(Schedule(32, True))
            """,
            why="A property does its work when it is named; step and train are plain settings.",
        ),
        Example(
            """
            # file: runtime.py
            import torch


            def contexts(half):
                grad = torch.no_grad()
                cast = torch.autocast("cuda", dtype=torch.bfloat16, enabled=half)
                return grad, cast
            # file: predict.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from runtime import contexts


            def predict(model, loader, half=True):
                grad, cast = contexts(half)
                model.eval()
                with grad, cast:
                    return torch.cat([model(x) for (x,) in loader])


            if __name__ == "__main__":
                net = nn.Sequential(nn.Linear(10, 10), nn.Dropout(), nn.Linear(10, 3))
                print(predict(net, DataLoader(torch.load("features.pt"), batch_size=512)).argmax(1))
            """,
            why="Contexts made in one place and entered in another.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Statements that only name a method of training, or make a context that nobody enters."""
        for effect, _ in program.effects("idle"):
            if not effect.inputs:
                name = getattr(effect.subject, "cls", None) or getattr(effect.subject, "path", "")
                short = str(name).rsplit(".", 1)[-1]
                yield self.finding(
                    effect.site,
                    f"`{short}` stands alone: it makes a context that nobody enters, so what follows runs as if the "
                    "line were not there.",
                    f"Write `with torch.{short}(...):` around what it is meant for, or decorate the function with it.",
                    evidence=[Hop("this context is made and dropped", effect.site)],
                )
                continue
            yield from self._method(program, effect)

    def _method(self, program: Program, effect: Effect) -> Iterator[Finding]:
        method = str(getattr(effect.inputs[0], "value", ""))
        consequence = _CONSEQUENCES.get(method)
        known = consequence is not None and program.role(effect.subject, method)
        if consequence is None or known is False:
            return
        yield self.finding(
            effect.site,
            f"`{method}` is named and not called: the statement does nothing, so {consequence}.",
            f"Add the parentheses: `{method}()`.",
            evidence=[Hop(f"`{method}` without parentheses", effect.site)],
            confidence=Confidence.CERTAIN if known else Confidence.LIKELY,
        )


_CONSEQUENCES = {
    "step": "no step is made here",
    "zero_grad": "the gradients are not cleared here",
    "backward": "no gradient is computed here",
    "eval": "the model stays in the mode it was in, and dropout and batch normalization with it",
    "train": "the model stays in the mode it was in, and dropout and batch normalization with it",
}
