"""NN301: the negative log-likelihood does not get log-probabilities."""

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


class NLLWithoutLogSoftmax(Rule):
    """The negative log-likelihood loss receives logits or probabilities instead of log-probabilities.

    ## What it is

    `nn.NLLLoss` and `F.nll_loss` take no logarithm, whatever the name suggests: they pick the value of the
    right class, negate it and average. Their input must be log-probabilities, the output of `log_softmax`.
    Here the output of a plain linear layer (logits), of a softmax or of a sigmoid reaches the loss.

    ## Why it hurts training

    With logits, nothing normalises the scores. The loss is minus the score of the right class and has no lower
    bound: the network makes that score larger for ever, the loss runs to minus infinity, and nothing pushes
    the wrong classes down. With probabilities, the loss lies between -1 and 0 and its gradient is weak just
    where the prediction is wrong, so that training is slow and ends early. A negative loss is the sign to
    look for.

    ## How it is told apart from code that only looks alike

    - `log_softmax` counts wherever it is: in the model of another file, as the last layer of an
      `nn.Sequential`, or around the call of the loss; reshaping, indexing and permuting keep it.
    - `torch.log(softmax(x) + eps)`, `torch.log(p.clamp(min=eps))` and `x - x.logsumexp(dim, keepdim=True)` are
      log-probabilities as well; so is the logarithm of a mixture of distributions.
    - The values that `log_prob` of an adaptive softmax or of a distribution returns are log-probabilities.
    - `GaussianNLLLoss`, `PoissonNLLLoss` and a class of one's own named `NLLLoss` have other inputs.
    - A model whose output cannot be derived is unknown, and unknown is not reported.

    In a run, the numbers themselves are read: a log-probability is never positive. At least 3 evaluations in
    training must have had a number above 0.05, no evaluation may have had rows whose exponentials sum to one, and
    the input must not come straight from `log_softmax`. The limit leaves room for `torch.log(p + eps)`, which can
    exceed zero by `eps`. Negative numbers that are no log-probabilities are not reported: a focal loss scales them on
    purpose.

    ## What to do

    Take the loss that belongs to logits:

    ```python
    loss = F.cross_entropy(model(x), target)
    ```

    or end the model with `F.log_softmax(x, dim=-1)` and keep `nll_loss`.
    """

    code = "NN301"
    name = "nll-without-log-softmax"
    points = (19,)
    severity = Severity.ERROR
    triggers = ("NLLLoss", "nll_loss")
    options = {"evaluations": 3, "largest": 0.05}

    bad = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms


            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
                    self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
                    self.fc1 = nn.Linear(320, 50)
                    self.fc2 = nn.Linear(50, 10)

                def forward(self, x):
                    x = F.relu(F.max_pool2d(self.conv1(x), 2))
                    x = F.relu(F.max_pool2d(self.conv2(x), 2))
                    x = x.view(-1, 320)
                    x = F.relu(self.fc1(x))
                    return self.fc2(x)


            train_loader = DataLoader(
                datasets.MNIST("data", train=True, transform=transforms.ToTensor()), batch_size=64, shuffle=True
            )
            model = Net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)

            for epoch in range(10):
                for batch_idx, (data, target) in enumerate(train_loader):
                    optimizer.zero_grad()
                    output = model(data)
                    loss = F.nll_loss(output, target)  # <-- NN301
                    loss.backward()
                    optimizer.step()
                    if batch_idx % 100 == 0:
                        print(epoch, batch_idx, loss.item())
            """,
            why="A network that returns logits, trained with F.nll_loss in a flat script.",
        ),
        Example(
            """
            import torch
            from torch import nn, optim
            from torch.utils.data import DataLoader


            def build_network(hidden):
                return nn.Sequential(
                    nn.Linear(784, hidden),
                    nn.ReLU(),
                    nn.Linear(hidden, 10),
                    nn.Softmax(dim=1),
                )


            def train(network, loader, epochs):
                criterion = nn.NLLLoss()
                optimizer = optim.Adam(network.parameters(), lr=0.003)
                for epoch in range(epochs):
                    running_loss = 0.0
                    for images, labels in loader:
                        images = images.view(images.shape[0], -1)
                        optimizer.zero_grad()
                        log_ps = network(images)
                        loss = criterion(log_ps, labels)  # <-- NN301
                        loss.backward()
                        optimizer.step()
                        running_loss += loss.item()
                    print(f"Training loss: {running_loss / len(loader)}")


            if __name__ == "__main__":
                train(build_network(256), DataLoader(torch.load("fashion.pt"), batch_size=64, shuffle=True), 5)
            """,
            why="A Sequential that ends in Softmax instead of LogSoftmax.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class BiLSTMTagger(nn.Module):
                def __init__(self, words, tags):
                    super().__init__()
                    self.embedding = nn.Embedding(words, 64, padding_idx=0)
                    self.lstm = nn.LSTM(64, 64, bidirectional=True, batch_first=True)
                    self.hidden2tag = nn.Linear(128, tags)

                def forward(self, sentence):
                    states, _ = self.lstm(self.embedding(sentence))
                    return self.hidden2tag(states)


            class TaggerTrainer:
                def __init__(self, words, tags):
                    self.tags = tags
                    self.model = BiLSTMTagger(words, tags)
                    self.loss_function = nn.NLLLoss(ignore_index=0)
                    self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

                def fit(self, corpus, epochs):
                    loader = DataLoader(corpus, batch_size=32, shuffle=True)
                    for epoch in range(epochs):
                        for sentence, tags in loader:
                            self.model.zero_grad()
                            tag_scores = self.model(sentence)
                            tag_scores = tag_scores.view(-1, self.tags)
                            loss = self.loss_function(tag_scores, tags.view(-1))  # <-- NN301
                            loss.backward()
                            self.optimizer.step()
                        print(epoch, loss.item())


            TaggerTrainer(15000, 17).fit(torch.load("universal.pt"), epochs=20)
            """,
            why="A class with its loss as an attribute; the scores of the tags are reshaped on the way.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader
            from torchvision.models.segmentation import fcn_resnet50


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--classes", type=int, default=21)
                parser.add_argument("--epochs", type=int, default=30)
                args = parser.parse_args()

                model = fcn_resnet50(num_classes=args.classes)
                model.train()
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
                loader = DataLoader(torch.load("voc.pt"), batch_size=8, shuffle=True, drop_last=True)
                for epoch in range(args.epochs):
                    for images, masks in loader:
                        scores = model(images)["out"]
                        probabilities = F.softmax(scores, dim=1)
                        loss = F.nll_loss(probabilities, masks, ignore_index=255)  # <-- NN301
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                    print(epoch, loss.item())


            if __name__ == "__main__":
                main()
            """,
            why="The loop takes the softmax, where the loss needs its logarithm.",
        ),
        Example(
            """
            # file: gnn/layers.py
            import torch
            from torch import nn


            class GraphConv(nn.Module):
                def __init__(self, n_in, n_out):
                    super().__init__()
                    self.linear = nn.Linear(n_in, n_out)

                def forward(self, x, adjacency):
                    return torch.spmm(adjacency, self.linear(x))
            # file: gnn/models.py
            import torch.nn.functional as F
            from torch import nn

            from .layers import GraphConv


            class GCN(nn.Module):
                def __init__(self, features, hidden, classes):
                    super().__init__()
                    self.first = GraphConv(features, hidden)
                    self.second = GraphConv(hidden, classes)

                def forward(self, x, adjacency):
                    x = F.relu(self.first(x, adjacency))
                    return F.log_softmax(self.second(x, adjacency), dim=1)


            class ResidualGCN(GCN):
                def forward(self, x, adjacency):
                    hidden = F.relu(self.first(x, adjacency))
                    return self.second(hidden + x, adjacency)
            # file: gnn/__init__.py
            from .models import GCN, ResidualGCN

            MODELS = {"gcn": GCN, "residual": ResidualGCN}
            # file: train.py
            import torch
            import torch.nn.functional as F

            from gnn import ResidualGCN

            x, adjacency, labels, train_index = torch.load("citeseer.pt")
            model = ResidualGCN(x.size(1), x.size(1), int(labels.max()) + 1)
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
            for epoch in range(200):
                optimizer.zero_grad()
                output = model(x, adjacency)
                loss = F.nll_loss(output[train_index], labels[train_index])  # <-- NN301
                loss.backward()
                optimizer.step()
                print(epoch, loss.item())
            """,
            why="A graph network in its own package; its subclass forgets the log_softmax of its parent.",
        ),
    ]

    good = [
        Example(
            """
            # file: models/__init__.py
            from .rnn import CharRNN

            __all__ = ["CharRNN"]
            # file: models/rnn.py
            from torch import nn
            from torch.nn import functional as F


            class CharRNN(nn.Module):
                def __init__(self, symbols, hidden=128):
                    super().__init__()
                    self.encoder = nn.Embedding(symbols, hidden)
                    self.rnn = nn.GRU(hidden, hidden, batch_first=True)
                    self.decoder = nn.Linear(hidden, symbols)

                def forward(self, text):
                    states, _ = self.rnn(self.encoder(text))
                    return F.log_softmax(self.decoder(states), dim=-1)
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from models import CharRNN

            model = CharRNN(100)
            criterion = nn.NLLLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
            loader = DataLoader(torch.load("novel.pt"), batch_size=64, shuffle=True)
            for epoch in range(5):
                for text, following in loader:
                    output = model(text)
                    loss = criterion(output.reshape(-1, output.size(-1)), following.reshape(-1))
                    optimizer.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                    optimizer.step()
            """,
            why="log_softmax in the model of another file, behind a re-export and a reshape.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def log_normalize(scores):
                return scores - scores.logsumexp(dim=1, keepdim=True)


            class PatchClassifier(nn.Module):
                def __init__(self, classes):
                    super().__init__()
                    self.features = nn.Sequential(nn.Conv2d(3, 32, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
                    self.head = nn.Linear(32, classes)
                    self.auxiliary = nn.Linear(32, classes)
                    self.third = nn.Linear(32, classes)

                def forward(self, x):
                    x = self.features(x).flatten(1)
                    probabilities = F.softmax(self.auxiliary(x), dim=1)
                    return torch.softmax(self.head(x), dim=1), probabilities.clamp(min=1e-8), self.third(x)


            def main():
                net = PatchClassifier(9)
                optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
                for epoch in range(10):
                    for patch, tissue in DataLoader(torch.load("pathmnist.pt"), batch_size=64, shuffle=True):
                        main_probs, aux_probs, scores = net(patch)
                        loss = F.nll_loss(torch.log(main_probs + 1e-8), tissue)
                        loss = loss + 0.4 * F.nll_loss(aux_probs.log(), tissue)
                        loss = loss + 0.1 * F.nll_loss(log_normalize(scores), tissue)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            main()
            """,
            why="Logarithms taken by hand: log of a softmax with eps, of clamped probabilities, logsumexp.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            train_set, test_set = torch.load("flowers.pt")
            train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
            test_loader = DataLoader(test_set, batch_size=64)

            classifier = nn.Sequential(
                nn.Linear(1024, 512),
                nn.ReLU(),
                nn.Dropout(0.2),
                nn.Linear(512, 102),
                nn.LogSoftmax(dim=1),
            )
            criterion = nn.NLLLoss()
            optimizer = torch.optim.Adam(classifier.parameters(), lr=0.003)

            for epoch in range(10):
                classifier.train()
                for features, labels in train_loader:
                    optimizer.zero_grad()
                    loss = criterion(classifier(features), labels)
                    loss.backward()
                    optimizer.step()
                classifier.eval()
                top5 = 0
                with torch.no_grad():
                    for features, labels in test_loader:
                        ps = torch.exp(classifier(features))
                        _, top = ps.topk(5, dim=1)
                        top5 += (top == labels.unsqueeze(1)).any(dim=1).sum().item()
                print(epoch, top5 / len(test_set))
            """,
            why="The last layer of the Sequential is LogSoftmax; exp gives probabilities back for the metric.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class SmoothedNLL(nn.Module):
                def __init__(self, smoothing=0.1):
                    super().__init__()
                    self.smoothing = smoothing

                def forward(self, logits, target):
                    log_probs = F.log_softmax(logits, dim=-1)
                    nll = F.nll_loss(log_probs, target)
                    return (1 - self.smoothing) * nll - self.smoothing * log_probs.mean()


            class Trainer:
                def __init__(self):
                    self.net = nn.Sequential(nn.Linear(300, 128), nn.ReLU(), nn.Linear(128, 3))
                    self.smoothed = SmoothedNLL()
                    self.plain = nn.NLLLoss()
                    self.optimizer = torch.optim.Adam(self.net.parameters())

                def loss(self, x, y):
                    logits = self.net(x)
                    return self.smoothed(logits, y) + self.plain(logits.log_softmax(1), y)

                def fit(self, loader):
                    for epoch in range(10):
                        for x, y in loader:
                            self.optimizer.zero_grad()
                            self.loss(x, y).backward()
                            self.optimizer.step()


            Trainer().fit(DataLoader(torch.load("snli.pt"), batch_size=128, shuffle=True))
            """,
            why="The logits stay logits in the model; the loss function of the Trainer applies log_softmax.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class PointerDecoder(nn.Module):
                def __init__(self, vocabulary, dim=128):
                    super().__init__()
                    self.embedding = nn.Embedding(vocabulary, dim)
                    self.rnn = nn.GRU(dim, dim, batch_first=True)
                    self.generate = nn.Linear(dim, vocabulary)
                    self.switch = nn.Linear(dim, 1)
                    self.vocabulary = vocabulary

                def forward(self, source, prefix):
                    memory, _ = self.rnn(self.embedding(source))
                    _, state = self.rnn(self.embedding(prefix))
                    state = state[-1]
                    attention = F.softmax(torch.bmm(memory, state.unsqueeze(2)).squeeze(2), dim=1)
                    p = torch.sigmoid(self.switch(state))
                    mixture = p * F.softmax(self.generate(state), dim=1)
                    mixture = mixture.scatter_add(1, source, (1 - p) * attention)
                    return torch.log(mixture + 1e-10)


            net = PointerDecoder(8000)
            optimizer = torch.optim.Adam(net.parameters())
            for epoch in range(5):
                for source, prefix, word in DataLoader(torch.load("headlines.pt"), batch_size=16, shuffle=True):
                    loss = F.nll_loss(net(source, prefix), word)
                    optimizer.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(net.parameters(), 2.0)
                    optimizer.step()
            """,
            why="A mixture of two distributions, as pointer networks have it: the log of a sum of softmaxes.",
        ),
        Example(
            """
            import math

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class NLLLoss(nn.Module):
                def forward(self, mean, log_std, target):
                    z = (target - mean) / log_std.exp()
                    return (0.5 * z**2 + log_std + 0.5 * math.log(2 * math.pi)).mean()


            class Forecaster(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Linear(24, 32)
                    self.mean = nn.Linear(32, 1)
                    self.scale = nn.Linear(32, 1)
                    self.bucket = nn.AdaptiveLogSoftmaxWithLoss(32, 1000, cutoffs=[10, 100])

                def forward(self, x):
                    h = torch.tanh(self.body(x))
                    return self.mean(h), self.scale(h), self.bucket.log_prob(h)


            def main():
                net = Forecaster()
                own, gaussian = NLLLoss(), nn.GaussianNLLLoss()
                optimizer = torch.optim.Adam(net.parameters())
                for epoch in range(20):
                    for x, y, bucket in DataLoader(torch.load("load.pt"), batch_size=64, shuffle=True):
                        mean, scale, log_probs = net(x)
                        loss = own(mean, scale, y) + gaussian(mean, y, F.softplus(scale))
                        loss = loss + F.nll_loss(log_probs, bucket)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            main()
            """,
            why="Other losses with a similar name, and an adaptive softmax with log_prob.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from companyzoo.vision import create_backbone
            from torch.utils.data import DataLoader


            def train(model, loader, optimizer, epochs):
                for epoch in range(epochs):
                    model.train()
                    total = 0.0
                    for x, y in loader:
                        optimizer.zero_grad()
                        loss = F.nll_loss(model(x), y)
                        loss.backward()
                        optimizer.step()
                        total += loss.item()
                    print(epoch, total / len(loader))


            def main():
                model = create_backbone("tiny", output="log_probabilities")
                optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
                train(model, DataLoader(torch.load("parts.pt"), batch_size=64, shuffle=True), optimizer, 10)


            if __name__ == "__main__":
                main()
            """,
            why="The model comes from a package that cannot be read here: its output is unknown.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for use in program.losses:
            if use.loss.function != "nll_loss":
                continue
            found = program.activation(use.prediction)
            if (
                found is not None
                and found.site is not None
                and found.kind in (tensors.PROBABILITIES, tensors.SIGMOID, tensors.LOGITS, tensors.ACTIVATED)
            ):
                yield self.finding(
                    use.site,
                    f"NLLLoss expects log-probabilities and gets {found.kind} (made at {{0}}): the loss is just minus "
                    "the chosen score, negative and unbounded.",
                    "Apply `log_softmax(x, dim=1)` before it, or use CrossEntropyLoss on the unnormalised scores.",
                    evidence=[
                        Hop(f"the numbers become {found.kind} here", found.site),
                        Hop("and reach the loss here", use.site),
                    ],
                )

    def watch(self, run: Run) -> Iterator[Finding]:
        for use in run.losses:
            if use.function != "nll_loss" or not use.with_graph or use.made_by == "LogSoftmaxBackward0":
                continue
            if use.positive < self.number("evaluations") or 2 * use.positive < use.measured:
                continue
            if use.log_probabilities or use.high <= self.number("largest"):
                continue
            kind = "probabilities" if use.probabilities == use.measured else "raw scores"
            module = run.of("module", use.maker)
            seen = f"from {use.low:.3g} to {use.high:.3g}"
            evidence = [Hop(f"the loss gets {kind} here", use.line, seen)]
            if module is not None:
                evidence.insert(
                    0, Hop(f"`{module.name}` gives the numbers", module.line or use.line, use.made_by or None)
                )
            yield self.finding(
                use.line,
                f"NLLLoss expects log-probabilities, which are never positive, and gets {kind} {seen} in "
                f"{use.positive} of {use.measured} evaluations looked at: the loss is just minus the chosen score, "
                "and nothing holds the other scores down.",
                "Apply `log_softmax(x, dim=1)` before it, or use CrossEntropyLoss on the unnormalised scores.",
                evidence=evidence,
            )

    def refute(self, finding: Finding, run: Run) -> str:
        return evidence.always(run, finding, "nll_loss", "log_probabilities", "logarithms of probabilities")
