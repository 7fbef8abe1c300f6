"""NN805: a checkpoint is loaded in a way that lets it run code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import parallel
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program


class UnsafeLoad(Rule):
    """`torch.load(..., weights_only=False)` runs whatever code the file holds.

    ## What it is

    A checkpoint is a pickle, and a pickle can name any function to be called while it is read. Since torch 2.6
    `weights_only=True` is the default, which reads tensors and plain containers only. Here it is switched off.

    ## Why it hurts training

    A file from the net, from a colleague or from a shared folder runs with your rights as soon as it is loaded: it can
    read keys, change the data or the weights. Nothing shows that it happened.

    ## How it is told apart from code that only looks alike

    - `weights_only=True`, or nothing (with torch 2.6 or newer), is safe.
    - `numpy.load(..., allow_pickle=False)` and safetensors read numbers only.
    - A file of which more is used than weights (a whole pickled model, an optimizer with custom objects) may need it;
      where what is loaded goes into `load_state_dict`, nothing but weights is wanted, and the message says so.

    It is a risk and no mistake of the training, so this is advice (`info`), off unless selected.

    ## What to do

    ```python
    state = torch.load(path, map_location="cpu", weights_only=True)
    ```

    If the file holds a few harmless classes of your own, allow them by name with
    `torch.serialization.add_safe_globals([...])`.
    """

    code = "NN805"
    name = "unsafe-load"
    points = ()
    severity = Severity.INFO
    triggers = ("weights_only",)

    bad = [
        Example(
            """
            import torch
            from torch import nn

            model = nn.Linear(10, 2)
            model.load_state_dict(torch.load("downloaded.pt", weights_only=False))  # <-- NN805
            model.eval()
            with torch.no_grad():
                print(model(torch.load("rows.pt")))
            """,
            why="Weights of a file from the net.",
        ),
        Example(
            """
            import argparse

            import torch
            from torchvision.models import resnet18


            def restore(path):
                checkpoint = torch.load(path, map_location="cpu", weights_only=False)  # <-- NN805
                model = resnet18(num_classes=10)
                model.load_state_dict(checkpoint["model"])
                return model.eval(), checkpoint["epoch"]


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("checkpoint")
                model, epoch = restore(parser.parse_args().checkpoint)
                print(epoch, sum(p.numel() for p in model.parameters()))


            main()
            """,
            why="A dict of weights and an epoch.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Predictor:
                def __init__(self, path):
                    self.whole = torch.load(path, weights_only=False)  # <-- NN805
                    self.whole.eval()

                @torch.inference_mode()
                def __call__(self, x):
                    return self.whole(x)


            print(Predictor("model.pth")(torch.ones(1, 8)))
            print(nn.Linear(8, 1)(torch.ones(1, 8)))
            """,
            why="A whole pickled model.",
        ),
        Example(
            """
            # file: files.py
            import torch


            def read(path, trusted=False):
                return torch.load(path, weights_only=trusted)  # <-- NN805
            # file: predict.py
            import torch
            from torch import nn

            from files import read

            model = nn.Linear(4, 1)
            model.load_state_dict(read("weights.pt"))
            print(model(torch.ones(1, 4)))
            """,
            why="The value comes from a default of another file.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn

            model = nn.Linear(10, 2)
            model.load_state_dict(torch.load("downloaded.pt", weights_only=True))
            model.eval()
            with torch.no_grad():
                print(model(torch.load("rows.pt")))
            """,
            why="Only weights are read.",
        ),
        Example(
            """
            import numpy as np
            import torch
            from safetensors.torch import load_file
            from torchvision.models import resnet18


            def restore(path):
                model = resnet18(num_classes=10)
                model.load_state_dict(load_file(path))
                return model.eval()


            def main():
                model = restore("model.safetensors")
                images = torch.from_numpy(np.load("images.npy", allow_pickle=False))
                weights_only = False
                print(model(images).argmax(1), weights_only)


            main()
            """,
            why="Other formats that hold numbers only.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Checkpoints:
                def __init__(self, model, weights_only):
                    self.model = model
                    self.weights_only = weights_only

                def restore(self, path):
                    self.model.load_state_dict(torch.load(path, weights_only=self.weights_only))


            Checkpoints(nn.Linear(3, 3), weights_only=True).restore("weights.pt")
            """,
            why="True from the caller.",
        ),
        Example(
            """
            # file: files.py
            import torch


            def read(path, weights_only=True):
                return torch.load(path, map_location="cpu", weights_only=weights_only)
            # file: predict.py
            import torch
            from torch import nn

            from files import read

            model = nn.Linear(4, 1)
            model.load_state_dict(read("weights.pt"))
            print(model(torch.ones(1, 4)))
            """,
            why="True by the default of another file.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Loads with the safety switched off."""
        for site, weights in parallel.unsafe_loads(program):
            what = "and only weights are taken from it" if weights else "if it comes from somebody else"
            yield self.finding(
                site,
                f"`weights_only=False` lets the file run any code while it is loaded, {what}.",
                "Load with `weights_only=True`; allow your own classes with `torch.serialization.add_safe_globals`.",
                evidence=[Hop("the file is unpickled here", site)],
            )
