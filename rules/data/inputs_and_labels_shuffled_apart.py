"""NN102: inputs and labels are put in two different random orders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import shuffling
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class InputsAndLabelsShuffledApart(Rule):
    """Inputs and labels are shuffled independently, so that each input gets the label of some other one.

    ## What it is

    Two arrays that belong together row by row each go through a random order of their own: `np.random.shuffle(x)`
    and `np.random.shuffle(y)`, two permutations, two calls of `sample(frac=1)`, or one `train_test_split` for the
    inputs and another for the labels. Afterwards they are used as pairs.

    ## Why it hurts training

    The labels are noise. The loss falls to the entropy of the label frequencies and stays there, whatever is done
    to the model or the learning rate; a large network still learns the training set by heart, and the
    validation stays at chance. Nothing raises an error, since all shapes fit.

    ## How it is told apart from code that only looks alike

    - One permutation that indexes both arrays keeps the pairs.
    - The same seed right before both shuffles (`np.random.seed`, `set_state`, equal `random_state`) gives one order.
    - Shuffling a list of pairs (`zip`), a list of indices, or both in one call (`shuffle(x, y)`) is right.
    - Only arrays that are used as pairs count: put into one `TensorDataset`, compared by a loss, split or fitted
      together. Two sets of images without pairs (as in CycleGAN) are shuffled apart on purpose.
    - If only one of the two is shuffled, it may be a permutation test: that is not reported.

    ## What to do

    ```python
    order = np.random.permutation(len(x))
    x, y = x[order], y[order]

    x_train, x_test, y_train, y_test = train_test_split(x, y)
    ```
    """

    code = "NN102"
    name = "inputs-and-labels-shuffled-apart"
    points = (4,)
    severity = Severity.ERROR
    triggers = ("shuffle", "permutation", "randperm", "sample", "train_test_split")

    bad = [
        Example(
            """
            import numpy as np
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            x = np.load("spectra.npy").astype(np.float32)
            y = np.load("minerals.npy")
            np.random.seed(42)
            np.random.shuffle(x)
            np.random.shuffle(y)  # <-- NN102
            split = int(0.9 * len(x))
            train_set = TensorDataset(torch.from_numpy(x[:split]), torch.from_numpy(y[:split]))
            model = nn.Sequential(nn.Linear(300, 64), nn.ReLU(), nn.Linear(64, 9))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(30):
                for inputs, labels in DataLoader(train_set, batch_size=64, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(inputs), labels).backward()
                    optimizer.step()
            """,
            why="Two shuffles in place after one seed; a flat script.",
        ),
        Example(
            """
            import torch
            from torch import nn


            def epoch(model, optimizer, x, y, size):
                order = torch.randperm(len(x))
                inputs = x[order]
                targets = y[torch.randperm(len(y))]  # <-- NN102
                for start in range(0, len(x), size):
                    optimizer.zero_grad()
                    output = model(inputs[start : start + size]).squeeze(1)
                    loss = nn.functional.mse_loss(output, targets[start : start + size])
                    loss.backward()
                    optimizer.step()


            def main():
                x, y = torch.load("turbines.pt")
                model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 1))
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                for _ in range(100):
                    epoch(model, optimizer, x, y, 32)


            if __name__ == "__main__":
                main()
            """,
            why="Two permutations for hand-made mini-batches, in a function.",
        ),
        Example(
            """
            # file: data.py
            import pandas as pd
            import torch
            from sklearn.model_selection import train_test_split


            def load(path):
                frame = pd.read_csv(path)
                inputs, labels = frame.drop(columns="grade"), frame["grade"]
                x_train, x_test = train_test_split(inputs, test_size=0.2)
                y_train, y_test = train_test_split(labels, test_size=0.2)  # <-- NN102
                tensors = [torch.tensor(part.values) for part in (x_train, y_train, x_test, y_test)]
                return tensors
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            from data import load

            x_train, y_train, x_test, y_test = load("students.csv")
            model = nn.Linear(20, 5)
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(20):
                for x, y in DataLoader(TensorDataset(x_train, y_train), batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x.float()), y).backward()
                    optimizer.step()
            print((model(x_test.float()).argmax(1) == y_test).float().mean())
            """,
            why="Inputs and labels are split by two calls, each with its own random order.",
        ),
        Example(
            """
            import pandas as pd
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            class Trainer:
                def __init__(self, features, targets):
                    inputs = features.sample(frac=1).reset_index(drop=True)
                    labels = targets.sample(frac=1).reset_index(drop=True)  # <-- NN102
                    x, y = torch.tensor(inputs.values, dtype=torch.float32), torch.tensor(labels.values)
                    self.loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
                    self.model = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 2))
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def fit(self, epochs):
                    for _ in range(epochs):
                        for x, y in self.loader:
                            self.optimizer.zero_grad()
                            nn.functional.cross_entropy(self.model(x), y).backward()
                            self.optimizer.step()


            Trainer(pd.read_csv("features.csv"), pd.read_csv("targets.csv")["fraud"]).fit(10)
            """,
            why="Two tables, each in an order of its own, in a class.",
        ),
    ]

    good = [
        Example(
            """
            import numpy as np
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            x, y = np.load("x.npy"), np.load("y.npy")
            np.random.seed(7)
            np.random.shuffle(x)
            np.random.seed(7)
            np.random.shuffle(y)

            a, b = np.load("a.npy"), np.load("b.npy")
            state = np.random.get_state()
            np.random.shuffle(a)
            np.random.set_state(state)
            np.random.shuffle(b)

            for inputs, labels in ((x, y), (a, b)):
                data = TensorDataset(torch.from_numpy(inputs).float(), torch.from_numpy(labels))
                model = nn.Linear(inputs.shape[1], 4)
                optimizer = torch.optim.Adam(model.parameters())
                for batch, target in DataLoader(data, batch_size=16, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(batch), target).backward()
                    optimizer.step()
            """,
            why="The generator is set back between the two shuffles: both get one order.",
        ),
        Example(
            """
            # file: shuffle.py
            import random

            import numpy as np


            def in_unison(x, y):
                order = np.random.permutation(len(x))
                return x[order], y[order]


            def pairs(names, labels):
                both = list(zip(names, labels))
                random.shuffle(both)
                names, labels = zip(*both)
                return list(names), list(labels)
            # file: train.py
            import numpy as np
            import torch
            from sklearn.utils import shuffle
            from torch import nn
            from torch.utils.data import TensorDataset

            from shuffle import in_unison, pairs

            x, y = in_unison(np.load("x.npy"), np.load("y.npy"))
            x, y = shuffle(x, y)
            names, kinds = pairs(["a.wav", "b.wav", "c.wav"], [0, 1, 1])
            data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
            model = nn.Linear(10, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for step in range(100):
                order = torch.randperm(len(x))
                inputs, labels = torch.from_numpy(x)[order], torch.from_numpy(y)[order]
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs), labels).backward()
                optimizer.step()
            """,
            why="One permutation for both, pairs shuffled together, and sklearn's shuffle of two arrays.",
        ),
        Example(
            """
            import random

            import numpy as np
            import torch
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import train_test_split
            from torch import nn

            x, y = np.load("x.npy"), np.load("y.npy")
            x_train, x_test = train_test_split(x, test_size=0.2, random_state=0)
            y_train, y_test = train_test_split(y, test_size=0.2, random_state=0)

            # What would chance give? Labels in random order, many times.
            scores = []
            for _ in range(100):
                scores.append(LogisticRegression().fit(x_train, np.random.permutation(y_train)).score(x_test, y_test))
            print(np.mean(scores))

            model = nn.Linear(x.shape[1], 2)
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(100):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(torch.from_numpy(x_train)), torch.from_numpy(y_train)).backward()
                optimizer.step()
            """,
            why="Two splits with one seed, and a permutation test that shuffles only the labels.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Mixup:
                def __init__(self, photos, paintings):
                    self.photos = photos[torch.randperm(len(photos))]
                    self.paintings = paintings[torch.randperm(len(paintings))]

                def unpaired(self, size):
                    for start in range(0, len(self.photos), size):
                        yield self.photos[start : start + size], self.paintings[start : start + size]


            def mixed_loss(model, x, y, weight):
                other = torch.randperm(x.size(0))
                output = model(weight * x + (1 - weight) * x[other])
                loss = nn.functional.cross_entropy
                return weight * loss(output, y) + (1 - weight) * loss(output, y[other])


            def train(model, x, y):
                optimizer = torch.optim.Adam(model.parameters())
                for _ in range(50):
                    optimizer.zero_grad()
                    mixed_loss(model, x, y, 0.7).backward()
                    optimizer.step()


            train(nn.Linear(30, 3), torch.randn(90, 30), torch.randint(0, 3, (90,)))
            """,
            why="Mixup takes the labels by the order of the inputs; photos and paintings are no pairs.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in shuffling.shuffled_apart(program):
            yield self.finding(
                found.labels.site,
                f"The labels get a random order of their own here, the inputs another one at {{0}}; then both are "
                f"{found.use} at {{1}}: every input has the label of some other sample, and there is nothing to learn.",
                "Draw one permutation and index both with it, or shuffle or split both in one call.",
                evidence=[
                    Hop("the inputs get their order here", found.inputs.site),
                    Hop("inputs and labels meet here", found.site),
                ],
            )
