"""Images: what reads them, what the steps of a pipeline do to their numbers, what pretrained models expect.

The range of an image goes by one word: ``BYTES`` (0..255 as integers or a PIL image), ``FLOAT_BYTES`` (0..255 as
floats, which ``ToTensor`` does not scale), ``UNIT`` (0..1), ``TINY`` (scaled twice), ``NORMALISED``.
"""

from __future__ import annotations

from typing import Final

BYTES: Final = "0..255"
FLOAT_BYTES: Final = "0..255 as floats"
UNIT: Final = "0..1"
TINY: Final = "0..1/255"
NORMALISED: Final = "normalised"

READERS: frozenset[str] = frozenset(
    """cv2.imread PIL.Image.open PIL.Image.fromarray skimage.io.imread imageio.imread imageio.v2.imread
    imageio.v3.imread torchvision.io.read_image torchvision.io.decode_image torchvision.io.decode_jpeg""".split()
)
"""Functions that give an image of bytes."""

BGR_READERS: frozenset[str] = frozenset(("cv2.imread", "cv2.imdecode"))

KEEPS: frozenset[str] = frozenset(
    """resize crop convert rotate transpose flip cv2.resize cv2.cvtColor cv2.flip cv2.rotate copy array asarray
    ascontiguousarray from_numpy expand_dims moveaxis swapaxes rot90 pad stack cat concatenate rearrange
    PIL.ImageOps.fit PIL.ImageOps.exif_transpose fliplr flipud permute unsqueeze squeeze to cuda cpu contiguous clone
    view reshape tensor as_tensor repeat expand [] interpolate .T detach numpy flatten""".split()
)
"""Operations that leave the range of an image as it is."""
RESIZES = ("cv2.resize", "resize")
"""Functions and methods that take a size as (width, height)."""
KEEPS_SIZE: frozenset[str] = frozenset(
    "copy array asarray astype convert cv2.cvtColor cv2.flip cv2.GaussianBlur cv2.medianBlur float".split()
)
"""Operations whose result has the height and width of their input."""
KEEPS_AXES: frozenset[str] = KEEPS_SIZE | frozenset(
    """cv2.resize resize crop from_numpy tensor as_tensor to cuda cpu double half / - * + ascontiguousarray contiguous
    clone""".split()
)
"""Operations whose result has the axes of their input in the same order."""
CHANNELS_LAST_DATA: frozenset[str] = frozenset(("torchvision.datasets.CIFAR10", "torchvision.datasets.CIFAR100"))
"""Datasets whose ``data`` is an array of shape (N, H, W, C)."""

TO_FLOAT: frozenset[str] = frozenset(("float", "double", "half", "float()"))

TO_INDICES: frozenset[str] = frozenset(("long", "int", "Embedding", "embedding", "one_hot"))
"""Operations that take numbers as names of things."""

TORCHVISION: Final = "torchvision.transforms."
ALBUMENTATIONS: Final = "albumentations."
COMPOSES: frozenset[str] = frozenset(
    ("torchvision.transforms.Compose", "albumentations.Compose", "albumentations.Sequential", "torch.nn.Sequential")
)

TO_TENSOR: frozenset[str] = frozenset(("ToTensor", "to_tensor"))
"""Scales bytes to 0..1, and leaves floats alone."""
AS_TENSOR: frozenset[str] = frozenset("PILToTensor ToImage ToImageTensor pil_to_tensor to_image ToPureTensor".split())
"""Makes a tensor, of the same numbers."""
CONVERTS: frozenset[str] = frozenset(("ConvertImageDtype", "ConvertDtype", "convert_image_dtype"))
OPAQUE_STEPS: frozenset[str] = frozenset(("Lambda", "LinearTransformation", "ToPILImage", "MixUp", "CutMix"))
"""Steps of which the result's range is not known."""

CLAMPS: frozenset[str] = frozenset(
    """ColorJitter RandomAdjustSharpness RandomAutocontrast RandomEqualize RandomPosterize RandomSolarize AutoAugment
    RandAugment TrivialAugmentWide AugMix RandomPhotometricDistort""".split()
)
"""Steps of torchvision that clamp a float image to 0..1, or need bytes."""

CALLED: frozenset[str] = frozenset(("torchvision.transforms.Lambda", "albumentations.Lambda"))
"""Steps that hold a function of the user's."""

DISTORTS: frozenset[str] = frozenset(
    """RandomRotation RandomAffine RandomPerspective ColorJitter RandomGrayscale RandomErasing GaussianBlur RandomInvert
    RandomPosterize RandomSolarize RandomEqualize ElasticTransform RandAugment AutoAugment TrivialAugmentWide AugMix
    RandomResizedCrop""".split()
)
MAX_DISTORTIONS = 6
"""Steps of torchvision that take information out of an image, and how many of them are usual at most."""

EXTREMES: dict[str, tuple[tuple[str, int, float, bool, str], ...]] = {
    "ColorJitter": (
        ("brightness", 0, 0.9, False, "can make the image black"),
        ("contrast", 1, 0.9, False, "can make the image grey"),
        ("hue", 3, 0.4, False, "exchanges all colours"),
    ),
    "RandomResizedCrop": (("scale", 1, 0.05, True, "can leave a twentieth of the image"),),
    "RandomErasing": (("scale", 1, 0.6, False, "can erase more than half of the image"),),
    "RandomGrayscale": (("p", 0, 0.6, False, "takes the colours out of most images"),),
    "RandomPerspective": (("distortion_scale", 0, 0.8, False, "makes images unreadable"),),
    "GaussianBlur": (("sigma", 1, 8.0, False, "leaves no edges"),),
    "RandomSolarize": (("threshold", 0, 20.0, True, "inverts nearly the whole image"),),
}
"""Parameters by name and position, their limit, whether lower is more extreme, and what is extreme about it."""

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)

IMAGENET_FAMILIES = tuple(
    """resnet resnext wide_resnet vgg densenet mobilenet efficientnet convnext alexnet squeezenet mnasnet regnet
    shufflenet deeplabv3 fcn_ lraspp googlenet inception swin_ vit_ maxvit""".split()
)
"""Beginnings of the names of torchvision's models whose weights expect ImageNet's mean and deviation."""

VOCABULARIES: tuple[tuple[str, str], ...] = (
    ("bert-base-uncased", "BERT uncased"),
    ("bert-large-uncased", "BERT uncased"),
    ("distilbert-base-uncased", "BERT uncased"),
    ("google-bert/bert-base-uncased", "BERT uncased"),
    ("bert-base-cased", "BERT cased"),
    ("bert-large-cased", "BERT cased"),
    ("distilbert-base-cased", "BERT cased"),
    ("google-bert/bert-base-cased", "BERT cased"),
    ("bert-base-multilingual", "BERT multilingual"),
    ("bert-base-chinese", "BERT Chinese"),
    ("bert-base-german", "BERT German"),
    ("roberta-", "RoBERTa"),
    ("distilroberta", "RoBERTa"),
    ("FacebookAI/roberta", "RoBERTa"),
    ("xlm-roberta", "XLM-RoBERTa"),
    ("albert-", "ALBERT"),
    ("gpt2", "GPT-2"),
    ("distilgpt2", "GPT-2"),
    ("t5-", "T5"),
    ("google/electra", "BERT uncased"),
    ("microsoft/deberta-v3", "DeBERTa v3"),
    ("microsoft/deberta-", "DeBERTa"),
    ("xlnet-", "XLNet"),
    ("facebook/bart", "BART"),
)
"""Beginnings of the names of pretrained language models, and which vocabulary they read."""


def vocabulary(name: str) -> str | None:
    """The vocabulary of a pretrained language model, None where it is not known here."""
    return next((words for prefix, words in VOCABULARIES if name.startswith(prefix)), None)
