"""NN113: a collate function puts the inputs into another order than the labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import collating
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class LoaderAltersData(Rule):
    """A collate function sorts or drops one part of the samples and leaves the other parts as they were.

    ## What it is

    A custom `collate_fn` takes inputs and labels out of the samples, then sorts the inputs (by length, for
    `pack_padded_sequence`), brings them into the order of an index, or leaves some out, and does not do the same to the
    labels.

    ## Why it hurts training

    Within each batch the labels belong to other samples. Nothing fails: shapes fit, the loss falls to that of guessing
    the frequencies of the classes, and there it stays.

    ## How it is told apart from code that only looks alike

    - Sorting the samples as a whole, before they are taken apart, keeps them together.
    - The same index applied to each part keeps them together too.
    - Where the order is part of the batch, the model can undo it.
    - Parts that are only counted (lengths, masks of padding) are not compared.
    - A function of which a part cannot be followed is left alone.

    In an experiment the collate function is given the same samples of the data set in two orders: each field must
    follow in the same way. Fields with equal rows, and functions that draw random numbers, are not judged.

    ## What to do

    Sort the samples first (`batch.sort(key=...)`), then take them apart; or apply one index to all parts.
    """

    code = "NN113"
    name = "loader-alters-data"
    points = (3, 4)
    severity = Severity.ERROR
    experiments = ("collate",)
    triggers = ("collate_fn",)

    bad = [
        Example(
            """
            import torch
            from torch.nn.utils.rnn import pad_sequence
            from torch.utils.data import DataLoader


            def collate(batch):
                texts = [torch.tensor(ids) for ids, _ in batch]
                labels = torch.tensor([label for _, label in batch])
                texts = sorted(texts, key=len, reverse=True)  # <-- NN113
                lengths = torch.tensor([len(t) for t in texts])
                return pad_sequence(texts, batch_first=True), lengths, labels


            loader = DataLoader(torch.load("reviews.pt"), batch_size=32, shuffle=True, collate_fn=collate)
            for texts, lengths, labels in loader:
                print(texts.shape, lengths, labels)
            """,
            why="The texts are sorted by length, the labels are not.",
        ),
        Example(
            """
            import torch
            from torch.nn.utils.rnn import pad_sequence
            from torch.utils.data import DataLoader


            class Collate:
                def __init__(self, padding):
                    self.padding = padding

                def __call__(self, batch):
                    signals = [item["signal"] for item in batch]
                    targets = torch.stack([item["target"] for item in batch])
                    lengths = torch.tensor([item["signal"].shape[0] for item in batch])
                    order = torch.argsort(lengths, descending=True)  # <-- NN113
                    padded = pad_sequence(signals, batch_first=True, padding_value=self.padding)
                    return {"signal": padded[order], "lengths": lengths[order], "target": targets}


            def loaders(data):
                return DataLoader(data, 64, shuffle=True, collate_fn=Collate(0.0))


            for batch in loaders(torch.load("signals.pt")):
                print(batch["signal"].shape, batch["target"].shape)
            """,
            why="One index for the signals and their lengths, none for the targets.",
        ),
        Example(
            """
            # file: batches.py
            import torch


            def by_length(samples):
                words = []
                tags = []
                for sample in samples:
                    words.append(torch.tensor(sample[0]))
                    tags.append(sample[1])
                words.sort(key=lambda w: len(w), reverse=True)  # <-- NN113
                return torch.nn.utils.rnn.pack_sequence(words), torch.tensor(tags)

            # file: train.py
            import torch
            from torch.utils.data import DataLoader

            from batches import by_length

            loader = DataLoader(torch.load("tagged.pt"), batch_size=16, shuffle=True, collate_fn=by_length)
            for words, tags in loader:
                print(words.batch_sizes, tags)
            """,
            why="Sorting works on one of the two lists; the loader is in another file.",
        ),
        Example(
            """
            import torch
            from torch.utils.data import DataLoader


            def collate(batch):
                lengths, order = torch.tensor([len(words) for words, _ in batch]).sort(descending=True)  # <-- NN113
                words = torch.nn.utils.rnn.pad_sequence([words for words, _ in batch], batch_first=True)
                topics = torch.tensor([topic for _, topic in batch])
                return words[order], topics, lengths


            data = torch.load("news.pt")
            for words, topics, lengths in DataLoader(data, 32, shuffle=True, collate_fn=collate):
                print(words.shape, topics, lengths)
            """,
            why="The order of the lengths is applied to the words alone.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch.nn.utils.rnn import pad_sequence
            from torch.utils.data import DataLoader


            def collate(batch):
                batch = sorted(batch, key=lambda sample: len(sample[0]), reverse=True)
                texts = [torch.tensor(ids) for ids, _ in batch]
                labels = torch.tensor([label for _, label in batch])
                return pad_sequence(texts, batch_first=True), labels


            loader = DataLoader(torch.load("reviews.pt"), batch_size=32, shuffle=True, collate_fn=collate)
            for texts, labels in loader:
                print(texts.shape, labels)
            """,
            why="The samples are sorted as a whole.",
        ),
        Example(
            """
            # file: batches.py
            import torch
            from torch.nn.utils.rnn import pad_sequence


            def collate(batch):
                signals, targets = zip(*batch)
                lengths = torch.tensor([len(s) for s in signals])
                lengths, order = lengths.sort(descending=True)
                padded = pad_sequence(signals, batch_first=True)
                return padded[order], torch.stack(targets)[order], lengths

            # file: train.py
            import torch
            from torch.utils.data import DataLoader

            from batches import collate

            loader = DataLoader(torch.load("signals.pt"), batch_size=32, shuffle=True, collate_fn=collate)
            for signals, targets, lengths in loader:
                print(signals.shape, targets.shape, lengths)
            """,
            why="One index for all parts.",
        ),
        Example(
            """
            import torch
            from torch.nn.utils.rnn import pad_sequence
            from torch.utils.data import DataLoader


            def collate(batch):
                questions = pad_sequence([sample["question"] for sample in batch], batch_first=True)
                answers = torch.tensor([sample["answer"] for sample in batch])
                lengths = torch.tensor([len(sample["question"]) for sample in batch])
                order = torch.argsort(lengths, descending=True)
                return questions[order], lengths[order], answers, order


            class Reader(torch.nn.Module):
                def __init__(self):
                    super().__init__()
                    self.embedding = torch.nn.Embedding(1000, 32)
                    self.lstm = torch.nn.LSTM(32, 64, batch_first=True)

                def forward(self, questions, lengths, order):
                    embedded = self.embedding(questions)
                    packed = torch.nn.utils.rnn.pack_padded_sequence(embedded, lengths, batch_first=True)
                    _, (last, _) = self.lstm(packed)
                    return last[0][torch.argsort(order)]


            reader = Reader()
            loader = DataLoader(torch.load("questions.pt"), batch_size=32, shuffle=True, collate_fn=collate)
            for questions, lengths, answers, order in loader:
                print(reader(questions, lengths, order).shape, answers)
            """,
            why="The order is handed on, and the model undoes it.",
        ),
        Example(
            """
            import torch
            from torch.utils.data import DataLoader


            def collate(batch):
                batch = [sample for sample in batch if sample is not None]
                images = torch.stack([image for image, _ in batch])
                boxes = [target["boxes"] for _, target in batch]
                areas = [sorted(float(a) for a in target["areas"]) for _, target in batch]
                return images, boxes, areas


            loader = DataLoader(torch.load("boxes.pt"), batch_size=8, shuffle=True, collate_fn=collate)
            for images, boxes, areas in loader:
                print(images.shape, len(boxes), areas)
            """,
            why="Samples are dropped whole; what is sorted lies within one sample.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in collating.out_of_step(program):
            words = {
                "sorted": "is sorted here, on its own",
                "filtered": "loses samples here",
                "order": "is brought into the order of this index",
            }[found.kind]
            yield self.finding(
                found.site,
                f"Field {found.moved!r} of the samples {words}, and field {found.left!r} stays as it was: in the "
                "batches of the loader at {0} they belong to different samples.",
                "Sort or filter the samples as a whole before they are taken apart, or apply one index to all parts.",
                evidence=[Hop("the loader that calls this function", found.loader.site)],
            )

    def probe(self, run: Run) -> Iterator[Finding]:
        for collated in run.collated:
            yield self.finding(
                collated.line,
                f"The collate function parts the fields of samples: given the same {collated.samples} samples in "
                f"another order, its {collated.fields} fields do not follow in the same way.",
                "Sort or filter whole samples, not one field: `batch.sort(key=...)` before the fields are taken apart.",
                evidence=[Hop("the batch is put together here", collated.line, f"{collated.samples} samples")],
            )
