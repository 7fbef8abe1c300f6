"""Fine-tunes a pretrained network layer by layer, smaller rates below, batch normalisation kept in eval mode."""

import argparse
import io

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(12, width), nn.BatchNorm1d(width), nn.ReLU())
        self.middle = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU())
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.middle(self.stem(x)))


def freeze_norms(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()


def epoch_of(model, loader, optimizer):
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    count, width = {"s": (800, 48), "m": (3200, 96), "l": (9600, 192)}[args.size]

    mixing = torch.randn(12, 6) / 4
    x = torch.randn(count, 12)
    factors = torch.tanh(x @ mixing)
    big = DataLoader(
        TensorDataset(x, (factors @ torch.randn(6, 8)).argmax(1)), batch_size=40, shuffle=True, drop_last=True
    )
    few = torch.randn(count // 2, 12)
    labels = (torch.tanh(few @ mixing) @ torch.randn(6, 3)).argmax(1)
    small = DataLoader(TensorDataset(few, labels), batch_size=20, shuffle=True)

    source = Net(width, 8)
    optimizer = torch.optim.Adam(source.parameters(), lr=3e-3)
    source.train()
    for epoch in range(5):
        print(f"pretraining {epoch}: {epoch_of(source, big, optimizer):.4f}")
    file = io.BytesIO()
    torch.save(source.state_dict(), file)
    file.seek(0)

    model = Net(width, 3)
    weights = {k: v for k, v in torch.load(file, weights_only=True).items() if not k.startswith("head.")}
    print(model.load_state_dict(weights, strict=False))
    model.stem.requires_grad_(False)
    model.middle.requires_grad_(False)
    optimizer = torch.optim.Adam(model.head.parameters(), lr=5e-3)
    for epoch in range(9):
        if epoch == 3:
            model.middle.requires_grad_(True)
            optimizer.add_param_group({"params": list(model.middle.parameters()), "lr": 1e-3})
        if epoch == 6:
            model.stem.requires_grad_(True)
            optimizer.add_param_group({"params": list(model.stem.parameters()), "lr": 3e-4})
        model.train()
        freeze_norms(model)
        print(f"fine-tuning {epoch}: {epoch_of(model, small, optimizer):.4f}")


if __name__ == "__main__":
    main()
