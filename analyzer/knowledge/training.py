"""Optimizers, schedulers, loaders, samplers and the contexts in which training code runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..values import Obj

LOADER = "torch.utils.data.DataLoader"

SIGNATURES: dict[str, tuple[str, ...]] = {
    "torch.utils.data.DataLoader": (
        "dataset",
        "batch_size",
        "shuffle",
        "sampler",
        "batch_sampler",
        "num_workers",
        "collate_fn",
        "pin_memory",
        "drop_last",
    ),
    "torch.utils.data.Subset": ("dataset", "indices"),
    "torch.utils.data.random_split": ("dataset", "lengths", "generator"),
    "torch.utils.data.ConcatDataset": ("datasets",),
    "torch.nn.LSTM": ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"),
    "torch.nn.GRU": ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"),
    "torch.nn.RNN": ("input_size", "hidden_size", "num_layers", "nonlinearity", "bias", "batch_first", "dropout"),
    "torch.nn.MultiheadAttention": (
        "embed_dim",
        "num_heads",
        "dropout",
        "bias",
        "add_bias_kv",
        "add_zero_attn",
        "kdim",
        "vdim",
        "batch_first",
    ),
    **dict.fromkeys(
        ("torch.nn.TransformerEncoderLayer", "torch.nn.TransformerDecoderLayer"),
        (
            "d_model",
            "nhead",
            "dim_feedforward",
            "dropout",
            "activation",
            "layer_norm_eps",
            "batch_first",
            "norm_first",
        ),
    ),
    "torch.nn.Dropout": ("p", "inplace"),
    "torch.autocast": ("device_type", "dtype", "enabled"),
    "torch.amp.autocast": ("device_type", "dtype", "enabled"),
    "torch.cuda.amp.autocast": ("enabled", "dtype"),
    "torch.cpu.amp.autocast": ("enabled", "dtype"),
    "torch.utils.data.DistributedSampler": ("dataset", "num_replicas", "rank", "shuffle", "seed", "drop_last"),
    "torch.optim.SGD": ("params", "lr", "momentum", "dampening", "weight_decay", "nesterov"),
    "torch.optim.Adam": ("params", "lr", "betas", "eps", "weight_decay"),
    "torch.optim.AdamW": ("params", "lr", "betas", "eps", "weight_decay"),
    "torch.optim.NAdam": ("params", "lr", "betas", "eps", "weight_decay"),
    "torch.optim.RAdam": ("params", "lr", "betas", "eps", "weight_decay"),
    "torch.optim.Adamax": ("params", "lr", "betas", "eps", "weight_decay"),
    "torch.optim.RMSprop": ("params", "lr", "alpha", "eps", "weight_decay", "momentum"),
    "torch.nn.Softmax": ("dim",),
    "torch.nn.LogSoftmax": ("dim",),
    "torch.optim.lr_scheduler.OneCycleLR": ("optimizer", "max_lr", "total_steps", "epochs", "steps_per_epoch"),
}
"""Positional parameters by name."""

FIRST_PARAMETER: tuple[tuple[str, str], ...] = (
    ("torch.optim.lr_scheduler.", "optimizer"),
    ("torch.optim.", "params"),
    ("torchvision.datasets.", "root"),
)
"""Name of the first parameter of whole families."""

MAP_STYLE_DATASETS: frozenset[str] = frozenset(
    (
        "torch.utils.data.TensorDataset",
        "torch.utils.data.Subset",
        "torch.utils.data.ConcatDataset",
        "torch.utils.data.Dataset",
    )
)
ITERABLE_DATASETS: frozenset[str] = frozenset(
    ("torch.utils.data.IterableDataset", "torch.utils.data.ChainDataset", "torch.utils.data.IterDataPipe")
)

DISTRIBUTED_SAMPLER = "torch.utils.data.DistributedSampler"
SEEDS: tuple[str, ...] = (
    "manual_seed",
    "seed",
    "random.seed",
    "torch.cuda.manual_seed",
    "torch.cuda.manual_seed_all",
    "pytorch_lightning.seed_everything",
    "lightning_fabric.seed_everything",
    "accelerate.utils.set_seed",
    "transformers.set_seed",
    "ignite.utils.manual_seed",
    "fastai.torch_core.set_seed",
    "monai.utils.set_determinism",
)
"""Operations that seed a generator of random numbers."""

OPTIMIZER_FAMILIES = (
    "torch.optim.",
    "apex.optimizers.",
    "timm.optim.",
    "transformers.AdamW",
    "transformers.Adafactor",
    "bitsandbytes.optim.",
)
USUAL_RATES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("Adam", "AdamW", "NAdam", "RAdam", "AdamP", "Lamb"), (1e-7, 0.05)),
    "Adamax": (1e-7, 0.1),
    "RMSprop": (1e-7, 0.05),
    "Lion": (1e-8, 0.01),
    "SGD": (1e-6, 30.0),
}
"""The smallest and the largest rate that is of any use for a network of several layers."""
FINE_TUNING = 1e-3
"""The rate from which on Adam and its kin wipe out what a pretrained transformer knows."""
SAVERS: frozenset[str] = frozenset(("torch.save", "safetensors.torch.save_file"))
SAVE_METHODS: frozenset[str] = frozenset(("save_pretrained", "save_checkpoint", "save_state"))
"""What keeps the present weights."""

METRIC_SCHEDULERS: frozenset[str] = frozenset(("torch.optim.lr_scheduler.ReduceLROnPlateau",))
EPOCH_SCHEDULERS: frozenset[str] = frozenset(
    f"torch.optim.lr_scheduler.{name}" for name in ("StepLR", "MultiStepLR", "CosineAnnealingLR", "ExponentialLR")
)
"""Schedules whose literals usually count epochs."""
SCALERS: frozenset[str] = frozenset(("torch.amp.GradScaler", "torch.GradScaler"))

CLIPPERS: frozenset[str] = frozenset(
    (
        "torch.nn.utils.clip_grad_norm_",
        "torch.nn.utils.clip_grad_value_",
        "torch.nn.utils.clip_grad_norm",
        "torch.nn.utils.clip_grad.clip_grad_norm_",
        "torch.nn.utils.clip_grad.clip_grad_value_",
        "torch.nn.utils.clip_grads_with_norm_",
    )
)

NO_GRAD: frozenset[str] = frozenset(("torch.no_grad", "torch.inference_mode"))
ENABLE_GRAD: frozenset[str] = frozenset(("torch.enable_grad",))
SET_GRAD: frozenset[str] = frozenset(("torch.set_grad_enabled",))

AUTOCASTS: frozenset[str] = frozenset(
    ("torch.autocast", "torch.amp.autocast", "torch.cuda.amp.autocast", "torch.cpu.amp.autocast")
)
"""Contexts that run operations in a half-precision number type."""
_DEVICES = {"torch.cuda.amp.autocast": "cuda", "torch.cpu.amp.autocast": "cpu"}
_DEFAULTS = {"cuda": "float16", "cpu": "bfloat16", "mps": "float16", "xpu": "bfloat16"}

SELF_METHODS: frozenset[str] = frozenset(
    """to cuda cpu float double half bfloat16 type share_memory requires_grad_ apply to_empty xpu ipu compile
    contiguous pin_memory""".split()
)
"""Methods of modules (and of things that may be modules) that return the object itself."""

HANDS_BACK: dict[str, frozenset[str]] = {
    "accelerate.Accelerator": frozenset(
        """prepare prepare_model prepare_optimizer prepare_data_loader prepare_scheduler unwrap_model gather
        gather_for_metrics pad_across_processes""".split()
    ),
    "lightning_fabric.Fabric": frozenset(
        "setup setup_module setup_optimizers setup_dataloaders to_device all_gather".split()
    ),
}
"""Methods that hand back what they are given, several things in the same order: wrapped, the same for training."""

COUPLED_DECAY: frozenset[str] = frozenset(
    f"torch.optim.{name}" for name in ("SGD", "Adam", "Adagrad", "RMSprop", "Adamax", "NAdam", "RAdam", "ASGD")
)
"""Optimizers whose ``weight_decay`` is added to the gradient."""

LOADS: frozenset[str] = frozenset(("load_state_dict", "from_pretrained"))
"""Methods that write weights into a module."""

VARIABLES: frozenset[str] = frozenset(("torch.autograd.Variable", "torch.autograd.variable.Variable"))
"""What a tensor had to be wrapped in once; ``volatile=True`` switched gradients off for all that is made of it."""

SAME: frozenset[str] = frozenset(
    (
        "tqdm.tqdm",
        "tqdm.auto.tqdm",
        "tqdm.notebook.tqdm",
        "tqdm.autonotebook.tqdm",
        "tqdm.rich.tqdm",
        "tqdm.tqdm_notebook",
        "tqdm.trange",
        "rich.progress.track",
        "itertools.cycle",
        "itertools.islice",
        "iter",
        "list",
        "tuple",
        "reversed",
        "sorted",
        "typing.cast",
        "torch.autograd.Variable",
        "torch.autograd.variable.Variable",
    )
)
"""Calls that hand on what they are given as far as iterating is concerned (``typing.cast``: its second argument)."""


def autocast_type(context: Obj) -> str | None:
    """The number type of an autocast: None where it is switched off, ``?`` where that cannot be told."""
    from ..values import Const, Library

    enabled, dtype, device = (context.argument(name) for name in ("enabled", "dtype", "device_type"))
    if type(enabled) is Const and enabled.value is False:
        return None
    if context.hidden or not (enabled is None or (type(enabled) is Const and enabled.value is True)):
        return "?"
    if type(dtype) is Library:
        return dtype.path.rsplit(".", 1)[-1].replace("half", "float16")
    if dtype is not None and not (type(dtype) is Const and dtype.value is None):
        return "?"
    name = device.value if type(device) is Const else _DEVICES.get(str(context.cls))
    return _DEFAULTS.get(name.split(":")[0], "?") if isinstance(name, str) else "?"


def is_optimizer(path: str) -> bool:
    """Whether a library class is an optimizer."""
    name = path.rsplit(".", 1)[-1]
    if path.startswith(("torch.optim.lr_scheduler", "torch.optim.swa_utils")):
        return False
    return path.startswith(OPTIMIZER_FAMILIES) and name[:1].isupper()


def is_scheduler(path: str) -> bool:
    """Whether a library class or function makes a learning-rate scheduler."""
    if path.startswith("torch.optim.lr_scheduler."):
        return path.rsplit(".", 1)[-1][:1].isupper()
    return path.startswith("transformers.get_") and path.endswith(("_schedule", "_warmup", "_scheduler"))


def is_dataset(path: str) -> bool:
    """Whether a library class is a map-style dataset."""
    name = path.rsplit(".", 1)[-1]
    return path in MAP_STYLE_DATASETS or (path.startswith("torchvision.datasets.") and name[:1].isupper())
