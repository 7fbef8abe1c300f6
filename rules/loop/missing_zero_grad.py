"""NN505: gradients are never cleared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import order
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class MissingZeroGrad(Rule):
    """Gradients are never cleared, so every step uses the sum of all gradients since training began.

    ## What it is

    `backward()` *adds* to the `.grad` of every parameter; it does not replace it. A training loop has to
    clear the gradients once per optimizer step. This loop calls `backward()` and `step()` again and again
    but never clears them, or clears them only once before the loop, or clears them between `backward()`
    and `step()`, so that the optimizer steps with no gradient at all.

    ## Why it hurts training

    After step *n* the gradient is the sum over *n* batches, most of them computed for parameters that have
    long changed. The direction is stale, the length grows with every step, and the effective learning rate
    grows with it: the loss falls at first, then oscillates or diverges. Adam hides the growing length, so
    that the run only looks mediocre. When the gradients are cleared between `backward()` and `step()`, the
    parameters do not move, or only weight decay and old momentum move them.

    ## How it is told apart from code that only looks alike

    - Clearing counts wherever it happens: `optimizer.zero_grad()`, `model.zero_grad()`, `p.grad = None`,
      `p.grad.zero_()`, at the start of the loop or at its end, directly or inside a helper such as
      `self.reset_grad()`.
    - Gradient accumulation clears once per step, not once per `backward()`; that is correct.
    - With two optimizers (as in a GAN), each parameter needs one that clears it; clearing only the
      discriminator leaves the generator's gradients adding up.
    - LBFGS closures and the two passes of sharpness-aware minimisation clear inside their own calls.
    - Lightning (automatic optimization) and the Transformers `Trainer` clear the gradients themselves.
    - A `backward()` that no optimizer step follows (saliency maps, attacks on an input) is not training.

    In a run, a cycle from one step to the next is uncleared when the gradients that the last step has used are still
    there, and not zero, at the next `backward()`. At least 3 cycles and more than 4 of 5 must be; fewer are irregular
    but may be meant. Gradients emptied between `backward()` and `step()` are seen as well, with the same numbers.
    Steps that the script makes without an optimizer (`w -= rate * w.grad`) are judged likewise, and likely only.

    ## What to do

    Clear the gradients once per step, before `backward()`:

    ```python
    optimizer.zero_grad(set_to_none=True)
    loss = criterion(model(inputs), targets)
    loss.backward()
    optimizer.step()
    ```

    With gradient accumulation, put `optimizer.zero_grad()` right after `optimizer.step()`, in the same branch.
    """

    code = "NN505"
    name = "missing-zero-grad"
    points = (36,)
    severity = Severity.ERROR
    triggers = ("backward",)
    options = {"cycles": 3, "share": 0.8}

    bad = [
        Example(
            """
            import torch
            from torch import nn, optim
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            train_set = datasets.MNIST("data", train=True, download=True, transform=transforms.ToTensor())
            train_loader = DataLoader(train_set, batch_size=64, shuffle=True)

            model = nn.Sequential(
                nn.Flatten(),
                nn.Linear(784, 128),
                nn.ReLU(),
                nn.Linear(128, 10),
            )
            criterion = nn.CrossEntropyLoss()
            optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

            for epoch in range(5):
                running_loss = 0.0
                for images, labels in train_loader:
                    outputs = model(images)
                    loss = criterion(outputs, labels)
                    loss.backward()  # <-- NN505
                    optimizer.step()
                    running_loss += loss.item()
                print(f"epoch {epoch}: loss {running_loss / len(train_loader):.4f}")

            torch.save(model.state_dict(), "mnist.pt")
            """,
            why="A flat script that goes from the loss to backward and step and forgets to clear.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader, TensorDataset


            class TabularNet(torch.nn.Module):
                def __init__(self, in_features, hidden):
                    super().__init__()
                    self.hidden = torch.nn.Linear(in_features, hidden)
                    self.out = torch.nn.Linear(hidden, 1)

                def forward(self, x):
                    return self.out(F.relu(self.hidden(x))).squeeze(-1)


            def train_one_epoch(model, loader, optimizer, device):
                model.train()
                total = 0.0
                for features, target in loader:
                    features, target = features.to(device), target.to(device)
                    prediction = model(features)
                    loss = F.mse_loss(prediction, target)
                    loss.backward()  # <-- NN505
                    optimizer.step()
                    total += loss.item() * features.size(0)
                return total / len(loader.dataset)


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--lr", type=float, default=1e-3)
                parser.add_argument("--epochs", type=int, default=20)
                args = parser.parse_args()
                device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

                blob = torch.load("houses.pt")
                loader = DataLoader(TensorDataset(blob["x"], blob["y"]), batch_size=256, shuffle=True)
                model = TabularNet(blob["x"].shape[1], 64).to(device)
                optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
                optimizer.zero_grad()
                for epoch in range(args.epochs):
                    print(epoch, train_one_epoch(model, loader, optimizer, device))


            if __name__ == "__main__":
                main()
            """,
            why="Cleared once, before the first epoch; the loop itself stands in a function.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            from torch.nn.utils.rnn import pad_sequence
            from torch.utils.data import DataLoader


            class SentimentLSTM(nn.Module):
                def __init__(self, vocabulary_size, num_classes=2):
                    super().__init__()
                    self.embedding = nn.Embedding(vocabulary_size, 100, padding_idx=0)
                    self.lstm = nn.LSTM(100, 128, batch_first=True)
                    self.classifier = nn.Linear(128, num_classes)

                def forward(self, tokens):
                    _, (hidden, _) = self.lstm(self.embedding(tokens))
                    return self.classifier(hidden[-1])


            def collate(batch):
                texts, labels = zip(*batch)
                return pad_sequence(texts, batch_first=True), torch.tensor(labels)


            reviews = torch.load("reviews.pt")
            loader = DataLoader(reviews, batch_size=32, shuffle=True, collate_fn=collate)
            model = SentimentLSTM(vocabulary_size=20000)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            loss_fn = nn.CrossEntropyLoss()

            for epoch in range(10):
                for tokens, labels in loader:
                    loss = loss_fn(model(tokens), labels)
                    loss.backward()
                    optimizer.zero_grad()  # <-- NN505
                    optimizer.step()
                print(epoch, loss.item())
            """,
            why="Cleared between backward and step: the optimizer steps with empty gradients.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class SegmentationTrainer:
                def __init__(self, model, dataset, lr=3e-4, device="cuda"):
                    self.device = device
                    self.model = model.to(device)
                    self.loader = DataLoader(dataset, batch_size=8, shuffle=True, num_workers=4)
                    self.criterion = nn.CrossEntropyLoss(ignore_index=255)
                    self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr)
                    self.scaler = torch.amp.GradScaler("cuda")

                def _step(self, images, masks):
                    with torch.autocast("cuda", dtype=torch.float16):
                        logits = self.model(images)
                        loss = self.criterion(logits, masks)
                    self.scaler.scale(loss).backward()  # <-- NN505
                    self.scaler.step(self.optimizer)
                    self.scaler.update()
                    return loss.item()

                def fit(self, epochs):
                    for epoch in range(epochs):
                        self.model.train()
                        losses = []
                        for images, masks in self.loader:
                            losses.append(self._step(images.to(self.device), masks.to(self.device)))
                        print(f"[{epoch + 1}/{epochs}] loss={sum(losses) / len(losses):.4f}")


            class UNetSmall(nn.Module):
                def __init__(self, classes):
                    super().__init__()
                    self.down = nn.Sequential(nn.Conv2d(3, 64, 3, stride=2, padding=1), nn.ReLU())
                    self.up = nn.ConvTranspose2d(64, classes, 2, stride=2)

                def forward(self, x):
                    return self.up(self.down(x))


            if __name__ == "__main__":
                SegmentationTrainer(UNetSmall(21), torch.load("tiles.pt")).fit(30)
            """,
            why="A Trainer class with mixed precision; neither fit nor its step method clears anything.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            ACCUMULATION_STEPS = 4

            spectrograms, speakers = torch.load("speech_commands.pt")
            loader = DataLoader(TensorDataset(spectrograms, speakers), batch_size=16, shuffle=True, drop_last=True)

            net = nn.Sequential(
                nn.Conv1d(64, 128, 5, padding=2),
                nn.ReLU(),
                nn.AdaptiveAvgPool1d(1),
                nn.Flatten(),
                nn.Linear(128, 35),
            )
            optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
            loss_function = nn.CrossEntropyLoss()

            for epoch in range(40):
                net.train()
                for step, (batch, target) in enumerate(loader):
                    loss = loss_function(net(batch), target) / ACCUMULATION_STEPS
                    loss.backward()  # <-- NN505
                    if (step + 1) % ACCUMULATION_STEPS == 0:
                        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                        optimizer.step()
            """,
            why="Gradient accumulation that steps every four batches and never clears.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            LATENT = 100

            transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
            loader = DataLoader(datasets.FashionMNIST("data", transform=transform), batch_size=128, shuffle=True)

            generator = nn.Sequential(nn.Linear(LATENT, 256), nn.ReLU(), nn.Linear(256, 784), nn.Tanh())
            discriminator = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))
            optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
            optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
            criterion = nn.BCEWithLogitsLoss()

            for epoch in range(50):
                for real, _ in loader:
                    ones = torch.ones(real.size(0), 1)
                    zeros = torch.zeros(real.size(0), 1)
                    fake = generator(torch.randn(real.size(0), LATENT))

                    optimizer_d.zero_grad()
                    loss_d = criterion(discriminator(real), ones) + criterion(discriminator(fake.detach()), zeros)
                    loss_d.backward()
                    optimizer_d.step()

                    loss_g = criterion(discriminator(fake), ones)
                    loss_g.backward()  # <-- NN505
                    optimizer_g.step()
                print(f"{epoch}: D {loss_d.item():.3f} G {loss_g.item():.3f}")
            """,
            why="A GAN: the discriminator is cleared in every step, the generator never.",
        ),
        Example(
            """
            # file: models/__init__.py
            from .mlp import MLP


            def build_model(cfg):
                return MLP(cfg.in_features, cfg.hidden, cfg.num_classes)
            # file: models/mlp.py
            from torch import nn


            class MLP(nn.Module):
                def __init__(self, in_features, hidden, num_classes):
                    super().__init__()
                    self.body = nn.Sequential(nn.Linear(in_features, hidden), nn.BatchNorm1d(hidden), nn.ReLU())
                    self.head = nn.Linear(hidden, num_classes)

                def forward(self, x):
                    return self.head(self.body(x))
            # file: engine.py
            import torch


            def train_epoch(model, loader, criterion, optimizer):
                model.train()
                for x, y in loader:
                    loss = criterion(model(x), y)
                    loss.backward()  # <-- NN505
                    optimizer.step()


            @torch.no_grad()
            def accuracy(model, loader):
                model.eval()
                hits = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
                return hits / len(loader.dataset)
            # file: train.py
            from dataclasses import dataclass

            import torch
            from torch.utils.data import DataLoader

            from engine import accuracy, train_epoch
            from models import build_model


            @dataclass
            class Config:
                in_features: int = 54
                hidden: int = 256
                num_classes: int = 7
                lr: float = 1e-2
                epochs: int = 15


            def main(cfg):
                train_set, val_set = torch.load("covertype.pt")
                model = build_model(cfg)
                optimizer = torch.optim.SGD(model.parameters(), lr=cfg.lr)
                train_loader = DataLoader(train_set, batch_size=512, shuffle=True)
                val_loader = DataLoader(val_set, batch_size=1024)
                for epoch in range(cfg.epochs):
                    train_epoch(model, train_loader, torch.nn.CrossEntropyLoss(), optimizer)
                    print(epoch, accuracy(model, val_loader))


            if __name__ == "__main__":
                main(Config())
            """,
            why="A small project: the model in a package, the loop in engine.py, the wiring in train.py.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            def glorot(rows, columns):
                return (torch.randn(rows, columns) / rows**0.5).requires_grad_()


            w1, w2, w3, w4 = glorot(784, 128), glorot(128, 64), glorot(64, 64), glorot(64, 10)
            b1, b2, b3 = (torch.zeros(size, requires_grad=True) for size in (128, 64, 64))
            params = [w1, b1, w2, b2, w3, b3, w4]
            solver = torch.optim.Adam(params, lr=1e-3)

            for x, y in DataLoader(torch.load("mnist.pt"), batch_size=64, shuffle=True):
                hidden = torch.relu(x.flatten(1) @ w1 + b1)
                hidden = torch.relu(torch.relu(hidden @ w2 + b2) @ w3 + b3)
                loss = F.cross_entropy(hidden @ w4, y)
                loss.backward()
                solver.step()
                for p in params:
                    if p.grad is not None:
                        p.grad = torch.zeros_like(p.grad)

            scale = torch.nn.Parameter(torch.ones(1))
            sgd = torch.optim.SGD([scale], lr=0.1)
            for x, y in DataLoader(torch.load("pairs.pt"), batch_size=64, shuffle=True):
                F.mse_loss(scale * x, y).backward()
                scale.grad = scale.grad.sign()
                sgd.step()
                sgd.zero_grad()
            """,
            why="Gradients are replaced by hand: by zeros after the step, by their signs before it.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class Solver:
                def __init__(self, generator, discriminator, dataset):
                    self.G = generator
                    self.D = discriminator
                    self.loader = DataLoader(dataset, batch_size=16, shuffle=True, drop_last=True)
                    self.g_optimizer = torch.optim.Adam(self.G.parameters(), 1e-4, (0.5, 0.999))
                    self.d_optimizer = torch.optim.Adam(self.D.parameters(), 1e-4, (0.5, 0.999))

                def reset_grad(self):
                    self.g_optimizer.zero_grad()
                    self.d_optimizer.zero_grad()

                def train(self, iterations):
                    data_iter = iter(self.loader)
                    for i in range(iterations):
                        try:
                            x_real = next(data_iter)
                        except StopIteration:
                            data_iter = iter(self.loader)
                            x_real = next(data_iter)

                        x_fake = self.G(x_real)
                        d_loss = F.softplus(-self.D(x_real)).mean() + F.softplus(self.D(x_fake.detach())).mean()
                        self.reset_grad()
                        d_loss.backward()
                        self.d_optimizer.step()

                        g_loss = F.softplus(-self.D(self.G(x_real))).mean()
                        self.reset_grad()
                        g_loss.backward()
                        self.g_optimizer.step()


            if __name__ == "__main__":
                G = nn.Sequential(nn.Conv2d(3, 64, 7, padding=3), nn.ReLU(), nn.Conv2d(64, 3, 7, padding=3), nn.Tanh())
                D = nn.Sequential(nn.Conv2d(3, 64, 4, 2, 1), nn.LeakyReLU(0.01), nn.Conv2d(64, 1, 4, 2, 1))
                Solver(G, D, torch.load("faces.pt")).train(200000)
            """,
            why="The clearing stands in a helper method, as image-translation code likes to have it.",
        ),
        Example(
            """
            import torch
            from torch import nn, optim
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            train_set = datasets.CIFAR10("data", train=True, download=True, transform=transforms.ToTensor())
            train_loader = DataLoader(train_set, batch_size=128, shuffle=True)

            model = nn.Sequential(
                nn.Conv2d(3, 32, 3, stride=2),
                nn.ReLU(),
                nn.Flatten(),
                nn.LazyLinear(10),
            )
            model(torch.zeros(1, 3, 32, 32))
            criterion = nn.CrossEntropyLoss()
            optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
            scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30)

            optimizer.zero_grad(set_to_none=True)
            for epoch in range(30):
                for images, labels in train_loader:
                    loss = criterion(model(images), labels)
                    loss.backward()
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                scheduler.step()
                print(epoch, loss.item(), scheduler.get_last_lr())
            """,
            why="Cleared after the step, at the end of the body, with one call before the first epoch.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            def train_epoch(model, loader, optimizer, scaler, accumulate=8, max_norm=1.0):
                model.train()
                optimizer.zero_grad()
                total = 0.0
                for i, (tokens, labels) in enumerate(loader):
                    with torch.autocast("cuda", dtype=torch.float16):
                        logits = model(tokens.cuda())
                        loss = F.cross_entropy(logits, labels.cuda()) / accumulate
                    scaler.scale(loss).backward()
                    total += loss.item() * accumulate
                    if (i + 1) % accumulate == 0 or i + 1 == len(loader):
                        scaler.unscale_(optimizer)
                        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
                        scaler.step(optimizer)
                        scaler.update()
                        optimizer.zero_grad(set_to_none=True)
                return total / len(loader)


            def main():
                model = torch.nn.Sequential(
                    torch.nn.EmbeddingBag(30000, 256),
                    torch.nn.Linear(256, 128),
                    torch.nn.GELU(),
                    torch.nn.Linear(128, 4),
                ).cuda()
                loader = DataLoader(torch.load("news.pt"), batch_size=32, shuffle=True)
                optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
                scaler = torch.amp.GradScaler("cuda")
                for epoch in range(3):
                    print(epoch, train_epoch(model, loader, optimizer, scaler))


            main()
            """,
            why="Gradient accumulation with mixed precision: cleared in the branch that steps.",
        ),
        Example(
            """
            import torch
            from torch import nn


            def clear(params):
                for p in params:
                    p.grad = None


            def fit_network(x, y, steps=2000):
                net = nn.Sequential(nn.Linear(x.size(1), 32), nn.Tanh(), nn.Linear(32, 1))
                optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
                for _ in range(steps):
                    clear(net.parameters())
                    loss = ((net(x) - y) ** 2).mean()
                    loss.backward()
                    optimizer.step()
                return net


            def fit_linear(x, y, lr=0.1, steps=500):
                w = torch.zeros(x.size(1), 1, requires_grad=True)
                b = torch.zeros(1, requires_grad=True)
                for _ in range(steps):
                    loss = ((x @ w + b - y) ** 2).mean()
                    loss.backward()
                    with torch.no_grad():
                        w -= lr * w.grad
                        b -= lr * b.grad
                    w.grad.zero_()
                    b.grad.zero_()
                return w.detach(), b.detach()


            if __name__ == "__main__":
                x, y = torch.load("friedman.pt")
                fit_network(x, y)
                fit_linear(x, y)
            """,
            why="Cleared by hand, parameter by parameter; and a linear model that updates its own tensors.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class InverseProblem:
                def __init__(self, forward_model, measurement):
                    self.forward_model = forward_model
                    self.measurement = measurement
                    self.field = nn.Parameter(torch.zeros(1, 1, 64, 64))
                    self.optimizer = torch.optim.LBFGS([self.field], max_iter=20, line_search_fn="strong_wolfe")

                def solve(self, iterations=50):
                    def closure():
                        self.optimizer.zero_grad()
                        residual = self.forward_model(self.field) - self.measurement
                        loss = residual.square().mean() + 1e-3 * self.field.abs().mean()
                        loss.backward()
                        return loss

                    for i in range(iterations):
                        loss = self.optimizer.step(closure)
                        print(i, loss.item())
                    return self.field.detach()


            def saliency(classifier, images):
                classifier.eval()
                maps = []
                for image in images:
                    image = image.unsqueeze(0).clone().requires_grad_(True)
                    score = classifier(image).max()
                    score.backward()
                    maps.append(image.grad.abs().amax(dim=1))
                return torch.cat(maps)


            if __name__ == "__main__":
                blur = nn.AvgPool2d(5, stride=1, padding=2)
                InverseProblem(blur, torch.load("measured.pt")).solve()
            """,
            why="LBFGS clears inside its closure; a saliency map needs backward but has no optimizer.",
        ),
        Example(
            """
            # file: sam.py
            import torch


            class SAM(torch.optim.Optimizer):
                def __init__(self, params, base_optimizer, rho=0.05, **kwargs):
                    super().__init__(params, dict(rho=rho, **kwargs))
                    self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
                    self.param_groups = self.base_optimizer.param_groups

                @torch.no_grad()
                def first_step(self, zero_grad=False):
                    norm = torch.norm(torch.stack([p.grad.norm() for g in self.param_groups for p in g["params"]]))
                    for group in self.param_groups:
                        for p in group["params"]:
                            e_w = p.grad * (group["rho"] / (norm + 1e-12))
                            p.add_(e_w)
                            self.state[p]["e_w"] = e_w
                    if zero_grad:
                        self.zero_grad()

                @torch.no_grad()
                def second_step(self, zero_grad=False):
                    for group in self.param_groups:
                        for p in group["params"]:
                            p.sub_(self.state[p]["e_w"])
                    self.base_optimizer.step()
                    if zero_grad:
                        self.zero_grad()
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from sam import SAM

            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 10))
            optimizer = SAM(model.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
            loader = DataLoader(torch.load("kmnist.pt"), batch_size=128, shuffle=True)
            loss_fn = nn.CrossEntropyLoss()

            for epoch in range(20):
                for x, y in loader:
                    loss = loss_fn(model(x), y)
                    loss.backward()
                    optimizer.first_step(zero_grad=True)
                    loss_fn(model(x), y).backward()
                    optimizer.second_step(zero_grad=True)
                print(epoch, loss.item())
            """,
            why="Sharpness-aware minimisation: two backward passes, each cleared by the optimizer's own methods.",
        ),
        Example(
            """
            import lightning as L
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class LitAutoencoder(L.LightningModule):
                def __init__(self, width=64):
                    super().__init__()
                    self.encoder = nn.Sequential(nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 3))
                    self.decoder = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 784))

                def training_step(self, batch, batch_idx):
                    x = batch[0].flatten(1)
                    loss = F.mse_loss(self.decoder(self.encoder(x)), x)
                    self.log("train_loss", loss)
                    return loss

                def validation_step(self, batch, batch_idx):
                    x = batch[0].flatten(1)
                    self.log("val_loss", F.mse_loss(self.decoder(self.encoder(x)), x))

                def configure_optimizers(self):
                    return torch.optim.Adam(self.parameters(), lr=1e-3)


            class LitManual(LitAutoencoder):
                def __init__(self):
                    super().__init__()
                    self.automatic_optimization = False

                def training_step(self, batch, batch_idx):
                    optimizer = self.optimizers()
                    optimizer.zero_grad()
                    loss = super().training_step(batch, batch_idx)
                    self.manual_backward(loss)
                    optimizer.step()


            if __name__ == "__main__":
                train_set, val_set = torch.load("mnist_pair.pt")
                train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
                L.Trainer(max_epochs=10).fit(LitAutoencoder(), train_loader, DataLoader(val_set, batch_size=64))
                L.Trainer(max_epochs=10).fit(LitManual(), train_loader)
            """,
            why="Lightning in automatic mode: the framework clears, goes backward and steps.",
        ),
        Example(
            """
            # file: engine/steps.py
            def optimize(loss, optimizer):
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            # file: engine/base.py
            class BaseTrainer:
                def __init__(self, model, optimizer):
                    self.model = model
                    self.optimizer = optimizer

                def before_batch(self):
                    self.model.zero_grad()

                def run(self, loader, epochs):
                    for _ in range(epochs):
                        self.model.train()
                        for batch in loader:
                            self.before_batch()
                            loss = self.compute_loss(batch)
                            loss.backward()
                            self.optimizer.step()

                def compute_loss(self, batch):
                    raise NotImplementedError
            # file: engine/__init__.py
            from .base import BaseTrainer
            from .steps import optimize

            __all__ = ["BaseTrainer", "optimize"]
            # file: main.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from engine import BaseTrainer, optimize


            class RegressionTrainer(BaseTrainer):
                def compute_loss(self, batch):
                    x, y = batch
                    return F.smooth_l1_loss(self.model(x), y)


            def main():
                loader = DataLoader(torch.load("energy.pt"), batch_size=64, shuffle=True)
                model = torch.nn.Linear(24, 1)
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
                RegressionTrainer(model, optimizer).run(loader, 5)
                for x, y in loader:
                    optimize(F.mse_loss(model(x), y), optimizer)


            main()
            """,
            why="The step helper of another file clears first, and an inherited hook does the same.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        """Follow gradients from step to step of every optimizer."""
        for backward, step, optimizer in order.uncleared(program):
            if optimizer in program.named_only("zero_grad"):
                continue  # NN516 names the cause
            yield self.finding(
                backward.site,
                "Gradients add up from one optimizer step to the next: nothing clears them between the step at {0} and "
                "this backward, so every update follows the sum of all gradients so far.",
                "Call `optimizer.zero_grad()` once per step, before this backward or right after the step.",
                evidence=[
                    Hop("the optimizer steps here", step.site),
                    Hop("and was made here", program.site_of(optimizer) or step.site),
                ],
                # A wrapper that cannot be seen may clear the gradients in its step.
                confidence=Confidence.LIKELY if optimizer in program.presumed_optimizers else Confidence.CERTAIN,
            )
        for zero, step in order.cleared_too_early(program):
            yield self.finding(
                zero.site,
                "Gradients are cleared after backward and before the step at {0}: the optimizer steps with no gradient "
                "and the weights do not learn.",
                "Move `zero_grad()` before the backward pass or behind the step.",
                evidence=[Hop("the optimizer steps here, on cleared gradients", step.site)],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for place in () if run.steps else run.backwards:
            if place.by_hand and place.uncleared >= max(self.number("cycles"), self.number("share") * place.by_hand):
                yield self.finding(
                    place.line,
                    f"Gradients are never cleared: in {place.uncleared} of {place.by_hand} steps that the script made "
                    "by itself, this backward pass adds to the gradients that the step has already used.",
                    "Clear them after the update: `p.grad = None` or `p.grad.zero_()` for each parameter.",
                    evidence=[Hop("added to here", place.line, f"{place.uncleared} times")],
                    confidence=Confidence.LIKELY,
                )
        for optimizer in run.optimizers:
            least = max(self.number("cycles"), self.number("share") * optimizer.cycles)
            if optimizer.uncleared >= least:
                yield self.finding(
                    optimizer.uncleared_line,
                    f"Gradients are never cleared: in {optimizer.uncleared} of {optimizer.cycles} cycles looked at, "
                    "this backward pass adds to gradients that the step before has already used. Every step uses the "
                    "sum of all gradients so far.",
                    "Call `optimizer.zero_grad()` once per step, before `backward()`.",
                    evidence=[
                        Hop("the gradients are used here", optimizer.step_line, f"{optimizer.steps} steps"),
                        Hop("and added to here", optimizer.uncleared_line, f"{optimizer.uncleared} times"),
                    ],
                )
            elif optimizer.zeroed >= least:
                yield self.finding(
                    optimizer.cleared_line or optimizer.step_line,
                    f"Gradients are cleared between `backward()` and `step()`: in {optimizer.zeroed} of "
                    f"{optimizer.cycles} cycles looked at, the step found nothing of what the backward pass had "
                    "computed. The weights do not learn.",
                    "Clear the gradients before `backward()` or after `step()`, never in between.",
                    evidence=[
                        Hop("cleared here", optimizer.cleared_line or optimizer.step_line, f"{optimizer.zeroed} times"),
                        Hop("this step finds no gradient", optimizer.step_line, f"{optimizer.steps} steps"),
                    ],
                )

    def refute(self, finding: Finding, run: Run) -> str:
        near = evidence.at(run.optimizers, finding)
        near += [run.of("optimizer", key) for place in evidence.at(run.backwards, finding) for key in place.optimizers]
        if not near or any(o.cycles < 3 or o.uncleared for o in near):
            return ""
        return f"the gradients had been cleared in all {near[0].cycles} cycles looked at"
