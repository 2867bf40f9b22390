"""Where the last activation and the cost become one stable formula."""

import math
from collections.abc import Sequence

from gedanken.costs import (
    BinaryCrossEntropy,
    Cost,
    CrossEntropy,
    SigmoidBinaryCrossEntropy,
    SoftMaxCrossEntropy,
)
from gedanken.errors import ArgumentError
from gedanken.layers import (
    Activation,
    Chain,
    ConvolutionLayer,
    Dropout,
    Flatten,
    FullyConnectedLayer,
    Layer,
    Reshape,
    Sigmoid,
    SoftMax,
)
from gedanken.layers.containers import unchained
from gedanken.random import DRAW_RANGE
from gedanken.types import Shape


def fold(layers: Sequence[Layer], cost: Cost, shapes: Sequence[Shape] = ()) -> tuple[Cost, bool]:
    """Return the cost to train with, and whether it contains the activation at the end, see `activation_place`.

    Args:
        layers: the layers.
        cost: what they are judged by.
        shapes: of a sample before each layer, Chains taken apart; without them a SoftMax has to be the last layer.

    Raises:
        ArgumentError: the cost takes probabilities and the layers certainly do not give any.
    """
    rows = [layer for _, layer in unchained(layers)]
    place = activation_place(layers)
    last = rows[place]
    if type(cost) is CrossEntropy:
        if type(last) is SoftMax and (place == len(rows) - 1 or _one_distribution(shapes[place:])):
            return SoftMaxCrossEntropy(cost.label_smoothing, cost.class_weights), True
        _need_probabilities(last, "cross_entropy", "SoftMax()")
    if type(cost) is BinaryCrossEntropy:
        if type(last) is Sigmoid:
            return SigmoidBinaryCrossEntropy(cost.pos_weight), True
        _need_probabilities(last, "binary_cross_entropy", "Sigmoid()")
    return cost, False


def activation_place(layers: Sequence[Layer]) -> int:
    """Return the place, with Chains taken apart, of the last layer that does more than to give its input a shape.

    An activation there may as well come last: every number is computed by itself.
    """
    rows = [layer for _, layer in unchained(layers)]
    computing = [place for place, layer in enumerate(rows) if not _only_shapes(layer)]
    return computing[-1] if computing else len(rows) - 1


def _only_shapes(layer: Layer) -> bool:
    if type(layer) is Dropout:
        return layer.threshold == DRAW_RANGE  # it keeps all
    return type(layer) in (Flatten, Reshape) or (type(layer) is Chain and not layer.layers)


def _one_distribution(shapes: Sequence[Shape]) -> bool:
    """Return whether the first of these is known, and a SoftMax's shares there are one distribution in any shape."""
    return bool(shapes) and math.prod(shapes[0]) == shapes[0][-1]


def _need_probabilities(last: Layer, cost: str, fix: str) -> None:
    unbounded = isinstance(last, (FullyConnectedLayer, ConvolutionLayer, Activation))
    if unbounded and not isinstance(last, Sigmoid):
        raise ArgumentError(f"cost {cost} needs probabilities, but the last layer is {last}; add {fix}")
