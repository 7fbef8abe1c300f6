"""Classifies the nodes of one graph with graph convolutions, full batch, with masks for the parts."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn


class GCN(nn.Module):
    def __init__(self, inputs, hidden, classes):
        super().__init__()
        self.lin1 = nn.Linear(inputs, hidden)
        self.lin2 = nn.Linear(hidden, classes)

    def forward(self, x, adj):
        x = F.dropout(x, 0.3, training=self.training)
        x = F.relu(torch.sparse.mm(adj, self.lin1(x)))
        x = F.dropout(x, 0.3, training=self.training)
        return torch.sparse.mm(adj, self.lin2(x))


def communities(nodes, classes):
    y = torch.randint(classes, (nodes,))
    chance = torch.where(y.unsqueeze(0) == y.unsqueeze(1), 12 / nodes, 2 / nodes)
    adj = torch.triu(torch.rand(nodes, nodes) < chance, diagonal=1).float()
    adj = adj + adj.t() + torch.eye(nodes)
    scale = adj.sum(1).rsqrt()
    x = F.one_hot(y, classes).float() @ torch.randn(classes, 16) * 0.5 + torch.randn(nodes, 16)
    return x, (adj * scale.unsqueeze(0) * scale.unsqueeze(1)).to_sparse(), y


parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--size", choices=["s", "m", "l"], default="s")
args = parser.parse_args()
torch.set_num_threads(1)
torch.manual_seed(args.seed)
nodes, hidden = {"s": (400, 16), "m": (1200, 32), "l": (3000, 64)}[args.size]

x, adj, y = communities(nodes, 4)
part = torch.rand(nodes)
train_mask, val_mask, test_mask = part < 0.2, (part >= 0.2) & (part < 0.5), part >= 0.5
model = GCN(16, hidden, 4)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)


def train():
    model.train()
    optimizer.zero_grad()
    out = model(x, adj)
    loss = F.cross_entropy(out[train_mask], y[train_mask])
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def test():
    model.eval()
    right = model(x, adj).argmax(1) == y
    return [right[mask].float().mean().item() for mask in (train_mask, val_mask, test_mask)]


for epoch in range(1, 101):
    loss = train()
    if epoch % 10 == 0 or epoch == 1:
        train_acc, val_acc, test_acc = test()
        print(f"Epoch: {epoch:03d}, Loss: {loss:.4f}, Train: {train_acc:.3f}, Val: {val_acc:.3f}, Test: {test_acc:.3f}")
