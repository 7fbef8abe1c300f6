"""NN309: the loss is not connected with the network, or not with all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ...analyzer import gradients
from ...analyzer.knowledge import tensors
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Line, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Backward, Module, Optimizer, Parameter, Run

REFUSED = "does not require grad and does not have a grad_fn"
"""What torch says of a loss without a graph."""


class LossCutFromGraph(Rule):
    """The chain of operations from the parameters to the loss is broken, so that gradients do not arrive.

    ## What it is

    Autograd follows the operations that made the loss back to the parameters. The chain ends wherever a tensor is
    turned into something else and back: `.item()`, `.detach()`, `.data`, `.numpy()`, `torch.tensor(...)` of a tensor,
    `argmax`, rounding, or a `no_grad` around part of the forward pass. `requires_grad_()` on the result silences
    torch's error and mends nothing: the new tensor has no past.

    ## Why it hurts training

    Parameters before the break get no gradient and keep their initial values for ever. Where everything lies before
    it, the loss stays where it is, for no reason that the log would show. Where only part does, the rest trains on
    the features of a random network: the loss falls, but less than it could, and nobody notices.

    ## How it is told apart from code that only looks alike

    - A part that is frozen (`requires_grad=False`), that no optimizer holds, or that ran under `no_grad`, as a
      teacher or a target network, is cut off on purpose.
    - A module that never ran in the forward pass is `disconnected-parameters`; a whole forward pass under `no_grad`
      is `training-under-no-grad`.
    - An output that the loss does not use (a pooler, an auxiliary head) hangs at the end or the side of the network:
      only layers that ran before all the layers that are reached count as cut off.
    - Activation checkpoints hide the inner graph until it runs backwards: what gets a gradient at any step is
      connected, whatever the graph looks like.
    - Gradients that the script writes itself, closures and optimizers that need no gradient are left alone.

    In the source, every way from `backward` to a network must lead through such an operation; a term that keeps its
    graph, and anything that could not be seen, silences.

    In a run, nothing is reached: an optimizer made at least 3 steps, all of them without any gradient, though backward
    was called each time. A part is not reached: at its optimizer's steps that were looked at, 5 at least, no gradient
    was there, and no graph that was walked led to it. While the script runs that is only likely (a warm-up with
    detached features may end); it is certain when the run has ended and 20 steps were looked at. The numbers are the
    project's own choice.

    In an experiment the lines from the forward pass to `backward` are run again on a copy, and every operation is
    looked at: the one whose input still depends on these parameters, and whose result does not, is named.

    ## What to do

    Keep tensors tensors until after `backward`, and detach only what is logged:

    ```python
    loss = criterion(model(x), y)
    loss.backward()
    total += loss.item()
    ```

    Replace steps without a gradient (`argmax`, rounding) by differentiable ones (softmax, a straight-through
    estimator).
    """

    code = "NN309"
    name = "loss-cut-from-graph"
    points = (18, 23)
    severity = Severity.ERROR
    experiments = ("connectivity",)
    triggers = ("backward",)
    options = {"steps": 3, "looked": 5, "certain": 20}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 1))
            loader = DataLoader(torch.load("housing.pt"), batch_size=32, shuffle=True)
            criterion = nn.MSELoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for epoch in range(50):
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(x).squeeze(1), y)
                    loss = torch.tensor(loss.item(), requires_grad=True)
                    loss.backward()  # <-- NN309
                    optimizer.step()
            """,
            why="A new tensor that requires gradients, made to silence torch's error.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.optim as optim


            class Classifier(nn.Module):
                def __init__(self, features, classes):
                    super().__init__()
                    self.fc1 = nn.Linear(features, 32)
                    self.fc2 = nn.Linear(32, classes)

                def forward(self, x):
                    return self.fc2(torch.relu(self.fc1(x)))


            def train(train_loader, epochs=10):
                net = Classifier(4, 3)
                optimizer = optim.SGD(net.parameters(), lr=0.01)
                criterion = nn.L1Loss()
                for epoch in range(epochs):
                    for data, target in train_loader:
                        optimizer.zero_grad()
                        output = net(data)
                        prediction = torch.argmax(output, dim=1).float()
                        loss = criterion(prediction, target.float())
                        loss.requires_grad = True
                        loss.backward()  # <-- NN309
                        optimizer.step()
            """,
            why="The loss compares predicted classes; requires_grad is switched on afterwards.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from torch import nn
            from torch.autograd import Variable


            class Trainer:
                def __init__(self, inputs, outputs):
                    self.model = nn.Sequential(nn.Linear(inputs, 128), nn.Tanh(), nn.Linear(128, outputs))
                    self.optimizer = torch.optim.Adam(self.model.parameters())
                    self.mse = nn.MSELoss()

                def train_step(self, x, y):
                    self.optimizer.zero_grad()
                    out = self.model(x)
                    smoothed = torch.from_numpy(np.cumsum(out.detach().numpy(), axis=0)).float()
                    loss = self.mse(Variable(smoothed, requires_grad=True), y)
                    loss.backward()  # <-- NN309
                    self.optimizer.step()
                    return loss.item()

                def fit(self, loader):
                    for x, y in loader:
                        self.train_step(x, y)
            """,
            why="A detour through NumPy, in a class.",
        ),
        Example(
            """
            # file: model.py
            import torch
            from torch import nn


            class Segmenter(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv = nn.Conv2d(3, 8, 3, padding=1)
                    self.out = nn.Conv2d(8, 1, 1)

                def forward(self, x):
                    x = torch.sigmoid(self.out(torch.relu(self.conv(x))))
                    return (x > 0.5).float()
            # file: losses.py
            def dice_loss(pred, target, eps=1.0):
                pred, target = pred.flatten(1), target.flatten(1)
                shared = (pred * target).sum(1)
                return (1 - (2 * shared + eps) / (pred.sum(1) + target.sum(1) + eps)).mean()
            # file: train.py
            import torch
            from torch.utils.data import DataLoader

            from losses import dice_loss
            from model import Segmenter

            net = Segmenter()
            optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
            for epoch in range(20):
                for image, mask in DataLoader(torch.load("polyps.pt"), batch_size=8, shuffle=True):
                    loss = dice_loss(net(image), mask.float())
                    optimizer.zero_grad()
                    loss.requires_grad_(True)
                    loss.backward()  # <-- NN309
                    optimizer.step()
            """,
            why="The model thresholds its output; the loss is in another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 1))
            loader = DataLoader(torch.load("housing.pt"), batch_size=32, shuffle=True)
            criterion = nn.MSELoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for epoch in range(50):
                total, best = 0.0, None
                for x, y in loader:
                    optimizer.zero_grad()
                    out = model(x).squeeze(1)
                    loss = criterion(out, y)
                    scale = 1.0 / max(loss.item(), 1.0)
                    (loss * scale).backward()
                    optimizer.step()
                    total += loss.item()
                    error = (out.detach() - y).abs().max().item()
                    best = error if best is None else min(best, error)
                print(epoch, total, best)
            """,
            why="Numbers for the log and a weight are taken off the graph; the loss is not.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.distributions import Categorical


            class Policy(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(4, 128)
                    self.action = nn.Linear(128, 2)
                    self.value = nn.Linear(128, 1)

                def forward(self, x):
                    x = F.relu(self.fc(x))
                    return F.softmax(self.action(x), dim=-1), self.value(x)


            def update(policy, optimizer, states, actions, returns):
                probs, values = policy(states)
                log_prob = Categorical(probs).log_prob(actions)
                advantage = returns - values.detach().squeeze(-1)
                chosen = torch.argmax(probs, dim=-1)
                bonus = probs.gather(1, chosen.unsqueeze(1)).mean()
                loss = -(log_prob * advantage).mean() + F.mse_loss(values.squeeze(-1), returns) - 0.01 * bonus
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()


            def main(batches):
                policy = Policy()
                optimizer = torch.optim.Adam(policy.parameters())
                for states, actions, returns in batches:
                    update(policy, optimizer, states, actions, returns)
            """,
            why="Reinforcement learning: advantages and chosen actions carry no graph, log-probabilities do.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn


            class Quantiser(nn.Module):
                def __init__(self, codes, dim):
                    super().__init__()
                    self.encode = nn.Linear(784, dim)
                    self.codebook = nn.Embedding(codes, dim)
                    self.decode = nn.Linear(dim, 784)

                def forward(self, x):
                    z = self.encode(x)
                    index = torch.cdist(z, self.codebook.weight).argmin(dim=1)
                    q = self.codebook(index)
                    straight = z + (q - z).detach()
                    return self.decode(straight), F.mse_loss(q, z.detach()), F.mse_loss(z, q.detach())


            def train(loader):
                net = Quantiser(512, 64)
                optimizer = torch.optim.Adam(net.parameters(), lr=2e-4)
                for x, _ in loader:
                    x = x.flatten(1)
                    rebuilt, book, commitment = net(x)
                    loss = F.mse_loss(rebuilt, x) + book + 0.25 * commitment
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="Straight-through estimator: argmin and detach, with a way around them.",
        ),
        Example(
            """
            # file: attack.py
            import torch
            import torch.nn.functional as F


            def fgsm(model, x, y, eps):
                x = x.detach().clone().requires_grad_(True)
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                return (x + eps * x.grad.sign()).detach()


            def invert(model, label, steps=200):
                x = torch.zeros(1, 3, 32, 32, requires_grad=True)
                for _ in range(steps):
                    score = (x - label).pow(2).mean()
                    score.backward()
                    with torch.no_grad():
                        x -= 0.1 * x.grad
                        x.grad = None
                return x.detach()
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from attack import fgsm, invert

            model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for x, y in DataLoader(torch.load("cifar.pt"), batch_size=64, shuffle=True):
                adversarial = fgsm(model, x, y, 8 / 255)
                optimizer.zero_grad()
                loss = F.cross_entropy(model(adversarial), y)
                loss.backward()
                optimizer.step()
            invert(model, 3.0)
            """,
            why="Attacks detach the picture and differentiate with respect to it.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torchvision.models import resnet18


            class GradCam:
                def __init__(self, model):
                    self.model = model

                def generate(self, image, target=None):
                    self.model.eval()
                    output = self.model(image)
                    if target is None:
                        target = output.argmax(dim=1).item()
                    self.model.zero_grad()
                    output[0, target].backward()


            GradCam(resnet18()).generate(torch.randn(1, 3, 224, 224))

            point = torch.tensor([3.0, 4.0], requires_grad=True)
            optimizer = torch.optim.SGD([point], lr=0.1)
            for step in range(50):
                optimizer.zero_grad()
                height = (point**2).sum()
                height.backward()
                optimizer.step()
            """,
            why="The number of the class only picks a score, and an input can be what is trained.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in gradients.cut_losses(program):
            how = tensors.CUTS[found.cut.op]
            place = found.cut.site or found.backward.site
            yield self.finding(
                found.backward.site,
                f"backward() starts from a tensor without a graph: {how} at {{0}} took what the network computed off "
                "it, so no parameter gets a gradient. Torch refuses, or, with `requires_grad` switched on afterwards, "
                "goes on without learning anything.",
                f"Compute the loss from the network's output with differentiable operations; keep {how} for what is "
                "logged, after `backward()`.",
                evidence=[
                    Hop(f"{how} ends the graph here", place),
                    Hop("and this is backpropagated", found.backward.site),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        yield from self._refused(run)
        for optimizer in run.optimizers:
            if optimizer.steps < self.number("steps"):
                continue
            members = [p for key in optimizer.parameters if (p := run.of("parameter", key)) is not None]
            place = _place(run, optimizer)
            if place is None or place.calls < self.number("steps") or place.walked + place.leaf == 0:
                continue
            if optimizer.without_gradient == optimizer.steps:
                yield from self._nothing(run, optimizer, members, place)
            else:
                yield from self._part(run, members, place)

    def probe(self, run: Run) -> Iterator[Finding]:
        """Runs that are too short for the other detector, of one loss only."""
        if len(run.backwards) != 1 or next(self.watch(run), None) is not None:
            return
        by_name = {p.name: p for p in run.parameters}
        for cut in run.cuts:
            lost = [p for name in cut.parameters if (p := by_name.get(name)) is not None and not p.with_gradient]
            if not cut.operation or cut.operation == "unused" or cut.line is None or not lost:
                continue
            if any(p.reached or p.moved_by_hand or not p.trainable for p in lost):
                continue
            yield self.finding(
                cut.line,
                f"The gradient of the loss ends here: behind `{cut.operation}` {evidence.listed(cut.parameters)} "
                f"({cut.size:,} numbers), which the optimizer was given, get none.",
                "Remove it, or compute with torch operations that have a gradient. If the part shall not be trained, "
                "give the optimizer only the rest.",
                evidence=[Hop("backward starts here", run.backwards[0].line, f"{run.steps} steps seen")],
                confidence=Confidence.LIKELY,  # a warm-up with detached features may end
            )

    def _refused(self, run: Run) -> Iterator[Finding]:
        """Torch stopped the run: the loss has no graph, though the network ran with gradients on."""
        for failure in run.failures:
            if REFUSED not in failure.message:
                continue
            latest = [found for found in run.passes if found.last_step == run.steps]
            ran = [found for found in latest if found.grad]
            if not ran or any(found.training and not found.grad for found in latest):
                continue
            if not any(p.trainable and p.module is not None for p in run.parameters):
                continue
            yield self.finding(
                failure.line,
                "backward() is called on a loss that has no graph, though the model ran with gradients switched on: "
                "on the way from its output to the loss, the tensor was turned into a number or a new tensor. Torch "
                "ends the run here.",
                "Compute the loss from the model's output with torch operations only; no `.item()`, `.detach()`, "
                "`.data`, `.numpy()`, `torch.tensor(...)` or `argmax` before `backward()`.",
                evidence=[Hop("the model ran here, with gradients on", ran[-1].line)],
            )

    def _nothing(self, run: Run, optimizer: Optimizer, members: list[Parameter], place: Backward) -> Iterator[Finding]:
        """None of an optimizer's parameters ever got a gradient."""
        waiting = [p for p in members if _waits(run, p)]
        if not waiting or any(p.reached or p.with_gradient for p in members):
            return
        alone = all(o.without_gradient == o.steps for o in run.optimizers)
        leaf = place.leaf == place.calls
        # Parameters that no optimizer holds: then the optimizer holds the wrong ones.
        if alone and any(p.reached and p.module is not None and not p.plain for p in run.parameters):
            return
        what = "a tensor that no operation made" if leaf else "a graph that leads to none of them"
        first = run.of("module", waiting[0].module)
        yield self.finding(
            _cut_at(run, waiting) or place.line,
            f"Not one of the {len(members)} tensors of the {optimizer.class_name} optimizer got a gradient in "
            f"{optimizer.steps} steps: backward() starts from {what}. The steps change nothing, and the layers stay "
            "as they were initialised.",
            "Compute the loss from the model's output with torch operations only; no `.item()`, `.detach()`, `.data`, "
            "`.numpy()`, `torch.tensor(...)` or `argmax` before `backward()`.",
            evidence=[
                Hop(f"`{first.name}` ran with gradients on and waits for one", first.line or place.line),
                Hop("backward starts here", place.line, "no grad_fn" if leaf else f"{place.parameters} leaves reached"),
            ],
            confidence=Confidence.CERTAIN if alone else self._sure(run, optimizer.steps),
        )

    def _part(self, run: Run, members: list[Parameter], place: Backward) -> Iterator[Finding]:
        """Layers before the cut get nothing, the layers behind it do."""
        reached: dict[int, Module] = {}
        missed: dict[int, Module] = {}
        tensors: dict[int, list[Parameter]] = {}
        for p in members:
            module = run.of("module", p.module)
            if module is None or not module.order or not module.recorded_graph or p.plain:
                continue
            tensors.setdefault(module.key, []).append(p)
            if p.reached or p.with_gradient:
                reached[module.key] = module
            elif _waits(run, p) and p.steps >= self.number("looked"):
                missed[module.key] = module
        missed = {key: module for key, module in missed.items() if key not in reached}
        if not reached or not missed:
            return
        cut = [module for module in missed.values() if _before(module, reached.values())]
        if not cut:
            return
        cut.sort(key=lambda module: (module.root or module.key, module.order))
        lost = [p for module in cut for p in tensors[module.key]]
        last = cut[-1]
        root = last.root or last.key
        behind = [m for m in reached.values() if (m.root or m.key) == root] or list(reached.values())
        after = min(behind, key=lambda module: module.order)
        names = ", ".join(f"`{module.name}`" for module in cut[:3]) + (", ..." if len(cut) > 3 else "")
        yield self.finding(
            _cut_at(run, lost) or place.line,
            f"The loss is cut off from {names}: {len(lost)} of the {len(members)} tensors of the optimizer got no "
            f"gradient at any of the steps looked at ({min(p.steps for p in lost)}), though these layers run with "
            f"gradients on. They keep their initial values; the chain is broken between `{last.name}` and "
            f"`{after.name}`.",
            "Look for `.detach()`, `.data`, `.item()`, `.numpy()`, `torch.tensor(...)`, `argmax` or `no_grad` between "
            f"`{last.name}` and `{after.name}`, and remove it. If the part shall not be trained, give the optimizer "
            "only the rest.",
            evidence=[
                Hop(f"`{last.name}` is the last that is not reached", last.line or place.line, "no gradient"),
                Hop(f"`{after.name}` is reached", after.line or place.line, "gradient"),
                Hop("backward starts here", place.line, f"{place.parameters} leaves reached"),
            ],
            confidence=self._sure(run, min(p.steps for p in lost)),
        )

    def _sure(self, run: Run, looked: int) -> Confidence:
        """A warm-up may end as long as the script runs."""
        return Confidence.CERTAIN if run.finished and looked >= self.number("certain") else Confidence.LIKELY


def _cut_at(run: Run, lost: list[Parameter]) -> Line | None:
    """The line at which an experiment saw the gradient of these parameters end."""
    names = {p.name for p in lost}
    found = [cut for cut in run.cuts if cut.line is not None and names & set(cut.parameters)]
    return max(found, key=lambda cut: len(names & set(cut.parameters))).line if found else None


def _waits(run: Run, p: Parameter) -> bool:
    """It should have got a gradient: it is trainable, and its layer ran with gradients on."""
    module = run.of("module", p.module)
    ran = module is not None and module.order > 0 and module.recorded_graph > 0
    return bool(ran and p.trainable and not p.frozen_steps and not p.reached and not p.with_gradient)


def _before(module: Module, reached: Iterable[Module]) -> bool:
    """Whether it ran before all reached layers of its network; a network without any is cut off as a whole."""
    root = module.root or module.key
    return all(module.order < other.order for other in reached if (other.root or other.key) == root)


def _place(run: Run, optimizer: Optimizer) -> Backward | None:
    """The backward pass that this optimizer's steps follow most."""
    places = [place for place in run.backwards if optimizer.key in place.optimizers]
    return max(places, key=lambda place: place.steps, default=None)
