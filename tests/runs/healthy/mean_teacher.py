"""Semi-supervised training with a mean teacher: the averaged model gives the targets and is the one evaluated."""

import argparse
import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class MeanTeacher:
    def __init__(self, student, decay=0.95):
        self.student = student
        self.teacher = copy.deepcopy(student)
        self.teacher.requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self):
        for mean, new in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mean.lerp_(new, 1 - self.decay)
        for mean, new in zip(self.teacher.buffers(), self.student.buffers(), strict=True):
            mean.copy_(new)


def moons(count):
    angle = 3.14159 * torch.rand(count)
    side = torch.randint(2, (count,))
    x = torch.where(side == 0, angle.cos(), 1 - angle.cos()) - 0.5
    y = torch.where(side == 0, angle.sin(), 0.5 - angle.sin()) - 0.25
    return torch.stack([x, y * 1.6], dim=1) + 0.1 * torch.randn(count, 2), side


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    unlabelled_count, width = {"s": (960, 32), "m": (3200, 64), "l": (9600, 128)}[args.size]

    labelled = TensorDataset(*moons(120))
    unlabelled = TensorDataset(moons(unlabelled_count)[0])
    x_test, y_test = moons(400)
    student = nn.Sequential(
        nn.Linear(2, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
    )
    pair = MeanTeacher(student)
    optimizer = torch.optim.Adam(student.parameters(), lr=5e-3)
    labelled_loader = DataLoader(labelled, batch_size=16, shuffle=True, drop_last=True)
    unlabelled_loader = DataLoader(unlabelled, batch_size=48, shuffle=True, drop_last=True)

    for epoch in range(6):
        student.train()
        pair.teacher.train()
        few = iter(labelled_loader)
        supervised = consistency = torch.zeros(())
        for (many,) in unlabelled_loader:
            batch = next(few, None)
            if batch is None:
                few = iter(labelled_loader)
                batch = next(few)
            x, y = batch
            both = torch.cat([x, many])
            with torch.no_grad():
                target = pair.teacher(both + 0.05 * torch.randn_like(both)).softmax(1)
            logits = student(both + 0.05 * torch.randn_like(both))
            supervised = F.cross_entropy(logits[: len(x)], y)
            consistency = F.mse_loss(logits.softmax(1), target)
            optimizer.zero_grad()
            (supervised + min(1.0, epoch / 3) * consistency).backward()
            optimizer.step()
            pair.update()
        pair.teacher.eval()
        with torch.no_grad():
            accuracy = (pair.teacher(x_test).argmax(1) == y_test).float().mean().item()
        print(
            f"epoch {epoch}: supervised {supervised.item():.4f} consistency {consistency.item():.5f} "
            f"teacher accuracy {accuracy:.3f}"
        )


if __name__ == "__main__":
    main()
