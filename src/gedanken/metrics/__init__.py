"""Figures of how good a network's outputs are, gathered mini-batch by mini-batch.

A metric holds options and no data. What it has seen so far is one float64 array, which the caller keeps:

    total = metric.measure(y, target)                          first mini-batch
    total = metric.merge(total, metric.measure(y, target))     each further one
    figure = metric.value(total)

So it is with NumPy arrays. Engines give arrays of their device and its primitives: `metric.measure(ops, y, target)`.

Any split of the data gives the figure of the whole. A figure is NaN where it is undefined: for no samples,
and as soon as an output of the network was NaN. Further conventions stand at each metric.

`measure(y, target, weight=...)` lets samples count more or less than one: (N,), each finite and at least 0. A weight
of 2 does what the sample given twice does, counts become sums of weights, and what weighs nothing might as well not be
there.

What the metrics of classes accept, with N samples and C >= 2 classes:

    y (N, C), scores or probabilities       with target (N, C), one-hot or a distribution, or labels (N,)
    y (N, 1) or (N,), one score of class 1  with target (N, 1) or (N,) of 0 and 1

The predicted class has the highest score, the first of equals; with one score a sample it is class 1 if the
score is above the threshold.

Where samples have places, sequences of T and pictures of H x W, each place is judged as a sample is; the docstrings
call both entries. A weight (N,) holds for all places of a sample, and one of the places' shape for each:

    y (N, T, C)       with target (N, T, C), or labels (N, T)
    y (N, C, H, W)    with target (N, C, H, W), or labels (N, H, W)
    C = 1             with target of y's shape or without the axis of 1, of 0 and 1

Several labels a sample, as a network of several Sigmoid outputs has them, are another thing than classes: with
`multi_label=True` a metric judges each label by itself, and accepts

    y (N, F), (N, T, F) or (N, F, H, W), a score for each of F labels     with target of y's shape, in [0, 1]

where above 0.5 is yes. `regression` chooses this with binary_cross_entropy and several outputs. Rows of several labels
where one class is expected are refused.

The metrics of values accept the same shapes, of y and target alike; F is the number of outputs at a place.
"""

from gedanken.metrics.agreement import BalancedAccuracy, CohenKappa, MatthewsCorrelation
from gedanken.metrics.averages import F1, Average, DiceCoefficient, FBeta, IoU, Precision, Recall, Specificity
from gedanken.metrics.base import Metric
from gedanken.metrics.classes import Accuracy, ConfusionMatrix, ExactMatch, HammingLoss, TopKAccuracy
from gedanken.metrics.curves import BestThreshold, PrecisionAtRecall, PrecisionRecallCurve, RecallAtPrecision, ROCCurve
from gedanken.metrics.probabilities import LogLoss
from gedanken.metrics.ranking import ROCAUC, AveragePrecision
from gedanken.metrics.report import ClassReport, Report
from gedanken.metrics.values import (
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    RootMeanSquareError,
)
from gedanken.metrics.variance import R2, ExplainedVariance, PearsonCorrelation

__all__ = [
    "F1",
    "R2",
    "ROCAUC",
    "Accuracy",
    "Average",
    "AveragePrecision",
    "BalancedAccuracy",
    "BestThreshold",
    "ClassReport",
    "CohenKappa",
    "ConfusionMatrix",
    "DiceCoefficient",
    "ExactMatch",
    "ExplainedVariance",
    "FBeta",
    "HammingLoss",
    "IoU",
    "LogLoss",
    "MatthewsCorrelation",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "Metric",
    "PearsonCorrelation",
    "Precision",
    "PrecisionAtRecall",
    "PrecisionRecallCurve",
    "ROCCurve",
    "Recall",
    "RecallAtPrecision",
    "Report",
    "RootMeanSquareError",
    "Specificity",
    "TopKAccuracy",
]
