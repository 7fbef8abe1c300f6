"""NN304: the sigmoid is applied twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer.knowledge import tensors
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class BCEWithLogitsOnProbabilities(Rule):
    """A sigmoid stands before a loss that applies the sigmoid itself.

    ## What it is

    `nn.BCEWithLogitsLoss` and `F.binary_cross_entropy_with_logits` expect logits: they apply the sigmoid and
    the binary cross-entropy in one numerically stable step. Here the values that reach them have already
    passed a sigmoid, in the model's `forward`, as the last layer of an `nn.Sequential`, or in the loop.

    ## Why it hurts training

    The first sigmoid gives values from 0 to 1, and the second maps these to the interval from 0.5 to 0.73. A
    clear "no" can never be said: the loss of a negative sample stays above 0.69, that of a positive one above
    0.31. The gradient is multiplied by the derivative of the first sigmoid, at most one quarter and almost
    zero for confident outputs, right or wrong. Predictions with a threshold of 0.5 on the doubled sigmoid
    are all positive.

    ## How it is told apart from code that only looks alike

    - A sigmoid for predictions and metrics, beside a loss that gets the logits, is right.
    - A sigmoid inside the model (gates, squeeze-and-excitation, SiLU) is not its output.
    - `if not self.training:` before the sigmoid: the loss gets logits in training.
    - Where only some columns pass a sigmoid (box centres in a detector), the others are still logits.
    - A sigmoid on the *target* side (a teacher's soft labels) is legal.
    - `nn.BCELoss` and `F.binary_cross_entropy` do want probabilities.

    In a run it is known where the graph shows that a sigmoid or a softmax made the numbers, with nothing but reshaping
    between. It is likely where every number of at least 20 evaluations in training lay in [0, 1], 1000 numbers at
    least, and they reached from below 0.1 to above 0.9: logits of both classes have both signs, and logits that happen
    to be small and positive do not come near both ends. Outputs of a ReLU start at 0 exactly; they are left alone.
    These limits are the project's own choice.

    ## What to do

    Return logits, and take the sigmoid only where probabilities are wanted:

    ```python
    logits = model(x)
    loss = F.binary_cross_entropy_with_logits(logits, target)
    predicted = logits > 0  # the same as sigmoid(logits) > 0.5
    ```
    """

    code = "NN304"
    name = "bce-with-logits-on-probabilities"
    points = (19,)
    severity = Severity.ERROR
    triggers = ("BCEWithLogitsLoss", "binary_cross_entropy_with_logits")
    options = {"evaluations": 20, "elements": 1000, "low": 0.1, "high": 0.9}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, TensorDataset

            features, survived = torch.load("titanic.pt")
            loader = DataLoader(TensorDataset(features, survived), batch_size=32, shuffle=True)

            model = nn.Sequential(
                nn.Linear(features.shape[1], 32),
                nn.ReLU(),
                nn.Linear(32, 1),
                nn.Sigmoid(),
            )
            criterion = nn.BCEWithLogitsLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

            for epoch in range(100):
                correct = 0
                for x, y in loader:
                    optimizer.zero_grad()
                    output = model(x).squeeze(1)
                    loss = criterion(output, y)  # <-- NN304
                    loss.backward()
                    optimizer.step()
                    correct += ((output > 0.5) == y.bool()).sum().item()
                print(epoch, correct / len(features))
            """,
            why="Sequential with a Sigmoid at its end, in a flat script.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms


            class Discriminator(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv = nn.Sequential(nn.Conv2d(1, 64, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(64, 1, 14))

                def forward(self, x):
                    return torch.sigmoid(self.conv(x).view(-1))


            class Generator(nn.Module):
                def __init__(self, latent):
                    super().__init__()
                    self.fc = nn.Linear(latent, 784)

                def forward(self, z):
                    return torch.tanh(self.fc(z)).view(-1, 1, 28, 28)


            def main(latent=64):
                netG, netD = Generator(latent), Discriminator()
                criterion = nn.BCEWithLogitsLoss()
                optG = torch.optim.Adam(netG.parameters(), 2e-4, (0.5, 0.999))
                optD = torch.optim.Adam(netD.parameters(), 2e-4, (0.5, 0.999))
                transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
                for epoch in range(25):
                    for real, _ in DataLoader(datasets.MNIST("data", transform=transform), 64, shuffle=True):
                        fake = netG(torch.randn(real.size(0), latent))
                        ones, zeros = torch.ones(real.size(0)), torch.zeros(real.size(0))
                        netD.zero_grad()
                        errD_real = criterion(netD(real), ones)  # <-- NN304
                        errD_fake = criterion(netD(fake.detach()), zeros)  # <-- NN304
                        (errD_real + errD_fake).backward()
                        optD.step()

                        netG.zero_grad()
                        errG = criterion(netD(fake), ones)  # <-- NN304
                        errG.backward()
                        optG.step()


            main()
            """,
            why="A GAN whose discriminator ends in sigmoid, as in the original recipe, with the newer loss.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import densenet121


            class ChestXray(nn.Module):
                def __init__(self, findings=14):
                    super().__init__()
                    self.backbone = densenet121(weights="DEFAULT")
                    self.backbone.classifier = nn.Linear(1024, findings)
                    self.activation = nn.Sigmoid()

                def forward(self, images):
                    return self.activation(self.backbone(images))


            class Trainer:
                def __init__(self, train_set, pos_weight):
                    self.model = ChestXray()
                    self.criterion = nn.BCEWithLogitsLoss(pos_weight=pos_weight)
                    self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4)
                    self.loader = DataLoader(train_set, batch_size=16, shuffle=True, num_workers=6)

                def train(self, epochs):
                    for epoch in range(epochs):
                        self.model.train()
                        total = 0.0
                        for images, findings in self.loader:
                            predictions = self.model(images)
                            loss = self.criterion(predictions, findings.float())  # <-- NN304
                            self.optimizer.zero_grad()
                            loss.backward()
                            self.optimizer.step()
                            total += loss.item()
                        print(epoch, total / len(self.loader))


            if __name__ == "__main__":
                Trainer(torch.load("xrays.pt"), pos_weight=torch.full((14,), 8.0)).train(10)
            """,
            why="A multi-label Trainer with pos_weight; the sigmoid is an attribute of the model.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class UNet(torch.nn.Module):
                def __init__(self, width=32):
                    super().__init__()
                    self.down = torch.nn.Conv2d(3, width, 3, padding=1)
                    self.mid = torch.nn.Conv2d(width, width, 3, padding=1)
                    self.up = torch.nn.Conv2d(2 * width, 1, 1)

                def forward(self, x):
                    a = F.relu(self.down(x))
                    b = F.relu(self.mid(F.max_pool2d(a, 2)))
                    return self.up(torch.cat([a, F.interpolate(b, scale_factor=2)], dim=1))


            def train_epoch(net, loader, optimizer, scaler):
                net.train()
                for images, masks in loader:
                    images, masks = images.cuda(), masks.cuda()
                    with torch.autocast("cuda"):
                        probs = net(images).sigmoid()
                        dice = 1 - 2 * (probs * masks).sum() / (probs.sum() + masks.sum() + 1.0)
                        loss = dice + F.binary_cross_entropy_with_logits(probs, masks)  # <-- NN304
                    optimizer.zero_grad()
                    scaler.scale(loss).backward()
                    scaler.step(optimizer)
                    scaler.update()


            net = UNet().cuda()
            optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
            scaler = torch.amp.GradScaler("cuda")
            for epoch in range(40):
                train_epoch(net, DataLoader(torch.load("salt.pt"), batch_size=16, shuffle=True), optimizer, scaler)
            """,
            why="The functional loss in mixed precision, after torch.sigmoid in the same function.",
        ),
        Example(
            """
            # file: recommender/base.py
            import torch
            from torch import nn


            class Scorer(nn.Module):
                def interaction(self, users, items):
                    raise NotImplementedError

                def forward(self, users, items):
                    return torch.sigmoid(self.interaction(users, items))
            # file: recommender/factorization.py
            from torch import nn

            from .base import Scorer


            class MatrixFactorization(Scorer):
                def __init__(self, n_users, n_items, dim):
                    super().__init__()
                    self.users = nn.Embedding(n_users, dim)
                    self.items = nn.Embedding(n_items, dim)

                def interaction(self, users, items):
                    return (self.users(users) * self.items(items)).sum(dim=1)
            # file: recommender/__init__.py
            from .factorization import MatrixFactorization


            def build_model(cfg):
                return MatrixFactorization(cfg["users"], cfg["items"], cfg["dim"])
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from recommender import build_model

            bce = nn.BCEWithLogitsLoss()


            def compute_loss(model, batch):
                users, items, clicked = batch
                return bce(model(users, items), clicked)  # <-- NN304


            def main():
                model = build_model({"users": 6040, "items": 3706, "dim": 32})
                optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
                for epoch in range(20):
                    for batch in DataLoader(torch.load("clicks.pt"), batch_size=1024, shuffle=True):
                        loss = compute_loss(model, batch)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            main()
            """,
            why="The model of another file inherits a forward that ends in a sigmoid; the loss sits in a helper.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader, random_split

            dataset = torch.load("fraud.pt")
            train_set, val_set = random_split(dataset, [0.8, 0.2])
            train_loader = DataLoader(train_set, batch_size=256, shuffle=True)
            val_loader = DataLoader(val_set, batch_size=1024)

            model = nn.Sequential(nn.Linear(29, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 1))
            criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([20.0]))
            sigmoid = nn.Sigmoid()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

            for epoch in range(20):
                model.train()
                for x, y in train_loader:
                    optimizer.zero_grad()
                    logits = model(x).squeeze(1)
                    scores = sigmoid(logits)
                    loss = criterion(logits, y)
                    loss.backward()
                    optimizer.step()
                mean_score = scores.mean().item()
                model.eval()
                flagged = 0
                with torch.no_grad():
                    for x, y in val_loader:
                        out = model(x).squeeze(1)
                        val_loss = criterion(out, y).item()
                        out = torch.sigmoid(out)
                        flagged += (out > 0.9).sum().item()
                print(epoch, mean_score, val_loss, flagged)
            """,
            why="The loss gets logits; sigmoid only for the metric and the prediction.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class SqueezeExcite(nn.Module):
                def __init__(self, channels):
                    super().__init__()
                    hidden = channels // 4
                    self.fc = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

                def forward(self, x):
                    scale = torch.sigmoid(self.fc(x.mean(dim=(2, 3))))
                    return x * scale[:, :, None, None]


            class GlaucomaNet(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.stem = nn.Conv2d(3, 64, 7, stride=4)
                    self.attention = SqueezeExcite(64)
                    self.gate = nn.Linear(64, 64)
                    self.out = nn.Linear(64, 1)

                def forward(self, images):
                    x = self.attention(F.silu(self.stem(images))).mean(dim=(2, 3))
                    x = x * self.gate(x).sigmoid()
                    return self.out(x)


            def main():
                net = GlaucomaNet()
                optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
                for epoch in range(15):
                    for images, label in DataLoader(torch.load("fundus.pt"), batch_size=16, shuffle=True):
                        loss = F.binary_cross_entropy_with_logits(net(images), label.unsqueeze(1).float())
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            main()
            """,
            why="Gates and squeeze-and-excitation use sigmoid inside; the output layer gives logits.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class SpamFilter(nn.Module):
                def __init__(self, vocabulary):
                    super().__init__()
                    self.embedding = nn.EmbeddingBag(vocabulary, 64)
                    self.out = nn.Linear(64, 1)

                def forward(self, tokens):
                    x = self.out(self.embedding(tokens)).squeeze(1)
                    if not self.training:
                        x = torch.sigmoid(x)
                    return x

                def probability(self, tokens):
                    return self.out(self.embedding(tokens)).squeeze(1).sigmoid()


            def main():
                train_set, test_set = torch.load("mails.pt")
                net = SpamFilter(50000)
                criterion = nn.BCEWithLogitsLoss()
                optimizer = torch.optim.Adam(net.parameters())
                for epoch in range(6):
                    net.train()
                    for tokens, spam in DataLoader(train_set, batch_size=64, shuffle=True):
                        loss = criterion(net(tokens), spam)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                    net.eval()
                    loader = DataLoader(test_set, batch_size=256)
                    with torch.no_grad():
                        hits = [((net(x) > 0.5) == y.bool()).float().mean().item() for x, y in loader]
                    print(epoch, sum(hits) / len(hits))


            main()
            """,
            why="Logits in training mode; probabilities after eval() and from a method of their own.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class GridDetector(nn.Module):
                def __init__(self, classes):
                    super().__init__()
                    self.backbone = nn.Sequential(nn.Conv2d(3, 64, 8, stride=8), nn.ReLU())
                    self.head = nn.Conv2d(64, 5 + classes, 1)

                def forward(self, images):
                    raw = self.head(self.backbone(images)).permute(0, 2, 3, 1)
                    centres = torch.sigmoid(raw[..., 0:2])
                    sizes = raw[..., 2:4].exp()
                    return centres, sizes, raw[..., 4], raw[..., 5:]


            def detection_loss(outputs, target):
                centres, sizes, objectness, classes = outputs
                mask = target["object"].bool()
                box = F.mse_loss(centres[mask], target["centre"][mask]) + F.mse_loss(sizes[mask], target["size"][mask])
                score = F.binary_cross_entropy_with_logits(objectness, target["object"])
                label = F.binary_cross_entropy_with_logits(classes[mask], target["classes"][mask])
                return box + score + label


            detector = GridDetector(classes=4)
            optimizer = torch.optim.SGD(detector.parameters(), lr=1e-3, momentum=0.9)
            for epoch in range(60):
                for images, target in DataLoader(torch.load("drones.pt"), batch_size=8, shuffle=True):
                    loss = detection_loss(detector(images), target)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="A detector: box centres pass a sigmoid, objectness and classes stay logits.",
        ),
        Example(
            """
            # file: distill/networks.py
            from torch import nn


            def make_student(features, labels):
                return nn.Sequential(nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, labels))


            def make_teacher(features, labels):
                return nn.Sequential(nn.Linear(features, 512), nn.ReLU(), nn.Linear(512, labels), nn.Sigmoid())
            # file: distill/__init__.py
            from .networks import make_student, make_teacher

            __all__ = ["make_student", "make_teacher"]
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from distill import make_student, make_teacher


            def main():
                loader = DataLoader(torch.load("tags.pt"), batch_size=64, shuffle=True)
                teacher, student = make_teacher(256, 20), make_student(256, 20)
                bce, bce_logits = nn.BCELoss(), nn.BCEWithLogitsLoss()
                teacher_optimizer = torch.optim.Adam(teacher.parameters())
                student_optimizer = torch.optim.Adam(student.parameters())
                for x, y in loader:
                    teacher_optimizer.zero_grad()
                    bce(teacher(x), y).backward()
                    teacher_optimizer.step()
                for x, y in loader:
                    with torch.no_grad():
                        soft = teacher(x)
                    logits = student(x)
                    loss = bce_logits(logits, soft) + bce_logits(logits, y)
                    student_optimizer.zero_grad()
                    loss.backward()
                    student_optimizer.step()


            main()
            """,
            why="BCELoss does want the sigmoid, and a teacher's sigmoid makes soft targets.",
        ),
        Example(
            """
            import argparse

            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Matcher(nn.Module):
                def __init__(self, dim, final_sigmoid=True):
                    super().__init__()
                    self.encoder = nn.GRU(100, dim, batch_first=True)
                    self.score = nn.Bilinear(dim, dim, 1)
                    self.final = nn.Sigmoid() if final_sigmoid else nn.Identity()

                def encode(self, words):
                    return self.encoder(words)[1][-1]

                def forward(self, question, answer):
                    return self.final(self.score(self.encode(question), self.encode(answer)).squeeze(1))


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--dim", type=int, default=128)
                args = parser.parse_args()
                matcher = Matcher(args.dim, final_sigmoid=False)
                criterion = nn.BCEWithLogitsLoss()
                optimizer = torch.optim.Adam(matcher.parameters(), lr=1e-3)
                for epoch in range(10):
                    for question, answer, fits in DataLoader(torch.load("faq.pt"), batch_size=32, shuffle=True):
                        loss = criterion(matcher(question, answer), fits)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            if __name__ == "__main__":
                main()
            """,
            why="A model with a choice: this project builds it without the final activation.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for use in program.losses:
            if use.loss.function != "binary_cross_entropy_with_logits":
                continue
            found = program.activation(use.prediction)
            if found is not None and found.site is not None and found.kind in (tensors.SIGMOID, tensors.PROBABILITIES):
                yield self.finding(
                    use.site,
                    f"BCEWithLogitsLoss applies sigmoid itself and gets {found.kind} (made at {{0}}): predictions are "
                    "squeezed into 0.5 to 0.73 and the loss cannot fall to zero.",
                    "Return the raw scores from the model (apply sigmoid only for predictions), or use BCELoss on "
                    "the probabilities.",
                    evidence=[
                        Hop(f"the numbers become {found.kind} here", found.site),
                        Hop("and reach the loss here", use.site),
                    ],
                )

    def watch(self, run: Run) -> Iterator[Finding]:
        for use in run.losses:
            if use.function != "binary_cross_entropy_with_logits" or not use.with_graph or not use.measured:
                continue
            if use.outside_unit:
                continue
            maker = {"SoftmaxBackward0": "softmax", "SigmoidBackward0": "sigmoid"}.get(use.made_by)
            spread = 0 < use.low < self.number("low") and use.high > self.number("high")
            many = use.measured >= self.number("evaluations") and use.elements >= self.number("elements")
            if maker is None and not (spread and many):
                continue
            module = run.of("module", use.maker)
            seen = f"from {use.low:.3g} to {use.high:.3g}"
            evidence = [Hop("they reach the loss here", use.line, seen)]
            if module is not None:
                evidence.insert(0, Hop(f"the output of `{module.name}`", module.line or use.line, use.made_by or None))
            what = f"the output of a {maker}" if maker else "what looks like probabilities"
            yield self.finding(
                use.line,
                f"BCEWithLogitsLoss applies sigmoid itself and gets {what}, {seen} in all {use.measured} evaluations "
                "looked at: predictions are squeezed into 0.5 to 0.73 and the loss cannot fall to zero.",
                "Return the raw scores from the model (apply sigmoid only for predictions), or use BCELoss on the "
                "probabilities.",
                evidence=evidence,
                confidence=Confidence.CERTAIN if maker else Confidence.LIKELY,
            )

    def refute(self, finding: Finding, run: Run) -> str:
        loss, what = "binary_cross_entropy_with_logits", "numbers that are no probabilities"
        return evidence.always(run, finding, loss, "outside_unit", what)
