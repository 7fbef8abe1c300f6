"""The tables of what autograd keeps, held against torch: an edit in place must make ``backward()`` raise."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nnaudit.analyzer.knowledge import saved

LAYERS = {
    "Linear": (6, 6),
    "PReLU": (),
    "LayerNorm": (6,),
    "GroupNorm": (1, 3),
    **{f"Conv{n}d": (3, 3, 3) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": (3, 3, 3) for n in (1, 2, 3)},
    **{f"BatchNorm{n}d": (3,) for n in (1, 2, 3)},
    "InstanceNorm2d": (3,),
    "MaxPool2d": (2,),
    "AvgPool2d": (2,),
    "Softmax": (-1,),
    "LogSoftmax": (-1,),
    "Softmin": (-1,),
    "GRU": (6, 6),
    "LSTM": (6, 6),
}
ARGUMENTS = {"softmax": (-1,), "log_softmax": (-1,), "softmin": (-1,), "logsumexp": (-1,), "clamp": (0.1, 0.9)}
FREE_OUTPUT = (
    "Linear",
    "Conv2d",
    "BatchNorm2d",
    "LayerNorm",
    "GroupNorm",
    "MaxPool2d",
    "clamp",
    "log",
    "abs",
    "square",
)
FREE_INPUT = ("sigmoid", "tanh", "exp", "relu", "softmax", "log_softmax", "sqrt")


def result(op: str, x: torch.Tensor) -> torch.Tensor:
    """The operation by its short name."""
    if op[0].isupper():
        made = getattr(nn, op)(*LAYERS.get(op, ()))(x)
        return made[0] if isinstance(made, tuple) else made
    function = getattr(torch, op, None) or getattr(F, op)
    return function(x, *ARGUMENTS.get(op, ()))


def given(op: str) -> torch.Tensor:
    """A tensor with a graph, of a shape that the operation takes."""
    spatial = int(op[-2]) if op[-2:] in ("1d", "2d", "3d") else 2
    shape = (4, 6) if op in ("GRU", "LSTM") else (2, 3, *[6] * spatial)
    return torch.rand(shape, requires_grad=True) * 0.8 + 0.1


def edited(op: str, side: str) -> torch.Tensor:
    """A sum over the operation's input and output, one of which was changed in place."""
    x = given(op)
    y = result(op, x)
    (x if side == "input" else y).add_(1)
    return y.sum() + x.sum()


@pytest.mark.parametrize("op", sorted(saved.KEEPS_OUTPUT))
def test_output_is_kept(op: str) -> None:
    loss = edited(op, "output")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("op", sorted(saved.KEEPS_INPUT))
def test_input_is_kept(op: str) -> None:
    loss = edited(op, "input")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("op", FREE_OUTPUT)
def test_output_is_free(op: str) -> None:
    assert op not in saved.KEEPS_OUTPUT
    edited(op, "output").backward()


@pytest.mark.parametrize("op", FREE_INPUT)
def test_input_is_free(op: str) -> None:
    assert op not in saved.KEEPS_INPUT
    edited(op, "input").backward()


@pytest.mark.parametrize(("layer", "position"), sorted(saved.INPLACE_SWITCH.items()))
def test_switch(layer: str, position: int) -> None:
    filler = {"Threshold": [0.0, 0.0], "Hardtanh": [-0.5, 0.5], "RReLU": [0.1, 0.3]}.get(layer, [0.3])
    x = torch.randn(2, 3, *[4] * {"Dropout2d": 2, "Dropout3d": 3}.get(layer, 1))
    module = getattr(nn, layer)(*filler[:position], True)
    module(x)
    assert x._version > 0


@pytest.mark.parametrize("view", sorted(saved.VIEWS))
def test_view_shares_its_version(view: str) -> None:
    x = torch.rand(2, 3, requires_grad=True).sigmoid()
    arguments = {"view": (-1,), "unsqueeze": (0,), "transpose": (0, 1), "permute": (1, 0)}.get(view, ())
    shared = x.T if view == ".T" else getattr(x, view)(*arguments)
    shared.add_(1)
    assert x._version == 1
