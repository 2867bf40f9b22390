"""Recurrent layers: each place of a sequence is read with a state that what was read before has left."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from gedanken.checks import extent, one_of, real, truth
from gedanken.init import DEFAULT, Constant, Initializer, Orthogonal, Zeros, check_initializers
from gedanken.layers.base import Context, Layer, Param
from gedanken.layers.conv1d import require_sequence
from gedanken.layers.gates import ByGate
from gedanken.ops import Ops
from gedanken.types import Array, Arrays, Shape


class Recurrent(Layer):
    """What recurrent layers share: the way through the places, forwards and backwards.

    The state of a sequence is 0 before its first place, and stays as it is behind its last real one.
    """

    n_units: int
    last: bool
    reverse: bool
    bias: bool
    init: Initializer
    recurrent_init: Initializer
    bias_init: Initializer
    gates: ClassVar[int] = 1

    def __post_init__(self) -> None:
        name = type(self).__name__
        extent(f"{name} n_units", self.n_units)
        for field in ("last", "reverse", "bias"):
            truth(f"{name} {field}", getattr(self, field))
        initializers = {key: getattr(self, key) for key in ("init", "recurrent_init", "bias_init")}
        check_initializers(name, **initializers)

    @abstractmethod
    def step(self, ops: Ops, p: Arrays, a: Array, state: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Return the state behind one place, and what `step_back` needs.

        Shapes:
            a: (N, gates * n_units), the place's input times the kernel, with the bias.   state: (N, size) each, of
                `sizes`.
        """

    @abstractmethod
    def step_back(
        self, ops: Ops, p: Arrays, kept: Any, d: Sequence[Array]
    ) -> tuple[Array, Array, tuple[Array, ...]]:  # fmt: skip
        """Return the gradients with respect to `a`, to what the state's products gave, and to the state before.

        Those of several products stand beside each other, as `_recurrent_gradient` reads them.

        Args:
            d: the gradients with respect to the state behind the place.
        """

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers in each of the arrays that go from place to place; the first one comes out."""
        return (self.n_units,)

    def output_shape(self, shape: Shape) -> Shape:
        require_sequence(shape)
        return self.sizes[:1] if self.last else (shape[0], self.sizes[0])

    def output_lengths(self, shape: Shape, lengths: Array) -> Array | None:
        return None if self.last else lengths

    def may_be_cut(self, shape: Shape, places: int) -> bool:
        return True

    def params(self, shape: Shape) -> dict[str, Param]:
        features, units, gates = shape[1], self.n_units, self.gates
        kernel = ByGate((self.init,) * gates)
        recurrent = ByGate((self.recurrent_init,) * gates)
        found = {
            "kernel": Param((features, gates * units), kernel, features, units, decay=True),
            "recurrent": Param((self.sizes[0], gates * units), recurrent, self.sizes[0], units, decay=True),
        }
        if self.bias:
            found["bias"] = Param((gates * units,), ByGate(self._bias_rules()), features, units)
        return found

    def _bias_rules(self) -> tuple[Initializer, ...]:
        return (self.bias_init,) * self.gates

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        return self.read(ctx, ctx.lengths, p, x)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        return self.read_back(ctx, p, g, cache, dy)[0]

    def read(
        self, ctx: Context, lengths: Array | None, p: Arrays, x: Array, starts: Sequence[Array] = ()
    ) -> tuple[Array, Any]:
        """Do the forward pass; `starts` are the first of the states, (N, n_units) each, where they are not 0."""
        ops, xp = ctx.ops, ctx.ops.xp
        inputs = ops.product(_rows(x), p["kernel"]).reshape(*x.shape[:2], -1)
        if self.bias:
            inputs += p["bias"]
        real_at = ops.real_places(xp.ones(x.shape[:2], bool), lengths)
        others = self.sizes[len(starts) :]
        state = (*starts, *(xp.zeros((len(x), size), x.dtype) for size in others))
        y, tape = xp.zeros((*x.shape[:2], self.sizes[0]), x.dtype), []
        for t in self._order(x.shape[1]):
            made, kept = self.step(ops, p, inputs[:, t], state)
            now = real_at[:, t, None]
            state = tuple(xp.where(now, new, old) for new, old in zip(made, state, strict=True))
            y[:, t] = xp.where(now, state[0], 0)
            tape.append(kept)
        return (state[0] if self.last else y), (x, real_at, tape)

    def read_back(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> tuple[Array, list[Array]]:
        """Do the backward pass; return also the gradients with respect to the states before the first place."""
        ops, xp, (x, real_at, tape) = ctx.ops, ctx.ops.xp, cache
        da, db = xp.zeros((*x.shape[:2], self.gates * self.n_units), dy.dtype), [dy] * x.shape[1]
        d = [xp.zeros((len(x), size), dy.dtype) for size in self.sizes]
        if self.last:
            d[0] = dy
        for t, kept in reversed(list(zip(self._order(x.shape[1]), tape, strict=True))):
            now = real_at[:, t, None]
            if not self.last:
                d[0] = d[0] + xp.where(now, dy[:, t], 0)
            inputs, products, before = self.step_back(ops, p, kept, d)
            da[:, t], db[t] = xp.where(now, inputs, 0), xp.where(now, products, 0)
            d = [xp.where(now, new, old) for new, old in zip(before, d, strict=True)]
        g["kernel"][...] = ops.product_sum(_rows(x), _rows(da))
        if self.bias:
            g["bias"][...] = ops.sum(_rows(da), axis=0)
        kept_at = list(zip(self._order(x.shape[1]), tape, strict=True))
        self._recurrent_gradient(ops, g, kept_at, xp.stack(db, axis=1))
        return ops.product(_rows(da), p["kernel"].T).reshape(x.shape), d

    def _recurrent_gradient(self, ops: Ops, g: Arrays, tape: Sequence[tuple[int, Any]], db: Array) -> None:
        """Set the gradients of what the state is multiplied with; `tape` has for each place what its step kept."""
        g["recurrent"][...] = ops.product_sum(_rows(_stacked(ops, tape, 0)), _rows(db))

    def _order(self, places: int) -> range:
        return range(places - 1, -1, -1) if self.reverse else range(places)

    def multiply_adds(self, shape: Shape) -> int:
        return shape[0] * (shape[1] + self.sizes[0]) * self.gates * self.n_units

    def activations(self, shape: Shape) -> int:
        return shape[0] * (self.gates * self.n_units + sum(self.sizes))


@dataclass(frozen=True, eq=False, repr=False)
class SimpleRNN(Recurrent):
    """One product and an activation at each place of a sequence.

        h[t] = f(x[t] @ kernel + h[t - 1] @ recurrent + bias),   h[-1] = 0,   y[t] = h[t]

    Args:
        n_units: features of the state, at least 1.
        activation: f, "tanh" or "relu".
        last: whether only the state behind the last real place comes out, not that behind each.
        reverse: whether the sequence is read from its last real place to its first; y[t] is still that of place t.
        bias: whether a bias is added.
        init: first values of the kernel; by default uniform with variance 1 / (3 * fan_in).
        recurrent_init: first values of the recurrent kernel; by default orthogonal.
        bias_init: first values of the bias.

    Shapes:
        x: (N, T, F).   y: (N, T, n_units), 0 at padded places, or with `last` (N, n_units).
        kernel: (F, n_units).   recurrent: (n_units, n_units).   bias: (n_units,).

    Raises:
        ShapeError: the input is no sequence (T, F) (at compile time).

    Source:
        Elman 1990, "Finding structure in time".
    """

    n_units: int
    _: KW_ONLY
    activation: str = "tanh"
    last: bool = False
    reverse: bool = False
    bias: bool = True
    init: Initializer = DEFAULT
    recurrent_init: Initializer = Orthogonal()
    bias_init: Initializer = Zeros()

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("SimpleRNN activation", self.activation, ("tanh", "relu"))

    def step(self, ops: Ops, p: Arrays, a: Array, state: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        a = a + ops.product(state[0], p["recurrent"])
        h = ops.xp.tanh(a) if self.activation == "tanh" else ops.xp.where(a < 0, a.dtype.type(0), a)
        return (h,), (state[0], h)

    def step_back(
        self, ops: Ops, p: Arrays, kept: Any, d: Sequence[Array]
    ) -> tuple[Array, Array, tuple[Array, ...]]:  # fmt: skip
        _, h = kept
        da = d[0] * ((1 - h * h) if self.activation == "tanh" else h > 0)
        return da, da, (ops.product(da, p["recurrent"].T),)


@dataclass(frozen=True, eq=False, repr=False)
class LSTM(Recurrent):
    """A memory cell at each place, which gates let in, keep and let out.

        i, f, g, o = x[t] @ kernel + h[t - 1] @ recurrent + bias,   a quarter each
        c[t] = sigmoid(f) * c[t - 1] + sigmoid(i) * tanh(g)
        h[t] = sigmoid(o) * tanh(c[t]),   h[-1] = c[-1] = 0,   y[t] = h[t]
        h[t] = (sigmoid(o) * tanh(c[t])) @ projection      with a projection

    The gates stand in the order of PyTorch and Keras. PyTorch's matrices are turned, and its two biases are added.

    Args:
        n_units: features of the state, at least 1.
        last: whether only the state behind the last real place comes out, not that behind each.
        reverse: whether the sequence is read from its last real place to its first; y[t] is still that of place t.
        bias: whether a bias is added.
        projection: features of h, at least 1, where they are not n_units: fewer make the recurrent kernel small.
        forget_bias: first value of the bias of f, finite: with 1 a cell remembers before it has learnt to.
        init: first values of the kernel, gate by gate; by default uniform with variance 1 / (3 * fan_in).
        recurrent_init: those of the recurrent kernel; by default orthogonal.
        bias_init: first values of the other gates' biases.

    Shapes:
        x: (N, T, F).   y: (N, T, n_units), 0 at padded places, or with `last` (N, n_units).
        kernel: (F, 4 * n_units).   recurrent: (n_units, 4 * n_units).   bias: (4 * n_units,).
        With a projection P y is (N, T, P) or (N, P), recurrent (P, 4 * n_units), and there is projection: (n_units, P).

    Raises:
        ShapeError: the input is no sequence (T, F) (at compile time).

    Source:
        Hochreiter & Schmidhuber 1997, "Long short-term memory"; Gers, Schmidhuber & Cummins 2000, "Learning to forget:
        continual prediction with LSTM" (the gate f); Jozefowicz, Zaremba & Sutskever 2015, "An empirical exploration of
        recurrent network architectures" (forget_bias); Sak, Senior & Beaufays 2014, arXiv:1402.1128, section 2.2
        (projection; without its part that is not recurrent).
    """

    n_units: int
    _: KW_ONLY
    last: bool = False
    reverse: bool = False
    bias: bool = True
    projection: int | None = None
    forget_bias: float = 1.0
    init: Initializer = DEFAULT
    recurrent_init: Initializer = Orthogonal()
    bias_init: Initializer = Zeros()
    gates = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.projection is not None:
            extent("LSTM projection", self.projection)
        real("LSTM forget_bias", self.forget_bias, "(-inf, inf)")

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.projection or self.n_units, self.n_units)

    def params(self, shape: Shape) -> dict[str, Param]:
        found = super().params(shape)
        if self.projection:
            size = (self.n_units, self.projection)
            found["projection"] = Param(size, self.recurrent_init, *size, decay=True)
        return found

    def multiply_adds(self, shape: Shape) -> int:
        return super().multiply_adds(shape) + shape[0] * self.n_units * (self.projection or 0)

    def _bias_rules(self) -> tuple[Initializer, ...]:
        return (self.bias_init, Constant(self.forget_bias), self.bias_init, self.bias_init)

    def step(self, ops: Ops, p: Arrays, a: Array, state: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        h, c = state
        i, f, g, o = ops.split(a + ops.product(h, p["recurrent"]), (self.n_units,) * 4)
        i, f, g, o = ops.sigmoid(i), ops.sigmoid(f), ops.xp.tanh(g), ops.sigmoid(o)
        new = f * c + i * g
        shown = ops.xp.tanh(new)
        out = ops.product(o * shown, p["projection"]) if self.projection else o * shown
        return (out, new), (h, c, i, f, g, o, shown)

    def step_back(
        self, ops: Ops, p: Arrays, kept: Any, d: Sequence[Array]
    ) -> tuple[Array, Array, tuple[Array, ...]]:  # fmt: skip
        _, c, i, f, g, o, shown = kept
        dh = ops.product(d[0], p["projection"].T) if self.projection else d[0]
        dc = d[1] + dh * o * (1 - shown * shown)
        di, df, dg = dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g)
        da = ops.concatenate([di, df, dg, dh * shown * o * (1 - o)])
        products = ops.concatenate([da, d[0]]) if self.projection else da
        return da, products, (ops.product(da, p["recurrent"].T), dc * f)

    def _recurrent_gradient(self, ops: Ops, g: Arrays, tape: Sequence[tuple[int, Any]], db: Array) -> None:
        width = self.gates * self.n_units
        super()._recurrent_gradient(ops, g, tape, db[:, :, :width])
        if self.projection:
            given = _stacked(ops, tape, 5) * _stacked(ops, tape, 6)
            g["projection"][...] = ops.product_sum(_rows(given), _rows(db[:, :, width:]))


@dataclass(frozen=True, eq=False, repr=False)
class GRU(Recurrent):
    """A state at each place that gates let go, and mix with a new one.

        r, z = sigmoid(x[t] @ kernel + h[t - 1] @ recurrent + bias), the first and second third of each
        n = tanh(x[t] @ kernel + bias + r * (h[t - 1] @ recurrent + recurrent_bias))   the last third; reset_after
        n = tanh(x[t] @ kernel + bias + (r * h[t - 1]) @ recurrent)                    the same without
        h[t] = (1 - z) * n + z * h[t - 1],   h[-1] = 0,   y[t] = h[t]

    The gates stand in the order of PyTorch; Keras has z before r. Of PyTorch's second bias the thirds of r and z are
    added to the first, the last third is `recurrent_bias`.

    Args:
        n_units: features of the state, at least 1.
        reset_after: whether r comes after the product, as in PyTorch, cuDNN and Keras; without, as in the paper.
        last: whether only the state behind the last real place comes out, not that behind each.
        reverse: whether the sequence is read from its last real place to its first; y[t] is still that of place t.
        bias: whether biases are added.
        init: first values of the kernel, gate by gate; by default uniform with variance 1 / (3 * fan_in).
        recurrent_init: those of the recurrent kernel; by default orthogonal.
        bias_init: first values of the biases.

    Shapes:
        x: (N, T, F).   y: (N, T, n_units), 0 at padded places, or with `last` (N, n_units).
        kernel: (F, 3 * n_units).   recurrent: (n_units, 3 * n_units).   bias: (3 * n_units,).
        recurrent_bias: (n_units,), with reset_after only.

    Raises:
        ShapeError: the input is no sequence (T, F) (at compile time).

    Source:
        Cho et al. 2014, arXiv:1406.1078, equations 5 to 8, with z and 1 - z exchanged as PyTorch has it; reset_after:
        Chetlur et al. 2014, arXiv:1410.0759, cuDNN.
    """

    n_units: int
    _: KW_ONLY
    reset_after: bool = True
    last: bool = False
    reverse: bool = False
    bias: bool = True
    init: Initializer = DEFAULT
    recurrent_init: Initializer = Orthogonal()
    bias_init: Initializer = Zeros()
    gates = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        truth("GRU reset_after", self.reset_after)

    def params(self, shape: Shape) -> dict[str, Param]:
        found = super().params(shape)
        if self.bias and self.reset_after:
            found["recurrent_bias"] = Param((self.n_units,), self.bias_init, self.n_units, self.n_units)
        return found

    def step(self, ops: Ops, p: Arrays, a: Array, state: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        (h,), units = state, self.n_units
        gates = ops.sigmoid(a[:, : 2 * units] + ops.product(h, p["recurrent"][:, : 2 * units]))
        r, z = ops.split(gates, (units, units))
        read = h if self.reset_after else r * h
        shown = ops.product(read, p["recurrent"][:, 2 * units :]) + p.get("recurrent_bias", 0)
        n = ops.xp.tanh(a[:, 2 * units :] + (r * shown if self.reset_after else shown))
        return ((1 - z) * n + z * h,), (h, read, r, z, n, shown)

    def step_back(
        self, ops: Ops, p: Arrays, kept: Any, d: Sequence[Array]
    ) -> tuple[Array, Array, tuple[Array, ...]]:  # fmt: skip
        (h, _, r, z, n, shown), (dh,), units = kept, d, self.n_units
        recurrent, candidate = p["recurrent"][:, : 2 * units], p["recurrent"][:, 2 * units :]
        dz, dn = dh * (h - n) * z * (1 - z), dh * (1 - z) * (1 - n * n)
        dshown = dn * r if self.reset_after else dn
        dread = ops.product(dshown, candidate.T)
        dr = (dn * shown if self.reset_after else dread * h) * r * (1 - r)
        gates = ops.concatenate([dr, dz])
        before = dh * z + ops.product(gates, recurrent.T) + (dread if self.reset_after else dread * r)
        return ops.concatenate([gates, dn]), ops.concatenate([gates, dshown]), (before,)

    def _recurrent_gradient(self, ops: Ops, g: Arrays, tape: Sequence[tuple[int, Any]], db: Array) -> None:
        gates, candidate = _rows(db)[:, : 2 * self.n_units], _rows(db)[:, 2 * self.n_units :]
        g["recurrent"][:, : 2 * self.n_units] = ops.product_sum(_rows(_stacked(ops, tape, 0)), gates)
        g["recurrent"][:, 2 * self.n_units :] = ops.product_sum(_rows(_stacked(ops, tape, 1)), candidate)
        if "recurrent_bias" in g:
            g["recurrent_bias"][...] = ops.sum(candidate, axis=0)


def _rows(x: Array) -> Array:
    """Return all places of all sequences in rows."""
    return x.reshape(-1, x.shape[-1])


def _stacked(ops: Ops, tape: Sequence[tuple[int, Any]], number: int) -> Array:
    """Return value `number` of what each step kept, place by place: (N, T, size)."""
    return ops.xp.stack([kept[number] for _, kept in sorted(tape, key=lambda one: one[0])], axis=1)
