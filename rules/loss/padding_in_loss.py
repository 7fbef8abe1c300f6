"""NN316: the loss counts the padding of sequences as targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import padding
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class PaddingInLoss(Rule):
    """Targets are padded to equal length, and the loss takes the padding for targets.

    ## What it is

    A `collate_fn` fills up shorter sequences with `pad_sequence(targets, padding_value=0)`. The loss over all positions
    has no `ignore_index` of that value (the default is -100), and nothing masks the padding.

    ## Why it hurts training

    In a batch of sequences of unequal length a large share of the positions is padding, and all of it has the same,
    easy target. The network learns first to predict padding; the loss falls fast and says nothing about the rest.
    Batches with much padding have a small loss, and short sequences weigh less than they should. Where 0 is a real
    class too, that class is learned from rubbish.

    ## How it is told apart from code that only looks alike

    - `ignore_index` equal to the padding value, or padding with -100, leaves it out.
    - Class weights (the padding's may be 0), `reduction="none"` and a mask on the target silence.
    - Padded *inputs* are usual; only the target matters.
    - Targets must come, through reshaping and slices alone, from a `pad_sequence` in the loader's own collate function.

    The heuristic is that the filled positions are no targets; where a model shall learn to end its sequences, some
    pad on purpose. So the finding is only likely.

    In a run: rows of integers in a batch that end in one value at unequal places, where that value fills a fifth of
    all positions, is as frequent among the targets of the loss, and is not its `ignore_index`.

    ## What to do

    ```python
    criterion = nn.CrossEntropyLoss(ignore_index=PAD)
    ```

    or pad the targets with -100.
    """

    code = "NN316"
    name = "padding-in-loss"
    points = (19,)
    severity = Severity.WARNING
    triggers = ("pad_sequence",)
    options = {"share": 0.2}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.nn.utils.rnn import pad_sequence
            from torch.utils.data import DataLoader


            def collate(samples):
                words = pad_sequence([s[0] for s in samples], batch_first=True)
                tags = pad_sequence([s[1] for s in samples], batch_first=True)
                return words, tags


            loader = DataLoader(torch.load("ner.pt"), batch_size=32, shuffle=True, collate_fn=collate)
            model = nn.Sequential(nn.Embedding(20_000, 64), nn.Linear(64, 9))
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters())
            for words, tags in loader:
                optimizer.zero_grad()
                scores = model(words)
                loss = criterion(scores.view(-1, 9), tags.view(-1))  # <-- NN316
                loss.backward()
                optimizer.step()
            """,
            why="Tags are padded with 0, which is a class.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.nn.utils import rnn
            from torch.utils.data import DataLoader

            PAD = 1


            class Collate:
                def __init__(self, reverse=False):
                    self.reverse = reverse

                def __call__(self, batch):
                    source = rnn.pad_sequence([pair[0] for pair in batch], padding_value=PAD)
                    target = rnn.pad_sequence([pair[1] for pair in batch], padding_value=PAD)
                    return source, target


            def train(model, dataset, optimizer):
                for source, target in DataLoader(dataset, batch_size=64, shuffle=True, collate_fn=Collate()):
                    output = model(source, target[:-1])
                    loss = F.cross_entropy(output.flatten(0, 1), target[1:].reshape(-1))  # <-- NN316
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="Translation, with a collate class and shifted targets.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.nn.utils.rnn import pad_sequence
            from torch.utils.data import DataLoader


            def pad_batch(batch):
                x, y, lengths = zip(*batch)
                return pad_sequence(x, batch_first=True), pad_sequence(y, True, -1), torch.tensor(lengths)


            class Trainer:
                def __init__(self, dataset):
                    self.loader = DataLoader(dataset, batch_size=16, shuffle=True, collate_fn=pad_batch)
                    self.model = nn.Sequential(nn.Linear(40, 10), nn.LogSoftmax(dim=-1))
                    self.criterion = nn.NLLLoss(ignore_index=0)
                    self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

                def fit(self):
                    for x, y, lengths in self.loader:
                        loss = self.criterion(self.model(x).transpose(1, 2), y.long())  # <-- NN316
                        self.optimizer.zero_grad()
                        loss.backward()
                        self.optimizer.step()


            Trainer(torch.load("speech.pt")).fit()
            """,
            why="Another value is ignored than the one that was filled in.",
        ),
        Example(
            """
            # file: data.py
            import torch
            from torch.nn.utils.rnn import pad_sequence
            from torch.utils.data import DataLoader


            def collate_fn(items):
                tokens = [torch.tensor(item) for item in items]
                return pad_sequence(tokens, batch_first=True), pad_sequence([t[1:] for t in tokens], batch_first=True)


            def make_loader(corpus):
                return DataLoader(corpus, batch_size=8, shuffle=True, collate_fn=collate_fn)
            # file: train.py
            import torch
            from torch import nn

            from data import make_loader

            model = nn.Sequential(nn.Embedding(5000, 128), nn.Linear(128, 5000))
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.AdamW(model.parameters())
            for tokens, following in make_loader(torch.load("corpus.pt")):
                logits = model(tokens[:, :-1])
                loss = criterion(logits.transpose(1, 2), following)  # <-- NN316
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="A language model; the collate function is in another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.nn.utils.rnn import pad_sequence
            from torch.utils.data import DataLoader


            def collate(samples):
                words = pad_sequence([s[0] for s in samples], batch_first=True)
                tags = pad_sequence([s[1] for s in samples], batch_first=True, padding_value=-100)
                return words, tags


            def collate_zero(samples):
                return tuple(pad_sequence([s[i] for s in samples], batch_first=True) for i in range(2))


            model = nn.Sequential(nn.Embedding(20_000, 64), nn.Linear(64, 9))
            criterion, ignoring = nn.CrossEntropyLoss(), nn.CrossEntropyLoss(ignore_index=0)
            optimizer = torch.optim.Adam(model.parameters())
            data = torch.load("ner.pt")
            for words, tags in DataLoader(data, batch_size=32, shuffle=True, collate_fn=collate):
                optimizer.zero_grad()
                loss = criterion(model(words).view(-1, 9), tags.view(-1))
                loss.backward()
                optimizer.step()
            for words, tags in DataLoader(data, batch_size=32, shuffle=True, collate_fn=collate_zero):
                optimizer.zero_grad()
                loss = ignoring(model(words).view(-1, 9), tags.view(-1))
                loss.backward()
                optimizer.step()
            """,
            why="Padding with what the loss ignores, or a loss that ignores the padding.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch.nn.utils.rnn import pad_sequence
            from torch.utils.data import DataLoader


            def collate(batch):
                x = pad_sequence([s[0] for s in batch], batch_first=True)
                y = pad_sequence([s[1] for s in batch], batch_first=True)
                return x, y, torch.tensor([s[2] for s in batch])


            def train(model, dataset, optimizer):
                for x, y, label in DataLoader(dataset, batch_size=64, collate_fn=collate):
                    scores = model(x)
                    mask = y != 0
                    each = F.cross_entropy(scores.transpose(1, 2), y, reduction="none")
                    loss = (each * mask).sum() / mask.sum()
                    loss = loss + F.cross_entropy(scores[mask], y[mask]) + F.cross_entropy(scores.mean(1), label)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="Masks, and a target that is not padded.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.nn.utils.rnn import pad_sequence
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, dataset, weight):
                    self.model = nn.LSTM(40, 10, batch_first=True)
                    self.loader = DataLoader(dataset, batch_size=16, collate_fn=self.collate)
                    weight[0] = 0
                    self.criterion = nn.CrossEntropyLoss(weight=weight)
                    self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

                def collate(self, batch):
                    return [pad_sequence(part, batch_first=True) for part in zip(*batch)]

                def fit(self):
                    for x, y in self.loader:
                        loss = self.criterion(self.model(x)[0].transpose(1, 2), y)
                        self.optimizer.zero_grad()
                        loss.backward()
                        self.optimizer.step()
            """,
            why="The class of the padding has no weight.",
        ),
        Example(
            """
            # file: data.py
            from torch.nn.utils.rnn import pad_sequence
            from torch.utils.data import DataLoader

            PAD = 3


            def collate_fn(pairs):
                return pad_sequence([p[0] for p in pairs], padding_value=PAD), pad_sequence(
                    [p[1] for p in pairs], padding_value=PAD
                )


            def make_loader(corpus):
                return DataLoader(corpus, batch_size=8, shuffle=True, collate_fn=collate_fn)
            # file: train.py
            import torch
            from torch import nn

            from data import PAD, make_loader

            model = nn.Sequential(nn.Embedding(5000, 128, padding_idx=PAD), nn.Linear(128, 5000))
            criterion = nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=0.1)
            optimizer = torch.optim.AdamW(model.parameters())
            for source, target in make_loader(torch.load("corpus.pt")):
                loss = criterion(model(source).flatten(0, 1), target.flatten())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The same constant in both files.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in padding.padded_targets(program):
            yield self.finding(
                found.use.site,
                f"The targets were padded with {found.value} (at {{0}}) and the loss counts the padding as targets: it "
                "falls by predicting padding.",
                f"Say `ignore_index={found.value}` in the loss, or pad the targets with -100.",
                evidence=[
                    Hop("the targets are padded here", found.padded.site or found.use.site, str(found.value)),
                    Hop("and counted here", found.use.site),
                ],
                confidence=Confidence.LIKELY,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for use in run.losses:
            if not use.with_graph or use.reduction == "none" or use.weighted:
                continue
            for loader in run.loaders:
                value, filled = max(loader.padding.items(), key=lambda pair: pair[1], default=("", 0.0))
                share = use.padded.get(value, 0.0)
                if not loader.trains or min(filled, share) < self.number("share") or value == str(use.ignored):
                    continue
                yield self.finding(
                    use.line,
                    f"{share:.0%} of the targets of this loss are {value}, with which the rows of "
                    f"a batch are filled up ({filled:.0%} of their positions): the network learns to predict padding.",
                    f"`ignore_index={value}` in the loss, or a mask.",
                    evidence=[
                        Hop("targets are taken for classes here", use.line, f"ignore_index={use.ignored}"),
                        Hop("the batches are made here", loader.line, f"rows end in {value}"),
                    ],
                    confidence=Confidence.LIKELY,
                )
                break
