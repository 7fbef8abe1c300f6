"""Tensor operations: what kind of numbers they give, what they pass on, where they cut the graph.

An operation goes by one short name however it is written: ``torch.softmax(x, 1)``,
``F.softmax(x, 1)``, ``x.softmax(1)`` and ``nn.Softmax(1)(x)`` are all ``softmax``.
"""

from __future__ import annotations

from typing import Final

# Kinds of numbers that a tensor can hold. Each constant is what a message calls it.
PROBABILITIES: Final = "probabilities"
LOG_PROBABILITIES: Final = "log-probabilities"
SIGMOID: Final = "sigmoid outputs"
LOGITS: Final = "unnormalised scores"
ACTIVATED: Final = "activations"

OUTPUT: dict[str, str] = {
    **dict.fromkeys(("softmax", "softmin", "gumbel_softmax", "Softmax", "Softmax2d", "Softmin"), PROBABILITIES),
    **dict.fromkeys(("log_softmax", "LogSoftmax"), LOG_PROBABILITIES),
    **dict.fromkeys(("sigmoid", "expit", "Sigmoid", "hardsigmoid", "Hardsigmoid"), SIGMOID),
    **dict.fromkeys(
        """linear Linear LazyLinear Bilinear bilinear Conv1d Conv2d Conv3d conv1d conv2d conv3d ConvTranspose1d
        ConvTranspose2d ConvTranspose3d conv_transpose1d conv_transpose2d conv_transpose3d LazyConv2d matmul mm bmm
        addmm BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm GroupNorm InstanceNorm2d batch_norm layer_norm
        torchvision.models einsum spmm addmm baddbmm sparse_mm""".split(),
        LOGITS,
    ),
    **dict.fromkeys(
        """relu ReLU relu6 ReLU6 leaky_relu LeakyReLU elu ELU selu SELU gelu GELU silu SiLU mish Mish hardswish
        Hardswish tanh Tanh hardtanh Hardtanh softplus Softplus prelu PReLU""".split(),
        ACTIVATED,
    ),
}
"""What the numbers are after the operation."""

BOUNDS: frozenset[str] = frozenset(
    """clamp clip clamp_ clip_ clamp_min clamp_max minimum maximum where nan_to_num masked_fill masked_fill_""".split()
)
"""Operations that may keep numbers inside an interval."""

MAYBE_BOUNDED: frozenset[str] = frozenset(
    """hardtanh Hardtanh matmul mm bmm addmm baddbmm einsum spmm sparse_mm prelu PReLU""".split()
)
"""Operations of :data:`OUTPUT` whose results stay between 0 and 1 for some arguments: averages of probabilities."""

PASSES: frozenset[str] = frozenset(
    """view reshape flatten unflatten squeeze unsqueeze contiguous permute transpose t swapaxes movedim expand expand_as
    repeat float double half bfloat16 to cuda cpu type type_as clone detach requires_grad_ Flatten Unflatten Identity []
    .data .T .mT select narrow index_select chunk split masked_select gather pin_memory rearrange Upsample
    as_tensor asarray numpy stack cat concat concatenate touched nan_to_num unbind view_as reshape_as
    ravel rename volatile squeeze_ unsqueeze_ transpose_ values array""".split()
)
"""Operations that keep the kind of numbers of their first input (of all of a sequence: ``cat``)."""

RESAMPLES: frozenset[str] = frozenset(
    ("interpolate", "upsample", "Dropout", "Dropout1d", "Dropout2d", "dropout", "mean", "sum")
)
"""Operations that keep unnormalised scores what they are, but nothing else."""

CUTS: dict[str, str] = {
    "item": "`.item()`",
    "detach": "`.detach()`",
    "detach_": "`.detach_()`",
    "volatile": "`volatile=True`",
    "numpy": "`.numpy()`",
    "tolist": "`.tolist()`",
    ".data": "`.data`",
    "float()": "`float()`",
    "int()": "`int()`",
    "argmax": "`argmax`",
    "argmin": "`argmin`",
    "argsort": "`argsort`",
    "eq": "a comparison",
    "ne": "a comparison",
    "gt": "a comparison",
    "lt": "a comparison",
    "ge": "a comparison",
    "le": "a comparison",
    "==": "a comparison",
    "!=": "a comparison",
    "<": "a comparison",
    ">": "a comparison",
    "<=": "a comparison",
    ">=": "a comparison",
    "long": "`.long()`",
    "int": "`.int()`",
    "bool": "`.bool()`",
    "round()": "`round()`",
    "len()": "`len()`",
    "str()": "`str()`",
    ".shape": "`.shape`",
    ".grad": "`.grad`",
    "size": "`.size()`",
    "tensor": "`torch.tensor()`",
    "zeros_like": "`zeros_like`",
    "ones_like": "`ones_like`",
    "one_hot": "`one_hot`",
}
"""Operations after which no gradient flows back, by the words a message uses for them."""

GRADED: frozenset[str] = frozenset(
    """mean sum add sub mul div pow sqrt exp log neg abs clamp clip + - * / ** @ unary- norm max min logsumexp stack cat
    squeeze unsqueeze view reshape flatten to float double half cuda cpu type contiguous scale nanmean nansum
    square relu sigmoid softmax log_softmax tanh""".split()
)
"""Operations whose result carries the graph if an input does."""

SPREADS: tuple[str, ...] = ("std", "var", "std_mean", "var_mean")
"""Reductions that divide by the count less one, unless told otherwise."""

COUNTS: frozenset[str] = frozenset(("len()", ".shape", "size", "range"))
"""Operations that give how many there are, and nothing of the numbers."""

SCORES: tuple[str, ...] = ("==", "eq", "!=", "ne")
"""Operations that hold predictions against labels (``argmax`` alone may be acting on a prediction, not scoring it)."""

CREATES: frozenset[str] = frozenset(
    """zeros ones full empty rand randn randint arange linspace eye tensor as_tensor from_numpy zeros_like ones_like
    rand_like randn_like randperm normal""".split()
)

CONVERTS: frozenset[str] = frozenset(("tensor", "as_tensor", "from_numpy"))
"""Those of :data:`CREATES` that hold the numbers that they are given."""

CONSTRUCTORS: frozenset[str] = frozenset(
    f"torch.{name}Tensor" for name in ("", "Float", "Double", "Half", "Long", "Int", "Bool", "Byte", "Short")
) | frozenset(f"torch.cuda.{name}Tensor" for name in ("Float", "Double", "Half", "Long", "Int", "Bool", "Byte"))
"""Legacy constructors that make a tensor of what they are given."""

STATISTICS: frozenset[str] = frozenset(
    """mean std min max var median quantile percentile nanmean nanstd nanmin nanmax nanmedian amin amax std_mean
    var_mean average""".split()
)
"""Reductions that learn something from the data they see (NN201)."""
