"""Figures of how good a network's outputs are, gathered mini-batch by mini-batch.

A metric holds options and no data. What it has seen so far is one float64 array, which the caller keeps:

    total = metric.measure(y, target)                          first mini-batch
    total = metric.merge(total, metric.measure(y, target))     each further one
    figure = metric.value(total)

So it is with NumPy arrays. Engines give arrays of their device and its primitives: `metric.measure(ops, y, target)`.

Any split of the data gives the figure of the whole. A figure is NaN where it is undefined: for no samples,
and as soon as an output of the network was NaN. Further conventions stand at each metric.

What the metrics of classes accept, with N samples and C >= 2 classes:

    y (N, C), scores or probabilities       with target (N, C), one-hot or a distribution, or labels (N,)
    y (N, 1) or (N,), one score of class 1  with target (N, 1) or (N,) of 0 and 1

The predicted class has the highest score, the first of equals; with one score a sample it is class 1 if the
score is above the threshold.

Several labels a sample, as a network of several Sigmoid outputs has them, are another thing than classes: with
`multi_label=True` a metric judges each label by itself, and accepts

    y (N, ...), a score for each label      with target (N, ...), the same shape, in [0, 1]; above 0.5 is yes

`regression` chooses this with binary_cross_entropy and several outputs. Rows of several labels where one class is
expected are refused.
"""

from gedanken.metrics.base import Metric
from gedanken.metrics.classes import (
    F1,
    ROCAUC,
    Accuracy,
    Average,
    ConfusionMatrix,
    MatthewsCorrelation,
    Precision,
    Recall,
    TopKAccuracy,
)
from gedanken.metrics.values import R2, MeanAbsoluteError, RootMeanSquareError

__all__ = [
    "F1",
    "R2",
    "ROCAUC",
    "Accuracy",
    "Average",
    "ConfusionMatrix",
    "MatthewsCorrelation",
    "MeanAbsoluteError",
    "Metric",
    "Precision",
    "Recall",
    "RootMeanSquareError",
    "TopKAccuracy",
]
