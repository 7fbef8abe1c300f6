"""NN118: the column of the labels is among the inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import features
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class TargetInFeatures(Rule):
    """The inputs still contain the column that is to be predicted.

    ## What it is

    Labels are taken from a column of a table, and the inputs are the table itself, or columns of it among which the
    label is: it was never dropped, it stands in the list of features, or a slice of columns reaches one too far.

    ## Why it hurts training

    The network reads the answer off its input. The loss goes to zero within an epoch, training and validation score
    are perfect, and whatever is tried makes no difference. For new data, where the column is empty or filled
    with a guess, the model is worth nothing.

    ## How it is told apart from code that only looks alike

    - `drop`, `pop`, `del`, and a choice of columns without the label take it out. Where they cannot be read (a list
      that is computed, columns by number of a table with names), nothing is reported.
    - In forecasts the past of the target is a fair input: rows of inputs and labels must be chosen alike.
    - Only inputs and labels that meet count: in a loss, in a dataset, in `fit`. A table that is split as a whole and
      loses the column afterwards is fine.
    - Labels that are computed from columns are not followed.

    In a run: up to 1024 samples with at most 64 columns are looked at; a column is reported if it has as many
    different values as there are classes (2 to 20, each with 5 samples at least), one for each.

    ## What to do

    Take the column out where inputs and labels are separated, and look at the columns that are left:

    ```python
    y = table["target"]
    x = table.drop(columns="target")
    ```
    """

    code = "NN118"
    name = "target-in-features"
    points = (5, 15)
    severity = Severity.ERROR
    triggers = ("read_csv", "read_parquet", "read_excel", "loadtxt", "genfromtxt", "load", "DataFrame")

    bad = [
        Example(
            """
            import pandas as pd
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            df = pd.read_csv("diabetes.csv")
            y = df["outcome"]
            X = df.drop(columns=["patient_id"])  # <-- NN118
            data = TensorDataset(torch.tensor(X.values).float(), torch.tensor(y.values).float())
            model = nn.Sequential(nn.Linear(9, 16), nn.ReLU(), nn.Linear(16, 1))
            criterion = nn.BCEWithLogitsLoss()
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(20):
                for x, outcome in DataLoader(data, batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    criterion(model(x).squeeze(1), outcome).backward()
                    optimizer.step()
            """,
            why="Another column was dropped, the label was not; a flat script.",
        ),
        Example(
            """
            import pandas as pd
            import torch
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import StandardScaler
            from torch import nn

            COLUMNS = ["area", "rooms", "age", "price"]


            def prepare(path):
                houses = pd.read_csv(path).dropna()
                parts = train_test_split(houses[COLUMNS], houses["price"])  # <-- NN118
                x_train, x_test, y_train, y_test = parts
                scaler = StandardScaler().fit(x_train)
                x_train = torch.tensor(scaler.transform(x_train)).float()
                return x_train, torch.tensor(y_train.values).float()


            def main():
                x, y = prepare("houses.csv")
                model = nn.Linear(4, 1)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
                for _ in range(500):
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(x).squeeze(1), y).backward()
                    optimizer.step()


            main()
            """,
            why="The list of features has the label in it, in functions.",
        ),
        Example(
            """
            # file: data.py
            import numpy as np
            import torch
            from torch.utils.data import Dataset


            class Pima(Dataset):
                def __init__(self, path):
                    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
                    self.x = torch.from_numpy(table[:, :9])  # <-- NN118
                    self.y = torch.from_numpy(table[:, 8])

                def __len__(self):
                    return len(self.y)

                def __getitem__(self, index):
                    return self.x[index], self.y[index]
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from data import Pima


            class Trainer:
                def __init__(self, path):
                    self.loader = DataLoader(Pima(path), batch_size=32, shuffle=True)
                    self.model = nn.Sequential(nn.Linear(9, 12), nn.ReLU(), nn.Linear(12, 1), nn.Sigmoid())
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def epoch(self):
                    for x, y in self.loader:
                        self.optimizer.zero_grad()
                        nn.functional.binary_cross_entropy(self.model(x).squeeze(1), y).backward()
                        self.optimizer.step()


            Trainer("pima.csv").epoch()
            """,
            why="The slice of columns reaches one too far, in a Dataset of another file.",
        ),
        Example(
            """
            import pandas as pd
            import torch
            from torch import nn

            wine = pd.read_csv("wine.csv", sep=";")
            inputs = torch.tensor(wine.values, dtype=torch.float32)  # <-- NN118
            quality = torch.tensor(wine["quality"].values, dtype=torch.float32)
            model = nn.Sequential(nn.BatchNorm1d(12), nn.Linear(12, 1))
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
            for step in range(300):
                rows = torch.randperm(len(inputs))[:64]
                loss = nn.functional.mse_loss(model(inputs[rows]).squeeze(1), quality[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            """,
            why="The whole table is the input.",
        ),
    ]

    good = [
        Example(
            """
            import pandas as pd
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            def dropped(path):
                df = pd.read_csv(path)
                return df.drop(["id", "outcome"], axis=1), df["outcome"]


            def popped(path):
                df = pd.read_csv(path)
                y = df.pop("outcome")
                return df, y


            def deleted(path):
                df = pd.read_csv(path)
                y = df["outcome"]
                del df["outcome"]
                return df, y


            def in_place(path):
                df = pd.read_csv(path)
                y = df["outcome"]
                df.drop(columns="outcome", inplace=True)
                return df, y


            for read in (dropped, popped, deleted, in_place):
                x, y = read("diabetes.csv")
                data = TensorDataset(torch.tensor(x.values).float(), torch.tensor(y.values).float())
                model = nn.Linear(8, 1)
                optimizer = torch.optim.Adam(model.parameters())
                for inputs, outcome in DataLoader(data, batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(inputs).squeeze(1), outcome).backward()
                    optimizer.step()
            """,
            why="Four ways to take the column out.",
        ),
        Example(
            """
            # file: data.py
            import numpy as np
            import pandas as pd
            import torch
            from torch.utils.data import Dataset


            class Forecast(Dataset):
                def __init__(self, path, length):
                    self.table = torch.from_numpy(np.loadtxt(path, delimiter=",")).float()
                    self.length = length

                def __len__(self):
                    return len(self.table) - self.length

                def __getitem__(self, index):
                    return self.table[index : index + self.length], self.table[index + self.length, 0]


            def houses(path):
                frame = pd.read_csv(path)
                train, test = frame[:800], frame[800:]
                return train.drop("price", axis=1), train.iloc[:, -1], test
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from data import Forecast, houses

            model = nn.Sequential(nn.Flatten(), nn.Linear(240, 1))
            optimizer = torch.optim.Adam(model.parameters())
            for past, level in DataLoader(Forecast("river.csv", 24), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(past).squeeze(1), level).backward()
                optimizer.step()
            x, y, _ = houses("houses.csv")
            x, y = torch.tensor(x.values).float(), torch.tensor(y.values).float()
            linear = nn.Linear(12, 1)
            descent = torch.optim.SGD(linear.parameters(), lr=0.1)
            nn.functional.mse_loss(linear(x).squeeze(1), y).backward()
            descent.step()
            """,
            why="The past of the target in a forecast; a column that is dropped by name and taken by number.",
        ),
        Example(
            """
            import pandas as pd
            import torch
            from sklearn.model_selection import train_test_split
            from torch import nn


            class Experiment:
                def __init__(self, path):
                    frame = pd.read_csv(path)
                    train, test, y_train, y_test = train_test_split(frame, frame["label"], stratify=frame["label"])
                    numeric = [c for c in frame.columns if c != "label"]
                    self.x = torch.tensor(train[numeric].values).float()
                    self.x_test = torch.tensor(test.drop(columns="label").values).float()
                    self.y = torch.tensor(y_train.values)
                    self.model = nn.Linear(len(numeric), 3)

                def fit(self):
                    optimizer = torch.optim.Adam(self.model.parameters())
                    for _ in range(50):
                        optimizer.zero_grad()
                        nn.functional.cross_entropy(self.model(self.x), self.y).backward()
                        optimizer.step()


            Experiment("shapes.csv").fit()
            """,
            why="The table is split as a whole; the column goes afterwards.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            table = np.genfromtxt("sensors.csv", delimiter=",", dtype=np.float32)
            x, y = torch.from_numpy(table[:, :-1]), torch.from_numpy(table[:, -1])
            first, second = torch.from_numpy(table[:, 0:8]), torch.from_numpy(table[:, 8])
            autoencoder, regression = nn.Linear(8, 8), nn.Linear(8, 1)
            optimizer = torch.optim.Adam([*autoencoder.parameters(), *regression.parameters()])
            for inputs, target in DataLoader(TensorDataset(first, second), batch_size=16, shuffle=True):
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(regression(inputs).squeeze(1), target)
                loss = loss + nn.functional.mse_loss(autoencoder(inputs), inputs)
                loss.backward()
                optimizer.step()
            print(regression(x[:5, :8]), y[:5])
            """,
            why="Slices that end before the label; an autoencoder.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in features.target_in_features(program):
            yield self.finding(
                found.site,
                f"The inputs hold the column {found.column!r}, from which the labels are taken (they are {found.used} "
                "at {0}): the model reads the answer off its input, and is worth nothing on new data.",
                "Take the column out of the inputs: `table.drop(columns=...)`, or choose the columns without it.",
                evidence=[Hop("inputs and labels meet here", found.labels)],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for loader in run.loaders:
            if loader.line is None or not loader.trains or not loader.telling or len(loader.labels) < 2:
                continue
            columns = ", ".join(map(str, loader.telling[:5]))
            yield self.finding(
                loader.line,
                f"Column {columns} of the inputs holds one value for each of the {len(loader.labels)} classes and "
                "nothing else: the model reads the answer off its input, and is worth nothing on new data.",
                "Take the column out of the inputs, or say that the task is that easy.",
                evidence=[Hop("inputs and labels are read here", loader.read_at, f"column {columns}")],
            )
