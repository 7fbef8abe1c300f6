"""NN705: a standard deviation or variance of what can be a single number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import deviations
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class StdOfOne(Rule):
    """`std()` or `var()` on the way to the loss is taken over what is, or can be, one number: the result is NaN.

    ## What it is

    Torch's `std` and `var` divide by the number of elements less one. Over a single element that is 0/0, which is NaN
    (with a warning that is easily missed), and an epsilon added afterwards does not help: `NaN + 1e-8` is NaN. It
    happens along an axis of length 1 always; along the axis of the batch when the last batch has one sample; over the
    returns of an episode when the episode ends with its first step.

    ## Why it hurts training

    One NaN in the loss makes every gradient NaN, the optimizer writes it into every weight, and from then on the
    network is lost. With episodes or last batches it takes hours until it happens, and it depends on the number of
    samples and on chance.

    ## How it is told apart from code that only looks alike

    - `unbiased=False` or `correction=0` divide by the count: the deviation of one number is 0, and the epsilon works.
    - NumPy's `std` divides by the count.
    - What is only printed harms nobody: the result must go into a loss that is backpropagated.
    - `drop_last=True`, and a condition on the number of elements around it, rule the single element out.
    - An axis whose length is not known is left alone.

    It is certain where the length is known to be 1, and likely where a batch or a list may have a single element.

    ## What to do

    Divide by the count, or leave single elements as they are:

    ```python
    advantage = (returns - returns.mean()) / (returns.std(correction=0) + 1e-8)
    ```
    """

    code = "NN705"
    name = "std-of-one"
    points = (37,)
    severity = Severity.WARNING
    triggers = ("backward", "training_step")

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 1))
            optimizer = torch.optim.Adam(net.parameters())
            for x, y in DataLoader(torch.load("curves.pt"), batch_size=32, shuffle=True):
                out = net(x)
                scaled = (out - out.mean(dim=-1, keepdim=True)) / (out.std(dim=-1, keepdim=True) + 1e-6)  # <-- NN705
                loss = nn.functional.mse_loss(scaled.squeeze(1), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The axis of the outputs has length 1.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.distributions import Categorical

            policy = nn.Sequential(nn.Linear(4, 128), nn.ReLU(), nn.Linear(128, 2))
            optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)


            def finish(log_probs, rewards, gamma=0.99):
                ret, returns = 0.0, []
                for r in reversed(rewards):
                    ret = r + gamma * ret
                    returns.append(ret)
                returns = torch.tensor(returns[::-1])
                returns = (returns - returns.mean()) / (returns.std() + 1e-9)  # <-- NN705 likely
                loss = -(torch.stack(log_probs) * returns).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()


            def play(env, episodes=500):
                for episode in range(episodes):
                    state, done = env.reset(), False
                    log_probs, rewards = [], []
                    while not done:
                        choice = Categorical(logits=policy(torch.as_tensor(state)))
                        action = choice.sample()
                        state, reward, done, _ = env.step(action.item())
                        log_probs.append(choice.log_prob(action))
                        rewards.append(reward)
                    finish(log_probs, rewards)
            """,
            why="An episode may end with its first step.",
        ),
        Example(
            """
            # file: losses.py
            import torch


            def variance_loss(z):
                std = torch.sqrt(z.var(dim=0) + 1e-4)  # <-- NN705 likely
                return torch.relu(1 - std).mean()
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            from losses import variance_loss

            encoder = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 8))
            data = TensorDataset(torch.load("views.pt"), torch.load("others.pt"))
            optimizer = torch.optim.AdamW(encoder.parameters())
            for one, other in DataLoader(data, batch_size=256, shuffle=True):
                a, b = encoder(one), encoder(other)
                loss = nn.functional.mse_loss(a, b) + variance_loss(a) + variance_loss(b)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The last batch may have one sample.",
        ),
        Example(
            """
            from collections import deque

            import torch
            import torch.nn as nn
            import torch.optim as optim


            class Reinforce:
                def __init__(self, inputs, actions):
                    self.net = nn.Sequential(nn.Linear(inputs, 32), nn.Tanh(), nn.Linear(32, actions))
                    self.optimizer = optim.Adam(self.net.parameters(), lr=1e-3)

                def update(self, states, actions, rewards):
                    returns, total = deque(), 0
                    for reward in rewards[::-1]:
                        total = reward + 0.95 * total
                        returns.appendleft(total)
                    advantage = torch.tensor(returns, dtype=torch.float32)
                    mean, std = advantage.mean(), advantage.std()  # <-- NN705 likely
                    advantage = (advantage - mean) / (std + 1e-6)
                    log_probs = self.net(states).log_softmax(-1)
                    picked = log_probs.gather(1, actions.unsqueeze(1)).squeeze(1)
                    self.optimizer.zero_grad()
                    loss = -(picked * advantage).mean()
                    loss.backward()
                    self.optimizer.step()
            """,
            why="Returns are collected in a deque.",
        ),
    ]

    good = [
        Example(
            """
            import numpy as np
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            x = np.load("table.npy")
            x = (x - x.mean(axis=0)) / x.std(axis=0)
            data = TensorDataset(torch.from_numpy(x).float(), torch.load("target.pt"))
            net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 8))
            optimizer = torch.optim.Adam(net.parameters())
            for inputs, y in DataLoader(data, batch_size=32, shuffle=True, drop_last=True):
                out = net(inputs)
                centred = (out - out.mean(1, keepdim=True)) / (out.std(1, keepdim=True) + 1e-6)
                loss = nn.functional.mse_loss(centred, y) + out.var(dim=0).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="Eight outputs, full batches, and NumPy divides by the count.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.distributions import Categorical


            class Agent:
                def __init__(self):
                    self.policy = nn.Sequential(nn.Linear(4, 128), nn.ReLU(), nn.Linear(128, 2))
                    self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=1e-2)
                    self.log_probs, self.rewards = [], []

                def act(self, state):
                    choice = Categorical(logits=self.policy(torch.as_tensor(state)))
                    action = choice.sample()
                    self.log_probs.append(choice.log_prob(action))
                    return action.item()

                def finish(self):
                    ret, returns = 0.0, []
                    for r in reversed(self.rewards):
                        ret = r + 0.99 * ret
                        returns.insert(0, ret)
                    returns = torch.tensor(returns)
                    if len(returns) > 1:
                        returns = (returns - returns.mean()) / (returns.std() + 1e-9)
                    loss = -(torch.stack(self.log_probs) * returns).sum()
                    self.optimizer.zero_grad()
                    loss.backward()
                    self.optimizer.step()
            """,
            why="Asked first how many there are.",
        ),
        Example(
            """
            # file: normalise.py
            def whiten(values, eps=1e-8):
                return (values - values.mean()) / (values.std(unbiased=False) + eps)
            # file: train.py
            import torch
            from torch import nn

            from normalise import whiten

            value = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1))
            optimizer = torch.optim.SGD(value.parameters(), lr=0.01)
            spread = []
            for states, rewards in torch.load("episodes.pt"):
                targets = []
                total = 0.0
                for r in rewards:
                    total += r
                    targets.append(total)
                targets = torch.tensor(targets)
                error = value(states).squeeze(1) - whiten(targets)
                loss = error.pow(2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                spread.append(torch.tensor(targets).float().std().item())
            print(spread)
            """,
            why="Divided by the count; the other one is only printed.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Standardize(nn.Module):
                def forward(self, x):
                    return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5)


            net = nn.Sequential(nn.Linear(16, 64), Standardize(), nn.ReLU(), nn.Linear(64, 1))
            optimizer = torch.optim.Adam(net.parameters())
            window = []
            for x, y in torch.load("steps.pt"):
                loss = nn.functional.l1_loss(net(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                window.append(loss.item())
                noise = torch.tensor(window[-100:]).std() if len(window) > 1 else torch.tensor(0.0)
                print(loss.item(), noise)
            """,
            why="Sixty-four features; what is printed was asked for its length.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in deviations.spreads_of_one(program):
            message = _MESSAGES[found.kind].replace("SPREAD", f"`{found.op}`")
            evidence = [Hop(_HOPS[found.kind], found.made)] if found.made is not None else []
            yield self.finding(
                found.site,
                message,
                "Pass `correction=0` (or `unbiased=False`), or leave single elements as they are.",
                evidence=evidence,
                confidence=Confidence.CERTAIN if found.kind == "always" else Confidence.LIKELY,
            )


_MESSAGES = {
    "always": "SPREAD is taken along an axis of length 1: the result is NaN, and so is every gradient of the loss.",
    "batch": (
        "SPREAD is taken over the samples of a batch, and the last batch of the loader at {0} may have one sample: the "
        "result is then NaN, and after the step so are all weights."
    ),
    "list": (
        "SPREAD is taken over as many numbers as the list at {0} happens to hold: where that is one (an episode of one "
        "step), the result is NaN, and after the step so are all weights."
    ),
}
_HOPS = {"batch": "this loader keeps its last batch", "list": "a list that grows in a loop becomes a tensor here"}
