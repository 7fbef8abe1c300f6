"""NN508: gradients are clipped at a moment when it has no effect, or the wrong one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import order
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Clip, Run


class ClippingOrder(Rule):
    """Gradients are clipped before they exist, after they were used, or while they are still scaled.

    ## What it is

    Clipping changes the `.grad` of the parameters in place, so it has an effect only between `backward()` and
    `optimizer.step()`. Here it stands before `backward()`, after `step()`, or, with a `GradScaler`, before
    `scaler.unscale_(optimizer)`.

    ## Why it hurts training

    Before `backward()` it clips empty or old gradients, and after `step()` it clips gradients that were already
    used: in both places the step itself is not limited, and one exploding gradient ruins the weights although
    the code seems to guard against it. With loss scaling the gradients are larger by the factor of the scaler
    (65536 at the start). To clip them at a norm of 1 *before* they are unscaled makes every step thousands of
    times too small; training crawls, and crawls differently each time the scaler changes its factor.

    ## How it is told apart from code that only looks alike

    - Clipping in the branch that steps (gradient accumulation, `if max_norm > 0`), or in a helper between the
      two, is right.
    - Without a `GradScaler` there is nothing to unscale (bfloat16, single precision).
    - `clip_grad_norm_(parameters, float("inf"))` only measures, and may stand anywhere.
    - Clamping *weights* after the step (Wasserstein GAN) is not clipping of gradients.
    - With two optimizers, each has its own order; the clipping of one may follow the step of the other.
    - Lightning and Accelerate unscale before they clip, in their own methods.

    In a run, at each call of the clipping, at least 5, no backward pass had run since the last step of its parameters,
    and one ran before the next; or a GradScaler stepped 5 times on gradients that were clipped before `unscale_`. Or
    else the norm of the gradients that a step uses is compared with the limit they were clipped to: at least 5
    steps, of which 3, and 3 of 10, exceed it by more than 5 percent (rounding explains far less).

    ## What to do

    ```python
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)      # only with a GradScaler
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    scaler.step(optimizer)
    scaler.update()
    ```
    """

    code = "NN508"
    name = "clipping-order"
    points = (35,)
    severity = Severity.ERROR
    triggers = ("clip_grad_norm_", "clip_grad_value_", "clip_grad_norm")
    options = {"steps": 5, "exceeded": 3, "share": 0.3}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            vocabulary = 10000


            class WordModel(nn.Module):
                def __init__(self, dim=256):
                    super().__init__()
                    self.embedding = nn.Embedding(vocabulary, dim)
                    self.lstm = nn.LSTM(dim, dim, num_layers=2, batch_first=True)
                    self.out = nn.Linear(dim, vocabulary)

                def forward(self, words):
                    return self.out(self.lstm(self.embedding(words))[0])


            model = WordModel()
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
            loader = DataLoader(torch.load("wikitext.pt"), batch_size=32, shuffle=True)

            for epoch in range(20):
                for words in loader:
                    optimizer.zero_grad()
                    logits = model(words[:, :-1])
                    loss = criterion(logits.flatten(0, 1), words[:, 1:].flatten())
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)  # <-- NN508
                    loss.backward()
                    optimizer.step()
                print(epoch, loss.item())
            """,
            why="Clipped before backward, when the gradients of this batch do not exist yet.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.nn.utils import clip_grad_norm_
            from torch.utils.data import DataLoader


            def train_epoch(model, loader, optimizer, max_norm):
                model.train()
                total = 0.0
                for series, target in loader:
                    optimizer.zero_grad()
                    _, hidden = model["rnn"](series)
                    loss = F.mse_loss(model["out"](hidden[-1]), target)
                    loss.backward()
                    optimizer.step()
                    clip_grad_norm_(model.parameters(), max_norm)  # <-- NN508
                    total += loss.item()
                return total / len(loader)


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--clip", type=float, default=1.0)
                args = parser.parse_args()
                model = nn.ModuleDict({"rnn": nn.GRU(7, 64, batch_first=True), "out": nn.Linear(64, 24)})
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                loader = DataLoader(torch.load("ett.pt"), batch_size=32, shuffle=True)
                for epoch in range(20):
                    print(epoch, train_epoch(model, loader, optimizer, args.clip))


            if __name__ == "__main__":
                main()
            """,
            why="Clipped after the step, in a function.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, model, dataset, max_norm=1.0):
                    self.model = model.cuda()
                    self.max_norm = max_norm
                    self.loader = DataLoader(dataset, batch_size=32, shuffle=True)
                    self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4)
                    self.scaler = torch.amp.GradScaler("cuda")

                def clip(self):
                    nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)  # <-- NN508

                def train_step(self, tokens, labels):
                    with torch.autocast("cuda", dtype=torch.float16):
                        loss = F.cross_entropy(self.model(tokens), labels)
                    self.optimizer.zero_grad(set_to_none=True)
                    self.scaler.scale(loss).backward()
                    self.clip()
                    self.scaler.step(self.optimizer)
                    self.scaler.update()
                    return loss.item()

                def fit(self, epochs):
                    for epoch in range(epochs):
                        losses = [self.train_step(x.cuda(), y.cuda()) for x, y in self.loader]
                        print(epoch, sum(losses) / len(losses))


            if __name__ == "__main__":
                classifier = nn.Sequential(nn.EmbeddingBag(32000, 512), nn.Linear(512, 20))
                Trainer(classifier, torch.load("newsgroups.pt")).fit(5)
            """,
            why="A Trainer with mixed precision clips what is still scaled.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision.models.video import r3d_18

            ACCUMULATE = 8
            model = r3d_18(num_classes=101).cuda()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
            scaler = torch.amp.GradScaler("cuda")
            loader = DataLoader(torch.load("ucf101.pt"), batch_size=4, shuffle=True, num_workers=8)

            for epoch in range(40):
                model.train()
                optimizer.zero_grad()
                for i, (clip, action) in enumerate(loader):
                    with torch.autocast("cuda"):
                        loss = F.cross_entropy(model(clip.cuda()), action.cuda()) / ACCUMULATE
                    scaler.scale(loss).backward()
                    if (i + 1) % ACCUMULATE == 0:
                        torch.nn.utils.clip_grad_value_(model.parameters(), 0.1)  # <-- NN508
                        scaler.unscale_(optimizer)
                        scaler.step(optimizer)
                        scaler.update()
                        optimizer.zero_grad()
            """,
            why="clip_grad_value_ stands before unscale_; with accumulation.",
        ),
        Example(
            """
            # file: agents/__init__.py
            from .updates import apply_gradients

            __all__ = ["apply_gradients"]
            # file: agents/updates.py
            from torch.nn.utils import clip_grad_norm_


            def apply_gradients(loss, network, optimizer, max_norm=10.0):
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                clip_grad_norm_(network.parameters(), max_norm)  # <-- NN508
            # file: dqn.py
            import random
            from collections import deque

            import torch
            import torch.nn.functional as F
            from torch import nn

            from agents import apply_gradients


            class DQN:
                def __init__(self, observations, actions):
                    self.q = nn.Sequential(nn.Linear(observations, 128), nn.ReLU(), nn.Linear(128, actions))
                    self.optimizer = torch.optim.Adam(self.q.parameters(), lr=1e-4)
                    self.memory = deque(maxlen=50_000)

                def learn(self, steps):
                    for _ in range(steps):
                        batch = random.sample(self.memory, 64)
                        s, a, r, s2, done = (torch.stack(column) for column in zip(*batch))
                        with torch.no_grad():
                            target = r + 0.99 * (1 - done) * self.q(s2).amax(dim=1)
                        value = self.q(s).gather(1, a.unsqueeze(1)).squeeze(1)
                        apply_gradients(F.smooth_l1_loss(value, target), self.q, self.optimizer)


            def main():
                agent = DQN(8, 4)
                agent.memory.extend(torch.load("lunar_lander.pt"))
                agent.learn(10_000)


            main()
            """,
            why="Agent and update helper in two files; the clipping follows the step of the same optimizer.",
        ),
    ]

    good = [
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--clip", type=float, default=0.0)
                parser.add_argument("--accumulate", type=int, default=2)
                args = parser.parse_args()
                model = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 10))
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                loader = DataLoader(torch.load("radio.pt"), batch_size=64, shuffle=True)
                for epoch in range(10):
                    for i, (x, y) in enumerate(loader):
                        loss = F.cross_entropy(model(x), y) / args.accumulate
                        loss.backward()
                        if (i + 1) % args.accumulate == 0:
                            if args.clip > 0:
                                nn.utils.clip_grad_norm_(model.parameters(), args.clip)
                            optimizer.step()
                            optimizer.zero_grad()
                    print(epoch, loss.item() * args.accumulate)


            main()
            """,
            why="Between backward and step, in the branch that steps and under a condition.",
        ),
        Example(
            """
            # file: amp/__init__.py
            from .stepper import ScaledStepper, plain_step

            __all__ = ["ScaledStepper", "plain_step"]
            # file: amp/stepper.py
            import torch


            class ScaledStepper:
                def __init__(self, optimizer, params, max_norm):
                    self.optimizer = optimizer
                    self.params = list(params)
                    self.max_norm = max_norm
                    self.scaler = torch.amp.GradScaler("cuda")

                def clip(self):
                    self.scaler.unscale_(self.optimizer)
                    torch.nn.utils.clip_grad_norm_(self.params, self.max_norm)

                def __call__(self, loss):
                    self.optimizer.zero_grad()
                    self.scaler.scale(loss).backward()
                    self.clip()
                    self.scaler.step(self.optimizer)
                    self.scaler.update()


            def plain_step(loss, optimizer, params, max_norm):
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(params, max_norm)
                optimizer.step()
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from amp import ScaledStepper, plain_step


            def main(half="float16"):
                model = torch.nn.Linear(1024, 16).cuda()
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
                scaled = ScaledStepper(optimizer, model.parameters(), max_norm=1.0)
                for x, y in DataLoader(torch.load("genomes.pt"), batch_size=64, shuffle=True):
                    with torch.autocast("cuda", dtype=getattr(torch, half)):
                        loss = F.cross_entropy(model(x.cuda()), y.cuda())
                    if half == "float16":
                        scaled(loss)
                    else:
                        plain_step(loss, optimizer, model.parameters(), max_norm=1.0)


            main()
            """,
            why="unscale_ before the clipping, in a helper of another file; bfloat16 needs none.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def gradient_norm(model):
                return nn.utils.clip_grad_norm_(model.parameters(), float("inf")).item()


            class Trainer:
                def __init__(self):
                    self.model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
                    self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
                    self.norms = []

                def fit(self, dataset, epochs=10):
                    for _ in range(epochs):
                        for x, y in DataLoader(dataset, batch_size=32, shuffle=True):
                            self.optimizer.zero_grad()
                            loss = F.mse_loss(self.model(x).squeeze(1), y)
                            loss.backward()
                            nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
                            self.optimizer.step()
                            self.norms.append(gradient_norm(self.model))


            Trainer().fit(torch.load("yacht.pt"))
            """,
            why="An infinite limit only measures, and may stand after the step.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            generator = nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 2))
            critic = nn.Sequential(nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 1))
            opt_g = torch.optim.RMSprop(generator.parameters(), lr=5e-5)
            opt_c = torch.optim.RMSprop(critic.parameters(), lr=5e-5)

            for epoch in range(200):
                for real in DataLoader(torch.load("swiss_roll.pt"), batch_size=256, shuffle=True):
                    noise = torch.randn(len(real), 32)
                    loss_c = critic(generator(noise).detach()).mean() - critic(real).mean()
                    opt_c.zero_grad()
                    loss_c.backward()
                    nn.utils.clip_grad_norm_(critic.parameters(), 1.0)
                    opt_c.step()
                    for p in critic.parameters():
                        p.data.clamp_(-0.01, 0.01)

                    loss_g = -critic(generator(noise)).mean()
                    opt_g.zero_grad()
                    loss_g.backward()
                    nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
                    opt_g.step()
                print(epoch, loss_c.item(), loss_g.item())
            """,
            why="A Wasserstein critic: weights are clamped after the step; each network has its own order.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class Base:
                def __init__(self, model, lr):
                    self.model = model
                    self.optimizer = torch.optim.SGD(model.parameters(), lr=lr)

                def after_backward(self):
                    pass

                def fit(self, loader, epochs):
                    for _ in range(epochs):
                        for x, y in loader:
                            self.optimizer.zero_grad()
                            F.huber_loss(self.model(x), y).backward()
                            self.after_backward()
                            self.optimizer.step()


            class Clipped(Base):
                def __init__(self, model, lr, limit):
                    super().__init__(model, lr)
                    self.limit = limit

                def after_backward(self):
                    nn.utils.clip_grad_value_(self.model.parameters(), self.limit)


            def main():
                loader = DataLoader(torch.load("steering.pt"), batch_size=64, shuffle=True)
                Clipped(nn.Linear(200, 1), lr=0.01, limit=0.5).fit(loader, epochs=30)


            main()
            """,
            why="A base class steps, its subclass overrides the hook that clips.",
        ),
        Example(
            """
            import lightning as L
            import torch
            import torch.nn.functional as F
            from accelerate import Accelerator
            from torch import nn
            from torch.utils.data import DataLoader


            class LitClassifier(L.LightningModule):
                def __init__(self):
                    super().__init__()
                    self.net = nn.Linear(40, 4)

                def training_step(self, batch, batch_idx):
                    x, y = batch
                    return F.cross_entropy(self.net(x), y)

                def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
                    self.clip_gradients(optimizer, gradient_clip_val=1.0, gradient_clip_algorithm="norm")

                def configure_optimizers(self):
                    return torch.optim.Adam(self.parameters())


            def with_accelerate(dataset):
                accelerator = Accelerator(mixed_precision="fp16")
                model = nn.Linear(40, 4)
                optimizer = torch.optim.Adam(model.parameters())
                loader = DataLoader(dataset, batch_size=64, shuffle=True)
                model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
                for x, y in loader:
                    optimizer.zero_grad()
                    accelerator.backward(F.cross_entropy(model(x), y))
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                    optimizer.step()


            data = torch.load("signals.pt")
            with_accelerate(data)
            L.Trainer(precision="16-mixed", max_epochs=3).fit(LitClassifier(), DataLoader(data, 64, shuffle=True))
            """,
            why="Accelerate and Lightning unscale by themselves before they clip.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for clip, culprit, kind in order.useless_clips(program):
            message, advice = _TEXTS[kind]
            yield self.finding(clip.site, message, advice, evidence=[Hop(_HOPS[kind], culprit.site)])

    def watch(self, run: Run) -> Iterator[Finding]:
        for clip in run.clips:
            order = self._order(run, clip)
            if order is not None:
                yield order
                continue
            if clip.steps < self.number("steps") or clip.function != "clip_grad_norm_":
                continue
            if clip.exceeded < max(self.number("exceeded"), self.number("share") * clip.steps):
                continue
            early = clip.without_gradient > 1
            why = " It finds no gradient at all: it runs before `backward()`." if early else ""
            steppers = [optimizer for optimizer in run.optimizers if optimizer.steps]
            yield self.finding(
                clip.line,
                f"Clipping to {clip.limit:g} has no effect: {clip.exceeded} of {clip.steps} steps used gradients with "
                f"a larger norm, up to {clip.largest:.3g}.{why} A single exploding gradient can ruin the weights.",
                "Clip between `backward()` and `step()`; with a GradScaler, call `scaler.unscale_(optimizer)` first.",
                evidence=[
                    Hop("clipped here", clip.line, f"to {clip.limit:g}, {clip.calls} calls"),
                    *(Hop("used here", optimizer.step_line, f"up to {clip.largest:.3g}") for optimizer in steppers[:1]),
                ],
            )

    def _order(self, run: Run, clip: Clip) -> Finding | None:
        """Every single call came at a moment when there was nothing to clip, or something else than the gradients."""
        least = self.number("steps")
        steppers = [optimizer.step_line for optimizer in run.optimizers if optimizer.steps][:1]
        passes = [place.line for place in run.backwards if place.steps][:1]
        if least <= clip.idle == clip.calls and clip.followed >= max(least, clip.calls - 1):
            when = "before `backward()`" if clip.without_gradient >= clip.calls - 1 else "after the step has used them"
            return self.finding(
                clip.line,
                f"Gradients are clipped to {clip.limit:g} {when}: at each of the {clip.calls} calls no backward pass "
                "had run since the last step, and one ran before the next. No step is limited.",
                "Clip between `backward()` and `step()`.",
                evidence=[
                    Hop("clipped here", clip.line, f"{clip.calls} calls"),
                    *(Hop("the gradients are computed here", line) for line in passes),
                    *(Hop("used here", line) for line in steppers),
                ],
            )
        if clip.scaled >= least:
            return self.finding(
                clip.line,
                f"Gradients are clipped to {clip.limit:g} while they are still multiplied by the GradScaler's scale: "
                "`unscale_` had not been called. The limit is far lower than it says, and every step shrinks.",
                "Call `scaler.unscale_(optimizer)` before clipping.",
                evidence=[
                    Hop("clipped here", clip.line, f"{clip.calls} calls"),
                    *(Hop("the scaled loss is differentiated here", line) for line in passes),
                    *(Hop("unscaled and used here", line) for line in steppers),
                ],
            )
        return None


_TEXTS = {
    "backward": (
        (
            "Gradients are clipped before the backward pass at {0} computes them: the optimizer steps with unclipped "
            "gradients."
        ),
        "Move the clipping between `backward()` and `optimizer.step()`.",
    ),
    "step": (
        "Gradients are clipped only after the optimizer's step at {0} has used them: clipping has no effect.",
        "Move the clipping between `backward()` and `optimizer.step()`.",
    ),
    "unscale": (
        (
            "Gradients are clipped while they are still multiplied by the GradScaler's scale (loss scaled at {0}): the "
            "threshold is thousands of times too small and every step shrinks."
        ),
        "Call `scaler.unscale_(optimizer)` before clipping.",
    ),
}
_HOPS = {
    "backward": "the gradients are computed here, after clipping",
    "step": "the optimizer has stepped here, before clipping",
    "unscale": "the scaled loss is backpropagated here",
}
