"""What operations do to the shape of a tensor."""

from __future__ import annotations

SAME_SHAPE: frozenset[str] = frozenset(
    """float double half bfloat16 long int bool to cuda cpu type type_as detach clone contiguous requires_grad_ .data
    numpy astype copy softmax log_softmax Softmax LogSoftmax sigmoid Sigmoid tanh Tanh relu ReLU relu6 ReLU6 leaky_relu
    LeakyReLU elu ELU selu SELU gelu GELU silu SiLU mish Mish hardswish Hardswish softplus Softplus prelu PReLU
    logsigmoid LogSigmoid hardtanh Hardtanh Dropout Dropout1d Dropout2d Dropout3d AlphaDropout dropout dropout2d
    Identity BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm GroupNorm InstanceNorm1d InstanceNorm2d LocalResponseNorm
    batch_norm layer_norm exp log abs sqrt square neg unary- clamp clip pow zeros_like ones_like rand_like randn_like
    full_like nan_to_num normalize pin_memory relu_ sigmoid_ clamp_ map fillna""".split()
)
"""Operations whose result has the shape of their first input."""

ELEMENTWISE: frozenset[str] = frozenset("+ - * / ** add sub mul div pow where maximum minimum".split())
"""Operations of two tensors, element by element: the result holds as many numbers as the larger one."""

REDUCTIONS: frozenset[str] = frozenset(("mean", "sum", "argmax", "argmin", "amax", "amin", "prod", "logsumexp", "norm"))
"""Operations that take one dimension away (or all)."""

CONVOLUTIONS: dict[str, tuple[int, bool]] = {
    **{f"Conv{n}d": (n, False) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": (n, True) for n in (1, 2, 3)},
}
"""Layers by the number of their spatial dimensions; True for transposed ones."""

POOLS: dict[str, int] = {
    **{f"{kind}Pool{n}d": n for kind in ("Max", "Avg") for n in (1, 2, 3)},
    **{f"{kind}_pool{n}d": n for kind in ("max", "avg") for n in (1, 2, 3)},
}

RECURRENT: frozenset[str] = frozenset(("LSTM", "GRU", "RNN"))

LABELLED_IMAGES: frozenset[str] = frozenset(
    "MNIST FashionMNIST KMNIST QMNIST CIFAR10 CIFAR100 SVHN STL10 ImageFolder ImageNet USPS GTSRB".split()
)
"""Data sets of torchvision whose samples are (picture, number of the class)."""

READS_TABLES: frozenset[str] = frozenset(
    f"pandas.{name}" for name in ("read_csv", "read_excel", "read_parquet", "read_table", "read_feather", "DataFrame")
)

ARRAYS_BY_POSITION: dict[str, tuple[int, ...]] = {
    f"sklearn.datasets.{name}": (2, 1)
    for name in ("make_classification", "make_moons", "make_circles", "make_blobs", "make_regression")
}
"""Functions that return several arrays, and the number of dimensions of each."""

INPUT_SIZES: dict[str, tuple[str, int, str]] = {
    "Linear": ("in_features", 0, "features"),
    **{f"Conv{n}d": ("in_channels", 0, "channels") for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": ("in_channels", 0, "channels") for n in (1, 2, 3)},
    **{f"BatchNorm{n}d": ("num_features", 0, "channels") for n in (1, 2, 3)},
    "LayerNorm": ("normalized_shape", 0, "features"),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), ("input_size", 0, "features")),
}
"""The argument that says what a layer takes: its name, its position, and what it counts."""


def axis_of(op: str, rank: int | None) -> int:
    """The axis that a layer's input size belongs to."""
    if op.startswith("Conv"):
        return -1 - int(op[-2])
    if op in ("BatchNorm2d", "BatchNorm3d"):
        return -1 - int(op[-2])
    if op == "BatchNorm1d":
        return -1 if rank == 2 else -2 if rank == 3 else 99
    return -1


STACKS: frozenset[str] = frozenset(("TransformerEncoder", "TransformerDecoder"))
SEQUENCE_LAYERS: tuple[str, ...] = (
    "LSTM",
    "GRU",
    "RNN",
    "MultiheadAttention",
    "TransformerEncoderLayer",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerDecoder",
)
"""Layers that expect (time, batch, features) unless ``batch_first`` is given."""

STRICT_LOSSES: frozenset[str] = frozenset(
    ("binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "nll_loss")
)
"""Losses that raise where a batch axis is missing on one side."""

OVER_CLASSES: frozenset[str] = frozenset(("loss:cross_entropy", "loss:nll_loss", "loss:multi_margin_loss"))
"""Losses that take one axis of their input for the classes."""

SOFTMAXES: tuple[str, ...] = ("softmax", "log_softmax", "Softmax", "LogSoftmax")
