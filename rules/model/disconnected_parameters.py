"""NN404: a layer is part of the model and of the optimizer, but not of the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import parts
from ...analyzer.knowledge import modules
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Line, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Module, Optimizer, Parameter, Run


class DisconnectedParameters(Rule):
    """A layer that the optimizer was given never gets a gradient, because the loss does not depend on it.

    ## What it is

    A layer is made in `__init__`, and `forward` does not use it: the call was forgotten, another layer is used in
    its place (`self.norm1` twice, `self.norm2` never), or a list is one longer than the loop. Or it runs, and what it
    computes is thrown away: overwritten by the next line, returned and not looked at.

    ## Why it hurts training

    The network is not the one that was meant: the shortcut, the second branch or the auxiliary head is missing. Its
    parameters are counted, saved and moved to the device, they show up in the summary, and they keep their initial
    values. Nothing fails, and the loss falls without them.

    ## How it is told apart from code that only looks alike

    - A layer that is used in some steps only (stochastic depth, experts, heads of several tasks, phases of a
      curriculum) gets a gradient at some step; none at all must have been there.
    - Frozen layers, and layers that ran under `no_grad` only, are left out on purpose.
    - Weights that the script moves by itself (averages, codebooks) need no gradient.
    - Parts that were loaded, or that a library has made, are often used in part: the pooler or the classifier of a
      pretrained network.
    - When the layers *before* some point get no gradient, and all behind it do, the graph was cut: that is
      `loss-cut-from-graph`.
    - Weights that are used without their layer (`F.linear(x, self.out.weight)`) do get gradients.

    In the source, a layer with parameters is reported that a constructor makes and that nothing else in the whole
    project names: neither a method, nor another class or script. Where the class (or its kin) goes over its parts in
    other ways (`children()`, `getattr`, `_modules`), or has a base that cannot be seen, nothing is said.

    In a run, at least 10 steps of the optimizer were looked at, no step at all found a gradient, and other parameters
    of the same optimizer had gradients. While the script runs the layer may still be used in a later phase: then 200
    steps must have been made, and the finding is only likely. The same number is demanded of one of several layers in a
    list or dictionary, since others of them are used, and there the finding stays likely: which head or expert is
    used may be an option of the run. The numbers are the project's own choice.

    In an experiment the graph of the first loss is walked. What it does not reach may be used in a later step, so in a
    run of less than 10 steps that is only likely.

    ## What to do

    Use the layer or delete it. To see what is not connected:

    ```python
    loss.backward()
    print([name for name, p in model.named_parameters() if p.requires_grad and p.grad is None])
    ```
    """

    code = "NN404"
    name = "disconnected-parameters"
    points = (23,)
    severity = Severity.ERROR
    experiments = ("connectivity",)
    triggers = modules.LAYER_WORDS
    options = {"steps": 10, "running": 200}

    bad = [
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv1 = nn.Conv2d(1, 8, 3)
                    self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
                    self.conv3 = nn.Conv2d(8, 16, 3)  # <-- NN404
                    self.fc = nn.Linear(8, 10)

                def forward(self, x):
                    x = F.relu(self.conv1(x))
                    x = F.relu(self.conv2(x))
                    return self.fc(x.mean(dim=(2, 3)))


            net = Net()
            optimizer = torch.optim.Adam(net.parameters())
            """,
            why="A layer that forward does not call.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Block(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.norm1 = nn.LayerNorm(width)
                    self.norm2 = nn.LayerNorm(width)  # <-- NN404
                    self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
                    self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

                def forward(self, x):
                    y = self.norm1(x)
                    x = x + self.attention(y, y, y, need_weights=False)[0]
                    return x + self.mlp(self.norm1(x))
            """,
            why="One norm is used twice, the other one never.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Base(nn.Module):
                def __init__(self, channels):
                    super().__init__()
                    self.body = nn.Conv1d(channels, 32, 3)
                    self.downsample = nn.Sequential(nn.Conv1d(channels, 32, 1), nn.BatchNorm1d(32))  # <-- NN404

                def forward(self, x):
                    return torch.relu(self.body(x))


            class Wide(Base):
                def __init__(self, channels):
                    super().__init__(channels)
                    self.out = nn.Linear(32, 2)

                def forward(self, x):
                    return self.out(super().forward(x).mean(-1))


            class Trainer:
                def __init__(self):
                    self.net = Wide(6)
                    self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)
            """,
            why="The shortcut of a base class that neither class uses.",
        ),
        Example(
            """
            # file: net.py
            from torch import nn


            class TwoHeads(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Linear(64, 32)
                    self.age_head = nn.Linear(32, 1)
                    self.gender_head = nn.Linear(32, 2)  # <-- NN404

                def forward(self, x):
                    return self.age_head(self.body(x))
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from net import TwoHeads

            net = TwoHeads()
            optimizer = torch.optim.Adam(net.parameters())
            for x, age in DataLoader(torch.load("faces.pt"), batch_size=64, shuffle=True):
                loss = F.mse_loss(net(x).squeeze(1), age)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="A head that no file mentions again.",
        ),
    ]

    good = [
        Example(
            """
            # file: features.py
            import torch
            from torch import nn
            from backbone import Backbone


            class Mixin:
                def __init__(self, depth=5):
                    super().__init__()
                    self.depth = depth


            class Features(Backbone, Mixin):
                def __init__(self, width):
                    super().__init__(width)
                    del self.head

                def forward(self, x):
                    return self.pool(self.stem(x))


            encoder = Features(32)
            optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
            # file: backbone.py
            from torch import nn


            class Backbone(nn.Module):
                def __init__(self, width=64, classes=1000):
                    super(Backbone, self).__init__()
                    self.stem = nn.Conv2d(3, width, 3)
                    self.pool = nn.AdaptiveAvgPool2d(1)
                    self.head = nn.Linear(width, classes)

                def forward(self, x):
                    return self.pool(self.stem(x))
            """,
            why="The head of the classifier is deleted where only features are wanted.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.encoder = nn.Linear(10, 8)
                    self.decoder = nn.Linear(8, 10)
                    self.act = nn.ReLU()
                    self.shared = nn.Linear(8, 8)
                    self.body = nn.Sequential(self.encoder, nn.ReLU(), self.shared)
                    self.tied = nn.Linear(8, 10)
                    self.tied.weight = self.decoder.weight

                def forward(self, x):
                    return self.tied(self.body(x))


            net = Net()
            optimizer = torch.optim.Adam(net.parameters())
            """,
            why="Layers used through a container, tied weights, an activation without parameters.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Towers(nn.Module):
                def __init__(self, n):
                    super().__init__()
                    self.n = n
                    self.first = nn.Linear(8, 8)
                    self.second = nn.Linear(8, 8)
                    for i in range(n):
                        setattr(self, f"tower{i}", nn.Linear(8, 8))

                def forward(self, x):
                    for i in range(self.n):
                        x = getattr(self, f"tower{i}")(x)
                    return x


            class Tasks(nn.Module):
                def __init__(self, names=("age", "size")):
                    super().__init__()
                    self.body = nn.Linear(8, 8)
                    self.by_task = {}
                    for name in names:
                        head = nn.Linear(8, 1)
                        self.add_module("head_" + name, head)
                        self.by_task[name] = head

                def forward(self, x):
                    return {name: head(self.body(x)) for name, head in self.by_task.items()}


            class Chain(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.first = nn.Linear(8, 8)
                    self.second = nn.Linear(8, 8)

                def forward(self, x):
                    for layer in self.children():
                        x = layer(x)
                    return x
            """,
            why="Parts that are reached without their names.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class DenseLayer(nn.Sequential):
                def __init__(self, width, growth):
                    super().__init__()
                    self.add_module("norm", nn.BatchNorm2d(width))
                    self.add_module("conv", nn.Conv2d(width, growth, 3, padding=1))

                def forward(self, x):
                    return torch.cat([x, super().forward(x)], dim=1)


            net = nn.Sequential(DenseLayer(8, 4), DenseLayer(12, 4))
            """,
            why="A container runs all that was added to it.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Agent(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Linear(4, 32)
                    self.actor = nn.Linear(32, 2)
                    self.critic = nn.Linear(32, 1)

                def forward(self, x):
                    return self.actor(torch.tanh(self.body(x)))


            def update(agent, optimizer, x, returns):
                value = agent.critic(torch.tanh(agent.body(x)))
                loss = (value.squeeze(1) - returns).pow(2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="A part that is called from outside.",
        ),
        Example(
            """
            # file: base.py
            from torch import nn


            class Backbone(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.stem = nn.Conv2d(3, width, 3)
                    self.project = nn.Conv2d(width, 2 * width, 1)

                def forward(self, x):
                    return self.stem(x)
            # file: detector.py
            from somewhere import Mixin
            from torch import nn

            from base import Backbone


            class Detector(Backbone):
                def forward(self, x):
                    return self.project(super().forward(x))


            class Unknown(Mixin, nn.Module):
                def __init__(self):
                    super().__init__()
                    self.neck = nn.Conv2d(8, 8, 1)

                def forward(self, x):
                    return self.run(x)
            """,
            why="A subclass in another file uses it; a base that cannot be seen may.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in parts.unused_layers(program):
            yield self.finding(
                found.site,
                f"`self.{found.name}` of {found.owner} ({found.layer}) is made in the constructor and never named "
                "again in the project: the loss does not depend on it, and its parameters keep their initial values.",
                f"Call `self.{found.name}` in `forward`, or delete it.",
                evidence=[
                    Hop("the layer is made here", found.made),
                    Hop("and assigned here, for nobody", found.site),
                ],
                severity=Severity.WARNING,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for optimizer in run.optimizers:
            members = evidence.members(run, optimizer)
            reached = [p for p in members if p.with_gradient]
            lost = [p for p in members if self._is_lost(run, p)]
            if not reached or not lost:
                continue
            early = optimizer.steps < self.number("running")
            if early and not run.finished:
                continue
            found: dict[Line | None, list[tuple[Module, Parameter]]] = {}
            for p in lost:
                module = _whole(run, run.of("module", p.module), {q.key for q in lost})
                if early and _is_one_of_several(run, module):
                    continue
                found.setdefault(module.line, []).append((module, p))
            for line, pairs in found.items():
                yield self._report(run, optimizer, line, pairs)

    def _is_lost(self, run: Run, p: Parameter) -> bool:
        """It could learn, and never got a gradient."""
        if p.steps < self.number("steps") or p.with_gradient or p.reached or not p.trainable or p.frozen_steps:
            return False
        module = run.of("module", p.module)
        if p.plain or p.loaded or p.moved_by_hand or module is None or module.line is None:
            return False
        if module.loaded or module.library or not module.registered:
            return False
        if not module.order:
            return self._root_ran(run, module)
        return bool(module.recorded_graph) and _has_a_reached_layer_before(run, module)

    def _root_ran(self, run: Run, module: Module) -> bool:
        """The network that it belongs to is trained."""
        root = evidence.root_of(module)
        return bool(evidence.trained_passes(run, root))

    def _report(
        self, run: Run, optimizer: Optimizer, line: Line | None, pairs: list[tuple[Module, Parameter]]
    ) -> Finding:
        module = pairs[0][0]
        names = evidence.listed(other.name for other, _ in pairs)
        looked = min(p.steps for _, p in pairs)
        size = sum(p.size for _, p in pairs)
        place = evidence.backward_of(run, optimizer)
        ran = module.order > 0
        if ran:
            fact = f"{names} runs in the forward pass, but its result never reaches the loss"
            advice = f"Use what {names} computes: look for a line after it that overwrites the result or leaves it out."
        else:
            fact = f"{names} is part of the model, but no forward pass that was looked at uses it"
            advice = f"Call {names} in `forward`, or delete it."
        return self.finding(
            line,
            f"{fact}: its {size:,} parameters got no gradient at any of the {optimizer.steps} steps ({looked} looked "
            "at), though the optimizer was given them. They keep their initial values.",
            advice,
            evidence=[
                Hop(f"`{module.name}` is made here", line, f"{module.calls} calls seen" if ran else "never called"),
                Hop("the loss is differentiated here", place.line if place else None, "no gradient for it"),
                Hop("the optimizer was given it", optimizer.line, f"{optimizer.steps} steps"),
            ],
            confidence=Confidence.LIKELY if _is_one_of_several(run, module) else evidence.settled(run),
        )

    def probe(self, run: Run) -> Iterator[Finding]:
        """Runs that are too short for the other detector, of one loss only."""
        if len(run.backwards) != 1 or any(o.steps >= self.number("steps") for o in run.optimizers):
            return
        by_name = {p.name: p for p in run.parameters}
        for cut in run.cuts:
            lost = [p for name in cut.parameters if (p := by_name.get(name)) is not None and not p.reached]
            module = run.of("module", lost[0].module) if lost else None
            if cut.operation not in ("", "unused") or module is None or module.line is None:
                continue
            if any(p.loaded or p.moved_by_hand or p.plain for p in lost) or module.library or module.choice:
                continue
            unused = "its layer does not run" if cut.operation else "what it computes is not part of the loss"
            yield self.finding(
                module.line,
                f"The loss does not reach {evidence.listed(cut.parameters)} ({cut.size:,} numbers), which the "
                f"optimizer was given: {unused}.",
                f"Use `{module.name}` in `forward`, or delete it.",
                evidence=[Hop("backward starts here", run.backwards[0].line, f"{run.steps} steps seen")],
                confidence=Confidence.LIKELY,
            )

    def refute(self, finding: Finding, run: Run) -> str:
        modules = {module.key for module in evidence.at(run.modules, finding)}
        below = {m.key for m in run.modules if m.root in modules} | modules
        own = [p for p in run.parameters if p.module in below and p.trainable]
        if not own or not all(p.with_gradient or p.reached for p in own):
            return ""
        return f"gradients reached all {len(own)} of its tensors"


def _whole(run: Run, module: Module, lost: set[int]) -> Module:
    """The outermost module around it of which nothing is reached."""
    best = module
    root = evidence.root_of(module)
    inside = {other.key: other for other in run.modules if evidence.root_of(other) == root and other.root is not None}
    for other in inside.values():
        if not module.name.startswith(f"{other.name}.") or other.line is None or len(other.name) >= len(best.name):
            continue
        below = {key for key, m in inside.items() if f"{m.name}.".startswith(f"{other.name}.")}
        if all(p.key in lost for p in run.parameters if p.module in below) and bool(other.order) == bool(module.order):
            best = other
    return best


def _is_one_of_several(run: Run, module: Module) -> bool:
    """A member of a container of layers (experts, heads), of which others are used: its turn may come."""
    if module.choice:
        start = f"{module.choice}."
        own = module.name[len(start) :].partition(".")[0]
        for p in run.parameters:
            if p.with_gradient and p.name.startswith(start) and p.name[len(start) :].partition(".")[0] != own:
                return True
    parts = module.name.split(".")
    for place, part in enumerate(parts):
        if part.isdigit():
            start = ".".join(parts[:place]) + "."
            for p in run.parameters:
                if p.with_gradient and p.name.startswith(start) and p.name[len(start) :].partition(".")[0].isdigit():
                    return True
    return False


def _has_a_reached_layer_before(run: Run, module: Module) -> bool:
    """Some layer that ran earlier in the same network gets gradients: the graph is not cut behind this one."""
    root = evidence.root_of(module)
    for p in run.parameters:
        if p.with_gradient or p.reached:
            other = run.of("module", p.module)
            if other is not None and evidence.root_of(other) == root and 0 < other.order < module.order:
                return True
    return False
