"""NN518: a recurrent state is carried over batches with its graph."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from ...analyzer import updates
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class HiddenStateNotDetached(Rule):
    """The state that a batch hands to the next one still carries its graph, and `retain_graph=True` keeps it alive.

    ## What it is

    `output, hidden = model(x, hidden)` hands the state of one batch to the next. With `loss.backward()` the second
    batch fails ("Trying to backward through the graph a second time"); the usual first aid, `retain_graph=True`,
    silences the error and keeps the graphs of all batches so far, instead of cutting the state off with `detach()`.

    ## Why it hurts training

    Every backward pass goes back through all batches since the start: each step takes longer than the one before and
    memory grows until it is used up. The gradients flow through weights that later steps have already changed, and
    over thousands of time steps they vanish or explode.

    ## How it is told apart from code that only looks alike

    - A state that goes through `detach()`, `.data` or a helper that does so is cut off.
    - A state that is made anew for every batch is not carried over.
    - Time steps inside one batch are meant to be connected; only results of the *pass before* count.
    - `retain_graph=True` for two losses over one graph is right.
    - Without `retain_graph=True` the code would stop with an error, so nothing is said.

    In a run: the graph of a loss is counted at the passes 1, 2, 3 and 10, and has grown each time, to 5 times its
    first size at least.

    ## What to do

    Cut the state off before each batch, and take `retain_graph=True` out:

    ```python
    hidden = tuple(h.detach() for h in hidden)
    output, hidden = model(x, hidden)
    loss.backward()
    ```
    """

    code = "NN518"
    name = "hidden-state-not-detached"
    points = (35, 37)
    severity = Severity.ERROR
    triggers = ("retain_graph",)
    options = {"growth": 5}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            rnn = nn.GRU(16, 64, batch_first=True)
            head = nn.Linear(64, 16)
            optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=1e-3)
            loader = DataLoader(torch.load("sensor.pt"), batch_size=8, drop_last=True)

            for epoch in range(10):
                hidden = torch.zeros(1, 8, 64)
                for window, following in loader:
                    optimizer.zero_grad()
                    states, hidden = rnn(window, hidden)
                    loss = nn.functional.mse_loss(head(states), following)
                    loss.backward(retain_graph=True)  # <-- NN518
                    nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
                    optimizer.step()
            """,
            why="The state of a GRU goes from batch to batch.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class CharModel(nn.Module):
                def __init__(self, vocabulary, dim):
                    super().__init__()
                    self.embedding = nn.Embedding(vocabulary, dim)
                    self.lstm = nn.LSTM(dim, dim, batch_first=True)
                    self.out = nn.Linear(dim, vocabulary)

                def forward(self, x, state=None):
                    states, state = self.lstm(self.embedding(x), state)
                    return self.out(states), state


            def train(model, loader, optimizer, epochs):
                for epoch in range(epochs):
                    state = None
                    for x, y in loader:
                        scores, state = model(x, state)
                        loss = F.cross_entropy(scores.transpose(1, 2), y)
                        optimizer.zero_grad()
                        loss.backward(retain_graph=True)  # <-- NN518
                        optimizer.step()
                    print(epoch, loss.item())


            if __name__ == "__main__":
                net = CharModel(96, 256)
                chunks = DataLoader(torch.load("shakespeare.pt"), batch_size=32, drop_last=True)
                train(net, chunks, torch.optim.Adam(net.parameters(), lr=2e-3), epochs=20)
            """,
            why="The state of an LSTM begins as None in each epoch.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Controller(nn.Module):
                def __init__(self, size):
                    super().__init__()
                    self.cell = nn.GRUCell(size, 128)
                    self.policy = nn.Linear(128, 4)

                def forward(self, observation, memory):
                    memory = self.cell(observation, memory)
                    return self.policy(memory), memory


            class Agent:
                def __init__(self, size):
                    self.controller = Controller(size)
                    self.optimizer = torch.optim.RMSprop(self.controller.parameters(), lr=7e-4)
                    self.memory = torch.zeros(1, 128)

                def learn(self, rollouts):
                    for observation, action, advantage in rollouts:
                        scores, self.memory = self.controller(observation, self.memory)
                        picked = scores.log_softmax(dim=-1).gather(1, action)
                        self.optimizer.zero_grad()
                        (-picked * advantage).mean().backward(retain_graph=True)  # <-- NN518
                        self.optimizer.step()


            Agent(24).learn(torch.load("rollouts.pt"))
            """,
            why="An agent keeps its memory as an attribute.",
        ),
        Example(
            """
            # file: steps.py
            import torch.nn.functional as F


            def train_step(model, optimizer, frames, target, state):
                prediction, state = model(frames, state)
                optimizer.zero_grad()
                F.l1_loss(prediction, target).backward(retain_graph=True)  # <-- NN518
                optimizer.step()
                return state
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from steps import train_step


            def main():
                model = nn.LSTM(64, 64, num_layers=2, batch_first=True)
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                state = (torch.zeros(2, 4, 64), torch.zeros(2, 4, 64))
                for frames, target in DataLoader(torch.load("video.pt"), batch_size=4, drop_last=True):
                    state = train_step(model, optimizer, frames, target, state)


            main()
            """,
            why="A helper of another file hands the state back.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class CharModel(nn.Module):
                def __init__(self, vocabulary, dim):
                    super().__init__()
                    self.embedding = nn.Embedding(vocabulary, dim)
                    self.lstm = nn.LSTM(dim, dim, batch_first=True)
                    self.out = nn.Linear(dim, vocabulary)

                def forward(self, x, state=None):
                    states, state = self.lstm(self.embedding(x), state)
                    return self.out(states), state


            net = CharModel(96, 256)
            optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
            for epoch in range(20):
                state = None
                for x, y in DataLoader(torch.load("shakespeare.pt"), batch_size=32, drop_last=True):
                    if state is not None:
                        state = tuple(s.detach() for s in state)
                    scores, state = net(x, state)
                    loss = F.cross_entropy(scores.transpose(1, 2), y)
                    optimizer.zero_grad()
                    loss.backward(retain_graph=True)
                    optimizer.step()
            """,
            why="The state is detached; retaining the graph is only superfluous.",
        ),
        Example(
            """
            # file: carry.py
            import torch


            def repackage(state):
                if isinstance(state, torch.Tensor):
                    return state.detach()
                return tuple(repackage(part) for part in state)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from carry import repackage


            def main():
                rnn, head = nn.GRU(16, 64, batch_first=True), nn.Linear(64, 16)
                optimizer = torch.optim.SGD([*rnn.parameters(), *head.parameters()], lr=0.1)
                hidden = torch.zeros(1, 8, 64)
                for window, following in DataLoader(torch.load("sensor.pt"), batch_size=8, drop_last=True):
                    hidden = repackage(hidden)
                    states, hidden = rnn(window, hidden)
                    loss = nn.functional.mse_loss(head(states), following)
                    optimizer.zero_grad()
                    loss.backward(retain_graph=True)
                    optimizer.step()


            main()
            """,
            why="A helper of another file detaches.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Seq2Seq(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.cell = nn.GRUCell(10, 32)
                    self.out = nn.Linear(32, 10)

                def forward(self, steps):
                    hidden = torch.zeros(steps.size(0), 32)
                    found = []
                    for t in range(steps.size(1)):
                        hidden = self.cell(steps[:, t], hidden)
                        found.append(self.out(hidden))
                    return torch.stack(found, dim=1), hidden


            model = Seq2Seq()
            optimizer = torch.optim.Adam(model.parameters())
            for steps, target in DataLoader(torch.load("paths.pt"), batch_size=64, shuffle=True):
                prediction, hidden = model(steps)
                optimizer.zero_grad()
                nn.functional.mse_loss(prediction, target).backward(retain_graph=True)
                (0.01 * hidden.pow(2).mean()).backward()
                optimizer.step()
            """,
            why="Two losses over one graph; the state begins anew in every batch.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            from torch.utils.data import DataLoader


            class GAN:
                def __init__(self):
                    self.g = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 2))
                    self.d = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
                    self.g_opt = torch.optim.Adam(self.g.parameters(), lr=1e-3)
                    self.d_opt = torch.optim.Adam(self.d.parameters(), lr=1e-3)
                    self.bce = nn.BCEWithLogitsLoss()

                def fit(self, loader):
                    for (real,) in loader:
                        fake = self.g(torch.randn(len(real), 32))
                        one, zero = torch.ones(len(real), 1), torch.zeros(len(real), 1)
                        self.g_opt.zero_grad()
                        self.bce(self.d(fake), one).backward(retain_graph=True)
                        self.g_opt.step()
                        self.d_opt.zero_grad()
                        loss = self.bce(self.d(real), one) + self.bce(self.d(fake.detach()), zero)
                        loss.backward()
                        self.d_opt.step()


            GAN().fit(DataLoader(torch.load("moons.pt"), batch_size=128, shuffle=True))
            """,
            why="A GAN retains the graph for its second loss.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Backward passes that keep the graph and reach into the pass before."""
        for found in updates.carried_state(program):
            yield self.finding(
                found.backward.site,
                "The state that {0} made for the last batch still carries its graph: with `retain_graph=True` this "
                "backward pass goes back through every batch since the loop at {1} began, ever slower and with ever "
                "more memory.",
                "Call `detach()` on the state before the next batch, and remove `retain_graph=True`.",
                evidence=[
                    Hop("the state comes from this call", found.forward.site),
                    Hop("and is carried through this loop", found.loop.site),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for place in run.backwards:
            sizes = place.sizes
            if len(sizes) < 4 or not sizes[0] < sizes[1] < sizes[2] < sizes[3]:
                continue
            # Walked at calls 1, 2, 3 and 10: a graph that goes on has ten times the nodes.
            if sizes[3] < self.number("growth") * sizes[0] or any(b < a for a, b in pairwise(sizes)):
                continue
            yield self.finding(
                place.line,
                f"The graph of this loss grows with every step: {sizes[0]}, {sizes[1]}, {sizes[2]} nodes in the first "
                f"three passes, {sizes[3]} in the tenth. It reaches back through all steps so far.",
                "Detach what is carried from step to step: `state = state.detach()`.",
                evidence=[Hop("the loss is differentiated here", place.line, f"{sizes[-1]} nodes")],
            )
