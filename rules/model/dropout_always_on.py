"""NN420: dropout that evaluation mode does not switch off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import forwards
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class DropoutAlwaysOn(Rule):
    """Dropout in `forward` does not look at the training mode, so predictions stay random after `eval()`.

    ## What it is

    `F.dropout(x, p)` drops by default, whatever the mode of the module is: its argument `training` is True unless it
    is given. The layer `nn.Dropout`, made in the constructor, follows `train()` and `eval()`; the function must be
    told `training=self.training`. A layer made inside `forward` is new in every pass, was never told anything, and
    is always in training mode.

    ## Why it hurts training

    Training looks as it should. Evaluation is not what it says: a part of the units is dropped at random, so the
    validation score is too low and changes from run to run, early stopping and the choice of a checkpoint follow
    the noise, and the deployed model answers the same question differently each time.

    ## How it is told apart from code that only looks alike

    - `training=...` or a third argument was given, whatever it is: somebody thought about it. `training=True` is how
      Monte Carlo dropout is written.
    - The call stands under a condition that may have to do with the mode (`if self.training`, a flag with "train",
      "eval" or "drop" in its name), or behind an early return on one.
    - A rate that may be 0, or that is computed from the mode.
    - Dropout outside of a forward pass (noise on inputs in a training loop) is not a layer.
    - `F.alpha_dropout` and `F.feature_alpha_dropout` are off by default.

    In a run: functional dropout without the argument `training`, called at least 3 times inside a model that is in
    evaluation mode; who writes `training=True` means it.

    ## What to do

    ```python
    x = F.dropout(x, p=0.5, training=self.training)
    ```

    or `self.dropout = nn.Dropout(0.5)` in the constructor.
    """

    code = "NN420"
    name = "dropout-always-on"
    points = (32,)
    severity = Severity.ERROR
    triggers = ("dropout", "dropout1d", "dropout2d", "dropout3d", "Dropout", "Dropout2d")
    options = {"calls": 3}

    bad = [
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv = nn.Conv2d(1, 16, 5)
                    self.fc1 = nn.Linear(2304, 64)
                    self.fc2 = nn.Linear(64, 10)

                def forward(self, x):
                    x = F.max_pool2d(F.relu(self.conv(x)), 2)
                    x = F.relu(self.fc1(x.flatten(1)))
                    x = F.dropout(x, 0.5)  # <-- NN420
                    return self.fc2(x)


            net = Net()
            net.eval()
            print(net(torch.rand(1, 1, 28, 28)))
            """,
            why="The function without its third argument.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Attention(nn.Module):
                def __init__(self, dim, dropout=0.1):
                    super().__init__()
                    self.qkv = nn.Linear(dim, 3 * dim)
                    self.rate = dropout

                def forward(self, x, mask=None):
                    q, k, v = self.qkv(x).chunk(3, dim=-1)
                    scores = q @ k.transpose(1, 2)
                    if mask is not None:
                        scores = scores.masked_fill(mask == 0, -1e9)
                    weights = nn.functional.dropout(scores.softmax(dim=-1), p=self.rate)  # <-- NN420
                    return weights @ v


            class Block(nn.Module):
                def __init__(self, dim):
                    super().__init__()
                    self.attention = Attention(dim)
                    self.norm = nn.LayerNorm(dim)

                def forward(self, x):
                    return self.norm(x + self.attention(x))
            """,
            why="Attention weights, with the rate in an attribute and a branch that has nothing to do with the mode.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Classifier(nn.Module):
                def __init__(self, vocabulary, classes):
                    super().__init__()
                    self.embedding = nn.Embedding(vocabulary, 100)
                    self.lstm = nn.LSTM(100, 128, batch_first=True)
                    self.fc = nn.Linear(128, classes)

                def forward(self, text):
                    states, _ = self.lstm(self.embedding(text))
                    last = nn.Dropout(p=0.5)(states[:, -1])  # <-- NN420
                    return self.fc(last)


            model = Classifier(20_000, 5)
            """,
            why="A layer that is made in forward.",
        ),
        Example(
            """
            # file: layers.py
            import torch.nn.functional as F


            def regularised(x):
                return F.dropout2d(F.relu(x), 0.2)  # <-- NN420
            # file: model.py
            from torch import nn

            from layers import regularised


            class Encoder(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.first = nn.Conv2d(3, 16, 3)
                    self.second = nn.Conv2d(16, 32, 3)

                def forward(self, x):
                    return self.second(regularised(self.first(x)))
            """,
            why="A helper in another file, called from forward.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F


            class Net(nn.Module):
                def __init__(self, mc=False):
                    super().__init__()
                    self.fc1 = nn.Linear(100, 64)
                    self.fc2 = nn.Linear(64, 10)
                    self.drop = nn.Dropout(0.3)

                def forward(self, x):
                    x = F.dropout(F.relu(self.fc1(x)), 0.5, self.training)
                    x = F.dropout(x, training=self.training)
                    return self.fc2(self.drop(x))

                def sample(self, x):
                    return self.fc2(F.dropout(self.fc1(x), p=0.5, training=True))
            """,
            why="The mode is handed on; Monte Carlo dropout says training=True.",
        ),
        Example(
            """
            import torch.nn.functional as F
            from torch import nn


            class Net(nn.Module):
                def __init__(self, rate):
                    super().__init__()
                    self.fc = nn.Linear(10, 10)
                    self.rate = rate

                def forward(self, x):
                    if self.training:
                        x = F.dropout(x, self.rate)
                    x = self.fc(x)
                    x = F.dropout(x, self.rate if self.training else 0.0)
                    if not self.training:
                        return x
                    return F.dropout(x, self.rate)


            class Flagged(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(10, 10)

                def forward(self, x, is_train=False):
                    x = self.fc(x)
                    return F.dropout(x, 0.5) if is_train else x
            """,
            why="Conditions on the mode, an early return, a rate of zero, a flag.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 784))
            optimizer = torch.optim.Adam(model.parameters())
            for x, _ in DataLoader(torch.load("mnist.pt"), batch_size=64, shuffle=True):
                noisy = F.dropout(x, 0.3)
                loss = F.mse_loss(model(noisy), x)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="A denoising autoencoder: the noise on its inputs belongs to the training loop.",
        ),
        Example(
            """
            # file: layers.py
            import torch.nn.functional as F


            def block(x, p, training):
                return F.dropout(F.relu(x), p, training)


            def thinned(x, module):
                return F.dropout(x, p=0.1, training=module.training)
            # file: model.py
            from torch import nn

            from layers import block, thinned


            class Encoder(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.first = nn.Linear(3, 16)
                    self.second = nn.Linear(16, 32)

                def forward(self, x):
                    x = block(self.first(x), 0.2, self.training)
                    return thinned(self.second(x), self)
            """,
            why="Helpers in another file that are told the mode.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in forwards.always_on(program):
            if found.made:
                fact = f"`{found.what}` is made anew in every forward pass, always in training mode"
                advice = "Make the layer in `__init__` and call it here."
            else:
                fact = f"`{found.what}` is called without `training`, which is True by default"
                advice = "Pass `training=self.training`, or use a layer made in `__init__`."
            yield self.finding(
                found.site,
                f"{fact}: `eval()` does not switch it off, and predictions stay random.",
                advice,
                evidence=[Hop("dropout in a forward pass", found.site)],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for found in run.passes:
            if found.training or found.drops < self.number("calls"):
                continue
            module = run.of("module", found.module)
            name = module.name if module is not None else "the model"
            yield self.finding(
                found.drop_line,
                f"This dropout also drops in evaluation: it was called {found.drops} times while `{name}` was in "
                "evaluation mode, without being told so. Predictions are random, and "
                "scores lower than they need to be.",
                "Pass the mode (`F.dropout(x, p, training=self.training)`), or use `nn.Dropout`.",
                evidence=[
                    Hop("dropped here", found.drop_line, f"{found.drops} calls"),
                    Hop("evaluated here", found.line, f"{found.calls} passes in evaluation mode"),
                ],
            )
