"""NN202: preprocessing is fitted on the data that is held out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import leaks
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class FittedOnEvaluationData(Rule):
    """A scaler, encoder or reduction is fitted on the validation or test data, apart from the training data.

    ## What it is

    `fit_transform` (or `fit`) is called for the held-out part as it was for the training part, where `transform`
    alone belongs. The same by hand: the test data is divided by a mean and standard deviation of its own.

    ## Why it hurts training

    The same raw value means one thing in training and another in the evaluation: the mean of *each* part becomes 0,
    so a shift between the parts, which the model would meet in use, is hidden. A PCA or a vectorizer that is fitted
    twice gives unrelated columns, and the score is that of noise. The size of the error depends on the size of
    the test set: one sample alone cannot be predicted at all. And the numbers of the test set go into its own
    inputs, so the score is not that of unseen data.

    ## How it is told apart from code that only looks alike

    - `transform` on the held-out part after `fit` on the training part is right.
    - Which part is held out is known from the division (the second result of `train_test_split`, the test indices of
      a fold) or from its name in the data (`"test.csv"`, `split == "test"`, `data["test"]`), never from a variable.
    - A part on which a model is trained as well is not held out.
    - A second object of a class that is also used for pictures (PCA) is not reported; the same object fitted twice is.
    - Encoders of labels, and statistics of a single sample, learn nothing from the other samples.
    - Fitting once more on all data for the final model concerns no held-out part.

    ## What to do

    ```python
    x_train = scaler.fit_transform(x_train)
    x_test = scaler.transform(x_test)          # not fit_transform
    ```
    """

    code = "NN202"
    name = "fitted-on-evaluation-data"
    points = (15,)
    severity = Severity.ERROR
    triggers = ("fit", "fit_transform", "train_test_split", "mean")

    bad = [
        Example(
            """
            import pandas as pd
            import torch
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import StandardScaler
            from torch import nn

            df = pd.read_csv("heart.csv")
            X = df.drop("target", axis=1).values
            y = df["target"].values
            X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)

            sc = StandardScaler()
            X_train = sc.fit_transform(X_train)
            X_test = sc.fit_transform(X_test)  # <-- NN202

            X_train, y_train = torch.FloatTensor(X_train), torch.LongTensor(y_train)
            X_test, y_test = torch.FloatTensor(X_test), torch.LongTensor(y_test)
            model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 2))
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
            for epoch in range(300):
                optimizer.zero_grad()
                loss = criterion(model(X_train), y_train)
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                print((model(X_test).argmax(1) == y_test).float().mean())
            """,
            why="The line for the training data was copied; a flat script.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from sklearn.decomposition import PCA
            from sklearn.model_selection import KFold
            from torch import nn


            def train(x, y):
                net = nn.Linear(x.shape[1], 3)
                opt = torch.optim.SGD(net.parameters(), lr=0.1)
                for _ in range(200):
                    opt.zero_grad()
                    nn.functional.cross_entropy(net(x), y).backward()
                    opt.step()
                return net


            def cross_validate(x, y):
                accuracies = []
                for fold, (train_idx, val_idx) in enumerate(KFold(n_splits=5, shuffle=True).split(x)):
                    pca = PCA(n_components=16)
                    x_train = torch.from_numpy(pca.fit_transform(x[train_idx])).float()
                    x_val = torch.from_numpy(pca.fit_transform(x[val_idx])).float()  # <-- NN202
                    net = train(x_train, torch.from_numpy(y[train_idx]))
                    hits = net(x_val).argmax(1) == torch.from_numpy(y[val_idx])
                    accuracies.append(hits.float().mean().item())
                    print(fold, accuracies[-1])
                return accuracies


            archive = np.load("spectra.npz")
            print(np.mean(cross_validate(archive["x"], archive["y"])))
            """,
            why="A PCA that is fitted anew on the validation rows of each fold, in functions.",
        ),
        Example(
            """
            # file: data/__init__.py
            # file: data/tables.py
            import pandas as pd
            import torch
            from sklearn.preprocessing import MinMaxScaler
            from torch.utils.data import TensorDataset


            def to_dataset(frame, columns):
                return TensorDataset(
                    torch.tensor(frame[columns].values).float(), torch.tensor(frame["price"].values).float()
                )


            def load(columns):
                train = pd.read_csv("data/houses_train.csv").dropna()
                test = pd.read_csv("data/houses_test.csv").dropna()
                train[columns] = MinMaxScaler().fit_transform(train[columns])
                test[columns] = MinMaxScaler().fit_transform(test[columns])  # <-- NN202
                return to_dataset(train, columns), to_dataset(test, columns)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from data.tables import load

            train_set, test_set = load(["area", "rooms", "age"])
            model = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 1))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(20):
                for x, price in DataLoader(train_set, batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(x).squeeze(1), price).backward()
                    optimizer.step()
            with torch.no_grad():
                print([nn.functional.mse_loss(model(x).squeeze(1), p).item() for x, p in DataLoader(test_set, 256)])
            """,
            why="Two files, each with a scaler of its own, in a package.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from sklearn.model_selection import train_test_split
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            class Experiment:
                def __init__(self, path):
                    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
                    x, y = table[:, :-1], table[:, -1].astype(np.int64)
                    x_train, x_val, y_train, y_val = train_test_split(x, y, stratify=y)
                    inputs = (x_train - x_train.mean(axis=0)) / x_train.std(axis=0)
                    held_out = (x_val - x_val.mean(axis=0)) / x_val.std(axis=0)  # <-- NN202
                    self.train_set = TensorDataset(torch.from_numpy(inputs), torch.from_numpy(y_train))
                    self.x_val, self.y_val = torch.from_numpy(held_out), torch.from_numpy(y_val)
                    self.model = nn.Sequential(nn.Linear(x.shape[1], 20), nn.Tanh(), nn.Linear(20, 4))
                    self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

                def run(self):
                    for epoch in range(40):
                        for x, y in DataLoader(self.train_set, batch_size=16, shuffle=True):
                            self.optimizer.zero_grad()
                            nn.functional.cross_entropy(self.model(x), y).backward()
                            self.optimizer.step()
                        with torch.no_grad():
                            print(epoch, nn.functional.cross_entropy(self.model(self.x_val), self.y_val).item())


            Experiment("glass.csv").run()
            """,
            why="Each part is normalised by its own mean and deviation, by hand, in a class.",
        ),
        Example(
            """
            import os

            import numpy as np
            from sklearn.preprocessing import StandardScaler
            from torch.utils.data import Dataset


            class Segments(Dataset):
                def __init__(self, root, window, flag="train"):
                    self.window = window
                    scaler = StandardScaler()
                    train = np.load(os.path.join(root, "sensor_train.npy"))
                    test = np.load(os.path.join(root, "sensor_test.npy"))
                    scaler.fit(train)
                    self.data = scaler.transform(train) if flag == "train" else scaler.fit_transform(test)  # <-- NN202

                def __len__(self):
                    return len(self.data) // self.window

                def __getitem__(self, index):
                    return self.data[index * self.window : (index + 1) * self.window]
            """,
            why="The parts are known by the files that they are read from.",
        ),
    ]

    good = [
        Example(
            """
            import pandas as pd
            import torch
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import LabelEncoder, StandardScaler
            from torch import nn

            df = pd.read_csv("seeds.csv")
            X_train, X_test, y_train, y_test = train_test_split(df.iloc[:, :-1], df.iloc[:, -1], test_size=0.2)
            encoder = LabelEncoder()
            y_train = encoder.fit_transform(y_train)
            y_test = encoder.transform(y_test)
            scaler = StandardScaler()
            X_train = torch.tensor(scaler.fit_transform(X_train)).float()
            X_test = torch.tensor(scaler.transform(X_test)).float()
            model = nn.Linear(7, 3)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(100):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(X_train), torch.tensor(y_train)).backward()
                optimizer.step()
            print((model(X_test).argmax(1) == torch.tensor(y_test)).float().mean())
            """,
            why="Fitted on the training part, applied to both.",
        ),
        Example(
            """
            # file: prepare.py
            import numpy as np
            from sklearn.preprocessing import StandardScaler


            def scale(train, *others):
                scaler = StandardScaler().fit(train)
                return [scaler.transform(part).astype(np.float32) for part in (train, *others)]
            # file: train.py
            import pandas as pd
            import torch
            from sklearn.model_selection import train_test_split
            from torch import nn

            from prepare import scale

            frame = pd.read_csv("wells.csv")
            rest, test = train_test_split(frame, test_size=0.2)
            train, val = train_test_split(rest, test_size=0.2)
            inputs = ["depth", "flow"]
            x_train, x_val, x_test = scale(train[inputs], val[inputs], test[inputs])
            model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(200):
                optimizer.zero_grad()
                target = torch.tensor(train["yield"].values).float()
                nn.functional.mse_loss(model(torch.from_numpy(x_train)).squeeze(1), target).backward()
                optimizer.step()
            # The model for the customer is fitted on everything.
            everything = pd.concat([train, val, test])
            final = scale(everything[inputs])
            print(len(final[0]))
            """,
            why="A helper fits on its first argument; at the end everything is scaled once more for delivery.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from sklearn.model_selection import KFold
            from sklearn.preprocessing import StandardScaler
            from torch import nn

            x, y = np.load("x.npy"), np.load("y.npy")
            for train, test in KFold(4).split(x):
                for first, second in ((train, test), (test, train)):
                    scaler = StandardScaler()
                    inputs = torch.tensor(scaler.fit_transform(x[first])).float()
                    model = nn.Linear(x.shape[1], 1)
                    optimizer = torch.optim.Adam(model.parameters())
                    for _ in range(50):
                        optimizer.zero_grad()
                        nn.functional.mse_loss(model(inputs).squeeze(1), torch.tensor(y[first])).backward()
                        optimizer.step()
                    outputs = model(torch.tensor(scaler.transform(x[second])).float())
                    print(nn.functional.mse_loss(outputs.squeeze(1), torch.tensor(y[second])).item())
            """,
            why="Both halves of a fold train in turn: each is scaled by what its own model was trained on.",
        ),
        Example(
            """
            import matplotlib.pyplot as plt
            import numpy as np
            import torch
            from sklearn.decomposition import PCA
            from sklearn.model_selection import train_test_split
            from torch import nn


            class Study:
                def __init__(self, x, y):
                    self.x_train, self.x_test, self.y_train, self.y_test = train_test_split(x, y)
                    self.mean, self.std = self.x_train.mean(axis=0), self.x_train.std(axis=0)
                    self.pca = PCA(20).fit(self.x_train)
                    self.model = nn.Linear(20, 5)

                def inputs(self, x):
                    return torch.from_numpy(self.pca.transform((x - self.mean) / self.std)).float()

                def train(self):
                    optimizer = torch.optim.Adam(self.model.parameters())
                    for _ in range(100):
                        optimizer.zero_grad()
                        output = self.model(self.inputs(self.x_train))
                        nn.functional.cross_entropy(output, torch.from_numpy(self.y_train)).backward()
                        optimizer.step()

                def picture(self):
                    points = PCA(2).fit_transform(self.x_test)
                    plt.scatter(points[:, 0], points[:, 1], c=self.y_test)
                    plt.savefig("test.png")


            study = Study(np.load("x.npy"), np.load("y.npy"))
            study.train()
            study.picture()
            """,
            why="A PCA of the test data only for a picture; the inputs use statistics of the training part.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for use in leaks.fitted_on_held_out(program):
            again = "again" if use.again else "a second time"
            yield self.finding(
                use.site,
                f"`{use.what}` is fitted {again} on held-out data ({use.share.words}): the same value means one thing "
                "in training and another in the evaluation, and the score is not that of unseen data.",
                "Fit on the training part only, and call `transform` for the other parts.",
                evidence=self._evidence(use),
            )
        for use in leaks.normalised_alone(program):
            yield self.finding(
                use.site,
                f"`{use.what}` is taken of held-out data ({use.share.words}) to normalise it: the same value means one "
                "thing in training and another in the evaluation, and the score is not that of unseen data.",
                "Keep the mean and deviation of the training part, and use them for the other parts.",
                evidence=self._evidence(use),
            )

    def _evidence(self, use: leaks.FittedOnHeldOut) -> list[Hop]:
        hops = [Hop("the training part is treated here", use.trained)]
        return [*hops, Hop("the data is divided here", use.share.site)] if use.share.site is not None else hops
