"""Fully connected layer and embedding: a matrix product, and a look-up in a matrix."""

from dataclasses import dataclass
from typing import Any

from gedanken.checks import extent, truth, whole
from gedanken.errors import ShapeError
from gedanken.init import DEFAULT, HeNormal, Initializer, Zeros, check_initializers
from gedanken.layers.base import ByPlace, Context, Param
from gedanken.types import Array, Arrays, Shape


@dataclass(frozen=True, eq=False, repr=False)
class FullyConnectedLayer(ByPlace):
    """Multiply each sample's features with a matrix and add a bias.

        y = x @ kernel + bias

    Args:
        n_units: features of the output, at least 1.
        bias: whether a bias is added.
        init: first values of the kernel; by default uniform with variance 1 / (3 * fan_in).
        bias_init: first values of the bias.

    Shapes:
        x: (N, F) or (N, T, F).   y: the same with n_units in place of F.
        kernel: (F, n_units).   bias: (n_units,).

    Raises:
        ShapeError: the input is an image (at compile time).

    Source:
        Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating errors".
    """

    n_units: int
    bias: bool = True
    init: Initializer = DEFAULT
    bias_init: Initializer = Zeros()

    def __post_init__(self) -> None:
        extent("FullyConnectedLayer n_units", self.n_units)
        truth("FullyConnectedLayer bias", self.bias)
        check_initializers("FullyConnectedLayer", init=self.init, bias_init=self.bias_init)

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) not in (1, 2):
            raise ShapeError("needs a flat input (F,) or a sequence (T, F)", "add Flatten() before it")
        return (*shape[:-1], self.n_units)

    def params(self, shape: Shape) -> dict[str, Param]:
        features = shape[-1]
        kernel = Param((features, self.n_units), self.init, features, self.n_units, decay=True)
        bias = {"bias": Param((self.n_units,), self.bias_init, features, self.n_units)} if self.bias else {}
        return {"kernel": kernel, **bias}

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        y = ctx.ops.product(x.reshape(-1, x.shape[-1]), p["kernel"]).reshape(*x.shape[:-1], self.n_units)
        if self.bias:
            y += p["bias"]
        return y, x

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        rows, drows = cache.reshape(-1, cache.shape[-1]), dy.reshape(-1, dy.shape[-1])
        g["kernel"][...] = ctx.ops.product_sum(rows, drows)
        if self.bias:
            g["bias"][...] = ctx.ops.sum(drows, axis=0)
        return ctx.ops.product(drows, p["kernel"].T).reshape(cache.shape)

    def multiply_adds(self, shape: Shape) -> int:
        rows = shape[0] if len(shape) == 2 else 1
        return rows * shape[-1] * self.n_units


@dataclass(frozen=True, eq=False, repr=False)
class Embedding(ByPlace):
    """Look up a trained vector for each whole number.

        y[n, t] = table[x[n, t]]

    An update by SGD or AdaGrad takes the time of the vectors that a mini-batch has, not of the whole table. It can only
    be the first layer: whole numbers have no gradient, so none is returned for them (zeros).

    Args:
        n_tokens: numbers run from 0 to n_tokens - 1, at least 1.
        n_features: length of each vector, at least 1.
        init: first values of the vectors; variances are those of fan_in = n_features.
        mask: the number that pads sequences on the right, from 0 to n_tokens - 1: places behind the last other number
            change nothing, see Sequences. None: every number counts.

    Shapes:
        x: (N, T) or (N,), integers.   y: (N, T, n_features) or (N, n_features).
        table: (n_tokens, n_features).

    Raises:
        ShapeError: the input is not (T,) or (), or not the first layer's, or it has a mask and a layer behind it does
            not honour that (at compile time).

    Source:
        Bengio et al. 2003, "A neural probabilistic language model", section 2.
    """

    n_tokens: int
    n_features: int
    init: Initializer = HeNormal()
    mask: int | None = None

    def __post_init__(self) -> None:
        extent("Embedding n_tokens", self.n_tokens)
        extent("Embedding n_features", self.n_features)
        check_initializers("Embedding", init=self.init)
        if self.mask is not None:
            whole("Embedding mask", self.mask, at_least=0, at_most=self.n_tokens - 1)

    @property
    def tokens(self) -> int | None:
        return self.n_tokens

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) > 1:
            raise ShapeError("needs whole numbers (T,) or ()")
        if self.mask is not None and not shape:
            raise ShapeError("needs sequences (T,) for its mask", "say input((T,))")
        return (*shape, self.n_features)

    def params(self, shape: Shape) -> dict[str, Param]:
        size = (self.n_tokens, self.n_features)
        return {"table": Param(size, self.init, self.n_features, self.n_features, rows=True)}

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        return p["table"][x], x

    def backward(self, ctx: Context, p: Arrays, g: Any, cache: Any, dy: Array) -> Array:
        g["table"].set(cache.reshape(-1), dy.reshape(-1, self.n_features))
        return ctx.ops.xp.zeros(cache.shape, dy.dtype)
