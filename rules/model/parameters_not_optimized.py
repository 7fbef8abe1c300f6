"""NN401: no optimizer gets the parameters of a network that is meant to learn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import structure
from ...tracer import evidence
from ..finding import Confidence, Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Optimizer, Parameter, Run


class ParametersNotOptimized(Rule):
    """A network takes part in the loss, but no optimizer was given its parameters.

    ## What it is

    An optimizer updates exactly the tensors that it was given when it was made. This training loop
    backpropagates through several networks, or through several parts of one (encoder and decoder, backbone
    and head, a criterion with weights of its own), and the parameters of one of them were handed to no
    optimizer.

    ## Why it hurts training

    The gradients of the forgotten part are computed and thrown away. It keeps its random initial values, and
    the rest has to learn around a random projection. The loss does fall, only less than it could, and nothing
    warns. The same happens to the learnable class centres of a margin loss, or to the embedding that stands
    outside of the model.

    ## How it is told apart from code that only looks alike

    - Averages of the weights, momentum encoders and teachers are copied from another network and run under
      `no_grad`: no optimizer should own them.
    - Perceptual networks and backbones with `requires_grad_(False)` are frozen on purpose.
    - Features that are detached, or computed under `no_grad`, cut a network off from the loss.
    - Parameters may reach an optimizer by any way: several optimizers, parameter groups, `list(a) + list(b)`,
      `itertools.chain`, `named_parameters()`, `add_param_group`, a helper in another file.
    - A list of parameters that nobody can follow is unknown, and unknown is not reported.

    In a run: parameters that want a gradient, that no optimizer was ever given and no `load_state_dict` has
    written to, are reached by at least 2 of the backward passes whose steps follow (few are walked through), and
    the run has ended after 5 steps or more, or made 200. What the script changes by itself between the steps
    (plain gradient descent by hand, averages) is left out, and so is what a library made. It is certain when the
    run has ended and the values were those of an initialisation.

    ## What to do

    Give the optimizer all that is to be learned:

    ```python
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    ```

    or put the parts into one `nn.Module`. What must not learn should say so: `backbone.requires_grad_(False)`.
    """

    code = "NN401"
    name = "parameters-not-optimized"
    points = (23,)
    severity = Severity.ERROR
    triggers = ("backward",)
    options = {"steps": 5, "reached": 2, "running": 200}

    bad = [
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 16))
            decoder = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 784))
            optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-3)  # <-- NN401
            criterion = nn.MSELoss()

            train_set = datasets.FashionMNIST("data", download=True, transform=transforms.ToTensor())
            loader = DataLoader(train_set, batch_size=128, shuffle=True)

            for epoch in range(10):
                running = 0.0
                for images, _ in loader:
                    code = encoder(images)
                    reconstruction = decoder(code)
                    loss = criterion(reconstruction, images.flatten(1))
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    running += loss.item()
                print(epoch, running / len(loader))

            torch.save({"encoder": encoder.state_dict(), "decoder": decoder.state_dict()}, "autoencoder.pt")
            """,
            why="Encoder and decoder in a flat script; the optimizer gets only the decoder.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import resnet50


            class CosineMarginLoss(nn.Module):
                def __init__(self, dim, identities, scale=30.0, margin=0.35):
                    super().__init__()
                    self.weight = nn.Parameter(torch.randn(identities, dim) * 0.01)
                    self.scale, self.margin = scale, margin

                def forward(self, embeddings, labels):
                    cosine = F.linear(F.normalize(embeddings), F.normalize(self.weight))
                    margin = F.one_hot(labels, cosine.size(1)) * self.margin
                    return F.cross_entropy(self.scale * (cosine - margin), labels)


            def train(loader, epochs=16):
                model = resnet50(num_classes=512)
                criterion = CosineMarginLoss(512, identities=10572)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)  # <-- NN401
                model.train()
                for epoch in range(epochs):
                    for faces, identities in loader:
                        loss = criterion(model(faces), identities)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                    print(epoch, loss.item())


            if __name__ == "__main__":
                train(DataLoader(torch.load("faces.pt"), batch_size=128, shuffle=True, num_workers=8))
            """,
            why="A margin loss with weights of its own, which nobody optimizes.",
        ),
        Example(
            """
            import itertools

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class VQATrainer:
                def __init__(self, dataset, answers=3000, lr=2e-4):
                    self.image_net = nn.Sequential(nn.Linear(2048, 512), nn.ReLU())
                    self.question_net = nn.GRU(300, 512, batch_first=True)
                    self.classifier = nn.Linear(1024, answers)
                    self.loader = DataLoader(dataset, batch_size=256, shuffle=True)
                    params = itertools.chain(self.image_net.parameters(), self.classifier.parameters())
                    self.optimizer = torch.optim.Adam(params, lr=lr)  # <-- NN401

                def forward(self, image, question):
                    _, hidden = self.question_net(question)
                    return self.classifier(torch.cat([self.image_net(image), hidden[-1]], dim=1))

                def fit(self, epochs):
                    for epoch in range(epochs):
                        for image, question, answer in self.loader:
                            loss = F.cross_entropy(self.forward(image, question), answer)
                            self.optimizer.zero_grad()
                            loss.backward()
                            self.optimizer.step()
                        print(epoch, loss.item())


            if __name__ == "__main__":
                VQATrainer(torch.load("vqa.pt")).fit(20)
            """,
            why="A Trainer with three networks as attributes, one of which is left out of the chain.",
        ),
        Example(
            """
            import argparse

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class LaneNet(nn.Module):
                def __init__(self, lanes):
                    super().__init__()
                    self.backbone = nn.Sequential(nn.Conv2d(3, 64, 3, 2, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, 2, 1))
                    self.neck = nn.Sequential(nn.ReLU(), nn.Conv2d(64, 32, 1))
                    self.head = nn.Conv2d(32, lanes + 1, 1)

                def forward(self, x):
                    x = self.head(self.neck(self.backbone(x)))
                    return F.interpolate(x, scale_factor=4, mode="bilinear")


            def main():
                parser = argparse.ArgumentParser()
                parser.add_argument("--lr", type=float, default=1e-3)
                args = parser.parse_args()
                net = LaneNet(lanes=4)
                groups = [
                    {"params": net.backbone.parameters(), "lr": args.lr * 0.1},
                    {"params": net.neck.parameters()},
                ]
                optimizer = torch.optim.AdamW(groups, lr=args.lr)  # <-- NN401
                for epoch in range(30):
                    for images, lanes in DataLoader(torch.load("tusimple.pt"), batch_size=8, shuffle=True):
                        loss = F.cross_entropy(net(images), lanes)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            main()
            """,
            why="Parameter groups name the backbone and the neck of one model, and forget the head.",
        ),
        Example(
            """
            # file: pose/__init__.py
            from .networks import build_networks
            from .optim import make_optimizer

            __all__ = ["build_networks", "make_optimizer"]
            # file: pose/networks.py
            from torch import nn


            class Lifter(nn.Module):
                def __init__(self, joints, width):
                    super().__init__()
                    self.net = nn.Sequential(nn.Linear(joints * 2, width), nn.ReLU(), nn.Linear(width, joints * 3))

                def forward(self, keypoints):
                    return self.net(keypoints.flatten(1))


            def build_networks(cfg):
                size = cfg.joints * 3
                refiner = nn.Sequential(nn.Linear(size, cfg.width), nn.ReLU(), nn.Linear(cfg.width, size))
                return Lifter(cfg.joints, cfg.width), refiner
            # file: pose/optim.py
            import torch


            def make_optimizer(network, lr):
                return torch.optim.Adam(network.parameters(), lr=lr)  # <-- NN401
            # file: train.py
            from dataclasses import dataclass

            import torch
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            from pose import build_networks, make_optimizer


            @dataclass
            class Config:
                joints: int = 17
                width: int = 1024
                lr: float = 1e-3


            def main(cfg):
                lifter, refiner = build_networks(cfg)
                optimizer = make_optimizer(lifter, cfg.lr)
                for epoch in range(50):
                    for keypoints, pose in DataLoader(torch.load("human36m.pt"), batch_size=64, shuffle=True):
                        rough = lifter(keypoints)
                        fine = rough + refiner(rough)
                        loss = F.mse_loss(rough, pose.flatten(1)) + F.mse_loss(fine, pose.flatten(1))
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            main(Config())
            """,
            why="Networks from a factory of another file; the helper that makes the optimizer gets one of them.",
        ),
    ]

    good = [
        Example(
            """
            import copy

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            class SelfDistillation:
                def __init__(self, momentum=0.996):
                    self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(3072, 512), nn.GELU(), nn.Linear(512, 128))
                    self.predictor = nn.Linear(128, 128)
                    self.target = copy.deepcopy(self.encoder)
                    self.momentum = momentum
                    params = list(self.encoder.parameters()) + list(self.predictor.parameters())
                    self.optimizer = torch.optim.SGD(params, lr=0.06, momentum=0.9)

                @torch.no_grad()
                def update_target(self):
                    for p, q in zip(self.encoder.parameters(), self.target.parameters()):
                        q.mul_(self.momentum).add_(p, alpha=1 - self.momentum)

                def loss(self, first, second):
                    prediction = F.normalize(self.predictor(self.encoder(first)), dim=1)
                    with torch.no_grad():
                        target = F.normalize(self.target(second), dim=1)
                    return 2 - 2 * (prediction * target).sum(dim=1).mean()

                def fit(self, pairs, epochs):
                    for epoch in range(epochs):
                        for first, second in DataLoader(pairs, batch_size=256, shuffle=True):
                            loss = self.loss(first, second) + self.loss(second, first)
                            self.optimizer.zero_grad()
                            loss.backward()
                            self.optimizer.step()
                            self.update_target()
                        print(epoch, loss.item())


            SelfDistillation().fit(torch.load("views.pt"), epochs=200)
            """,
            why="A momentum encoder and a teacher: copied, run under no_grad, updated by hand.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torchvision.models import VGG19_Weights, vgg19

            LAYERS = {0, 5, 10, 19}


            def features(network, image):
                found = []
                for index, layer in enumerate(network):
                    image = layer(image)
                    if index in LAYERS:
                        found.append(image)
                return found


            def gram(x):
                n, c, h, w = x.shape
                x = x.view(n, c, h * w)
                return x @ x.transpose(1, 2) / (c * h * w)


            def main(steps=300):
                network = vgg19(weights=VGG19_Weights.DEFAULT).features.eval()
                network.requires_grad_(False)
                content, style = torch.load("pictures.pt")
                wanted_content = features(network, content)[-1]
                wanted_style = [gram(f) for f in features(network, style)]
                image = nn.Parameter(content.clone())
                optimizer = torch.optim.Adam([image], lr=0.02)
                for step in range(steps):
                    found = features(network, image)
                    loss = F.mse_loss(found[-1], wanted_content)
                    for f, g in zip(found, wanted_style):
                        loss = loss + 1e4 * F.mse_loss(gram(f), g)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                torch.save(image.detach(), "result.pt")


            main()
            """,
            why="Style transfer: the image is what is optimized; the network is frozen.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision.models import resnet18, vit_b_16


            def frozen_classifier(classes):
                model = resnet18(weights="DEFAULT")
                for param in model.parameters():
                    param.requires_grad = False
                model.fc = nn.Linear(model.fc.in_features, classes)
                return model


            def main():
                loader = DataLoader(torch.load("trash.pt"), batch_size=32, shuffle=True)
                model = frozen_classifier(6)
                optimizer = torch.optim.Adam(model.fc.parameters(), lr=1e-3)

                backbone = vit_b_16(weights="DEFAULT")
                backbone.heads = nn.Identity()
                backbone.eval()
                probe = nn.Linear(768, 6)
                detached_probe = nn.Linear(768, 6)
                trainable = [p for p in model.parameters() if p.requires_grad]
                probe_optimizer = torch.optim.SGD([*probe.parameters(), *detached_probe.parameters()], lr=0.1)
                for epoch in range(5):
                    for images, labels in loader:
                        loss = F.cross_entropy(model(images), labels)
                        optimizer.zero_grad()
                        loss.backward()
                        nn.utils.clip_grad_norm_(trainable, 1.0)
                        optimizer.step()

                        with torch.no_grad():
                            embedding = backbone(images)
                        other = backbone(images).detach()
                        loss = F.cross_entropy(probe(embedding), labels)
                        loss = loss + F.cross_entropy(detached_probe(other), labels)
                        probe_optimizer.zero_grad()
                        loss.backward()
                        probe_optimizer.step()


            main()
            """,
            why="Only the head learns: the backbone is frozen, or its features are cut off from the graph.",
        ),
        Example(
            """
            import itertools

            import torch
            import torch.nn.functional as F
            from torch import nn
            from torch.utils.data import DataLoader


            def generator():
                return nn.Sequential(nn.Conv2d(3, 64, 7, padding=3), nn.ReLU(), nn.Conv2d(64, 3, 7, padding=3))


            def discriminator():
                return nn.Sequential(nn.Conv2d(3, 64, 4, 2), nn.LeakyReLU(0.2), nn.Conv2d(64, 1, 4, 2))


            G_AB, G_BA, D_A, D_B = generator(), generator(), discriminator(), discriminator()
            opt_G = torch.optim.Adam(itertools.chain(G_AB.parameters(), G_BA.parameters()), lr=2e-4)
            opt_D_A = torch.optim.Adam(D_A.parameters(), lr=2e-4)
            opt_D_B = torch.optim.Adam(D_B.parameters(), lr=2e-4)

            for epoch in range(100):
                for a, b in DataLoader(torch.load("horses.pt"), batch_size=1, shuffle=True):
                    fake_b, fake_a = G_AB(a), G_BA(b)
                    cycle = F.l1_loss(G_BA(fake_b), a) + F.l1_loss(G_AB(fake_a), b)
                    loss_G = (D_B(fake_b) - 1).square().mean() + (D_A(fake_a) - 1).square().mean() + 10 * cycle
                    opt_G.zero_grad()
                    loss_G.backward()
                    opt_G.step()

                    opt_D_A.zero_grad()
                    ((D_A(a) - 1).square().mean() + D_A(fake_a.detach()).square().mean()).backward()
                    opt_D_A.step()

                    opt_D_B.zero_grad()
                    ((D_B(b) - 1).square().mean() + D_B(fake_b.detach()).square().mean()).backward()
                    opt_D_B.step()
            """,
            why="One optimizer for each network, as CycleGAN has it, with a chain for the two generators.",
        ),
        Example(
            """
            # file: training/optim.py
            import torch


            def make_optimizer(model, criterion, lr, weight_decay):
                decay, no_decay = [], []
                for name, param in model.named_parameters():
                    if not param.requires_grad:
                        continue
                    (no_decay if param.ndim == 1 or name.endswith(".bias") else decay).append(param)
                optimizer = torch.optim.AdamW(
                    [{"params": decay, "weight_decay": weight_decay}, {"params": no_decay, "weight_decay": 0.0}], lr=lr
                )
                optimizer.add_param_group({"params": criterion.parameters(), "lr": 10 * lr})
                return optimizer
            # file: training/__init__.py
            from .optim import make_optimizer

            __all__ = ["make_optimizer"]
            # file: train.py
            import torch
            from torch import nn
            from torch.utils.data import DataLoader

            from training import make_optimizer


            class CenterLoss(nn.Module):
                def __init__(self, classes, dim):
                    super().__init__()
                    self.centers = nn.Parameter(torch.randn(classes, dim))

                def forward(self, embedding, label):
                    return (embedding - self.centers[label]).pow(2).sum(dim=1).mean()


            def main():
                model = nn.Sequential(nn.Linear(512, 256), nn.LayerNorm(256), nn.ReLU(), nn.Linear(256, 64))
                center_loss = CenterLoss(100, 64)
                optimizer = make_optimizer(model, center_loss, lr=1e-4, weight_decay=0.05)
                for epoch in range(12):
                    for x, y in DataLoader(torch.load("voices.pt"), batch_size=128, shuffle=True):
                        loss = center_loss(model(x), y)
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()


            main()
            """,
            why="Groups with and without weight decay, made from named_parameters in a helper of another file.",
        ),
        Example(
            """
            import copy
            import random
            from collections import deque

            import torch
            import torch.nn.functional as F
            from torch import nn


            class DDPG:
                def __init__(self, obs, act, gamma=0.99, tau=0.005):
                    self.actor = nn.Sequential(nn.Linear(obs, 256), nn.ReLU(), nn.Linear(256, act), nn.Tanh())
                    self.critic = nn.Sequential(nn.Linear(obs + act, 256), nn.ReLU(), nn.Linear(256, 1))
                    self.actor_target = copy.deepcopy(self.actor)
                    self.critic_target = copy.deepcopy(self.critic)
                    self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=1e-4)
                    self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=1e-3)
                    self.replay = deque(maxlen=1_000_000)
                    self.gamma, self.tau = gamma, tau

                def update(self, batch_size=256):
                    s, a, r, s2, done = map(torch.stack, zip(*random.sample(self.replay, batch_size)))
                    with torch.no_grad():
                        q2 = self.critic_target(torch.cat([s2, self.actor_target(s2)], dim=1))
                        target = r + self.gamma * (1 - done) * q2
                    critic_loss = F.mse_loss(self.critic(torch.cat([s, a], dim=1)), target)
                    self.critic_optimizer.zero_grad()
                    critic_loss.backward()
                    self.critic_optimizer.step()

                    actor_loss = -self.critic(torch.cat([s, self.actor(s)], dim=1)).mean()
                    self.actor_optimizer.zero_grad()
                    actor_loss.backward()
                    self.actor_optimizer.step()
                    pairs = [(self.actor, self.actor_target), (self.critic, self.critic_target)]
                    for online, target_net in pairs:
                        for p, q in zip(online.parameters(), target_net.parameters()):
                            q.data.copy_(self.tau * p.data + (1 - self.tau) * q.data)

                def learn(self, updates):
                    for _ in range(updates):
                        self.update()
            """,
            why="Actor and critic: each loss updates its own network, the target critic is copied.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class FeatureLoss(nn.Module):
                def __init__(self, weights):
                    super().__init__()
                    self.body = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3))
                    self.body.load_state_dict(torch.load(weights))
                    self.pool = nn.AdaptiveAvgPool2d(8)

                def forward(self, one, other):
                    return nn.functional.l1_loss(self.pool(self.body(one)), self.pool(self.body(other)))


            def gradient_norms(net, x, y):
                net.zero_grad()
                loss = nn.functional.cross_entropy(net(x), y)
                loss.backward()
                return [p.grad.norm().item() for p in net.parameters()]


            generator = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
            optimizer = torch.optim.Adam(generator.parameters())
            criterion = FeatureLoss("features.pt")
            for blurred, sharp in torch.load("pairs.pt"):
                optimizer.zero_grad()
                loss = criterion(generator(blurred), sharp)
                loss.backward()
                optimizer.step()
            for depth in range(2, 5):
                layers = [layer for _ in range(depth) for layer in (nn.Linear(16, 16), nn.Sigmoid())]
                print(gradient_norms(nn.Sequential(*layers, nn.Linear(16, 8)), torch.randn(8, 16), torch.arange(8)))
            """,
            why="The loss network came trained, and gradients that are only looked at belong to no optimizer.",
        ),
        Example(
            """
            import torch
            from torch import nn
            from torch.utils.data import DataLoader
            from torchvision import datasets, transforms

            def unflatten(flat, like):
                out, at = [], 0
                for p in like:
                    out.append(flat[at:at + p.numel()].view_as(p)); at += p.numel()
                return out

            loader = DataLoader(datasets.MNIST("d", transform=transforms.ToTensor()), 64, shuffle=True)
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
            helper = nn.Linear(7850, 7850)
            optimizer = torch.optim.Adam(helper.parameters(), 1e-4)
            for epoch in range(3):
                for x, y in loader:
                    with torch.no_grad():
                        flat = torch.cat([p.reshape(-1) for p in model.parameters()])
                        flat -= 0.01 * helper(flat)
                        for p, new in zip(model.parameters(), unflatten(flat, list(model.parameters()))):
                            p.copy_(new)
                    loss = nn.functional.cross_entropy(model(x), y)
                    grads = torch.autograd.grad(loss, model.parameters(), create_graph=True)
                    target = torch.cat([g.reshape(-1) for g in grads])
                    flat = torch.cat([p.reshape(-1) for p in model.parameters()])
                    error = nn.functional.mse_loss(helper(flat), target)
                    optimizer.zero_grad()
                    error.backward()
                    optimizer.step()
            """,
            why="Another network writes these parameters, one by one.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for missing in structure.modules_without_optimizer(program):
            name = program.class_name(missing.module)
            yield self.finding(
                missing.optimizer.site,
                f"No optimizer gets the parameters of the {name} made at {{0}}, although the loss at {{1}} is "
                "backpropagated through it: it stays as it was initialised.",
                "Hand its parameters to the optimizer too (`list(a.parameters()) + list(b.parameters())`), or run it "
                "under `torch.no_grad()` if it is meant to stay fixed.",
                evidence=[
                    Hop(f"the {name} is made here", missing.module.site),
                    Hop("the loss is backpropagated here", missing.backward.site),
                ],
            )

    def watch(self, run: Run) -> Iterator[Finding]:
        forgotten: dict[int, list[Parameter]] = {}
        stale = {p.key for optimizer in run.optimizers for p in evidence.replaced(run, optimizer)}
        for p in run.parameters:
            optimizer = self._beside(run, p)
            if optimizer is not None and p.key not in stale:
                forgotten.setdefault(optimizer.key, []).append(p)
        for key, parameters in forgotten.items():
            optimizer = run.of("optimizer", key)
            modules = [run.of("module", p.module) for p in parameters]
            place = run.of("backward", parameters[0].reached_by[0])
            known = any(p.untrained for p in parameters)
            size = sum(p.size for p in parameters)
            names = evidence.listed(module.name for module in modules)
            yield self.finding(
                optimizer.line or optimizer.step_line,
                f"The loss depends on {names}, but no optimizer was given "
                f"these parameters ({size:,} numbers): in {optimizer.steps} steps they were never updated and kept "
                "their initial values, while the rest learns around them.",
                f"Give this optimizer the parameters of {names} too, or "
                "call `requires_grad_(False)` on what shall not learn.",
                evidence=[
                    Hop(
                        f"`{modules[0].name}` is made here", modules[0].line, f"{parameters[0].reached} graphs reach it"
                    ),
                    Hop("gradients flow to it from here", place.line, f"{place.calls} calls"),
                    Hop("this optimizer steps without it", optimizer.step_line, f"{optimizer.steps} steps"),
                ],
                confidence=evidence.settled(run) if known else Confidence.LIKELY,
            )

    def _beside(self, run: Run, p: Parameter) -> Optimizer | None:
        """The optimizer that steps after the backward passes that lead to a parameter it does not own."""
        module = run.of("module", p.module)
        if module is None or module.line is None or not module.registered or module.library or module.loaded:
            return None
        if p.optimizers or p.plain or p.loaded or p.moved_by_hand or p.frozen_steps or not p.trainable or not p.name:
            return None
        if p.reached < self.number("reached"):
            return None
        places = [place for key in p.reached_by if (place := run.of("backward", key)) is not None and place.steps]
        steppers = {key for place in places for key in place.optimizers}
        stepped = [o for o in run.optimizers if o.key in steppers and o.steps >= self.number("steps")]
        if not stepped or not (run.finished or run.steps >= self.number("running")):
            return None  # a later phase may give it to an optimizer
        root = evidence.root_of(module)
        near = [
            o
            for o in stepped
            if any((m := run.of("module", q.module)) and evidence.root_of(m) == root for q in evidence.members(run, o))
        ]
        return max(near or stepped, key=lambda o: o.steps)

    def refute(self, finding: Finding, run: Run) -> str:
        modules = {module.key for module in evidence.at(run.modules, finding)}
        below = {m.key for m in run.modules if m.root in modules} | modules
        own = [p for p in run.parameters if p.module in below and p.trainable]
        if not own or not all(p.optimizers for p in own):
            return ""
        return f"an optimizer holds all {len(own)} of its trained tensors"
