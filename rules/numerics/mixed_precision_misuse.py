"""NN704: half precision without what it needs, or with half of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import numerics
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class MixedPrecisionMisuse(Rule):
    """The loss is scaled and the step is not unscaled, or the other way round, or float16 has no GradScaler at all.

    ## What it is

    With float16, gradients below 6e-8 are 0. A `GradScaler` multiplies the loss by a large factor (65536 at first) and
    divides the gradients by it before the step. Four ways to use half of it: `scaler.step(optimizer)` after a plain
    `loss.backward()`; `optimizer.step()` after `scaler.scale(loss).backward()`; a float16 `autocast` with no scaler;
    and a model that is turned into float16 altogether (`model.half()`) and trained.

    ## Why it hurts training

    In the first case every gradient is divided by 65536 without having been multiplied: the weights hardly move. In
    the second every step is 65536 times too long; plain SGD explodes at once, Adam hides it and loses its epsilon and
    clipping. Without a scaler small gradients vanish, in the first layers most, and the model stops improving early.
    Float16 *weights* lose every update that is smaller than a thousandth of the weight.

    ## How it is told apart from code that only looks alike

    - `autocast` with bfloat16 needs no scaler; on the CPU bfloat16 is the default.
    - A scaler that is switched off (`enabled=False`) passes everything through.
    - Branches (`if args.amp: scaler.scale(loss).backward() ... else: loss.backward()`) use both forms rightly.
    - Lightning, Accelerate, the Transformers Trainer, Fabric and DeepSpeed scale on their own.
    - Inference under `autocast`, or after `model.half()`, trains nothing.
    - Clipping before `unscale_` is `clipping-order`.

    The number type must be known: `autocast("cuda")`, or a literal `dtype`. Training after `model.half()` is `likely`.

    In a run: a GradScaler that left out half of at least 20 steps; a few at the beginning are how it finds its
    scale.

    ## What to do

    ```python
    with torch.autocast("cuda", dtype=torch.float16):
        loss = criterion(model(x), y)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    ```

    or use bfloat16, which has the range of single precision and needs no scaler.
    """

    code = "NN704"
    name = "mixed-precision-misuse"
    points = (37,)
    severity = Severity.ERROR
    triggers = ("autocast", "GradScaler", "backward")
    options = {"steps": 20, "share": 0.5}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(1024, 1024), nn.GELU(), nn.Linear(1024, 100)).cuda()
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            loader = DataLoader(torch.load("features.pt"), batch_size=256, shuffle=True)

            for epoch in range(30):
                for x, y in loader:
                    optimizer.zero_grad()
                    with torch.autocast(device_type="cuda", dtype=torch.float16):
                        outputs = model(x.cuda())  # <-- NN704
                        loss = criterion(outputs, y.cuda())
                    loss.backward()
                    optimizer.step()
                print(epoch, loss.item())
            """,
            why="float16 with no scaler.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.cuda.amp import GradScaler, autocast
            from torch.utils.data import DataLoader


            def train_epoch(model, loader, optimizer, scaler):
                model.train()
                for images, labels in loader:
                    optimizer.zero_grad()
                    with autocast():
                        loss = F.cross_entropy(model(images.cuda()), labels.cuda())
                    loss.backward()  # <-- NN704
                    scaler.step(optimizer)
                    scaler.update()


            def main():
                model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
                model.append(nn.Linear(64, 10))
                model.cuda()
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
                scaler = GradScaler()
                for epoch in range(20):
                    train_epoch(model, DataLoader(torch.load("cifar.pt"), 128, shuffle=True), optimizer, scaler)


            main()
            """,
            why="The scaler steps, but nothing was scaled.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, dataset):
                    self.model = nn.Linear(768, 3).cuda()
                    self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05)
                    self.scaler = torch.amp.GradScaler("cuda")
                    self.loader = DataLoader(dataset, batch_size=32, shuffle=True)

                def loss(self, x, y):
                    with torch.autocast("cuda"):
                        return F.cross_entropy(self.model(x.cuda()), y.cuda())

                def fit(self, epochs):
                    for _ in range(epochs):
                        for x, y in self.loader:
                            self.optimizer.zero_grad()
                            self.scaler.scale(self.loss(x, y)).backward()
                            self.optimizer.step()  # <-- NN704


            Trainer(torch.load("sentences.pt")).fit(10)
            """,
            why="The loss is scaled, and the optimizer steps by itself.",
        ),
        Example(
            """
            # file: precision.py
            import torch


            def half_precision():
                return torch.amp.autocast("cuda", dtype=torch.half)


            def shrink(model):
                return model.cuda().half()
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from precision import half_precision, shrink


            def main():
                model = nn.Linear(512, 20).cuda()
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                for x, y in DataLoader(torch.load("rows.pt"), batch_size=64, shuffle=True):
                    with half_precision():
                        scores = model(x.cuda())  # <-- NN704
                        loss = F.cross_entropy(scores, y.cuda())
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()


            def small():
                model = shrink(nn.Linear(512, 1))
                optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
                for x, y in DataLoader(torch.load("rows.pt"), batch_size=64, shuffle=True):
                    optimizer.zero_grad()
                    prediction = model(x.cuda().half())  # <-- NN704
                    F.mse_loss(prediction, y.cuda().half()).backward()
                    optimizer.step()


            main()
            small()
            """,
            why="The context comes from another file; another model is float16 altogether.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(1024, 1024), nn.GELU(), nn.Linear(1024, 100)).cuda()
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            scaler = torch.cuda.amp.GradScaler()
            loader = DataLoader(torch.load("features.pt"), batch_size=256, shuffle=True)

            for epoch in range(30):
                for x, y in loader:
                    optimizer.zero_grad()
                    with torch.cuda.amp.autocast():
                        loss = criterion(model(x.cuda()), y.cuda())
                    scaler.scale(loss).backward()
                    scaler.unscale_(optimizer)
                    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                    scaler.step(optimizer)
                    scaler.update()
            model.half().eval()
            with torch.inference_mode():
                torch.save(model(torch.load("test.pt").cuda().half()), "scores.pt")
            """,
            why="The whole recipe; float16 weights for inference only.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--amp", action="store_true")
                args = parser.parse_args()
                model = nn.Linear(64, 10).cuda()
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                scaler = torch.amp.GradScaler("cuda") if args.amp else None
                for x, y in DataLoader(torch.load("digits.pt"), batch_size=64, shuffle=True):
                    with torch.autocast("cuda", enabled=args.amp):
                        loss = F.cross_entropy(model(x.cuda()), y.cuda())
                    optimizer.zero_grad()
                    if scaler is not None:
                        scaler.scale(loss).backward()
                        scaler.step(optimizer)
                        scaler.update()
                    else:
                        loss.backward()
                        optimizer.step()


            main()
            """,
            why="Both forms, each in its branch.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from accelerate import Accelerator
            from torch import nn
            from torch.utils.data import DataLoader


            class Runner:
                def __init__(self):
                    self.accelerator = Accelerator(mixed_precision="fp16")
                    model = nn.Linear(64, 10)
                    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
                    loader = DataLoader(torch.load("digits.pt"), batch_size=64, shuffle=True)
                    self.model, self.optimizer, self.loader = self.accelerator.prepare(model, optimizer, loader)

                def fit(self):
                    for x, y in self.loader:
                        with torch.autocast("cuda", dtype=torch.float16):
                            loss = F.cross_entropy(self.model(x), y)
                        self.optimizer.zero_grad()
                        self.accelerator.backward(loss)
                        self.optimizer.step()


            Runner().fit()
            """,
            why="Accelerate scales and unscales.",
        ),
        Example(
            """
            # file: precision.py
            import torch


            def cast(device):
                dtype = torch.bfloat16 if device == "cuda" else torch.float32
                return torch.autocast(device, dtype=dtype, enabled=device == "cuda")
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from precision import cast


            def main(device="cuda"):
                model = nn.Linear(512, 20).to(device)
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                for x, y in DataLoader(torch.load("rows.pt"), batch_size=64, shuffle=True):
                    with cast(device):
                        loss = F.cross_entropy(model(x.to(device)), y.to(device))
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()


            main()
            """,
            why="bfloat16 needs no scaler.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Losses and steps that do not fit together, and float16 without a scaler."""
        for found in numerics.precision_misuses(program):
            message, advice, hop = _TEXTS[found.kind]
            yield self.finding(
                found.at.site,
                message,
                advice,
                evidence=[Hop(hop, found.other.site)],
                confidence=Confidence.CERTAIN if found.known else Confidence.LIKELY,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for optimizer in run.optimizers:
            tried = optimizer.steps + optimizer.skipped
            if tried < self.number("steps") or optimizer.skipped < self.number("share") * tried:
                continue
            yield self.finding(
                optimizer.line or optimizer.step_line,
                f"The GradScaler left out {optimizer.skipped} of {tried} steps, because gradients were not finite: "
                "float16 overflows in this model, whatever the scale is.",
                "Find what overflows (`nnaudit trace --find-nan`), keep it in float32, or use bfloat16.",
                evidence=[
                    Hop(
                        "the steps are made here",
                        optimizer.step_line or optimizer.line,
                        f"{optimizer.skipped} left out",
                    )
                ],
            )


_TEXTS = {
    "unscaled": (
        (
            "The loss is backpropagated unscaled, and the GradScaler's step at {0} divides its gradients by the scale "
            "(65536 at first): the weights hardly move."
        ),
        "Backpropagate `scaler.scale(loss)`.",
        "the scaler steps here",
    ),
    "unstepped": (
        (
            "The optimizer steps on gradients that are still multiplied by the GradScaler's scale: the loss was scaled "
            "at {0}, and nothing unscales, so every gradient is 65536 times too large."
        ),
        "Step with `scaler.step(optimizer)`, followed by `scaler.update()`.",
        "the scaled loss is backpropagated here",
    ),
    "no scaler": (
        (
            "Training runs in float16 with no GradScaler: gradients smaller than 6e-8 become 0 on the way back, and "
            "the step at {0} follows what is left."
        ),
        "Scale the loss with `torch.amp.GradScaler`, or use `dtype=torch.bfloat16`.",
        "the optimizer steps here, with nothing scaled",
    ),
    "half weights": (
        (
            "The model's weights are float16 and are trained by the step at {0}: updates smaller than a thousandth of "
            "a weight are lost, small gradients become 0, and Adam's epsilon does too."
        ),
        "Keep the weights in single precision and use `torch.autocast` with a `GradScaler`, or bfloat16.",
        "the optimizer steps here",
    ),
}
