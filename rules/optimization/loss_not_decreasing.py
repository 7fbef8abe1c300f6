"""NN608: the loss does not fall over many steps and several epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Rule

if TYPE_CHECKING:
    from ...tracer.run import Backward, Loader, Optimizer, Run


class LossNotDecreasing(Rule):
    """The training loss is where it was at the beginning, though gradients flow and steps are made.

    ## What it is

    Over several epochs and hundreds of steps the training loss shows no downward trend. The forward pass works, every
    parameter gets a gradient, the optimizer steps, and nothing is learned: the learning rate is far too small or far
    too large, weight decay or a constraint undoes each step, or the inputs say nothing about the targets.

    ## Why it hurts training

    The run costs its time and yields an untrained network. A loss printed once per epoch looks busy, because it
    fluctuates with the batches.

    ## How it is told apart from code that only looks alike

    - Adversarial training, reinforcement learning and losses of one's own may fluctuate for good: only known losses
      with a mean, on batches of a loader, with one optimizer and no second network beside it, are judged.
    - Pretrained weights may be at their best from the start: nothing that is trained may have been loaded.
    - A warm-up of the learning rate takes its time: the rate must not be rising any more.
    - A rising loss is left to other rules, since a curriculum or an annealed penalty raises it on purpose.
    - Where a cause is known (gradients that never came or were tiny from the beginning, NaN, broadcast targets) its
      own rule speaks. Gradients that were lost to the first large steps are this rule's.

    Demanded are 5 complete epochs and 200 steps. Then either the updates were so small (steps times update:weight ratio
    below 0.01) that nothing can have been learned; or the Mann-Kendall test over the recorded losses finds no trend
    (one-sided p above 0.01), and the fall from the first 20 losses, and from the first third, to the last third is less
    than 20 percent at the upper end of its 99 percent interval (Welch), so that a loss that is only noisy, or that fell
    quickly at the beginning, is silent. A loss that at least doubled within the first 20 steps is compared with what it
    was before the first step instead, and its second half tested for a trend. Where batches are made by hand, epochs
    cannot be counted, and the finding is only likely. So it is where updates are of an ordinary size (at most 3 percent
    of the weights) and the loss just stays: targets that are nearly all noise look the same. The limits are the
    project's own choice; SageMaker Debugger's LossNotDecreasing rule asks for a fall of 0.1 percent from look to look,
    without a test.

    ## What to do

    Try rates a factor of 10 apart on the same batch, which must be learned by heart within some hundred steps:

    ```python
    for rate in (1e-4, 1e-3, 1e-2):
        model = build()
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        for _ in range(200):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        print(rate, loss.item())
    ```
    """

    code = "NN608"
    name = "loss-not-decreasing"
    points = (31, 36)
    severity = Severity.ERROR
    symptom = True
    options = {
        "steps": 200,
        "epochs": 5,
        "fall": 0.2,
        "z": 2.33,
        "movement": 0.01,
        "wild": 0.03,
        "gradient": 1e-7,
        "alive": 1e-5,
    }

    def watch(self, run: Run) -> Iterator[Finding]:
        stepped = [optimizer for optimizer in run.optimizers if optimizer.steps]
        if len(stepped) != 1 or stepped[0].steps < self.number("steps") or run.nonfinite:
            return
        optimizer = stepped[0]
        place = evidence.backward_of(run, optimizer)
        loaders = [loader for loader in run.loaders if loader.training_batches]
        if place is None or len(loaders) > 1 or place.calls > 1.1 * place.steps:
            return
        loader = loaders[0] if loaders else None
        if loader is not None and not loader.trains:
            return
        if not self._is_supervised(run, place, loader) or not self._is_sound(run, optimizer):
            return
        stream = run.stream("objective", place.key)
        if stream is None:
            return
        losses = [row[0] for row in list(stream.rows)]
        if loader is not None:
            epochs = [epoch for epoch in loader.epochs if epoch.complete and epoch.trained >= 0.9 * epoch.batches]
            if len(epochs) < self.number("epochs"):
                return
        if len(losses) < 60 or not all(map(math.isfinite, losses)):
            return
        z = evidence.mann_kendall(losses[:: max(1, len(losses) // 400)])
        third = len(losses) // 3
        begin, first, last = losses[:20], losses[:third], losses[-third:]
        ratio = evidence.update_ratio(run, optimizer)
        unmoved = ratio is not None and ratio * optimizer.steps < self.number("movement")
        limit = self.number("fall")
        flat = abs(z) < self.number("z") and max(_most_fallen(begin, last), _most_fallen(first, last)) <= limit
        if not unmoved and not flat:
            late = losses[len(losses) // 2 :]
            z = evidence.mann_kendall(late[:: max(1, len(late) // 400)])
            # It jumped in the first steps, and came back to where the untrained network was.
            if abs(z) >= self.number("z") or max(begin) < 2 * losses[0] or _noisy_fall(losses[0], last) > limit:
                return
            first = losses[:1]
        sure = unmoved or not flat or (ratio is not None and ratio > self.number("wild"))
        cause = ratio if unmoved else None
        yield self._report(run, optimizer, place, (first, last), z, cause, sure and loader is not None)

    def _is_supervised(self, run: Run, place: Backward, loader: Loader | None) -> bool:
        """Known losses with a mean, of one trained network, with no other one beside it."""
        uses = [run.of("loss", key) for key in place.losses]
        if not uses or any(use is None or use.reduction != "mean" or use.broadcast for use in uses):
            return False
        if loader is None:  # a network that acts or judges beside the training is not in evaluation mode
            return not any(found.training and not found.grad for found in run.passes)
        return not any(found.loader == loader.key and not found.grad for found in run.passes)

    def _is_sound(self, run: Run, optimizer: Optimizer) -> bool:
        """Gradients reached every weight, nothing was loaded, and the rate is not rising."""
        stream, rates = run.stream("gradient", optimizer.key), run.stream("rate", optimizer.key)
        if stream is None or optimizer.without_gradient:
            return False
        for p in evidence.members(run, optimizer):
            if p.loaded or not p.looked or p.frozen_steps:
                return False
            sizes = [v / math.sqrt(p.size) for v in stream.column(p.key).values if math.isfinite(v)]
            if len(p.shape) < 2:
                continue
            if not sizes:
                return False
            # A gradient that was there at first, and is gone, was lost to the steps themselves.
            if evidence.median(sizes) < self.number("gradient") and max(sizes[:3]) < self.number("alive"):
                return False
        if rates is None:
            return True
        highest = [max(row) for row in list(rates.rows)]
        return len(highest) < 2 or highest[-1] <= highest[-2]

    def _report(
        self,
        run: Run,
        optimizer: Optimizer,
        place: Backward,
        thirds: tuple[list[float], list[float]],
        z: float,
        ratio: float | None,
        sure: bool,
    ) -> Finding:
        first, last = (sum(part) / len(part) for part in thirds)
        fall, error = _fallen(*thirds)
        rate = f"{optimizer.rates[0]:.3g}" if optimizer.rates else "unknown"
        if ratio is not None:
            cause = f" One update changes {ratio:.1g} of the weights, all steps together next to nothing."
            advice = f"Raise the learning rate (now {rate}): an update of about a thousandth of the weights is usual."
        else:
            cause = ""
            advice = (
                f"Try learning rates a factor of 10 apart (now {rate}) on one batch, which must be learned by heart; "
                "if none helps, check that inputs and targets belong together."
            )
        begin = "value was" if len(thirds[0]) == 1 else "mean was"
        when = "before the first step, jumped," if len(thirds[0]) == 1 else "over the first third"
        return self.finding(
            place.line,
            f"The loss does not fall: its {begin} {first:.4g} {when} and {last:.4g} over the last third "
            f"of {optimizer.steps} steps (a fall of {100 * fall:.1f} +/- {100 * 2.33 * error:.1f} %; "
            f"trend by Mann-Kendall: z = {z:.2f}, one-sided p = {evidence.tail(-z):.2g}).{cause}",
            advice,
            evidence=[
                Hop("the loss is differentiated here", place.line, f"{first:.4g} -> {last:.4g}"),
                Hop("the steps are made here", optimizer.step_line, f"{optimizer.steps} steps"),
                Hop("the optimizer is made here", optimizer.line, f"learning rate {rate}"),
            ],
            confidence=evidence.settled(run) if sure else Confidence.LIKELY,
        )


def _fallen(before: list[float], after: list[float]) -> tuple[float, float]:
    """By which part the mean has fallen, and the standard error of that (Welch: the variances may differ)."""
    (m, v), (n, w) = evidence.moments(before), evidence.moments(after)
    return (m - n) / abs(m or 1.0), math.sqrt(v / len(before) + w / len(after)) / abs(m or 1.0)


def _most_fallen(before: list[float], after: list[float]) -> float:
    """The upper end of the 99 percent interval."""
    fall, error = _fallen(before, after)
    return fall + 2.33 * error


def _noisy_fall(before: float, after: list[float]) -> float:
    """The same for one single loss, which is as noisy as those after it."""
    mean, variance = evidence.moments(after)
    return (before - mean + 2.33 * math.sqrt(variance)) / abs(before or 1.0)
