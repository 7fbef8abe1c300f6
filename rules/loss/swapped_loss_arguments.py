"""NN306: target and prediction are exchanged in the call of the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import gradients
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import LossUse, Run


class SwappedLossArguments(Rule):
    """The target is given to the loss as prediction, and the prediction as target.

    ## What it is

    PyTorch's losses are called as `loss(input, target)`: first what the network says, then what is right. Here it
    is the other way round, as in libraries that write `loss(y_true, y_pred)`. Torch computes the gradient of
    the second argument too, so that nothing stops.

    ## Why it hurts training

    Cross-entropy takes the logarithm of its first argument. Exchanged, it takes that of the labels: with labels of 0
    and 1 this is 0 or the clamped -100, and the loss is linear in the prediction. It has no minimum at the right
    probability and drives the outputs to the ends of their range, confident and uncalibrated; with the versions for
    logits, the labels pass a sigmoid or a softmax, and the optimum is wrong altogether.

    ## How it is told apart from code that only looks alike

    - Losses that are symmetric (`mse_loss`, `l1_loss`, `smooth_l1_loss`, `huber_loss`) do not mind the order.
    - `kl_div` is used in both directions on purpose, in distillation with reverse divergence for example.
    - Soft targets that carry a gradient, beside an input that carries one too (learned labels, mutual learning),
      are legal.
    - For the losses on logits, the first argument must also look like a target (all numbers in [0, 1]): the scores
      of a fixed teacher against a student's probabilities are not exchanged.

    In the source, the first argument must be plain data (what a loader hands out, or made of literals), and the second
    one must come from the forward pass that is trained. In a run, the gradient says which argument is the prediction:
    in all evaluations looked at, at least 3, only the second one had a graph. An integer first argument beside a
    floating-point second one, in the call that ended the run, needs no more than that call, and so does binary
    cross-entropy when it refuses the NaN that such a step has made. Three is the project's own choice: one odd call is
    not training.

    ## What to do

    Give the prediction first:

    ```python
    loss = F.binary_cross_entropy(prediction, target)
    loss = F.cross_entropy(logits, labels)
    ```
    """

    code = "NN306"
    name = "swapped-loss-arguments"
    points = (19,)
    severity = Severity.ERROR
    triggers = (
        "BCELoss",
        "binary_cross_entropy",
        "cross_entropy",
        "CrossEntropyLoss",
        "NLLLoss",
        "nll_loss",
        "backward",
    )
    options = {"evaluations": 3}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())
            loader = DataLoader(torch.load("breast_cancer.pt"), batch_size=32, shuffle=True)
            criterion = nn.BCELoss()
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(100):
                for x, y_true in loader:
                    optimizer.zero_grad()
                    y_pred = model(x)
                    loss = criterion(y_true.float().unsqueeze(1), y_pred)  # <-- NN306
                    loss.backward()
                    optimizer.step()
            """,
            why="The order (y_true, y_pred) of other libraries, in a flat script.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn


            class Tagger(nn.Module):
                def __init__(self, features, tags):
                    super().__init__()
                    self.body = nn.Linear(features, 128)
                    self.out = nn.Linear(128, tags)

                def forward(self, x):
                    return self.out(F.relu(self.body(x)))


            def train_one_epoch(model, loader, optimizer, device):
                model.train()
                total = 0.0
                for features, targets in loader:
                    features, targets = features.to(device), targets.to(device)
                    outputs = model(features)
                    loss = F.binary_cross_entropy_with_logits(targets.float(), outputs)  # <-- NN306
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    total += loss.item()
                return total / len(loader)


            def main(loader):
                model = Tagger(300, 20).cuda()
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
                for epoch in range(10):
                    print(train_one_epoch(model, loader, optimizer, "cuda"))
            """,
            why="A training function that the loader and the model are handed to.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn


            class Autoencoder(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.encoder = nn.Sequential(nn.Linear(784, 64), nn.ReLU())
                    self.decoder = nn.Sequential(nn.Linear(64, 784), nn.Sigmoid())

                def forward(self, x):
                    return self.decoder(self.encoder(x))


            class Trainer:
                def __init__(self, loader):
                    self.loader = loader
                    self.net = Autoencoder()
                    self.loss = nn.BCELoss()
                    self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3)

                def fit(self, epochs):
                    for epoch in range(epochs):
                        for images, _ in self.loader:
                            images = images.view(images.size(0), -1)
                            rebuilt = self.net(images)
                            loss = self.loss(images, rebuilt)  # <-- NN306
                            self.optimizer.zero_grad()
                            loss.backward()
                            self.optimizer.step()
            """,
            why="An autoencoder: the picture is the target.",
        ),
        Example(
            """
            # file: critic.py
            import torch
            from torch import nn


            class Critic(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.net = nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

                def forward(self, x):
                    return torch.sigmoid(self.net(x))
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from critic import Critic

            critic = Critic()
            optimizer = torch.optim.Adam(critic.parameters(), lr=2e-4)
            for epoch in range(20):
                for real, fake in DataLoader(torch.load("pairs.pt"), batch_size=64, shuffle=True):
                    ones, zeros = torch.ones(real.size(0), 1), torch.zeros(fake.size(0), 1)
                    loss = F.binary_cross_entropy(critic(real), ones)
                    loss = loss + F.binary_cross_entropy(zeros, critic(fake))  # <-- NN306
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="One of two calls, with labels made of literals; the critic is in another file.",
        ),
        Example(
            """
            import torch
            import torchvision
            from torch import nn
            from torchvision import transforms

            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            data = torchvision.datasets.MNIST("data", transform=transforms.ToTensor(), download=True)
            loader = torch.utils.data.DataLoader(dataset=data, batch_size=100, shuffle=True)
            model = nn.Sequential(nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 10)).to(device)
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
            for epoch in range(5):
                for i, (images, labels) in enumerate(loader):
                    images = images.reshape(-1, 28 * 28).to(device)
                    labels = labels.to(device)
                    outputs = model(images)
                    loss = criterion(labels, outputs)  # <-- NN306
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    if (i + 1) % 100 == 0:
                        print(epoch, loss.item())
            """,
            why="The labels were moved to a device that was chosen at run time.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())
            loader = DataLoader(torch.load("breast_cancer.pt"), batch_size=32, shuffle=True)
            criterion, mse = nn.BCELoss(), nn.MSELoss()
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(100):
                for x, y in loader:
                    optimizer.zero_grad()
                    p = model(x).squeeze(1)
                    loss = criterion(p, y.float()) + 0.1 * mse(y.float(), p)
                    loss.backward()
                    optimizer.step()
            """,
            why="The squared error is symmetric: its order does not matter.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F


            def distil(student, teacher, loader, optimizer, T=4.0):
                student.train()
                teacher.eval()
                for x, y in loader:
                    with torch.no_grad():
                        soft = F.log_softmax(teacher(x) / T, dim=1)
                    logits = student(x)
                    # Reverse divergence on purpose.
                    loss = F.kl_div(soft, F.softmax(logits / T, dim=1), reduction="batchmean")
                    loss = loss + F.cross_entropy(logits, y)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="Reverse KL divergence has the student second.",
        ),
        Example(
            """
            import torch
            from torch import nn

            import torch.nn.functional as F


            def criterion(y_true, y_pred):
                return F.binary_cross_entropy(y_pred, y_true)


            class Trainer:
                def __init__(self, features):
                    self.model = nn.Sequential(nn.Linear(features, 1), nn.Sigmoid())
                    self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

                def fit(self, loader):
                    for x, y in loader:
                        loss = criterion(y, self.model(x))
                        self.optimizer.zero_grad()
                        loss.backward()
                        self.optimizer.step()
            """,
            why="A loss of one's own that takes the target first and exchanges the two itself.",
        ),
        Example(
            """
            # file: losses.py
            import torch.nn.functional as F


            def mutual(first, second):
                a = F.cross_entropy(first, second.softmax(dim=1))
                b = F.cross_entropy(second, first.softmax(dim=1))
                return a + b
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from losses import mutual

            left, right = nn.Linear(64, 10), nn.Linear(64, 10)
            optimizer = torch.optim.SGD([*left.parameters(), *right.parameters()], lr=0.1)
            criterion = nn.CrossEntropyLoss()
            for epoch in range(20):
                for x, y in DataLoader(torch.load("digits.pt"), batch_size=64, shuffle=True):
                    a, b = left(x), right(x)
                    loss = criterion(a, y) + criterion(b, y) + 0.1 * mutual(a, b)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="Mutual learning: both arguments come from networks.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for use in gradients.exchanged(program):
            first, second = program.site_of(use.prediction), use.target and program.site_of(use.target)
            yield self.finding(
                use.site,
                f"{use.loss.function} gets the target first and the prediction second: the first argument is plain "
                "data, the second one comes from the network. The loss treats the labels as scores and the scores as "
                "labels.",
                f"Exchange the arguments: `{use.loss.function}(prediction, target)`.",
                evidence=[
                    Hop("the first argument is made here", first or use.site),
                    Hop("the second argument comes from the network", second or use.site),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        ended = {failure.loss for failure in run.failures}
        for use in run.losses:
            if not use.checked or use.gradient_in_target_only < use.checked:
                continue
            integers = use.integer_input == use.checked and "float" in use.target_dtype
            refused = use.function in ("cross_entropy", "nll_loss") and integers and use.key in ended
            # A gradient with respect to the target is infinite where the first argument is 0 or 1, as labels are.
            refused = refused or (use.function == "binary_cross_entropy" and use.key in ended)
            if refused or (use.checked >= self.number("evaluations") and _first_is_target(use)):
                yield self._about(use)

    def _about(self, use: LossUse) -> Finding:
        first = use.input_dtype if use.integer_input else f"{use.input_dtype} from {use.low:.3g} to {use.high:.3g}"
        return self.finding(
            use.line,
            f"{use.function} gets the target first and the prediction second: in all {use.checked} calls looked at, "
            "only the second argument came from the network. The loss treats the labels as scores and the scores as "
            "labels.",
            f"Exchange the arguments: `{use.function}(prediction, target)`.",
            evidence=[
                Hop("first argument: no gradient", use.line, f"{first}, shape {_shape(use.input_shape)}"),
                Hop(
                    "second argument: with gradient", use.line, f"{use.target_dtype}, shape {_shape(use.target_shape)}"
                ),
            ],
        )


def _first_is_target(use: LossUse) -> bool:
    """Whether the first argument can only be what the loss should compare with."""
    if use.function == "binary_cross_entropy":
        return True
    if use.function == "poisson_nll_loss":
        return bool(use.integer_input) or use.low >= 0
    bounded = 0 < use.within_unit == use.measured
    return use.function in ("binary_cross_entropy_with_logits", "cross_entropy") and bounded


def _shape(shape: list[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"
