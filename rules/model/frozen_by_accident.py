"""NN403: a layer that was never trained before is frozen together with the ones that were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import parts
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Line, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Module, Parameter, Run


class FrozenByAccident(Rule):
    """A layer with random initial weights is frozen, though an optimizer was given its parameters.

    ## What it is

    `requires_grad = False` keeps a parameter as it is. That makes sense for weights that were learned before. Here
    the parameters of a new layer are frozen as well: a condition on names (`name.startswith("head")`) leaves out an
    adapter, the whole model is frozen and only the last layer thawed, or a new layer is put in before the model is
    frozen and not after.

    The opposite is as common, and is found in the source: what was meant to be frozen is not. `p.require_grad = False`
    only makes a new attribute of another name, and so does `model.requires_grad = False`: a module has no such
    attribute, its parameters do.

    ## Why it hurts training

    The layer keeps its random numbers for good. Everything that comes from the pretrained part has to pass through a
    random projection, and what is behind it has to make the best of that. The loss falls, the result is mediocre, and
    there is no warning: an optimizer passes over parameters without a gradient in silence.

    ## How it is told apart from code that only looks alike

    - Weights that `load_state_dict` has written, or that a library has made, may be frozen: that is fine-tuning.
    - Teachers, averages of weights and target networks are in no optimizer.
    - A layer that is frozen for some epochs and then thawed (gradual unfreezing) was not frozen at every step.
    - Weights that no longer look like the draws of an initialisation have been trained, or set, by somebody.
    - A random projection that shall stay random looks like a mistake; without loaded, frozen weights beside it in the
      same network the finding is only likely.

    In the source, a name counts as misspelt if two letters at most are different and nobody reads it; a class that
    itself uses `requires_grad` may have an attribute of that name. In a run, all parameters of the layer were frozen at
    all steps of their optimizer that were looked at, 5 at least (and 200 steps were made, if the run has not ended),
    and the layer ran. Its weights lie within the bounds that `nn.Linear.reset_parameters` and its kin draw from
    (uniform, 1/sqrt(number of inputs); normal for embeddings), and fill them: training leaves these bounds within a few
    steps.

    ## What to do

    Say what is to be frozen, not what is to be trained, and look at the list:

    ```python
    model.backbone.requires_grad_(False)
    print([name for name, p in model.named_parameters() if p.requires_grad])
    ```
    """

    code = "NN403"
    name = "frozen-by-accident"
    points = (23,)
    severity = Severity.ERROR
    triggers = ("requires_grad", "require_grad", "requires_grads", "require_grads", "required_grad", "requires_grad_")
    options = {"steps": 5, "running": 200}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torchvision import models

            net = models.resnet18(weights="DEFAULT")
            for param in net.parameters():
                param.require_grad = False  # <-- NN403
            net.fc = nn.Linear(512, 2)
            optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
            """,
            why="The attribute is called requires_grad.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torchvision.models import vgg16


            def build(classes):
                model = vgg16(weights="IMAGENET1K_V1")
                model.features.requires_grad = False  # <-- NN403
                model.classifier[6] = nn.Linear(4096, classes)
                return model


            model = build(5)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
            """,
            why="A module is told what only its parameters understand.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn


            class Transfer(nn.Module):
                def __init__(self, encoder, classes):
                    super().__init__()
                    self.encoder = encoder
                    for name, p in self.encoder.named_parameters():
                        if "norm" not in name:
                            p.requires_grads = False  # <-- NN403
                    self.head = nn.Linear(256, classes)

                def forward(self, x):
                    return self.head(self.encoder(x))
            """,
            why="Another misspelling, in a constructor.",
        ),
        Example(
            """
            # file: net.py
            from torch import nn


            class Encoder(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Linear(64, 32)

                def forward(self, x):
                    return self.body(x)
            # file: train.py
            import torch
            from torch import nn

            from net import Encoder


            class Trainer:
                def __init__(self, path):
                    self.encoder = Encoder()
                    self.encoder.load_state_dict(torch.load(path))
                    self.encoder.requires_grad = False  # <-- NN403
                    self.head = nn.Linear(32, 4)
                    self.optimizer = torch.optim.Adam([*self.encoder.parameters(), *self.head.parameters()])


            Trainer("encoder.pt")
            """,
            why="A model of the project, from another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torchvision import models

            net = models.resnet18(weights="DEFAULT")
            for param in net.parameters():
                param.requires_grad = False
            net.fc = nn.Linear(512, 2)
            net.layer4.requires_grad_(True)
            net.fc.weight.requires_grad = True
            optimizer = torch.optim.SGD((p for p in net.parameters() if p.requires_grad), lr=0.01)
            """,
            why="The right attribute on parameters, the right method on a module.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn


            class Features(nn.Module):
                def __init__(self, requires_grad=False):
                    super().__init__()
                    self.body = nn.Conv2d(3, 8, 3)
                    self.requires_grad = requires_grad
                    if not self.requires_grad:
                        for p in self.parameters():
                            p.requires_grad = False

                def forward(self, x):
                    return self.body(x)


            features = Features()
            features.requires_grad = True
            """,
            why="A class with a flag of that name, which it reads.",
        ),
        Example(
            """
            class Variable:
                def __init__(self, data, require_grad=False):
                    self.data = data
                    self.require_grad = require_grad
                    self.grad = None

                def backward(self):
                    if self.require_grad:
                        self.grad = 1.0


            x = Variable(3.0)
            x.require_grad = True
            x.backward()
            """,
            why="A small automatic differentiation of one's own.",
        ),
        Example(
            """
            # file: config.py
            class Settings:
                requires_grad = True
                required_grads = 3
            # file: train.py
            import torch
            from torch import nn

            from config import Settings

            settings = Settings()
            settings.requires_grad = False
            settings.required_grads = 4
            x = torch.zeros(4)
            x.requires_grad = settings.requires_grad
            layer = nn.Linear(4, 4)
            layer.requires_grad_(settings.required_grads > 3)
            """,
            why="Settings, and a tensor.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in parts.ineffective_switches(program):
            if found.what == "module":
                fact = "a module has no attribute `requires_grad`: the assignment is stored and nobody reads it"
                advice = "Call `requires_grad_(...)` of the module, which tells its parameters."
            else:
                fact = f"`{found.name}` is not `requires_grad`: the assignment makes a new attribute that nobody reads"
                advice = "Write `requires_grad`."
            yield self.finding(
                found.site,
                f"{fact}, and gradients are recorded as before.",
                advice,
                evidence=[Hop("switches nothing", found.site)],
                severity=Severity.WARNING if found.what == "tensor" else None,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        yield from self._whole(run)
        frozen: dict[Line | None, list[tuple[Module, list[Parameter]]]] = {}
        for module in run.modules:
            own = [p for p in run.parameters if p.module == module.key]
            if not own or not all(self._is_frozen(run, p) for p in own) or not any(p.untrained for p in own):
                continue
            if module.order and module.registered and not module.loaded and not module.library and module.line:
                frozen.setdefault(module.line, []).append((module, own))
        for line, found in frozen.items():
            module, own = found[0]
            optimizer = run.of("optimizer", own[0].optimizers[0])
            beside = [p for p in evidence.members(run, optimizer) if p.loaded and p.frozen_steps == p.steps]
            learning = [p for p in evidence.members(run, optimizer) if p.with_gradient]
            if not learning:
                continue
            tensors = [p for _, parameters in found for p in parameters]
            names = evidence.listed(other.name for other, _ in found)
            loaded = run.of("module", beside[0].module) if beside else None
            yield self.finding(
                line,
                f"{names} has random initial weights and is frozen: at all {own[0].steps} steps looked at, its "
                f"{sum(p.size for p in tensors):,} parameters had requires_grad=False, though the optimizer was given "
                "them. What passes through it passes through random numbers for good.",
                f"Set `requires_grad_(True)` on {names} before training, or freeze by name only what was loaded.",
                evidence=[
                    Hop(f"`{module.name}` is made here", line, "never trained, never loaded"),
                    *([Hop(f"`{loaded.name}` is frozen too, and was loaded", loaded.line)] if loaded else []),
                    Hop("this optimizer was given its parameters", optimizer.line, f"{optimizer.steps} steps"),
                ],
                confidence=evidence.settled(run) if beside else Confidence.LIKELY,
            )

    def _is_frozen(self, run: Run, p: Parameter) -> bool:
        always = p.frozen_steps == p.steps >= self.number("steps")
        if not run.finished and run.steps < self.number("running"):
            return False  # it may be thawed
        return always and bool(p.optimizers) and not p.loaded and not p.with_gradient and not p.moved_by_hand

    def _whole(self, run: Run) -> Iterator[Finding]:
        """Nothing is left to learn: torch refuses to call backward."""
        for failure in run.failures:
            if evidence.REFUSED not in failure.message:
                continue
            given = [p for optimizer in run.optimizers for p in evidence.members(run, optimizer)]
            if given and not any(p.trainable for p in run.parameters) and any(found.grad for found in run.passes):
                optimizer = next(o for o in run.optimizers if o.parameters)
                yield self.finding(
                    optimizer.line or failure.line,
                    f"Every parameter is frozen: all {len(given)} tensors of the optimizer have requires_grad=False, "
                    "so the loss has no graph and backward() fails.",
                    "Thaw what shall learn: `model.head.requires_grad_(True)`, before the optimizer is made.",
                    evidence=[
                        Hop("the optimizer is made here", optimizer.line, f"{len(given)} frozen tensors"),
                        Hop("backward fails here", failure.line),
                    ],
                )

    def refute(self, finding: Finding, run: Run) -> str:
        modules = {module.key for module in evidence.at(run.modules, finding)}
        own = [p for p in run.parameters if p.module in modules]
        if not own or not all(p.moved for p in own):
            return ""
        return f"steps changed all {len(own)} of its tensors"
