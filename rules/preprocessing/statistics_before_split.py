"""NN201: statistics of all data are taken before it is split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import lineage
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class StatisticsBeforeSplit(Rule):
    """Means, scalers or other fitted preprocessing see the validation and test data before these are split off.

    ## What it is

    A mean, a standard deviation, a minimum or maximum, or an object with `fit` (scaler, PCA, imputer, feature
    selection) is computed from the whole data set. The data is divided into training and evaluation parts
    only afterwards, by `train_test_split`, `random_split`, cross-validation or slicing.

    ## Why it hurts training

    The training data then carries information about samples that count as unseen. The score of the evaluation
    is better than that of new data will be, and the choice of model, of features and of the moment to stop
    follows the better score. For a mean over many similar rows the effect is small; for feature selection
    and for target-dependent encodings it can turn pure noise into an excellent result, and in time series it
    lets the past know the future.

    ## How it is told apart from code that only looks alike

    - Encoders of *labels*, and vocabularies of fixed categories, learn names and not statistics.
    - Statistics per sample (an image, a recording, a row) do not cross the border between the parts.
    - Constants (`/ 255`, the means of ImageNet) were computed elsewhere.
    - A scaler inside a scikit-learn `Pipeline` is fitted anew on each training part.
    - Statistics of the training indices alone are right, though the array still holds all rows.
    - An image that is normalised by its own mean and then cut in pieces is one sample. Where rows are cut together with
      another axis, only a fitted object or a statistic along the rows counts.
    - Numbers that are only printed or plotted (`describe()`, a PCA for a figure) go into no model.
    - Where nothing is split, nothing leaks.

    ## What to do

    Split first, fit on the training part, and only transform the rest:

    ```python
    x_train, x_test, y_train, y_test = train_test_split(x, y)
    scaler = StandardScaler().fit(x_train)
    x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)
    ```
    """

    code = "NN201"
    name = "statistics-before-split"
    points = (15,)
    severity = Severity.ERROR
    triggers = (
        "train_test_split",
        "random_split",
        "KFold",
        "StratifiedKFold",
        "fit_transform",
        "fit",
        "Dataset",
        "TensorDataset",
    )

    bad = [
        Example(
            """
            import pandas as pd
            import torch
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import StandardScaler
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            df = pd.read_csv("churn.csv")
            X = df.drop(columns=["churned"]).values
            y = df["churned"].values

            scaler = StandardScaler()
            X = scaler.fit_transform(X)  # <-- NN201
            X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=42)

            train_set = TensorDataset(torch.FloatTensor(X_train), torch.FloatTensor(y_train))
            train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
            model = nn.Sequential(nn.Linear(X.shape[1], 64), nn.ReLU(), nn.Linear(64, 1))
            criterion = nn.BCEWithLogitsLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

            for epoch in range(50):
                for features, target in train_loader:
                    optimizer.zero_grad()
                    loss = criterion(model(features).squeeze(1), target)
                    loss.backward()
                    optimizer.step()

            with torch.no_grad():
                predicted = model(torch.FloatTensor(X_test)).squeeze(1) > 0
            print((predicted.numpy() == y_test).mean())
            """,
            why="The scaler is fitted on all rows, then train_test_split; a flat script.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            def windows(series, length):
                x = np.stack([series[i : i + length] for i in range(len(series) - length)])
                return torch.from_numpy(x).float(), torch.from_numpy(series[length:]).float()


            def load(path, length=48, share=0.8):
                series = np.loadtxt(path, delimiter=",")
                series = (series - series.mean()) / series.std()  # <-- NN201
                border = int(len(series) * share)
                return windows(series[:border], length), windows(series[border:], length)


            def main():
                (x_train, y_train), (x_test, y_test) = load("electricity.csv")
                loader = DataLoader(TensorDataset(x_train, y_train), batch_size=128, shuffle=True)
                model = nn.Sequential(nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, 1))
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(30):
                    for x, y in loader:
                        optimizer.zero_grad()
                        loss = nn.functional.mse_loss(model(x).squeeze(1), y)
                        loss.backward()
                        optimizer.step()
                with torch.no_grad():
                    print(nn.functional.mse_loss(model(x_test).squeeze(1), y_test).item())


            if __name__ == "__main__":
                main()
            """,
            why="Mean and standard deviation of a whole time series, which is cut into past and future later.",
        ),
        Example(
            """
            # file: data/__init__.py
            from .wine import WineDataset

            __all__ = ["WineDataset"]
            # file: data/wine.py
            import numpy as np
            import torch
            from torch.utils.data import Dataset


            class WineDataset(Dataset):
                def __init__(self, path):
                    table = np.loadtxt(path, delimiter=";", skiprows=1, dtype=np.float32)
                    features = torch.from_numpy(table[:, :-1])
                    low, high = features.amin(dim=0), features.amax(dim=0)  # <-- NN201
                    self.features = (features - low) / (high - low)
                    self.quality = torch.from_numpy(table[:, -1])

                def __len__(self):
                    return len(self.quality)

                def __getitem__(self, index):
                    return self.features[index], self.quality[index]
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, random_split

            from data import WineDataset

            dataset = WineDataset("winequality.csv")
            train_set, val_set = random_split(dataset, [0.8, 0.2])
            train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
            val_loader = DataLoader(val_set, batch_size=256)
            model = nn.Sequential(nn.Linear(11, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for epoch in range(40):
                model.train()
                for x, y in train_loader:
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(x).squeeze(1), y).backward()
                    optimizer.step()
                model.eval()
                with torch.no_grad():
                    errors = [(model(x).squeeze(1) - y).abs().mean().item() for x, y in val_loader]
                print(epoch, sum(errors) / len(errors))
            """,
            why="The Dataset class normalises with its own statistics; random_split comes in another file.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from sklearn.feature_selection import SelectKBest, f_classif
            from sklearn.model_selection import StratifiedKFold
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            class GeneExperiment:
                def __init__(self, path, genes=200):
                    archive = np.load(path)
                    self.y = archive["disease"].astype(np.int64)
                    self.x = SelectKBest(f_classif, k=genes).fit_transform(archive["expression"], self.y)  # <-- NN201
                    self.folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=0)

                def fit(self, x, y, epochs=30):
                    model = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 2))
                    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
                    data = TensorDataset(torch.from_numpy(x).float(), torch.from_numpy(y))
                    for _ in range(epochs):
                        for features, labels in DataLoader(data, batch_size=16, shuffle=True):
                            optimizer.zero_grad()
                            nn.functional.cross_entropy(model(features), labels).backward()
                            optimizer.step()
                    return model

                def run(self):
                    scores = []
                    for train, test in self.folds.split(self.x, self.y):
                        model = self.fit(self.x[train], self.y[train])
                        with torch.no_grad():
                            predicted = model(torch.from_numpy(self.x[test]).float()).argmax(dim=1).numpy()
                        scores.append((predicted == self.y[test]).mean())
                    print(np.mean(scores), np.std(scores))


            if __name__ == "__main__":
                GeneExperiment("expression.npz").run()
            """,
            why="Feature selection on everything, then cross-validation, in a class.",
        ),
        Example(
            """
            import argparse

            import numpy as np
            import torch
            from sklearn.decomposition import PCA
            from sklearn.model_selection import train_test_split
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            def preprocess(signals, components):
                reducer = PCA(n_components=components, whiten=True)
                reducer.fit(signals)  # <-- NN201
                return reducer.transform(signals).astype(np.float32)


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--components", type=int, default=32)
                args = parser.parse_args()
                archive = np.load("vibration.npz")
                x = preprocess(archive["signals"], args.components)
                x_train, x_test, y_train, y_test = train_test_split(x, archive["fault"], stratify=archive["fault"])
                train_set = TensorDataset(torch.from_numpy(x_train), torch.from_numpy(y_train))
                model = nn.Sequential(nn.Linear(args.components, 64), nn.ReLU(), nn.Linear(64, 10))
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(25):
                    for features, fault in DataLoader(train_set, batch_size=64, shuffle=True):
                        optimizer.zero_grad()
                        nn.functional.cross_entropy(model(features), fault).backward()
                        optimizer.step()
                with torch.no_grad():
                    hits = model(torch.from_numpy(x_test)).argmax(dim=1) == torch.from_numpy(y_test)
                print(hits.float().mean().item())


            main()
            """,
            why="A helper function fits imputer and PCA; main splits what it returns.",
        ),
        Example(
            """
            # file: data_provider.py
            import pandas as pd
            import torch
            from sklearn.preprocessing import StandardScaler
            from torch.utils.data import Dataset


            class Transformers(Dataset):
                def __init__(self, path, flag="train", length=96, scale=True):
                    self.part = {"train": 0, "val": 1, "test": 2}[flag]
                    self.length = length
                    self.scale = scale
                    self.read(path)

                def read(self, path):
                    table = pd.read_csv(path)
                    n_train, n_test = int(len(table) * 0.7), int(len(table) * 0.2)
                    n_val = len(table) - n_train - n_test
                    starts = [0, n_train - self.length, len(table) - n_test - self.length]
                    ends = [n_train, n_train + n_val, len(table)]
                    start, end = starts[self.part], ends[self.part]
                    values = table[table.columns[1:]]
                    if self.scale:
                        self.scaler = StandardScaler()
                        self.scaler.fit(values.values)  # <-- NN201
                        data = self.scaler.transform(values.values)
                    else:
                        data = values.values
                    self.data = torch.from_numpy(data[start:end]).float()

                def __len__(self):
                    return len(self.data) - self.length

                def __getitem__(self, index):
                    return self.data[index : index + self.length], self.data[index + self.length]
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from data_provider import Transformers

            train_loader = DataLoader(Transformers("ETTh1.csv", "train"), batch_size=32, shuffle=True)
            val_loader = DataLoader(Transformers("ETTh1.csv", "val"), batch_size=32)
            model = nn.Sequential(nn.Flatten(), nn.Linear(96 * 7, 7))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(10):
                for past, following in train_loader:
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(past), following).backward()
                    optimizer.step()
                with torch.no_grad():
                    print(sum(nn.functional.mse_loss(model(x), y).item() for x, y in val_loader) / len(val_loader))
            """,
            why="The borders of the parts stand in lists, and the scaler sees all rows.",
        ),
        Example(
            """
            import numpy as np
            import pandas as pd
            import torch
            from sklearn.preprocessing import MinMaxScaler
            from torch import nn


            def windows(table, length):
                x = [table[i : i + length, 0] for i in range(len(table) - length)]
                return torch.from_numpy(np.array(x)), torch.from_numpy(table[length:, 0])


            def main():
                table = pd.read_csv("airline.csv", usecols=[1]).values.astype("float32")
                scaler = MinMaxScaler(feature_range=(0, 1))
                table = scaler.fit_transform(table)  # <-- NN201
                border = int(len(table) * 0.67)
                train, test = table[0:border, :], table[border : len(table), :]
                x, y = windows(train, 12)
                x_test, y_test = windows(test, 12)
                model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 1))
                optimizer = torch.optim.Adam(model.parameters())
                for _ in range(300):
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(x).squeeze(1), y).backward()
                    optimizer.step()
                with torch.no_grad():
                    print(nn.functional.mse_loss(model(x_test).squeeze(1), y_test).item())


            main()
            """,
            why="A table is cut at a border after it was scaled as a whole.",
        ),
        Example(
            """
            import pandas as pd
            import torch
            from sklearn.impute import SimpleImputer
            from sklearn.model_selection import train_test_split
            from sklearn.pipeline import Pipeline
            from sklearn.preprocessing import StandardScaler
            from torch import nn

            table = pd.read_csv("loans.csv")
            numbers = ["income", "age", "amount"]
            prepare = Pipeline(steps=[("fill", SimpleImputer()), ("scale", StandardScaler())])
            table[numbers] = prepare.fit_transform(table[numbers])  # <-- NN201
            x_train, x_test, y_train, y_test = train_test_split(table.drop(columns="default"), table["default"])
            x, y = torch.tensor(x_train.values).float(), torch.tensor(y_train.values)
            model = nn.Linear(x.shape[1], 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(200):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            print((model(torch.tensor(x_test.values).float()).argmax(1) == torch.tensor(y_test.values)).float().mean())
            """,
            why="Columns go through a pipeline and back into the table before it is split.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            x, y = torch.load("x.pt"), torch.load("y.pt")
            cut = int(0.8 * len(x))
            mean, std = x[:cut].mean(0), x[:cut].std(0)
            x = (x - mean) / std
            train_loader = DataLoader(TensorDataset(x[:cut], y[:cut]), batch_size=32, shuffle=True)
            val_loader = DataLoader(TensorDataset(x[cut:], y[cut:]), batch_size=256)
            model = nn.Linear(12, 1)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for epoch in range(30):
                for inputs, targets in train_loader:
                    optimizer.zero_grad()
                    nn.functional.mse_loss(model(inputs), targets).backward()
                    optimizer.step()
                with torch.no_grad():
                    print(epoch, sum(nn.functional.mse_loss(model(a), b).item() for a, b in val_loader))
            """,
            why="Mean and deviation are those of the training part; all samples are shifted by them.",
        ),
        Example(
            """
            import pandas as pd
            import torch
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import LabelEncoder, StandardScaler
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            df = pd.read_csv("beans.csv")
            print(df.describe())
            print("mean area", df["area"].mean())
            X = df.drop(columns="variety").to_numpy()
            y = LabelEncoder().fit_transform(df["variety"])
            X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y)
            scaler = StandardScaler()
            X_train = scaler.fit_transform(X_train)
            X_test = scaler.transform(X_test)

            train_set = TensorDataset(torch.tensor(X_train, dtype=torch.float32), torch.tensor(y_train))
            model = nn.Sequential(nn.Linear(X.shape[1], 64), nn.ReLU(), nn.Linear(64, 7))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(40):
                for x, variety in DataLoader(train_set, batch_size=64, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x), variety).backward()
                    optimizer.step()
            with torch.no_grad():
                predicted = model(torch.tensor(X_test, dtype=torch.float32)).argmax(dim=1)
            print((predicted == torch.tensor(y_test)).float().mean().item())
            """,
            why="Split first; the same names are used again for the scaled parts; labels are encoded on all rows.",
        ),
        Example(
            """
            import glob

            import torch
            import torchaudio
            from torch import nn
            from torch.utils.data import DataLoader, Dataset, random_split
            from torchvision import datasets, transforms


            class Recordings(Dataset):
                def __init__(self, folder):
                    self.paths = sorted(glob.glob(f"{folder}/*/*.wav"))
                    self.labels = [int(path.split("/")[-2]) for path in self.paths]

                def __len__(self):
                    return len(self.paths)

                def __getitem__(self, index):
                    wave, _ = torchaudio.load(self.paths[index])
                    wave = wave[:, :16000]
                    wave = (wave - wave.mean()) / (wave.std() + 1e-6)
                    return wave / wave.abs().max(), self.labels[index]


            def image_splits():
                normalize = transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
                transform = transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor(), normalize])
                return random_split(datasets.ImageFolder("icons", transform), [0.9, 0.1])


            def matrix_splits():
                x, y = torch.load("curves.pt")
                x = x.float() / 255.0
                x = (x - x.mean(dim=1, keepdim=True)) / x.std(dim=1, keepdim=True)
                return list(zip(x[:800], y[:800])), list(zip(x[800:], y[800:]))


            def train(model, train_set):
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in DataLoader(train_set, batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x.flatten(1)), y).backward()
                    optimizer.step()


            for (train_set, _), size in ((image_splits(), 12288), (matrix_splits(), 100)):
                train(nn.Linear(size, 10), train_set)
            train(nn.Linear(16000, 10), random_split(Recordings("speech"), [0.8, 0.2])[0])
            """,
            why="Per-sample statistics and constants cross no border.",
        ),
        Example(
            """
            # file: tables/__init__.py
            from .prepare import load_table

            __all__ = ["load_table"]
            # file: tables/prepare.py
            import numpy as np
            import torch
            from torch.utils.data import Subset, TensorDataset


            def load_table(path, seed=0):
                archive = np.load(path)
                x, y = archive["x"].astype(np.float32), archive["y"].astype(np.float32)
                order = np.random.default_rng(seed).permutation(len(x))
                train, val = order[: int(0.8 * len(x))], order[int(0.8 * len(x)) :]
                mean, std = x[train].mean(axis=0), x[train].std(axis=0) + 1e-8
                x = (x - mean) / std
                dataset = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
                return Subset(dataset, train), Subset(dataset, val)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from tables import load_table


            def main():
                train_set, val_set = load_table("abalone.npz")
                model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(60):
                    for x, y in DataLoader(train_set, batch_size=64, shuffle=True):
                        optimizer.zero_grad()
                        nn.functional.l1_loss(model(x).squeeze(1), y).backward()
                        optimizer.step()
                with torch.no_grad():
                    val_loader = DataLoader(val_set, batch_size=256)
                    print(sum(nn.functional.l1_loss(model(x).squeeze(1), y).item() for x, y in val_loader))


            main()
            """,
            why="The indices are split first; the array holds all rows, the statistics only those of training.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from sklearn.decomposition import PCA
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import KFold, cross_val_score
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import StandardScaler
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            def baseline(x, y):
                pipeline = make_pipeline(StandardScaler(), PCA(10), LogisticRegression())
                return cross_val_score(pipeline, x, y, cv=KFold(5, shuffle=True))


            def fit(x, y):
                model = nn.Linear(x.size(1), 2)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for _ in range(20):
                    for features, labels in DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True):
                        optimizer.zero_grad()
                        nn.functional.cross_entropy(model(features), labels).backward()
                        optimizer.step()
                return model


            archive = np.load("diabetes.npz")
            x, y = archive["x"], archive["y"]
            print(baseline(x, y).mean())
            scores = []
            for train, test in KFold(5, shuffle=True).split(x):
                scaler = StandardScaler().fit(x[train])
                model = fit(torch.tensor(scaler.transform(x[train])).float(), torch.tensor(y[train]))
                with torch.no_grad():
                    predicted = model(torch.tensor(scaler.transform(x[test])).float()).argmax(dim=1)
                scores.append((predicted.numpy() == y[test]).mean())
            print(np.mean(scores))
            """,
            why="A new scaler in each fold, and a pipeline that cross_val_score fits anew each time.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from sklearn.preprocessing import MinMaxScaler
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            class Pipeline:
                def __init__(self):
                    self.scaler = MinMaxScaler()
                    self.model = nn.Sequential(nn.Linear(20, 50), nn.ReLU(), nn.Linear(50, 1))

                def dataset(self, path, training):
                    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
                    x, y = table[:, :-1], table[:, -1]
                    x = self.scaler.fit_transform(x) if training else self.scaler.transform(x)
                    return TensorDataset(torch.from_numpy(x), torch.from_numpy(y))

                def fit(self, path):
                    optimizer = torch.optim.Adam(self.model.parameters())
                    for x, y in DataLoader(self.dataset(path, training=True), batch_size=64, shuffle=True):
                        optimizer.zero_grad()
                        nn.functional.mse_loss(self.model(x).squeeze(1), y).backward()
                        optimizer.step()

                def score(self, path):
                    with torch.no_grad():
                        loader = DataLoader(self.dataset(path, training=False), batch_size=256)
                        return sum(nn.functional.mse_loss(self.model(x).squeeze(1), y).item() for x, y in loader)


            pipeline = Pipeline()
            pipeline.fit("train.csv")
            print(pipeline.score("test.csv"))
            """,
            why="Separate files for training and test; the scaler is an attribute that is fitted once.",
        ),
        Example(
            """
            import matplotlib.pyplot as plt
            import torch
            from sklearn.decomposition import PCA
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset, random_split

            x, y = torch.load("cells.pt")
            points = PCA(n_components=2).fit_transform(x.numpy())
            plt.scatter(points[:, 0], points[:, 1], c=y)
            plt.savefig("overview.png")
            print("range", x.min().item(), x.max().item())

            train_set, val_set = random_split(TensorDataset(x, y), [0.8, 0.2])
            train_x = torch.stack([features for features, _ in train_set])
            mean, std = train_x.mean(dim=0), train_x.std(dim=0)
            weights = 1.0 / torch.bincount(y).float()

            model = nn.Sequential(nn.Linear(x.size(1), 64), nn.ReLU(), nn.Linear(64, 5))
            criterion = nn.CrossEntropyLoss(weight=weights)
            optimizer = torch.optim.AdamW(model.parameters())
            for epoch in range(30):
                for features, labels in DataLoader(train_set, batch_size=64, shuffle=True):
                    optimizer.zero_grad()
                    criterion(model((features - mean) / std), labels).backward()
                    optimizer.step()
            with torch.no_grad():
                hits = [
                    (model((features - mean) / std).argmax(1) == labels).float().mean().item()
                    for features, labels in DataLoader(val_set, batch_size=256)
                ]
            print(sum(hits) / len(hits))
            """,
            why="A PCA only for a figure, class weights from the labels, and statistics of the training subset.",
        ),
        Example(
            """
            # file: data_provider.py
            import pandas as pd
            import torch
            from sklearn.preprocessing import StandardScaler
            from torch.utils.data import Dataset


            class Transformers(Dataset):
                def __init__(self, path, flag="train", length=96):
                    part = {"train": 0, "val": 1, "test": 2}[flag]
                    table = pd.read_csv(path)
                    n_train, n_test = int(len(table) * 0.7), int(len(table) * 0.2)
                    starts = [0, n_train - length, len(table) - n_test - length]
                    ends = [n_train, len(table) - n_test, len(table)]
                    values = table[table.columns[1:]]
                    scaler = StandardScaler()
                    scaler.fit(values[starts[0] : ends[0]].values)
                    data = scaler.transform(values.values)
                    self.data = torch.from_numpy(data[starts[part] : ends[part]]).float()
                    self.length = length

                def __len__(self):
                    return len(self.data) - self.length

                def __getitem__(self, index):
                    return self.data[index : index + self.length], self.data[index + self.length]
            # file: train.py
            import pandas as pd
            import torch
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import MinMaxScaler
            from torch import nn
            from torch.utils.data import DataLoader

            from data_provider import Transformers

            model = nn.Sequential(nn.Flatten(), nn.Linear(96 * 7, 7))
            optimizer = torch.optim.Adam(model.parameters())
            for past, following in DataLoader(Transformers("ETTh1.csv"), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(past), following).backward()
                optimizer.step()
            print(len(Transformers("ETTh1.csv", "test")))

            loans = pd.read_csv("loans.csv")
            train, test = train_test_split(loans)
            train[["age"]] = MinMaxScaler().fit_transform(train[["age"]])
            overview = loans.copy()
            overview[["age"]] = MinMaxScaler().fit_transform(overview[["age"]])
            print(overview.describe())
            """,
            why="The scaler sees the rows of the first part only; columns are written back after the split.",
        ),
        Example(
            """
            import cv2
            import numpy as np
            import torch
            from torch import nn


            def halves(path):
                image = cv2.imread(path).astype(np.float32)
                image = (image - image.mean()) / image.std()
                middle = image.shape[0] // 2
                return image[:middle, :], image[middle:, :]


            def crop(image, top, bottom):
                return image[top:bottom]


            upper, lower = halves("scan.png")
            views = [crop(upper, 0, 50), crop(upper, 50, 100)]
            model = nn.Linear(3, 3)
            optimizer = torch.optim.Adam(model.parameters())
            for view in views:
                optimizer.zero_grad()
                x = torch.from_numpy(view)
                nn.functional.mse_loss(model(x), x).backward()
                optimizer.step()
            """,
            why="An image that is normalised by itself and cut in pieces is one sample.",
        ),
        Example(
            """
            # file: data.py
            import torch
            from torch.utils.data import Dataset


            class Windows(Dataset):
                def __init__(self, path, length, horizon):
                    self.series = torch.load(path)
                    self.length, self.horizon = length, horizon

                def __len__(self):
                    return len(self.series) - self.length

                def __getitem__(self, index):
                    window = self.series[index : index + self.length]
                    window = (window - window.mean(dim=0)) / (window.std(dim=0) + 1e-6)
                    return window[: -self.horizon], window[-self.horizon :]
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from data import Windows

            model = nn.Linear(72, 24)
            optimizer = torch.optim.Adam(model.parameters())
            for past, future in DataLoader(Windows("load.pt", 96, 24), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(past), future).backward()
                optimizer.step()
            """,
            why="Past and future of one window are no training and test part.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Mask(nn.Module):
                def forward(self, x):
                    weight = (torch.rand(x.shape[-1]) > 0.1).float()
                    weight = weight / weight.mean()
                    return x * weight


            net = nn.Sequential(nn.Linear(40, 64), Mask(), nn.ReLU(), nn.Linear(64, 10))
            optimizer = torch.optim.Adam(net.parameters())
            confidence = []
            for x, y in DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True):
                noisy = torch.cat([x, x + 0.1 * torch.randn_like(x)])
                scores = net(noisy)
                loss = nn.functional.cross_entropy(scores[: len(x)], y)
                loss = loss + nn.functional.mse_loss(scores[: len(x)], scores[len(x) :])
                confidence.append(scores.detach().softmax(1).max(1).values)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            confidence = torch.cat(confidence)
            confidence = (confidence - confidence.min()) / (confidence.max() - confidence.min())
            """,
            why="What a network gives is cut apart, and no data.",
        ),
        Example(
            """
            import numpy as np
            from pathlib import Path
            from sklearn.linear_model import LogisticRegression


            def describe(image):
                ys, xs = np.nonzero(image > 0.5)
                points = np.stack([xs, ys], axis=1).astype(np.float32)
                points -= points.mean(0)
                spread = np.linalg.eigvalsh(points.T @ points)
                return np.array([spread[0], spread[1], len(points)])


            features = {"streak": [], "clean": []}
            for kind in features:
                for path in sorted(Path(kind).glob("*.npy")):
                    image = np.load(path)
                    features[kind].append(describe(image))
            for kind in features:
                features[kind] = np.asarray(features[kind], np.float32)

            train = np.r_[features["streak"][:120], features["clean"][:120]]
            test = np.r_[features["streak"][120:], features["clean"][120:]]
            model = LogisticRegression().fit(train, np.r_[np.ones(120), np.zeros(120)])
            print(model.predict(test))
            """,
            why="Each sample is centred by its own mean, then collected.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from sklearn.datasets import make_moons

            X, y = make_moons(n_samples=1200, noise=0.1)
            mean, std = X[:1000].mean(axis=0), X[:1000].std(axis=0)
            train, test = (X[:1000] - mean) / std, (X[1000:] - mean) / std
            model = torch.load("moons.pt")
            low, high = X[:, 0].min() - 0.3, X[:, 0].max() + 0.3
            grid = np.stack(np.meshgrid(np.linspace(low, high), np.linspace(low, high)), -1).reshape(-1, 2)
            picture = torch.from_numpy((grid - X.mean(axis=0)) / X.std(axis=0)).float()
            print(model(torch.tensor(test)).argmax(1), model(picture).argmax(1))
            """,
            why="Only a picture is scaled by the statistics of all points.",
        ),
        Example(
            """
            from sklearn.feature_extraction.text import TfidfVectorizer
            from sklearn.metrics.pairwise import cosine_similarity


            def likeness(first, second):
                table = TfidfVectorizer(stop_words="english").fit_transform([first, second])
                return cosine_similarity(table[0:1], table[1:2])[0][0]


            print(likeness("a network that learns", "a network that does not"))
            """,
            why="Two texts are compared; nothing is held out.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from sklearn.ensemble import RandomForestClassifier
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import cross_val_predict
            from sklearn.preprocessing import StandardScaler

            x, y = torch.load("train.pt")
            scaler = StandardScaler()
            scaled = scaler.fit_transform(x)
            forests = [RandomForestClassifier(max_depth=d).fit(scaled, y) for d in (4, 8, 16)]
            votes = np.column_stack([forest.predict_proba(scaled)[:, 1] for forest in forests])
            joined = cross_val_predict(LogisticRegression(), votes, y, cv=5, method="predict_proba")
            print(joined.mean(axis=0))
            """,
            why="What is cut for the cross-validation are the votes of forests.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for leak in lineage.statistics_before_split(program):
            yield self.finding(
                leak.fitted,
                f"{leak.what} on all the data before it is split at {{0}}: the test data leak into training, and the "
                "scores look better than they are.",
                "Split first, fit on the training part only, then apply to both parts.",
                evidence=[Hop("the data are split here, afterwards", leak.split)],
            )
