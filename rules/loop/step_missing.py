"""NN506: gradients are computed and never used, or a step is made without any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import updates
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class StepMissing(Rule):
    """Half of the update is missing: `backward()` without `step()`, or `step()` without `backward()`.

    ## What it is

    A training loop clears the gradients and computes new ones in every pass, and no `optimizer.step()` uses them. Or
    it computes a loss, clears the gradients and steps, and nowhere calls `backward()`.

    ## Why it hurts training

    The weights stay as they were initialised. Nothing fails: the loss is computed, printed and different for every
    batch, so that it looks like a noisy run that does not learn.

    ## How it is told apart from code that only looks alike

    - Gradient accumulation steps in a branch; helpers, closures and a `GradScaler` step elsewhere. All are followed,
      and code that cannot be seen and got hold of the optimizer (or of the loss) silences the rule.
    - Attacks, saliency maps and gradient statistics call `backward()` to *read* gradients; wherever `.grad` is read
      or written by hand, or `torch.autograd.grad` is used, the rule is silent.
    - `model.zero_grad()` without an optimizer is no promise of a step.
    - Lightning, the Transformers Trainer and Accelerate make their own steps.
    - `optimizer.step` without parentheses is `no-op-context`; gradients cleared between `backward()` and `step()`
      are `missing-zero-grad`.

    An optimizer that is only a parameter of the function gives a `likely` finding: its caller might step it.

    In a run: a run that has ended, with at least 20 backward passes, an optimizer, no step of any, and no weights
    that the script moved itself.

    ## What to do

    Make all three calls once for each batch:

    ```python
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    ```
    """

    code = "NN506"
    name = "step-missing"
    points = (23,)
    severity = Severity.ERROR
    triggers = ("backward", "zero_grad")
    options = {"calls": 20}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 1))
            criterion = nn.MSELoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            loader = DataLoader(torch.load("houses.pt"), batch_size=32, shuffle=True)

            for epoch in range(100):
                running = 0.0
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(x), y)
                    loss.backward()  # <-- NN506
                    running += loss.item()
                print(epoch, running / len(loader))
            """,
            why="The step was forgotten.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class TextClassifier(nn.Module):
                def __init__(self, vocabulary, classes):
                    super().__init__()
                    self.embedding = nn.EmbeddingBag(vocabulary, 64)
                    self.out = nn.Linear(64, classes)

                def forward(self, tokens):
                    return self.out(self.embedding(tokens))


            def train(model, loader, optimizer, epochs):
                model.train()
                for epoch in range(epochs):
                    for tokens, labels in loader:
                        optimizer.zero_grad()
                        loss = F.cross_entropy(model(tokens), labels)
                        optimizer.step()  # <-- NN506
                    print(epoch, loss.item())


            if __name__ == "__main__":
                net = TextClassifier(20000, 4)
                data = DataLoader(torch.load("news.pt"), batch_size=64, shuffle=True)
                train(net, data, torch.optim.SGD(net.parameters(), lr=0.5), epochs=5)
            """,
            why="The backward pass was forgotten, in a function.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, generator, discriminator, dataset):
                    self.generator = nn.Sequential(nn.Linear(100, 256), nn.ReLU(), nn.Linear(256, 784), nn.Tanh())
                    self.discriminator = nn.Sequential(nn.Linear(784, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))
                    self.criterion = nn.BCEWithLogitsLoss()
                    self.g_optimizer = torch.optim.Adam(self.generator.parameters(), lr=2e-4)
                    self.d_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=2e-4)
                    self.loader = DataLoader(dataset, batch_size=64, shuffle=True)

                def train(self, epochs):
                    for _ in range(epochs):
                        for real, _ in self.loader:
                            fake = self.generator(torch.randn(len(real), 100))
                            self.d_optimizer.zero_grad()
                            scores = self.discriminator(torch.cat([real, fake.detach()]))
                            labels = torch.cat([torch.ones(len(real), 1), torch.zeros(len(real), 1)])
                            self.criterion(scores, labels).backward()
                            self.d_optimizer.step()
                            self.g_optimizer.zero_grad()
                            scores = self.discriminator(fake)
                            self.criterion(scores, torch.ones_like(scores)).backward()  # <-- NN506


            Trainer(100, 784, torch.load("digits.pt")).train(50)
            """,
            why="Of two optimizers, one is cleared and never stepped.",
        ),
        Example(
            """
            # file: engine.py
            import torch.nn.functional as F


            def run_batch(model, optimizer, images, masks):
                optimizer.zero_grad()
                loss = F.binary_cross_entropy_with_logits(model(images), masks)
                loss.backward()  # <-- NN506
                return loss.item()
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from engine import run_batch


            def main():
                model = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1))
                optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-4)
                loader = DataLoader(torch.load("nuclei.pt"), batch_size=4, shuffle=True)
                for epoch in range(40):
                    for images, masks in loader:
                        loss = run_batch(model, optimizer, images, masks)
                    print(epoch, loss)


            main()
            """,
            why="The helper of another file does all but the step.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Linear(64, 10)
            if torch.cuda.is_available():
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
            else:
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

            for epoch in range(10):
                for x, y in DataLoader(torch.load("digits.pt"), batch_size=16, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
            why="One of two optimizers, and it is stepped.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            ACCUMULATE = 4
            model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
            loader = DataLoader(torch.load("digits.pt"), batch_size=16, shuffle=True)

            for epoch in range(10):
                optimizer.zero_grad()
                for i, (x, y) in enumerate(loader):
                    (F.cross_entropy(model(x), y) / ACCUMULATE).backward()
                    if (i + 1) % ACCUMULATE == 0:
                        optimizer.step()
                        optimizer.zero_grad()
            """,
            why="The step is taken in a branch.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def noise_scale(model, loader):
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                norms = []
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    norms.append(sum(p.grad.norm() ** 2 for p in model.parameters()))
                return torch.stack(norms).mean()


            def train_by_hand(model, loader, lr):
                for x, y in loader:
                    loss = F.cross_entropy(model(x), y)
                    model.zero_grad()
                    loss.backward()
                    with torch.no_grad():
                        for p in model.parameters():
                            p -= lr * p.grad


            net = nn.Linear(30, 2)
            data = DataLoader(torch.load("cells.pt"), batch_size=32, shuffle=True)
            print(noise_scale(net, data))
            train_by_hand(net, data, 0.1)
            """,
            why="Gradients are read, or used by hand.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Fitter:
                def __init__(self, model):
                    self.model = model
                    self.optimizer = torch.optim.LBFGS(model.parameters(), lr=1, max_iter=20)
                    self.loss = nn.MSELoss()

                def fit(self, loader):
                    for x, y in loader:

                        def closure():
                            self.optimizer.zero_grad()
                            loss = self.loss(self.model(x), y)
                            loss.backward()
                            return loss

                        self.optimizer.step(closure)


            Fitter(nn.Linear(3, 1)).fit(DataLoader(torch.load("curve.pt"), batch_size=100, shuffle=True))
            """,
            why="A closure is stepped; clearing and backward are inside it.",
        ),
        Example(
            """
            # file: engine.py
            import torch


            class Stepper:
                def __init__(self, optimizer, half):
                    self.optimizer = optimizer
                    self.scaler = torch.amp.GradScaler("cuda", enabled=half)

                def __call__(self, loss):
                    self.optimizer.zero_grad()
                    self.scaler.scale(loss).backward()
                    self.scaler.step(self.optimizer)
                    self.scaler.update()
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from engine import Stepper


            def main():
                model = nn.Linear(512, 20).cuda()
                step = Stepper(torch.optim.Adam(model.parameters(), lr=1e-3), half=True)
                for x, y in DataLoader(torch.load("embeddings.pt"), batch_size=64, shuffle=True):
                    with torch.autocast("cuda", dtype=torch.float16):
                        loss = F.cross_entropy(model(x.cuda()), y.cuda())
                    step(loss)


            main()
            """,
            why="A GradScaler steps the optimizer, in another file.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Loops with half of an update."""
        for found in updates.never_stepped(program):
            yield self.finding(
                found.effect.site,
                "Gradients are computed here in every pass and cleared at {0}, and no `optimizer.step()` uses them: "
                "the weights never change.",
                "Call `optimizer.step()` after this backward pass.",
                evidence=[
                    Hop("the gradients are cleared here", found.cleared.site),
                    Hop("the optimizer comes from here", program.site_of(found.optimizer) or found.cleared.site),
                ],
                confidence=Confidence.CERTAIN if found.known else Confidence.LIKELY,
            )
        for found in updates.never_differentiated(program):
            yield self.finding(
                found.effect.site,
                "The optimizer steps, and no `backward()` computes a gradient anywhere around it: the gradients that "
                "are cleared at {0} are never filled, and the weights do not change.",
                "Call `loss.backward()` before this step.",
                evidence=[
                    Hop("the gradients are cleared here", found.cleared.site),
                    Hop("the optimizer was made here", program.site_of(found.optimizer) or found.cleared.site),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        if not run.finished or any(optimizer.steps or optimizer.skipped for optimizer in run.optimizers):
            return
        moved = any(p.moved_by_hand for p in run.parameters)
        for place in run.backwards:
            if place.calls < self.number("calls") or place.by_hand or moved or not run.optimizers:
                continue
            yield self.finding(
                place.line,
                f"{place.calls} backward passes were made, and no optimizer ever stepped: the weights are those of the "
                "first moment.",
                "Call `optimizer.step()` after `backward()`.",
                evidence=[Hop("this optimizer never steps", optimizer.line) for optimizer in run.optimizers[:1]],
            )

    def refute(self, finding: Finding, run: Run) -> str:
        places = evidence.at(run.backwards, finding)
        if not places or not all(place.steps for place in places):
            return ""
        return f"{places[0].steps} steps of an optimizer followed its {places[0].calls} backward passes"
