"""NN210: inputs are normalised by the statistics of their own batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import lineage
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class BatchStatisticsAsPreprocessing(Rule):
    """Each batch is normalised by its own mean and deviation before it enters the model.

    ## What it is

    In the loop over the loader stands `x = (x - x.mean()) / x.std()`, or a division by the maximum of the batch,
    instead of constants that were computed once from the training data.

    ## Why it hurts training

    The same sample becomes a different input in each batch, depending on the samples that happen to be next to it:
    noise that grows as batches get smaller. In the evaluation the prediction for a sample depends on its neighbours;
    the last, smaller batch is treated differently; a single sample cannot be predicted at all (its deviation is 0 or
    it loses its level). Where levels carry information, such as brightness, it is taken out of the data.

    ## How it is told apart from code that only looks alike

    - Statistics along the other axes (`dim=(1, 2, 3)`, `dim=1`) belong to one sample, as in audio or RevIN: fine.
    - Batch normalization inside the model keeps running statistics for the evaluation: that is its purpose.
    - Constants, and statistics of the whole training set that were computed before the loop, are right.
    - Loaders of single samples (`batch_size=1`) and loaders whose batch size is not known are not judged.
    - Targets, advantages and losses may be standardised by batch; only inputs of the trained model count.

    ## What to do

    ```python
    mean, std = train_x.mean(0), train_x.std(0)      # once, of the training part
    for x, y in loader:
        output = model((x - mean) / std)
    ```
    """

    code = "NN210"
    name = "batch-statistics-as-preprocessing"
    points = (15,)
    severity = Severity.WARNING
    triggers = ("mean", "std", "max", "var", "amax")

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            x, y = torch.load("sensors.pt")
            loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
            model = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 4))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(30):
                for inputs, labels in loader:
                    normal = (inputs - inputs.mean(dim=0)) / (inputs.std(dim=0) + 1e-6)  # <-- NN210
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(normal), labels).backward()
                    optimizer.step()
            """,
            why="Mean and deviation over the first axis of the batch; a flat script.",
        ),
        Example(
            """
            # file: engine.py
            import torch
            from torch import nn


            def standardize(batch):
                return (batch - batch.mean()) / batch.std()  # <-- NN210


            def train_epoch(model, loader, optimizer, device):
                model.train()
                for images, labels in loader:
                    images = standardize(images.to(device))
                    optimizer.zero_grad()
                    loss = nn.functional.cross_entropy(model(images), labels.to(device))
                    loss.backward()
                    optimizer.step()
            # file: train.py
            import torch
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms
            from torchvision.models import resnet18

            from engine import train_epoch

            data = datasets.EuroSAT("data", transform=transforms.ToTensor())
            loader = DataLoader(data, batch_size=32, shuffle=True)
            model = resnet18(num_classes=10)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
            for epoch in range(5):
                train_epoch(model, loader, optimizer, "cpu")
            """,
            why="A helper normalises all images of a batch by one mean.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, Dataset


            class Spectra(Dataset):
                def __init__(self, path):
                    self.values, self.targets = torch.load(path)

                def __len__(self):
                    return len(self.targets)

                def __getitem__(self, index):
                    return {"spectrum": self.values[index], "target": self.targets[index]}


            class Trainer:
                def __init__(self, path):
                    self.loader = DataLoader(Spectra(path), batch_size=16, shuffle=True)
                    self.net = nn.Sequential(nn.Linear(900, 100), nn.GELU(), nn.Linear(100, 1))
                    self.optimizer = torch.optim.AdamW(self.net.parameters())

                def fit(self, epochs):
                    for _ in range(epochs):
                        for batch in self.loader:
                            spectrum = batch["spectrum"].float()
                            scaled = spectrum / spectrum.max()  # <-- NN210
                            self.optimizer.zero_grad()
                            output = self.net(scaled).squeeze(1)
                            nn.functional.mse_loss(output, batch["target"]).backward()
                            self.optimizer.step()


            Trainer("spectra.pt").fit(20)
            """,
            why="Divided by the largest value of the batch, in a class.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            def main():
                windows, level = torch.load("river.pt")
                loader = DataLoader(TensorDataset(windows, level), 128, shuffle=True)
                model = nn.Sequential(nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 1))
                optimizer = torch.optim.Adam(model.parameters())
                for epoch in range(10):
                    for x, y in loader:
                        mean = torch.mean(x)  # <-- NN210
                        output = model(x - mean)
                        optimizer.zero_grad()
                        nn.functional.l1_loss(output.squeeze(1), y).backward()
                        optimizer.step()


            main()
            """,
            why="The mean of the batch is subtracted, by a function of torch.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            x, y = torch.load("sensors.pt")
            x_train, y_train = x[:8000], y[:8000]
            mean, std = x_train.mean(dim=0), x_train.std(dim=0)
            loader = DataLoader(TensorDataset(x_train, y_train), batch_size=64, shuffle=True)
            model = nn.Sequential(nn.BatchNorm1d(24), nn.Linear(24, 4))
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(30):
                for inputs, labels in loader:
                    print(inputs.mean().item(), inputs.std().item())
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model((inputs - mean) / std), labels).backward()
                    optimizer.step()
            """,
            why="Constants of the training part; those of the batch are only printed.",
        ),
        Example(
            """
            # file: normalize.py
            def per_sample(x):
                return (x - x.mean(dim=(1, 2), keepdim=True)) / (x.std(dim=(1, 2), keepdim=True) + 1e-5)


            def by_window(x):
                return x - x.mean(1, keepdim=True)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            from normalize import by_window, per_sample

            clips, labels = torch.load("clips.pt")
            loader = DataLoader(TensorDataset(clips, labels), batch_size=8, shuffle=True)
            model = nn.Sequential(nn.Flatten(), nn.Linear(8000, 10))
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(by_window(per_sample(x))), y).backward()
                optimizer.step()
            """,
            why="Statistics of each sample alone.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            class Denoiser:
                def __init__(self, volumes):
                    self.single = DataLoader(TensorDataset(volumes), batch_size=1, shuffle=True)
                    self.many = DataLoader(TensorDataset(volumes), batch_size=4, shuffle=True)
                    self.net = nn.Conv3d(1, 1, 3, padding=1)
                    self.optimizer = torch.optim.Adam(self.net.parameters())

                def fit(self):
                    for (volume,) in self.single:
                        scaled = (volume - volume.mean()) / volume.std()
                        self.optimizer.zero_grad()
                        nn.functional.mse_loss(self.net(scaled), scaled).backward()
                        self.optimizer.step()
                    for (volumes,) in self.many:
                        target = (volumes - volumes.mean()) / volumes.std()
                        self.optimizer.zero_grad()
                        nn.functional.mse_loss(self.net(volumes), target).backward()
                        self.optimizer.step()


            Denoiser(torch.randn(20, 1, 16, 16, 16)).fit()
            """,
            why="One sample a batch; and a target, not an input.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset


            def collate(samples):
                x = torch.stack([(s[0] - s[0].mean()) / s[0].std() for s in samples])
                return x, torch.stack([s[1] for s in samples])


            def train(policy, states, actions, returns, size):
                data = TensorDataset(states, actions, returns)
                optimizer = torch.optim.Adam(policy.parameters())
                for state, action, value in DataLoader(data, batch_size=size, shuffle=True):
                    advantage = (value - value.mean()) / (value.std() + 1e-8)
                    scores = policy(state).log_softmax(1).gather(1, action.unsqueeze(1)).squeeze(1)
                    optimizer.zero_grad()
                    (-scores * advantage).mean().backward()
                    optimizer.step()


            train(nn.Linear(4, 2), torch.randn(64, 4), torch.randint(0, 2, (64,)), torch.randn(64), 16)
            """,
            why="Advantages are standardised by batch in policy gradients; a collate function works by sample.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in lineage.batch_statistics(program):
            yield self.finding(
                found.site,
                f"`{found.what}` is taken of the batch itself to normalise what enters the model at {{0}}: the same "
                "sample becomes another input in each batch, and a prediction depends on its neighbours.",
                "Compute mean and deviation once, of the training part, and use them as constants.",
                evidence=[Hop("the model gets the normalised batch here", found.model)],
            )
