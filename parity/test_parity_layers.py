"""Every layer against PyTorch: output, gradients, running values."""

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from reference import Ours, Theirs, assert_agree, difference, tensors

import gedanken
from gedanken import (
    CELU,
    ELU,
    GELU,
    GLU,
    GRU,
    LSTM,
    SELU,
    AdaptiveAveragePool1DLayer,
    AdaptiveAveragePoolLayer,
    AdaptiveMaxPool1DLayer,
    AdaptiveMaxPoolLayer,
    AlphaDropout,
    AveragePool1DLayer,
    AveragePoolLayer,
    BatchNorm,
    Bidirectional,
    Branches,
    Convolution1DLayer,
    ConvolutionLayer,
    CroppingLayer,
    CrossAttention,
    Dropout,
    Embedding,
    Flatten,
    FromState,
    FullyConnectedLayer,
    FunctionLayer,
    GaussianNoise,
    GlobalAveragePool1DLayer,
    GlobalAveragePoolLayer,
    GlobalLpPool1DLayer,
    GlobalLpPoolLayer,
    GlobalMaxPool1DLayer,
    GlobalMaxPoolLayer,
    GraphCut,
    GroupNorm,
    HardSigmoid,
    HardSwish,
    HardTanH,
    Heads,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    LearnedPositions,
    LocalResponseNorm,
    LogSigmoid,
    LogSoftMax,
    LpPool1DLayer,
    LpPoolLayer,
    MatrixFactorisation,
    MaxPool1DLayer,
    MaxPoolLayer,
    Mish,
    MultiHeadAttention,
    PaddingLayer,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    PReLU,
    ReLU,
    ReLU6,
    Reshape,
    Residual,
    RMSNorm,
    Sequential,
    Shrink,
    Sigmoid,
    SiLU,
    SimpleRNN,
    SinePositions,
    SoftMax,
    Softplus,
    Softsign,
    SparseFullyConnectedLayer,
    SpatialDropout,
    TanH,
    TanHShrink,
    Threshold,
    TransposedConvolutionLayer,
    UnitNorm,
    UpsamplingLayer,
    networks,
)

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
IMAGE, TALL, ROW, SEQUENCE = (4, 7, 6), (6, 9, 5), (12,), (5, 6)


class Row(NamedTuple):
    """A layer, the shape of a sample, channels first, and what its values look like."""

    layer: Layer
    shape: tuple[int, ...]
    values: str = "normal"  # "whole" has many ties and zeros, "wide" reaches where careless formulas overflow


def swish(xp: Any, x: Any, p: Any) -> Any:
    return x / (1 + xp.exp(-p["beta"] * x))


def attended(xp: Any, x: Any, p: Any) -> Any:
    scores = xp.exp(xp.tanh(x @ p["query"]))  # (N, T, 2)
    shares = scores / xp.sum(scores, axis=1, keepdims=True)
    return p["scale"] * xp.sum(shares[:, :, :1] * x - shares[:, :, 1:] ** 3 * abs(x), axis=1)


def conv(*size: int, **options: Any) -> ConvolutionLayer:
    return ConvolutionLayer(*size, **options)


def back(*size: int, **options: Any) -> TransposedConvolutionLayer:
    return TransposedConvolutionLayer(*size, **options)


def bare(*size: int, **options: Any) -> ConvolutionLayer:
    """Return a convolution for before BatchNorm, where a bias has no gradient but rounding."""
    return ConvolutionLayer(*size, bias=False, **options)


PIECES = (
    *(CELU(2.0), SELU(), Softplus(), Softplus(0.5), LogSigmoid(), Mish(), Softsign(), GELU(approximate=True)),
    *(ReLU6(), HardTanH(-2, 1.5), HardSigmoid(), HardSigmoid(0.2), HardSwish(), LogSoftMax(), TanHShrink()),
    *(Threshold(0.3, -2), Shrink(1.2), Shrink(0.7, 0.7)),
)
SEES = np.random.default_rng(3).random((2, 5, 5)) < 0.5
SEES |= np.eye(5, dtype=bool)
MASKS = (None, SEES[0], SEES, np.where(SEES, np.linspace(-2, 2, 50).reshape(2, 5, 5), -np.inf))
ROWS = [
    Row(conv(5, 3, 3), IMAGE),
    Row(conv(5, 3, 3, bias=False), IMAGE),
    Row(conv(1, 1, 1), (1, 1, 1)),
    Row(conv(5, 1, 1, stride=2), IMAGE),
    Row(conv(5, 2, 3, stride=2), IMAGE),
    Row(conv(5, 3, 2, stride=(1, 3), zero_padding=(2, 1)), IMAGE),
    Row(conv(5, 6, 7), IMAGE),
    Row(conv(5, 3, 3, zero_padding=4), IMAGE),
    Row(conv(5, 2, 2, stride=4, zero_padding=1), TALL),
    Row(conv(5, 3, 3, zero_padding="same"), IMAGE),
    Row(conv(5, 4, 2, zero_padding="same"), IMAGE),
    Row(conv(5, 3, 3, zero_padding="same", stride=2), IMAGE),
    Row(conv(5, 4, 5, zero_padding="same", stride=(3, 2)), TALL),
    Row(conv(5, 1, 1, zero_padding="same", stride=3), TALL),
    Row(conv(5, 2, 3, zero_padding="same", dilation=2), IMAGE),
    Row(conv(5, 3, 2, zero_padding="same", dilation=(3, 2), stride=(1, 2)), TALL),
    Row(conv(5, 3, 3, dilation=2), IMAGE),
    Row(conv(5, 2, 3, dilation=(2, 3), zero_padding=1, stride=2), TALL),
    Row(conv(6, 3, 3, groups=2), IMAGE),
    Row(conv(4, 3, 3, groups=4), IMAGE),
    Row(conv(12, 3, 3, groups=6, zero_padding="same"), TALL),
    Row(conv(9, 2, 3, groups=3, stride=2, zero_padding=1, dilation=(1, 2)), TALL),
    Row(back(5, 3, 3), IMAGE),
    Row(back(5, 2, 2, stride=2, bias=False), IMAGE),
    Row(back(5, 4, 3, stride=2, zero_padding=1), TALL),
    Row(back(5, 3, 3, stride=2, zero_padding=1, output_padding=1), IMAGE),
    Row(back(5, 2, 4, stride=(3, 4), zero_padding=(0, 1), output_padding=(2, 3)), IMAGE),
    Row(back(5, 1, 1, stride=3, output_padding=2), IMAGE),
    Row(back(5, 3, 3, zero_padding=5, stride=2), TALL),
    Row(back(6, 3, 2, groups=2, dilation=(3, 2), stride=(2, 1)), IMAGE),
    Row(back(6, 3, 3, groups=6, stride=2, zero_padding=1, dilation=2, output_padding=1), TALL),
    Row(back(12, 2, 3, groups=4, zero_padding=1, dilation=2, output_padding=1), IMAGE),
    Row(back(5, 3, 4, zero_padding="same", stride=2), IMAGE),
    Row(back(5, 3, 3, zero_padding="same"), IMAGE),
    Row(back(4, 1, 2, zero_padding="same", stride=3, dilation=(2, 1), groups=2), IMAGE),
    *(
        Row(UpsamplingLayer(factor, mode, aligned, size), IMAGE)
        for factor, size in ((1, None), (2, None), ((3, 1), None), (None, (15, 7)), (None, (3, 4)), (None, 1))
        for mode, aligned in (
            *(("nearest", False), ("bilinear", False), ("bilinear", True)),
            *(("bicubic", False), ("bicubic", True)),
        )
    ),
    *(Row(back(3, size, size, stride=17), (2, 2, 3)) for size in (3, 17, 40)),
    *(Row(conv(3, size, size, stride=17), (2, 50, 44)) for size in (3, 17, 40)),
    Row(PixelShuffle(2), IMAGE),
    Row(PixelShuffle(3), (9, 2, 3)),
    Row(PixelUnshuffle(3), (2, 6, 9)),
    Row(conv(5, 3, 2, stride=(1, 3), zero_padding=((2, 0), (1, 3))), IMAGE),
    Row(conv(6, 3, 3, groups=2, zero_padding=((0, 4), (3, 0)), dilation=2), TALL),
    *(
        Row(conv(*size, padding_mode=mode, **options), shape)
        for mode in ("reflect", "replicate", "circular")
        for size, options, shape in [
            ((5, 3, 3), {"zero_padding": 1}, IMAGE),
            ((4, 3, 2), {"zero_padding": (4, 3), "stride": 2, "groups": 2}, IMAGE),
            ((6, 2, 3), {"zero_padding": "same", "dilation": 2, "groups": 6}, TALL),
        ]
    ),
    Row(FullyConnectedLayer(7), ROW),
    Row(FullyConnectedLayer(1, bias=False), ROW),
    Row(FullyConnectedLayer(7), SEQUENCE),
    Row(Embedding(9, 4), (20,), "tokens"),
    Row(Embedding(9, 4), (), "tokens"),
    Row(SimpleRNN(5), SEQUENCE),
    Row(SimpleRNN(5, activation="relu", bias=False, reverse=True), SEQUENCE),
    Row(LSTM(5), SEQUENCE),
    Row(LSTM(1, bias=False, last=True), SEQUENCE),
    Row(LSTM(5, projection=2), SEQUENCE),
    Row(LSTM(4, projection=1, bias=False, last=True), SEQUENCE),
    Row(GRU(5), SEQUENCE),
    Row(GRU(5, last=True, reverse=True), SEQUENCE),
    Row(GRU(5, bias=False), SEQUENCE),
    Row(Bidirectional(SimpleRNN(3)), SEQUENCE),
    Row(Bidirectional(LSTM(3, last=True)), SEQUENCE),
    *(Row(Bidirectional(GRU(3), merge=merge), SEQUENCE) for merge in ("sum", "average", "multiply")),
    Row(SparseFullyConnectedLayer(7), ROW, "whole"),
    Row(SparseFullyConnectedLayer(1, bias=False), ROW, "whole"),
    Row(MatrixFactorisation(9, 9, 4), (2,), "tokens"),
    Row(GraphCut(6, 3), (2,), "tokens"),
    Row(MaxPoolLayer(2, 2), IMAGE),
    Row(MaxPoolLayer(2, 2, 1), IMAGE),
    Row(MaxPoolLayer(2, 2, 1), IMAGE, "whole"),
    Row(MaxPoolLayer(3, 2, (1, 2), zero_padding=1), TALL, "whole"),
    Row(MaxPoolLayer(3, 4, 2, zero_padding=(3, 2)), TALL),
    Row(MaxPoolLayer(3, 3, 1, zero_padding="same"), TALL),
    Row(MaxPoolLayer(2, 3, 2, zero_padding="same"), TALL, "whole"),
    Row(MaxPoolLayer(2, 2, 3), TALL),
    Row(MaxPoolLayer(3, 3, 2, zero_padding=1, ceil_mode=True), IMAGE),
    Row(MaxPoolLayer(2, 3, 2, zero_padding=(0, 1), ceil_mode=True), TALL, "whole"),
    Row(MaxPoolLayer(2, 2, 5, ceil_mode=True), IMAGE),
    Row(MaxPoolLayer(2, 3, 1, zero_padding=1, dilation=(2, 3)), TALL),
    Row(MaxPoolLayer(3, 2, 2, zero_padding=(1, 0), dilation=2, ceil_mode=True), TALL, "whole"),
    Row(MaxPoolLayer(3, 4, 2, zero_padding=((0, 3), (2, 1))), TALL),
    Row(AveragePoolLayer(2, 2), IMAGE),
    Row(AveragePoolLayer(3, 2, 1), IMAGE),
    Row(AveragePoolLayer(3, 3, 2, zero_padding=1), TALL),
    Row(AveragePoolLayer(3, 4, (2, 1), zero_padding=(3, 0)), TALL),
    Row(AveragePoolLayer(3, 4, (2, 1), zero_padding=1, ceil_mode=True, divisor=5), TALL),
    Row(AveragePoolLayer(3, 2, 2, zero_padding=1, count_padding=False, divisor=1), IMAGE),
    Row(AveragePoolLayer(2, 3, 2, zero_padding="same"), TALL),
    *(
        Row(AveragePoolLayer(*size, count_padding=counts, **options), TALL)
        for counts in (True, False)
        for size, options in [
            ((3, 3, 2), {"zero_padding": 1, "ceil_mode": True}),
            ((4, 5, (3, 2)), {"zero_padding": (2, 1), "ceil_mode": True}),
            ((2, 3, 4), {"ceil_mode": True}),
            ((3, 4, 2), {"zero_padding": ((0, 3), (2, 1))}),
            ((2, 3, 1), {"zero_padding": 1, "dilation": (2, 3)}),
            ((2, 3, 2), {"zero_padding": "same"}),
        ]
    ),
    *(
        Row(pool(size), TALL)
        for size in (1, 4, (3, 5), (11, 2))
        for pool in (AdaptiveAveragePoolLayer, AdaptiveMaxPoolLayer)
    ),
    Row(AdaptiveMaxPoolLayer((4, 3)), IMAGE, "whole"),
    *(Row(LpPoolLayer(3, 2, (2, 1), around, power=power), IMAGE) for around in (0, 1) for power in (1, 2.0, 3.5)),
    Row(LpPoolLayer(2, 2), TALL),
    *(Row(GlobalLpPoolLayer(power), IMAGE) for power in (1, 2.0, 3)),
    Row(GlobalAveragePoolLayer(), IMAGE),
    Row(GlobalMaxPoolLayer(), IMAGE),
    Row(GlobalMaxPoolLayer(), IMAGE, "whole"),
    Row(BatchNorm(), IMAGE),
    Row(BatchNorm(), ROW),
    Row(BatchNorm(), SEQUENCE),
    Row(BatchNorm(momentum=0.0, epsilon=0.1), IMAGE),
    Row(BatchNorm(momentum=0.99), ROW, "whole"),
    Row(LayerNorm(), ROW),
    Row(LayerNorm(), SEQUENCE),
    Row(LayerNorm(epsilon=0.1), IMAGE),
    *(Row(FunctionLayer(swish, {"beta": shape[:1]}), shape) for shape in (ROW, IMAGE)),
    Row(FunctionLayer(attended, {"query": (6, 2), "scale": ()}), SEQUENCE),
    Row(GroupNorm(3), ROW),
    Row(GroupNorm(1), IMAGE),
    Row(GroupNorm(2, epsilon=0.1), IMAGE),
    Row(GroupNorm(4), IMAGE),
    Row(LocalResponseNorm(5), TALL),
    Row(LocalResponseNorm(2, alpha=0.5, beta=1.5, k=0.1), TALL),
    Row(LocalResponseNorm(9, alpha=3.0, k=2.0), IMAGE),
    Row(LocalResponseNorm(3, alpha=1.0), SEQUENCE),
    *(Row(f, shape) for f in (ReLU(), TanH(), Sigmoid(), GELU(), SiLU(), ELU(), SoftMax()) for shape in (ROW, IMAGE)),
    *(Row(f, ROW, "wide") for f in (TanH(), Sigmoid(), GELU(), SiLU(), ELU(0.5), SoftMax())),
    Row(BatchNorm(momentum=None), IMAGE),
    Row(BatchNorm(momentum=None, scale=False), SEQUENCE),
    Row(BatchNorm(scale=False, shift=False), ROW),
    Row(LayerNorm(scale=False, shift=False), SEQUENCE),
    Row(LayerNorm(shift=False), IMAGE),
    Row(GroupNorm(2, scale=False, shift=False), IMAGE),
    *(Row(InstanceNorm(), shape) for shape in (SEQUENCE, IMAGE)),
    Row(InstanceNorm(epsilon=0.1, scale=False, shift=False), IMAGE),
    *(Row(InstanceNorm(running=True, momentum=0.7), shape) for shape in (SEQUENCE, IMAGE)),
    *(Row(LayerNorm(axes=axes), IMAGE) for axes in (1, (2, 3), (3, 1), (1, 2, 3))),
    Row(LayerNorm(axes=(1, 2), epsilon=0.1, shift=False), SEQUENCE),
    *(Row(kind(axes=axes), IMAGE) for kind in (SoftMax, LogSoftMax) for axes in (1, 2, 3, (2, 3), (3, 1), (1, 2, 3))),
    *(Row(kind(axes=1), SEQUENCE) for kind in (SoftMax, LogSoftMax)),
    *(Row(GLU(axes=axis), (4, 6, 2)) for axis in (1, 2, 3)),
    *(Row(RMSNorm(axes=axes), IMAGE) for axes in (1, 3, (1, 2, 3))),
    *(Row(UnitNorm(), shape) for shape in (ROW, SEQUENCE, IMAGE)),
    Row(UnitNorm(axes=(3, 2)), IMAGE),
    *(Row(RMSNorm(), shape) for shape in (ROW, SEQUENCE, IMAGE)),
    Row(RMSNorm(epsilon=0.1, scale=False), ROW, "whole"),
    *(Row(f, shape) for f in PIECES for shape in (ROW, IMAGE)),
    *(Row(f, ROW, "wide") for f in PIECES),
    Row(ReLU6(), ROW, "whole"),
    Row(HardSwish(), ROW, "whole"),
    *(Row(PReLU(), shape) for shape in (ROW, SEQUENCE, IMAGE)),
    Row(PReLU(shared=True), IMAGE, "whole"),
    Row(ReLU(), ROW, "whole"),
    Row(LeakyReLU(), IMAGE),
    *(Row(GLU(), shape) for shape in (IMAGE, ROW, SEQUENCE)),
    Row(LeakyReLU(0.3), ROW, "whole"),
    Row(LeakyReLU(2.5), ROW, "whole"),
    Row(SoftMax(), SEQUENCE),
    Row(Flatten(), IMAGE),
    Row(Convolution1DLayer(5, 3), (9, 4)),
    Row(Convolution1DLayer(5, 2, 2, 1, bias=False), (9, 4)),
    Row(Convolution1DLayer(6, 3, 1, "causal", 2, 2), (9, 4)),
    Row(Convolution1DLayer(4, 4, 3, "same"), (9, 4)),
    Row(MaxPool1DLayer(3, 2, 1), (9, 4)),
    Row(MaxPool1DLayer(2), (9, 4), "whole"),
    Row(AveragePool1DLayer(3, 2, 1), (9, 4)),
    Row(AveragePool1DLayer(4, 1, 2, count_padding=False), (9, 4)),
    Row(MaxPool1DLayer(3, 2, 1, dilation=2), (9, 4)),
    *(Row(MaxPool1DLayer(3, stride, 1, ceil_mode=True), (places, 4)) for stride in (2, 3) for places in (6, 7, 8)),
    *(Row(AveragePool1DLayer(3, stride, 1, 1, True), (places, 4)) for stride in (2, 3) for places in (6, 7, 8)),
    Row(AveragePool1DLayer(3, 2, 1, ceil_mode=True, count_padding=False), (8, 4)),
    *(Row(LpPool1DLayer(3, 2, before, power=power), (9, 4)) for before in (0, (2, 1)) for power in (1, 2.0, 3.5)),
    *(Row(GlobalLpPool1DLayer(power), (9, 4)) for power in (1, 2.0, 4)),
    Row(GlobalMaxPool1DLayer(), (9, 4)),
    *(
        Row(pool(size), (9, 4))
        for size in (1, 3, 4, 9, 14)
        for pool in (AdaptiveAveragePool1DLayer, AdaptiveMaxPool1DLayer)
    ),
    Row(AdaptiveMaxPool1DLayer(4), (9, 4), "whole"),
    Row(GlobalAveragePool1DLayer(), (9, 4)),
    Row(MultiHeadAttention(2), (9, 4)),
    Row(MultiHeadAttention(1, causal=True), (9, 3), "wide"),
    Row(MultiHeadAttention(4, causal=True, bias=False), (6, 8)),
    *(
        Row(MultiHeadAttention(2, causal, learned_key=learned, zero_key=zero, attention_mask=mask, **sizes), (5, 6))
        for causal in (True, False)
        for learned, zero, sizes in [
            (True, False, {}),
            (False, True, {"bias": False}),
            (True, True, {"n_units": 7}),
            (False, False, {"key_size": 2, "value_size": 5, "n_units": 4}),
        ]
        for mask in MASKS
    ),
    Row(LearnedPositions(), (9, 4)),
    Row(SinePositions(), (9, 5)),
    Row(Flatten(), SEQUENCE),
    Row(Reshape((3, 7, 8)), IMAGE),
    Row(Reshape((8, 21)), IMAGE),
    Row(Permute((2, 3, 1)), IMAGE),
    Row(Permute((2, 1)), (4, 3)),
    Row(Reshape((2, 3, 2)), ROW),
    *(Row(PaddingLayer(((2, 1), (0, 3)), mode), IMAGE) for mode in ("zeros", "reflect", "replicate", "circular")),
    Row(PaddingLayer((5, 4), "reflect"), IMAGE),
    Row(PaddingLayer((1, 9), "constant", -2.5), IMAGE),
    *(Row(PaddingLayer((3, 1), mode), SEQUENCE) for mode in ("replicate", "reflect", "circular")),
    Row(PaddingLayer((0, 4), "constant", -2.5), SEQUENCE),
    Row(PaddingLayer(2), SEQUENCE),
    Row(CroppingLayer(((2, 1), (0, 3))), IMAGE),
    Row(CroppingLayer((1, 3)), SEQUENCE),
    Row(Sequential([bare(3, 3, 3), BatchNorm(), ReLU(), Flatten(), FullyConnectedLayer(5)]), IMAGE),
    Row(Sequential([]), ROW),
    Row(Residual([bare(4, 3, 3, zero_padding="same"), BatchNorm(), SiLU()]), IMAGE),
    Row(Residual([conv(6, 3, 3, zero_padding=1, stride=2), GELU()], [bare(6, 1, 1, stride=2), BatchNorm()]), IMAGE),
    Row(Residual(Residual(FullyConnectedLayer(12))), ROW),
    Row(Branches(conv(3, 1, 1), [conv(2, 3, 3, zero_padding=1), TanH()], []), IMAGE),
    Row(Branches(FullyConnectedLayer(3), [FullyConnectedLayer(4), SoftMax()]), SEQUENCE),
    Row(Branches(conv(3, 1, 1), [bare(3, 3, 3, zero_padding=1), BatchNorm()], merge="sum"), IMAGE),
    *(
        Row(Branches(conv(4, 1, 1), TanH(), [], merge=merge), IMAGE)
        for merge in ("average", "multiply", "maximum", "minimum")
    ),
    Row(Branches(ReLU(), ReLU6(), [], merge="maximum"), ROW),  # of equal numbers
    Row(Branches(FullyConnectedLayer(12), [], merge="subtract"), ROW),
    *(Row(Branches(FullyConnectedLayer(12), [], merge=merge), ROW) for merge in ("dot", "cosine")),
    *(Row(Branches(conv(4, 1, 1), TanH(), merge=merge), IMAGE) for merge in ("dot", "cosine")),
    Row(Sequential(networks.unet((2, 8, 8), classes=3, depth=2, width=3)), (2, 8, 8)),
    Row(Sequential(networks.autoencoder((2, 9, 6), code=5, width=3)), (2, 9, 6)),
]


def draw(rng: np.random.Generator, shape: tuple[int, ...], values: str) -> Any:
    if values == "tokens":
        return rng.integers(0, 9, shape)
    if values == "whole":
        return rng.integers(-2, 3, shape) * 1.0
    return rng.normal(0, 1, shape) * 10 ** rng.uniform(-2, 3, shape) if values == "wide" else rng.normal(1, 2, shape)


def label(row: Row) -> str:
    return f"{repr(row.layer)[:60]}-{'x'.join(map(str, row.shape))}-{row.values}"


def has(layer: Layer, kind: type[Layer]) -> bool:
    return f"{kind.__name__}(" in repr(layer)


def both(row: Row) -> tuple[Ours, Theirs, np.random.Generator]:
    rng = np.random.default_rng(7)
    ours = Ours([row.layer], row.shape)
    ours.randomise(rng)
    return ours, Theirs([row.layer], ours.p(), ours.s()), rng


def batches(row: Row, rng: np.random.Generator, sizes: tuple[int, ...]) -> Iterator[tuple[Any, Any]]:
    """Yield inputs and output gradients of these many samples."""
    ours = Ours([row.layer], row.shape)
    for n in sizes:
        x = draw(rng, (n, *row.shape), row.values)
        yield x, rng.normal(0, 1, ours.run(x)[0].shape)


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_training_steps(row: Row) -> None:
    ours, theirs, rng = both(row)
    for x, dy in batches(row, rng, (4, 3, 5)):
        (y, grads), (y_theirs, grads_theirs) = ours.run(x, dy), theirs.run(x, dy)
        assert_agree({"y": y, **grads}, {"y": y_theirs, **grads_theirs})
    assert_agree(ours.s(), theirs.s)


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_prediction(row: Row) -> None:
    ours, theirs, rng = both(row)
    for x, dy in batches(row, rng, (4, 1)):
        assert_agree({"y": ours.run(x, train=False)[0]}, {"y": theirs.run(x, dy, train=False)[0]})
    assert_agree(ours.s(), theirs.s)


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_gradients_of_a_prediction_pass(row: Row) -> None:
    ours, theirs, rng = both(row)
    for x, dy in batches(row, rng, (4, 1)):
        # Where a SoftMax is nearly sure, PyTorch subtracts equal numbers; what is left of the gradient is its rounding.
        least = float(np.finfo(float).eps * abs(dy).max())
        assert_agree(ours.run(x, dy, train=False)[1], theirs.run(x, dy, train=False)[1], least=least)


@pytest.mark.parametrize("shape", [ROW, SEQUENCE, IMAGE], ids=str)
@pytest.mark.parametrize("keep", [0.25, 0.75, 1.0])
def test_dropout(keep: float, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    ours = Ours([Dropout(keep)], shape)
    x, dy = (rng.normal(0, 1, (40, *shape)) for _ in range(2))
    kept = ours.run(np.ones_like(x))[0] > 0
    assert abs(kept.mean() - keep) < 4 * np.sqrt(0.25 / kept.size)
    there = tensors({"x": x, "kept": kept, "dy": dy}, grad=True)
    masked = there["x"] * there["kept"] / keep
    (by_x,) = torch.autograd.grad(masked, there["x"], there["dy"])
    y, grads = ours.run(x, dy)
    assert_agree({"y": y, **grads}, {"y": masked, "x": by_x})


def test_dropout_of_shares() -> None:
    rng, layer = np.random.default_rng(5), MultiHeadAttention(1, keep=0.75)
    ours, x, dy = Ours([layer], (6, 6)), np.tile(np.eye(6), (40, 1, 1)), rng.normal(0, 1, (40, 6, 6))
    stage = ours.plan.layers[-1]
    for name, view in stage.p.items():
        view[...] = np.eye(6, 18, 12) if name == "kernel" else np.eye(6) if name == "output_kernel" else 0
    kept = ours.run(x)[0] > 0  # each place's own share of all is in a column of its own
    assert abs(kept.mean() - 0.75) < 4 * np.sqrt(0.25 / kept.size)
    ours.randomise(rng)
    x = rng.normal(0, 1, x.shape)
    there = tensors({"x": x, "kept": kept, "dy": dy, **ours.p()}, grad=True)
    q, k, v = (there["x"] @ there["0.kernel"] + there["0.bias"]).split(6, 2)
    shares = torch.softmax(q @ k.mT / 6**0.5, 2) * there["kept"] / 0.75
    expected = shares @ v @ there["0.output_kernel"] + there["0.output_bias"]
    (by_x,) = torch.autograd.grad(expected, there["x"], there["dy"])
    y, grads = ours.run(x, dy)
    assert_agree({"y": y, "x": grads["x"]}, {"y": expected, "x": by_x})


@pytest.mark.parametrize("shape", [SEQUENCE, IMAGE], ids=str)
def test_spatial_dropout(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    ours = Ours([SpatialDropout(0.25)], shape)
    x, dy = (rng.normal(0, 1, (40, *shape)) for _ in range(2))
    kept = ours.run(np.ones_like(x))[0] > 0
    channels = kept[..., 0, 0] if len(shape) == 3 else kept[:, 0]
    assert (kept == (channels[..., None, None] if len(shape) == 3 else channels[:, None])).all()
    assert abs(channels.mean() - 0.25) < 4 * np.sqrt(0.25 / channels.size)
    there = tensors({"x": x, "kept": kept, "dy": dy}, grad=True)
    masked = there["x"] * there["kept"] / 0.25
    (by_x,) = torch.autograd.grad(masked, there["x"], there["dy"])
    y, grads = ours.run(x, dy)
    assert_agree({"y": y, **grads}, {"y": masked, "x": by_x})


def test_alpha_dropout() -> None:
    rng = np.random.default_rng(5)
    ours = Ours([AlphaDropout(0.75)], ROW)
    x, dy = (rng.normal(0, 1, (4000, *ROW)) for _ in range(2))
    y, grads = ours.run(x, dy)
    kept = grads["x"] != 0
    assert abs(kept.mean() - 0.75) < 4 * np.sqrt(0.25 / kept.size)
    torch.manual_seed(1)
    z = torch.nn.AlphaDropout(0.25)(torch.zeros(100_000, dtype=torch.float64))
    shift, low = float(z.max()), float(z.min())
    factor = (shift - low) / 1.7580993408473766  # what PyTorch multiplies and adds, read off its two results for 0
    there = tensors({"x": x, "kept": kept, "dy": dy}, grad=True)
    expected = torch.where(there["kept"], factor * there["x"] + shift, low)
    (by_x,) = torch.autograd.grad(expected, there["x"], there["dy"])
    assert_agree({"y": y, **grads}, {"y": expected, "x": by_x})


def test_gaussian_noise() -> None:
    x = np.random.default_rng(5).normal(0, 1, (400, *IMAGE))
    y, grads = Ours([GaussianNoise(0.5)], IMAGE).run(x, x)
    noise = (y - x).ravel() / 0.5
    normal = torch.distributions.Normal(0.0, 1.0)
    for limit in (-2.0, -1.0, 0.0, 0.5, 3.0):
        share = float(normal.cdf(torch.tensor(limit)))
        assert abs((noise < limit).mean() - share) < 5 * np.sqrt(share * (1 - share) / noise.size)
    assert_agree(grads, {"x": torch.from_numpy(x)})


@pytest.mark.parametrize("keep", [0.25, 1.0])
def test_dropout_does_nothing_in_a_prediction(keep: float) -> None:
    x, dy = np.random.default_rng(5).normal(0, 1, (2, 4, *IMAGE))
    y, grads = Ours([Dropout(keep)], IMAGE).run(x, dy, train=False)
    layer = torch.nn.Dropout(1 - keep).eval()
    there = tensors({"x": x}, grad=True)["x"]
    out = layer(there)
    (by_x,) = torch.autograd.grad(out, there, torch.from_numpy(dy))
    assert_agree({"y": y, **grads}, {"y": out, "x": by_x})


def test_a_max_pooling_of_nan_is_nan() -> None:
    x = np.random.default_rng(5).normal(0, 1, (2, *IMAGE))
    x[0, 1, 2, 3] = np.nan
    layer = MaxPoolLayer(2, 2, 1)
    ours, theirs = Ours([layer], IMAGE).run(x)[0], Theirs([layer], {}, {})(torch.from_numpy(x)).numpy()
    assert (np.isnan(ours) == np.isnan(theirs)).all()
    assert difference(np.nan_to_num(ours), np.nan_to_num(theirs)) == 0


def test_every_public_layer_has_a_row() -> None:
    public = [getattr(gedanken, name) for name in gedanken.__all__]
    layers = {one for one in public if inspect.isclass(one) and issubclass(one, Layer) and not inspect.isabstract(one)}
    elsewhere = {Dropout, SpatialDropout, AlphaDropout, GaussianNoise, Heads, CrossAttention, FromState}
    assert layers == {type(row.layer) for row in ROWS} | elsewhere
