"""Layers whose input is mostly zeros: of their parameters a step touches few rows."""

from dataclasses import dataclass
from typing import Any

from gedanken.checks import extent, real, truth
from gedanken.errors import ShapeError
from gedanken.init import DEFAULT, GlorotNormal, Initializer, Zeros, check_initializers
from gedanken.layers.base import Context, Layer, Param, StateValue
from gedanken.types import Array, Arrays, Shape


@dataclass(frozen=True, eq=False, repr=False)
class SparseFullyConnectedLayer(Layer):
    """Multiply rows of which most numbers are 0 with a matrix and add a bias; it can only be the first layer.

        y[n] = bias + sum over k with x[n, k] != 0 of x[n, k] * kernel[k]

    Its time follows the numbers that are not 0, and so does that of an update by SGD or AdaGrad. The others, clipping
    and `accumulate` look at the whole kernel in each step, with the same result.

    Args:
        n_units: features of the output, at least 1.
        bias: whether a bias is added.
        l2: strength of the penalty l2 / 2 * |kernel|**2, >= 0. A step adds l2 * kernel[k] / share[k] for each sample
            that has feature k, where share[k] is the fraction of samples so far that had it: in the mean this is
            l2 * kernel. For a feature that few samples have that is a long step: a stable one while the learning rate
            times l2 is below twice its share. `weight_decay` does not apply to the kernel, since it would change all of
            it in each step.
        init: first values of the kernel; by default uniform with variance 1 / (3 * fan_in).
        bias_init: first values of the bias.

    Shapes:
        x: (N, F), SparseRows, a SciPy matrix or an array.   y: (N, n_units).
        kernel: (F, n_units).   bias: (n_units,).   seen: (F + 1,), samples that had each feature, and all.

    Raises:
        ShapeError: the input is not (F,), or it is not the first layer (at compile time).

    Source:
        Niu, Recht, Ré & Wright 2011, "HOGWILD!", arXiv:1106.5730, equation 2 (the penalty by feature).
    """

    n_units: int
    bias: bool = True
    l2: float = 0.0
    init: Initializer = DEFAULT
    bias_init: Initializer = Zeros()

    def __post_init__(self) -> None:
        extent("SparseFullyConnectedLayer n_units", self.n_units)
        truth("SparseFullyConnectedLayer bias", self.bias)
        real("SparseFullyConnectedLayer l2", self.l2, "[0, inf)")
        check_initializers("SparseFullyConnectedLayer", init=self.init, bias_init=self.bias_init)

    @property
    def sparse(self) -> bool:
        return True

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise ShapeError("needs rows (F,)", "say input((F,))")
        return (self.n_units,)

    def params(self, shape: Shape) -> dict[str, Param]:
        features = shape[0]
        kernel = Param((features, self.n_units), self.init, features, self.n_units, rows=True)
        bias = {"bias": Param((self.n_units,), self.bias_init, features, self.n_units)} if self.bias else {}
        return {"kernel": kernel, **bias}

    def state(self, shape: Shape) -> dict[str, StateValue]:
        return {"seen": StateValue((shape[0] + 1,), 0.0)} if self.l2 else {}

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Any) -> tuple[Array, Any]:
        xp = ctx.ops.xp
        rows, columns, values = (ctx.ops.asarray(part, part.dtype) for part in x.listed())
        total = xp.zeros((len(x), self.n_units), "float64")
        xp.add.at(total, rows, values[:, None] * p["kernel"][columns])
        if self.bias:
            total += p["bias"]
        penalty = None
        if self.l2:
            if ctx.train:
                xp.add.at(s["seen"], columns, 1)
                s["seen"][-1] += len(x)
            share = xp.maximum(s["seen"][columns], 1) / xp.maximum(s["seen"][-1], 1)
            penalty = self.l2 / share
        return total.astype(p["kernel"].dtype), (x.shape, rows, columns, values, penalty)

    def backward(self, ctx: Context, p: Arrays, g: Any, cache: Any, dy: Array) -> Array:
        shape, rows, columns, values, penalty = cache
        changes = values[:, None] * dy[rows]
        if penalty is not None:
            changes = changes + penalty[:, None] * p["kernel"][columns] / shape[0]
        g["kernel"].set(columns, changes)
        if self.bias:
            g["bias"][...] = ctx.ops.sum(dy, axis=0)
        return ctx.ops.xp.broadcast_to(ctx.ops.asarray(0.0), shape)  # nobody reads it, so it takes no memory

    def multiply_adds(self, shape: Shape) -> int:
        return shape[0] * self.n_units  # as if no number were 0


@dataclass(frozen=True, eq=False, repr=False)
class MatrixFactorisation(Layer):
    """The entry of a matrix that is a product of two thin ones, as for ratings of things by people; the only layer.

        y[n] = offset + row_bias[i] + column_bias[j] + rows[i] . columns[j],   (i, j) = x[n]

    Args:
        n_rows, n_columns: of the matrix, each at least 1.
        rank: length of the vectors `rows[i]` and `columns[j]`, at least 1.
        bias: whether there are biases and an offset.
        l2: strength of the penalty, >= 0: a step adds l2 times the vectors and biases of each sample in it.
        init: first values of the vectors; variances are those of fan_in = fan_out = rank.

    Shapes:
        x: (N, 2), whole numbers.   y: (N, 1).
        rows: (n_rows, rank).   columns: (n_columns, rank).   row_bias: (n_rows, 1).   column_bias: (n_columns, 1).

    Raises:
        ShapeError: the input is not (2,), or it is not the first layer (at compile time).

    Source:
        Koren, Bell & Volinsky 2009, "Matrix factorization techniques for recommender systems", equations 4 and 5.
    """

    n_rows: int
    n_columns: int
    rank: int
    bias: bool = True
    l2: float = 0.0
    init: Initializer = GlorotNormal()

    def __post_init__(self) -> None:
        for name in ("n_rows", "n_columns", "rank"):
            extent(f"MatrixFactorisation {name}", getattr(self, name))
        truth("MatrixFactorisation bias", self.bias)
        real("MatrixFactorisation l2", self.l2, "[0, inf)")
        check_initializers("MatrixFactorisation", init=self.init)

    @property
    def tokens(self) -> tuple[int, ...]:
        return self.n_rows, self.n_columns

    def output_shape(self, shape: Shape) -> Shape:
        if shape != (2,):
            raise ShapeError("needs pairs of a row and a column", "say input((2,))")
        return (1,)

    def params(self, shape: Shape) -> dict[str, Param]:
        found = {
            name: Param((size, self.rank), self.init, self.rank, self.rank, rows=True)
            for name, size in (("rows", self.n_rows), ("columns", self.n_columns))
        }
        if self.bias:
            found["offset"] = Param((1,), Zeros(), 1, 1)
            for name, size in (("row_bias", self.n_rows), ("column_bias", self.n_columns)):
                found[name] = Param((size, 1), Zeros(), 1, 1, rows=True)
        return found

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        rows, columns = x[:, 0], x[:, 1]
        y = ctx.ops.sum(p["rows"][rows] * p["columns"][columns], axis=1, keepdims=True)
        if self.bias:
            y += p["offset"] + p["row_bias"][rows] + p["column_bias"][columns]
        return y, (rows, columns)

    def backward(self, ctx: Context, p: Arrays, g: Any, cache: Any, dy: Array) -> Array:
        rows, columns = cache
        pull = self.l2 / len(dy)
        g["rows"].set(rows, dy * p["columns"][columns] + pull * p["rows"][rows])
        g["columns"].set(columns, dy * p["rows"][rows] + pull * p["columns"][columns])
        if self.bias:
            g["offset"][...] = ctx.ops.sum(dy, axis=0)
            g["row_bias"].set(rows, dy + pull * p["row_bias"][rows])
            g["column_bias"].set(columns, dy + pull * p["column_bias"][columns])
        return ctx.ops.xp.broadcast_to(ctx.ops.asarray(0.0), (len(dy), 2))

    def multiply_adds(self, shape: Shape) -> int:
        return self.rank


class _AnyShares(Initializer):
    """Rows of numbers that are not negative and sum to 1, all equally likely."""

    def __call__(self, rng: Any, shape: Shape, fan_in: int, fan_out: int) -> Array:
        draws = rng.exponential(size=shape)
        return draws / draws.sum(axis=1, keepdims=True)


@dataclass(frozen=True, eq=False, repr=False)
class GraphCut(Layer):
    """How much two nodes of a graph differ in their labels; the only layer. Learning gives each node a label.

        y[n] = 1/2 * sum over l of |shares[i, l] - shares[j, l]|,   (i, j) = x[n]

    A node has a share of each label; they are not negative and sum to 1, which an update by any rule keeps. So y is 0
    for nodes of the same label and 1 for different ones. Nodes 0 to n_labels - 1 stand for the labels themselves: node
    l has all of label l, for ever. The others come after them, and begin with any shares. With the cost `WeightedMean`
    the labels that `fit` is given are the weights of edges, and learning makes small

        sum over edges of weight * y

    half of what the paper's sum is; where shares end up as 0 and 1 it is the weight of a multiway cut. An edge between
    node l and another one says how much speaks for label l there.

    Args:
        n_nodes: that are to be labelled, at least 1.
        n_labels: at least 2.

    Shapes:
        x: (N, 2), whole numbers from 0 to n_labels + n_nodes - 1.   y: (N, 1).
        shares: (n_nodes, n_labels).

    Raises:
        ShapeError: the input is not (2,), or it is not the first layer (at compile time).

    Source:
        Niu, Recht, Ré & Wright 2011, "HOGWILD!", arXiv:1106.5730, equation 4; Calinescu, Karloff & Rabani 1998, "An
        improved approximation algorithm for multiway cut" (shares instead of labels).
    """

    n_nodes: int
    n_labels: int

    def __post_init__(self) -> None:
        extent("GraphCut n_nodes", self.n_nodes)
        extent("GraphCut n_labels", self.n_labels, at_least=2)

    @property
    def tokens(self) -> tuple[int, ...]:
        return (self.n_labels + self.n_nodes,) * 2

    def output_shape(self, shape: Shape) -> Shape:
        if shape != (2,):
            raise ShapeError("needs pairs of nodes", "say input((2,))")
        return (1,)

    def params(self, shape: Shape) -> dict[str, Param]:
        size = self.n_nodes, self.n_labels
        return {"shares": Param(size, _AnyShares(), 1, 1, rows=True, simplex=True)}

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        apart = self._shares(ctx, p, x[:, 0]) - self._shares(ctx, p, x[:, 1])
        return ctx.ops.sum(abs(apart), axis=1, keepdims=True) / 2, (x, ctx.ops.xp.sign(apart))

    def _shares(self, ctx: Context, p: Arrays, nodes: Array) -> Array:
        xp = ctx.ops.xp
        fixed = nodes[:, None] == xp.arange(self.n_labels)
        free = p["shares"][xp.maximum(nodes - self.n_labels, 0)]
        return xp.where((nodes < self.n_labels)[:, None], fixed.astype(free.dtype), free)

    def backward(self, ctx: Context, p: Arrays, g: Any, cache: Any, dy: Array) -> Array:
        xp, (x, signs) = ctx.ops.xp, cache
        nodes = xp.concatenate([x[:, 0], x[:, 1]]) - self.n_labels
        pulls = xp.concatenate([signs * dy / 2, -signs * dy / 2])
        g["shares"].set(nodes[nodes >= 0], pulls[nodes >= 0])
        return xp.broadcast_to(ctx.ops.asarray(0.0), (len(dy), 2))

    def multiply_adds(self, shape: Shape) -> int:
        return 0
