"""NN303: binary cross-entropy gets numbers that are no probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import scores
from ...tracer import evidence
from ..finding import Finding, Hop, Line, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import LossUse, Run

REFUSED = "all elements of input should be between 0 and 1"
"""What torch says where it checks."""


class BCEWithoutSigmoid(Rule):
    """Binary cross-entropy receives raw scores, though it expects probabilities.

    ## What it is

    `nn.BCELoss` and `F.binary_cross_entropy` take the logarithm of their input and of one minus their input. The input
    must be a probability, the output of a sigmoid. Here numbers outside of 0 to 1 reach it: the model ends in a
    linear layer and nobody applied the sigmoid.

    ## Why it hurts training

    On the CPU, torch refuses such numbers with an error as soon as it sees one. On other devices there may be no check,
    or an assertion of the device far from the line at fault; there the logarithm of a negative number is NaN or is
    clamped to -100, where the gradient is zero: such samples teach nothing.

    ## How it is told apart from code that only looks alike

    - `BCEWithLogitsLoss` and `F.binary_cross_entropy_with_logits` expect raw scores.
    - A sigmoid, a softmax or a `clamp` anywhere before the loss keeps the numbers in the interval. In the source, the
      last layer that made the numbers must be seen, with nothing behind it that could bound them; in a run the
      numbers themselves are looked at.
    - A model of a library whose last layer was replaced is judged by what it was replaced with.
    - NaN is refused with the same error; that the network has diverged is another problem and is not reported here.
    - Where the numbers leave the interval by less than 0.001, the cause is rounding (sums of probabilities,
      interpolation), and the advice is another one. The limit is what float16 cannot tell from 1.

    ## What to do

    Let the loss apply the sigmoid, which is also numerically stable:

    ```python
    loss = F.binary_cross_entropy_with_logits(model(x), target)
    probability = model(x).sigmoid()  # for predictions
    ```
    """

    code = "NN303"
    name = "bce-without-sigmoid"
    points = (19,)
    severity = Severity.ERROR
    triggers = ("BCELoss", "binary_cross_entropy", "backward")
    options = {"rounding": 1e-3}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            X, y = torch.load("diabetes.pt")
            loader = DataLoader(TensorDataset(X, y), batch_size=32, shuffle=True)
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
            criterion = nn.BCELoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for epoch in range(50):
                for features, label in loader:
                    optimizer.zero_grad()
                    prediction = model(features).squeeze(1)
                    loss = criterion(prediction, label.float())  # <-- NN303
                    loss.backward()
                    optimizer.step()
            """,
            why="The network ends in a linear layer, in a flat script.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F


            class Discriminator(nn.Module):
                def __init__(self, width=256):
                    super().__init__()
                    self.hidden = nn.Linear(784, width)
                    self.out = nn.Linear(width, 1)

                def forward(self, x):
                    x = F.leaky_relu(self.hidden(x.flatten(1)), 0.2)
                    return self.out(x)


            class GAN:
                def __init__(self, generator, device):
                    self.G = generator.to(device)
                    self.D = Discriminator().to(device)
                    self.opt_d = torch.optim.Adam(self.D.parameters(), lr=2e-4, betas=(0.5, 0.999))
                    self.adversarial = nn.BCELoss()

                def step_d(self, real, z):
                    valid = torch.ones(real.size(0), 1, device=real.device)
                    self.opt_d.zero_grad()
                    real_loss = self.adversarial(self.D(real), valid)  # <-- NN303
                    fake_loss = self.adversarial(self.D(self.G(z).detach()), 1 - valid)  # <-- NN303
                    loss = 0.5 * (real_loss + fake_loss)
                    loss.backward()
                    self.opt_d.step()
                    return loss.item()
            """,
            why="A discriminator without sigmoid inside a class that trains it.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn, optim
            from torch.utils.data import DataLoader
            from torchvision import datasets, models, transforms


            def build():
                net = models.resnet18(weights=None)
                net.fc = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 1))
                return net


            def train(net, loader, epochs):
                optimizer = optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
                net.train()
                for _ in range(epochs):
                    for images, labels in loader:
                        scores = net(images)
                        loss = F.binary_cross_entropy(scores.view(-1), labels.float())  # <-- NN303
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            data = datasets.ImageFolder("hymenoptera/train", transforms.ToTensor())
            train(build(), DataLoader(data, batch_size=16, shuffle=True), 10)
            """,
            why="The new head of a pretrained network has no sigmoid either.",
        ),
        Example(
            """
            # file: unet.py
            import torch
            from torch import nn


            class TinyUNet(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.down = nn.Conv2d(3, 16, 3, padding=1)
                    self.up = nn.Conv2d(16, 16, 3, padding=1)
                    self.outc = nn.Conv2d(16, 1, 1)

                def forward(self, x):
                    x = torch.relu(self.down(x))
                    x = torch.relu(self.up(x)) + x
                    return self.outc(x)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from unet import TinyUNet


            def main():
                net = TinyUNet()
                optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-4)
                criterion = nn.BCELoss()
                for epoch in range(5):
                    for batch in DataLoader(torch.load("carvana.pt"), batch_size=4, shuffle=True):
                        masks = net(batch["image"])
                        loss = criterion(masks, batch["mask"])  # <-- NN303
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            if __name__ == "__main__":
                main()
            """,
            why="Segmentation: the last convolution is in another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            X, y = torch.load("diabetes.pt")
            loader = DataLoader(TensorDataset(X, y), batch_size=32, shuffle=True)
            model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())
            criterion = nn.BCELoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for epoch in range(50):
                for features, label in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(features).squeeze(1), label.float())
                    loss.backward()
                    optimizer.step()
            """,
            why="The last layer is a sigmoid.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn, optim
            from torchvision import models


            def build():
                net = models.densenet121(weights="DEFAULT")
                net.classifier = nn.Sequential(nn.Linear(1024, 14), nn.Sigmoid())
                return net


            def train(loader, epochs):
                net = build()
                optimizer = optim.Adam(net.parameters(), lr=1e-4)
                net.train()
                for _ in range(epochs):
                    for images, findings in loader:
                        loss = F.binary_cross_entropy(net(images), findings)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
            """,
            why="The head that replaces the classifier of a pretrained network ends in a sigmoid.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn


            class Matcher(nn.Module):
                def __init__(self, dim):
                    super().__init__()
                    self.left = nn.Linear(dim, 64)
                    self.right = nn.Linear(dim, 64)
                    self.quality = nn.Linear(dim, 1)

                def forward(self, a, b):
                    similarity = F.cosine_similarity(self.left(a), self.right(b))
                    return (similarity + 1) / 2, self.quality(a).clamp(0, 1), (torch.tanh(self.quality(b)) + 1) / 2


            def train(loader):
                net = Matcher(300)
                optimizer = torch.optim.Adam(net.parameters())
                for a, b, same, good in loader:
                    match, first, second = net(a, b)
                    loss = F.binary_cross_entropy(match, same)
                    loss = loss + F.binary_cross_entropy(first, good) + F.binary_cross_entropy(second, good)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="Scores that are brought into the interval without a sigmoid: cosine, clamp, tanh.",
        ),
        Example(
            """
            # file: net.py
            import torch
            from torch import nn


            class Recommender(nn.Module):
                def __init__(self, users, items, dim=32):
                    super().__init__()
                    self.users = nn.Embedding(users, dim)
                    self.items = nn.Embedding(items, dim)
                    self.mix = nn.Linear(2 * dim, 1)

                def score(self, u, i):
                    return self.mix(torch.cat([self.users(u), self.items(i)], dim=1)).squeeze(1)

                def forward(self, u, i):
                    return torch.sigmoid(self.score(u, i))
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from net import Recommender

            model = Recommender(6040, 3706)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            bce, bce_with_logits = nn.BCELoss(), nn.BCEWithLogitsLoss()
            for epoch in range(10):
                for user, item, clicked in DataLoader(torch.load("clicks.pt"), batch_size=256, shuffle=True):
                    loss = bce(model(user, item), clicked) + bce_with_logits(model.score(user, item), clicked)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="Each loss gets what it expects: probabilities from forward, scores for the version with logits.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for use in program.losses:
            if use.loss.function != "binary_cross_entropy":
                continue
            found = scores.raw(program, use.prediction)
            if found is not None:
                yield self.finding(
                    use.site,
                    f"binary cross-entropy expects probabilities and gets {found.kind} (made at {{0}}), with nothing "
                    "that keeps them between 0 and 1: torch refuses them, or the logarithm is not defined.",
                    "Use `binary_cross_entropy_with_logits` (`BCEWithLogitsLoss`), or apply sigmoid to the scores "
                    "first.",
                    evidence=[
                        Hop(f"the numbers become {found.kind} here", found.site),
                        Hop("and reach the loss here", use.site),
                    ],
                )

    def watch(self, run: Run) -> Iterator[Finding]:
        refused = {f.loss: f.line for f in run.failures if REFUSED in f.message}
        for use in run.losses:
            if use.function != "binary_cross_entropy" or not use.outside_unit:
                continue
            if use.made_by in ("SigmoidBackward0", "SoftmaxBackward0"):
                continue
            if use.key in refused or use.with_graph:
                yield self._about(run, use, use.key in refused, refused.get(use.key) or use.line)

    def _about(self, run: Run, use: LossUse, refused: bool, line: Line | None) -> Finding:
        module = run.of("module", use.maker)
        seen = f"from {use.low:.3g} to {use.high:.3g}"
        consequence = (
            "torch refuses them, the run ends here"
            if refused
            else "the logarithm is not defined there, and training goes wrong in silence"
        )
        slack = self.number("rounding")
        rounding = use.low > -slack and use.high < 1 + slack
        evidence = [Hop("they reach the loss here", use.line, seen)]
        if module is not None:
            evidence.insert(0, Hop(f"the output of `{module.name}`", module.line or use.line, use.made_by or None))
        if rounding:
            return self.finding(
                line,
                f"binary cross-entropy expects probabilities and gets numbers {use.low:.9g} to {use.high:.9g}, outside "
                f"[0, 1] by rounding: {consequence}.",
                "Put `.clamp(0, 1)` behind the operation that rounds, or compute the loss from logits.",
                evidence=evidence,
            )
        return self.finding(
            line,
            f"binary cross-entropy expects probabilities and gets raw scores {seen}: {consequence}.",
            "Use `binary_cross_entropy_with_logits` (`BCEWithLogitsLoss`), or apply sigmoid to the scores first.",
            evidence=evidence,
        )

    def refute(self, finding: Finding, run: Run) -> str:
        return evidence.always(run, finding, "binary_cross_entropy", "within_unit", "numbers between 0 and 1")
