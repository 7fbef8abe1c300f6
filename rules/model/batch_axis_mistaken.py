"""NN421: a layer for sequences takes the batch for time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import fitting
from ...tracer.evidence import OVER_TIME, shape
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class BatchAxisMistaken(Rule):
    """A recurrent or attention layer expects time first and gets the batch first, or the other way round.

    ## What it is

    `nn.LSTM`, `nn.GRU`, `nn.RNN`, `nn.MultiheadAttention` and the Transformer layers expect `(time, batch, features)`
    unless they are made with `batch_first=True`. Loaders put the batch first: `(batch, time, features)`. Here one of
    the two was forgotten.

    ## Why it hurts training

    No shape is wrong, so nothing fails. The layer takes the samples of the batch for the steps of one sequence: the
    state of one sample flows into the next, attention looks from one sample to the others, and the steps of a
    sequence do not see each other. The loss falls on what each step tells by itself, predictions depend on what else is
    in the batch, and with a batch of one in deployment the model does something else than in training.

    ## How it is told apart from code that only looks alike

    - `x.transpose(0, 1)` or `x.permute(1, 0, 2)` before the layer puts time first.
    - A `collate_fn` of one's own, such as one with `pad_sequence`, may do so too: nothing is said.
    - A recurrent layer that is handed a state may read one long text piece by piece: then the loader's batch *is* time.
    - A module whose input cannot be followed back to a loader is not judged.
    - `x.unsqueeze(0)` makes the whole batch one sequence's batch of one step, which fits.

    In a run: a recurrent layer without `batch_first` whose input has the batch size of the loader in its first
    axis, and the length of its sequences in the second.

    In an experiment one sample of a batch is exchanged, in evaluation mode: where the outputs of the others move, and
    the first operation behind which they do is recurrent or attention, it runs along the axis of the samples.

    ## What to do

    Say in the constructor of the layer which axis comes first, and keep to it everywhere:

    ```python
    self.rnn = nn.LSTM(features, hidden, batch_first=True)
    ```
    """

    code = "NN421"
    name = "batch-axis-mistaken"
    points = (25,)
    severity = Severity.ERROR
    experiments = ("crosstalk",)
    triggers = ("LSTM", "GRU", "RNN", "MultiheadAttention", "TransformerEncoderLayer", "TransformerDecoderLayer")

    bad = [
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Sentiment(nn.Module):
                def __init__(self, vocabulary):
                    super().__init__()
                    self.embedding = nn.Embedding(vocabulary, 100)
                    self.lstm = nn.LSTM(100, 128)
                    self.fc = nn.Linear(128, 2)

                def forward(self, tokens):
                    states, _ = self.lstm(self.embedding(tokens))  # <-- NN421
                    return self.fc(states[:, -1])


            model = Sentiment(25_000)
            optimizer = torch.optim.Adam(model.parameters())
            for tokens, label in DataLoader(torch.load("imdb.pt"), batch_size=64, shuffle=True):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(tokens), label)
                loss.backward()
                optimizer.step()
            """,
            why="batch_first was forgotten.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            series = torch.randn(1000, 50, 6)
            target = torch.randn(1000, 3)
            layer = nn.TransformerEncoderLayer(d_model=6, nhead=2)
            encoder = nn.TransformerEncoder(layer, num_layers=2)
            head = nn.Linear(6, 3)
            optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()])
            for x, y in DataLoader(TensorDataset(series, target), batch_size=32, shuffle=True):
                states = encoder(x)  # <-- NN421
                loss = nn.functional.mse_loss(head(states.mean(1)), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="A Transformer over samples, with literal shapes.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Forecaster(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.gru = nn.GRU(4, 32, batch_first=True)
                    self.out = nn.Linear(32, 1)

                def forward(self, x):
                    x = x.transpose(0, 1)
                    _, last = self.gru(x)  # <-- NN421
                    return self.out(last[-1])


            class Trainer:
                def __init__(self, data):
                    self.net = Forecaster()
                    self.loader = DataLoader(data, batch_size=16, shuffle=True)
                    self.optimizer = torch.optim.Adam(self.net.parameters())

                def fit(self):
                    for x, y in self.loader:
                        loss = (self.net(x) - y).abs().mean()
                        self.optimizer.zero_grad()
                        loss.backward()
                        self.optimizer.step()


            Trainer(torch.load("energy.pt")).fit()
            """,
            why="Time was put first although the layer takes the batch first.",
        ),
        Example(
            """
            # file: attention.py
            import torch
            from torch import nn


            class Block(nn.Module):
                def __init__(self, width, heads):
                    super().__init__()
                    self.attention = nn.MultiheadAttention(width, heads, dropout=0.1)
                    self.norm = nn.LayerNorm(width)

                def forward(self, x):
                    attended, _ = self.attention(x, x, x)  # <-- NN421
                    return self.norm(x + attended)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from attention import Block


            def main():
                stem, block, head = nn.Linear(16, 64), Block(64, 4), nn.Linear(64, 10)
                parts = nn.ModuleList([stem, block, head])
                optimizer = torch.optim.AdamW(parts.parameters())
                for x, y in DataLoader(torch.load("sets.pt"), batch_size=32, shuffle=True):
                    loss = nn.functional.cross_entropy(head(block(stem(x)).mean(1)), y)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()


            main()
            """,
            why="Attention in another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Sentiment(nn.Module):
                def __init__(self, vocabulary):
                    super().__init__()
                    self.embedding = nn.Embedding(vocabulary, 100)
                    self.lstm = nn.LSTM(100, 128, batch_first=True)
                    self.second = nn.LSTM(128, 128)
                    self.fc = nn.Linear(128, 2)

                def forward(self, tokens):
                    states, _ = self.lstm(self.embedding(tokens))
                    states, (h, c) = self.second(states.permute(1, 0, 2))
                    return self.fc(h[-1])


            model = Sentiment(25_000)
            optimizer = torch.optim.Adam(model.parameters())
            for tokens, label in DataLoader(torch.load("imdb.pt"), batch_size=64, shuffle=True):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(tokens), label)
                loss.backward()
                optimizer.step()
            """,
            why="One layer with batch_first, one behind a permutation.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.nn.utils.rnn import pad_sequence
            from torch.utils.data import DataLoader


            def collate(samples):
                return pad_sequence([s[0] for s in samples]), torch.tensor([s[1] for s in samples])


            rnn, head = nn.GRU(12, 32), nn.Linear(32, 4)
            optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()])
            for x, y in DataLoader(torch.load("speech.pt"), batch_size=8, shuffle=True, collate_fn=collate):
                _, last = rnn(x)
                loss = nn.functional.cross_entropy(head(last[-1]), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            state = None
            for piece in DataLoader(torch.load("corpus.pt"), batch_size=35, shuffle=True, drop_last=True):
                states, state = rnn(piece[:-1], state)
                loss = nn.functional.cross_entropy(head(states).flatten(0, 1), piece[1:].flatten())
                state = state.detach()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The collate function pads with time first; or each batch is the next piece of one long text.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Step(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.rnn = nn.LSTM(10, 20)
                    self.out = nn.Linear(20, 10)

                def forward(self, x, state=None):
                    y, state = self.rnn(x.unsqueeze(0), state)
                    return self.out(y.squeeze(0)), state


            net = Step()
            optimizer = torch.optim.Adam(net.parameters())
            for x, y in DataLoader(torch.load("steps.pt"), batch_size=64, shuffle=True):
                out, _ = net(x)
                loss = (out - y).pow(2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="A single step of each sample: a time axis of length one is put in front.",
        ),
        Example(
            """
            # file: net.py
            from torch import nn


            class Encoder(nn.Module):
                def __init__(self, width, first):
                    super().__init__()
                    self.layer = nn.TransformerEncoderLayer(width, 4, batch_first=first)
                    self.plain = nn.LSTM(width, width)

                def forward(self, x):
                    return self.layer(x)

                def recur(self, x):
                    return self.plain(x)[0]
            # file: train.py
            import torch
            from torch.utils.data import DataLoader

            from net import Encoder

            net = Encoder(64, True)
            optimizer = torch.optim.Adam(net.parameters())
            for x in DataLoader(torch.load("frames.pt"), batch_size=4, shuffle=True):
                loss = (net(x) - x).pow(2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The flag comes from another file; a method that nobody calls gets anything.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in fitting.mistaken_axes(program):
            expected = "(batch, time, features)" if found.batch_first else "(time, batch, features)"
            yield self.finding(
                found.site,
                f"{found.layer} with batch_first={found.batch_first} expects {expected} and gets {found.shape}, where "
                "N is the batch: it takes the samples for the steps of one sequence, and they flow into each other.",
                "Make the layer with `batch_first=True`."
                if not found.batch_first
                else "Leave the batch in front: no transpose before a layer with `batch_first=True`.",
                evidence=[
                    Hop("the input comes from here", found.source or found.site, str(found.shape)),
                    Hop("and is taken for a sequence here", found.site),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        batches = {(x.batch_size, x.shape[1]): x for x in run.loaders if len(x.shape) == 3}
        for module in run.modules:
            sizes = module.input_sizes
            if module.batch_first is not False or len(sizes) != 3 or sizes[0] == sizes[1]:
                continue
            loader = batches.get((sizes[0], sizes[1]))
            if loader is None or module.line is None:
                continue
            yield self.finding(
                module.line,
                f"`{module.name}` gets {module.input_shape}, batches as the loader "
                "gives them, and takes the first axis "
                f"for time: it runs over the {sizes[0]} samples as if they were steps, and its state leaks from sample "
                "to sample.",
                "Make it with `batch_first=True`, or bring the time to the front.",
                evidence=[
                    Hop("it is made here", module.line, "batch_first=False"),
                    Hop("the batches come from here", loader.line, f"batches of {loader.batch_size}"),
                ],
            )

    def probe(self, run: Run) -> Iterator[Finding]:
        said = {module.line for module in run.modules if module.batch_first is False and len(module.input_sizes) == 3}
        for mix in run.mixes:
            kind = OVER_TIME.get(mix.operation)
            if kind is None or not mix.changed or not mix.sure:
                continue
            module = next((m for m in run.modules if m.name == mix.module), None)
            line = module.line if module is not None and module.line is not None else mix.line
            if line in said and any(finding.at == line for finding in self.watch(run)):
                continue
            yield self.finding(
                line,
                f"With one of {mix.samples} samples exchanged, the outputs of {mix.changed} others move: "
                f"{kind} at `{mix.module}` runs over the samples as if they were steps (input {shape(mix.inputs)}).",
                "Make it with `batch_first=True`, or bring the steps to the front.",
                evidence=[Hop("from here on samples know of each other", mix.line, shape(mix.outputs))],
            )
