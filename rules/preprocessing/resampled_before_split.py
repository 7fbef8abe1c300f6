"""NN209: rows are multiplied before the data is split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import resampling
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class ResampledBeforeSplit(Rule):
    """Rows are duplicated or synthesised first and the data is split afterwards: copies land on both sides.

    ## What it is

    SMOTE or another oversampler, drawing with replacement, or appending copies (flipped, with noise) makes more rows
    out of the rows there are. Only then the data is divided into training and evaluation parts, at random.

    ## Why it hurts training

    A row of the evaluation part has its copy, or its synthetic neighbour, in the training part. The model is
    rewarded for learning rows by heart, the score of the rare class is often near perfect, and nothing of it is
    left on new data. Besides, the evaluation part no longer has the class frequencies of the world.

    ## How it is told apart from code that only looks alike

    - Oversampling of the training part alone, after the split, is right.
    - Leaving rows out (`RandomUnderSampler`, `resample(replace=False)`) makes no copies.
    - A sampler inside an imblearn `Pipeline` is applied anew to each training fold.
    - New columns (`axis=1`) are not new rows; joining different files is not copying.
    - Drawing with replacement for a bootstrap, with nothing split afterwards, leaks nothing.

    ## What to do

    ```python
    x_train, x_test, y_train, y_test = train_test_split(x, y, stratify=y)
    x_train, y_train = SMOTE().fit_resample(x_train, y_train)
    ```

    In cross-validation: `imblearn.pipeline.make_pipeline(SMOTE(), model)`. For networks a `WeightedRandomSampler` or
    weights in the loss need no copies at all.
    """

    code = "NN209"
    name = "resampled-before-split"
    points = (15,)
    severity = Severity.ERROR
    triggers = ("train_test_split", "random_split", "split", "cross_val_score", "cross_validate", "fit_resample")

    bad = [
        Example(
            """
            import pandas as pd
            import torch
            from imblearn.over_sampling import SMOTE
            from sklearn.model_selection import train_test_split
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            df = pd.read_csv("creditcard.csv")
            X, y = df.drop(columns="Class"), df["Class"]
            smote = SMOTE(random_state=42)
            X_res, y_res = smote.fit_resample(X, y)  # <-- NN209
            X_train, X_test, y_train, y_test = train_test_split(X_res, y_res, test_size=0.2)
            train_set = TensorDataset(torch.tensor(X_train.values).float(), torch.tensor(y_train.values))
            model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 2))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(10):
                for x, fraud in DataLoader(train_set, batch_size=256, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x), fraud).backward()
                    optimizer.step()
            predicted = model(torch.tensor(X_test.values).float()).argmax(1)
            print((predicted == torch.tensor(y_test.values)).float().mean())
            """,
            why="SMOTE, then train_test_split; a flat script.",
        ),
        Example(
            """
            # file: data.py
            import pandas as pd
            from sklearn.utils import resample


            def balanced(path):
                frame = pd.read_csv(path)
                healthy, ill = frame[frame["ill"] == 0], frame[frame["ill"] == 1]
                more = resample(ill, replace=True, n_samples=len(healthy))  # <-- NN209
                return pd.concat([healthy, more])
            # file: train.py
            import torch
            from sklearn.model_selection import train_test_split
            from torch import nn

            from data import balanced


            def main():
                train, test = train_test_split(balanced("patients.csv"), test_size=0.25)
                x = torch.tensor(train.drop(columns="ill").values).float()
                y = torch.tensor(train["ill"].values)
                model = nn.Linear(x.shape[1], 2)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
                for _ in range(200):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x), y).backward()
                    optimizer.step()
                print(len(test))


            main()
            """,
            why="The rare class is drawn with replacement in a helper; main splits the result.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset, random_split


            class Experiment:
                def __init__(self, path):
                    archive = np.load(path)
                    x, y = archive["signals"], archive["labels"]
                    noisy = x + 0.01 * np.random.randn(*x.shape)
                    inputs = np.concatenate([x, noisy])  # <-- NN209
                    labels = np.concatenate([y, y])
                    data = TensorDataset(torch.from_numpy(inputs).float(), torch.from_numpy(labels))
                    self.train_set, self.val_set = random_split(data, [0.8, 0.2])
                    self.model = nn.Sequential(nn.Linear(x.shape[1], 32), nn.ReLU(), nn.Linear(32, 5))
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def run(self):
                    for x, y in DataLoader(self.train_set, batch_size=32, shuffle=True):
                        self.optimizer.zero_grad()
                        nn.functional.cross_entropy(self.model(x), y).backward()
                        self.optimizer.step()
                    with torch.no_grad():
                        for x, y in DataLoader(self.val_set, batch_size=256):
                            print((self.model(x).argmax(1) == y).float().mean().item())


            Experiment("signals.npz").run()
            """,
            why="Noisy copies are appended before random_split, in a class.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from imblearn.over_sampling import RandomOverSampler
            from sklearn.model_selection import StratifiedKFold
            from torch import nn


            def train(x, y):
                model = nn.Linear(x.shape[1], 2)
                optimizer = torch.optim.Adam(model.parameters())
                for _ in range(100):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(torch.tensor(x).float()), torch.tensor(y)).backward()
                    optimizer.step()
                return model


            x, y = np.load("x.npy"), np.load("y.npy")
            sampler = RandomOverSampler()
            xs, ys = sampler.fit_resample(x, y)  # <-- NN209
            for fold, (train_rows, val_rows) in enumerate(StratifiedKFold(5).split(xs, ys)):
                model = train(xs[train_rows], ys[train_rows])
                hits = model(torch.tensor(xs[val_rows]).float()).argmax(1).numpy() == ys[val_rows]
                print(fold, hits.mean())
            """,
            why="Copies of the rare rows are spread over the folds of a cross-validation.",
        ),
    ]

    good = [
        Example(
            """
            import pandas as pd
            import torch
            from imblearn.over_sampling import SMOTE
            from sklearn.model_selection import train_test_split
            from torch import nn

            df = pd.read_csv("creditcard.csv")
            X, y = df.drop(columns="Class"), df["Class"]
            X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y)
            X_train, y_train = SMOTE().fit_resample(X_train, y_train)
            model = nn.Linear(30, 2)
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(100):
                optimizer.zero_grad()
                scores = model(torch.tensor(X_train.values).float())
                nn.functional.cross_entropy(scores, torch.tensor(y_train.values)).backward()
                optimizer.step()
            print((model(torch.tensor(X_test.values).float()).argmax(1) == torch.tensor(y_test.values)).float().mean())
            """,
            why="The split comes first, and only the training part is resampled.",
        ),
        Example(
            """
            # file: data.py
            import pandas as pd
            from imblearn.under_sampling import RandomUnderSampler
            from sklearn.utils import resample


            def thinned(frame):
                healthy, ill = frame[frame["ill"] == 0], frame[frame["ill"] == 1]
                return pd.concat([resample(healthy, replace=False, n_samples=len(ill)), ill])


            def undersampled(x, y):
                return RandomUnderSampler().fit_resample(x, y)
            # file: train.py
            import pandas as pd
            import torch
            from imblearn.over_sampling import SMOTE
            from imblearn.pipeline import make_pipeline
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import cross_val_score, train_test_split
            from torch import nn

            from data import thinned, undersampled

            frame = pd.concat([pd.read_csv("a.csv"), pd.read_csv("b.csv")])
            train, test = train_test_split(thinned(frame))
            x, y = undersampled(frame.drop(columns="ill"), frame["ill"])
            x_train, x_test, y_train, y_test = train_test_split(x, y)
            print(cross_val_score(make_pipeline(SMOTE(), LogisticRegression()), x, y))
            model = nn.Linear(10, 2)
            optimizer = torch.optim.Adam(model.parameters())
            for _ in range(10):
                optimizer.zero_grad()
                scores = model(torch.tensor(x_train.values))
                nn.functional.cross_entropy(scores, torch.tensor(y_train.values)).backward()
                optimizer.step()
            """,
            why="Rows are only left out; oversampling happens inside each fold; two files are joined.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from sklearn.model_selection import train_test_split
            from torch import nn


            class Features:
                def __init__(self, path):
                    x, y = np.load(path)["x"], np.load(path)["y"]
                    x = np.concatenate([x, x**2], axis=1)
                    self.x_train, self.x_test, self.y_train, self.y_test = train_test_split(x, y)
                    self.x_train = np.concatenate([self.x_train, self.x_train[:, ::-1]])
                    self.y_train = np.concatenate([self.y_train, self.y_train])

                def fit(self):
                    model = nn.Linear(self.x_train.shape[1], 1)
                    optimizer = torch.optim.Adam(model.parameters())
                    for _ in range(50):
                        optimizer.zero_grad()
                        output = model(torch.from_numpy(self.x_train).float()).squeeze(1)
                        nn.functional.mse_loss(output, torch.from_numpy(self.y_train).float()).backward()
                        optimizer.step()
                    return model


            Features("curves.npz").fit()
            """,
            why="New columns before the split, copies of rows only of the training part.",
        ),
        Example(
            """
            import numpy as np
            import pandas as pd
            import torch
            from sklearn.utils import resample
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler, random_split

            frame = pd.read_csv("scores.csv")
            means = [resample(frame["score"], n_samples=len(frame)).mean() for _ in range(1000)]
            print(np.percentile(means, [2.5, 97.5]), frame.sample(n=100, replace=True)["score"].std())

            x, y = torch.load("rare.pt")
            train_set, val_set = random_split(TensorDataset(x, y), [0.8, 0.2])
            weights = 1.0 / torch.bincount(y).float()
            sampler = WeightedRandomSampler(weights[y[train_set.indices]], len(train_set), replacement=True)
            model = nn.Linear(x.shape[1], 2)
            optimizer = torch.optim.Adam(model.parameters())
            for inputs, labels in DataLoader(train_set, batch_size=32, sampler=sampler):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs), labels).backward()
                optimizer.step()
            """,
            why="A bootstrap of a mean, and a sampler that repeats rows of the training part.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in resampling.resampled_before_split(program):
            yield self.finding(
                found.site,
                f"{found.what[:1].upper()}{found.what[1:]}, and the result is split at {{0}}: rows of the evaluation "
                "part have their copies in the training part, and the score is too good.",
                "Split first, and multiply rows of the training part only.",
                evidence=[Hop("the data is split here, afterwards", found.split)],
            )
