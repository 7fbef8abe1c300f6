"""NN117: samples that belong together are divided at random."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import windows
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class SplitIgnoresGroupsOrTime(Rule):
    """Overlapping windows of one series are split at random, so that the test windows are pieces of training windows.

    ## What it is

    Windows `series[i:i + length]` are cut for every `i`, so that neighbours share all but one of their values. Then
    `train_test_split`, `random_split` or a shuffled `KFold` deals them out at random: nearly every window of the
    evaluation has its neighbours in the training part.

    ## Why it hurts training

    The evaluation asks for values that the network has seen, at the same time, in another window. Learning
    windows by heart is rewarded; the score says nothing about the future. Forecasts that look excellent fail from the
    first day of use. The same holds for patients, speakers or frames of one video that stand on both sides.

    ## How it is told apart from code that only looks alike

    This is a heuristic, and its findings are only likely: it takes every series of overlapping windows for data in
    which neighbours are alike. That is so for measurements, prices, audio and text.

    - Windows that do not overlap (`range(0, n, length)`) share no values.
    - A split in order (`shuffle=False`, `TimeSeriesSplit`, slices, plain `KFold`) keeps neighbours together,
      apart from those at the border.
    - Series that are divided before windows are cut are right.
    - Groups that are not seen in the code (patients, speakers) cannot be found in the source.

    ## What to do

    Divide the series first, then cut windows in each part:

    ```python
    border = int(0.8 * len(series))
    train, test = windows(series[:border]), windows(series[border:])
    ```

    With groups: `GroupKFold` or `GroupShuffleSplit` by patient, speaker, video.
    """

    code = "NN117"
    name = "split-ignores-groups-or-time"
    points = (15,)
    severity = Severity.WARNING
    triggers = ("train_test_split", "random_split", "KFold", "StratifiedKFold")

    bad = [
        Example(
            """
            import numpy as np
            import torch
            from sklearn.model_selection import train_test_split
            from torch import nn

            prices = np.loadtxt("close.csv", dtype=np.float32)
            length = 60
            X = np.stack([prices[i : i + length] for i in range(len(prices) - length)])
            y = prices[length:]
            X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2)  # <-- NN117
            model = nn.Sequential(nn.Linear(60, 32), nn.ReLU(), nn.Linear(32, 1))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(100):
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(torch.from_numpy(X_train)).squeeze(1), torch.from_numpy(y_train))
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                print((model(torch.from_numpy(X_test)).squeeze(1) - torch.from_numpy(y_test)).abs().mean())
            """,
            why="Windows of prices in a comprehension, then a random split; a flat script.",
        ),
        Example(
            """
            # file: data.py
            import torch
            from torch.utils.data import Dataset


            class Windows(Dataset):
                def __init__(self, path, length):
                    self.values = torch.load(path)
                    self.length = length

                def __len__(self):
                    return len(self.values) - self.length

                def __getitem__(self, index):
                    return self.values[index : index + self.length], self.values[index + self.length]
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, random_split

            from data import Windows


            class Trainer:
                def __init__(self):
                    data = Windows("load.pt", 48)
                    self.train_set, self.val_set = random_split(data, [0.8, 0.2])  # <-- NN117
                    self.model = nn.Sequential(nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 1))
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def fit(self):
                    for x, y in DataLoader(self.train_set, batch_size=32, shuffle=True):
                        self.optimizer.zero_grad()
                        nn.functional.mse_loss(self.model(x).squeeze(1), y).backward()
                        self.optimizer.step()

                def validate(self):
                    with torch.no_grad():
                        for x, y in DataLoader(self.val_set, batch_size=256):
                            print((self.model(x).squeeze(1) - y).abs().mean())


            trainer = Trainer()
            trainer.fit()
            trainer.validate()
            """,
            why="The data set cuts a window for each index, and random_split deals them out.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from sklearn.model_selection import KFold
            from torch import nn


            def cut(signal, width):
                windows, following = [], []
                for start in range(len(signal) - width):
                    windows.append(signal[start : start + width])
                    following.append(signal[start + width])
                return np.array(windows), np.array(following)


            def train(x, y):
                model = nn.Linear(x.shape[1], 1)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
                for _ in range(100):
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(x).squeeze(1), y).backward()
                    optimizer.step()
                return model


            def main():
                x, y = cut(np.load("signal.npy"), 32)
                for train_rows, test_rows in KFold(5, shuffle=True).split(x):  # <-- NN117
                    model = train(torch.tensor(x[train_rows]).float(), torch.tensor(y[train_rows]).float())
                    errors = model(torch.tensor(x[test_rows]).float()).squeeze(1) - torch.tensor(y[test_rows]).float()
                    print(errors.abs().mean().item())


            main()
            """,
            why="Lists of windows, shuffled folds.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset, random_split

            river = torch.load("river.pt")
            past = torch.stack([river[t : t + 24] for t in range(len(river) - 24)])
            data = TensorDataset(past, river[24:])
            train_set, test_set = random_split(data, [0.9, 0.1])  # <-- NN117
            model = nn.Sequential(nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 1))
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in DataLoader(train_set, batch_size=64, shuffle=True):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x).squeeze(1), y).backward()
                optimizer.step()
            print(len(test_set))
            """,
            why="Windows in a TensorDataset.",
        ),
    ]

    good = [
        Example(
            """
            import numpy as np
            import torch
            from sklearn.model_selection import train_test_split
            from torch import nn


            def windows(series, length, step):
                return np.stack([series[i : i + length] for i in range(0, len(series) - length, step)])


            prices = np.loadtxt("close.csv", dtype=np.float32)
            apart = np.stack([prices[i : i + 60] for i in range(0, len(prices) - 60, 60)])
            x_train, x_test = train_test_split(apart, test_size=0.2)
            overlapping = np.stack([prices[i : i + 60] for i in range(len(prices) - 60)])
            first, last, y_first, y_last = train_test_split(overlapping, prices[60:], test_size=0.2, shuffle=False)
            some, others = train_test_split(windows(prices, 60, 60))
            model = nn.Linear(60, 60)
            optimizer = torch.optim.Adam(model.parameters())
            for part in (x_train, first, some):
                x = torch.from_numpy(part)
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x), x).backward()
                optimizer.step()
            """,
            why="Windows that do not overlap; a split in order.",
        ),
        Example(
            """
            # file: data.py
            import torch
            from torch.utils.data import Dataset


            class Windows(Dataset):
                def __init__(self, values, length):
                    self.values = values
                    self.length = length

                def __len__(self):
                    return len(self.values) - self.length

                def __getitem__(self, index):
                    return self.values[index : index + self.length], self.values[index + self.length]


            class Blocks(Windows):
                def __len__(self):
                    return len(self.values) // self.length

                def __getitem__(self, index):
                    start = index * self.length
                    return self.values[start : start + self.length], self.values[start]
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, random_split

            from data import Blocks, Windows

            values = torch.load("load.pt")
            border = int(0.8 * len(values))
            train_set, val_set = Windows(values[:border], 48), Windows(values[border:], 48)
            blocks, other_blocks = random_split(Blocks(values, 48), [0.8, 0.2])
            model = nn.Linear(48, 1)
            optimizer = torch.optim.Adam(model.parameters())
            for data in (train_set, blocks):
                for x, y in DataLoader(data, batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(x).squeeze(1), y).backward()
                    optimizer.step()
            print(len(val_set), len(other_blocks))
            """,
            why="The series is divided before windows are cut; blocks share no values.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from sklearn.model_selection import KFold, TimeSeriesSplit
            from torch import nn


            class Study:
                def __init__(self, signal, width):
                    self.x = np.stack([signal[i : i + width] for i in range(len(signal) - width)])
                    self.y = signal[width:]

                def run(self, splitter):
                    for train, test in splitter.split(self.x):
                        model = nn.Linear(self.x.shape[1], 1)
                        optimizer = torch.optim.Adam(model.parameters())
                        x, y = torch.tensor(self.x[train]).float(), torch.tensor(self.y[train]).float()
                        optimizer.zero_grad()
                        nn.functional.mse_loss(model(x).squeeze(1), y).backward()
                        optimizer.step()


            study = Study(np.load("signal.npy"), 16)
            study.run(TimeSeriesSplit(5))
            study.run(KFold(5))
            """,
            why="Folds in the order of time.",
        ),
        Example(
            """
            import torch
            from sklearn.model_selection import train_test_split
            from torch import nn

            x, y = torch.load("rows.pt")
            x_train, x_test, y_train, y_test = train_test_split(x, y)
            model = nn.Linear(x.shape[1], 1)
            optimizer = torch.optim.Adam(model.parameters())
            for start in range(0, len(x_train), 32):
                optimizer.zero_grad()
                output = model(x_train[start : start + 32]).squeeze(1)
                nn.functional.mse_loss(output, y_train[start : start + 32]).backward()
                optimizer.step()
            """,
            why="Slices of mini-batches are no windows.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in windows.split_windows(program):
            yield self.finding(
                found.split,
                "Overlapping windows of a series (cut at {0}) are divided at random: nearly every window of the "
                "evaluation has neighbours in the training part that share all but a few of its values.",
                "Divide the series first, then cut windows in each part; or split in order of time.",
                evidence=[Hop("the windows are cut here", found.cut)],
                confidence=Confidence.LIKELY,
            )
