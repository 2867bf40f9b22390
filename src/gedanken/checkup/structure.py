"""What is wrong with the layers, whatever the data."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from gedanken.checkup.expected import VALUES, YES_OR_NO
from gedanken.checkup.report import ERROR, NOTE, WARNING, Finding, finding
from gedanken.costs import Cost
from gedanken.engine.fuse_cost import activation_place
from gedanken.layers import (
    AveragePoolLayer,
    BatchNorm,
    ConvolutionLayer,
    FullyConnectedLayer,
    MaxPoolLayer,
    SoftMax,
    TransposedConvolutionLayer,
)
from gedanken.layers.containers import Placed, leaves

MOST = 0.5  # share of all parameters
LISTED = 5  # layers that are named


def layers(row: Sequence[Placed], ways: Sequence[tuple[Sequence[Placed], Cost]]) -> Iterator[Finding]:
    """Yield what is wrong with layers in a row.

    Args:
        row: all layers.
        ways: those up to each output, in a row, and the cost of it as `regression` took it.
    """
    found = [one for way, cost in ways for one in _softmax(way, cost)]
    yield from (one for place, one in enumerate(found) if one not in found[:place])
    yield from _biases(row)
    yield from _pooling(row)


def _softmax(row: Sequence[Placed], cost: Cost) -> Iterator[Finding]:
    if not row:
        return
    last = row[activation_place(row)]
    inner = [one for one in leaves(row) if _of_classes(one) and one.path != last.path]
    if inner and _of_classes(last):
        told = f"{inner[0].name} gives shares in [0, 1] to another SoftMax, {last.name}: the outputs stay nearly the "
        told += "same for all classes. Leave the first one out."
        yield finding("softmax-twice", ERROR, told)
    elif inner:
        told = f"{inner[0].name} stands in the middle: what comes after it sees shares that sum to 1, and almost no "
        told += "gradient passes it. Use ReLU() there."
        yield finding("softmax-twice", WARNING, told)
    elif type(last.layer) is SoftMax and isinstance(cost, (*VALUES, *YES_OR_NO)):
        told = f"SoftMax comes before the cost {cost}; where it is wrong and sure its gradient is almost 0. "
        told += 'For classes take cost="cross_entropy", for labels Sigmoid() and "binary_cross_entropy", for numbers '
        told += "leave SoftMax out."
        yield finding("softmax-twice", WARNING, told)


def _of_classes(one: Placed) -> bool:
    """Say whether shares are those of classes; over other axes they say where to look."""
    return type(one.layer) is SoftMax and one.layer.of_channels(one.shape)


def _rows(row: Sequence[Placed]) -> Iterator[Sequence[Placed]]:
    """Yield a row, and those inside of containers in it."""
    yield row
    for one in row:
        for inner in (one.rows or {}).values():
            yield from _rows(inner)


def _biases(row: Sequence[Placed]) -> Iterator[Finding]:
    found = [
        one.path
        for part in _rows(row)
        for one, after in pairwise(part)
        if isinstance(one.layer, (FullyConnectedLayer, ConvolutionLayer, TransposedConvolutionLayer))
        and one.layer.bias
        and isinstance(after.layer, BatchNorm)
    ]
    if found:
        told = (
            f"The bias of layer {', '.join(found)} comes before BatchNorm, which subtracts the mean and so the bias, "
        )
        told += "and has a shift of its own. bias=False does the same with fewer parameters."
        yield finding("bias-before-norm", NOTE, told)


def _pooling(row: Sequence[Placed]) -> Iterator[Finding]:
    numbers = [_parameters(one) for one in row]
    for place, one in enumerate(row):
        if not isinstance(one.layer, (MaxPoolLayer, AveragePoolLayer)):
            continue
        geometry = one.layer.geometry(one.shape)
        dense = next((n for n in range(place, len(row)) if numbers[n]), place)
        heavy = isinstance(row[dense].layer, FullyConnectedLayer) and numbers[dense] > MOST * sum(numbers)
        if geometry.stride != (1, 1) or max(geometry.size) == 1 or not heavy:
            continue
        side_by_side = geometry._replace(stride=geometry.size).positions(one.shape)
        fewer = math.prod(side_by_side) / math.prod(one.output_shape[:2])
        told = f"{one.name} moves by single pixels, so that it hands on nearly all it gets, and layer "
        told += f"{row[dense].path} after it has {numbers[dense]:,} of {sum(numbers):,} parameters. "
        told += f"Without stride=1 it would have about {numbers[dense] * fewer:,.0f}, and a step would be quicker."
        yield finding("pool-stride", NOTE, told)


def _parameters(one: Placed) -> int:
    declared: Any = one.layer.params(one.shape) if one.rows is None else {}
    inner = sum(_parameters(part) for row in (one.rows or {}).values() for part in row)
    return inner + sum(math.prod(param.shape) for param in declared.values())
