"""Optimizers, schedulers, loaders, samplers and the contexts in which training code runs."""

from __future__ import annotations

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
    "torch.nn.MultiheadAttention": ("embed_dim", "num_heads", "dropout"),
    "torch.nn.TransformerEncoderLayer": ("d_model", "nhead", "dim_feedforward", "dropout"),
    "torch.nn.Dropout": ("p", "inplace"),
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

OPTIMIZER_FAMILIES = (
    "torch.optim.",
    "apex.optimizers.",
    "timm.optim.",
    "transformers.AdamW",
    "transformers.Adafactor",
    "bitsandbytes.optim.",
)
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

SELF_METHODS: frozenset[str] = frozenset(
    """to cuda cpu float double half bfloat16 type share_memory requires_grad_ apply to_empty xpu ipu compile
    contiguous pin_memory""".split()
)
"""Methods of modules (and of things that may be modules) that return the object itself."""

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
