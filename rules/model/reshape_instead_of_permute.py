"""NN408: view or reshape is used to change the order of axes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...analyzer import reshaping
from ...tracer.evidence import VIEWS, shape
from ..finding import Finding, Hop, Severity
from ..rule import Example, Rule

if TYPE_CHECKING:
    from ...analyzer.program import Program
    from ...tracer.run import Run


class ReshapeInsteadOfPermute(Rule):
    """`view` or `reshape` puts axes into another order, which mixes what lies on them.

    ## What it is

    `view` and `reshape` read the numbers of a tensor in the order in which they lie and cut them into new rows. They
    can merge neighbouring axes and split one; they cannot exchange two. `x.view(B, T, C)` of a tensor of shape
    `(B, C, T)` has the right *shape* and the wrong numbers: each row holds pieces of several channels. The same goes
    for `x.view(B, heads, T, C // heads)` of `(B, T, C)`, and for `x.view(B, H * W, C)` of `(B, C, H, W)`.

    ## Why it hurts training

    Nothing fails, since the number of elements is right. Positions, channels and heads are mixed in a fixed pattern: a
    convolution sees neighbours that are none, an attention head sees pieces of several time steps, masks and
    positional encodings hit the wrong places. The network learns around it as far as it can, and is mediocre.

    ## How it is told apart from code that only looks alike

    - `view(B, T, heads, C // heads).transpose(1, 2)` splits first and exchanges afterwards: right.
    - `permute` or `transpose` before the view is followed.
    - Splitting an axis into groups, and merging neighbours, keep the order.
    - An axis of length 1 may be put anywhere.
    - The sizes must be known to be those of the axes: by name (`b, c, h, w = x.shape`, `x.size(1)`), or as literal
      numbers that are the same in another order. A tensor whose axes cannot be followed is not judged.

    In an experiment the batch flows through the model, and each view is looked at: an axis whose size occurs just once
    before and once after must have as many numbers before it as it had. Sizes that occur twice tell nothing.

    ## What to do

    Split and merge with `view`, exchange with `transpose` or `permute`:

    ```python
    x = x.view(B, T, heads, C // heads).transpose(1, 2)  # (B, heads, T, C // heads)
    x = x.flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, H * W, C)
    ```
    """

    code = "NN408"
    name = "reshape-instead-of-permute"
    points = (4, 25)
    severity = Severity.ERROR
    experiments = ("shapes", "crosstalk")
    triggers = ("view", "reshape")

    bad = [
        Example(
            """
            import torch
            from torch import nn


            class SelfAttention(nn.Module):
                def __init__(self, dim, heads):
                    super().__init__()
                    self.heads = heads
                    self.q = nn.Linear(dim, dim)
                    self.k = nn.Linear(dim, dim)
                    self.v = nn.Linear(dim, dim)

                def forward(self, x):
                    B, T, C = x.shape
                    q = self.q(x).view(B, self.heads, T, C // self.heads)  # <-- NN408
                    k = self.k(x).view(B, T, self.heads, C // self.heads).transpose(1, 2)
                    v = self.v(x).view(B, T, self.heads, C // self.heads).transpose(1, 2)
                    y = (q @ k.transpose(-2, -1)).softmax(dim=-1) @ v
                    return y.transpose(1, 2).reshape(B, T, C)
            """,
            why="One of three head splits forgets the transpose.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Tokens(nn.Module):
                def __init__(self, channels, width):
                    super().__init__()
                    self.conv = nn.Conv2d(channels, width, 4, stride=4)
                    self.norm = nn.LayerNorm(width)

                def forward(self, images):
                    x = self.conv(images)
                    b, c, h, w = x.size()
                    x = x.reshape(b, h * w, c)  # <-- NN408
                    return self.norm(x)


            def embed(images):
                return Tokens(3, 64)(images)
            """,
            why="Pictures to tokens: positions and channels are mixed.",
        ),
        Example(
            """
            import torch
            import torch.nn.functional as F
            from torch import nn


            class Speech(nn.Module):
                def __init__(self, mels, classes):
                    super().__init__()
                    self.conv = nn.Conv1d(mels, 64, 5, padding=2)
                    self.rnn = nn.GRU(64, 128, batch_first=True)
                    self.out = nn.Linear(128, classes)

                def forward(self, x):
                    x = F.relu(self.conv(x))
                    batch, channels, time = x.size(0), x.size(1), x.size(2)
                    assert len(x.shape) == 3
                    b, c, t = x.shape
                    x = x.view(batch, time, channels)  # <-- NN408
                    return self.out(self.rnn(x)[0])
            """,
            why="Channels and time are exchanged by a view.",
        ),
        Example(
            """
            # file: data.py
            import torch


            def batch():
                return torch.rand(16, 3, 32, 64)
            # file: train.py
            from torch import nn

            from data import batch

            layer = nn.Linear(3, 8)
            pixels = batch().view(-1, 32, 64, 3)  # <-- NN408
            features = layer(pixels)
            """,
            why="Literal sizes in another order, to bring the channels to the end.",
        ),
    ]

    good = [
        Example(
            """
            import torch
            from torch import nn


            class SelfAttention(nn.Module):
                def __init__(self, dim, heads):
                    super().__init__()
                    self.heads = heads
                    self.qkv = nn.Linear(dim, 3 * dim)
                    self.out = nn.Linear(dim, dim)

                def forward(self, x, mask=None):
                    B, T, C = x.size()
                    q, k, v = self.qkv(x).split(C, dim=2)
                    q = q.view(B, T, self.heads, C // self.heads).transpose(1, 2)
                    k = k.view(B, T, self.heads, C // self.heads).transpose(1, 2)
                    v = v.view(B, -1, self.heads, C // self.heads).permute(0, 2, 1, 3)
                    y = (q @ k.transpose(-2, -1)).softmax(dim=-1) @ v
                    y = y.transpose(1, 2).contiguous().view(B, T, C)
                    return self.out(y.view(B * T, C)).view(B, T, C).view(B, 1, T, C)
            """,
            why="Split, then exchange; merge neighbours; an axis of length one.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class Windows(nn.Module):
                def __init__(self, size, groups):
                    super().__init__()
                    self.size, self.groups = size, groups

                def forward(self, x):
                    b, c, h, w = x.shape
                    x = x.view(b, self.groups, c // self.groups, h, w).transpose(1, 2).contiguous().view(b, c, h, w)
                    s = self.size
                    windows = x.view(b, c, h // s, s, w // s, s).permute(0, 2, 4, 1, 3, 5)
                    tokens = x.permute(0, 2, 3, 1).reshape(b, h * w, c)
                    flat = x.view(b, c, -1).transpose(1, 2)
                    return windows.reshape(-1, c, s, s), tokens + flat
            """,
            why="Channel shuffle, windows, tokens by permutation.",
        ),
        Example(
            """
            import torch
            from torch import nn


            class SAGAN(nn.Module):
                def __init__(self, channels):
                    super().__init__()
                    self.query = nn.Conv2d(channels, channels // 8, 1)
                    self.key = nn.Conv2d(channels, channels // 8, 1)
                    self.value = nn.Conv2d(channels, channels, 1)
                    self.gamma = nn.Parameter(torch.zeros(1))

                def forward(self, x):
                    b, c, w, h = x.size()
                    q = self.query(x).view(b, -1, w * h).permute(0, 2, 1)
                    k = self.key(x).view(b, -1, w * h)
                    attention = torch.softmax(q @ k, dim=-1)
                    out = self.value(x).view(b, -1, w * h) @ attention.permute(0, 2, 1)
                    return self.gamma * out.view(b, c, w, h) + x
            """,
            why="Attention over pictures, as it should be.",
        ),
        Example(
            """
            # file: data.py
            import torch


            def batch():
                return torch.rand(16, 3, 32, 64)
            # file: train.py
            from torch import nn

            from data import batch

            layer = nn.Linear(3, 8)
            x = batch()
            pixels = x.permute(0, 2, 3, 1).reshape(-1, 3)
            halves = x.view(16, 3, 2, 16, 64).view(16, 3, 32, 64)
            rows = x.view(-1, 3 * 32 * 64).view(-1, 3, 32, 64)
            features = layer(pixels)
            """,
            why="Literal sizes that are permuted first, split and merged.",
        ),
        Example(
            """
            import torch

            a = torch.rand((100, 20, 25))
            print("flat", a.flatten().shape)
            print("reshaped", a.reshape(100, 25, 20).shape)
            print("exchanged", a.permute(0, 2, 1).shape)
            """,
            why="A lesson: nothing but the shape of the result is looked at.",
        ),
    ]

    def scan(self, program: Program) -> Iterator[Finding]:
        for found in reshaping.mixing_views(program):
            yield self.finding(
                found.site,
                f"`{found.op}` turns {found.before} into {found.after}: it cuts the numbers anew and does not exchange "
                "axes, so each new row mixes numbers of several old ones.",
                "Use `permute` or `transpose` to change the order of axes, and `view` only to split and merge them.",
                evidence=[Hop("the order of axes changes here", found.site, f"{found.before} -> {found.after}")],
            )

    def probe(self, run: Run) -> Iterator[Finding]:
        for mix in run.mixes:
            if mix.operation not in VIEWS or not (mix.sure or not mix.changed):
                continue
            before, after = shape(mix.inputs), shape(mix.outputs)
            samples = (
                f" With one sample exchanged, the outputs of {mix.changed} others move: samples are mixed."
                if mix.changed
                else ""
            )
            yield self.finding(
                mix.line,
                f"`{mix.operation}` makes {before} into {after}: an axis is still there, at another place, but the "
                f"numbers lie in the old order.{samples}",
                "Exchange axes with `transpose` or `permute`; `view` and `reshape` only merge neighbours and split.",
                evidence=[Hop("the batch flows through here", mix.line, f"{before} -> {after}")],
            )
