"""NN509: a running total or a list keeps every computation graph alive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import watching
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class GraphKeptAlive(Rule):
    """A total or a list collects tensors with their computation graphs, so that memory grows with every step.

    ## What it is

    A loss is more than a number: it holds the graph of all operations that led to it. `total += loss` and
    `history.append(loss)` store the tensor with its graph, and the graph of the total hangs on the graphs of
    all earlier steps.

    ## Why it hurts training

    The graph cannot be freed as long as the total or the list exists. Memory grows by a constant amount in
    every step, until the process is killed, often hours after the start, and steps get slower. After
    `backward()` it is the nodes of the graph that stay; in a loop that never calls `backward()`, such as an
    evaluation without `torch.no_grad()`, all activations of all batches stay, and the GPU is soon full. People
    then shrink the batch or the model to make it fit, though nothing was wrong with either.

    ## How it is told apart from code that only looks alike

    - `loss.item()`, `float(loss)`, `loss.detach()` and `loss.data` leave the graph behind, also when the name
      was rebound before (`loss = loss.item()`).
    - Under `no_grad` or `inference_mode` there is no graph.
    - A sum that is backpropagated itself (several tasks, several time steps, a gradient penalty) needs its graph.
    - Log-probabilities of an episode are collected for the loss at its end, and then cleared.
    - Counts such as `(prediction == target).sum()` have no gradient and so no graph.
    - A container that is made anew in every step frees what it held.

    In a run: a mark in the graph of each loss says how long it lives; 50 of one place at once are reported
    (`graphs`).

    ## What to do

    Collect numbers, not graphs:

    ```python
    running_loss += loss.item()
    losses.append(loss.detach())  # where the wait for the GPU in .item() is too dear
    ```
    """

    code = "NN509"
    name = "graph-kept-alive"
    points = (37,)
    severity = Severity.WARNING
    triggers = ("backward",)
    options = {"graphs": 50}

    bad = [
        Example(
            """
            import torch.nn as nn
            import torch.optim as optim
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
            trainset = datasets.CIFAR10("./data", train=True, download=True, transform=transform)
            trainloader = DataLoader(trainset, batch_size=32, shuffle=True, num_workers=2)

            net = nn.Sequential(
                nn.Conv2d(3, 16, 5),
                nn.ReLU(),
                nn.MaxPool2d(4),
                nn.Flatten(),
                nn.Linear(784, 10),
            )
            criterion = nn.CrossEntropyLoss()
            optimizer = optim.SGD(net.parameters(), lr=0.001, momentum=0.9)

            for epoch in range(20):
                running_loss = 0.0
                for inputs, labels in trainloader:
                    optimizer.zero_grad()
                    outputs = net(inputs)
                    loss = criterion(outputs, labels)
                    loss.backward()
                    optimizer.step()
                    running_loss += loss  # <-- NN509
                print(f"[{epoch + 1}] loss: {running_loss / len(trainloader):.3f}")
            """,
            why="The running loss of the classic tutorial loop, without .item().",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def train_one_epoch(model, loader, optimizer, clip):
                model.train()
                losses = []
                for source, target in loader:
                    logits = model(source)
                    loss = F.cross_entropy(logits.transpose(1, 2), target, ignore_index=0)
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                    optimizer.step()
                    losses.append(loss)  # <-- NN509
                return torch.stack(losses).mean()


            class Tagger(nn.Module):
                def __init__(self, words, tags):
                    super().__init__()
                    self.embedding = nn.Embedding(words, 100, padding_idx=0)
                    self.lstm = nn.LSTM(100, 150, batch_first=True, bidirectional=True)
                    self.out = nn.Linear(300, tags)

                def forward(self, x):
                    return self.out(self.lstm(self.embedding(x))[0])


            def main():
                model = Tagger(18000, 18)
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                loader = DataLoader(torch.load("treebank.pt"), batch_size=32, shuffle=True)
                for epoch in range(12):
                    print(epoch, train_one_epoch(model, loader, optimizer, clip=1.0))


            if __name__ == "__main__":
                main()
            """,
            why="A list of losses that is averaged when the epoch is over.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Trainer:
                def __init__(self, model, dataset, lr=1e-4):
                    self.model = model.cuda()
                    self.loader = DataLoader(dataset, batch_size=8, shuffle=True, num_workers=4)
                    self.criterion = nn.L1Loss()
                    self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr)
                    self.scaler = torch.amp.GradScaler("cuda")
                    self.total_loss = 0.0
                    self.steps = 0

                def training_step(self, low, high):
                    with torch.autocast("cuda"):
                        loss = self.criterion(self.model(low), high)
                    self.optimizer.zero_grad()
                    self.scaler.scale(loss).backward()
                    self.scaler.step(self.optimizer)
                    self.scaler.update()
                    self.total_loss = self.total_loss + loss  # <-- NN509
                    self.steps += 1

                def fit(self, epochs):
                    for epoch in range(epochs):
                        for low, high in self.loader:
                            self.training_step(low.cuda(), high.cuda())
                        print(f"epoch {epoch}: mean loss so far {self.total_loss / self.steps:.5f}")


            if __name__ == "__main__":
                upscaler = nn.Sequential(nn.Conv2d(3, 12, 5, padding=2), nn.PixelShuffle(2))
                Trainer(upscaler, torch.load("div2k.pt")).fit(100)
            """,
            why="An attribute of a Trainer adds up the losses of mixed-precision steps.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            train_set, val_set = torch.load("grasps.pt")
            train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
            val_loader = DataLoader(val_set, batch_size=64)

            model = nn.Sequential(nn.Linear(48, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 7))
            criterion = nn.MSELoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


            def validation_loss():
                model.eval()
                total = torch.zeros(())
                for state, joints in val_loader:
                    total += criterion(model(state), joints)  # <-- NN509
                return total.item() / len(val_loader)


            for epoch in range(100):
                model.train()
                for state, joints in train_loader:
                    optimizer.zero_grad()
                    loss = criterion(model(state), joints)
                    loss.backward()
                    optimizer.step()
                print(epoch, loss.item(), validation_loss())
            """,
            why="An evaluation without no_grad: the total keeps the activations of the whole validation set.",
        ),
        Example(
            """
            # file: vae/losses.py
            import torch
            import torch.nn.functional as F


            def elbo(reconstruction, x, mean, log_variance):
                rec = F.binary_cross_entropy_with_logits(reconstruction, x, reduction="sum")
                kld = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
                return rec, kld
            # file: vae/__init__.py
            import torch
            from torch import nn

            from .losses import elbo

            __all__ = ["VAE", "elbo"]


            class VAE(nn.Module):
                def __init__(self, latent=20):
                    super().__init__()
                    self.encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 2 * latent))
                    self.decoder = nn.Sequential(nn.Linear(latent, 400), nn.ReLU(), nn.Linear(400, 784))

                def forward(self, x):
                    mean, log_variance = self.encoder(x).chunk(2, dim=1)
                    z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
                    return self.decoder(z), mean, log_variance
            # file: train.py
            import torch
            from torch.utils.data import DataLoader

            from vae import VAE, elbo

            model = VAE()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            loader = DataLoader(torch.load("binarized_mnist.pt"), batch_size=128, shuffle=True)
            for epoch in range(10):
                totals = {"reconstruction": 0.0, "kl": 0.0}
                for x in loader:
                    reconstruction, mean, log_variance = model(x)
                    rec, kld = elbo(reconstruction, x, mean, log_variance)
                    optimizer.zero_grad()
                    (rec + kld).backward()
                    optimizer.step()
                    totals["reconstruction"] += rec.item()
                    totals["kl"] += kld  # <-- NN509
                print(epoch, totals)
            """,
            why="The parts of a VAE's loss in a dict of totals; model and losses in a package of their own.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from sklearn.metrics import roc_auc_score
            from torch import nn
            from torch.utils.data import DataLoader


            class ClickModel(nn.Module):
                def __init__(self, cardinalities, dim=16):
                    super().__init__()
                    self.tables = nn.ModuleList(nn.Embedding(n, dim) for n in cardinalities)
                    self.mlp = nn.Sequential(nn.Linear(dim * len(cardinalities), 64), nn.ReLU(), nn.Linear(64, 1))

                def forward(self, fields):
                    embedded = [table(fields[:, i]) for i, table in enumerate(self.tables)]
                    return self.mlp(torch.cat(embedded, dim=1)).squeeze(1)


            def run(epochs=3):
                model = ClickModel([1000, 500, 24, 7])
                optimizer = torch.optim.Adagrad(model.parameters(), lr=0.01)
                for epoch in range(epochs):
                    scores, clicks = [], []
                    for fields, clicked in DataLoader(torch.load("clicks.pt"), batch_size=4096, shuffle=True):
                        logits = model(fields)
                        loss = F.binary_cross_entropy_with_logits(logits, clicked)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                        scores.append(logits)  # <-- NN509
                        clicks.append(clicked)
                    auc = roc_auc_score(torch.cat(clicks).numpy(), torch.cat(scores).detach().numpy())
                    print(epoch, auc)


            run()
            """,
            why="The outputs of all training batches are collected for a metric at the end of the epoch.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Linear(20, 1)
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(10):
                sums = [0.0, 0]
                meters = {"mae": 0.0}
                for x, y in DataLoader(torch.load("prices.pt"), batch_size=64, shuffle=True):
                    error = model(x).squeeze(1) - y
                    loss = error.pow(2).mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    sums[0] += loss  # <-- NN509
                    sums[1] += 1
                    meters["mae"] += error.abs().mean()  # <-- NN509
                print(sums[0] / sums[1], meters["mae"] / sums[1])
            """,
            why="Sums that stand in a list and in a dict.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader

            loader = DataLoader(torch.load("emnist.pt"), batch_size=128, shuffle=True)
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 47))
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

            for epoch in range(10):
                running, smooth, on_gpu, correct = 0.0, 0.0, torch.zeros(()), 0
                history, plain, predictions = [], [], []
                for images, labels in loader:
                    logits = model(images)
                    loss = F.cross_entropy(logits, labels)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    predicted = logits.argmax(dim=1)
                    correct += (predicted == labels).sum()
                    predictions.append(predicted)
                    running += loss.item() * images.size(0)
                    smooth = 0.9 * smooth + 0.1 * float(loss)
                    on_gpu += loss.detach()
                    history.append(loss.data)
                    plain.append(loss.detach().cpu().numpy())
                    loss = loss.item()
                    running += loss
                print(epoch, running, smooth, on_gpu.item(), len(history), len(plain), correct.item())
            """,
            why="Every usual way to take the number out of the tensor, and counts that have no gradient.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class Rollout(nn.Module):
                def __init__(self, state):
                    super().__init__()
                    self.cell = nn.GRUCell(state, 64)
                    self.out = nn.Linear(64, state)

                def forward(self, x, hidden):
                    hidden = self.cell(x, hidden)
                    return x + self.out(hidden), hidden


            def rollout_loss(model, trajectory):
                loss = 0.0
                terms = []
                x, hidden = trajectory[:, 0], torch.zeros(len(trajectory), 64)
                for t in range(1, trajectory.size(1)):
                    x, hidden = model(x, hidden)
                    loss += F.mse_loss(x, trajectory[:, t])
                    terms.append(hidden.abs().mean())
                return loss + 1e-4 * torch.stack(terms).sum()


            def main():
                model = Rollout(6)
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
                loader = DataLoader(torch.load("pendulum.pt"), batch_size=32, shuffle=True)
                for epoch in range(30):
                    total = 0.0
                    for trajectory in loader:
                        loss = rollout_loss(model, trajectory)
                        for scale in (1, 2):
                            loss += 0.1 * rollout_loss(model, trajectory[:, ::scale])
                        optimizer.zero_grad()
                        loss.backward()
                        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                        optimizer.step()
                        total += loss.item()
                    print(epoch, total)


            main()
            """,
            why="Sums that are backpropagated: several scales, several time steps, several tasks.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class Evaluator:
                def __init__(self, model, loader):
                    self.model = model
                    self.loader = loader
                    self.criterion = nn.CrossEntropyLoss()
                    self.outputs = []

                @torch.no_grad()
                def loss(self):
                    self.model.eval()
                    total = torch.zeros(())
                    for x, y in self.loader:
                        total += self.criterion(self.model(x), y)
                    return total / len(self.loader)

                def collect(self):
                    self.model.eval()
                    with torch.inference_mode():
                        for x, _ in self.loader:
                            self.outputs.append(self.model(x))
                    return torch.cat(self.outputs)


            train_set, val_set = torch.load("gestures.pt")
            model = nn.Sequential(nn.Linear(63, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 18))
            evaluator = Evaluator(model, DataLoader(val_set, batch_size=256))
            criterion = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters())
            for epoch in range(25):
                model.train()
                for x, y in DataLoader(train_set, batch_size=64, shuffle=True):
                    optimizer.zero_grad()
                    criterion(model(x), y).backward()
                    optimizer.step()
                print(epoch, evaluator.loss())
            print(evaluator.collect().shape)
            """,
            why="Under no_grad and inference_mode nothing is recorded, so tensors may be collected.",
        ),
        Example(
            """
            import gymnasium as gym
            import torch
            from torch import nn
            from torch.distributions import Categorical


            class Policy(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.net = nn.Sequential(nn.Linear(4, 128), nn.ReLU(), nn.Linear(128, 2))
                    self.saved_log_probs = []
                    self.rewards = []

                def act(self, observation):
                    distribution = Categorical(logits=self.net(torch.from_numpy(observation).float()))
                    action = distribution.sample()
                    self.saved_log_probs.append(distribution.log_prob(action))
                    return action.item()


            def finish_episode(policy, optimizer, gamma=0.99):
                value, returns = 0.0, []
                for reward in reversed(policy.rewards):
                    value = reward + gamma * value
                    returns.insert(0, value)
                returns = torch.tensor(returns)
                loss = -(torch.stack(policy.saved_log_probs) * (returns - returns.mean())).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                del policy.saved_log_probs[:]
                policy.rewards.clear()


            env = gym.make("CartPole-v1")
            policy = Policy()
            optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
            for episode in range(1000):
                observation, _ = env.reset()
                done = False
                while not done:
                    observation, reward, terminated, truncated, _ = env.step(policy.act(observation))
                    policy.rewards.append(reward)
                    done = terminated or truncated
                finish_episode(policy, optimizer)
            """,
            why="REINFORCE collects log-probabilities for the loss of the episode, and clears them.",
        ),
        Example(
            """
            # file: utils/meters.py
            class AverageMeter:
                def __init__(self):
                    self.sum = 0.0
                    self.count = 0
                    self.values = []

                def update(self, value, n=1):
                    self.sum += value * n
                    self.count += n
                    self.values.append(value)

                @property
                def average(self):
                    return self.sum / max(self.count, 1)
            # file: utils/__init__.py
            from .meters import AverageMeter

            __all__ = ["AverageMeter"]
            # file: train.py
            import torch
            import torch.nn.functional as F
            import torchmetrics
            from torch.utils.data import DataLoader

            from utils import AverageMeter

            model = torch.nn.Linear(100, 6)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=6)
            for epoch in range(10):
                meter = AverageMeter()
                for x, y in DataLoader(torch.load("tweets.pt"), batch_size=64, shuffle=True):
                    logits = model(x)
                    loss = F.cross_entropy(logits, y)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    meter.update(loss.item(), len(x))
                    accuracy.update(logits, y)
                print(epoch, meter.average, accuracy.compute().item())
                accuracy.reset()
            """,
            why="A meter of the project's utilities receives numbers, and a library's metric detaches itself.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def losses_by_name(outputs, batch):
                named = {"depth": F.l1_loss(outputs[:, :1], batch["depth"])}
                named["normals"] = 1 - F.cosine_similarity(outputs[:, 1:], batch["normals"]).mean()
                return named


            class Trainer:
                def __init__(self, net):
                    self.net = net
                    self.optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
                    self.last = {}

                def step(self, batch):
                    parts = []
                    for name, value in losses_by_name(self.net(batch["image"]), batch).items():
                        parts.append(value)
                        self.last[name] = value
                    loss = sum(parts)
                    self.optimizer.zero_grad()
                    loss.backward()
                    self.optimizer.step()

                def fit(self, dataset, epochs):
                    for epoch in range(epochs):
                        for batch in DataLoader(dataset, batch_size=4, shuffle=True):
                            self.step(batch)
                        print(epoch, {name: value.item() for name, value in self.last.items()})


            Trainer(nn.Conv2d(3, 4, 7, padding=3)).fit(torch.load("rooms.pt"), epochs=20)
            """,
            why="The containers live for one step only; what lives longer is overwritten.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            model = nn.Linear(10, 1)
            optimizer = torch.optim.Adam(model.parameters())
            total = 0.0
            for x, y in DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True):
                error = model(x).squeeze(1) - y
                losses = {"loss": error.pow(2).mean(), "mae": error.abs().mean()}
                optimizer.zero_grad()
                losses["loss"].backward()
                optimizer.step()
                for name, value in losses.items():
                    losses[name] = value.item()
                total += losses["loss"]
            print(total)
            """,
            why="Numbers have taken the place of the tensors.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for growth in watching.graph_accumulations(program):
            yield self.finding(
                growth.effect.site,
                "A tensor that still carries its graph is added up over the loop at {0}: every step's graph is "
                "kept alive, and memory grows with each of them.",
                "Add the number instead: `.item()` (or `.detach()` to stay on the device).",
                evidence=[
                    Hop("the loop over which it adds up", growth.loop.site),
                    *([Hop("the tensor is made here", growth.made)] if growth.made else []),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        for place in run.backwards:
            if place.most_alive < self.number("graphs"):
                continue
            yield self.finding(
                place.line,
                f"Up to {place.most_alive} graphs of losses existed at once, long after their backward pass: "
                "something keeps "
                "the losses as tensors (`total += loss`, a list), and every graph with them. Memory grows at each "
                "step.",
                "Keep numbers: `total += loss.item()`, or `loss.detach()`.",
                evidence=[Hop("the loss is differentiated here", place.line, f"{place.calls} calls")],
            )
