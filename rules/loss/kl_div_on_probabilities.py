"""NN305: the KL divergence gets probabilities where it expects their logarithm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer.knowledge import tensors
from ...analyzer.values import Const, Obj, constant
from ..finding import Finding, Hop, Severity, Site
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import LossUse, Program
    from ...tracer.run import Run


class KLDivOnProbabilities(Rule):
    """`kl_div` receives probabilities or raw scores, though its first argument must be log-probabilities.

    ## What it is

    `F.kl_div(input, target)` and `nn.KLDivLoss` compute `target * (log(target) - input)`: the *input* is taken for a
    logarithm already, the *target* is not, unless `log_target=True`. Here probabilities (the output of a softmax or a
    sigmoid) or raw scores are given as input, or the target is a logarithm without `log_target=True`, or the other
    way round.

    ## Why it hurts training

    With probabilities as input the loss is linear in them and has no minimum where the two distributions agree: it is
    pushed to put everything on one class, and it is negative half of the time. With the logarithm as target, the
    formula takes the logarithm of negative numbers, which is NaN. In distillation the student follows nonsense and the
    other term of the loss hides it.

    As advice (not shown by default): `reduction="mean"`, which is what both do unless told otherwise, divides by the
    number of classes too, so the loss is that many times smaller than the divergence; torch recommends "batchmean".

    ## How it is told apart from code that only looks alike

    - `log_softmax`, `LogSoftmax` and the logarithm of a softmax, with an epsilon or a clamp, are right.
    - Softmax for the target is right.
    - Where the kind of numbers is not known (two branches, a function that cannot be seen), nothing is said.
    - `torch.distributions.kl_divergence` takes distributions.

    In a run: at least 5 evaluations, all with probabilities, or most with positive numbers, and none with rows
    whose exponentials sum to 1.

    ## What to do

    ```python
    loss = F.kl_div(F.log_softmax(student / T, dim=1), F.softmax(teacher / T, dim=1), reduction="batchmean") * T**2
    ```
    """

    code = "NN305"
    name = "kl-div-on-probabilities"
    points = (19,)
    severity = Severity.ERROR
    triggers = ("KLDivLoss", "kl_div", "backward")
    options = {"evaluations": 5}

    bad = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            teacher, student = torch.load("teacher.pt"), nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
            optimizer = torch.optim.SGD(student.parameters(), lr=0.05)
            T = 4.0
            for x, y in DataLoader(torch.load("train.pt"), batch_size=128, shuffle=True):
                with torch.no_grad():
                    soft = F.softmax(teacher(x) / T, dim=1)
                logits = student(x)
                distance = F.kl_div(F.softmax(logits / T, dim=1), soft, reduction="batchmean")  # <-- NN305
                loss = F.cross_entropy(logits, y) + T * T * distance
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="Distillation with softmax on both sides.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn


            class LabelSmoothing(nn.Module):
                def __init__(self, size, smoothing=0.1):
                    super().__init__()
                    self.criterion = nn.KLDivLoss(reduction="sum")
                    self.size, self.smoothing = size, smoothing

                def forward(self, x, target):
                    true = torch.full_like(x, self.smoothing / (self.size - 1))
                    true.scatter_(1, target.unsqueeze(1), 1 - self.smoothing)
                    return self.criterion(x, true)


            class Generator(nn.Module):
                def __init__(self, width, vocabulary):
                    super().__init__()
                    self.project = nn.Linear(width, vocabulary)

                def forward(self, x):
                    return self.project(x)


            def train(batches):
                generator, smoothing = Generator(512, 8000), LabelSmoothing(8000)
                optimizer = torch.optim.Adam(generator.parameters(), lr=1e-4)
                for states, tokens in batches:
                    out = generator(states)
                    loss = nn.KLDivLoss(reduction="batchmean")(out, torch.softmax(states, -1))  # <-- NN305
                    loss = loss + smoothing(torch.log_softmax(out, dim=-1), tokens)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="Raw scores in one of two uses.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.nn import functional as F


            class Distiller:
                def __init__(self, student, teacher, lr):
                    self.student, self.teacher = student, teacher
                    self.kl = nn.KLDivLoss(reduction="batchmean")
                    self.optimizer = torch.optim.AdamW(student.parameters(), lr=lr)

                def step(self, batch):
                    logits = self.student(batch)
                    with torch.no_grad():
                        reference = F.log_softmax(self.teacher(batch), dim=-1)
                    loss = self.kl(F.log_softmax(logits, dim=-1), reference)  # <-- NN305
                    self.optimizer.zero_grad()
                    loss.backward()
                    self.optimizer.step()
            """,
            why="The target is a logarithm and log_target is not said.",
        ),
        Example(
            """
            # file: net.py
            from torch import nn


            class Classifier(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(20, 5)
                    self.softmax = nn.Softmax(dim=1)

                def forward(self, x):
                    return self.softmax(self.fc(x))
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from net import Classifier

            net = Classifier()
            optimizer = torch.optim.Adam(net.parameters())
            for x, votes in DataLoader(torch.load("votes.pt"), batch_size=32, shuffle=True):
                shares = votes / votes.sum(1, keepdim=True)
                loss = F.kl_div(net(x), shares, reduction="batchmean")  # <-- NN305
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The model in another file ends in softmax.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn


            class Consistency(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.in_logs = True
                    try:
                        self.divergence = nn.KLDivLoss(reduction="batchmean", log_target=True)
                    except TypeError:  # an old torch
                        self.in_logs = False
                        self.divergence = nn.KLDivLoss(reduction="batchmean")

                def forward(self, first, second):
                    p, q = first.log_softmax(dim=1), second.log_softmax(dim=1)
                    if self.in_logs:
                        return self.divergence(p, q)
                    return self.divergence(p, q.exp())


            consistency = Consistency()
            model = nn.Linear(16, 8)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for a, b in torch.load("pairs.pt"):
                optimizer.zero_grad()
                consistency(model(a), model(b)).backward()
                optimizer.step()
            """,
            why="Which of two losses it is decides what the target is.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            teacher, student = torch.load("teacher.pt"), nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
            optimizer = torch.optim.SGD(student.parameters(), lr=0.05)
            for x, y in DataLoader(torch.load("train.pt"), batch_size=128, shuffle=True):
                with torch.no_grad():
                    soft = F.softmax(teacher(x) / 4, dim=1)
                logits = student(x)
                loss = F.cross_entropy(logits, y)
                loss = loss + 16 * F.kl_div(F.log_softmax(logits / 4, dim=1), soft, reduction="batchmean")
                loss = loss + F.kl_div((F.softmax(logits, dim=1) + 1e-8).log(), soft, reduction="batchmean")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="Log-softmax, or the logarithm of a softmax.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.nn import functional as F


            class Distiller:
                def __init__(self, student, teacher, lr):
                    self.student, self.teacher = student, teacher
                    self.kl = nn.KLDivLoss(reduction="batchmean", log_target=True)
                    self.optimizer = torch.optim.AdamW(student.parameters(), lr=lr)

                def step(self, batch):
                    logits = self.student(batch)
                    with torch.no_grad():
                        reference = F.log_softmax(self.teacher(batch), dim=-1)
                    loss = self.kl(F.log_softmax(logits, dim=-1), reference)
                    self.optimizer.zero_grad()
                    loss.backward()
                    self.optimizer.step()
            """,
            why="Both are logarithms, and log_target says so.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F


            def divergence(p, q, logarithm):
                if logarithm:
                    p = F.log_softmax(p, dim=1)
                else:
                    p = torch.log(p + 1e-9)
                return F.kl_div(p, q, reduction="batchmean")


            def train(net, loader, optimizer):
                for x, q in loader:
                    loss = divergence(net(x), q, True)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="A function of one's own that takes either.",
        ),
        Example(
            """
            # file: losses.py
            import torch
            from torch.distributions import Normal, kl_divergence


            def kl_div(mean, log_var):
                prior = Normal(torch.zeros_like(mean), torch.ones_like(mean))
                return kl_divergence(Normal(mean, (0.5 * log_var).exp()), prior).sum(1).mean()
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from losses import kl_div

            encoder = nn.Linear(784, 64)
            optimizer = torch.optim.Adam(encoder.parameters())
            for x, _ in DataLoader(torch.load("mnist.pt"), batch_size=64, shuffle=True):
                mean, log_var = encoder(x.flatten(1)).softmax(dim=1).chunk(2, dim=1)
                loss = kl_div(mean, log_var)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="A function of the project that has the name of torch's.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        uses = [use for use in program.losses if use.loss.function == "kl_div"]
        said: dict[Site, set[object]] = {}
        for use in uses:
            said.setdefault(use.site, set()).add(_log_target(use))
        for use in uses:
            # One of several losses is called here: which one may hang on what the target is.
            yield from self._about(program, use, settled=len(said[use.site]) == 1)

    def _about(self, program: Program, use: LossUse, settled: bool) -> Iterator[Finding]:
        found = program.activation(use.prediction)
        wrong = (tensors.PROBABILITIES, tensors.SIGMOID, tensors.LOGITS)
        if found is not None and found.site is not None and found.kind in wrong:
            yield self.finding(
                use.site,
                f"kl_div expects log-probabilities as its first argument and gets {found.kind} (made at {{0}}): the "
                "loss has no minimum where the distributions agree.",
                "Use `F.log_softmax(scores, dim=...)` for the first argument.",
                evidence=[
                    Hop(f"the numbers become {found.kind} here", found.site),
                    Hop("and reach the loss here", use.site),
                ],
            )
            return
        target = program.activation(use.target) if use.target is not None else None
        said = _log_target(use)
        if settled and target is not None and target.site is not None and isinstance(said, bool):
            expected = (tensors.LOG_PROBABILITIES,) if said else (tensors.PROBABILITIES, tensors.SIGMOID)
            if target.kind not in expected and target.kind in (tensors.LOG_PROBABILITIES, tensors.PROBABILITIES):
                yield self.finding(
                    use.site,
                    f"the target of kl_div holds {target.kind} (made at {{0}}) although log_target is {said}: the "
                    "formula takes a logarithm too many or too few.",
                    f"Say `log_target={not said}`, or convert the target.",
                    evidence=[
                        Hop(f"the target becomes {target.kind} here", target.site),
                        Hop("and reaches the loss here", use.site),
                    ],
                )
                return
        if _averages_over_classes(use):
            yield self.finding(
                use.site,
                'kl_div with reduction="mean" divides by the number of classes too: the loss is that many times '
                "smaller than the divergence.",
                'Say `reduction="batchmean"`.',
                evidence=[Hop("the mean over all elements", use.site)],
                severity=Severity.INFO,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for use in run.losses:
            if use.function != "kl_div" or not use.with_graph or use.measured < self.number("evaluations"):
                continue
            if use.log_probabilities or (use.probabilities < use.measured and 2 * use.positive < use.measured):
                continue
            kind = "probabilities" if use.probabilities == use.measured else "raw scores"
            yield self.finding(
                use.line,
                f"kl_div expects log-probabilities, which are never positive, and gets {kind} from {use.low:.3g} to "
                f"{use.high:.3g} in {use.measured} evaluations looked at: its value is no divergence, and can be "
                "negative.",
                "Apply `log_softmax` to the first argument.",
                evidence=[Hop(f"the loss gets {kind} here", use.line, use.made_by or None)],
            )


def _log_target(use: LossUse) -> object:
    return constant(_setting(use, "log_target", 5) or Const(False))


def _setting(use: LossUse, name: str, position: int) -> Const | None:
    """A literal setting of the loss, from its constructor or its call."""
    subject, result = use.effect.subject, use.effect.result
    if type(subject) is Obj:
        given = subject.argument(name) or subject.argument(str(position - 2))
    else:
        given = result.option(name, position) if result is not None else None  # type: ignore[attr-defined]
    return given if given is None or type(given) is Const else Const("?")


def _averages_over_classes(use: LossUse) -> bool:
    given = _setting(use, "reduction", 4)
    old = [_setting(use, name, position) for name, position in (("size_average", 2), ("reduce", 3))]
    if any(o is not None and o.value is not None for o in old):
        return False
    hidden = type(use.effect.subject) is Obj and use.effect.subject.hidden
    return not hidden and (given is None or given.value == "mean")
