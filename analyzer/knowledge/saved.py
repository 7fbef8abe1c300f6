"""What autograd keeps of an operation until the backward pass, as ``tests/test_saved_tensors.py`` measures it."""

from __future__ import annotations

KEEPS_OUTPUT: frozenset[str] = frozenset(
    """sigmoid Sigmoid tanh Tanh exp exp2 expm1 relu ReLU sqrt rsqrt reciprocal softmax Softmax log_softmax LogSoftmax
    softmin Softmin logsumexp norm std""".split()
)
"""Operations whose derivative is computed from their result."""

KEEPS_INPUT: frozenset[str] = frozenset(
    """log log2 log1p square abs sin cos erf var std norm logsumexp clamp relu6 ReLU6 leaky_relu LeakyReLU elu ELU selu
    SELU gelu GELU silu SiLU mish Mish hardswish Hardswish softplus Softplus hardtanh Hardtanh logsigmoid LogSigmoid
    Linear Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d BatchNorm1d BatchNorm2d BatchNorm3d
    LayerNorm GroupNorm InstanceNorm2d PReLU MaxPool2d AvgPool2d GRU LSTM""".split()
)
"""Operations whose derivative, by their input or by their parameters, is computed from their input."""

VIEWS: frozenset[str] = frozenset("view squeeze unsqueeze transpose permute t .T".split())
"""Operations whose result shares its numbers, and their version, with their input."""

INPLACE_SWITCH: dict[str, int] = {
    **dict.fromkeys(("ReLU", "ReLU6", "SiLU", "SELU", "Mish", "Hardswish", "Hardsigmoid"), 0),
    **dict.fromkeys(("LeakyReLU", "ELU", "CELU", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d"), 1),
    **dict.fromkeys(("Hardtanh", "Threshold", "RReLU"), 2),
}
"""Layers that write into their input when asked to: the position of that argument."""

NO_EDITS: frozenset[str] = frozenset("requires_grad_ detach_ share_memory_ rename_ squeeze_ unsqueeze_".split())
"""Methods with the underscore of an in-place operation that leave the numbers as they are."""
