"""NN302: cross-entropy is fed with probabilities instead of logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer.knowledge import tensors
from ...tracer import evidence
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class CrossEntropyOnProbabilities(Rule):
    """Cross-entropy receives probabilities, though it applies log-softmax to its input itself.

    ## What it is

    `nn.CrossEntropyLoss` and `F.cross_entropy` expect *logits*: raw scores of any size, one per class. They
    compute `log_softmax` and the negative log-likelihood in one numerically stable step. Here the scores have
    already passed a softmax or a sigmoid: in the model's `forward`, as the last layer of an `nn.Sequential`,
    or in the training loop.

    ## Why it hurts training

    Softmax is applied twice. The inputs of the second softmax lie between 0 and 1, so that its outputs can
    never come near 0 or 1: with ten classes the largest possible probability is 0.23 and the loss cannot fall
    below 1.46, however right the model is. The gradient is multiplied by the derivative of the first softmax,
    which vanishes as soon as the model is sure of itself, also when it is sure of the wrong class. Training is
    slow, stops early, and still looks as if it worked, because the order of the classes is not changed.

    ## How it is told apart from code that only looks alike

    - Softmax for predictions or metrics, beside a loss that gets the logits, is right.
    - `if self.training: return logits` before a softmax: the loss gets logits in training.
    - A softmax inside the model (attention weights, gates, mixtures) is not its output.
    - A model that returns both logits and probabilities is judged by the part that reaches the loss.
    - Probabilities as *target* (soft labels, distillation, mixup) are legal.
    - `log_softmax` before cross-entropy changes nothing, since `log_softmax` of log-probabilities is the
      identity: superfluous, but not wrong.
    - A loss of one's own that happens to be called `CrossEntropyLoss` is not PyTorch's.

    In a run, the rows that reach the loss in training must be non-negative and sum to 1 (to within 0.001, which float16
    needs) in every evaluation looked at, 3 of them at least: logits do not do that by chance. One evaluation is enough
    where the graph shows that a softmax or a sigmoid made the numbers, with nothing but reshaping between.

    ## What to do

    Return the logits from the model and leave the loss as it is:

    ```python
    def forward(self, x):
        return self.classifier(self.features(x))  # logits, no softmax

    loss = F.cross_entropy(model(x), target)
    probabilities = model(x).softmax(dim=-1)  # where probabilities are wanted, after training
    ```

    If the model must return probabilities, give the loss their logarithm: `F.nll_loss(torch.log(p + eps), target)`.
    """

    code = "NN302"
    name = "cross-entropy-on-probabilities"
    points = (19,)
    severity = Severity.ERROR
    triggers = ("CrossEntropyLoss", "cross_entropy")
    options = {"evaluations": 3}

    bad = [
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            import torch.optim as optim
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv1 = nn.Conv2d(1, 32, 3)
                    self.conv2 = nn.Conv2d(32, 64, 3)
                    self.fc1 = nn.Linear(1600, 128)
                    self.fc2 = nn.Linear(128, 10)

                def forward(self, x):
                    x = F.max_pool2d(F.relu(self.conv1(x)), 2)
                    x = F.max_pool2d(F.relu(self.conv2(x)), 2)
                    x = torch.flatten(x, 1)
                    x = F.relu(self.fc1(x))
                    return F.softmax(self.fc2(x), dim=1)


            transform = transforms.ToTensor()
            trainloader = DataLoader(datasets.MNIST(".", True, transform), batch_size=64, shuffle=True)
            net = Net()
            criterion = nn.CrossEntropyLoss()
            optimizer = optim.Adam(net.parameters(), lr=0.001)

            for epoch in range(3):
                for inputs, labels in trainloader:
                    optimizer.zero_grad()
                    outputs = net(inputs)
                    loss = criterion(outputs, labels)  # <-- NN302
                    loss.backward()
                    optimizer.step()
                print(epoch, loss.item())
            """,
            why="The forward of the model ends in softmax; the loss applies it again.",
        ),
        Example(
            """
            import pandas as pd
            import torch
            from sklearn.model_selection import train_test_split
            from sklearn.preprocessing import StandardScaler
            from torch import nn

            table = pd.read_csv("iris.csv")
            X_train, X_test, y_train, y_test = train_test_split(
                table.drop(columns="species").values, table["species"].astype("category").cat.codes.values
            )
            scaler = StandardScaler()
            X_train = torch.tensor(scaler.fit_transform(X_train), dtype=torch.float32)
            X_test = torch.tensor(scaler.transform(X_test), dtype=torch.float32)
            y_train = torch.tensor(y_train, dtype=torch.long)
            y_test = torch.tensor(y_test, dtype=torch.long)

            model = nn.Sequential(
                nn.Linear(4, 16),
                nn.ReLU(),
                nn.Linear(16, 3),
                nn.Softmax(dim=1),
            )
            loss_fn = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

            for epoch in range(200):
                y_pred = model(X_train)
                loss = loss_fn(y_pred, y_train)  # <-- NN302
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

            with torch.no_grad():
                accuracy = (model(X_test).argmax(dim=1) == y_test).float().mean()
            print(f"accuracy {accuracy.item():.3f}")
            """,
            why="A Sequential with nn.Softmax as its last layer, trained on the whole table at once.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader, TensorDataset


            class TextCNN(torch.nn.Module):
                def __init__(self, vocab, classes, widths=(3, 4, 5)):
                    super().__init__()
                    self.embed = torch.nn.Embedding(vocab, 128, padding_idx=0)
                    self.convs = torch.nn.ModuleList([torch.nn.Conv1d(128, 100, w) for w in widths])
                    self.fc = torch.nn.Linear(100 * len(widths), classes)

                def forward(self, tokens):
                    x = self.embed(tokens).transpose(1, 2)
                    return self.fc(torch.cat([conv(x).relu().amax(2) for conv in self.convs], dim=1))


            def train(model, loader, epochs, lr):
                optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
                model.train()
                for epoch in range(epochs):
                    correct = 0
                    for tokens, labels in loader:
                        logits = model(tokens)
                        probs = torch.softmax(logits, dim=-1)
                        loss = F.cross_entropy(probs, labels)  # <-- NN302
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                        correct += (probs.argmax(-1) == labels).sum().item()
                    print(f"epoch {epoch}: train accuracy {correct / len(loader.dataset):.3f}")


            if __name__ == "__main__":
                news = TensorDataset(*torch.load("ag_news.pt"))
                train(TextCNN(30000, 4), DataLoader(news, batch_size=64, shuffle=True), epochs=5, lr=1e-3)
            """,
            why="The loop itself turns the logits into probabilities before F.cross_entropy.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class KeywordSpotter(nn.Module):
                def __init__(self, n_mels=40, n_keywords=12):
                    super().__init__()
                    self.gru = nn.GRU(n_mels, 96, num_layers=2, batch_first=True)
                    self.fc = nn.Linear(96, n_keywords)

                def forward(self, frames):
                    _, hidden = self.gru(frames)
                    return torch.sigmoid(self.fc(hidden[-1]))


            class Trainer:
                def __init__(self, train_set, lr):
                    self.net = KeywordSpotter()
                    self.optim = torch.optim.Adam(self.net.parameters(), lr=lr)
                    self.criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
                    self.loader = DataLoader(train_set, batch_size=100, shuffle=True)

                def training_step(self, batch):
                    frames, keyword = batch
                    scores = self.net(frames)
                    return self.criterion(scores, keyword)  # <-- NN302

                def run(self, epochs):
                    for epoch in range(epochs):
                        for batch in self.loader:
                            self.optim.zero_grad()
                            loss = self.training_step(batch)
                            loss.backward()
                            nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
                            self.optim.step()
                        print(epoch, float(loss))


            if __name__ == "__main__":
                Trainer(torch.load("keywords.pt"), lr=1e-3).run(25)
            """,
            why="Sigmoid on the class scores, in a Trainer class with its own criterion attribute.",
        ),
        Example(
            """
            # file: models/__init__.py
            from .classifier import ImageClassifier
            from .heads import ProbabilityHead

            __all__ = ["ImageClassifier", "build_model"]


            def build_model(cfg):
                return ImageClassifier(cfg["width"], ProbabilityHead(cfg["width"], cfg["classes"]))
            # file: models/heads.py
            from torch import nn


            class ProbabilityHead(nn.Module):
                def __init__(self, width, classes):
                    super().__init__()
                    self.fc = nn.Linear(width, classes)
                    self.activation = nn.Softmax(dim=-1)

                def forward(self, features):
                    return self.activation(self.fc(features))
            # file: models/classifier.py
            from torch import nn


            class ImageClassifier(nn.Module):
                def __init__(self, width, head):
                    super().__init__()
                    self.stem = nn.Sequential(nn.Conv2d(3, width, 7, stride=2), nn.BatchNorm2d(width), nn.ReLU())
                    self.pool = nn.AdaptiveAvgPool2d(1)
                    self.head = head

                def forward(self, images):
                    return self.head(self.pool(self.stem(images)).flatten(1))
            # file: train.py
            import torch
            from torch.nn import CrossEntropyLoss
            from torch.utils.data import DataLoader

            from models import build_model


            def main():
                cfg = {"width": 64, "classes": 200, "lr": 0.05}
                model = build_model(cfg).cuda()
                criterion = CrossEntropyLoss().cuda()
                optimizer = torch.optim.SGD(model.parameters(), cfg["lr"], momentum=0.9, weight_decay=1e-4)
                loader = DataLoader(torch.load("birds.pt"), batch_size=64, shuffle=True, num_workers=8)
                model.train()
                for epoch in range(60):
                    for images, species in loader:
                        output = model(images.cuda(non_blocking=True))
                        loss = criterion(output, species.cuda(non_blocking=True))  # <-- NN302
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            if __name__ == "__main__":
                main()
            """,
            why="The softmax hides in a head of another module, behind a factory and a re-export.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class BaseSegmenter(nn.Module):
                def __init__(self, classes):
                    super().__init__()
                    self.encoder = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU())
                    self.decoder = nn.Conv2d(32, classes, 1)

                def predict_map(self, features):
                    return self.decoder(features)

                def forward(self, images):
                    return self.predict_map(self.encoder(images))


            class ScaledSegmenter(BaseSegmenter):
                def predict_map(self, features):
                    scores = super().predict_map(features)
                    scores = F.interpolate(scores, scale_factor=2, mode="bilinear")
                    return scores.softmax(dim=1)


            def main():
                net = ScaledSegmenter(classes=19)
                loader = DataLoader(torch.load("street.pt"), batch_size=4, shuffle=True)
                opt = torch.optim.AdamW(net.parameters(), lr=6e-5)
                for epoch in range(80):
                    for images, masks in loader:
                        opt.zero_grad()
                        loss = F.cross_entropy(net(images), masks, ignore_index=255)  # <-- NN302
                        loss.backward()
                        opt.step()


            main()
            """,
            why="A subclass overrides one method of the base network and softmaxes there.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader, random_split

            dataset = torch.load("leaves.pt")
            train_set, val_set = random_split(dataset, [0.8, 0.2])
            train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
            val_loader = DataLoader(val_set, batch_size=64)

            model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 99))
            softmax = nn.Softmax(dim=1)
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

            for epoch in range(50):
                model.train()
                for x, y in train_loader:
                    optimizer.zero_grad()
                    logits = model(x)
                    probs = softmax(logits)
                    loss = criterion(logits, y)
                    loss.backward()
                    optimizer.step()
                confidence = probs.max(dim=1).values.mean().item()

                model.eval()
                hits, val_loss = 0, 0.0
                with torch.no_grad():
                    for x, y in val_loader:
                        out = model(x)
                        val_loss += F.cross_entropy(out, y, reduction="sum").item()
                        out = F.softmax(out, dim=1)
                        hits += (out.argmax(1) == y).sum().item()
                print(epoch, confidence, val_loss / len(val_set), hits / len(val_set))
            """,
            why="The loss gets logits; softmax serves the confidence that is printed and the metric.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class ActionRecognizer(nn.Module):
                def __init__(self, joints, actions):
                    super().__init__()
                    self.lstm = nn.LSTM(joints * 3, 256, batch_first=True)
                    self.norm = nn.LayerNorm(256)
                    self.fc = nn.Linear(256, actions)

                def forward(self, skeletons):
                    _, (h, _) = self.lstm(skeletons)
                    logits = self.fc(self.norm(h[-1]))
                    if self.training:
                        return logits
                    return torch.softmax(logits, dim=1)

                @torch.no_grad()
                def predict(self, skeletons):
                    self.eval()
                    return self(skeletons).argmax(dim=1)


            def fit(net, loader, epochs=30):
                criterion = nn.CrossEntropyLoss()
                optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
                for _ in range(epochs):
                    net.train()
                    for skeletons, actions in loader:
                        loss = criterion(net(skeletons), actions)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            if __name__ == "__main__":
                network = ActionRecognizer(joints=25, actions=60)
                fit(network, DataLoader(torch.load("ntu.pt"), batch_size=64, shuffle=True))
                print(network.predict(torch.load("clip.pt")))
            """,
            why="Logits while training, probabilities only when the network is deployed.",
        ),
        Example(
            """
            import math

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class GatedAttentionPool(nn.Module):
                def __init__(self, dim):
                    super().__init__()
                    self.query = nn.Parameter(torch.randn(dim) / math.sqrt(dim))
                    self.gate = nn.Linear(dim, dim)

                def forward(self, x):
                    weights = torch.softmax(x @ self.query, dim=1)
                    pooled = (weights.unsqueeze(-1) * x).sum(dim=1)
                    return pooled * torch.sigmoid(self.gate(pooled))


            class BagClassifier(nn.Module):
                def __init__(self, dim, classes):
                    super().__init__()
                    self.pool = GatedAttentionPool(dim)
                    self.softmax = nn.Softmax(dim=-1)
                    self.classifier = nn.Linear(dim, classes)

                def forward(self, bags):
                    return self.classifier(self.pool(bags))

                def probabilities(self, bags):
                    return self.softmax(self(bags))


            def main():
                model = BagClassifier(512, 4)
                optimizer = torch.optim.Adam(model.parameters(), lr=2e-4)
                for epoch in range(20):
                    for bags, labels in DataLoader(torch.load("slides.pt"), batch_size=8, shuffle=True):
                        loss = F.cross_entropy(model(bags), labels)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            main()
            """,
            why="Softmax inside: attention weights and a gate, none of them the output.",
        ),
        Example(
            """
            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision.models import mobilenet_v3_small, resnet50


            def distill(student, teacher, loader, temperature=4.0, alpha=0.7, epochs=10):
                teacher.eval()
                for p in teacher.parameters():
                    p.requires_grad_(False)
                criterion = nn.CrossEntropyLoss()
                optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9)
                student.train()
                for _ in range(epochs):
                    for images, labels in loader:
                        with torch.no_grad():
                            soft_targets = F.softmax(teacher(images) / temperature, dim=1)
                        logits = student(images)
                        soft = criterion(logits / temperature, soft_targets) * temperature**2
                        hard = criterion(logits, labels)
                        loss = alpha * soft + (1 - alpha) * hard
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            if __name__ == "__main__":
                loader = DataLoader(torch.load("pets.pt"), batch_size=64, shuffle=True)
                distill(mobilenet_v3_small(num_classes=37), resnet50(weights=None, num_classes=37), loader)
            """,
            why="Distillation: softmax makes the target, the student gives logits.",
        ),
        Example(
            """
            # file: losses/__init__.py
            from .classification import CrossEntropyLoss

            __all__ = ["CrossEntropyLoss"]
            # file: losses/classification.py
            import torch
            from torch import nn


            class CrossEntropyLoss(nn.Module):
                # Negative log-likelihood of class probabilities.
                def __init__(self, eps=1e-7):
                    super().__init__()
                    self.eps = eps

                def forward(self, probabilities, target):
                    picked = probabilities.gather(1, target.unsqueeze(1))
                    return -torch.log(picked.clamp_min(self.eps)).mean()
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from losses import CrossEntropyLoss

            model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 5), nn.Softmax(dim=1))
            criterion = CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

            for epoch in range(100):
                for x, y in DataLoader(torch.load("sensors.pt"), batch_size=64, shuffle=True):
                    optimizer.zero_grad()
                    loss = criterion(model(x), y)
                    loss.backward()
                    optimizer.step()
            """,
            why="A class of the project is called CrossEntropyLoss and does expect probabilities.",
        ),
        Example(
            """
            # file: net.py
            import torch.nn.functional as F
            from torch import nn


            class TwoOutputs(nn.Module):
                def __init__(self, features, classes):
                    super().__init__()
                    self.hidden = nn.Linear(features, 64)
                    self.out = nn.Linear(64, classes)

                def forward(self, x):
                    logits = self.out(F.relu(self.hidden(x)))
                    return {"logits": logits, "probs": F.softmax(logits, dim=1)}


            class TupleOutputs(TwoOutputs):
                def forward(self, x):
                    out = super().forward(x)
                    return out["logits"], out["probs"]
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from net import TupleOutputs, TwoOutputs


            def main():
                loader = DataLoader(torch.load("wine.pt"), batch_size=16, shuffle=True)
                first, second = TwoOutputs(13, 3), TupleOutputs(13, 3)
                optimizer = torch.optim.Adam([*first.parameters(), *second.parameters()], lr=1e-3)
                for epoch in range(100):
                    correct = 0
                    for x, y in loader:
                        result = first(x)
                        logits, probs = second(x)
                        loss = F.cross_entropy(result["logits"], y) + F.cross_entropy(logits, y)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                        correct += ((probs + result["probs"]).argmax(1) == y).sum().item()
                    print(epoch, correct)


            main()
            """,
            why="The model returns logits and probabilities; only the logits go into the loss.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class CharacterModel(nn.Module):
                def __init__(self, alphabet, hidden=256):
                    super().__init__()
                    self.embedding = nn.Embedding(alphabet, 64)
                    self.rnn = nn.GRU(64, hidden, batch_first=True)
                    self.decoder = nn.Linear(hidden, alphabet)
                    self.log_softmax = nn.LogSoftmax(dim=-1)

                def forward(self, text):
                    states, _ = self.rnn(self.embedding(text))
                    return self.log_softmax(self.decoder(states))


            model = CharacterModel(alphabet=96)
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
            loader = DataLoader(torch.load("shakespeare.pt"), batch_size=32, shuffle=True)

            for epoch in range(10):
                for text, following in loader:
                    log_probs = model(text)
                    loss = criterion(log_probs.flatten(0, 1), following.flatten())
                    optimizer.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                    optimizer.step()
                print(epoch, loss.item())
            """,
            why="log_softmax before cross-entropy is superfluous, but leaves the loss as it was.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class SoftF1(nn.Module):
                def forward(self, probabilities, labels):
                    hot = F.one_hot(labels, probabilities.shape[1])
                    hits = (probabilities * hot).sum(0)
                    return 1 - (2 * hits / (probabilities.sum(0) + hot.sum(0) + 1e-6)).mean()


            class Focal(nn.Module):
                def forward(self, logits, labels):
                    each = F.cross_entropy(logits, labels, reduction="none")
                    return ((1 - torch.exp(-each)) ** 2 * each).mean()


            class Classifier(nn.Module):
                def __init__(self, config):
                    super().__init__()
                    self.config = config
                    self.layers = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 12))
                    if config["loss"] == "soft_f1":
                        self.criterion = SoftF1()
                    else:
                        self.criterion = Focal()

                def loss(self, x, labels):
                    logits = self.layers(x)
                    if self.config["loss"] == "soft_f1":
                        return self.criterion(F.softmax(logits, dim=1), labels)
                    return self.criterion(logits, labels)


            def train(config, data):
                model = Classifier(config)
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
                for epoch in range(10):
                    for x, labels in DataLoader(data, 64, shuffle=True):
                        optimizer.zero_grad()
                        loss = model.loss(x, labels)
                        loss.backward()
                        optimizer.step()
                    print(epoch, loss.item())


            train(torch.load("config.pt"), torch.load("train.pt"))
            """,
            why="The choice that applies softmax is the choice that takes the other criterion.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for use in program.losses:
            if use.loss.function != "cross_entropy":
                continue
            found = program.activation(use.prediction)
            if found is not None and found.site is not None and found.kind in (tensors.PROBABILITIES, tensors.SIGMOID):
                yield self.finding(
                    use.site,
                    f"cross-entropy gets {found.kind} (made at {{0}}) and applies log_softmax to them once more: "
                    "gradients become small and the loss cannot fall to zero.",
                    "Return the unnormalised scores from the model and apply softmax only where probabilities are "
                    "shown or thresholded.",
                    evidence=[
                        Hop(f"the numbers become {found.kind} here", found.site),
                        Hop("and reach the loss here", use.site),
                    ],
                )

    def watch(self, run: Run) -> Iterator[Finding]:
        for use in run.losses:
            if use.function != "cross_entropy" or not use.with_graph or not use.measured or (use.classes or 0) < 2:
                continue
            maker = {"SoftmaxBackward0": "softmax", "SigmoidBackward0": "sigmoid"}.get(use.made_by)
            known = maker is not None and use.within_unit == use.measured
            if not known and (use.probabilities < use.measured or use.measured < self.number("evaluations")):
                continue
            module = run.of("module", use.maker)
            evidence = [Hop("they reach the loss here", use.line, f"from {use.low:.3g} to {use.high:.3g}")]
            if module is not None:
                evidence.insert(0, Hop(f"the output of `{module.name}`", module.line or use.line, use.made_by or None))
            if maker == "sigmoid":
                fact = "the output of a sigmoid"
            else:
                fact = f"probabilities (rows from {use.low:.3g} to {use.high:.3g} that sum to 1)"
            yield self.finding(
                use.line,
                f"cross-entropy gets {fact} in all {use.measured} evaluations looked at, and applies log_softmax to "
                "them once more: gradients become small and the loss cannot fall to zero.",
                "Return the unnormalised scores from the model and apply softmax only where probabilities are shown or "
                "thresholded.",
                evidence=evidence,
            )

    def refute(self, finding: Finding, run: Run) -> str:
        return evidence.always(run, finding, "cross_entropy", "outside_unit", "numbers that are no probabilities")
