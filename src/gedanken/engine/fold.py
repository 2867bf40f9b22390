"""Where the last layer and the cost become one stable formula."""

from collections.abc import Sequence

from gedanken.costs import (
    BinaryCrossEntropy,
    Cost,
    CrossEntropy,
    SigmoidBinaryCrossEntropy,
    SoftMaxCrossEntropy,
)
from gedanken.errors import ArgumentError
from gedanken.layers import Activation, ConvolutionLayer, FullyConnectedLayer, Layer, Sigmoid, SoftMax
from gedanken.layers.containers import unchained


def fold(layers: Sequence[Layer], cost: Cost) -> tuple[Cost, bool]:
    """Return the cost to train with, and whether it contains the last layer (the last one of a Chain at the end).

    Raises:
        ArgumentError: the cost takes probabilities and the last layer certainly does not give any.
    """
    last = unchained(layers)[-1][1]
    if type(cost) is CrossEntropy:
        if type(last) is SoftMax:
            return SoftMaxCrossEntropy(cost.label_smoothing, cost.class_weights), True
        _need_probabilities(last, "cross_entropy", "SoftMax()")
    if type(cost) is BinaryCrossEntropy:
        if type(last) is Sigmoid:
            return SigmoidBinaryCrossEntropy(), True
        _need_probabilities(last, "binary_cross_entropy", "Sigmoid()")
    return cost, False


def _need_probabilities(last: Layer, cost: str, fix: str) -> None:
    unbounded = isinstance(last, (FullyConnectedLayer, ConvolutionLayer, Activation))
    if unbounded and not isinstance(last, Sigmoid):
        raise ArgumentError(f"cost {cost} needs probabilities, but the last layer is {last}; add {fix}")
