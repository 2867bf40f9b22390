"""Costs: what a network is trained to make small. What entries cost becomes one number here and nowhere else."""

from gedanken.costs.base import Cost
from gedanken.costs.binary import BinaryCrossEntropy, Hinge, SigmoidBinaryCrossEntropy
from gedanken.costs.classes import CrossEntropy, SoftMaxCrossEntropy
from gedanken.costs.custom import CustomCost
from gedanken.costs.values import Huber, MeanAbsolute, MeanSquared, WeightedMean

COSTS: dict[str, type[Cost]] = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "mean_squared": MeanSquared,
    "mean_absolute": MeanAbsolute,
    "huber": Huber,
    "hinge": Hinge,
    "weighted_mean": WeightedMean,
}

__all__ = [
    "COSTS",
    "BinaryCrossEntropy",
    "Cost",
    "CrossEntropy",
    "CustomCost",
    "Hinge",
    "Huber",
    "MeanAbsolute",
    "MeanSquared",
    "SigmoidBinaryCrossEntropy",
    "SoftMaxCrossEntropy",
    "WeightedMean",
]
