"""NN513: a model is used after loading in a way that the loading does not cover."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import checkpoints
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class ModeAfterLoad(Rule):
    """Weights are loaded, and the model predicts in training mode, or nobody looks at which weights were missing.

    ## What it is

    A new module is in training mode, and `load_state_dict` does not change that. A script that builds the model, loads
    its weights and predicts, with no `eval()` in between, predicts with dropout on and with batch statistics.
    Or the weights are loaded with `strict=False`, and the report of missing and unexpected keys is thrown away.

    ## Why it hurts training

    Predictions are random (dropout) or depend on what else is in the batch (batch normalization), and the running
    statistics that were learned are overwritten by each prediction. With `strict=False`, a renamed layer or a
    `module.` prefix means that *no* weight is loaded and that the model starts from scratch, without a word.

    ## How it is told apart from code that only looks alike

    - Code that trains after loading wants training mode; it is not judged.
    - A model without dropout and batch normalization predicts the same in both modes.
    - Trying a model out on `torch.randn(...)` is a test of shapes.
    - A loop over evaluation data is `missing-eval-mode`.
    - With `strict=False`, reading the result (`missing, unexpected = ...`, printing it, an assertion) is enough, and
      a state that was picked by name or edited is meant to leave something out. As the missing keys may be meant in
      other cases too, this finding is `likely` and mere advice (`info`).

    In a run: a call of `load_state_dict` of which no name at all belongs to the module.

    ## What to do

    ```python
    report = model.load_state_dict(torch.load(path, weights_only=True), strict=False)
    print(report)
    model.eval()
    ```
    """

    code = "NN513"
    name = "mode-after-load"
    points = (32,)
    severity = Severity.WARNING
    triggers = ("load_state_dict",)

    bad = [
        Example(
            """
            import torch
            from PIL import Image
            from torch import nn
            from torchvision import transforms
            from torchvision.models import resnet18

            model = resnet18()
            model.fc = nn.Linear(512, 3)
            model.load_state_dict(torch.load("flowers.pt", weights_only=True))
            prepare = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])

            image = prepare(Image.open("tulip.jpg").convert("RGB")).unsqueeze(0)
            with torch.no_grad():
                scores = model(image)  # <-- NN513
            print(scores.softmax(dim=1))
            """,
            why="One picture is classified with batch statistics of one picture.",
        ),
        Example(
            """
            import argparse

            import numpy as np
            import torch
            import torch.nn as nn
            import torch.nn.functional as F


            class Forecaster(nn.Module):
                def __init__(self, features, hidden):
                    super().__init__()
                    self.rnn = nn.LSTM(features, hidden, num_layers=2, dropout=0.3, batch_first=True)
                    self.drop = nn.Dropout(0.3)
                    self.out = nn.Linear(hidden, 1)

                def forward(self, x):
                    return self.out(self.drop(self.rnn(x)[0][:, -1]))


            def load(path):
                model = Forecaster(5, 64)
                model.load_state_dict(torch.load(path, map_location="cpu"))
                return model


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("checkpoint")
                parser.add_argument("series")
                args = parser.parse_args()
                model = load(args.checkpoint)
                window = torch.from_numpy(np.load(args.series)).float()
                prediction = model(window.unsqueeze(0))  # <-- NN513
                print(F.relu(prediction).item())


            main()
            """,
            why="A command that forecasts with dropout on.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Segmenter:
                def __init__(self, checkpoint):
                    self.net = nn.Sequential(
                        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 1, 1)
                    )
                    self.net.load_state_dict(torch.load(checkpoint)["model"])
                    self.net.cuda()

                @torch.no_grad()
                def mask(self, image):
                    return self.net(image.cuda()[None]).sigmoid()[0] > 0.5  # <-- NN513


            if __name__ == "__main__":
                segmenter = Segmenter("best.pt")
                torch.save(segmenter.mask(torch.load("scan.pt")), "mask.pt")
            """,
            why="A class for inference never switches.",
        ),
        Example(
            """
            # file: weights.py
            import torch


            def restore(model, path):
                state = torch.load(path, map_location="cpu", weights_only=True)
                model.load_state_dict(state["model"], strict=False)  # <-- NN513
                return model
            # file: finetune.py
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            from weights import restore

            model = restore(nn.Sequential(nn.Linear(768, 128), nn.ReLU(), nn.Linear(128, 4)), "pretrained.pt")
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
            for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            """,
            why="Whether any key fitted is never looked at.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from PIL import Image
            from torch import nn
            from torchvision import transforms
            from torchvision.models import resnet18

            model = resnet18()
            model.fc = nn.Linear(512, 3)
            model.load_state_dict(torch.load("flowers.pt", weights_only=True))
            model.eval()
            prepare = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])

            image = prepare(Image.open("tulip.jpg").convert("RGB")).unsqueeze(0)
            with torch.no_grad():
                scores = model(image)
            print(scores.softmax(dim=1))
            """,
            why="Switched to evaluation after loading.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.hidden = nn.Linear(100, 100)
                    self.drop = nn.Dropout(0.5)
                    self.out = nn.Linear(100, 7)

                def forward(self, x):
                    return self.out(self.drop(F.relu(self.hidden(x))))


            def main():
                model = Net()
                missing, unexpected = model.load_state_dict(torch.load("pretrained.pt"), strict=False)
                print("not loaded:", missing, unexpected)
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()


            main()
            """,
            why="Training goes on after loading, and the report is printed.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Embedder:
                def __init__(self, path):
                    self.net = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 32))
                    self.net.load_state_dict(torch.load(path))

                def __call__(self, x):
                    with torch.inference_mode():
                        return self.net(x)


            class Denoiser:
                def __init__(self, path):
                    self.net = nn.Sequential(nn.Conv1d(1, 8, 5), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 1, 5))
                    self.net.load_state_dict(torch.load(path))
                    print(self.net(torch.randn(2, 1, 100)).shape)


            print(Embedder("embedder.pt")(torch.load("rows.pt")))
            Denoiser("denoiser.pt")
            """,
            why="No layer that knows a mode, and a test of shapes.",
        ),
        Example(
            """
            # file: weights.py
            import torch


            def restore(model, path):
                model.load_state_dict(torch.load(path, weights_only=True))
                return model.train(False)
            # file: predict.py
            import torch
            from torch import nn

            from weights import restore


            def main():
                model = restore(nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 1)), "best.pt")
                with torch.no_grad():
                    print(model(torch.load("patients.pt")))


            main()
            """,
            why="train(False) in a helper of another file.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 4))
            loader = DataLoader(torch.load("test.pt"), batch_size=64)
            inputs, labels = next(iter(loader))
            print(model(inputs).shape)

            model.load_state_dict(torch.load("weights.pt"))
            model.eval()
            right = 0
            with torch.no_grad():
                for x, y in loader:
                    right += (model(x).argmax(1) == y).sum().item()
            print(right)
            """,
            why="The pass in training mode is a trial before anything is loaded.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Candidate(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.layers = nn.Sequential(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU())
                    self.head = nn.Linear(32, 10)

                def forward(self, x):
                    return self.head(self.layers(x).mean((2, 3)))


            model = Candidate()
            model.load_state_dict(torch.load("supernet.pt"))
            calibration = DataLoader(torch.load("train.pt"), 64, shuffle=True)
            with torch.no_grad():
                for _, (images, _) in zip(range(100), calibration):
                    scores = model(images)
                    del images, scores
            model.eval()
            hits = 0
            with torch.no_grad():
                for images, labels in DataLoader(torch.load("valid.pt"), 256):
                    hits += (model(images).argmax(1) == labels).sum().item()
            print(hits)
            """,
            why="Batch normalisation gathers statistics anew; the outputs are thrown away.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Models that predict in training mode after loading, and reports of missing weights that nobody reads."""
        for found in checkpoints.loaded_and_not_switched(program):
            yield self.finding(
                found.forward.site,
                "The model predicts in training mode: its weights were loaded at {0}, which switches nothing, and no "
                "`eval()` follows, so dropout stays on and batch normalization uses the statistics of this input.",
                "Call `model.eval()` after loading.",
                evidence=[
                    Hop("the weights are loaded here", found.restore.site),
                    Hop(
                        "this layer behaves differently in training", found.layer.site, program.class_name(found.layer)
                    ),
                ],
            )
        for restore in checkpoints.unread_reports(program):
            yield self.finding(
                restore.site,
                "Weights are loaded with `strict=False` and the report is thrown away: if the names do not fit (a "
                "`module.` prefix, a renamed layer), nothing is loaded and nobody is told.",
                "Look at the result: `print(model.load_state_dict(state, strict=False))`, or check its `missing_keys`.",
                evidence=[Hop("missing and unexpected keys are ignored here", restore.site)],
                confidence=Confidence.LIKELY,
                severity=Severity.INFO,
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for load in run.loads:
            if load.matched or not load.given or not load.wanted:
                continue
            yield self.finding(
                load.line,
                f"None of the {load.given} weights that are loaded here has the name of one of the {load.wanted} that "
                f"{load.module} has (`{load.example}` against `{load.expected}`): nothing was loaded, and "
                "`strict=False` hid it.",
                "Bring the names in line (mostly a prefix such as `module.`), and look at `missing_keys` of the "
                "result.",
                evidence=[Hop("loaded here", load.line, f"0 of {load.given} names match")],
            )
