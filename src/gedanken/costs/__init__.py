"""Costs: what a network is trained to make small. What entries cost becomes one number here and nowhere else."""

from gedanken.costs.alignment import CTC
from gedanken.costs.base import Cost
from gedanken.costs.binary import BinaryCrossEntropy, SigmoidBinaryCrossEntropy
from gedanken.costs.classes import CrossEntropy, SoftMaxCrossEntropy
from gedanken.costs.custom import CustomCost
from gedanken.costs.focal import BinaryFocal, Focal
from gedanken.costs.likeness import CosineDistance, Dice, KullbackLeibler, Tversky
from gedanken.costs.margins import CategoricalHinge, Hinge, HingeEmbedding, MultiLabelMargin, MultiMargin, SquaredHinge
from gedanken.costs.regression import GaussianNLL, LogCosh, Poisson, Quantile, SmoothL1
from gedanken.costs.relative import MeanAbsolutePercentage, MeanSquaredLogarithmic
from gedanken.costs.values import Huber, MeanAbsolute, MeanSquared, WeightedMean

COSTS: dict[str, type[Cost]] = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "mean_squared": MeanSquared,
    "mean_absolute": MeanAbsolute,
    "huber": Huber,
    "hinge": Hinge,
    "weighted_mean": WeightedMean,
    "focal": Focal,
    "binary_focal": BinaryFocal,
    "dice": Dice,
    "tversky": Tversky,
    "kullback_leibler": KullbackLeibler,
    "cosine_distance": CosineDistance,
    "squared_hinge": SquaredHinge,
    "categorical_hinge": CategoricalHinge,
    "multi_margin": MultiMargin,
    "multi_label_margin": MultiLabelMargin,
    "hinge_embedding": HingeEmbedding,
    "poisson": Poisson,
    "quantile": Quantile,
    "log_cosh": LogCosh,
    "mean_absolute_percentage": MeanAbsolutePercentage,
    "mean_squared_logarithmic": MeanSquaredLogarithmic,
    "smooth_l1": SmoothL1,
    "gaussian_nll": GaussianNLL,
    "ctc": CTC,
}

__all__ = [
    "COSTS",
    "CTC",
    "BinaryCrossEntropy",
    "BinaryFocal",
    "CategoricalHinge",
    "CosineDistance",
    "Cost",
    "CrossEntropy",
    "CustomCost",
    "Dice",
    "Focal",
    "GaussianNLL",
    "Hinge",
    "HingeEmbedding",
    "Huber",
    "KullbackLeibler",
    "LogCosh",
    "MeanAbsolute",
    "MeanAbsolutePercentage",
    "MeanSquared",
    "MeanSquaredLogarithmic",
    "MultiLabelMargin",
    "MultiMargin",
    "Poisson",
    "Quantile",
    "SigmoidBinaryCrossEntropy",
    "SmoothL1",
    "SoftMaxCrossEntropy",
    "SquaredHinge",
    "Tversky",
    "WeightedMean",
]
