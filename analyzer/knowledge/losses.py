"""Losses: which argument is the prediction, what each loss expects of it, how it reduces."""

from __future__ import annotations

from typing import NamedTuple

from .tensors import LOG_PROBABILITIES, LOGITS, SIGMOID


class Loss(NamedTuple):
    """One loss under its class and its functional name.

    ``expects`` is the kind of numbers that the first argument must hold (None: anything).
    """

    cls: str
    function: str
    expects: str | None
    symmetric: bool = False
    ordered: bool = True
    """Whether (prediction, target) is the one order that makes sense."""


LOSSES = (
    Loss("CrossEntropyLoss", "cross_entropy", LOGITS),
    Loss("NLLLoss", "nll_loss", LOG_PROBABILITIES),
    Loss("BCELoss", "binary_cross_entropy", SIGMOID),
    Loss("BCEWithLogitsLoss", "binary_cross_entropy_with_logits", LOGITS),
    Loss("KLDivLoss", "kl_div", LOG_PROBABILITIES, ordered=False),
    Loss("MSELoss", "mse_loss", None, True),
    Loss("L1Loss", "l1_loss", None, True),
    Loss("SmoothL1Loss", "smooth_l1_loss", None, True),
    Loss("HuberLoss", "huber_loss", None, True),
    Loss("PoissonNLLLoss", "poisson_nll_loss", None),
    Loss("GaussianNLLLoss", "gaussian_nll_loss", None),
    Loss("HingeEmbeddingLoss", "hinge_embedding_loss", None, ordered=False),
    Loss("CosineEmbeddingLoss", "cosine_embedding_loss", None, ordered=False),
    Loss("MarginRankingLoss", "margin_ranking_loss", None, ordered=False),
    Loss("TripletMarginLoss", "triplet_margin_loss", None, ordered=False),
    Loss("TripletMarginWithDistanceLoss", "triplet_margin_with_distance_loss", None, ordered=False),
    Loss("MultiMarginLoss", "multi_margin_loss", None),
    Loss("MultiLabelMarginLoss", "multilabel_margin_loss", None),
    Loss("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss", LOGITS),
    Loss("SoftMarginLoss", "soft_margin_loss", None, ordered=False),
    Loss("CTCLoss", "ctc_loss", LOG_PROBABILITIES),
)
BY_CLASS = {f"torch.nn.{loss.cls}": loss for loss in LOSSES}
BY_FUNCTION = {f"torch.nn.functional.{loss.function}": loss for loss in LOSSES}
CLASSES_AND_FUNCTIONS = {**BY_CLASS, **BY_FUNCTION}
