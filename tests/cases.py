"""The tables that the contract tests walk: one row for each layer, cost and optimizer, or more."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import gedanken
from gedanken import (
    CELU,
    CTC,
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
    BinaryCrossEntropy,
    BinaryFocal,
    Branches,
    CategoricalHinge,
    Constant,
    Convolution1DLayer,
    ConvolutionLayer,
    CosineDistance,
    Cost,
    CroppingLayer,
    CrossEntropy,
    CustomCost,
    Dice,
    Dropout,
    Embedding,
    Flatten,
    Focal,
    FullyConnectedLayer,
    FunctionLayer,
    GaussianNLL,
    GaussianNoise,
    GlobalAveragePool1DLayer,
    GlobalAveragePoolLayer,
    GlobalLpPool1DLayer,
    GlobalLpPoolLayer,
    GlobalMaxPool1DLayer,
    GlobalMaxPoolLayer,
    GlorotNormal,
    GraphCut,
    GroupNorm,
    HardSigmoid,
    HardSwish,
    HardTanH,
    Hinge,
    HingeEmbedding,
    Huber,
    InstanceNorm,
    KullbackLeibler,
    Layer,
    LayerNorm,
    LeakyReLU,
    LearnedPositions,
    LocalResponseNorm,
    LogCosh,
    LogSigmoid,
    LogSoftMax,
    LpPool1DLayer,
    LpPoolLayer,
    MatrixFactorisation,
    MaxPool1DLayer,
    MaxPoolLayer,
    MeanAbsolute,
    MeanAbsolutePercentage,
    MeanSquared,
    MeanSquaredLogarithmic,
    Mish,
    MultiHeadAttention,
    MultiLabelMargin,
    MultiMargin,
    PaddingLayer,
    Param,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Poisson,
    PReLU,
    Quantile,
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
    SmoothL1,
    SoftMax,
    Softplus,
    Softsign,
    SparseFullyConnectedLayer,
    SpatialDropout,
    SquaredHinge,
    TanH,
    TanHShrink,
    Threshold,
    TransposedConvolutionLayer,
    Tversky,
    UnitNorm,
    UpsamplingLayer,
    WeightedMean,
)
from gedanken.types import Array, Shape
from tests.optimizer_cases import OPTIMIZERS, RATE, OptimizerCase

PUBLIC: dict[str, Any] = {name: getattr(gedanken, name) for name in gedanken.__all__}


class LayerCase(NamedTuple):
    """A layer, one sample's shape, channels first, and what one sample comes out as."""

    layer: Layer
    shape: Shape
    output_shape: Shape
    parameters: int = 0
    multiply_adds: int = 0

    @property
    def name(self) -> str:
        return f"{self.layer}-{'x'.join(map(str, self.shape))}"

    def data(self, samples: int, seed: int = 0, dtype: str = "float64") -> Array:
        """Samples whose values differ by more than any step of finite differences; tokens for an Embedding."""
        rng = np.random.default_rng(seed)
        size = (samples, *self.shape)
        if self.layer.tokens is not None:
            return rng.integers(0, self.layer.tokens, size)  # type: ignore[arg-type]
        count = int(np.prod(size))
        if self.layer.sparse:
            return np.where(rng.random(size) < 0.5, rng.normal(size=size), 0).astype(dtype)
        return ((rng.permutation(count) - count / 2 + 0.3) * (3 / count)).reshape(size).astype(dtype)


def swish(xp: Any, x: Any, p: Any) -> Any:
    return x / (1 + xp.exp(-p["beta"] * x))


def attended(xp: Any, x: Any, p: Any) -> Any:
    """Return the mean over the places of a sequence, weighted by how well they agree with a query."""
    scores = x @ p["query"]
    shares = xp.exp(scores - xp.max(scores, axis=1, keepdims=True))
    return xp.sum((shares / xp.sum(shares, axis=1, keepdims=True))[:, :, None] * x, axis=1) + p["shift"]


def beside(xp: Any, x: Any) -> Any:
    return xp.concatenate([x[..., ::2], xp.sin(x)], axis=-1)


def log_cosh(xp: Any, y: Any, t: Any) -> Any:
    return xp.sum(xp.log(xp.cosh(y - t)), axis=-1)


FUNCTIONS = (swish, attended, beside, log_cosh)  # that the rows hold, for files
ATTENDED = FunctionLayer(attended, {"query": Param((5,), GlorotNormal(), 5, 1), "shift": ()})
IMAGE = (3, 6, 5)
LAYERS = [
    LayerCase(FullyConnectedLayer(4), (5,), (4,), 24, 20),
    LayerCase(FullyConnectedLayer(3, bias=False, init=GlorotNormal()), (7, 5), (7, 3), 15, 105),
    LayerCase(Embedding(6, 4), (5,), (5, 4), 24),
    LayerCase(Embedding(6, 4), (), (4,), 24),
    LayerCase(SimpleRNN(3), (5, 4), (5, 3), 24, 105),
    LayerCase(SimpleRNN(3, activation="relu", bias=False, reverse=True), (5, 4), (5, 3), 21, 105),
    LayerCase(LSTM(3), (5, 4), (5, 3), 96, 420),
    LayerCase(LSTM(2, last=True, reverse=True), (5, 4), (2,), 56, 240),
    LayerCase(LSTM(3, projection=2), (5, 4), (5, 2), 90, 390),
    LayerCase(GRU(3), (5, 4), (5, 3), 75, 315),
    LayerCase(GRU(3, reset_after=False, last=True), (5, 4), (3,), 72, 315),
    LayerCase(Bidirectional(GRU(2, bias=False)), (4, 3), (4, 4), 60, 240),
    LayerCase(Bidirectional(LSTM(2, last=True), merge="sum"), (4, 3), (2,), 96, 320),
    LayerCase(Bidirectional(GRU(2, bias=False), merge="multiply"), (4, 3), (4, 2), 60, 240),
    LayerCase(MatrixFactorisation(5, 4, 3), (2,), (1,), 37, 3),
    LayerCase(MatrixFactorisation(5, 4, 3, bias=False), (2,), (1,), 27, 3),
    LayerCase(GraphCut(6, 3), (2,), (1,), 18, 0),
    LayerCase(SparseFullyConnectedLayer(3), (7,), (3,), 24, 21),
    LayerCase(SparseFullyConnectedLayer(1, bias=False), (7,), (1,), 7, 7),
    LayerCase(ConvolutionLayer(4, 3, 3), IMAGE, (4, 4, 3), 112, 1296),
    LayerCase(ConvolutionLayer(2, 2, 4, stride=2, zero_padding=1), IMAGE, (2, 3, 3), 50, 432),
    LayerCase(ConvolutionLayer(2, 3, 2, stride=(1, 2), zero_padding=(2, 0), bias=False), IMAGE, (2, 9, 2), 36, 648),
    LayerCase(ConvolutionLayer(2, 2, 3, stride=2, zero_padding="same"), IMAGE, (2, 3, 3), 38, 324),
    LayerCase(ConvolutionLayer(2, 2, 2, dilation=(3, 2)), IMAGE, (2, 3, 3), 26, 216),
    LayerCase(ConvolutionLayer(6, 3, 3, groups=3, zero_padding=1), IMAGE, (6, 6, 5), 60, 1620),
    LayerCase(ConvolutionLayer(4, 1, 1, groups=2), (4, 2, 2), (4, 2, 2), 12, 32),
    LayerCase(ConvolutionLayer(1, 5, 6), IMAGE, (1, 1, 1), 91, 90),
    LayerCase(TransposedConvolutionLayer(4, 3, 2), IMAGE, (4, 7, 7), 76, 2160),
    LayerCase(TransposedConvolutionLayer(2, 2, 2, stride=2, bias=False), (2, 3, 2), (2, 6, 4), 16, 96),
    LayerCase(
        TransposedConvolutionLayer(2, 3, 4, stride=(3, 2), zero_padding=1, output_padding=(2, 1)),
        (3, 2, 3),
        (2, 7, 6),
        74,
        432,
    ),
    LayerCase(
        TransposedConvolutionLayer(4, 2, 3, stride=2, zero_padding="same", groups=2), (4, 3, 2), (4, 6, 4), 52, 288
    ),
    LayerCase(TransposedConvolutionLayer(2, 1, 2, stride=3, dilation=2, output_padding=1), (1, 2, 3), (2, 7, 8), 6, 24),
    # More phases than are worth listing: windows as large as the stride, and smaller ones.
    LayerCase(TransposedConvolutionLayer(1, 17, 17, stride=17), (2, 1, 2), (1, 17, 34), 579, 1156),
    LayerCase(TransposedConvolutionLayer(2, 3, 2, stride=(30, 20)), (2, 2, 1), (2, 32, 3), 26, 48),
    LayerCase(ConvolutionLayer(2, 3, 2, stride=(30, 20)), (2, 33, 25), (2, 2, 2), 26, 96),
    LayerCase(UpsamplingLayer(2), IMAGE, (3, 12, 10)),
    LayerCase(UpsamplingLayer((1, 3), "bilinear"), IMAGE, (3, 6, 15)),
    LayerCase(UpsamplingLayer(3, "bilinear", align_corners=True), (2, 3, 1), (2, 9, 3)),
    LayerCase(UpsamplingLayer((2, 3), "bicubic"), IMAGE, (3, 12, 15)),
    LayerCase(UpsamplingLayer(size=(9, 4), mode="bicubic", align_corners=True), IMAGE, (3, 9, 4)),
    LayerCase(UpsamplingLayer(size=(3, 5), mode="bicubic"), (1, 1, 2), (1, 3, 5)),
    LayerCase(UpsamplingLayer(size=(4, 7)), IMAGE, (3, 4, 7)),
    LayerCase(UpsamplingLayer(size=(9, 3), mode="bilinear"), IMAGE, (3, 9, 3)),
    LayerCase(PixelShuffle(2), (8, 3, 2), (2, 6, 4)),
    LayerCase(PixelUnshuffle(2), (2, 6, 4), (8, 3, 2)),
    LayerCase(ConvolutionLayer(2, 2, 3, zero_padding=((0, 3), (2, 1))), IMAGE, (2, 7, 7), 38, 1764),
    LayerCase(
        ConvolutionLayer(2, 3, 3, zero_padding=((1, 5), (2, 0)), padding_mode="reflect"), IMAGE, (2, 10, 5), 56, 2700
    ),
    LayerCase(
        ConvolutionLayer(2, 3, 3, 2, zero_padding=((7, 2), (0, 4)), padding_mode="replicate"),
        IMAGE,
        (2, 7, 4),
        56,
        1512,
    ),
    LayerCase(
        ConvolutionLayer(3, 2, 2, zero_padding=(6, 5), groups=3, padding_mode="circular"), IMAGE, (3, 17, 14), 15, 2856
    ),
    LayerCase(MaxPoolLayer(2, 2), IMAGE, (3, 3, 2)),
    LayerCase(MaxPoolLayer(2, 3, stride=1), IMAGE, (3, 4, 4)),
    LayerCase(MaxPoolLayer(3, 3, stride=(3, 2), zero_padding=1), IMAGE, (3, 2, 3)),
    LayerCase(MaxPoolLayer(3, 2, stride=2, zero_padding="same"), IMAGE, (3, 3, 3)),
    LayerCase(MaxPoolLayer(2, 3, 2, zero_padding=((2, 0), (1, 0)), ceil_mode=True), IMAGE, (3, 4, 3)),
    LayerCase(MaxPoolLayer(2, 2, 1, zero_padding=(2, 1), dilation=(3, 2)), IMAGE, (3, 7, 5)),
    LayerCase(LpPoolLayer(2, 2), IMAGE, (3, 3, 2)),
    LayerCase(LpPoolLayer(3, 2, (1, 2), ((1, 0), (2, 1)), (2, 1), ceil_mode=True, power=3), IMAGE, (3, 5, 4)),
    LayerCase(LpPoolLayer(2, 3, 1, power=1), IMAGE, (3, 4, 4)),
    LayerCase(GlobalLpPoolLayer(2.5), IMAGE, (3,)),
    LayerCase(AveragePoolLayer(2, 2), IMAGE, (3, 3, 2)),
    LayerCase(AveragePoolLayer(3, 3, stride=2, zero_padding=1), IMAGE, (3, 3, 3)),
    LayerCase(AveragePoolLayer(2, 3, 2, zero_padding=((2, 0), (1, 0)), ceil_mode=True), IMAGE, (3, 4, 3)),
    LayerCase(AveragePoolLayer(3, 3, 2, zero_padding=1, count_padding=False, ceil_mode=True), IMAGE, (3, 4, 3)),
    LayerCase(AveragePoolLayer(3, 2, 1, zero_padding=1, dilation=(3, 2), count_padding=False), IMAGE, (3, 5, 3)),
    LayerCase(AveragePoolLayer(3, 2, 2, zero_padding=1, divisor=5), IMAGE, (3, 4, 3)),
    LayerCase(GlobalAveragePoolLayer(), IMAGE, (3,)),
    LayerCase(GlobalMaxPoolLayer(), IMAGE, (3,)),
    LayerCase(AdaptiveAveragePoolLayer((4, 2)), IMAGE, (3, 4, 2)),
    LayerCase(AdaptiveAveragePoolLayer(7), IMAGE, (3, 7, 7)),
    LayerCase(AdaptiveMaxPoolLayer((4, 3)), IMAGE, (3, 4, 3)),
    LayerCase(AdaptiveMaxPoolLayer((1, 9)), IMAGE, (3, 1, 9)),
    LayerCase(BatchNorm(), (5,), (5,), 10),
    LayerCase(BatchNorm(momentum=0.5, epsilon=0.1), IMAGE, IMAGE, 6),
    LayerCase(LayerNorm(), (5,), (5,), 10),
    LayerCase(LayerNorm(), (4, 5), (4, 5), 10),
    LayerCase(LayerNorm(epsilon=0.1), IMAGE, IMAGE, 6),
    LayerCase(GroupNorm(2), (6,), (6,), 12),
    LayerCase(FunctionLayer(swish, {"beta": Param((5,), Constant(1.0))}), (5,), (5,), 5),
    LayerCase(FunctionLayer(swish, {"beta": (3,)}), IMAGE, IMAGE, 3),
    LayerCase(ATTENDED, (4, 5), (5,), 6),
    LayerCase(FunctionLayer(beside), IMAGE, (5, 6, 5)),
    LayerCase(GroupNorm(2), (4, 3, 3), (4, 3, 3), 8),
    LayerCase(GroupNorm(3, epsilon=0.1), (5, 6), (5, 6), 12),
    LayerCase(LocalResponseNorm(4, alpha=0.9, beta=0.6, k=0.7), (7, 2, 3), (7, 2, 3)),
    LayerCase(LocalResponseNorm(9, alpha=2.0), (2, 5), (2, 5)),
    LayerCase(BatchNorm(momentum=None), (5,), (5,), 10),
    LayerCase(BatchNorm(biased=True), (5,), (5,), 10),
    LayerCase(BatchNorm(scale=False), IMAGE, IMAGE, 3),
    LayerCase(BatchNorm(shift=False), (4, 5), (4, 5), 5),
    LayerCase(BatchNorm(momentum=None), (6, 3), (6, 3), 6),
    LayerCase(LayerNorm(scale=False, shift=False), (4, 5), (4, 5)),
    LayerCase(LayerNorm(shift=False), IMAGE, IMAGE, 3),
    LayerCase(GroupNorm(2, scale=False), (4, 3, 3), (4, 3, 3), 4),
    LayerCase(InstanceNorm(), IMAGE, IMAGE, 6),
    LayerCase(InstanceNorm(epsilon=0.1, scale=False, shift=False), (4, 5), (4, 5)),
    LayerCase(InstanceNorm(running=True, momentum=0.5), IMAGE, IMAGE, 6),
    LayerCase(InstanceNorm(running=True, shift=False), (4, 5), (4, 5), 5),
    LayerCase(LayerNorm(axes=1), IMAGE, IMAGE, 6),
    LayerCase(LayerNorm(axes=(3, 1), epsilon=0.1), IMAGE, IMAGE, 30),
    LayerCase(LayerNorm(axes=(1, 2), shift=False), (4, 5), (4, 5), 20),
    LayerCase(RMSNorm(axes=(2,)), IMAGE, IMAGE, 6),
    LayerCase(UnitNorm(), (5,), (5,)),
    LayerCase(UnitNorm(), (4, 5), (4, 5)),
    LayerCase(UnitNorm(epsilon=0.1), IMAGE, IMAGE),
    LayerCase(UnitNorm(axes=(2, 3)), IMAGE, IMAGE),
    LayerCase(RMSNorm(), (5,), (5,), 5),
    LayerCase(RMSNorm(epsilon=0.1), (4, 5), (4, 5), 5),
    LayerCase(RMSNorm(scale=False), IMAGE, IMAGE),
    LayerCase(ReLU(), IMAGE, IMAGE),
    LayerCase(LeakyReLU(0.2), (5,), (5,)),
    LayerCase(Sigmoid(), (5,), (5,)),
    LayerCase(TanH(), IMAGE, IMAGE),
    LayerCase(ELU(), IMAGE, IMAGE),
    LayerCase(ELU(0.3), (5,), (5,)),
    LayerCase(ELU(2.0), (), ()),
    LayerCase(CELU(0.3), (5,), (5,)),
    LayerCase(SELU(), IMAGE, IMAGE),
    LayerCase(PReLU(), IMAGE, IMAGE, 3),
    LayerCase(PReLU(shared=True), (4, 5), (4, 5), 1),
    LayerCase(ReLU6(), (5,), (5,)),
    LayerCase(HardTanH(-0.5, 0.7), (5,), (5,)),
    LayerCase(HardSigmoid(), IMAGE, IMAGE),
    LayerCase(HardSigmoid(0.2, 0.4), (), ()),
    LayerCase(HardSwish(), IMAGE, IMAGE),
    LayerCase(Threshold(-0.4, 0.3), (5,), (5,)),
    LayerCase(Shrink(0.3, 0.2), IMAGE, IMAGE),
    LayerCase(Softplus(), IMAGE, IMAGE),
    LayerCase(Softplus(3.0), (), ()),
    LayerCase(LogSigmoid(), (5,), (5,)),
    LayerCase(Mish(), IMAGE, IMAGE),
    LayerCase(Softsign(), (5,), (5,)),
    LayerCase(TanHShrink(), (5,), (5,)),
    LayerCase(GELU(approximate=True), (5,), (5,)),
    LayerCase(LogSoftMax(), (5,), (5,)),
    LayerCase(LogSoftMax(), IMAGE, IMAGE),
    LayerCase(LogSoftMax(axes=(2, 3)), IMAGE, IMAGE),
    LayerCase(LogSoftMax(axes=(1, 2)), (4, 5), (4, 5)),
    LayerCase(GLU(), (6,), (3,)),
    LayerCase(GLU(), (4, 6, 5), (2, 6, 5)),
    LayerCase(GLU(axes=2), (4, 6, 5), (4, 3, 5)),
    LayerCase(GLU(axes=3), (3, 2, 4), (3, 2, 2)),
    LayerCase(GLU(axes=1), (4, 3), (2, 3)),
    LayerCase(GELU(), (5,), (5,)),
    LayerCase(GELU(), (), ()),
    LayerCase(TanH(), (), ()),
    LayerCase(LeakyReLU(1.5), (), ()),
    LayerCase(SiLU(), (5,), (5,)),
    LayerCase(SoftMax(), (5,), (5,)),
    LayerCase(SoftMax(), IMAGE, IMAGE),
    LayerCase(SoftMax(axes=2), IMAGE, IMAGE),
    LayerCase(SoftMax(axes=(3, 1)), IMAGE, IMAGE),
    LayerCase(SoftMax(axes=1), (4, 5), (4, 5)),
    LayerCase(Dropout(0.75), IMAGE, IMAGE),
    LayerCase(Dropout(0.6), (), ()),
    LayerCase(Dropout(1), (5,), (5,)),
    LayerCase(Convolution1DLayer(4, 3), (7, 5), (5, 4), 64, 300),
    LayerCase(Convolution1DLayer(4, 2, 2, "same", bias=False), (7, 6), (4, 4), 48, 192),
    LayerCase(Convolution1DLayer(6, 3, 1, "causal", dilation=2, groups=3), (7, 6), (7, 6), 42, 252),
    LayerCase(Convolution1DLayer(2, 3, 2, (2, 1)), (6, 3), (4, 2), 20, 72),
    LayerCase(MaxPool1DLayer(2), (7, 4), (3, 4)),
    LayerCase(MaxPool1DLayer(3, 2, "same"), (7, 4), (4, 4)),
    LayerCase(AveragePool1DLayer(3, 1, (2, 0)), (7, 4), (7, 4)),
    LayerCase(AveragePool1DLayer(3, 2, "same", count_padding=False), (6, 4), (3, 4)),
    LayerCase(MaxPool1DLayer(2, 3, 1, dilation=2, ceil_mode=True), (9, 3), (4, 3)),
    LayerCase(AveragePool1DLayer(3, 2, 1, ceil_mode=True), (8, 3), (5, 3)),
    LayerCase(AveragePool1DLayer(2, 2, (2, 0), 3, count_padding=False), (9, 3), (4, 3)),
    LayerCase(AveragePool1DLayer(3, 3, ceil_mode=True, divisor=2), (7, 3), (3, 3)),
    LayerCase(GlobalMaxPool1DLayer(), (7, 4), (4,)),
    LayerCase(LpPool1DLayer(3), (7, 4), (2, 4)),
    LayerCase(LpPool1DLayer(2, 1, (1, 0), power=3.5), (6, 3), (6, 3)),
    LayerCase(LpPool1DLayer(3, 2, 1, 2, ceil_mode=True, power=1), (10, 4), (5, 4)),
    LayerCase(GlobalLpPool1DLayer(), (7, 4), (4,)),
    LayerCase(AdaptiveMaxPool1DLayer(3), (8, 4), (3, 4)),
    LayerCase(AdaptiveMaxPool1DLayer(9), (5, 2), (9, 2)),
    LayerCase(AdaptiveAveragePool1DLayer(3), (8, 4), (3, 4)),
    LayerCase(AdaptiveAveragePool1DLayer(1), (7, 3), (1, 3)),
    LayerCase(AdaptiveAveragePool1DLayer(11), (4, 2), (11, 2)),
    LayerCase(GlobalAveragePool1DLayer(), (7, 4), (4,)),
    LayerCase(MultiHeadAttention(2), (5, 4), (5, 4), 80, 520),
    LayerCase(MultiHeadAttention(1, causal=True, bias=False), (4, 3), (4, 3), 36, 240),
    LayerCase(MultiHeadAttention(2, keep=0.6, learned_key=True, zero_key=True), (4, 6), (4, 6), 180, 864),
    LayerCase(MultiHeadAttention(2, attention_mask=np.eye(4, k=2) < 1, learned_key=True), (4, 2), (4, 2), 28, 144),
    LayerCase(
        MultiHeadAttention(2, attention_mask=np.linspace(-1, 1, 18).reshape(2, 3, 3), zero_key=True),
        (3, 4),
        (3, 4),
        80,
        288,
    ),
    LayerCase(MultiHeadAttention(3, True, keep=0.5, key_size=2, value_size=1, n_units=4), (4, 5), (4, 4), 106, 492),
    LayerCase(LearnedPositions(), (7, 5), (7, 5), 35),
    LayerCase(SinePositions(), (7, 5), (7, 5)),
    LayerCase(SpatialDropout(0.6), IMAGE, IMAGE),
    LayerCase(SpatialDropout(0.6), (4, 5), (4, 5)),
    LayerCase(AlphaDropout(0.6), IMAGE, IMAGE),
    LayerCase(AlphaDropout(0.6), (), ()),
    LayerCase(GaussianNoise(0.5), IMAGE, IMAGE),
    LayerCase(GaussianNoise(0.5), (), ()),
    LayerCase(Flatten(), (), (1,)),
    LayerCase(Flatten(), IMAGE, (90,)),
    LayerCase(Reshape((1, 1)), (), (1, 1)),
    LayerCase(Reshape((5, 6, 3)), IMAGE, (5, 6, 3)),
    LayerCase(Reshape((2, 3)), (6,), (2, 3)),
    LayerCase(Permute((2, 1)), (4, 3), (3, 4)),
    LayerCase(Permute((3, 1, 2)), IMAGE, (5, 3, 6)),
    LayerCase(PaddingLayer(((1, 2), (0, 3)), mode="constant", value=-0.5), IMAGE, (3, 9, 8)),
    LayerCase(PaddingLayer((5, 2), mode="reflect"), IMAGE, (3, 16, 9)),
    LayerCase(PaddingLayer(((7, 0), (1, 6)), mode="replicate"), IMAGE, (3, 13, 12)),
    LayerCase(PaddingLayer(((6, 1), (0, 5)), mode="circular"), IMAGE, (3, 13, 10)),
    LayerCase(PaddingLayer((3, 1)), (4, 2), (8, 2)),
    LayerCase(PaddingLayer((0, 4), "constant", 1.5), (5, 3), (9, 3)),
    LayerCase(PaddingLayer((1, 3), "reflect"), (6, 3), (10, 3)),
    LayerCase(PaddingLayer((4, 7), "replicate"), (5, 2), (16, 2)),
    LayerCase(PaddingLayer((2, 3), "circular"), (5, 2), (10, 2)),
    LayerCase(CroppingLayer(((1, 3), (0, 2))), IMAGE, (3, 2, 3)),
    LayerCase(CroppingLayer((2, 0)), (4, 2), (2, 2)),
    LayerCase(CroppingLayer((1, 2)), (8, 3), (5, 3)),
    LayerCase(Sequential(), (5,), (5,)),
    LayerCase(Sequential([ConvolutionLayer(2, 3, 3), BatchNorm(), Flatten()]), IMAGE, (24,), 60, 648),
    LayerCase(Residual(FullyConnectedLayer(5)), (5,), (5,), 30, 25),
    LayerCase(Residual([TanH(), Dropout(0.6)]), (), ()),
    LayerCase(
        Residual(
            [ConvolutionLayer(4, 3, 3, stride=2, zero_padding=1), BatchNorm()], ConvolutionLayer(4, 1, 1, stride=2)
        ),
        IMAGE,
        (4, 3, 3),
        136,
        1080,
    ),
    LayerCase(
        Branches(ConvolutionLayer(2, 1, 1), [MaxPoolLayer(3, 3, stride=1, zero_padding=1), Dropout(0.5)]),
        IMAGE,
        (5, 6, 5),
        8,
        180,
    ),
    LayerCase(Branches(FullyConnectedLayer(3), TanH(), merge="sum"), (3,), (3,), 12, 9),
    *(
        LayerCase(Branches(FullyConnectedLayer(3), TanH(), [], merge=merge), (3,), (3,), 12, 9)
        for merge in ("average", "multiply", "maximum", "minimum")
    ),
    LayerCase(Branches(ConvolutionLayer(3, 1, 1), TanH(), merge="subtract"), IMAGE, IMAGE, 12, 270),
    *(
        row
        for merge in ("dot", "cosine")
        for row in (
            LayerCase(Branches(FullyConnectedLayer(4), TanH(), merge=merge), (4,), (1,), 20, 16),
            LayerCase(Branches(ConvolutionLayer(3, 1, 1), TanH(), merge=merge), IMAGE, (1, 6, 5), 12, 270),
        )
    ),
    LayerCase(Branches([], FullyConnectedLayer(3)), (4,), (7,), 15, 12),
    LayerCase(Branches([]), IMAGE, IMAGE),
    LayerCase(Residual(Sequential([Residual(TanH(), shortcut=None), LayerNorm()])), IMAGE, IMAGE, 6),
]


class CostCase(NamedTuple):
    """A cost, and a function (rng, samples) -> (outputs, targets) that suit it."""

    cost: Cost
    draw: Callable[[np.random.Generator, int], tuple[Array, Array]]


def _shares(rng: np.random.Generator, samples: int) -> Array:
    raw = rng.uniform(0.1, 1, (samples, 4))
    return raw / raw.sum(axis=1, keepdims=True)


def _classes(rng: np.random.Generator, samples: int) -> tuple[Array, Array]:
    return _shares(rng, samples), rng.integers(0, 4, samples)


def _one_hot(rng: np.random.Generator, samples: int) -> tuple[Array, Array]:
    return _shares(rng, samples), np.eye(4)[rng.integers(0, 4, samples)]


def _yes_or_no(rng: np.random.Generator, samples: int) -> tuple[Array, Array]:
    return rng.uniform(0.05, 0.95, (samples, 3)), rng.integers(0, 2, (samples, 3)).astype(float)


def _values(rng: np.random.Generator, samples: int) -> tuple[Array, Array]:
    return rng.normal(size=(samples, 3)), 2 * rng.normal(size=(samples, 3))


def _signs(rng: np.random.Generator, samples: int) -> tuple[Array, Array]:
    return 2 * rng.normal(size=(samples, 3)), rng.integers(0, 2, (samples, 3)).astype(float)


def _class_maps(rng: np.random.Generator, samples: int) -> tuple[Array, Array]:
    y = rng.uniform(0.1, 1, (samples, 3, 2, 4))
    return y / y.sum(axis=-1, keepdims=True), rng.integers(0, 4, (samples, 3, 2))


def _holed(rng: np.random.Generator, samples: int) -> tuple[Array, Array]:
    """Return one output for each pixel, and yes, no or 255, which as many pixels of each sample have."""
    wanted = rng.permuted(np.tile([0, 1, 0, 1, 255, 255], (samples, 1)), axis=1).reshape(samples, 3, 2, 1)
    return rng.uniform(0.05, 0.95, wanted.shape), wanted


def _distributions(rng: np.random.Generator, samples: int) -> tuple[Array, Array]:
    return _shares(rng, samples), _shares(rng, samples)


def _scores(rng: np.random.Generator, samples: int) -> tuple[Array, Array]:
    return 2 * rng.normal(size=(samples, 4)), rng.integers(0, 4, samples)


def _counts(rng: np.random.Generator, samples: int) -> tuple[Array, Array]:
    return rng.uniform(0.5, 3, (samples, 3)), rng.poisson(2, (samples, 3)).astype(float)


def _single(rng: np.random.Generator, samples: int) -> tuple[Array, Array]:
    return rng.normal(size=(samples, 3)), rng.normal(size=(samples, 1))


def _with_variance(rng: np.random.Generator, samples: int) -> tuple[Array, Array]:
    return rng.uniform(0.5, 2, (samples, 6)), rng.normal(size=(samples, 3))


def _alignable(rng: np.random.Generator, samples: int) -> tuple[Array, Array]:
    """Outputs of five places and four classes, of which 0 is the blank: of each sample places that count and labels."""
    rows = [[5, 2, 1, 2, 0, 0, 0], [4, 2, 3, 3, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0], [5, 3, 2, 1, 1, 0, 0]]
    return rng.normal(size=(samples, 5, 4)), np.array(rows)[rng.integers(0, 4, samples)]


COSTS = [
    CostCase(CrossEntropy(), _classes),
    CostCase(CrossEntropy(label_smoothing=0.1), _one_hot),
    CostCase(CrossEntropy(class_weights=(1, 2, 0.5, 3)), _one_hot),
    CostCase(BinaryCrossEntropy(), _yes_or_no),
    CostCase(BinaryCrossEntropy(pos_weight=19), _yes_or_no),
    CostCase(BinaryCrossEntropy(pos_weight=(0.5, 1, 3)), _yes_or_no),
    CostCase(MeanSquared(), _values),
    CostCase(MeanAbsolute(), _values),
    CostCase(Huber(0.7), _values),
    CostCase(Hinge(), _signs),
    CostCase(WeightedMean(), _values),
    CostCase(CrossEntropy(0.1, (1, 2, 0.5, 3), ignore_label=255), _class_maps),
    CostCase(BinaryCrossEntropy(class_weights=((0.5, 1), (2, 1), (1, 3))), _yes_or_no),
    CostCase(Focal(), _classes),
    CostCase(Focal(0.5, (1, 2, 0.5, 3)), _class_maps),
    CostCase(BinaryFocal(class_weights=(0.75, 0.25)), _yes_or_no),
    CostCase(Dice(), _class_maps),
    CostCase(Dice(0.5, (0, 1, 2, 1), ignore_label=3), _class_maps),
    CostCase(Tversky(0.3, 0.8), _class_maps),
    CostCase(Tversky(0.6, 0.1, 0.5, (0, 1, 2, 1), ignore_label=3), _class_maps),
    CostCase(BinaryCrossEntropy(3, ignore_label=255), _holed),
    CostCase(BinaryFocal(class_weights=(0.75, 0.25), ignore_label=255), _holed),
    CostCase(Dice(ignore_label=255), _holed),
    CostCase(KullbackLeibler(), _distributions),
    CostCase(CosineDistance(), _values),
    CostCase(SquaredHinge(), _signs),
    CostCase(HingeEmbedding(1.5), _signs),
    CostCase(MultiLabelMargin(), _signs),
    CostCase(CategoricalHinge(), _scores),
    CostCase(MultiMargin(), _scores),
    CostCase(MultiMargin(0.0), _scores),
    CostCase(MultiMargin(0.5, 2, (1, 2, 0.5, 3)), _scores),
    CostCase(Poisson(), _counts),
    CostCase(Poisson(log_input=False, full=True), _counts),
    CostCase(Quantile(0.3), _values),
    CostCase(Quantile((0.1, 0.5, 0.9)), _single),
    CostCase(LogCosh(), _values),
    CostCase(MeanAbsolutePercentage(0.1), _values),
    CostCase(MeanSquaredLogarithmic(), _counts),
    CostCase(SmoothL1(0.7), _values),
    CostCase(GaussianNLL(), _with_variance),
    CostCase(CTC(), _alignable),
    CostCase(CTC(zero_infinity=True), _alignable),
    CostCase(CustomCost(log_cosh), _values),
    CostCase(CustomCost(lambda y, t: ((y - t) ** 4).sum(axis=1), lambda y, t: 4 * (y - t) ** 3), _values),
]


def public_kinds(base: type) -> set[type]:
    """Return the public classes of one kind."""
    return {kind for kind in PUBLIC.values() if issubclass(kind, base)}


def name_of(case: Any) -> str:
    """Name a row in the test's report."""
    return case.name if isinstance(case, LayerCase) else repr(case[0]).partition("(function")[0]


__all__ = [
    "COSTS",
    "FUNCTIONS",
    "LAYERS",
    "OPTIMIZERS",
    "PUBLIC",
    "RATE",
    "CostCase",
    "LayerCase",
    "OptimizerCase",
    "name_of",
    "public_kinds",
]
