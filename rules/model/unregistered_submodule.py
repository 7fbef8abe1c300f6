"""NN402: layers or parameters that the module does not know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import structure
from ...tracer import evidence
from ..finding import Finding, Hop, Line, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Module, Parameter, Run


class UnregisteredSubmodule(Rule):
    """Layers sit in a plain list, tuple or dict (or a parameter is a plain tensor), so nobody trains them.

    ## What it is

    A module finds its children and parameters when they are *assigned to an attribute*: a `Module` or a
    `Parameter` is registered, anything else is just a Python value. Layers inside a plain `list`, `tuple` or
    `dict`, and tensors with `requires_grad=True` that are not an `nn.Parameter`, are used in `forward` but
    belong to nobody.

    ## Why it hurts training

    `model.parameters()` does not contain them. The optimizer never updates them, so they keep their random
    initial values while the rest of the network learns around them: the loss falls, to a worse place.
    `model.to(device)` leaves them on the CPU, `state_dict()` does not save them, `train()` and `eval()` do not
    reach them, and `requires_grad_(False)` does not freeze them. None of this raises an error.

    ## How it is told apart from code that only looks alike

    - A list that only collects, and is then handed to `nn.Sequential(*layers)` or `nn.ModuleList(layers)`, is
      the usual way to build a network.
    - `add_module`, `register_module`, `register_parameter` and `setattr(self, name, layer)` register; a list
      beside them is a second way to reach the same layers.
    - A list of layers that are attributes already (`self.stages = [self.layer1, self.layer2]`) loses nothing.
    - Layers without parameters (activations, pooling, losses) need no registration to be trained.
    - A frozen network is sometimes put into a list on purpose, to keep it out of `state_dict()`.
    - Constants are no parameters; and a class that is no `nn.Module` may keep its networks as it likes, when
      it hands their parameters to the optimizer itself.

    In a run, such a layer runs inside the forward pass of a module whose `modules()` do not contain it, or a graph
    leads to a tensor that a module holds as a plain attribute. It is reported when at least 2 of the backward passes
    looked at reach it, 5 steps were made, and no optimizer owns it, no checkpoint was loaded into it and nothing else
    moves it.

    ## What to do

    Use the container that registers:

    ```python
    self.blocks = nn.ModuleList([Block(width) for _ in range(depth)])
    self.heads = nn.ModuleDict({task: nn.Linear(width, 1) for task in tasks})
    self.scale = nn.Parameter(torch.ones(1))
    ```

    Check with `sum(p.numel() for p in model.parameters())`: it must grow with `depth`.
    """

    code = "NN402"
    name = "unregistered-submodule"
    points = (23,)
    severity = Severity.ERROR
    triggers = ("Module",)
    options = {"steps": 5, "reached": 2}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class ResidualMLP(nn.Module):
                def __init__(self, features, width, depth):
                    super().__init__()
                    self.stem = nn.Linear(features, width)
                    self.blocks = [nn.Linear(width, width) for _ in range(depth)]  # <-- NN402
                    self.head = nn.Linear(width, 1)

                def forward(self, x):
                    x = self.stem(x)
                    for block in self.blocks:
                        x = x + block(x).relu()
                    return self.head(x).squeeze(-1)


            model = ResidualMLP(90, 128, depth=6)
            loader = DataLoader(torch.load("year_prediction.pt"), batch_size=256, shuffle=True)
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
            criterion = nn.MSELoss()

            for epoch in range(20):
                running = 0.0
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(x), y)
                    loss.backward()
                    optimizer.step()
                    running += loss.item()
                print(epoch, running / len(loader))
            """,
            why="Blocks in a list comprehension, in a flat script.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn as nn
            import torch.nn.functional as F
            from torch.utils.data import DataLoader


            class TemporalConvNet(nn.Module):
                def __init__(self, in_channels, channels, classes):
                    super().__init__()
                    self.layers = []  # <-- NN402
                    for i, out_channels in enumerate(channels):
                        dilation = 2**i
                        conv = nn.Conv1d(in_channels, out_channels, 3, padding=dilation, dilation=dilation)
                        self.layers.append(conv)
                        in_channels = out_channels
                    self.classifier = nn.Linear(in_channels, classes)

                def forward(self, x):
                    for layer in self.layers:
                        x = F.relu(layer(x))
                    return self.classifier(x.mean(dim=2))


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 64])
                parser.add_argument("--epochs", type=int, default=10)
                args = parser.parse_args()
                net = TemporalConvNet(9, args.channels, 6)
                optimizer = torch.optim.Adam(net.parameters())
                loader = DataLoader(torch.load("har.pt"), batch_size=64, shuffle=True)
                for epoch in range(args.epochs):
                    for signal, activity in loader:
                        loss = F.cross_entropy(net(signal), activity)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            if __name__ == "__main__":
                main()
            """,
            why="An empty list that a loop in the constructor fills.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class MultiTaskNet(nn.Module):
                def __init__(self, features, tasks):
                    super().__init__()
                    self.trunk = nn.Sequential(nn.Linear(features, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
                    self.heads = {task: nn.Linear(64, 1) for task in tasks}  # <-- NN402

                def forward(self, x):
                    shared = self.trunk(x)
                    return {task: head(shared).squeeze(1) for task, head in self.heads.items()}


            class Trainer:
                def __init__(self, tasks, lr=1e-3):
                    self.tasks = tasks
                    self.model = MultiTaskNet(200, tasks)
                    self.criterion = nn.BCEWithLogitsLoss()
                    self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr)

                def fit(self, dataset, epochs):
                    for epoch in range(epochs):
                        for x, targets in DataLoader(dataset, batch_size=128, shuffle=True):
                            outputs = self.model(x)
                            loss = sum(self.criterion(outputs[t], targets[t]) for t in self.tasks)
                            self.optimizer.zero_grad()
                            loss.backward()
                            self.optimizer.step()
                        print(epoch, loss.item())


            Trainer(["nr-ahr", "nr-ar", "sr-p53"]).fit(torch.load("tox21.pt"), epochs=30)
            """,
            why="One head per task, in a dict.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class TwoTower(nn.Module):
                def __init__(self, image_dim, text_dim, dim=256):
                    super().__init__()
                    self.image = nn.Linear(image_dim, dim)
                    self.text = nn.Linear(text_dim, dim)
                    self.log_scale = torch.tensor(2.66, requires_grad=True)  # <-- NN402

                def forward(self, image, text):
                    image = F.normalize(self.image(image), dim=-1)
                    text = F.normalize(self.text(text), dim=-1)
                    return self.log_scale.exp() * image @ text.t()


            def contrastive_loss(similarity):
                labels = torch.arange(similarity.size(0))
                return 0.5 * (F.cross_entropy(similarity, labels) + F.cross_entropy(similarity.t(), labels))


            def main():
                model = TwoTower(2048, 768)
                optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.2)
                loader = DataLoader(torch.load("captions.pt"), batch_size=512, shuffle=True, drop_last=True)
                for epoch in range(30):
                    for image, text in loader:
                        loss = contrastive_loss(model(image, text))
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                    print(epoch, loss.item())


            main()
            """,
            why="A learnable temperature that is a plain tensor with requires_grad.",
        ),
        Example(
            """
            # file: networks/__init__.py
            from .textcnn import SentenceCNN


            def get_network(cfg):
                return SentenceCNN(cfg.vocab_size, cfg.embed_dim, cfg.num_classes)
            # file: networks/textcnn.py
            import torch
            from torch import nn


            class SentenceCNN(nn.Module):
                def __init__(self, vocab_size, embed_dim, num_classes):
                    super().__init__()
                    self.embedding = nn.Embedding(vocab_size, embed_dim)
                    self.convs = (  # <-- NN402
                        nn.Conv1d(embed_dim, 100, kernel_size=3),
                        nn.Conv1d(embed_dim, 100, kernel_size=4),
                        nn.Conv1d(embed_dim, 100, kernel_size=5),
                    )
                    self.fc = nn.Linear(300, num_classes)

                def forward(self, tokens):
                    x = self.embedding(tokens).permute(0, 2, 1)
                    pooled = [torch.relu(conv(x)).max(dim=2).values for conv in self.convs]
                    return self.fc(torch.cat(pooled, dim=1))
            # file: train.py
            from dataclasses import dataclass

            import torch
            from torch import nn, optim
            from torch.utils.data import DataLoader

            from networks import get_network


            @dataclass
            class Config:
                vocab_size: int = 25000
                embed_dim: int = 128
                num_classes: int = 5


            def train(cfg):
                network = get_network(cfg)
                criterion = nn.CrossEntropyLoss()
                optimizer = optim.Adam(network.parameters())
                for epoch in range(8):
                    for tokens, stars in DataLoader(torch.load("yelp.pt"), batch_size=50, shuffle=True):
                        optimizer.zero_grad()
                        loss = criterion(network(tokens), stars)
                        loss.backward()
                        optimizer.step()


            train(Config())
            """,
            why="A tuple of convolutions in another file, reached through a factory and a re-export.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class MixtureBase(nn.Module):
                def __init__(self, dim, n_experts):
                    super().__init__()
                    self.gate = nn.Linear(dim, n_experts)
                    experts = self.make_experts(dim, n_experts)
                    self.experts = experts  # <-- NN402

                def make_experts(self, dim, n_experts):
                    raise NotImplementedError

                def forward(self, x):
                    weights = self.gate(x).softmax(dim=-1)
                    outputs = torch.stack([expert(x) for expert in self.experts], dim=-1)
                    return (outputs * weights.unsqueeze(1)).sum(dim=-1)


            class LinearMixture(MixtureBase):
                def make_experts(self, dim, n_experts):
                    experts = []
                    for _ in range(n_experts):
                        experts.append(nn.Linear(dim, dim))
                    return experts


            model = LinearMixture(32, 8)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for epoch in range(50):
                for x, y in DataLoader(torch.load("dynamics.pt"), batch_size=128, shuffle=True):
                    loss = (model(x) - y).pow(2).mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="A base class keeps what a method of the subclass built in a local list.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn


            class Acquisition(nn.Module):
                def __init__(self, model, pending=None):
                    super().__init__()
                    self.model = model
                    self.set_pending(pending)

                def set_pending(self, pending):
                    if pending is not None:
                        self.pending = pending.detach().clone()
                    else:
                        self.pending = pending

                def forward(self, x):
                    mean = self.model(x)
                    return mean if self.pending is None else mean - torch.cdist(x, self.pending).min(1).values


            acquisition = Acquisition(nn.Linear(2, 1))
            acquisition.set_pending(torch.zeros(3, 2, requires_grad=True))
            candidates = torch.rand(16, 2, requires_grad=True)
            optimizer = torch.optim.Adam([candidates], lr=0.05)
            for _ in range(100):
                optimizer.zero_grad()
                (-acquisition(candidates).sum()).backward()
                optimizer.step()
            """,
            why="A detached copy, or None, is kept: where `x is None` holds, x is no tensor.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class VGG(nn.Module):
                def __init__(self, plan, classes):
                    super().__init__()
                    layers = []
                    channels = 3
                    for item in plan:
                        if item == "M":
                            layers.append(nn.MaxPool2d(2))
                        else:
                            layers += [nn.Conv2d(channels, item, 3, padding=1), nn.ReLU(inplace=True)]
                            channels = item
                    self.features = nn.Sequential(*layers)
                    self.projections = []
                    for _ in range(3):
                        self.projections.append(nn.Linear(channels, channels))
                    self.projections = nn.ModuleList(self.projections)
                    self.classifier = nn.Linear(channels, classes)

                def forward(self, x):
                    x = self.features(x).mean(dim=(2, 3))
                    for projection in self.projections:
                        x = torch.relu(projection(x))
                    return self.classifier(x)


            net = VGG([64, "M", 128, "M", 256, "M"], 10)
            optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
            criterion = nn.CrossEntropyLoss()
            for epoch in range(30):
                for images, labels in DataLoader(torch.load("stl10.pt"), batch_size=64, shuffle=True):
                    optimizer.zero_grad()
                    criterion(net(images), labels).backward()
                    optimizer.step()
            """,
            why="A local list that ends in nn.Sequential, and a list attribute that becomes a ModuleList.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class DenseNetwork(nn.Module):
                def __init__(self, sizes):
                    super().__init__()
                    self.hidden = []
                    for i, (n_in, n_out) in enumerate(zip(sizes[:-2], sizes[1:-1])):
                        layer = nn.Linear(n_in, n_out)
                        self.add_module(f"hidden_{i}", layer)
                        self.hidden.append(layer)
                    self.norms = []
                    for i, n in enumerate(sizes[1:-1]):
                        norm = nn.LayerNorm(n)
                        setattr(self, "norm%d" % i, norm)
                        self.norms.append(norm)
                    self.first = nn.Linear(sizes[-2], sizes[-2])
                    self.second = nn.Linear(sizes[-2], sizes[-2])
                    self.stages = [self.first, self.second]
                    self.out = nn.Linear(sizes[-2], sizes[-1])

                def forward(self, x):
                    for layer, norm in zip(self.hidden, self.norms):
                        x = F.silu(norm(layer(x)))
                    for stage in self.stages:
                        x = F.silu(stage(x))
                    return self.out(x)


            def main():
                net = DenseNetwork([30, 64, 64, 2])
                opt = torch.optim.Adam(net.parameters(), lr=3e-4)
                for epoch in range(40):
                    for x, y in DataLoader(torch.load("higgs.pt"), batch_size=1024, shuffle=True):
                        opt.zero_grad()
                        F.cross_entropy(net(x), y).backward()
                        opt.step()


            main()
            """,
            why="Registered by add_module and setattr; the lists are only a second way to reach them.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader


            class AnchorDetector(nn.Module):
                strides = [8, 16, 32]

                def __init__(self, channels=128):
                    super().__init__()
                    self.anchors = torch.tensor([[10.0, 13.0], [30.0, 61.0], [116.0, 90.0]])
                    self.register_buffer("grid", torch.arange(20, dtype=torch.float32))
                    self.register_parameter("prior", nn.Parameter(torch.zeros(4)))
                    self.activations = [nn.Identity(), nn.ReLU(), nn.Sigmoid()]
                    self.losses = {"box": nn.SmoothL1Loss(), "score": nn.BCEWithLogitsLoss()}
                    self.convs = nn.ModuleList(nn.Conv2d(3, channels, 3, stride=s) for s in self.strides)
                    self.box = nn.Linear(channels, 4)

                def forward(self, images):
                    total = 0
                    for activation, conv in zip(self.activations, self.convs):
                        total = total + activation(conv(images)).mean(dim=(2, 3))
                    return self.box(total) + self.prior

                def loss(self, images, boxes):
                    return self.losses["box"](self(images), boxes)


            detector = AnchorDetector()
            optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-4)
            for epoch in range(12):
                for images, boxes in DataLoader(torch.load("plates.pt"), batch_size=16, shuffle=True):
                    loss = detector.loss(images, boxes)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="Activations and losses in a list have no parameters; constants are no parameters either.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import resnet50


            class Student(nn.Module):
                def __init__(self, teacher):
                    super().__init__()
                    for p in teacher.parameters():
                        p.requires_grad_(False)
                    self._teacher = [teacher.eval()]
                    self.body = nn.Sequential(nn.Conv2d(3, 64, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
                    self.head = nn.Linear(64, 1000)

                def forward(self, images):
                    return self.head(self.body(images).flatten(1))

                def distillation_loss(self, images):
                    with torch.no_grad():
                        target = F.softmax(self._teacher[0](images), dim=1)
                    return F.kl_div(F.log_softmax(self(images), dim=1), target, reduction="batchmean")


            def main():
                student = Student(resnet50(weights="DEFAULT")).cuda()
                student._teacher[0].cuda()
                optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
                for epoch in range(90):
                    for images, _ in DataLoader(torch.load("imagenet_subset.pt"), batch_size=256, shuffle=True):
                        loss = student.distillation_loss(images.cuda())
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            main()
            """,
            why="A frozen teacher is kept in a list, to stay out of state_dict and parameters().",
        ),
        Example(
            """
            import random
            from collections import deque

            import torch
            import torch.nn.functional as F
            from torch import nn


            class EnsembleAgent:
                def __init__(self, observations, actions, members=5):
                    self.networks = [
                        nn.Sequential(nn.Linear(observations, 64), nn.ReLU(), nn.Linear(64, actions))
                        for _ in range(members)
                    ]
                    self.optimizers = [torch.optim.Adam(net.parameters(), lr=5e-4) for net in self.networks]
                    self.memory = deque(maxlen=100_000)

                def remember(self, transition):
                    self.memory.append(transition)

                def act(self, observation):
                    with torch.no_grad():
                        return torch.stack([net(observation) for net in self.networks]).mean(0).argmax().item()

                def learn(self, batch_size=64, gamma=0.99):
                    for net, optimizer in zip(self.networks, self.optimizers):
                        batch = random.sample(self.memory, batch_size)
                        s, a, r, s2, done = (torch.stack(part) for part in zip(*batch))
                        with torch.no_grad():
                            target = r + gamma * (1 - done) * net(s2).max(dim=1).values
                        q = net(s).gather(1, a.unsqueeze(1)).squeeze(1)
                        loss = F.smooth_l1_loss(q, target)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
            """,
            why="Agents of reinforcement learning: no nn.Module, its networks go to an optimizer each.",
        ),
        Example(
            """
            # file: model/parts.py
            from torch import nn


            def make_heads(width, tasks):
                return {task: nn.Linear(width, size) for task, size in tasks.items()}


            def make_layers(width, depth):
                return [nn.TransformerEncoderLayer(width, 4, batch_first=True) for _ in range(depth)]
            # file: model/__init__.py
            import torch
            from torch import nn

            from .parts import make_heads, make_layers


            class TaskTransformer(nn.Module):
                def __init__(self, width, depth, tasks):
                    super().__init__()
                    self.layers = nn.ModuleList(make_layers(width, depth))
                    self.heads = nn.ModuleDict(make_heads(width, tasks))
                    self.prompts = nn.ParameterList([nn.Parameter(torch.zeros(1, 1, width)) for _ in range(depth)])

                def forward(self, x, task):
                    for layer, prompt in zip(self.layers, self.prompts):
                        x = layer(x + prompt)
                    return self.heads[task](x.mean(dim=1))
            # file: train.py
            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from model import TaskTransformer

            model = TaskTransformer(64, 3, {"topic": 20, "language": 8})
            optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
            loader = DataLoader(torch.load("documents.pt"), batch_size=32, shuffle=True)
            for epoch in range(5):
                for x, topic, language in loader:
                    loss = F.cross_entropy(model(x, "topic"), topic) + F.cross_entropy(model(x, "language"), language)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            """,
            why="ModuleDict and ParameterList in a package; the helper returns a list that gets wrapped.",
        ),
        Example(
            """
            from collections import OrderedDict

            import torch
            from torch import nn


            class Inception(nn.Module):
                def __init__(self, inputs, outputs):
                    super().__init__()
                    one = nn.Sequential(OrderedDict([("conv1", nn.Conv2d(inputs, outputs, 1)), ("relu1", nn.ReLU())]))
                    two = nn.Sequential(OrderedDict([("conv2", nn.Conv2d(inputs, outputs, 3)), ("relu2", nn.ReLU())]))
                    for branch in [one, two]:
                        for name, layer in branch.named_children():
                            self.add_module(name, layer)
                    self.branches = [one, two]

                def forward(self, x):
                    return torch.cat([branch(x) for branch in self.branches], 1)


            class Stack(nn.Module):
                def __init__(self, depth):
                    super().__init__()
                    self.layers = []
                    for i in range(depth):
                        layer = nn.Linear(8, 8)
                        exec("self.layer" + str(i) + " = layer")
                        self.layers.append(layer)

                def forward(self, x):
                    for layer in self.layers:
                        x = torch.relu(layer(x))
                    return x
            """,
            why="The list is a second way to layers that are registered under names.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Cross(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.kernel = nn.Parameter(torch.empty(width, width))
                    nn.init.xavier_normal_(self.kernel)

                def forward(self, x):
                    return x * (x @ self.kernel)


            class Ranker(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.penalised = []
                    self.cross = Cross(width)
                    self.out = nn.Linear(width, 1)
                    self.penalised.append((self.cross.kernel, 1e-4))
                    self.penalised.append((self.out.weight, 1e-5))

                def penalty(self):
                    return sum(factor * weight.pow(2).sum() for weight, factor in self.penalised)

                def forward(self, x):
                    return self.out(self.cross(x))
            """,
            why="A list of what is registered elsewhere, for the penalty.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Prototypes(nn.Module):
                def __init__(self, classes, width):
                    super().__init__()
                    centres = torch.zeros(classes, width, requires_grad=True)
                    self.register_buffer("centres", centres)
                    self.body = nn.Linear(width, width)

                def forward(self, x):
                    return torch.cdist(self.body(x), self.centres)
            """,
            why="A buffer is moved and saved.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for hidden in structure.unregistered(program):
            yield self.finding(
                hidden.site,
                f"`self.{hidden.name}` of {hidden.owner} keeps {hidden.what} in a plain {hidden.container}: "
                "`parameters()`, `to()`, `state_dict()` and `train()` do not see them, so they are neither trained "
                "nor moved nor saved.",
                hidden.advice,
                evidence=[Hop(f"{hidden.what} made here", hidden.part)],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        if run.steps < self.number("steps"):
            return
        hidden: dict[Line | None, list[tuple[Parameter, Module, str]]] = {}
        for p in run.parameters:
            module = run.of("module", p.module)
            if not self._is_hidden(run, p) or module is None or module.library or module.loaded:
                continue
            if module.registered:
                hidden.setdefault(p.line, []).append((p, module, p.name))
            else:
                outer = min(_hidden_around(run, module), key=lambda other: len(other.name), default=module)
                hidden.setdefault(outer.line, []).append((p, outer, outer.name))
        for line, found in hidden.items():
            p, module, _ = found[0]
            place = run.of("backward", p.reached_by[0])
            names = evidence.listed(name for _, _, name in found)
            size = sum(q.size for q, _, _ in found)
            what = "a plain tensor" if module.registered else "a plain container"
            root = run.of("module", module.root) or module
            yield self.finding(
                line,
                f"The forward pass of `{root.name}` uses {names} without registration (kept in {what}): `parameters()` "
                f"does not contain what is in there, no optimizer has these {size:,} numbers, and in {run.steps} steps "
                "they kept their initial values.",
                "Make it an `nn.Parameter`, or `register_buffer` where it shall not learn."
                if module.registered
                else "Keep the layers in an `nn.ModuleList`, `nn.ModuleDict` or `nn.Sequential`.",
                evidence=[
                    Hop(
                        f"`{module.name}` is a {module.class_name}",
                        line,
                        f"{size:,} numbers",
                    ),
                    Hop("gradients flow to it from here", place.line, f"{p.reached} graphs reach it"),
                ],
            )

    def _is_hidden(self, run: Run, p: Parameter) -> bool:
        """A tensor that wants to learn, takes part in a loss that is trained on, and that no optimizer has."""
        if not p.plain or not p.name or not p.trainable or p.optimizers or p.loaded or p.moved_by_hand:
            return False
        steps = any((place := run.of("backward", key)) is not None and place.steps for key in p.reached_by)
        return steps and p.reached >= self.number("reached")

    def refute(self, finding: Finding, run: Run) -> str:
        modules = {module.key for module in evidence.at(run.modules, finding)}
        below = {m.key for m in run.modules if m.root in modules} | modules
        own = [p for p in run.parameters if p.module in below and p.trainable]
        if not own or not all(p.optimizers for p in own):
            return ""
        return f"an optimizer holds all {len(own)} of its trained tensors"


def _hidden_around(run: Run, module: Module) -> list[Module]:
    """The unregistered modules that hold an unregistered one, itself among them."""
    return [
        other
        for other in run.modules
        if not other.registered and other.root == module.root and f"{module.name}.".startswith(f"{other.name}.")
    ]
