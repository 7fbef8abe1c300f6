"""NN703: something that the backward pass still needs is changed in place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import inplace
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class InplaceBreaksGraph(Rule):
    """A tensor that autograd has kept for the backward pass, or a parameter, is changed in place.

    ## What it is

    Many operations keep a tensor until the backward pass: `sigmoid`, `tanh`, `relu`, `exp`, `sqrt`, `softmax` and
    `norm` their *result*, convolutions, linear layers, norms, powers and most activations their *input*. `x += 1`,
    `x *= mask`, `x[i] = 0`, `x.clamp_(...)` and layers with `inplace=True` overwrite it. An optimizer's step does the
    same to weights: a graph made before the step needs the old ones. And a parameter itself may not be changed in
    place while gradients are recorded.

    ## Why it hurts training

    Torch counts the versions of each tensor and refuses: "one of the variables needed for gradient computation has
    been modified by an inplace operation" at `backward()`, far from the line that is to blame; or "a leaf Variable
    that requires grad is being used in an in-place operation". The usual cures (`.data`, `detach()`) silence the
    check and leave wrong gradients behind.

    ## How it is told apart from code that only looks alike

    - `out = self.conv(x); out += x` is right: convolutions, linear layers, norms, additions and dropout do not keep
      their result. `nn.ReLU(inplace=True)` behind them is right for the same reason.
    - `x = x + 1` makes a new tensor.
    - Edits under `no_grad`, of tensors without a graph (inputs, masks, targets), and after the backward pass are free.
    - A sum that starts with a number (`loss = 0; loss += term`) makes a new tensor in its first addition.
    - A discriminator that runs forward again after its step has a graph with the new weights.

    Which operation keeps what is measured with torch itself (`tests/test_saved_tensors.py`).

    In a run: the error with which torch ends the script is explained.

    ## What to do

    Write the operation so that it makes a new tensor, and change parameters under `no_grad`:

    ```python
    gate = torch.sigmoid(self.gate(x))
    gate = gate * mask                 # not: gate *= mask
    with torch.no_grad():
        self.scale.clamp_(min=1e-3)
    ```
    """

    code = "NN703"
    name = "inplace-breaks-graph"
    points = (23, 37)
    severity = Severity.ERROR
    triggers = ("backward",)

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Gated(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.value = nn.Linear(width, width)
                    self.gate = nn.Linear(width, width)
                    self.out = nn.Linear(width, 1)

                def forward(self, x, mask):
                    gate = torch.sigmoid(self.gate(x))
                    gate *= mask  # <-- NN703
                    return self.out(gate * self.value(x))


            model = Gated(32)
            optimizer = torch.optim.Adam(model.parameters())
            for x, mask, y in DataLoader(torch.load("sensors.pt"), batch_size=64, shuffle=True):
                loss = nn.functional.mse_loss(model(x, mask).squeeze(1), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The derivative of the sigmoid is computed from its result.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F


            class Block(nn.Module):
                def __init__(self, channels):
                    super().__init__()
                    self.conv = nn.Conv2d(channels, channels, 3, padding=1)
                    self.norm = nn.BatchNorm2d(channels)

                def forward(self, x):
                    out = F.relu(self.norm(self.conv(x)))
                    out += x  # <-- NN703
                    return out


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.stem = nn.Conv2d(3, 16, 3)
                    self.block = Block(16)
                    self.head = nn.Linear(16, 10)

                def forward(self, x):
                    return self.head(self.block(self.stem(x)).mean((2, 3)))


            def fit(loader, epochs):
                net = Net()
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                for epoch in range(epochs):
                    for images, labels in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(net(images), labels).backward()
                        optimizer.step()
            """,
            why="The shortcut is added in place to what ReLU has kept.",
        ),
        Example(
            """
            # file: networks.py
            from torch import nn


            def critic(features):
                return nn.Sequential(nn.Linear(features, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))


            def maker(noise, features):
                return nn.Sequential(nn.Linear(noise, 64), nn.ReLU(), nn.Linear(64, features))
            # file: train.py
            import torch
            from torch.nn.functional import binary_cross_entropy_with_logits as bce
            from torch.utils.data import DataLoader

            from networks import critic, maker

            G, D = maker(16, 2), critic(2)
            g_opt = torch.optim.Adam(G.parameters(), lr=2e-4)
            d_opt = torch.optim.Adam(D.parameters(), lr=2e-4)
            for real in DataLoader(torch.load("moons.pt"), batch_size=128, shuffle=True):
                fake = G(torch.randn(len(real), 16))
                on_real, on_fake = D(real), D(fake)
                d_loss = bce(on_real, torch.ones_like(on_real)) + bce(on_fake, torch.zeros_like(on_fake))
                g_loss = bce(on_fake, torch.ones_like(on_fake))
                d_opt.zero_grad()
                d_loss.backward(retain_graph=True)
                d_opt.step()  # <-- NN703
                g_opt.zero_grad()
                g_loss.backward()
                g_opt.step()
            """,
            why="The generator's loss goes through the discriminator's old weights.",
        ),
        Example(
            """
            import torch

            x = torch.linspace(-1, 1, 50)
            y = 3 * x + 0.5
            w = torch.zeros(1, requires_grad=True)
            b = torch.zeros(1, requires_grad=True)
            for step in range(200):
                loss = ((w * x + b - y) ** 2).mean()
                loss.backward()
                w -= 0.1 * w.grad  # <-- NN703
                b -= 0.1 * b.grad  # <-- NN703
                w.grad = None
                b.grad = None
            """,
            why="Parameters are updated by hand without no_grad.",
        ),
        Example(
            """
            import torch
            from torch import nn

            model = nn.Sequential(
                nn.Linear(20, 50),
                nn.Tanh(),
                nn.Dropout(0.3, inplace=True),  # <-- NN703
                nn.Linear(50, 3),
            )
            optimizer = torch.optim.AdamW(model.parameters())
            for x, y in torch.load("batches.pt"):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
            """,
            why="Dropout writes into what tanh has kept.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Residual(nn.Module):
                def __init__(self, channels):
                    super().__init__()
                    self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
                    self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
                    self.norm = nn.BatchNorm2d(channels)
                    self.relu = nn.ReLU(inplace=True)
                    self.drop = nn.Dropout(0.1)

                def forward(self, x):
                    identity = x
                    out = self.relu(self.conv1(x))
                    out = self.norm(self.conv2(out))
                    out += identity
                    out = self.relu(out)
                    out = self.drop(out)
                    out *= 0.5
                    return out


            model = nn.Sequential(nn.Conv2d(3, 8, 3), Residual(8), nn.Flatten(), nn.LazyLinear(10))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
            for x, y in DataLoader(torch.load("cifar.pt"), batch_size=128, shuffle=True):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
            """,
            why="Norms, convolutions and dropout do not keep their results, and ReLU may write into them.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Policy(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Linear(8, 64)
                    self.head = nn.Linear(64, 4)

                def forward(self, x, allowed):
                    scores = self.head(torch.tanh(self.body(x)))
                    scores[~allowed] = -1e9
                    return torch.softmax(scores, dim=-1)


            policy = Policy()
            optimizer = torch.optim.Adam(policy.parameters(), lr=3e-4)
            for states, allowed, actions, returns in torch.load("episodes.pt"):
                probabilities = policy(states, allowed)
                picked = probabilities.gather(1, actions[:, None]).squeeze(1)
                loss = -(torch.log(picked + 1e-8) * returns).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                with torch.no_grad():
                    probabilities /= probabilities.sum(-1, keepdim=True)
                    shown = probabilities.argmax(-1)
            """,
            why="Scores of a linear layer are masked in place; probabilities are edited when nobody needs them.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Codebook(nn.Module):
                def __init__(self, codes, width):
                    super().__init__()
                    self.scale = nn.Parameter(torch.ones(width))
                    self.table = nn.Parameter(torch.randn(codes, width), requires_grad=False)
                    self.register_buffer("count", torch.zeros(codes))
                    with torch.no_grad():
                        self.scale *= 0.1

                @torch.no_grad()
                def update(self, used):
                    self.count *= 0.99
                    self.count += used.sum(0)
                    self.table += 0.01 * (used.T @ used)[:, : self.table.shape[1]]
                    self.scale.clamp_(min=1e-3)

                def forward(self, x):
                    return torch.cdist(x * self.scale, self.table)


            model = Codebook(16, 8)
            optimizer = torch.optim.SGD([model.scale], lr=0.1)
            for x in torch.load("frames.pt"):
                distance = model(x)
                loss = distance.min(1).values.mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                model.update(torch.softmax(-distance.detach(), -1))
                model.scale.data.clamp_(max=10)
            """,
            why="Parameters and buffers are changed without gradients, or require none.",
        ),
        Example(
            """
            # file: steps.py
            import torch
            from torch.nn.functional import binary_cross_entropy_with_logits as bce


            def critic_step(critic, maker, optimizer, real):
                fake = maker(torch.randn(len(real), 16)).detach()
                on_real, on_fake = critic(real), critic(fake)
                loss = bce(on_real, torch.ones_like(on_real))
                loss += bce(on_fake, torch.zeros_like(on_fake))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()


            def maker_step(critic, maker, optimizer, count):
                scores = critic(maker(torch.randn(count, 16)))
                loss = bce(scores, torch.ones_like(scores))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            # file: train.py
            import torch
            from torch import nn

            from steps import critic_step, maker_step

            G = nn.Sequential(nn.Linear(16, 64), nn.ReLU(True), nn.Linear(64, 2), nn.Tanh())
            D = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2, True), nn.Linear(64, 1))
            g_opt = torch.optim.Adam(G.parameters(), lr=2e-4)
            d_opt = torch.optim.Adam(D.parameters(), lr=2e-4)
            for real in torch.load("moons.pt").split(128):
                critic_step(D, G, d_opt, real)
                maker_step(D, G, g_opt, len(real))
            """,
            why="The critic runs forward again after its step; a sum of losses may grow in place.",
        ),
        Example(
            """
            import torch
            from torch import nn

            model = nn.Linear(10, 1)
            optimizer = torch.optim.Adam(model.parameters())
            total = 0.0
            for x, y in torch.load("pairs.pt"):
                x[:, 0] = 0
                x /= 255
                error = model(x).squeeze(1) - y
                loss = 0
                for part in (error[:16], error[16:]):
                    loss += torch.sqrt(part.pow(2).mean() + 1e-8)
                penalty = torch.exp(model.weight).sum()
                penalty = penalty * 1e-4
                loss = loss + penalty
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
            """,
            why="Inputs are edited before use, the sum starts with a number, and a product makes a new tensor.",
        ),
        Example(
            """
            import torch

            leaf = torch.randn(10, requires_grad=True)
            try:
                leaf.add_(1)
            except RuntimeError as error:
                print(error)
            """,
            why="Shown on purpose.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Edits and steps after which torch refuses the backward pass."""
        for found in inplace.broken_graphs(program):
            message, advice = _TEXTS[found.kind]
            evidence = [Hop(_HOPS[found.kind], found.kept, found.op or None)] if found.kept is not None else []
            if found.backward is not None:
                evidence.append(Hop("the backward pass needs it here", found.backward.site))
            yield self.finding(found.edit.site, message.replace("OPERATION", found.op), advice, evidence=evidence)

    def watch(self, run: Run) -> Iterator[Finding]:
        for failure in run.failures:
            if "modified by an inplace operation" not in failure.message:
                continue
            shape = re.search(r"\[(?:[^\[\]]*(?:FloatTensor|Tensor) )?\[([\d, ]*)\]\]", failure.message)
            shape = shape or re.search(r"Tensor \[([\d, ]*)\]", failure.message)
            maker = re.search(r"output (\d+) of (\w+)", failure.message)
            what = f" of shape ({shape[1]})" if shape else ""
            came = f", the output of {maker[2]}," if maker else ""
            yield self.finding(
                failure.line,
                f"A tensor{what}{came} was changed in place after the graph had kept it for the backward pass, which "
                "needs the old numbers.",
                "Write a new tensor instead (`x = x + y` for `x += y`, `relu(x)` for `relu_(x)`), or `clone()` before "
                "the edit; `torch.autograd.set_detect_anomaly(True)` names the forward line. Weights that an optimizer "
                "stepped between forward and backward count as edited, too.",
                evidence=[Hop("the backward pass fails here", failure.line, failure.type)],
            )


_RAISES = '"one of the variables needed for gradient computation has been modified by an inplace operation"'
_NEW = "Make a new tensor instead: `x = x + ...`, `torch.where(...)`, or a layer without `inplace=True`."
_TEXTS = {
    "output": (
        (
            "This changes the result of `OPERATION` in place, which is kept for the gradient: `backward()` raises "
            f"{_RAISES}."
        ),
        _NEW,
    ),
    "input": (
        (
            "This changes a tensor in place that `OPERATION` has kept to compute the gradient: `backward()` raises "
            f"{_RAISES}."
        ),
        _NEW,
    ),
    "leaf": (
        (
            "A parameter is changed in place while gradients are recorded: torch raises that a leaf which requires "
            "grad is being used in an in-place operation."
        ),
        "Put the change under `with torch.no_grad():`.",
    ),
    "stepped": (
        (
            "This step changes weights between the forward pass at {0} and its backward pass at {1}, which needs old "
            f"ones: torch raises {_RAISES}."
        ),
        "Run the network forward again after the step, or take both backward passes before the steps.",
    ),
}
_HOPS = {
    "output": "the result is kept here",
    "input": "its input is kept here",
    "stepped": "the network runs forward here, with the weights before the step",
}
