"""Data sets of libraries: how many classes and samples they have."""

from __future__ import annotations

TORCHVISION_CLASSES: dict[str, int] = {
    **dict.fromkeys("MNIST FashionMNIST KMNIST QMNIST CIFAR10 SVHN STL10 USPS EuroSAT Imagenette".split(), 10),
    "CIFAR100": 100,
    "Food101": 101,
    "Flowers102": 102,
    "GTSRB": 43,
    "OxfordIIITPet": 37,
    "StanfordCars": 196,
    "DTD": 47,
    "FGVCAircraft": 100,
    "Country211": 211,
    "SUN397": 397,
    "ImageNet": 1000,
    "Places365": 365,
    "FER2013": 7,
}
"""Classes of torchvision's data sets whose labels run from 0."""

EMNIST_CLASSES: dict[str, int] = {
    "byclass": 62,
    "bymerge": 47,
    "balanced": 47,
    "letters": 27,
    "digits": 10,
    "mnist": 10,
}
"""Classes of EMNIST by its split; ``letters`` counts from 1, so that a head needs one more."""

SKLEARN_CLASSES: dict[str, int] = {
    "sklearn.datasets.load_iris": 3,
    "sklearn.datasets.load_wine": 3,
    "sklearn.datasets.load_breast_cancer": 2,
    "sklearn.datasets.load_digits": 10,
    "sklearn.datasets.fetch_olivetti_faces": 40,
}

TRAINING_SAMPLES: dict[str, int] = {
    **dict.fromkeys("MNIST FashionMNIST KMNIST QMNIST".split(), 60_000),
    **dict.fromkeys(("CIFAR10", "CIFAR100"), 50_000),
    "SVHN": 73_257,
    "STL10": 5_000,
    "USPS": 7_291,
    "Flowers102": 1_020,
    "OxfordIIITPet": 3_680,
    "Food101": 75_750,
    "DTD": 1_880,
    "GTSRB": 26_640,
}
SKLEARN_SAMPLES: dict[str, int] = {
    "sklearn.datasets.load_iris": 150,
    "sklearn.datasets.load_wine": 178,
    "sklearn.datasets.load_breast_cancer": 569,
    "sklearn.datasets.load_digits": 1_797,
    "sklearn.datasets.load_diabetes": 442,
}
"""Samples of the training part, of all data where it is not divided."""

MULTI_LABEL_ENCODERS: frozenset[str] = frozenset(("sklearn.preprocessing.MultiLabelBinarizer",))

LABEL_PASSES: frozenset[str] = frozenset(
    """long int float double to cuda cpu squeeze unsqueeze view reshape flatten ravel astype array asarray from_numpy
    tensor as_tensor detach clone contiguous type values to_numpy .values copy numpy""".split()
)
"""Operations that leave labels what they are."""
