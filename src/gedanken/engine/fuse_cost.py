"""Where the last activation and the cost become one stable formula."""

import math
from collections.abc import Mapping, Sequence

from gedanken.checks import require
from gedanken.costs import (
    COSTS,
    BinaryCrossEntropy,
    BinaryFocal,
    Cost,
    CrossEntropy,
    Dice,
    Focal,
    KullbackLeibler,
    SigmoidBinaryCrossEntropy,
    SoftMaxCrossEntropy,
    Tversky,
)
from gedanken.costs.heads import HeadsCost, told_of_head
from gedanken.errors import ArgumentError
from gedanken.hyperparameters import changed_fields
from gedanken.layers import (
    GLU,
    Activation,
    AdaptiveAveragePoolLayer,
    AdaptiveMaxPoolLayer,
    AlphaDropout,
    AveragePoolLayer,
    Branches,
    ConvolutionLayer,
    CroppingLayer,
    Dropout,
    Flatten,
    FullyConnectedLayer,
    GlobalAveragePoolLayer,
    GlobalMaxPoolLayer,
    HardSigmoid,
    HardTanH,
    Layer,
    LeakyReLU,
    LogSoftMax,
    MaxPoolLayer,
    PaddingLayer,
    PReLU,
    Reshape,
    Sequential,
    Sigmoid,
    SoftMax,
    SpatialDropout,
    TransposedConvolutionLayer,
)
from gedanken.layers.containers import Placed
from gedanken.random import DRAW_RANGE
from gedanken.types import Shape

OF_PROBABILITIES: Sequence[tuple[type[Cost], str, str]] = (
    (Focal, "focal", "SoftMax()"),
    (BinaryFocal, "binary_focal", "Sigmoid()"),
    (KullbackLeibler, "kullback_leibler", "SoftMax()"),
    (Dice, "dice", "SoftMax()"),
    (Tversky, "tversky", "SoftMax()"),
)


def fuse_cost(row: Sequence[Placed], cost: Cost) -> tuple[Cost, bool]:
    """Return the cost to train with, and whether it contains the activation at the end, see `activation_place`.

    Args:
        row: the layers with their shapes, as `placed` gives them.
        cost: what training makes small.

    Raises:
        ArgumentError: the cost takes probabilities, or scores of any size, and the layers certainly do not give any.
    """
    place = activation_place(row)
    last = row[place].layer
    if type(cost) is CrossEntropy:
        over_channels = type(last) is SoftMax and last.of_channels(row[place].shape)
        if over_channels and (place == len(row) - 1 or _one_distribution(row[place].shape)):
            return SoftMaxCrossEntropy(**changed_fields(cost)), True
        _need_probabilities(last, "cross_entropy", "SoftMax()")
    if type(cost) is BinaryCrossEntropy:
        if type(last) is Sigmoid:
            return SigmoidBinaryCrossEntropy(**changed_fields(cost)), True
        _need_probabilities(last, "binary_cross_entropy", "Sigmoid()")
    for kind, name, fix in OF_PROBABILITIES:
        if type(cost) is kind:
            _need_probabilities(last, name, fix)
    if cost.takes_scores and isinstance(last, (Sigmoid, SoftMax)):
        name = next((name for name, kind in COSTS.items() if type(cost) is kind), type(cost).__name__)
        raise ArgumentError(f"cost {name} needs scores of any size, but the last layer is {last}; leave it out")
    return cost, False


def fuse(row: Sequence[Placed], cost: Cost) -> tuple[Cost, int | dict[str, int] | None]:
    """Return the cost to train with, and the place of the activation that it contains; None where it contains none.

    Of heads the places are those in their rows, by name, of those that have one in their cost.

    Raises:
        ArgumentError: as `fuse_cost`; or there is not a cost for each head.
    """
    made_of = row[-1].output_shape
    names = [*made_of] if isinstance(made_of, Mapping) else None
    given = [*cost.costs] if isinstance(cost, HeadsCost) else None
    require(names == given, "cost", f"be for the heads {names}" if names else "be one cost, without heads", cost)
    if not isinstance(cost, HeadsCost):
        made, contains = fuse_cost(row, cost)
        return made, activation_place(row) if contains else None
    costs, places = dict[str, Cost](), dict[str, int]()
    for name, inner in (row[-1].rows or {}).items():
        one = cost.costs[name]
        with told_of_head(name):
            costs[name], contains = fuse_cost(inner, one) if inner else (one, False)
        if contains:
            places[name] = activation_place(inner)
    return cost.with_costs(costs), places or None


def activation_place(row: Sequence[Placed]) -> int:
    """Return the place of the last layer that does more than to pass its numbers on, perhaps in another shape.

    An activation there may as well come last: every number is computed by itself.
    """
    computing = [place for place, one in enumerate(row) if not _passes_on(one)]
    return computing[-1] if computing else len(row) - 1


def speaking_layer(row: Sequence[Placed]) -> Layer:
    """Return the layer that says what outputs mean: the last one, or a Sigmoid whose numbers others only pass on."""
    last = row[activation_place(row)].layer
    return last if isinstance(last, Sigmoid) else row[-1].layer


def _passes_on(one: Placed) -> bool:
    """Return whether a layer gives the numbers that it is given, all of them and in their order, channels first."""
    layer, kind = one.layer, type(one.layer)
    if kind in (Dropout, SpatialDropout, AlphaDropout):
        return layer.threshold == DRAW_RANGE  # type: ignore[attr-defined]  # it keeps all
    if kind is LeakyReLU:
        return layer.slope == 1  # type: ignore[attr-defined]
    if kind in (Sequential, Branches):
        return not any(layer.rows.values()) and len(layer.rows) == 1  # type: ignore[attr-defined]
    if kind in (MaxPoolLayer, AveragePoolLayer, GlobalMaxPoolLayer, GlobalAveragePoolLayer):
        return _pools_single_pixels(one)
    if kind in (AdaptiveMaxPoolLayer, AdaptiveAveragePoolLayer, PaddingLayer, CroppingLayer):
        return one.output_shape == one.shape
    return kind in (Flatten, Reshape)


def _pools_single_pixels(one: Placed) -> bool:
    """Return whether each window of a pooling sees one pixel, and each pixel is seen by one window.

    A MaxPoolLayer does not see the padding, so that of an image of one pixel its windows may have any size.
    """
    geometry = one.layer.geometry(one.shape)  # type: ignore[attr-defined]
    single = geometry.size == (1, 1) and not any(map(any, geometry.padding))
    unseen = type(one.layer) is MaxPoolLayer and one.shape[:2] == (1, 1)
    return (single or unseen) and math.prod(one.output_shape) == math.prod(one.shape)


def _one_distribution(shape: Shape) -> bool:
    """Return whether a SoftMax's shares in this shape are one distribution in any shape."""
    return math.prod(shape) == shape[-1]


def _need_probabilities(last: Layer, cost: str, fix: str) -> None:
    products = (FullyConnectedLayer, ConvolutionLayer, TransposedConvolutionLayer)
    unbounded = isinstance(last, (*products, Activation, GLU, PReLU, LogSoftMax))
    if unbounded and not _within_0_and_1(last):
        raise ArgumentError(f"cost {cost} needs probabilities, but the last layer is {last}; add {fix}")


def _within_0_and_1(layer: Layer) -> bool:
    return isinstance(layer, (Sigmoid, HardSigmoid)) or (
        isinstance(layer, HardTanH) and 0 <= layer.low < layer.high <= 1
    )
