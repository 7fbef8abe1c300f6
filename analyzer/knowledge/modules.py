"""``nn.Module`` classes of libraries: which there are, which behave differently in training, what holds what."""

from __future__ import annotations

MODULE_BASES: frozenset[str] = frozenset(
    (
        "torch.nn.Module",
        "pytorch_lightning.LightningModule",
        "transformers.PreTrainedModel",
        "torch.nn.Sequential",
        "torch.nn.ModuleList",
        "torch.nn.ModuleDict",
        "torch.jit.ScriptModule",
    )
)
LIGHTNING_BASES: frozenset[str] = frozenset(
    ("pytorch_lightning.LightningModule", "pytorch_lightning.LightningDataModule")
)
LIFECYCLE: tuple[str, ...] = ("setup", "configure_model")
"""Methods that the framework calls after the constructor and before any other."""

CONTAINERS: frozenset[str] = frozenset(
    (
        "torch.nn.Sequential",
        "torch.nn.ModuleList",
        "torch.nn.ModuleDict",
        "torch.nn.ParameterList",
        "torch.nn.ParameterDict",
    )
)

TRAIN_DEPENDENT: frozenset[str] = frozenset(
    f"torch.nn.{name}"
    for name in """Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout BatchNorm1d BatchNorm2d
    BatchNorm3d SyncBatchNorm LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d RReLU Transformer TransformerEncoder
    TransformerDecoder TransformerEncoderLayer TransformerDecoderLayer""".split()
)
"""Classes whose forward differs between training and evaluation."""

TRAIN_DEPENDENT_FUNCTIONS: frozenset[str] = frozenset(
    ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "batch_norm", "rrelu")
)
"""Functions of ``torch.nn.functional`` that take a ``training`` argument."""

ALWAYS_ON_BY_DEFAULT: frozenset[str] = frozenset(("dropout", "dropout1d", "dropout2d", "dropout3d"))
"""Those of them that act as in training unless told otherwise."""

DROPOUTS: frozenset[str] = frozenset(
    f"torch.nn.{name}" for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout")
)

DROPOUT_ARGUMENT: frozenset[str] = frozenset(f"torch.nn.{name}" for name in "LSTM GRU RNN MultiheadAttention".split())
"""Classes that differ only if their ``dropout`` argument is given and not zero."""

WITHOUT_PARAMETERS: frozenset[str] = frozenset(
    f"torch.nn.{name}"
    for name in """Dropout Dropout1d Dropout2d Dropout3d AlphaDropout ReLU ReLU6 LeakyReLU ELU SELU GELU SiLU Mish
    Sigmoid Tanh Softmax LogSoftmax Softmax2d Softplus Hardtanh Hardswish Hardsigmoid Identity Flatten Unflatten
    MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveMaxPool2d
    Upsample PixelShuffle ZeroPad2d ReflectionPad2d ReplicationPad2d ConstantPad2d CrossEntropyLoss NLLLoss MSELoss
    L1Loss SmoothL1Loss BCELoss BCEWithLogitsLoss KLDivLoss HuberLoss CTCLoss TripletMarginLoss CosineEmbeddingLoss
    MarginRankingLoss CosineSimilarity Unfold Fold GLU LogSigmoid Threshold UpsamplingNearest2d UpsamplingBilinear2d
    ReflectionPad1d PairwiseDistance ChannelShuffle InstanceNorm1d InstanceNorm2d InstanceNorm3d AdaptiveAvgPool3d
    AdaptiveMaxPool1d AdaptiveMaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d LPPool1d LPPool2d FractionalMaxPool2d
    FractionalMaxPool3d ConstantPad1d ConstantPad3d ZeroPad1d ZeroPad3d ReflectionPad3d ReplicationPad1d
    ReplicationPad3d CircularPad1d CircularPad2d CircularPad3d Softmin Softshrink Hardshrink Tanhshrink Softsign CELU
    RReLU PixelUnshuffle LocalResponseNorm CrossMapLRN2d FeatureAlphaDropout PoissonNLLLoss GaussianNLLLoss
    HingeEmbeddingLoss MultiMarginLoss MultiLabelMarginLoss MultiLabelSoftMarginLoss SoftMarginLoss
    TripletMarginWithDistanceLoss""".split()
)
"""Classes that own no trainable parameter (with their default arguments)."""

MODULE_FACTORIES: frozenset[str] = frozenset(
    (
        "timm.create_model",
        "torch.hub.load",
        "segmentation_models_pytorch.create_model",
        "torch.jit.load",
        "torch.jit.script",
        "torch.jit.trace",
    )
)
"""Functions that return a module of which nothing more is known."""

LAYER_WORDS: tuple[str, ...] = tuple(
    """Linear LazyLinear Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d Embedding RNN LSTM GRU
    BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm GroupNorm MultiheadAttention TransformerEncoderLayer Parameter
    ModuleList ModuleDict Sequential""".split()
)
"""Names of layers by which code that builds networks is found."""

PARTS: frozenset[str] = frozenset(
    ".fc .classifier .head .heads .features .layer1 .layer2 .layer3 .layer4 .conv1 .bn1 .encoder .avgpool".split()
)
"""Attributes of the models of torchvision that are modules."""

BATCH_NORMS: frozenset[str] = frozenset(f"torch.nn.BatchNorm{n}d" for n in (1, 2, 3))
BIAS_POSITION: dict[str, int] = {"Linear": 2, "Conv1d": 7, "Conv2d": 7, "Conv3d": 7}
"""Where the constructor of a layer takes ``bias``."""

CONSTANT_INITIALISERS: tuple[str, ...] = tuple(f"torch.nn.init.{name}" for name in ("constant_", "zeros_", "ones_"))
"""Functions that make all weights of a layer equal."""

AFFINE: tuple[str, ...] = ("affine", "elementwise_affine")
"""Arguments of normalisation layers that say whether they own parameters."""

HEADS: tuple[str, ...] = ("fc", "classifier", "head", "heads")
"""Attributes under which the models of torchvision keep their last layers."""

WRAPPERS: frozenset[str] = frozenset(
    (
        "torch.nn.DataParallel",
        "torch.nn.parallel.DistributedDataParallel",
        "torch.nn.parallel.DataParallel",
        "torch.compile",
        "torch.nn.SyncBatchNorm.convert_sync_batchnorm",
        "torch.distributed.fsdp.FullyShardedDataParallel",
        "apex.parallel.DistributedDataParallel",
        "torch.nn.utils.spectral_norm",
        "torch.nn.utils.weight_norm",
        "torch.nn.utils.parametrizations.spectral_norm",
        "torch.nn.utils.parametrizations.weight_norm",
    )
)
"""Calls whose result stands for the module that is their first argument."""


SYNCHRONISED: frozenset[str] = frozenset(
    (
        "torch.nn.parallel.DistributedDataParallel",
        "torch.distributed.fsdp.FullyShardedDataParallel",
        "apex.parallel.DistributedDataParallel",
    )
)
"""Wrappers that average the gradients of several processes."""


def is_module_class(path: str) -> bool:
    """Whether a library class is an ``nn.Module``."""
    head, _, name = path.rpartition(".")
    if path in MODULE_BASES:
        return True
    if head == "torch.nn":
        return name[:1].isupper() and name not in (
            "Parameter",
            "ParameterList",
            "ParameterDict",
            "UninitializedParameter",
        )
    if head == "segmentation_models_pytorch":
        return name[:1].isupper()
    return False


def is_module_factory(path: str) -> bool:
    """Whether a library function returns an ``nn.Module``."""
    if path in MODULE_FACTORIES:
        return True
    head, _, name = path.rpartition(".")
    if head == "torchvision.models":
        return name[:1].islower() and not name.startswith(("get_", "list_"))
    return path.startswith("transformers.Auto") and path.endswith(".from_pretrained") and "Model" in path
