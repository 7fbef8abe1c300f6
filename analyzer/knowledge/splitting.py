"""How data is divided: calls and their conventions, names of parts, what carries samples from one value to the next."""

from __future__ import annotations

import re

TRAINING_FIRST: frozenset[str] = frozenset(("sklearn.model_selection.train_test_split",))
"""Functions that return the training part first, the held-out part second, for each array."""

TRAIN_FLAG: frozenset[str] = frozenset("MNIST FashionMNIST KMNIST QMNIST CIFAR10 CIFAR100 USPS MovingMNIST".split())
"""Datasets of torchvision with a parameter ``train``, True by default."""

OF_SECOND: frozenset[str] = frozenset(("transform", "fit_transform", "inverse_transform", "fit_resample"))
"""Methods whose samples are those of their first argument, not of their owner."""

ARITHMETIC: frozenset[str] = frozenset("+ - * / ** // add sub mul div subtract divide multiply true_divide".split())
JOINS: frozenset[str] = frozenset("concat concatenate cat stack vstack hstack append pandas.concat zip chain".split())
SOURCES: frozenset[str] = frozenset(
    "param name touched? call range index len() arange randperm random.permutation load loadtxt genfromtxt".split()
)
"""Operations behind which no samples are looked for."""

INDEXERS: frozenset[str] = frozenset((".iloc", ".loc", ".values"))

PERMUTATIONS: frozenset[str] = frozenset(("permutation", "permuted", "randperm", "sample"))
SAMPLES: frozenset[str] = frozenset(("sample",))
"""Operations that give a random order, and those that do so only for ``frac=1``."""

SEEDS: frozenset[str] = frozenset(
    """numpy.random.seed numpy.random.set_state random.seed random.setstate torch.manual_seed torch.random.manual_seed
    torch.set_rng_state torch.random.set_rng_state torch.seed pytorch_lightning.seed_everything transformers.set_seed
    accelerate.utils.set_seed""".split()
)
SEED_METHODS: frozenset[str] = frozenset(("seed", "manual_seed", "set_state", "setstate"))
"""What sets a generator back, so that it draws again what it drew before."""

BLANK = frozenset("zeros ones full empty zeros_like ones_like full_like empty_like new_zeros new_empty".split())
"""Arrays that are made to be filled: two of one size are not the same data."""

DRAWN: frozenset[str] = frozenset("rand randn randint normal rand_like randn_like bernoulli multinomial empty".split())
"""Operations that give other numbers each time they are run."""

NO_DATA: frozenset[str] = frozenset(("transform", "target_transform", "transforms", "download", "loader"))
"""Arguments of a dataset that do not decide which samples it has."""

READERS: frozenset[str] = frozenset(
    """pandas.read_csv pandas.read_parquet pandas.read_table pandas.read_feather pandas.read_pickle pandas.read_excel
    pandas.read_json load loadtxt genfromtxt torch.load""".split()
)
"""Functions that read a file whose path is their first argument."""

PATH_JOINS: frozenset[str] = frozenset(("os.path.join", "/", "+"))
"""What puts a path together; the last part says most."""

DOWNLOADS: frozenset[str] = frozenset(("huggingface_hub.hf_hub_download",))
"""Functions that give the path of a file by its ``filename``."""

CROSS_VALIDATIONS = (
    "sklearn.model_selection.cross_val_score",
    "sklearn.model_selection.cross_validate",
    "sklearn.model_selection.cross_val_predict",
)
SEARCHES: frozenset[str] = frozenset(
    ("sklearn.model_selection.GridSearchCV", "sklearn.model_selection.RandomizedSearchCV")
)
"""What divides its data itself, several times."""

OVERSAMPLERS = ("imblearn.over_sampling.", "imblearn.combine.")
ROWWISE: frozenset[str] = frozenset(
    """flip fliplr flipud copy clone astype float to array asarray from_numpy tensor as_tensor rot90 roll abs clip clamp
    reset_index""".split()
)
"""Operations whose result has one row for each row of its first input."""
NOISE: frozenset[str] = frozenset(
    "randn rand randn_like rand_like random.normal random.randn random.rand random.uniform normal".split()
)

SAME_COLUMNS: frozenset[str] = frozenset(
    """.values values to_numpy astype array asarray from_numpy tensor as_tensor float long double int to cuda cpu copy
    clone dropna fillna reset_index sample sort_values drop_duplicates ffill bfill ravel flatten reshape view unsqueeze
    squeeze contiguous sklearn.utils.shuffle head tail""".split()
)
"""Operations whose result has the columns of their first input."""

CLEANING: frozenset[str] = frozenset(
    "copy dropna fillna reset_index sample sort_values drop_duplicates ffill bfill astype head tail".split()
)
"""Those of them that tables are cleaned with right after they were read."""

TRAINING = "train"
_ROLES: dict[str, str] = {
    **dict.fromkeys(("train", "training", "trn"), TRAINING),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "validation"),
    **dict.fromkeys(("test", "testing", "holdout", "heldout", "tst"), "test"),
}
_WORD = re.compile(r"[a-z]+")

ESTIMATOR_FAMILIES = (
    "sklearn.linear_model.",
    "sklearn.ensemble.",
    "sklearn.svm.",
    "sklearn.tree.",
    "sklearn.neighbors.",
    "sklearn.naive_bayes.",
    "sklearn.neural_network.",
    "sklearn.model_selection.",
    "sklearn.cluster.",
    "sklearn.pipeline.",
    "xgboost.",
    "lightgbm.",
    "catboost.",
)


def role(text: str) -> str | None:
    """What part the name of a file, folder, key or split means; None where it names none, or several."""
    found = {_ROLES[word] for word in _WORD.findall(text.lower()) if word in _ROLES}
    return found.pop() if len(found) == 1 else None


def without_role(text: str) -> str:
    """The name with the words for parts left out: equal for the parts of one data set."""
    return _WORD.sub(lambda m: "" if m.group() in _ROLES else m.group(), text.lower())


def is_estimator(path: str) -> bool:
    """Whether a library class is a model that ``fit`` trains."""
    return path.startswith(ESTIMATOR_FAMILIES)
