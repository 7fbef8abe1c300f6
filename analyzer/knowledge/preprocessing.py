"""Data preparation: what learns from the data it sees, what draws at random, what shuffles."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..values import Obj

SHUFFLES: frozenset[str] = frozenset(
    ("shuffle", "permutation", "randperm", "sample", "permuted", "shuffle_", "RandomState", "choice", "multinomial")
)
"""Names of operations that put samples in random order."""

GENERATORS: frozenset[str] = frozenset(
    ("numpy.random.RandomState", "numpy.random.Generator", "random.Random", "torch.Generator")
)
GENERATOR_NAMES: frozenset[str] = frozenset(
    ("default_rng", "RandomState", "Random", "Generator", "manual_seed", "seed")
)
"""Classes of random generators, and words that make one or set it back."""

APPLIES_STATISTICS: tuple[str, ...] = ("-", "/", "sub", "div", "fillna", "true_divide", "subtract", "divide")
SHIFTS: tuple[str, ...] = ("-", "sub", "subtract")
EXTREMES: frozenset[str] = frozenset(("min", "max", "amin", "amax", "nanmin", "nanmax"))
"""Subtracting an extreme alone only moves the origin (ids that begin at 0); dividing by one scales."""

LEARNERS: frozenset[str] = frozenset(
    f"sklearn.preprocessing.{name}"
    for name in """StandardScaler MinMaxScaler MaxAbsScaler RobustScaler PowerTransformer QuantileTransformer
    KBinsDiscretizer TargetEncoder SplineTransformer KernelCenterer""".split()
) | {"sklearn.feature_extraction.text.TfidfVectorizer"}
LEARNER_FAMILIES = (
    "sklearn.decomposition.",
    "sklearn.impute.",
    "sklearn.feature_selection.",
    "sklearn.discriminant_analysis.",
)
"""Classes whose ``fit`` learns from the data what must not be learned from held-out data."""

PIPELINES: frozenset[str] = frozenset(("sklearn.pipeline.Pipeline", "sklearn.compose.ColumnTransformer"))
"""Classes whose ``fit`` fits the transformers that they hold."""

ENCODERS: frozenset[str] = frozenset(
    (
        "sklearn.preprocessing.OneHotEncoder",
        "sklearn.preprocessing.OrdinalEncoder",
        "sklearn.feature_extraction.text.CountVectorizer",
    )
)
"""Classes whose ``fit`` only lists what there is: harmless on all data, wrong on two parts one by one."""

TORCHVISION_RANDOM: frozenset[str] = frozenset(
    f"torchvision.transforms.{name}"
    for name in """ColorJitter AutoAugment RandAugment TrivialAugmentWide AugMix ElasticTransform GaussianNoise MixUp
    CutMix ScaleJitter""".split()
)
ALBUMENTATIONS_RANDOM: frozenset[str] = frozenset(
    f"albumentations.{name}"
    for name in """HorizontalFlip VerticalFlip Flip Transpose Rotate Affine ShiftScaleRotate SafeRotate D4 ColorJitter
    CLAHE HueSaturationValue RGBShift Blur MotionBlur MedianBlur GaussianBlur GaussNoise ISONoise CoarseDropout Cutout
    GridDistortion ElasticTransform OpticalDistortion Perspective ImageCompression Downscale ChannelShuffle
    ChannelDropout Sharpen Emboss Posterize Solarize Equalize ToGray ToSepia GridDropout PixelDropout MaskDropout OneOf
    SomeOf BBoxSafeRandomCrop""".split()
)


def learns(cls: str) -> bool:
    """Whether ``fit`` of a library class learns statistics of its data."""
    return cls in LEARNERS or cls.startswith(LEARNER_FAMILIES)


def describes(cls: str) -> bool:
    """Whether a class is as often fitted to draw a picture as to prepare inputs."""
    return cls.startswith("sklearn.decomposition.")


def is_transform(cls: str) -> bool:
    """Whether a class is a step of an image pipeline."""
    return cls.startswith(("torchvision.transforms.", "albumentations."))


def draws_at_random(transform: Obj) -> bool:
    """Whether a transform gives different results for the same input."""
    path = str(transform.cls)
    head, _, name = path.rpartition(".")
    if head == "torchvision.transforms":
        return path in TORCHVISION_RANDOM or (name.startswith("Random") and not _never(transform))
    if head == "albumentations":
        return (path in ALBUMENTATIONS_RANDOM or name.startswith("Random")) and not _never(transform)
    return False


def _never(transform: Obj) -> bool:
    """``p=0`` never applies it; of a flip, ``p=1`` always does."""
    from ..values import Const

    given = transform.argument("p") or (transform.argument("0") if "Flip" in str(transform.cls) else None)
    if type(given) is not Const:
        return False
    return given.value == 0 or (given.value == 1 and str(transform.cls).endswith("Flip"))
