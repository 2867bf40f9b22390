"""Cross-entropy of one class out of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from gedanken.checks import real
from gedanken.costs.base import LEAST
from gedanken.costs.labels import ClassCost
from gedanken.ops import Ops
from gedanken.types import Array


@dataclass(frozen=True, eq=False, repr=False)
class CrossEntropy(ClassCost):
    """Negative logarithm of the probability that the network gives to the right class.

        cost = mean over n of   sum over c of -w[c] * q[n, c] * log(y[n, c])
        q = (1 - label_smoothing) * t + label_smoothing / C

    Of outputs with places, the words of a text or the pixels of a picture, n stands for all places of all samples. The
    mean divides by the number of those that count, not by the sum of the weights, so that parts of a data set add up;
    reduction="weighted_mean" divides by the sum of t * w, as PyTorch does for class numbers. A SoftMax before it is
    folded in when the network is compiled, even with layers between that pass their numbers on, such as Flatten.
    Elsewhere a probability below 1e-30 counts as 1e-30, in any number type: no cost is above 69.1 times its weight.

    Args:
        label_smoothing: fraction of each target that is spread over all classes, in [0, 1).
        class_weights: weight w of each class, each >= 0, or None for 1 each. "balanced" is N / (C * count) of the
            labels of the first `fit`, so that all classes count alike; the numbers are saved with the network.
        ignore_label: a whole number, which need not be a class (255, -1): what has it for a label counts for nothing.
            With it labels are class numbers.
        reduction: see Cost.

    Shapes:
        y: (N, C), (N, T, C) or (N, C, H, W), probabilities.   t: class numbers (N,), (N, T) or (N, H, W); or shaped as
        y, one-hot or probabilities that sum to 1.

    Raises:
        ShapeError: the output has not at least two classes, or class_weights has another length (at compile time).
        DataError: labels out of range, of another count or shape, or not one-hot.

    Source:
        Bishop 2006, "Pattern recognition and machine learning", equation 4.108; smoothing from Szegedy et al. 2015,
        arXiv:1512.00567, section 7; pixels from Long et al. 2014, arXiv:1411.4038; balanced weights from King & Zeng
        2001, "Logistic regression in rare events data".
    """

    label_smoothing: float = 0.0
    class_weights: Sequence[float] | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        real("CrossEntropy label_smoothing", self.label_smoothing, "[0, 1)")

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        weighted = ops.class_shares(y, target, self.weight_numbers, self.label_smoothing)
        safe = ops.xp.maximum(y, LEAST)
        return -ops.sum(weighted * ops.xp.log(safe), axis=-1), -weighted / safe


class SoftMaxCrossEntropy(CrossEntropy):
    """SoftMax and CrossEntropy in one, on the scores z before the SoftMax; never overflows.

        cost = mean over n of   sum over c of -w[c] * q[n, c] * (z[n, c] - log(sum over d of exp(z[n, d])))
        dz[n, c] = (softmax(z)[n, c] * sum over d of w[d] * q[n, d]  -  w[c] * q[n, c]) / N

    The plan puts it in place of CrossEntropy where the last layer is SoftMax. Arguments, shapes and source are those
    of CrossEntropy.
    """

    internal: ClassVar[bool] = True  # messages call it as the public class, see class_name

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        return ops.softmax_cross_entropy(y, target, self.weight_numbers, self.label_smoothing)
