"""Which libraries are known, and the one spelling under which each of their names is looked up."""

from __future__ import annotations

import sys
from functools import lru_cache

PURE = frozenset(sys.stdlib_module_names) | frozenset(
    """
    torch torchvision torchaudio torchtext torchmetrics numpy scipy pandas sklearn imblearn matplotlib seaborn plotly
    PIL cv2 skimage albumentations imgaug timm transformers datasets tokenizers accelerate diffusers peft evaluate
    safetensors huggingface_hub pytorch_lightning lightning lightning_fabric ignite fastai catalyst einops tqdm rich
    wandb tensorboard tensorboardX mlflow neptune comet_ml clearml hydra omegaconf yaml click fire absl termcolor
    tabulate h5py lmdb joblib numba networkx nltk spacy gensim gym gymnasium torchsummary torchinfo thop fvcore ptflops
    torch_geometric torch_scatter torch_sparse dgl kornia monai segmentation_models_pytorch efficientnet_pytorch
    pretrainedmodels apex deepspeed fairscale psutil requests IPython ipywidgets pytest librosa soundfile SimpleITK
    nibabel pydicom xgboost lightgbm optuna ray regex sentencepiece sacrebleu rouge_score jiwer editdistance dotenv
    easydict yacs addict colorama loguru prettytable torch_ema torchdiffeq gpytorch botorch pyro torchsde e3nn
    """.split()
)
"""Top-level packages whose functions do not change what they are handed, unless a table here says so."""

ALIASES = (
    ("torch.nn.modules.", None),
    ("torch.utils.data.dataloader.", "torch.utils.data."),
    ("torch.utils.data.dataset.", "torch.utils.data."),
    ("torch.utils.data.sampler.", "torch.utils.data."),
    ("torch.utils.data._utils.", "torch.utils.data."),
    ("torch.nn.parallel.distributed.", "torch.nn.parallel."),
    ("torch.cuda.amp.grad_scaler.", "torch.amp."),
    ("torch.cuda.amp.autocast_mode.", "torch.cuda.amp."),
    ("torch.cuda.amp.GradScaler", "torch.amp.GradScaler"),
    ("torch.cpu.amp.GradScaler", "torch.amp.GradScaler"),
    ("torch.amp.grad_scaler.", "torch.amp."),
    ("torch.amp.autocast_mode.", "torch.amp."),
    ("torch.utils.data.distributed.", "torch.utils.data."),
    ("torch.autograd.grad_mode.", "torch."),
    ("torch.autograd.no_grad", "torch.no_grad"),
    ("torchvision.transforms.v2.", "torchvision.transforms."),
    ("torchvision.transforms.transforms.", "torchvision.transforms."),
    ("torchvision.models.", None),
    ("torchvision.datasets.", None),
    ("lightning.pytorch.", "pytorch_lightning."),
    ("lightning.fabric.", "lightning_fabric."),
    ("lightning.Fabric", "lightning_fabric.Fabric"),
    ("lightning_fabric.fabric.", "lightning_fabric."),
    ("accelerate.accelerator.", "accelerate."),
    ("pytorch_lightning.core.", None),
    ("sklearn.preprocessing._", None),
    ("sklearn.model_selection._", None),
    ("torch.optim.", None),
)
"""Prefixes and what stands for them; None: keep the prefix's package and the last component only."""

_KEPT = {
    "torch.nn.modules.": "torch.nn.",
    "torchvision.models.": "torchvision.models.",
    "torchvision.datasets.": "torchvision.datasets.",
    "pytorch_lightning.core.": "pytorch_lightning.",
    "sklearn.preprocessing._": "sklearn.preprocessing.",
    "sklearn.model_selection._": "sklearn.model_selection.",
    "torch.optim.": "torch.optim.",
}


@lru_cache(maxsize=10_000)
def canonical(path: str) -> str:
    """The spelling of a dotted path that the tables use."""
    for prefix, replacement in ALIASES:
        if path.startswith(prefix):
            rest = path[len(prefix) :]
            if replacement is not None:
                return canonical(replacement + rest)
            if prefix == "torch.optim.":
                return _optim(rest)
            if "." in rest:
                return _KEPT[prefix] + rest.rsplit(".", 1)[-1]
            return path if prefix != "torch.nn.modules." else _KEPT[prefix] + rest
    if path in ("lightning.LightningModule", "lightning.LightningDataModule", "lightning.Trainer"):
        return "pytorch_lightning." + path.rsplit(".", 1)[-1]
    return path


def _optim(rest: str) -> str:
    parts = rest.split(".")
    if parts[0] in ("lr_scheduler", "swa_utils"):
        return "torch.optim." + ".".join(parts)
    return "torch.optim." + parts[-1]


def pure(path: str) -> bool:
    """Whether a call into this library leaves its arguments as they are."""
    return "." not in path or path.split(".", 1)[0] in PURE
