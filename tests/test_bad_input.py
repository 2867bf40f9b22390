"""What a newcomer gets wrong: each mistake is answered by the library's own exception, in one sentence that helps,
before anything is trained, changed or written."""

import re
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from gedanken import (
    CELU,
    ELU,
    F1,
    GELU,
    GLU,
    GRU,
    LSTM,
    R2,
    SGD,
    Accuracy,
    Adam,
    AdamW,
    AdaptiveAveragePool1DLayer,
    AdaptiveAveragePoolLayer,
    AdaptiveMaxPool1DLayer,
    AdaptiveMaxPoolLayer,
    AlphaDropout,
    ArgumentError,
    ArrayGenerator,
    AveragePool1DLayer,
    AveragePoolLayer,
    BatchNorm,
    Bidirectional,
    Branches,
    Callback,
    CheckpointError,
    Constant,
    ConstantRate,
    Convolution1DLayer,
    ConvolutionLayer,
    CosineDecay,
    CroppingLayer,
    CrossEntropy,
    CustomCost,
    DataError,
    DatasetGenerator,
    Dropout,
    EarlyStopping,
    Embedding,
    EngineError,
    ExponentialDecay,
    Flatten,
    FullyConnectedLayer,
    GaussianNoise,
    GedankenError,
    GedankenWarning,
    GlobalAveragePoolLayer,
    GlobalLpPool1DLayer,
    GlobalLpPoolLayer,
    GlobalMaxPool1DLayer,
    GlobalMaxPoolLayer,
    GroupNorm,
    HardSigmoid,
    HardTanH,
    Heads,
    HeNormal,
    HingeEmbedding,
    Huber,
    Initializer,
    InstanceNorm,
    IterableGenerator,
    LayerNorm,
    LeakyReLU,
    Lion,
    LocalResponseNorm,
    LogSoftMax,
    LpPool1DLayer,
    LpPoolLayer,
    MaxPool1DLayer,
    MaxPoolLayer,
    MeanAbsolutePercentage,
    Metric,
    Momentum,
    MultiHeadAttention,
    Network,
    Numpy,
    OneCycle,
    OnPlateau,
    Orthogonal,
    PaddingLayer,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    PReLU,
    ReLU,
    Reshape,
    Residual,
    RMSNorm,
    RMSProp,
    Sequences,
    Sequential,
    ShapeError,
    Shrink,
    Sigmoid,
    SimpleRNN,
    SinePositions,
    SoftMax,
    Softplus,
    SpatialDropout,
    StateError,
    StepDecay,
    Threshold,
    TopKAccuracy,
    TransposedConvolutionLayer,
    TruncatedNormal,
    Tversky,
    UnitNorm,
    UpsamplingLayer,
    VarianceScaling,
    WarmUp,
)
from gedanken.costs import COSTS as NAMED_COSTS

RNG = np.random.default_rng(0)
X = RNG.standard_normal((9, 4)).astype(np.float32)
Y = np.arange(9) % 3
PICTURES = RNG.random((9, 1, 6, 6)).astype(np.float32)
TOKENS = np.arange(45).reshape(9, 5) % 7


ENDLESS: list[Any] = []
ENDLESS += [ENDLESS, ENDLESS]


def with_value(value: float) -> np.ndarray:
    changed = X.copy()
    changed[2, 1] = value
    return changed


class Sparse:
    """Looks like a sparse matrix of SciPy: it has a shape and an index, and its len() is an error."""

    shape, dtype, nnz = (1000, 4096), np.dtype("float64"), 3

    def tocsr(self) -> "Sparse":
        return self

    def __len__(self) -> int:
        raise TypeError("sparse array length is ambiguous")

    def __iter__(self) -> Any:
        return iter([self])

    def __getitem__(self, index: object) -> "Sparse":
        return self


class SparseKeys(Sparse, dict[Any, Any]):
    """As one that is a dictionary of keys."""


# ------------------------------------------------------------------ the networks that mistakes are made with


def bare() -> Network:
    return Network()


def classes() -> Network:
    return Network().input((4,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression()


def yes_or_no(outputs: int = 1) -> Network:
    net = Network().input((4,)).add(FullyConnectedLayer(outputs)).add(Sigmoid())
    return net.regression(cost="binary_cross_entropy")


def values(outputs: int = 1) -> Network:
    return Network().input((4,)).add(FullyConnectedLayer(outputs)).regression(cost="mean_squared")


def pictures() -> Network:
    net = Network().input((1, 6, 6)).add(ConvolutionLayer(2, 3, 3)).add(BatchNorm()).add(ReLU()).add(Flatten())
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression()


def tokens() -> Network:
    net = Network().input((5,)).add(Embedding(7, 2)).add(Flatten())
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression()


def uncompiled() -> Network:
    return Network().input((4,)).add(FullyConnectedLayer(3)).add(SoftMax())


def image(*layers: Any) -> Callable[[Network], Network]:
    """Return the mistake of stacking these layers on a picture."""
    return stacked((1, 6, 6), *layers)


def stacked(shape: tuple[int, ...], *layers: Any) -> Callable[[Network], Network]:
    def build(net: Network) -> Network:
        net.input(shape)
        for layer in layers:
            net.add(layer)
        return net

    return build


def fit(data: Any = X, labels: Any = Y, **options: Any) -> Callable[[Network], Any]:
    return lambda net: net.fit(data, labels, **{"progress": False, **options})


def regression(**options: Any) -> Callable[[Network], Any]:
    return lambda net: net.regression(**options)


class SaysYes(Callback):
    """Returns something that is no Stop."""

    def on_epoch(self, run: Any, record: Any) -> Any:
        return "enough"


# ------------------------------------------------------------------ the table

CONV, DENSE = "ConvolutionLayer(n_filter=2, width_filter=3, height_filter=3)", "FullyConnectedLayer(n_units=3)"
COMPILED = "needs a compiled network: call regression(optimizer, cost) before it"


class Mistake(NamedTuple):
    """One mistake.

    Args:
        name: of the test.
        net: what it is made with.
        make: how.
        error: what is raised.
        message: what it says; "..." stands for anything.
    """

    name: str
    net: Callable[[], Network]
    make: Callable[[Network], object]
    error: type[GedankenError]
    message: str


TABLE = "be a table (T, T) or (n_heads, T, T) of True and False, or of numbers (floats) of float32, or -inf"
SEEN = "let each place see one at least, True being what it sees"


def argument(name: str, make: Callable[[], object], message: str) -> Mistake:
    """Return the row of an object that cannot be made."""
    return Mistake(name, bare, lambda _: make(), ArgumentError, message)


LAYERS_DO_NOT_FIT = [
    Mistake(
        "flatten forgotten", bare, image(ConvolutionLayer(2, 3, 3), FullyConnectedLayer(3)), ShapeError,
        f"layer 1 {DENSE} needs a flat input (F,) or a sequence (T, F), "
        f"but layer 0 {CONV} gives (2, 4, 4); add Flatten() before it",
    ),
    Mistake(
        "flatten forgotten at the input", bare, image(FullyConnectedLayer(3)), ShapeError,
        f"layer 0 {DENSE} needs a flat input (F,) or a sequence (T, F), "
        "but the input gives (1, 6, 6); add Flatten() before it",
    ),
    Mistake(
        "input called last", lambda: Network().add(ConvolutionLayer(2, 3, 3)).add(FullyConnectedLayer(3)),
        lambda net: net.input((1, 6, 6)), ShapeError,
        f"layer 1 {DENSE} needs a flat input..., but layer 0 {CONV} gives (2, 4, 4); add Flatten() before it",
    ),
    Mistake(
        "convolution over time of a picture", bare, image(Convolution1DLayer(2, 3)), ShapeError,
        "layer 0 Convolution1DLayer(n_filter=2, width_filter=3) needs sequences (T, F), but the input gives (1, 6, 6); "
        "for a picture as a sequence of rows add Reshape((6, 6)) before it",
    ),
    Mistake(
        "channels that cannot be halved", bare, stacked((6, 5), GLU()), ShapeError,
        "layer 0 GLU() needs an even number of channels, not 5, but the input gives (6, 5)",
    ),
    Mistake(
        "heads do not divide", bare, stacked((6, 5), MultiHeadAttention(2)), ShapeError,
        "layer 0 MultiHeadAttention(n_heads=2) has n_heads=2, which must divide the 5 features, but the input gives "
        "(6, 5)",
    ),
    Mistake(
        "a mask of other places", bare, stacked((5, 2), MultiHeadAttention(1, attention_mask=np.eye(11) > 0)),
        ShapeError,
        "layer 0 MultiHeadAttention(n_heads=1, attention_mask=<11 x 11 truth values, crc32 ...>) has an "
        "attention_mask of 11 x 11 places, which must be 5 x 5, but the input gives (5, 2)",
    ),
    Mistake(
        "pooling over time of features", bare, stacked((6,), GlobalMaxPool1DLayer()), ShapeError,
        "layer 0 GlobalMaxPool1DLayer() needs sequences (T, F), but the input gives (6,); say input((T, F)) or add "
        "Reshape((T, F)) before it",
    ),
    Mistake(
        "window longer than the sequence", bare, stacked((6, 2), Convolution1DLayer(2, 4, dilation=3)), ShapeError,
        "layer 0 Convolution1DLayer(n_filter=2, width_filter=4, dilation=3) has a window of 10 places, longer than the "
        'padded sequence of 6, but the input gives (6, 2); use a smaller one, zero_padding="same", or fewer poolings '
        "before it",
    ),
    Mistake(
        "convolution after flatten", bare, image(Flatten(), ConvolutionLayer(2, 3, 3)), ShapeError,
        f"layer 1 {CONV} needs images (C, H, W), but layer 0 Flatten() gives (36,); it must come before layer 0 "
        "Flatten(), which gives no images",
    ),
    Mistake(
        "convolution after global pooling", bare, image(GlobalAveragePoolLayer(), ReLU(), MaxPoolLayer(2, 2)),
        ShapeError, "layer 2 MaxPoolLayer(...) needs images (C, H, W), but layer 1 ReLU() gives (1,); it must come "
        "before layer 0 GlobalAveragePoolLayer(), which gives no images",
    ),
    Mistake(  # there is no Flatten() to remove
        "pooling of embedded tokens", bare, stacked((5,), Embedding(7, 2), GlobalAveragePoolLayer()), ShapeError,
        "layer 1 GlobalAveragePoolLayer() needs images (C, H, W), but layer 0 Embedding(n_tokens=7, n_features=2) "
        "gives (5, 2); for 5 steps of 2 features add Reshape((1, 5, 2)) before it",
    ),
    Mistake(
        "pooling of embedded tokens in a chain", bare, stacked((5,), Embedding(7, 2), Sequential([MaxPoolLayer(2, 2)])),
        ShapeError, "...for 5 steps of 2 features add Reshape((1, 5, 2)) before it",
    ),
    Mistake(
        "convolution over a sequence", bare, stacked((100, 32), ConvolutionLayer(2, 3, 3)), ShapeError,
        f"layer 0 {CONV} needs images (C, H, W), but the input gives (100, 32); for grey images say "
        "input((1, 100, 32)); for 100 steps of 32 features add Reshape((1, 100, 32)) before it",
    ),
    Mistake(  # the fix is a channel axis; there is no Flatten() here
        "input without its channel axis", bare, stacked((6, 6), ConvolutionLayer(2, 3, 3)), ShapeError,
        f"layer 0 {CONV} needs images (C, H, W), but the input gives (6, 6); ...(1, 6, 6)...",
    ),
    Mistake(
        "channels-last input", bare, stacked((28, 28, 1), ConvolutionLayer(2, 3, 3)), ShapeError,
        f"layer 0 {CONV} has a window of 3 x 3, larger than the padded image of 28 x 1, "
        "but the input gives (28, 28, 1); ...channels first...",
    ),
    Mistake(
        "filter larger than the image", bare, image(ConvolutionLayer(2, 7, 7)), ShapeError,
        "layer 0 ConvolutionLayer(n_filter=2, width_filter=7, height_filter=7) has a window of 7 x 7, larger than the "
        'padded image of 6 x 6, but the input gives (1, 6, 6); use a smaller filter, zero_padding="same", or fewer '
        "pooling layers before it",
    ),
    Mistake(
        "one pooling too many", bare, image(*[MaxPoolLayer(2, 2)] * 3), ShapeError,
        "layer 2 MaxPoolLayer(width_filter=2, height_filter=2) has a window of 2 x 2, larger than the padded image of "
        "1 x 1, but layer 1 MaxPoolLayer(width_filter=2, height_filter=2) gives (1, 1, 1); ...fewer pooling layers...",
    ),
    Mistake(
        "global pooling of features", bare, stacked((4,), GlobalAveragePoolLayer()), ShapeError,
        "layer 0 GlobalAveragePoolLayer() needs images (C, H, W), but the input gives (4,); say input((C, H, W)) or "
        "add Reshape((C, H, W)) before it",
    ),
    Mistake(
        "reflection of more than there is", bare,
        image(ConvolutionLayer(2, 3, 3, zero_padding=6, padding_mode="reflect")), ShapeError,
        "layer 0 ConvolutionLayer(...) has 6 pixels of reflect padding, which must be less than the 6 pixels of the "
        "image along this axis, but the input gives (1, 6, 6)",
    ),
    Mistake(
        "more than once around", bare, image(PaddingLayer((0, 7), "circular")), ShapeError,
        "layer 0 PaddingLayer(...) has 7 pixels of circular padding, which must be at most the 6 pixels of the image "
        "along this axis, but the input gives (1, 6, 6)",
    ),
    Mistake(
        "padding of a picture for a sequence", bare, stacked((4, 3), PaddingLayer(((1, 0), (0, 0)))), ShapeError,
        "layer 0 PaddingLayer(...) has padding=((1, 0), (0, 0)) for a picture; of a sequence (T, F) say a number or "
        "(before, after), but the input gives (4, 3)",
    ),
    Mistake(
        "padding of features", bare, stacked((4,), PaddingLayer(1)), ShapeError,
        "layer 0 PaddingLayer(padding=1) needs images (C, H, W) or sequences (T, F), but the input gives (4,)",
    ),
    Mistake(
        "all cropped away", bare, image(CroppingLayer(((2, 4), (1, 0)))), ShapeError,
        "layer 0 CroppingLayer(...) leaves 0x5 of 6x6, which must be at least 1 along each axis, but the input gives "
        "(1, 6, 6)",
    ),
    Mistake(
        "a window that sees nothing", bare, image(MaxPoolLayer(2, 2, 1, zero_padding=5, dilation=7)), ShapeError,
        "layer 0 MaxPoolLayer(...) has a dilation of 7, with which some window sees no pixel of the image of 6 x 6, "
        "but the input gives (1, 6, 6); use a smaller dilation or less zero_padding",
    ),
    Mistake(
        "a result that no memory holds", bare, image(AdaptiveMaxPoolLayer(2**20)), ShapeError,
        "layer 0 AdaptiveMaxPoolLayer(size=1048576) makes an image of 1048576 x 1048576, which with its 1 channels "
        "must be of at most 2147483648 values, but the input gives (1, 6, 6)",
    ),
    Mistake(
        "a frame that no memory holds", bare, image(PaddingLayer(2**20)), ShapeError,
        "layer 0 PaddingLayer(padding=1048576) makes 2097158 x 2097158 pixels, which with their 1 channels must be at "
        "most 2147483648 values, but the input gives (1, 6, 6)",
    ),
    Mistake(
        "pooling of features to a size", bare, stacked((4,), AdaptiveAveragePoolLayer(2)), ShapeError,
        "layer 0 AdaptiveAveragePoolLayer(size=2) needs images (C, H, W), but the input gives (4,); ...",
    ),
    Mistake(
        "the largest of features", bare, stacked((4,), GlobalMaxPoolLayer()), ShapeError,
        "layer 0 GlobalMaxPoolLayer() needs images (C, H, W), but the input gives (4,); ...",
    ),
    Mistake(
        "channels of a number", bare, stacked((), LocalResponseNorm(3)), ShapeError,
        "layer 0 LocalResponseNorm(size=3) needs channels (..., C), but the input gives ()",
    ),
    Mistake(
        "reshape to another count", bare, image(Reshape((5, 7))), ShapeError,
        "layer 0 Reshape(shape=(5, 7)) needs 35 values for the shape (5, 7), not 36, but the input gives (1, 6, 6)",
    ),
    Mistake(
        "groups do not divide the channels", bare, stacked((3, 6, 6), ConvolutionLayer(4, 3, 3, groups=2)), ShapeError,
        "layer 0 ConvolutionLayer(...groups=2) has groups=2, which must divide the 3 channels and the 4 filters, "
        "but the input gives (3, 6, 6)",
    ),
    Mistake(
        "groups do not divide the filters", bare, stacked((2, 6, 6), ConvolutionLayer(3, 3, 3, groups=2)), ShapeError,
        "layer 0 ConvolutionLayer(...groups=2) has groups=2, which must divide the 2 channels and the 3 filters...",
    ),
    Mistake(
        "groups do not divide what is transposed", bare,
        stacked((3, 6, 6), TransposedConvolutionLayer(4, 3, 3, groups=2)), ShapeError,
        "layer 0 TransposedConvolutionLayer(...) has groups=2, which must divide the 3 channels and the 4 filters...",
    ),
    Mistake(
        "nothing is left of a picture", bare, stacked((1, 1, 3), TransposedConvolutionLayer(4, 3, 3, zero_padding=2)),
        ShapeError,
        "layer 0 TransposedConvolutionLayer(...) makes a picture of -1 x 1, but the input gives (1, 1, 3); "
        "use a smaller zero_padding",
    ),
    Mistake(
        "upsampling of features", bare, stacked((4,), UpsamplingLayer(2)), ShapeError,
        "layer 0 UpsamplingLayer(factor=2) needs images (C, H, W), but the input gives (4,); say input((C, H, W))...",
    ),
    Mistake(
        "upsampling without end", bare, image(UpsamplingLayer(2**30)), ShapeError,
        "layer 0 UpsamplingLayer(factor=1073741824) makes a picture of 6442450944 x 6442450944, which with its 1 "
        "channels must be of at most 2147483648 values, but the input gives (1, 6, 6)",
    ),
    Mistake(
        "channels that cannot be shuffled", bare, stacked((6, 2, 2), PixelShuffle(2)), ShapeError,
        "layer 0 PixelShuffle(factor=2) needs channels in multiples of 4, the square of its factor, but the input "
        "gives (6, 2, 2)",
    ),
    Mistake(
        "pixels that cannot be gathered", bare, stacked((2, 6, 5), PixelUnshuffle(3)), ShapeError,
        "layer 0 PixelUnshuffle(factor=3) needs a height and width in multiples of 3, its factor, but the input "
        "gives (2, 6, 5)",
    ),
    Mistake(
        "a cosine of other vectors", bare, stacked((3, 4), Branches(Flatten(), [], merge="cosine")), ShapeError,
        "layer 0 Branches(...) merges [(12,), (3, 4)], which must be equal and have channels, but the...",
    ),
    Mistake(
        "an axis that a SoftMax lacks", bare, stacked((4, 3), SoftMax(axes=(1, 3))), ShapeError,
        "layer 0 SoftMax(axes=(1, 3)) works over axis 3 of samples that have 2, but the input gives (4, 3)",
    ),
    Mistake(
        "an odd number to halve", bare, stacked((4, 3), GLU(axes=2)), ShapeError,
        "layer 0 GLU(axes=2) needs an even number along axis 2, not 3, but the input gives (4, 3)",
    ),
    Mistake(
        "an axis that features lack", bare, stacked((4, 3), LayerNorm(axes=3)), ShapeError,
        "layer 0 LayerNorm(axes=3) works over axis 3 of samples that have 2, but the input gives (4, 3)",
    ),
    Mistake(
        "axes of a picture", bare, image(Permute((2, 1))), ShapeError,
        "layer 0 Permute(axes=(2, 1)) needs samples with 2 axes, as many as it orders, but the input gives (1, 6, 6)",
    ),
    Mistake(
        "a picture to read", bare, image(GRU(2)), ShapeError,
        "layer 0 GRU(n_units=2) needs sequences (T, F), but the input gives (1, 6, 6); for a picture as a sequence of "
        "rows add Reshape((6, 6)) before it",
    ),
    Mistake(
        "windows beside the sequence", bare, stacked((2, 3), AveragePool1DLayer(2, 1, 2, 3)), ShapeError,
        "layer 0 AveragePool1DLayer(...) has a dilation of 3, with which some window sees none of the 2 places, but "
        "the input gives (2, 3); use a smaller dilation or less zero_padding",
    ),
    Mistake(
        "a sequence beside windows", bare,
        lambda net: stacked((9, 3), MaxPool1DLayer(2, 1, 2, 3))(net).regression(cost="mean_squared").predict(
            Sequences(np.ones((2, 9, 3)), [9, 2])
        ),
        DataError, "data: sequence 1 has 2 places, too few for layer 0 MaxPool1DLayer(...)",
    ),
    Mistake(
        "a sequence too short to be reflected", bare,
        lambda net: stacked((9, 3), PaddingLayer((0, 2), "reflect"))(net).regression(cost="mean_squared").predict(
            Sequences(np.ones((2, 9, 3)), [3, 2])
        ),
        DataError, "data: sequence 1 has 2 places, too few for layer 0 PaddingLayer(...)",
    ),
    Mistake(
        "a size of a picture", bare, stacked((3, 6, 6), AdaptiveMaxPool1DLayer(2)), ShapeError,
        "layer 0 AdaptiveMaxPool1DLayer(size=2) needs sequences (T, F)...",
    ),
    Mistake(
        "places that no memory holds", bare, stacked((4, 3), AdaptiveMaxPool1DLayer(2**30)), ShapeError,
        "layer 0 AdaptiveMaxPool1DLayer(size=1073741824) makes 1073741824 places, which with their 3 features must be "
        "of at most 2147483648 values...",
    ),
    Mistake(
        "a sequence cropped away", bare,
        lambda net: stacked((9, 3), CroppingLayer((1, 2)))(net).regression(cost="mean_squared").predict(
            Sequences(np.ones((2, 9, 3)), [4, 3])
        ),
        DataError, "data: sequence 1 has 3 places, too few for layer 0 CroppingLayer(...)",
    ),
    Mistake(
        "a last state to read", bare, stacked((6, 3), LSTM(2, last=True), LSTM(2)), ShapeError,
        "layer 1 LSTM(n_units=2) needs sequences (T, F), but layer 0 LSTM(n_units=2, last=True) gives (2,); "
        "leave out last=True of layer 0, which gives its last state only",
    ),
    Mistake(
        "norm groups do not divide", bare, stacked((3, 6, 6), GroupNorm(2)), ShapeError,
        "layer 0 GroupNorm(n_groups=2) has n_groups=2, which must divide the 3 channels, but the input gives (3, 6, 6)",
    ),
    Mistake(
        "whole channels of features", bare, stacked((4,), SpatialDropout(0.5)), ShapeError,
        "layer 0 SpatialDropout(keep=0.5) needs a sequence (T, F) or an image (C, H, W), but the input gives (4,); "
        "use Dropout for features",
    ),
    Mistake(
        "a norm over pixels of features", bare, stacked((4,), InstanceNorm()), ShapeError,
        "layer 0 InstanceNorm() needs a sequence (T, F) or an image (C, H, W), but the input gives (4,); "
        "use LayerNorm for features",
    ),
    Mistake(
        "slopes of no channel", bare, stacked((), PReLU()), ShapeError,
        "layer 0 PReLU() needs a channel axis: (F,), (T, F) or (C, H, W), but the input gives ()",
    ),
    Mistake(
        "residual shapes differ", bare, stacked((4,), Residual(FullyConnectedLayer(3))), ShapeError,
        f"layer 0 Residual(layers=({DENSE},)) adds (3,) from its layers and (4,) from its shortcut, not the same, but "
        "the input gives (4,); give shortcut= a layer that makes the same shape, such as a 1x1 convolution",
    ),
    Mistake(
        "a layer inside a residual", bare, image(Residual([ConvolutionLayer(2, 3, 3), FullyConnectedLayer(3)])),
        ShapeError, f"layer 0.layers.1 {DENSE} needs a flat input..., but layer 0.layers.0 {CONV} gives (2, 4, 4)"
        "; add Flatten() before it",
    ),
    Mistake(
        "branches cannot concatenate", bare, image(Branches(ConvolutionLayer(2, 3, 3), ReLU())), ShapeError,
        "layer 0 Branches(...) merges [(2, 4, 4), (1, 6, 6)], which must differ in their channels only, "
        "but the input gives (1, 6, 6); where pictures are halved and doubled again, height and width must be even",
    ),
    Mistake(
        "branches cannot add", bare, stacked((4,), Branches(FullyConnectedLayer(3), ReLU(), merge="sum")), ShapeError,
        "layer 0 Branches(...) merges [(3,), (4,)], which must be equal, but the input gives (4,)",
    ),
    Mistake(
        "embedding not first", bare, stacked((5,), ReLU(), Embedding(7, 2)), ShapeError,
        "layer 1 Embedding(n_tokens=7, n_features=2) takes whole numbers; it can only be the first layer",
    ),
    Mistake(
        "embedding not first, hidden in a chain", bare,
        lambda net: net.input((5,)).add(ReLU()).add(Sequential([Embedding(7, 2)])), GedankenError,
        "layer 1.0 Embedding(n_tokens=7, n_features=2) takes whole numbers; it can only be the first layer",
    ),
    Mistake(
        "embedding of pictures", bare, image(Embedding(7, 2)), ShapeError,
        "layer 0 Embedding(n_tokens=7, n_features=2) needs whole numbers (T,) or (), but the input gives (1, 6, 6)",
    ),
]  # fmt: skip

NO_LAYER = [
    Mistake(
        "a class", bare, lambda net: net.add(ReLU), ArgumentError, "layer must be an object: ReLU(), got <class ...>"
    ),
    Mistake(
        "a name", bare, lambda net: net.add("relu"), ArgumentError,
        "layer must be a Layer object such as ReLU(), got 'relu'",
    ),
    Mistake(
        "several layers", bare, lambda net: net.add([ReLU(), ReLU()]), ArgumentError,
        "layer must be a Layer object such as ReLU(), got [ReLU(), ReLU()]",
    ),
    Mistake(
        "an optimizer", bare, lambda net: net.add(Adam()), ArgumentError,
        "layer must be a Layer object such as ReLU(), got Adam()",
    ),
    argument(
        "a class in a residual", lambda: Residual(ReLU),
        "Residual layers must be a layer or a sequence of layers, got <class ...ReLU'>",
    ),
    argument(
        "a class in a chain", lambda: Sequential([Flatten(), ReLU]),
        "Sequential layers must be a layer or a sequence of layers, got [Flatten(), <class ...ReLU'>]",
    ),
    argument("no branch", Branches, "Branches must have at least one branch, got ()"),
]  # fmt: skip

OUT_OF_ORDER = [
    Mistake(
        "regression before input", lambda: Network().add(ReLU()), regression(), StateError,
        "regression needs to know the input: call input((C, H, W)) or input((F,)) before it",
    ),
    Mistake(
        "regression without layers", lambda: Network().input((4,)), regression(), StateError,
        "regression needs at least one layer: call add(...) before it",
    ),
    Mistake("fit before regression", uncompiled, fit(), StateError, f"fit {COMPILED}"),
    Mistake(
        "evaluate before regression", uncompiled, lambda net: net.evaluate(X, Y), StateError, f"evaluate {COMPILED}"
    ),
    Mistake("check before regression", uncompiled, lambda net: net.check(X, Y), StateError, f"check {COMPILED}"),
    Mistake(
        "check with a mini-batch of nothing", classes, lambda net: net.check(X, Y, mini_batch_size=0), ArgumentError,
        "mini_batch_size must be a whole number of at least 1, got 0",
    ),
    Mistake(
        "check of too few labels", classes, lambda net: net.check(X, Y[:-1]), DataError,
        f"labels must have one entry for each sample of data, got {len(Y) - 1} for {len(X)}",
    ),
    Mistake(
        "check of data that are not finite", classes, lambda net: net.check(X * np.nan, Y), DataError,
        "data must be finite, got nan at index (0, 0)",
    ),
    Mistake("predict before regression", uncompiled, lambda net: net.predict(X), StateError, f"predict {COMPILED}"),
    Mistake(
        "feedforward before regression", uncompiled, lambda net: net.feedforward(X), StateError,
        f"feedforward {COMPILED}",
    ),
    Mistake(
        "summary of nothing", lambda: bare().input((4,)), lambda net: net.summary(), StateError,
        "summary needs at least one layer: call add(...) before it",
    ),
    Mistake(
        "save before regression", uncompiled, lambda net: net.save("never_written"), StateError, f"save {COMPILED}"
    ),
    Mistake(
        "add after regression", classes, lambda net: net.add(ReLU()), StateError,
        "add must come before regression; the network is compiled",
    ),
    Mistake(
        "input after regression", classes, lambda net: net.input((4,)), StateError,
        "input must come before regression; the network is compiled",
    ),
]  # fmt: skip

INPUT_AND_SEED = [
    Mistake(
        "input of a number", bare, lambda net: net.input(28), ArgumentError,
        "input shape must be a tuple such as (1, 28, 28), got 28",
    ),
    Mistake(
        "input with None", bare, lambda net: net.input((None, 4)), ArgumentError,
        "input shape must be a whole number of at least 1, got None",
    ),
    Mistake(
        "input of zero", bare, lambda net: net.input((0,)), ArgumentError,
        "input shape must be a whole number of at least 1, got 0",
    ),
    Mistake(
        "input with the axis of samples", bare, lambda net: net.input((60000, 1, 28, 28)), ArgumentError,
        "input shape must have at most three axes, without that of the samples, got (60000, 1, 28, 28)",
    ),
    argument("negative seed", lambda: Network(-1), "Network seed must be a whole number of at least 0, got -1"),
    argument("seed of a fraction", lambda: Network(1.5), "Network seed must be a whole number of at least 0, got 1.5"),
    argument("enormous seed", lambda: Network(2**64), f"Network seed must be below 2**64, got {2**64}"),
    Mistake(
        "enormous input", bare, lambda net: net.input((2**31,)), ArgumentError,
        f"input shape must be below 2**31, got {2**31}",
    ),
]  # fmt: skip


def vast() -> Network:
    """Return a network whose parameters no memory holds, though each size of it is one of the machine."""
    return Network().input((2**17,)).add(FullyConnectedLayer(2**31 - 1, bias=False))


COSTS = ", ".join(sorted(NAMED_COSTS))
OF_HEADS = (
    "class_names must be None where the network ends in Heads, each with classes of its own; name those that predict "
    "gives"
)


def heads() -> Network:
    return Network().input((4,)).add(Heads(a=[FullyConnectedLayer(3), SoftMax()]))


def named_before() -> Network:
    net = Network().input((4,))
    net.class_names = ("a", "b")
    return net.add(Heads(a=[FullyConnectedLayer(3), SoftMax()]))


COMPILE = [
    Mistake(
        "class names of heads", heads, lambda net: setattr(net, "class_names", ("a", "b")), ArgumentError,
        f"{OF_HEADS}, got ('a', 'b')",
    ),
    Mistake(
        "class names before heads", named_before, regression(cost={"a": "cross_entropy"}), ArgumentError,
        f"{OF_HEADS}, got ('a', 'b')",
    ),
    Mistake(
        "SoftMax forgotten", lambda: Network().input((4,)).add(FullyConnectedLayer(3)), regression(), ArgumentError,
        f"cost cross_entropy needs probabilities, but the last layer is {DENSE}; add SoftMax()",
    ),
    Mistake(
        "probabilities for hinge", lambda: Network().input((4,)).add(FullyConnectedLayer(3)).add(SoftMax()),
        regression(cost="hinge"), ArgumentError,
        "cost hinge needs scores of any size, but the last layer is SoftMax(); leave it out",
    ),
    Mistake(
        "Sigmoid forgotten", lambda: Network().input((4,)).add(FullyConnectedLayer(3)),
        regression(cost="binary_cross_entropy"), ArgumentError,
        f"cost binary_cross_entropy needs probabilities, but the last layer is {DENSE}; add Sigmoid()",
    ),
    Mistake(
        "Sigmoid forgotten behind pictures",
        lambda: Network().input((1, 2, 2)).add(TransposedConvolutionLayer(1, 2, 2)),
        regression(cost="binary_cross_entropy"), ArgumentError,
        "cost binary_cross_entropy needs probabilities, but the last layer is TransposedConvolutionLayer(...); add...",
    ),
    *[
        Mistake(
            f"parameters beyond memory {name}", vast, make, ShapeError,
            "the layers must fit into memory, got 281,474,976,579,584 parameters of float32",
        )
        for name, make in [
            ("in regression", regression(cost="mean_squared")), ("in summary", lambda net: net.summary()),
        ]
    ],
    Mistake(
        "one class", lambda: Network().input((4,)).add(FullyConnectedLayer(1)).add(SoftMax()), regression(), ShapeError,
        "cross_entropy needs an output (C,), (T, C) or (C, H, W) of at least 2 classes C, got (1,); end with ...",
    ),
    Mistake(
        "picture as classes",
        lambda: Network().input((1, 6, 6)).add(ConvolutionLayer(2, 3, 3)).add(SoftMax()).regression(),
        fit(np.ones((9, 1, 6, 6)), Y), DataError,
        "labels must be class numbers (N, 4, 4) or one-hot maps (N, 2, 4, 4), got shape (9,); "
        "for one class of each sample put Flatten(), FullyConnectedLayer(2) before the SoftMax",
    ),
    Mistake(
        "sequences as classes", lambda: Network().input((5, 2)).add(LSTM(3)).add(SoftMax()).regression(),
        fit(np.ones((9, 5, 2)), Y), DataError,
        "labels must be class numbers (N, 5) or one-hot maps (N, 5, 3), got shape (9,); for one class of each sample "
        "end the sequences before the last dense layer, by last=True of a recurrent layer, or "
        "GlobalAveragePool1DLayer()",
    ),
    Mistake(
        "one class of pixels", lambda: Network().input((1, 4, 4)).add(ConvolutionLayer(1, 1, 1)).add(SoftMax()),
        regression(), ShapeError,
        "cross_entropy needs an output ... got (1, 4, 4); for a class of each pixel end with "
        "ConvolutionLayer(number of classes, 1, 1), for one of each picture with Flatten(), "
        "FullyConnectedLayer(number of classes), SoftMax()",
    ),
    Mistake(
        "misspelt cost", uncompiled, regression(cost="crossentropy"), ArgumentError,
        f"cost must be one of {COSTS}, got 'crossentropy'; did you mean 'cross_entropy'?",
    ),
    Mistake(
        "function as cost", uncompiled, regression(cost=len), ArgumentError,
        "cost must be a name or a Cost, got <built-in function len>; wrap your own functions in CustomCost",
    ),
    Mistake(
        "wrong number of class weights", uncompiled, regression(cost=CrossEntropy(class_weights=[1, 2])), ShapeError,
        "...class_weights has 2 values for 3 classes",
    ),
    argument(
        "class weights of a number", lambda: CrossEntropy(class_weights=5),
        "CrossEntropy class_weights must be a ..., got 5",
    ),
    argument(
        "class weights of zero", lambda: CrossEntropy(class_weights=[0, 0]),
        "CrossEntropy class_weights must not all be zero, got (0.0, 0.0)",
    ),
    argument("user cost of numbers", lambda: CustomCost(3, 4), "CustomCost function must be callable, got 3"),
    Mistake(
        "misspelt optimizer", uncompiled, regression(optimizer="Adm"), ArgumentError,
        "optimizer must be one of adadelta, adafactor, ..., got 'Adm'; did you mean 'adam'?",
    ),
    Mistake(
        "number as optimizer", uncompiled, regression(optimizer=0.1), ArgumentError,
        "optimizer must be an Optimizer object or its name, such as Adam(), got 0.1",
    ),
    Mistake(
        "optimizer class", uncompiled, regression(optimizer=SGD), ArgumentError,
        "optimizer must be an ...SGD(), got <class ...SGD'>",
    ),
    Mistake(
        "misspelt metric", uncompiled, regression(metrics=["acuracy"]), ArgumentError,
        "metrics must be one of accuracy, ..., got 'acuracy'; did you mean 'accuracy'?",
    ),
    Mistake(
        "metric class", uncompiled, regression(metrics=[Accuracy]), ArgumentError,
        "metrics must be Metric objects or their names, such as Accuracy(), got <class ...Accuracy'>",
    ),
    Mistake(
        "metrics in one string", uncompiled, regression(metrics="accuracy"), ArgumentError,
        "metrics must be a list of Metric objects such as [Accuracy()], got 'accuracy'",
    ),
    Mistake(
        "metrics without brackets", uncompiled, regression(metrics=Accuracy()), ArgumentError,
        "metrics must be a list of Metric objects such as [Accuracy()], got Accuracy(...)",
    ),
    Mistake(
        "misspelt engine", uncompiled, regression(engine="nupmy"), ArgumentError,
        "engine must be one of ...numpy..., got 'nupmy'; did you mean 'numpy'?",
    ),
    Mistake(
        "unknown dtype", uncompiled, regression(dtype="float16"), ArgumentError,
        "dtype must be one of float32, float64, got 'float16'...",
    ),
    argument(
        "initializer by name", lambda: FullyConnectedLayer(3, init="he"),
        "FullyConnectedLayer init must be an Initializer... such as HeNormal(), got 'he'",
    ),
    argument(
        "initializer class", lambda: ConvolutionLayer(2, 3, 3, init=HeNormal),
        "ConvolutionLayer init must be an Initializer... such as HeNormal(), got <class ...HeNormal'>",
    ),
]  # fmt: skip

RANGES = [
    argument(name, make, f"{name} must be {rule}, got {value!r}")
    for name, make, rule, value in [
        ("ConvolutionLayer n_filter", lambda: ConvolutionLayer(0, 3, 3), "a whole number of at least 1", 0),
        ("ConvolutionLayer width_filter", lambda: ConvolutionLayer(1, 0, 3), "a whole number of at least 1", 0),
        ("ConvolutionLayer height_filter", lambda: ConvolutionLayer(1, 3, 2.5), "a whole number of at least 1", 2.5),
        ("ConvolutionLayer stride", lambda: ConvolutionLayer(1, 3, 3, 0), "a whole number of at least 1", 0),
        (
            "ConvolutionLayer stride",
            lambda: ConvolutionLayer(1, 3, 3, (1, 1, 1)),
            "a number or a pair (height, width)",
            (1, 1, 1),
        ),
        (
            "ConvolutionLayer zero_padding",
            lambda: ConvolutionLayer(1, 3, 3, 1, -1),
            "a whole number of at least 0",
            -1,
        ),
        (
            "ConvolutionLayer zero_padding",
            lambda: ConvolutionLayer(1, 3, 3, zero_padding="sane"),
            'a number, a pair (height, width), ((top, bottom), (left, right)) or "same"',
            "sane",
        ),
        ("ConvolutionLayer dilation", lambda: ConvolutionLayer(1, 3, 3, dilation=0), "a whole number of at least 1", 0),
        ("ConvolutionLayer groups", lambda: ConvolutionLayer(1, 3, 3, groups=0), "a whole number of at least 1", 0),
        (
            "TransposedConvolutionLayer output_padding",
            lambda: TransposedConvolutionLayer(1, 3, 3, 2, 1, output_padding=(0, 3)),
            "less than stride + zero_padding",
            (0, 3),
        ),
        (
            "TransposedConvolutionLayer output_padding",
            lambda: TransposedConvolutionLayer(1, 3, 3, 2, "same", output_padding=1),
            '0 with zero_padding="same"',
            1,
        ),
        (
            "TransposedConvolutionLayer n_filter",
            lambda: TransposedConvolutionLayer(0, 3, 3),
            "a whole number of at least 1",
            0,
        ),
        ("UpsamplingLayer factor", lambda: UpsamplingLayer(1.5), "a whole number of at least 1", 1.5),
        ("UpsamplingLayer mode", lambda: UpsamplingLayer(2, "area"), "one of bicubic, bilinear, nearest", "area"),
        (
            "UpsamplingLayer align_corners",
            lambda: UpsamplingLayer(2, align_corners=True),
            'False with mode="nearest"',
            True,
        ),
        (
            "UpsamplingLayer factor or size",
            lambda: UpsamplingLayer(2, size=5),
            "given, one of them",
            {"factor": 2, "size": 5},
        ),
        ("LSTM projection", lambda: LSTM(4, projection=0), "a whole number of at least 1", 0),
        ("PixelShuffle factor", lambda: PixelShuffle(0), "a whole number of at least 1", 0),
        ("PixelUnshuffle factor", lambda: PixelUnshuffle(2.0), "a whole number of at least 1", 2.0),
        ("Permute axes", lambda: Permute((0, 1)), "a whole number of at least 1", 0),
        (
            "Permute axes",
            lambda: Permute((1, 3)),
            "a tuple with each of 1, 2, ... once, such as (2, 1)",
            (1, 3),
        ),
        ("MaxPoolLayer width_filter", lambda: MaxPoolLayer(0, 2), "a whole number of at least 1", 0),
        ("MaxPoolLayer stride", lambda: MaxPoolLayer(2, 2, 0), "a whole number of at least 1", 0),
        (
            "MaxPoolLayer zero_padding",
            lambda: MaxPoolLayer(2, 2, zero_padding=2),
            "smaller than the window (2, 2)",
            2,
        ),
        (
            "AveragePoolLayer zero_padding",
            lambda: AveragePoolLayer(2, 2, zero_padding="sane"),
            'a number, a pair (height, width), ((top, bottom), (left, right)) or "same"',
            "sane",
        ),
        (
            "ConvolutionLayer zero_padding",
            lambda: ConvolutionLayer(1, 3, 3, zero_padding=((1, 2), (3, -4))),
            "a whole number of at least 0",
            -4,
        ),
        (
            "ConvolutionLayer padding_mode",
            lambda: ConvolutionLayer(1, 3, 3, padding_mode="mirror"),
            "one of circular, reflect, replicate, zeros",
            "mirror",
        ),
        (
            "MaxPoolLayer zero_padding",
            lambda: MaxPoolLayer(2, 3, zero_padding=((0, 0), (0, 2))),
            "smaller than the window (3, 2)",
            ((0, 0), (0, 2)),
        ),
        ("MaxPoolLayer dilation", lambda: MaxPoolLayer(2, 2, dilation=0), "a whole number of at least 1", 0),
        ("MaxPoolLayer ceil_mode", lambda: MaxPoolLayer(2, 2, ceil_mode=1), "True or False", 1),
        ("LpPoolLayer power", lambda: LpPoolLayer(2, 2, power=0.5), "a number in [1, inf)", 0.5),
        ("LpPool1DLayer power", lambda: LpPool1DLayer(2, power=float("inf")), "a number in [1, inf)", float("inf")),
        ("GlobalLpPoolLayer power", lambda: GlobalLpPoolLayer(0), "a number in [1, inf)", 0),
        ("GlobalLpPool1DLayer power", lambda: GlobalLpPool1DLayer(-2), "a number in [1, inf)", -2),
        ("AveragePoolLayer divisor", lambda: AveragePoolLayer(2, 2, divisor=0), "a whole number of at least 1", 0),
        ("BatchNorm biased", lambda: BatchNorm(biased=1), "True or False", 1),
        ("AveragePoolLayer count_padding", lambda: AveragePoolLayer(2, 2, count_padding="no"), "True or False", "no"),
        ("AdaptiveAveragePool1DLayer size", lambda: AdaptiveAveragePool1DLayer(0), "a whole number of at least 1", 0),
        ("AdaptiveMaxPoolLayer size", lambda: AdaptiveMaxPoolLayer(0), "a whole number of at least 1", 0),
        (
            "AdaptiveAveragePoolLayer size",
            lambda: AdaptiveAveragePoolLayer((1, 2, 3)),
            "a number or a pair (height, width)",
            (1, 2, 3),
        ),
        (
            "PaddingLayer padding",
            lambda: PaddingLayer((1, 2, 3)),
            "a number, a pair (height, width) or ((top, bottom), (left, right))",
            (1, 2, 3),
        ),
        (
            "PaddingLayer mode",
            lambda: PaddingLayer(1, "mirror"),
            "one of circular, constant, reflect, replicate, zeros",
            "mirror",
        ),
        (
            "PaddingLayer value",
            lambda: PaddingLayer(1, "reflect", 2.0),
            'left out unless mode="constant" (mode is "reflect")',
            2.0,
        ),
        ("CroppingLayer cropping", lambda: CroppingLayer((1, (2, -3))), "a whole number of at least 0", -3),
        ("LocalResponseNorm size", lambda: LocalResponseNorm(0), "a whole number of at least 1", 0),
        ("LocalResponseNorm alpha", lambda: LocalResponseNorm(5, alpha=-1), "a number in [0, inf)", -1),
        ("LocalResponseNorm k", lambda: LocalResponseNorm(5, k=0), "a number in (0, inf)", 0),
        ("FullyConnectedLayer n_units", lambda: FullyConnectedLayer(0), "a whole number of at least 1", 0),
        ("FullyConnectedLayer bias", lambda: FullyConnectedLayer(8, "relu"), "True or False", "relu"),
        ("ConvolutionLayer bias", lambda: ConvolutionLayer(1, 3, 3, bias=1), "True or False", 1),
        ("FullyConnectedLayer n_units", lambda: FullyConnectedLayer("8"), "a whole number of at least 1", "8"),
        *[
            (f"{kind.__name__} {name}", lambda kind=kind, n=n: kind(*n), "below 2**31", 2**70)
            for kind in (MaxPoolLayer, AveragePoolLayer)
            for name, n in [("width_filter", (2**70, 1)), ("height_filter", (1, 2**70)), ("stride", (1, 1, 2**70))]
        ],
        ("ConvolutionLayer stride", lambda: ConvolutionLayer(1, 3, 3, (1, 2**63)), "below 2**31", 2**63),
        ("ConvolutionLayer dilation", lambda: ConvolutionLayer(1, 3, 3, dilation=2**31), "below 2**31", 2**31),
        ("Convolution1DLayer n_filter", lambda: Convolution1DLayer(0, 3), "a whole number of at least 1", 0),
        ("Convolution1DLayer width_filter", lambda: Convolution1DLayer(2, 0), "a whole number of at least 1", 0),
        ("Convolution1DLayer stride", lambda: Convolution1DLayer(2, 3, 0), "a whole number of at least 1", 0),
        (
            "Convolution1DLayer zero_padding",
            lambda: Convolution1DLayer(2, 3, 1, "valid"),
            'a number, a pair (before, after), "same" or "causal"',
            "valid",
        ),
        (
            "Convolution1DLayer zero_padding",
            lambda: Convolution1DLayer(2, 3, 1, (1,)),
            "a number or a pair (before, after)",
            (1,),
        ),
        ("MaxPool1DLayer zero_padding", lambda: MaxPool1DLayer(2, zero_padding=2), "smaller than the window 2", 2),
        ("MaxPool1DLayer dilation", lambda: MaxPool1DLayer(2, dilation=0), "a whole number of at least 1", 0),
        ("MaxPool1DLayer ceil_mode", lambda: MaxPool1DLayer(2, ceil_mode=1), "True or False", 1),
        (
            "AveragePool1DLayer ceil_mode",
            lambda: AveragePool1DLayer(2, 1, "same", ceil_mode=True),
            'False with zero_padding="same"',
            True,
        ),
        ("AveragePool1DLayer divisor", lambda: AveragePool1DLayer(2, divisor=0), "a whole number of at least 1", 0),
        ("AveragePool1DLayer count_padding", lambda: AveragePool1DLayer(2, count_padding=1), "True or False", 1),
        ("MultiHeadAttention n_heads", lambda: MultiHeadAttention(0), "a whole number of at least 1", 0),
        ("MultiHeadAttention causal", lambda: MultiHeadAttention(2, 1), "True or False", 1),
        ("MultiHeadAttention keep", lambda: MultiHeadAttention(2, keep=0), "a number in (0, 1]", 0),
        ("MultiHeadAttention learned_key", lambda: MultiHeadAttention(2, learned_key=2), "True or False", 2),
        ("MultiHeadAttention key_size", lambda: MultiHeadAttention(2, key_size=0), "a whole number of at least 1", 0),
        ("SinePositions longest", lambda: SinePositions(1.0), "a number in (1, inf)", 1.0),
        ("Embedding mask", lambda: Embedding(7, 2, mask=7), "at most 6", 7),
        ("Embedding n_tokens", lambda: Embedding(0, 2), "a whole number of at least 1", 0),
        ("Embedding n_features", lambda: Embedding(7, -1), "a whole number of at least 1", -1),
        ("Dropout keep", lambda: Dropout(0), "a number in (0, 1]", 0),
        ("Dropout keep", lambda: Dropout(75), "a number in (0, 1]", 75),
        ("BatchNorm momentum", lambda: BatchNorm(momentum=1), "a number in [0, 1)", 1),
        ("BatchNorm epsilon", lambda: BatchNorm(epsilon=0), "a number in (0, inf)", 0),
        ("LayerNorm axes", lambda: LayerNorm(axes=0), "a whole number of at least 1", 0),
        ("LayerNorm axes", lambda: LayerNorm(axes=(1, 1)), "different axes, such as (1, 2)", (1, 1)),
        ("SoftMax axes", lambda: SoftMax(axes=()), "different axes, such as (1, 2)", ()),
        ("LogSoftMax axes", lambda: LogSoftMax(axes=(1, 0)), "a whole number of at least 1", 0),
        ("GLU axes", lambda: GLU(axes=(1, 2)), "a single axis", (1, 2)),  # type: ignore[arg-type]
        ("UnitNorm epsilon", lambda: UnitNorm(epsilon=0), "a number in (0, inf)", 0),
        ("InstanceNorm momentum", lambda: InstanceNorm(momentum=1), "a number in [0, 1)", 1),
        ("InstanceNorm running", lambda: InstanceNorm(running="yes"), "True or False", "yes"),
        ("LayerNorm epsilon", lambda: LayerNorm(epsilon=-1.0), "a number in (0, inf)", -1.0),
        ("GroupNorm n_groups", lambda: GroupNorm(0), "a whole number of at least 1", 0),
        ("BatchNorm momentum", lambda: BatchNorm(momentum="none"), "a number in [0, 1)", "none"),
        ("BatchNorm scale", lambda: BatchNorm(scale=1), "True or False", 1),
        ("GroupNorm shift", lambda: GroupNorm(1, shift=None), "True or False", None),
        ("InstanceNorm epsilon", lambda: InstanceNorm(epsilon=0), "a number in (0, inf)", 0),
        ("RMSNorm epsilon", lambda: RMSNorm(epsilon=-1), "a number in (0, inf)", -1),
        ("RMSNorm scale", lambda: RMSNorm(scale="no"), "True or False", "no"),
        ("SpatialDropout keep", lambda: SpatialDropout(0), "a number in (0, 1]", 0),
        ("AlphaDropout keep", lambda: AlphaDropout(1.5), "a number in (0, 1]", 1.5),
        ("GaussianNoise std", lambda: GaussianNoise(-1), "a number in [0, inf)", -1),
        ("VarianceScaling scale", lambda: VarianceScaling(0), "a number in (0, inf)", 0),
        ("VarianceScaling mode", lambda: VarianceScaling(mode="in"), "one of fan_average, fan_in, fan_out", "in"),
        ("VarianceScaling distribution", lambda: VarianceScaling(distribution="gauss"), "one of ...", "gauss"),
        ("TruncatedNormal std", lambda: TruncatedNormal(0), "a number in (0, inf)", 0),
        ("TruncatedNormal limit", lambda: TruncatedNormal(limit=0), "a number in [0.1, inf)", 0),
        ("Orthogonal gain", lambda: Orthogonal(-1), "a number in (0, inf)", -1),
        ("PReLU shared", lambda: PReLU(1), "True or False", 1),
        ("PReLU init", lambda: PReLU(init=0.25), "an Initializer object such as HeNormal()", 0.25),
        ("GELU approximate", lambda: GELU("tanh"), "True or False", "tanh"),
        ("CELU alpha", lambda: CELU(0), "a number in (0, inf)", 0),
        ("Softplus beta", lambda: Softplus(-2), "a number in (0, inf)", -2),
        ("HardTanH low", lambda: HardTanH("a"), "a number in (-inf, inf)", "a"),
        ("HardTanH high", lambda: HardTanH(1, 1), "above low 1", 1),
        ("HardSigmoid slope", lambda: HardSigmoid(0), "a number in (0, inf)", 0),
        ("HardSigmoid offset", lambda: HardSigmoid(offset=None), "a number in (-inf, inf)", None),
        ("Threshold threshold", lambda: Threshold(float("inf")), "a number in (-inf, inf)", float("inf")),
        ("Threshold value", lambda: Threshold(1, None), "a number in (-inf, inf)", None),
        ("Shrink threshold", lambda: Shrink(-0.1), "a number in [0, inf)", -0.1),
        ("Shrink offset", lambda: Shrink(offset="1"), "a number in (-inf, inf)", "1"),
        ("LeakyReLU slope", lambda: LeakyReLU(-0.5), "a number in [0, inf)", -0.5),
        ("ELU alpha", lambda: ELU(0), "a number in (0, inf)", 0),
        ("SimpleRNN activation", lambda: SimpleRNN(3, activation="sigmoid"), "one of relu, tanh", "sigmoid"),
        ("LSTM n_units", lambda: LSTM(0), "a whole number of at least 1", 0),
        ("LSTM forget_bias", lambda: LSTM(2, forget_bias=np.inf), "a number in (-inf, inf)", np.inf),
        ("GRU last", lambda: GRU(2, last="state"), "True or False", "state"),
        ("GRU recurrent_init", lambda: GRU(2, recurrent_init=0.1), "an Initializer object such as HeNormal()", 0.1),
        ("Bidirectional layer", lambda: Bidirectional(ReLU()), "a SimpleRNN, LSTM or GRU", ReLU()),
        (
            "Bidirectional merge",
            lambda: Bidirectional(GRU(2), "add"),
            "one of average, concatenate, multiply, sum",
            "add",
        ),
        (
            "Branches merge",
            lambda: Branches(ReLU(), merge="add"),
            "one of average, concatenate, cosine, dot, maximum, minimum, multiply, subtract, sum",
            "add",
        ),
        (
            "Branches merge",
            lambda: Branches([], [], [], merge="subtract"),
            "another one for 3 branches, not two",
            "subtract",
        ),
        (
            "Branches merge",
            lambda: Branches([], merge="dot"),
            "another one for 1 branches, not two",
            "dot",
        ),
        ("Adam learning_rate", lambda: Adam(0), "a number in (0, inf)", 0),
        ("Adam learning_rate", lambda: Adam("fast"), "a number in (0, inf)", "fast"),
        ("Adam beta1", lambda: Adam(beta1=1), "a number in [0, 1)", 1),
        ("Adam epsilon", lambda: Adam(epsilon=0), "a number in (0, inf)", 0),
        ("AdamW weight_decay", lambda: AdamW(weight_decay=-1), "a number in [0, inf)", -1),
        ("Momentum momentum", lambda: Momentum(momentum=1), "a number in [0, 1)", 1),
        ("RMSProp decay", lambda: RMSProp(decay=1), "a number in [0, 1)", 1),
        ("Lion beta2", lambda: Lion(beta2=-0.1), "a number in [0, 1)", -0.1),
        ("SGD clip_norm", lambda: SGD(clip_norm=0), "a number in (0, inf)", 0),
        ("SGD clip_value", lambda: SGD(clip_value=-1), "a number in (0, inf)", -1),
        ("SGD accumulate", lambda: SGD(accumulate=0), "a whole number of at least 1", 0),
        ("StepDecay every", lambda: StepDecay(0.1, 0), "a whole number of at least 1", 0),
        ("ExponentialDecay factor", lambda: ExponentialDecay(0.1, 5, 2), "a number in (0, 1]", 2),
        ("CosineDecay steps", lambda: CosineDecay(0.1, 0), "a whole number of at least 1", 0),
        ("WarmUp steps", lambda: WarmUp(0.1, 0), "a whole number of at least 1", 0),
        ("OneCycle rise", lambda: OneCycle(0.1, 10, rise=1), "a number in (0, 1)", 1),
        ("OnPlateau factor", lambda: OnPlateau(0.1, factor=1), "a number in (0, 1)", 1),
        ("learning rate", lambda: ConstantRate(-1), "a number in (0, inf)", -1),
        ("CrossEntropy label_smoothing", lambda: CrossEntropy(1), "a number in [0, 1)", 1),
        ("MeanAbsolutePercentage epsilon", lambda: MeanAbsolutePercentage(0), "a number in (0, inf)", 0),
        ("HingeEmbedding margin", lambda: HingeEmbedding(0), "a number in (0, inf)", 0),
        ("Tversky smooth", lambda: Tversky(smooth=0), "a number in (0, inf)", 0),
        ("Tversky beta", lambda: Tversky(beta=-1), "a number in [0, inf)", -1),
        ("Tversky alpha or beta", lambda: Tversky(0, 0), "above 0", {"alpha": 0, "beta": 0}),
        ("Huber delta", lambda: Huber(0), "a number in (0, inf)", 0),
        ("EarlyStopping patience", lambda: EarlyStopping(patience=-1), "a whole number of at least 0", -1),
        ("EarlyStopping mode", lambda: EarlyStopping(mode="up"), "one of max, min", "up"),
        ("EarlyStopping threshold", lambda: EarlyStopping(threshold=-1), "a number in [0, inf)", -1),
        ("Reshape shape", lambda: Reshape((-1, 4)), "a whole number of at least 1", -1),
    ]
] + [
    argument("Reshape to a number", lambda: Reshape(5), "Reshape shape must be a ..., got 5"),
    *(
        argument(
            f"attention mask {name}",
            lambda mask=mask, causal=causal: MultiHeadAttention(2, causal, attention_mask=mask),
            f"MultiHeadAttention attention_mask must {rule}, got {mask!r}",
        )
        for name, mask, causal, rule in [
            ("in words", "causal", False, TABLE),
            ("of whole numbers", [[1, 0], [1, 1]], False, TABLE),
            ("with infinity", [[0.0, np.inf]], False, TABLE),
            ("beyond float32", [[0.0, -1e300], [0.0, 0.0]], False, TABLE),
            ("with rows that differ", [[True], [True, True]], False, TABLE),
            ("of too few heads", [[[True]]], False, TABLE),
            ("that hides all", [[True, False], [False, False]], False, f"{SEEN}, but place 1 sees none"),
            ("that hides what was", [[False, True], [True, True]], True, f"{SEEN}, but place 0 sees none"),
        ]
    ),
    argument("F1 average", lambda: F1(average="marco"), "F1 average must be one of ...; did you mean 'macro'?"),
    argument("TopKAccuracy k", lambda: TopKAccuracy(0), "TopKAccuracy k must be a whole number of at least 1, got 0"),
]

# What a newcomer from another library writes: (call, what the error says).
FOREIGN = [
    argument(f"{message.partition(';')[0]}", make, message)
    for make, message in [
        (lambda: Adam(lr=0.1), "Adam has no argument 'lr'; here it is learning_rate"),
        (lambda: Adam(betas=(0.9, 0.99)), "Adam has no argument 'betas'; here it is beta1 and beta2"),
        (lambda: AdamW(learningrate=0.1), "AdamW has no argument 'learningrate'; did you mean learning_rate?"),
        (lambda: SGD(0.1, nesterov=True), "SGD has no argument 'nesterov'; use the optimizer Nesterov"),
        (
            lambda: Dropout(rate=0.25),
            "Dropout has no argument 'rate'; here it is keep, the share that is kept: 1 - rate",
        ),
        (lambda: Dropout(p=0.25), "Dropout has no argument 'p'; here it is keep, the share that is kept: 1 - p"),
        (lambda: ConvolutionLayer(filters=8), "ConvolutionLayer has no argument 'filters'; here it is n_filter"),
        (
            lambda: ConvolutionLayer(8, kernel_size=3),
            "ConvolutionLayer has no argument 'kernel_size'; here it is width_filter and height_filter",
        ),
        (
            lambda: MultiHeadAttention(2, attn_mask=[[True]]),
            "MultiHeadAttention has no argument 'attn_mask'; here it is attention_mask, True being what is seen",
        ),
        (
            lambda: Convolution1DLayer(8, kernel_size=3),
            "Convolution1DLayer has no argument 'kernel_size'; here it is width_filter",
        ),
        (
            lambda: Adam(decoupled=True),
            "Adam has no argument 'decoupled'; AdamW decays weights so",
        ),
        (
            lambda: LSTM(8, return_sequences=True),
            "LSTM has no argument 'return_sequences'; here it is last, the opposite: whether only the last state ...",
        ),
        (
            lambda: MaxPoolLayer(2, 2, padding=1),
            "MaxPoolLayer has no argument 'padding'; here it is zero_padding",
        ),
        (
            lambda: FullyConnectedLayer(8, activation="relu"),
            "FullyConnectedLayer has no argument 'activation'; an activation is a layer of its own, such as ...",
        ),
        (lambda: ReLU(inplace=True), "ReLU has no argument 'inplace'; it takes no arguments"),
        (lambda: Branches(ReLU(), mode="sum"), "Branches has no argument 'mode'; it takes merge"),
        (
            lambda: CrossEntropy(from_logits=True),
            "CrossEntropy has no argument 'from_logits'; end with SoftMax() or Sigmoid()...",
        ),
        (lambda: CrossEntropy(weight=[1, 2]), "CrossEntropy has no argument 'weight'; here it is class_weights"),
        (lambda: EarlyStopping(figure="cost"), "EarlyStopping has no argument 'figure'; here it is monitor"),
        (lambda: StepDecay(0.1, 5, gamma=0.1), "StepDecay has no argument 'gamma'; here it is factor"),
        (lambda: F1(avrage="macro"), "F1 has no argument 'avrage'; did you mean average?"),
        (lambda: HeNormal(gain=2), "HeNormal has no argument 'gain'; it takes slope"),
        (
            lambda: ArrayGenerator(X, Y, batch_size=8),
            "ArrayGenerator has no argument 'batch_size'; here it is mini_batch_size",
        ),
    ]
] + [
    Mistake(name, classes, make, ArgumentError, message)
    for name, make, message in [
        ("batch size", fit(batch_size=8), "fit has no argument 'batch_size'; here it is mini_batch_size"),
        (
            "validation data",
            fit(validation_data=(X, Y)),
            "fit has no argument 'validation_data'; here it is validation_set",
        ),
        (
            "class weights for fit",
            fit(class_weight={0: 1.0, 1: 2.0}),
            "fit has no argument 'class_weight'; the cost has them: regression(cost=CrossEntropy(class_weights=...))",
        ),
        ("verbose", fit(verbose=0), "fit has no argument 'verbose'; here it is progress"),
        ("loss", regression(loss="mse"), "regression has no argument 'loss'; here it is cost"),
        ("mse", regression(cost="mse"), "cost must be one of ..., got 'mse'; did you mean 'mean_squared'?"),
        (
            "batch size of predictions",
            lambda net: net.predict(X, batch_size=8),
            "predict has no argument 'batch_size'; here it is mini_batch_size",
        ),
        (
            "device of a file",
            lambda net: Network.load("x", map_location="cpu"),
            "load has no argument 'map_location'; ...",
        ),
        ("plot by name", fit(plot="loss.png"), "plot must be True or False, got 'loss.png'"),
        ("shuffle by name", fit(shuffle="yes"), "shuffle must be True or False, got 'yes'"),
    ]
]

DATA = [
    Mistake(
        "channels-last pictures", pictures, fit(PICTURES.transpose(0, 2, 3, 1)), DataError,
        "data must have shape (N, 1, 6, 6), got (9, 6, 6, 1); "
        "the pictures look channels-last: use transpose(0, 3, 1, 2)",
    ),
    Mistake(
        "channel axis missing", pictures, fit(PICTURES[:, 0]), DataError,
        "data must have shape (N, 1, 6, 6), got (9, 6, 6); the channel axis is missing: use [:, None]",
    ),
    Mistake(  # (1, 6, 6) is a network's single sample before it is a batch of one without its channel
        "axis of samples missing", pictures, lambda net: net.predict(PICTURES[0]), DataError,
        "data must have shape (N, 1, 6, 6), got (1, 6, 6); the axis of samples is missing: use [None] for a single "
        "sample",
    ),
    Mistake(
        "axis of samples missing, features", classes, lambda net: net.feedforward(X[0]), DataError,
        "data must have shape (N, 4), got (4,); the axis of samples is missing: use [None] for a single sample",
    ),
    Mistake(
        "flat pictures", pictures, fit(PICTURES.reshape(9, 36)), DataError,
        "data must have shape (N, 1, 6, 6), got (9, 36); the number of values is right: use reshape(-1, 1, 6, 6)",
    ),
    Mistake(  # reshape would scramble the pixels of channels-last data
        "network that is channels-last",
        lambda: Network().input((6, 6, 3)).add(Flatten()).add(FullyConnectedLayer(3)).add(SoftMax()).regression(),
        fit(RNG.random((9, 3, 6, 6))), DataError,
        "data must have shape (N, 6, 6, 3), got (9, 3, 6, 6); ...input((3, 6, 6))...",
    ),
    Mistake("too few features", classes, fit(X[:, :3]), DataError, "data must have shape (N, 4), got (9, 3)"),
    Mistake("labels and data swapped", classes, fit(Y, X), DataError, "data must have shape (N, 4), got (9,)..."),
    Mistake("NaN", classes, fit(with_value(np.nan)), DataError, "data must be finite, got nan at index (2, 1)"),
    Mistake("infinity", classes, fit(with_value(-np.inf)), DataError, "data must be finite, got -inf at index (2, 1)"),
    Mistake(
        "infinite once it is float32", classes, fit(with_value(0).astype(float) + 1e300), DataError,
        "data must ...float32..., got 1e+300 at index (0, 0)",
    ),
    Mistake("no samples", classes, fit(X[:0], Y[:0]), DataError, "data must have at least one sample, got none..."),
    Mistake("empty lists", classes, fit([], []), DataError, "data must have at least one sample, got none..."),
    Mistake(
        "a single number", classes, lambda net: net.predict(3.0), DataError,
        "data must have a first axis of samples, got the single number 3.0",
    ),
    Mistake(
        "ragged rows", classes, fit([[1.0, 2.0, 3.0, 4.0], [1.0]], [0, 1]), DataError,
        "data must be an array, got rows of different shapes...",
    ),
    Mistake(
        "a list that holds itself", classes, fit(ENDLESS, [0, 1]), DataError,
        "data must be an array, got lists within more than 64 lists",
    ),
    Mistake(
        "labels that hold themselves", classes, fit(X, ENDLESS), DataError,
        "labels must be an array, got lists within more than 64 lists",
    ),
    Mistake(
        "text", classes, fit([list("abcd")] * 9), DataError,
        "data must be an array of real numbers, got <U1: strings; number...",
    ),
    Mistake(
        "complex", classes, fit(X * 1j), DataError,
        "data must be an array of real numbers, got complex64: ... stack their .real and .imag",
    ),
    Mistake(
        "objects", classes, fit(X.astype(object)), DataError,
        'data must be an array of real numbers, got object, ...use .astype("float32")',
    ),
    Mistake("nothing", classes, fit(None), DataError, "data must be an array of real numbers, got NoneType"),
    *[
        Mistake(
            f"sparse {name}", classes, make, DataError,
            f"{argument_} must be an array of numbers, got a sparse matrix (Sparse... (1000, 4096)); use .toarray(), "
            "which takes 31.2 MiB, or a Generator that does so for some rows, or begin with SparseFullyConnectedLayer",
        )
        for name, argument_, make in [
            ("data", "data", lambda net: net.fit(Sparse(), Y)),
            ("labels", "labels", lambda net: net.fit(X, Sparse())),
            ("data to predict", "data", lambda net: net.predict(Sparse())),
            ("array", "x", lambda net: ArrayGenerator(Sparse(), Y)),
            ("data set", "dataset", lambda net: DatasetGenerator(Sparse())),
            ("iterable", "iterable", lambda net: IterableGenerator(Sparse())),
            ("dict", "x", lambda net: ArrayGenerator(SparseKeys())),
            ("dict for a data set", "dataset", lambda net: DatasetGenerator(SparseKeys())),
        ]
    ],
    Mistake(
        "sparse rows", classes, fit([Sparse()] * 9), DataError,
        "data must be an array of real numbers, got object with Sparse ... at index 0; use .toarray(), or ...",
    ),
    Mistake(
        "token too large", tokens, fit(TOKENS + 1), DataError,
        "data must be whole numbers from 0 to 6 for the Embedding, got 7",
    ),
    Mistake(
        "negative token", tokens, fit(TOKENS - 1), DataError,
        "data must be whole numbers from 0 to 6 for the Embedding, got -1",
    ),
    Mistake(
        "tokens as floats", tokens, fit(TOKENS * 1.0), DataError,
        "data must be whole numbers from 0 to 6 for the Embedding, got float64",
    ),
    Mistake(
        "predict a Generator", classes, lambda net: net.predict(ArrayGenerator(X)), DataError,
        "data must be an array of real numbers, got ArrayGenerator; a Generator is for fit and evaluate, ...",
    ),
    Mistake(
        "predict a dict", classes, lambda net: net.predict({"x": X}), DataError,
        "data must be an array of real numbers, got dict; names are for a network of several inputs, ...",
    ),
    Mistake("predict NaN", classes, lambda net: net.predict(with_value(np.nan)), DataError, "data must be finite..."),
    Mistake(
        "evaluate zero samples", classes, lambda net: net.evaluate(X[:0], Y[:0]), DataError,
        "data must have at least one sample, got none: shape (0, 4)",
    ),
]  # fmt: skip

ROWS = "labels must be class numbers (N,) or one-hot rows (N, 3)"
LABELS = [
    Mistake(
        "label too large", classes, fit(X, Y + 1), DataError, "labels must be class numbers from 0 to 2, got 3 in row 2"
    ),
    Mistake(
        "negative label", classes, fit(X, Y - 1), DataError, "labels must be class numbers from 0 to 2, got -1 in row 0"
    ),
    Mistake(
        "label of a fraction", classes, fit(X, Y + 0.5), DataError,
        "labels must be class numbers from 0 to 2, got 0.5 in row 0",
    ),
    Mistake(
        "too few labels", classes, fit(X, Y[:5]), DataError,
        "labels must have one entry for each sample of data, got 5 for 9",
    ),
    Mistake("column of labels", classes, fit(X, Y[:, None]), DataError, f"{ROWS}, got shape (9, 1)...reshape(-1)..."),
    Mistake("too many classes", classes, fit(X, np.eye(4)[Y]), DataError, f"{ROWS}, got shape (9, 4)"),
    Mistake(
        "not one-hot", classes, fit(X, np.ones((9, 3))), DataError,
        "labels must be one-hot, or probabilities that sum to 1, got [1.0, 1.0, 1.0] in row 0",
    ),
    Mistake("NaN label", classes, fit(X, Y * np.nan), DataError, "labels must be finite, got nan at index (0,)"),
    Mistake(
        "names of classes", classes, fit(X, ["cat", "dog", "owl"] * 3), DataError,
        "labels must be an array of real numbers, got <U3: strings; number them: np.unique(...",
    ),
    Mistake(
        "more than yes or no", yes_or_no, fit(X, Y), DataError, "labels must lie in [0, 1], got 2 at index (2, 0)"
    ),
    Mistake(
        "one answer for two outputs", lambda: yes_or_no(2), fit(X, Y > 0), DataError,
        "labels must have shape (N, 2), got (9,)",
    ),
    Mistake(
        "targets of another shape", lambda: values(2), fit(X, X), DataError, "labels must have shape (N, 2), got (9, 4)"
    ),
    Mistake(
        "infinite target", values, fit(X, [0.0] * 8 + [np.inf]), DataError,
        "labels must be finite, got inf at index (8,)",
    ),
]  # fmt: skip


class Changing(Metric):
    """Writes into the labels that it is lent."""

    def measure(self, y: Any, target: Any) -> Any:
        np.subtract(target, y, out=target)
        return np.ones(1)

    def value(self, total: Any) -> Any:
        return 1.0


SQUARES = CustomCost(lambda y, t: ((y - t) ** 2).sum(axis=1), lambda y, t: 2 * (y - t))
PAIR = "be (data, labels), (data, labels, weights), a Generator, or a fraction in (0, 1)"
FIT = [
    Mistake("no epochs", classes, fit(epochs=0), ArgumentError, "epochs must be a whole number of at least 1, got 0"),
    Mistake(
        "half an epoch", classes, fit(epochs=0.5), ArgumentError, "epochs must be a whole number of at least 1, got 0.5"
    ),
    Mistake(
        "mini-batch of nothing", classes, fit(mini_batch_size=0), ArgumentError,
        "mini_batch_size must be a whole number of at least 1, got 0",
    ),
    Mistake(
        "evaluate with a mini-batch of nothing", classes, lambda net: net.evaluate(X, Y, mini_batch_size=0),
        ArgumentError, "mini_batch_size must be a whole number of at least 1, got 0",
    ),
    Mistake(
        "predict with a mini-batch of nothing", classes, lambda net: net.predict(X, mini_batch_size=-1), ArgumentError,
        "mini_batch_size must be a whole number of at least 1, got -1",
    ),
    Mistake(
        "no time between snapshots", classes, fit(snapshot_step=0), ArgumentError,
        "snapshot_step must be a number in (0, inf), got 0",
    ),
    Mistake(
        "endless time between snapshots", classes, fit(snapshot_step=np.nan), ArgumentError,
        "snapshot_step must be a number in (0, inf), got nan",
    ),
    Mistake(
        "validation of 150 %", classes, fit(validation_set=1.5), ArgumentError,
        f"validation_set must {PAIR}, got 1.5",
    ),
    Mistake(
        "validation by a flag", classes, fit(validation_set=True), ArgumentError,
        f"validation_set must {PAIR}, got True",
    ),
    Mistake(
        "validation of four", classes, fit(validation_set=(X, Y, Y, Y)), ArgumentError,
        f"validation_set must {PAIR}, ...",
    ),
    Mistake(
        "validation without labels", classes, fit(validation_set=X), ArgumentError, f"validation_set must {PAIR}, ..."
    ),
    Mistake(
        "validation of one sample", classes, fit(X[:1], Y[:1], validation_set=0.5), ArgumentError,
        "validation_set must be None for a single sample, got 0.5",
    ),
    Mistake(
        "validation of another shape", classes, fit(validation_set=(X[:, :2], Y)), DataError,
        "validation_set data must have shape (N, 4), got (9, 2)",
    ),
    Mistake(
        "validation labels missing", classes, fit(validation_set=(X, Y[:4])), DataError,
        "validation_set labels must have one entry for each sample of validation_set data, got 4 for 9",
    ),
    Mistake(
        "validation labels out of range", classes, fit(validation_set=(X, Y + 1)), DataError,
        "validation_set labels must be class numbers from 0 to 2, got 3 in row 2",
    ),
    Mistake(
        "callback without brackets", classes, fit(callbacks=EarlyStopping()), ArgumentError,
        "callbacks must be a list of Callback objects, got EarlyStopping(...)",
    ),
    Mistake(
        "callback class", classes, fit(callbacks=[EarlyStopping]), ArgumentError,
        "callbacks must be a list of Callback objects, got [<class ...EarlyStopping'>]",
    ),
    Mistake(
        "function as callback", classes, fit(callbacks=[print]), ArgumentError,
        "callbacks must be a list of Callback objects, got [<built-in function print>]",
    ),
    Mistake(
        "early stop on a misspelt figure", classes, fit(callbacks=[EarlyStopping("acuracy")]), ArgumentError,
        "EarlyStopping monitor must be one of accuracy, cost, got 'acuracy'; did you mean 'accuracy'?",
    ),
    Mistake(  # the hint must say that there is no validation set, not advise another figure
        "early stop without validation", classes, fit(callbacks=[EarlyStopping()]), ArgumentError,
        "EarlyStopping monitor must be one of accuracy, cost, got 'validation_cost'...validation_set...",
    ),
    Mistake(
        "folder of a number", classes, fit(plot=True, folder=5), ArgumentError, "folder must be a path, got 5"
    ),
    Mistake(
        "accuracy of values", lambda: values().regression(cost="mean_squared", metrics=[Accuracy()]),
        fit(X, X[:, :1]), GedankenError, "...accuracy...",
    ),
    Mistake(
        "more guesses than classes", lambda: classes().regression(metrics=[TopKAccuracy(k=5)]), fit(), GedankenError,
        "top_5_accuracy needs ...",
    ),
    Mistake(
        "regression metric for classes", lambda: classes().regression(metrics=[R2()]), fit(), GedankenError,
        "r2 needs ...",
    ),
    Mistake(
        "user cost of another shape",
        lambda: values().regression(cost=CustomCost(lambda y, t: (y - t) ** 2, lambda y, t: 2 * (y - t))),
        fit(X, X[:, :1]), ShapeError,
        "CustomCost must give costs of shape (1,) and derivatives of shape (1, 1), got (1, 1) and (1, 1)",
    ),
    *[
        Mistake(
            f"user cost of labels {one_label.shape} {way}", lambda: values(4).regression(cost=SQUARES), make,
            ShapeError,
            "cost and metrics must judge the outputs by the labels, got operands could not be broadcast together..."
            f"; NumPy broadcasts outputs (N, 4) and labels {said}: give labels of the outputs' shape",
        )
        for one_label, said in [(np.array(1.0), "(N,)"), (np.ones(3), "(N, 3)")]
        for way, make in [
            ("in fit", fit(X, [one_label] * 9)),
            ("in evaluate", lambda net, one_label=one_label: net.evaluate(X, [one_label] * 9)),
            ("of a Generator", fit(ArrayGenerator(X, np.array([one_label] * 9)), None)),
        ]
    ],
    Mistake(
        "user cost that gives a number",
        lambda: values().regression(cost=CustomCost(lambda y, t: 3.0, lambda y, t: 2 * (y - t))),
        fit(X, X[:, :1]), ShapeError, "CustomCost must give costs of shape (1,)...",
    ),
    *[
        Mistake(
            f"user cost that {does}",
            lambda f=f, d=d: values().regression(cost=CustomCost(f, d)), fit(X, X[:, :1]), kind, told,
        )
        for does, f, d, kind, told in [
            (
                "is complex", lambda y, t: ((y - t) ** 2).sum(axis=1) + 0j, SQUARES.derivative, ArgumentError,
                "CustomCost function must give real numbers, got 'numbers of complex64'",
            ),
            (
                "has a complex derivative", SQUARES.function, lambda y, t: 1j * (y - t), ArgumentError,
                "CustomCost derivative must give real numbers, got 'numbers of complex64'",
            ),
            (
                "changes labels", SQUARES.function, lambda y, t: np.subtract(y, t, out=t), ArgumentError,
                "...must not change outputs and labels in place, got: output array is read-only",
            ),
            (
                "changes outputs", lambda y, t: np.square(y - t, out=y).sum(axis=1), SQUARES.derivative, ArgumentError,
                "...must not change outputs and labels in place, got: output array is read-only",
            ),
        ]
    ],
    Mistake(
        "metric that changes labels", lambda: values().regression(cost="mean_squared", metrics=[Changing()]),
        fit(X, X[:, :1]), ArgumentError,
        "changing must not change outputs and labels in place, got: output array is read-only",
    ),
    Mistake(
        "threshold of values", values, lambda net: net.predict(X, threshold=0.5), ArgumentError,
        "threshold must be left out, because no output is the probability of a yes, got 0.5",
    ),
    Mistake(
        "save to nothing", classes, lambda net: net.save(None), ArgumentError, "path must be a path..., got None"
    ),
    Mistake(
        "load a missing file", bare, lambda _: Network.load("no/such/file"), CheckpointError,
        "no/such/file cannot be read: No such file or directory",
    ),
    Mistake(
        "load a folder", bare, lambda _: Network.load("."), CheckpointError, ". cannot be read: Is a directory"
    ),
    Mistake(
        "load from a number", bare, lambda _: Network.load(5), ArgumentError, "path must be a path..., got 5"
    ),
]  # fmt: skip

SLIDABLE = "image must have shape (1, H, W) or (N, 1, H, W) with H >= 6 and W >= 6, got "
WIDE = RNG.random((1, 9, 9)).astype(np.float32)


def slide(image: Any = WIDE, **options: Any) -> Callable[[Network], Any]:
    return lambda net: net.slide(image, **options)


def stack(*layers: Any) -> Callable[[], Network]:
    """Return the making of a compiled network of pictures."""
    return lambda: image(*layers)(Network()).regression(cost="mean_squared")


def cannot_slide(name: str, layers: list[Any], message: str) -> Mistake:
    """Return the row of a network that gives something else for a patch than for the same patch in a picture."""
    rule = f"slide cannot run layer {message}; use feedforward on each patch"
    return Mistake(name, stack(*layers), slide(), ArgumentError, rule)


PADDED, HALF = ConvolutionLayer(1, 3, 3, zero_padding=1), MaxPoolLayer(2, 2, stride=1)
PADS = "zero_padding=1) over a larger picture: its zero_padding gives a patch zeros where the picture has pixels"
SLIDE = [
    Mistake("before regression", uncompiled, slide(), StateError, f"slide {COMPILED}"),
    Mistake(
        "network of features", classes, slide(), ArgumentError,
        "slide needs a network of pictures: input((C, H, W)), got input((4,))",
    ),
    Mistake("picture smaller than a patch", pictures, slide(WIDE[:, :5]), DataError, f"{SLIDABLE}(1, 5, 9)"),
    Mistake("picture narrower than a patch", pictures, slide(WIDE[:, :, :5]), DataError, f"{SLIDABLE}(1, 9, 5)"),
    Mistake("picture without channels", pictures, slide(WIDE[0]), DataError, f"{SLIDABLE}(9, 9)"),
    Mistake(
        "picture channels-last", pictures, slide(WIDE.transpose(1, 2, 0)), DataError,
        f"{SLIDABLE}(9, 9, 1); it looks channels-last: use transpose(2, 0, 1)",
    ),
    Mistake(
        "pictures channels-last", pictures, slide(WIDE[None].transpose(0, 2, 3, 1)), DataError,
        f"{SLIDABLE}(1, 9, 9, 1); it looks channels-last: use transpose(0, 3, 1, 2)",
    ),
    Mistake("pictures of several videos", pictures, slide(WIDE[None, None]), DataError, f"{SLIDABLE}(1, 1, 1, 9, 9)"),
    Mistake(
        "no picture", pictures, slide(WIDE[None][:0]), DataError, "image must have at least one sample, got none..."
    ),
    Mistake("text for a picture", pictures, slide("a.png"), DataError, "image must be an array of real numbers, ..."),
    Mistake(
        "picture with a NaN", pictures, slide(np.where(np.eye(9), np.nan, WIDE)), DataError,
        "image must be finite, got nan at index (0, 0, 0)",
    ),
    Mistake(
        "stride 0", pictures, slide(stride=0), ArgumentError, "stride must be a whole number of at least 1, got 0"
    ),
    Mistake(
        "stride of a fraction", pictures, slide(stride=(1, 0.5)), ArgumentError,
        "stride must be a whole number of at least 1, got 0.5",
    ),
    Mistake(
        "stride of three", pictures, slide(stride=(1, 2, 3)), ArgumentError,
        "stride must be a number or a pair (height, width), got (1, 2, 3)",
    ),
    Mistake(
        "outputs that are images", stack(ReLU(), ConvolutionLayer(1, 3, 3)), slide(), ArgumentError,
        "slide needs outputs (K,), got (1, 4, 4) from layer 1 ConvolutionLayer(n_filter=1, width_filter=3, "
        "height_filter=3); use feedforward on each patch",
    ),
    cannot_slide("padding", [ReLU(), PADDED, Flatten()], f"1 ConvolutionLayer(...{PADS}"),
    cannot_slide("padded pooling", [MaxPoolLayer(3, 3, 1, 1), Flatten()], f"0 MaxPoolLayer(...{PADS}"),
    cannot_slide("padding in a chain", [Sequential([ReLU(), PADDED]), Flatten()], f"0.1 ConvolutionLayer(...{PADS}"),
    cannot_slide(
        "padding in a residual", [Residual([PADDED, BatchNorm()]), Flatten()], f"0.layers.0 ConvolutionLayer(...{PADS}"
    ),
    cannot_slide(
        "padding that repeats", [ConvolutionLayer(1, 3, 3, zero_padding=1, padding_mode="circular"), Flatten()],
        "0 ConvolutionLayer(...) over a larger picture: its padding repeats pixels of a patch where the picture has "
        "others",
    ),
    cannot_slide(
        "padding of its own", [PaddingLayer(1), Flatten()],
        "0 PaddingLayer(padding=1) over a larger picture: it puts something around a patch where the picture has "
        "pixels",
    ),
    cannot_slide(
        "windows beyond a patch", [MaxPoolLayer(4, 4, 3, ceil_mode=True), Flatten()],
        "0 MaxPoolLayer(...) over a larger picture: some of its windows reach beyond a patch, where the picture has "
        "pixels",
    ),
    cannot_slide(
        "windows that overlap", [AdaptiveMaxPoolLayer((3, 4)), Flatten()],
        "0 AdaptiveMaxPoolLayer(...) over a larger picture: its windows on 6 x 6 pixels are of different sizes or "
        "overlap",
    ),
    cannot_slide(
        "norm of a patch", [LayerNorm(), Flatten()],
        "0 LayerNorm() over a larger picture: its mean is over all pixels of a patch",
    ),
    cannot_slide(
        "norm of a patch's channels", [HALF, GroupNorm(1), Flatten()],
        "1 GroupNorm(n_groups=1) over a larger picture: its mean is over all pixels of a patch",
    ),
    cannot_slide(
        "mean square of a patch", [RMSNorm(), Flatten()],
        "0 RMSNorm() over a larger picture: its mean is over all pixels of a patch",
    ),
    cannot_slide(
        "reshape of a patch", [Reshape((4, 3, 3)), Flatten()],
        "0 Reshape(shape=(4, 3, 3)) over a larger picture: nothing says which pixels of a patch its outputs see",
    ),
    cannot_slide(
        "reshape of features", [Flatten(), Reshape((4, 3, 3)), Flatten()],
        "1 Reshape(shape=(4, 3, 3)) over a larger picture: it makes no row of features from one",
    ),
    cannot_slide(  # both ways give one pixel, but the next one would be elsewhere
        "ways of different strides",
        [Residual(MaxPoolLayer(6, 6), MaxPoolLayer(6, 6, stride=1)), Flatten()],
        "0 Residual(...) over a larger picture: its ways have different strides",
    ),
]  # fmt: skip

HELD = "lie in [1.18e-38, 3.4e+38] to be more than 0 and a number in float32"
IN_RANGE = "lie in [-3.4e+38, 3.4e+38] to be a number in float32"


class Vast(Initializer):
    """Its numbers are of float64."""

    def __call__(self, rng: Any, shape: Any, fan_in: int, fan_out: int) -> Any:
        return np.full(shape, 1e39)


def with_layer(layer: Any) -> Callable[[], Network]:
    return lambda: Network().input((4,)).add(layer).add(FullyConnectedLayer(3)).add(SoftMax())


def vast_weights() -> Network:
    net = uncompiled().regression(engine=Numpy(dtype="float64"))
    return net.set_arrays({"0.kernel": np.full((4, 3), 1e39)})


def many_classes() -> Network:
    return Network().input((4,)).add(FullyConnectedLayer(3000)).add(SoftMax()).regression(engine="numpy")


# Numbers that the network's number type, float32, does not hold.
NOT_HELD = [
    *(
        Mistake(
            f"{type(rule).__name__} {name}", classes, regression(optimizer=rule), ArgumentError,
            f"{type(rule).__name__} {name} must {HELD}, got {value}",
        )
        for rule, name, value in [
            (SGD(1e-60), "learning_rate", 1e-60),
            (Adam(1e39), "learning_rate", 1e39),
            (SGD(clip_norm=1e-60), "clip_norm", 1e-60),
            (Momentum(clip_value=1e-60), "clip_value", 1e-60),
            (Adam(epsilon=1e-50), "epsilon", 1e-50),
        ]
    ),
    Mistake(
        "rate of a schedule", classes, regression(optimizer=SGD(StepDecay(1e-60, 3))), ArgumentError,
        f"StepDecay rate must {HELD}, got 1e-60",
    ),
    Mistake(
        "weight decay", classes, regression(optimizer=SGD(weight_decay=1e39)), ArgumentError,
        f"SGD weight_decay must {IN_RANGE}, got 1e+39",
    ),
    *(
        Mistake(
            f"{type(layer).__name__} {name}", with_layer(layer), regression(), ArgumentError,
            f"{type(layer).__name__} {name} must {rule}, got {value}",
        )
        for layer, name, rule, value in [
            (LeakyReLU(1e39), "slope", IN_RANGE, 1e39),
            (Threshold(0.5, -1e39), "value", IN_RANGE, -1e39),
            (GaussianNoise(1e39), "std", IN_RANGE, 1e39),
            (Softplus(1e-60), "beta", HELD, 1e-60),
        ]
    ),
    Mistake(
        "first values", with_layer(FullyConnectedLayer(3, init=Constant(1e39))), regression(), ArgumentError,
        f"Constant value must {IN_RANGE}, got 1e+39",
    ),
    Mistake(
        "first values of an initializer of one's own", with_layer(FullyConnectedLayer(3, init=Vast())), regression(),
        ArgumentError, "values of 0.kernel by Vast() must be finite in float32, got 1e+39",
    ),
    Mistake(
        "weights of another number type", vast_weights, regression(engine="cpu"), ArgumentError,
        "the network's 0.kernel must be finite in float32, got 1e+39",
    ),
    Mistake(
        "set weights", classes, lambda net: net.set_arrays({"0.kernel": np.full((4, 3), -1e39)}), ArgumentError,
        "arrays['0.kernel'] must be finite in float32, got -1e+39",
    ),
    Mistake(
        "class weights too large", uncompiled, regression(cost=CrossEntropy(class_weights=(1e39, 1, 1))),
        ArgumentError, f"CrossEntropy class_weights must {IN_RANGE}, got (1e+39, 1.0, 1.0)",
    ),
    Mistake(
        "class weights too small", uncompiled, regression(cost=CrossEntropy(class_weights=(1e-60, 0, 1e-50))),
        ArgumentError, f"CrossEntropy class_weights must {HELD}, got (1e-60, 0.0, 1e-50)",
    ),
    *(
        Mistake(
            f"weights too small to {call}", classes, make, DataError,
            "weights must not all be 0 in float32: nothing would be learnt or measured",
        )
        for call, make in [
            ("fit", fit(weights=np.full(9, 1e-60))),
            ("evaluate", lambda net: net.evaluate(X, Y, np.full(9, 1e-60))),
        ]
    ),
    *(
        Mistake(
            f"{call} of 1e39", classes, make, DataError,
            "data must be in the range of float32, got 1e+39 at index (0, 0)",
        )
        for call, make in [
            ("predict", lambda net: net.predict(np.full((9, 4), 1e39))),
            ("feedforward", lambda net: net.feedforward(np.full((9, 4), 1e39))),
            ("evaluate", lambda net: net.evaluate(np.full((9, 4), 1e39), Y)),
        ]
    ),
    Mistake(
        "labels that are rounded", many_classes, fit(labels=np.full(9, 2049).astype("float16")), DataError,
        "labels must be class numbers below 2048, up to which float16 tells them apart, got 2048.0; make them as whole "
        "numbers",
    ),
    Mistake(
        "labels of uint64", classes, fit(labels=np.full(9, 2**63, np.uint64)), DataError,
        "labels must be class numbers from 0 to 2, got 9223372036854775808 in row 0",
    ),
    Mistake(
        "tokens of uint64", tokens, fit(np.full((9, 5), 2**63, np.uint64)), DataError,
        "data must be whole numbers from 0 to 6 for the Embedding, got 9223372036854775808",
    ),
]  # fmt: skip

MISTAKES = {
    f"{group}: {row.name}": row
    for group, rows in [
        ("layers", LAYERS_DO_NOT_FIT), ("no layer", NO_LAYER), ("order", OUT_OF_ORDER), ("start", INPUT_AND_SEED),
        ("compile", COMPILE), ("foreign", FOREIGN), ("data", DATA), ("labels", LABELS), ("fit", FIT), ("slide", SLIDE),
        ("not held", NOT_HELD),
    ]
    for row in rows
} | {f"range: {row.message}": row for row in RANGES}  # fmt: skip


def state(net: Network, folder: Path) -> object:
    """Return everything that a mistake must leave as it was."""
    try:
        net.save(folder / "state")
    except StateError:
        return repr(net), net.epoch
    return (folder / "state").read_bytes(), net.epoch


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_answered_before_anything_is_done(
    mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    net = mistake.net()
    layers = bool(net.layers)
    before = state(net, tmp_path)
    with pytest.raises(GedankenError) as caught:
        mistake.make(net)
    if layers:
        assert state(net, tmp_path) == before, "the mistake changed the network"
    assert net.epoch == 0
    assert isinstance(caught.value, mistake.error), f"{type(caught.value)} instead of {mistake.error}"
    pattern = ".*".join(map(re.escape, mistake.message.split("...")))
    assert re.fullmatch(pattern, str(caught.value), re.DOTALL), str(caught.value)
    assert len(str(caught.value)) < 1000, "nobody reads that"
    assert capsys.readouterr().out == ""
    assert {path.name for path in tmp_path.iterdir()} <= {"state"}


def test_table_names_each_mistake_once() -> None:
    rows = [
        LAYERS_DO_NOT_FIT,
        NO_LAYER,
        OUT_OF_ORDER,
        INPUT_AND_SEED,
        COMPILE,
        RANGES,
        FOREIGN,
        DATA,
        LABELS,
        FIT,
        SLIDE,
        NOT_HELD,
    ]
    assert len(MISTAKES) == sum(map(len, rows)) >= 60


@pytest.mark.skipif(find_spec("cupy") is not None, reason="needs a machine without CuPy")
def test_cuda_without_cupy_says_what_to_install() -> None:
    message = r'engine "cuda" needs CuPy .*; install gedanken\[cuda13\] or gedanken\[cuda12\], or use engine="numpy"'
    with pytest.raises(EngineError, match=message):
        uncompiled().regression(engine="cuda")


# ------------------------------------------------------------------ what is probably wrong is warned of

UINT8 = (PICTURES * 250).astype(np.uint8)
USES = {
    "fit": lambda net: net.fit(UINT8, Y, progress=False),
    "fit with validation": lambda net: net.fit(PICTURES, Y, validation_set=(UINT8, Y), progress=False),
    "evaluate": lambda net: net.evaluate(UINT8, Y, progress=False),
    "check": lambda net: net.check(UINT8, Y),
    "predict": lambda net: net.predict(UINT8),
    "feedforward": lambda net: net.feedforward(UINT8),
    "slide": lambda net: net.slide(UINT8),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_unscaled_pictures_are_warned_of_where_they_are_given(use: Callable[[Network], object]) -> None:
    with pytest.warns(GedankenWarning, match=r"(data|image) has whole numbers \(uint8\).* 255") as caught:
        use(pictures())
    assert [Path(warning.filename).name for warning in caught] == [Path(__file__).name]


@pytest.mark.parametrize("data", [PICTURES, PICTURES > 0.5, (PICTURES > 0.5).astype(np.uint8)])
def test_scaled_pictures_are_not_warned_of(data: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(pictures().fit(data, Y, progress=False).epochs) == 1


@pytest.mark.parametrize("shape", [(1,), (4,), (3, 4)])
@pytest.mark.parametrize("dtype", ["int64", "uint8"])
def test_features_of_whole_numbers_are_not_told_of_as_pictures(shape: tuple[int, ...], dtype: str) -> None:
    net = Network().input(shape).add(FullyConnectedLayer(2)).regression(cost="mean_squared")
    with pytest.warns(GedankenWarning, match=r"unscaled features: use \(data - data\.mean") as caught:
        net.predict(np.full((3, *shape), 7, dtype))
    assert "picture" not in str(caught[0].message)


def test_flat_pictures_are_told_of_as_pictures() -> None:
    net = Network().input((784,)).add(FullyConnectedLayer(2)).regression(cost="mean_squared")
    with pytest.warns(GedankenWarning, match=r"unscaled pictures: use data / 255"):
        net.predict(np.full((3, 784), 200, "uint8"))


def test_tokens_are_not_warned_of() -> None:
    assert len(tokens().predict(TOKENS)) == 9


def test_a_callback_that_returns_no_stop_is_named() -> None:
    rule = (
        "SaysYes.on_epoch must return a Stop, SetRate, Save, KeepWeights, Capture, Unfreeze, a list of them or None, "
        "got 'enough'"
    )
    with pytest.raises(ArgumentError, match=rule):
        fit(callbacks=[SaysYes()])(classes())


def test_history_names_the_nearest_figure() -> None:
    history = classes().fit(X, Y, progress=False)
    with pytest.raises(GedankenError, match=r"got 'acuracy'; did you mean 'accuracy'\?"):
        history["acuracy"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MaxPoolLayer(2), "MaxPoolLayer needs height_filter; it is MaxPoolLayer(width_filter, height_filter, "),
        (lambda: ConvolutionLayer(3, 3), "ConvolutionLayer needs height_filter; it is ConvolutionLayer(n_filter, "),
        (lambda: ReLU(True), "ReLU takes no arguments by place, got 1; it is ReLU()"),
        (
            lambda: Sequential(ReLU(), ReLU()),
            "Sequential takes 1 argument by place, got 2; it is Sequential(layers=...)",
        ),
        (lambda: Accuracy("x"), "Accuracy takes no arguments by place, got 1; it is Accuracy(multi_label=..., "),
        (lambda: Network(layers=[]), "Network has no argument 'layers'; it takes seed"),
        (lambda: Network(1, 2), "Network takes 1 argument by place, got 2; it is Network(seed=...)"),
        (lambda: Network().input(4, 4), "input takes 1 argument by place, got 2; it is input(shape=...)"),
        (lambda: Network().add(), "add needs layer; it is add(layer, name=...)"),
        (lambda: Network().save(file="x"), "save has no argument 'file'; it takes path"),
    ],
)
def test_a_wrong_number_of_arguments(make: Any, words: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert isinstance(caught.value, TypeError)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("name", ["epoch", "seed"])
@pytest.mark.parametrize("value", [-3, 1.5, "x", None, True, 2**70], ids=repr)
def test_epoch_and_seed_are_whole_numbers(name: str, value: Any, tmp_path: Path) -> None:
    net = Network(seed=3).input((2,)).add(FullyConnectedLayer(1)).regression(cost="mean_squared")
    with pytest.raises(ArgumentError, match=f"{name} must be"):
        setattr(net, name, value)
    setattr(net, name, np.int64(5))
    net.save(tmp_path / "net")
    assert getattr(Network.load(tmp_path / "net"), name) == 5
