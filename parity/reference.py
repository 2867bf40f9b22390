"""What each layer is in PyTorch, and how to run either side on the same numbers.

Parameters stay in Gedanken's layouts, as leaves of autograd, and are turned for PyTorch inside the formula; so
PyTorch's gradients come back in Gedanken's layouts. Images are channels-first here, as users give them to a network.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

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
    AveragePool1DLayer,
    AveragePoolLayer,
    BatchNorm,
    Bidirectional,
    Branches,
    Convolution1DLayer,
    ConvolutionLayer,
    CroppingLayer,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    FunctionLayer,
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
    Network,
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
    TanH,
    TanHShrink,
    Threshold,
    TransposedConvolutionLayer,
    UnitNorm,
    UpsamplingLayer,
)
from gedanken.costs import Cost
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.sparse import RowGradient

TOLERANCE = 1e-9
ENGINE = os.environ.get("PARITY_ENGINE", "auto")

Tensors = Mapping[str, Tensor]


# ------------------------------------------------------------------ comparing


def difference(ours: Any, theirs: Any, least: float = float(np.finfo(float).tiny)) -> float:
    """Return the largest difference, divided by the largest value of PyTorch's side or at least by `least`."""
    a = np.asarray(ours, dtype=np.float64)
    b = theirs.detach().numpy() if isinstance(theirs, Tensor) else np.asarray(theirs)
    assert a.shape == b.shape
    assert np.isfinite(a).all() and np.isfinite(b).all()
    return float(abs(a - b).max(initial=0) / max(abs(b).max(initial=0), least))


def assert_agree(ours: Mapping[str, Any], theirs: Mapping[str, Any], **least: float) -> None:
    """Fail with every name whose difference is too large."""
    assert ours.keys() == theirs.keys()
    apart = {name: difference(ours[name], theirs[name], **least) for name in theirs}
    worst = {name: d for name, d in apart.items() if not d < TOLERANCE}
    assert not worst, f"these differ by more than {TOLERANCE}: {worst}"


def tensors(arrays: Mapping[str, Any], grad: bool = False) -> dict[str, Tensor]:
    """Return float64 copies, or int64 ones of whole numbers."""
    copies = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    return {name: t.requires_grad_(grad and t.is_floating_point()) for name, t in copies.items()}


# ------------------------------------------------------------------ our side


class Probe(Layer):
    """Passes its input on and keeps the gradient that comes back, so that a plan shows the gradient by its input."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> tuple[Any, Any]:
        return x, None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        self.seen.append(ctx.ops.to_host(dy).copy())
        return dy


class Ours:
    """Layers in a plan, behind a probe where their input has a gradient."""

    def __init__(self, layers: Sequence[Layer], shape: tuple[int, ...], cost: Cost | None = None) -> None:
        self.probe = None if layers[0].tokens is not None or layers[0].sparse else Probe()
        row = [*([self.probe] if self.probe else []), *layers]
        self.plan = Plan(row, shape, select_engine(ENGINE, "float64"), seed=3, cost=cost)
        self.plan.initialise()
        self.first = len(row) - len(layers)

    def randomise(self, rng: np.random.Generator) -> None:
        """Give all parameters and running values numbers that no rule of initialisation gives."""
        for name, view in self.plan.arrays().items():
            view[...] = rng.uniform(0.5, 2, view.shape) if name.endswith("var") else rng.normal(0, 1, view.shape)
            if name.endswith("count"):
                view[...] = 3

    def run(self, x: Any, dy: Any = None, train: bool = True) -> tuple[Any, dict[str, Any]]:
        """Return the output and, where `dy` is given, the gradients by input ("x") and parameters."""
        ctx = self.plan.context(train)
        y, tape = self.plan.forward(ctx, x)
        if dy is None:
            return channels_first(y), {}
        self.plan.backward(ctx, tape, channels_last(dy))
        by_x = {"x": channels_first(self.probe.seen.pop())} if self.probe else {}
        return channels_first(y), {**by_x, **self._copies("g")}

    def p(self) -> dict[str, Any]:
        return self._copies("p")

    def s(self) -> dict[str, Any]:
        return self._copies("s")

    def _copies(self, kind: str) -> dict[str, Any]:
        found = {}
        for step in self.plan.layers[self.first :]:
            position, *inner = step.path.split(".")
            place = ".".join([str(int(position) - self.first), *inner])
            for name, view in getattr(step, kind).items():
                found[f"{place}.{name}"] = np.array(view.array if isinstance(view, RowGradient) else view)
        return found


def channels_first(x: Any) -> Any:
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x


def channels_last(x: Any) -> Any:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def network_arrays(net: Network) -> dict[str, Any]:
    """Return copies of a compiled network's parameters and running values by name."""
    assert net._plan is not None
    return net._plan.state()


# ------------------------------------------------------------------ PyTorch's side


class Theirs:
    """The same layers in PyTorch, with copies of the given parameters and running values."""

    def __init__(self, layers: Sequence[Layer], p: Mapping[str, Any], s: Mapping[str, Any]) -> None:
        self.chain, self.p, self.s = Sequential(layers), tensors(p, grad=True), tensors(s)

    def __call__(self, x: Tensor, train: bool = True) -> Tensor:
        return torched(self.chain, self.p, self.s, x, train)

    def run(self, x: Any, dy: Any, train: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what `Ours.run` returns."""
        leaves = {**tensors({"x": x}, grad=not self.chain.layers[0].sparse if self.chain.layers else True), **self.p}
        y = self(leaves["x"], train)
        wanted = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
        return y, dict(zip(wanted, torch.autograd.grad(y, list(wanted.values()), torch.from_numpy(dy)), strict=True))


@singledispatch
def torched(layer: Layer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    """Return what PyTorch makes of `layer`."""
    raise NotImplementedError(f"no PyTorch formula for {layer}")


def _inner(name: str, entries: Tensors) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in entries.items() if key.startswith(f"{name}.")}


def _plain(kind: type[Layer], function: Callable[[Layer, Tensor], Tensor]) -> None:
    """Register a layer without parameters."""
    torched.register(kind, lambda layer, p, s, x, train: function(layer, x))


_plain(ReLU, lambda layer, x: F.relu(x))
_plain(LeakyReLU, lambda layer, x: F.leaky_relu(x, layer.slope))
_plain(ELU, lambda layer, x: F.elu(x, layer.alpha))
_plain(Sigmoid, lambda layer, x: torch.sigmoid(x))
_plain(TanH, lambda layer, x: torch.tanh(x))
_plain(CELU, lambda layer, x: F.celu(x, layer.alpha))
_plain(SELU, lambda layer, x: F.selu(x))
_plain(ReLU6, lambda layer, x: F.relu6(x))
_plain(HardTanH, lambda layer, x: F.hardtanh(x, layer.low, layer.high))
_plain(HardSwish, lambda layer, x: F.hardswish(x))
_plain(Threshold, lambda layer, x: F.threshold(x, layer.threshold, layer.value))
_plain(Shrink, lambda layer, x: (F.softshrink if layer.offset else F.hardshrink)(x, layer.threshold))
_plain(Softplus, lambda layer, x: F.softplus(x, layer.beta, threshold=40))
_plain(LogSigmoid, lambda layer, x: F.logsigmoid(x))
_plain(Mish, lambda layer, x: F.mish(x))
_plain(Softsign, lambda layer, x: F.softsign(x))
_plain(TanHShrink, lambda layer, x: F.tanhshrink(x))
_plain(GELU, lambda layer, x: F.gelu(x, approximate="tanh" if layer.approximate else "none"))
_plain(GLU, lambda layer, x: F.glu(x, dim=layer.axes or (1 if x.ndim == 4 else -1)))
_plain(LogSoftMax, lambda layer, x: _shares(layer, x, F.log_softmax))
_plain(SiLU, lambda layer, x: F.silu(x))
_plain(SoftMax, lambda layer, x: _shares(layer, x, F.softmax))
_plain(Flatten, lambda layer, x: x.flatten(1))
_plain(Reshape, lambda layer, x: x.reshape(len(x), *layer.shape))
_plain(Permute, lambda layer, x: x.permute(0, *layer.axes))
_plain(PixelShuffle, lambda layer, x: F.pixel_shuffle(x, layer.factor))
_plain(PixelUnshuffle, lambda layer, x: F.pixel_unshuffle(x, layer.factor))
_plain(GlobalAveragePoolLayer, lambda layer, x: F.adaptive_avg_pool2d(x, 1).flatten(1))
_plain(GlobalMaxPoolLayer, lambda layer, x: F.adaptive_max_pool2d(x, 1).flatten(1))
_plain(GlobalLpPoolLayer, lambda layer, x: F.lp_pool2d(x.abs(), layer.power, x.shape[2:]).flatten(1))
_plain(GlobalLpPool1DLayer, lambda layer, x: F.lp_pool1d(x.mT.abs(), layer.power, x.shape[1])[..., 0])
_plain(AdaptiveAveragePoolLayer, lambda layer, x: F.adaptive_avg_pool2d(x, layer.size))
_plain(AdaptiveMaxPoolLayer, lambda layer, x: F.adaptive_max_pool2d(x, layer.size))
_plain(AdaptiveAveragePool1DLayer, lambda layer, x: F.adaptive_avg_pool1d(x.mT, layer.size).mT)
_plain(AdaptiveMaxPool1DLayer, lambda layer, x: F.adaptive_max_pool1d(x.mT, layer.size).mT)


@torched.register
def _(layer: FunctionLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    y = layer.function(torch, x.movedim(1, -1) if x.ndim == 4 else x, p)  # PyTorch as its `xp`
    return y.movedim(-1, 1) if y.ndim == 4 else y


@torched.register
def _(layer: UpsamplingLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    options: dict[str, Any] = {"size": layer.size, "scale_factor": layer.factor, "mode": layer.mode}
    return F.interpolate(x, **options, align_corners=None if layer.mode == "nearest" else layer.align_corners)


@torched.register
def _(layer: LocalResponseNorm, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    whole = x if x.ndim == 4 else x.movedim(-1, 1).reshape(len(x), x.shape[-1], -1)  # channels first
    y = F.local_response_norm(whole, layer.size, layer.alpha, layer.beta, layer.k)
    return y if x.ndim == 4 else y.movedim(1, -1).reshape(x.shape)


@torched.register
def _(layer: MaxPoolLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    size, stride, dilation, even = _pooled(layer)
    if even:
        return F.max_pool2d(x, size, stride, _pair(layer.zero_padding), dilation, layer.ceil_mode)
    whole = _pad(layer, x, stride, dilation, -torch.inf)
    return F.max_pool2d(whole, size, stride, 0, dilation, layer.ceil_mode)


@torched.register
def _(layer: AveragePoolLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    size, stride, dilation, even = _pooled(layer)
    if even and dilation == (1, 1):
        options = layer.ceil_mode, layer.count_padding, layer.divisor
        return F.avg_pool2d(x, size, stride, _pair(layer.zero_padding), *options)
    if dilation == (1, 1) and layer.count_padding:
        return F.avg_pool2d(_pad(layer, x, stride, dilation, 0.0), size, stride, 0, layer.ceil_mode)
    # Means over pixels that lie apart, or without uneven padding, PyTorch has as quotients of two sums.
    weight = torch.ones((1, 1, *size), dtype=x.dtype)
    both = x.flatten(0, 1)[:, None], torch.ones_like(x[:1, :1])
    outside = [0.0, float(layer.count_padding)]
    total, count = (
        F.conv2d(_pad(layer, one, stride, dilation, value), weight, None, stride, 0, dilation)
        for one, value in zip(both, outside, strict=True)
    )
    return (total / count).unflatten(0, x.shape[:2])[:, :, 0]


# PyTorch takes no sizes, and pads no windows of norms.
@torched.register
def _(layer: LpPoolLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    size, stride, dilation, _ = _pooled(layer)
    return F.lp_pool2d(_pad(layer, x, stride, dilation, 0.0).abs(), layer.power, size, stride)


@torched.register
def _(layer: LpPool1DLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    whole = F.pad(x.mT, _pair(layer.zero_padding))
    return F.lp_pool1d(whole.abs(), layer.power, layer.width_filter, layer.stride).mT


@torched.register
def _(layer: PaddingLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    mode = {"zeros": "constant"}.get(layer.mode, layer.mode)
    value = {"value": float(layer.value)} if mode == "constant" else {}
    if x.ndim == 3:
        return F.pad(x.movedim(1, 2), _pair(layer.padding), mode, **value).movedim(2, 1)
    rows, columns = _both_sides(layer.padding)
    return F.pad(x, (*columns, *rows), mode, **value)


@torched.register
def _(layer: CroppingLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    if x.ndim == 3:
        before, after = _pair(layer.cropping)
        return x[:, before : x.shape[1] - after]
    rows, columns = _both_sides(layer.cropping)
    return F.pad(x, (-columns[0], -columns[1], -rows[0], -rows[1]))


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value


def _both_sides(value: Any) -> Any:
    return tuple(map(_pair, _pair(value)))


def _same(length: int, size: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return the padding of "same" by its definition: ceil(length / stride) outputs, the odd one at the end."""
    total = max((-(-length // stride) - 1) * stride + dilation * (size - 1) + 1 - length, 0)
    return total // 2, total - total // 2


def _pad(layer: Any, x: Tensor, stride: tuple[int, int], dilation: tuple[int, int], value: float) -> Tensor:
    if layer.zero_padding == "same":
        rows = _same(x.shape[2], layer.height_filter, stride[0], dilation[0])
        columns = _same(x.shape[3], layer.width_filter, stride[1], dilation[1])
    else:
        rows, columns = _both_sides(layer.zero_padding)
    return F.pad(x, (*columns, *rows), value=value)


def _pooled(layer: Any) -> tuple[Any, Any, Any, bool]:
    """Return size, stride and dilation, and whether PyTorch pads so: alike on both sides, at most half a window."""
    size = (layer.height_filter, layer.width_filter)
    stride = size if layer.stride is None else _pair(layer.stride)
    padding = _pair(layer.zero_padding)
    even = layer.zero_padding != "same" and all(isinstance(one, int) for one in padding)
    return size, stride, _pair(layer.dilation), even and all(2 * a <= b for a, b in zip(padding, size, strict=True))


@torched.register
def _(layer: ConvolutionLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    stride, dilation = _pair(layer.stride), _pair(layer.dilation)
    kernel = p["kernel"].permute(3, 2, 0, 1)
    rest = (p.get("bias"), stride)
    if layer.padding_mode != "zeros":
        padding = layer.zero_padding if layer.zero_padding == "same" else _pair(layer.zero_padding)
        module = torch.nn.Conv2d(
            x.shape[1], layer.n_filter, kernel.shape[2:], stride, padding, dilation, layer.groups,
            padding_mode=layer.padding_mode, dtype=x.dtype,
        )  # fmt: skip
        return torch.func.functional_call(module, {"weight": kernel, "bias": p["bias"]}, (x,))
    if layer.zero_padding != "same" and all(isinstance(one, int) for one in _pair(layer.zero_padding)):
        return F.conv2d(x, kernel, *rest, _pair(layer.zero_padding), dilation, layer.groups)
    if stride == (1, 1) and layer.zero_padding == "same":
        return F.conv2d(x, kernel, *rest, "same", dilation, layer.groups)
    return F.conv2d(_pad(layer, x, stride, dilation, 0.0), kernel, *rest, 0, dilation, layer.groups)


@torched.register
def _(layer: TransposedConvolutionLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    stride, dilation, more = _pair(layer.stride), _pair(layer.dilation), _pair(layer.output_padding)
    kernel, cut = p["kernel"].permute(3, 2, 0, 1), (0, 0)
    if layer.zero_padding != "same":
        cut = _pair(layer.zero_padding)
        return F.conv_transpose2d(x, kernel, p.get("bias"), stride, cut, more, layer.groups, dilation)
    # By its definition: the input gradient of the convolution whose output x is.
    image = (len(x), layer.n_filter, x.shape[2] * stride[0], x.shape[3] * stride[1])
    picture = torch.zeros(image, dtype=x.dtype, requires_grad=True)
    small = F.conv2d(_pad(layer, picture, stride, dilation, 0.0), kernel, None, stride, 0, dilation, layer.groups)
    (y,) = torch.autograd.grad(small, picture, x, create_graph=True)
    return y + p["bias"][:, None, None] if layer.bias else y


@torched.register
def _(layer: FullyConnectedLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    return F.linear(x, p["kernel"].T, p.get("bias"))


@torched.register
def _(layer: Embedding, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    return F.embedding(x, p["table"])


def read(layer: Any, each: Sequence[Tensors], x: Tensor, lengths: Any = None, first: Any = None) -> Tensor:
    """Return what PyTorch's module makes of sequences, in both directions where `each` has parameters of two.

    `first` is the state before the first place, as PyTorch takes it.
    """
    kind = {SimpleRNN: torch.nn.RNN, LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}[type(layer)]
    more = {"nonlinearity": layer.activation} if isinstance(layer, SimpleRNN) else {}
    more |= {"proj_size": layer.projection or 0} if isinstance(layer, LSTM) else {}
    units, two = layer.n_units, len(each) == 2
    module = kind(x.shape[2], units, bias=layer.bias, batch_first=True, bidirectional=two, dtype=x.dtype, **more)
    weights = []
    for p in each:
        weights += [p["kernel"].T.contiguous(), p["recurrent"].T.contiguous()]
        if layer.bias:
            second = torch.zeros_like(p["bias"])
            if "recurrent_bias" in p:
                second = torch.cat([second[: 2 * units], p["recurrent_bias"]])
            weights += [p["bias"], second]
        if "projection" in p:
            weights.append(p["projection"].T.contiguous())
    module._flat_weights = weights
    rnn = torch.nn.utils.rnn
    given = x if lengths is None else rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, state = module(given, first)
    if layer.last:
        h = state[0] if isinstance(layer, LSTM) else state
        return torch.cat(list(h), dim=-1)
    return y if lengths is None else rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])[0]


@torched.register(SimpleRNN)
@torched.register(LSTM)
@torched.register(GRU)
def _(layer: Any, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    y = read(layer, [p], x.flip(1) if layer.reverse else x)
    return y.flip(1) if layer.reverse and not layer.last else y


@torched.register
def _(layer: Bidirectional, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    y = read(layer.layer, [_inner("forwards.0", p), _inner("backwards.0", p)], x)
    return y if layer.merge == "concatenate" else _merged(layer.merge, y.tensor_split(2, dim=-1))


@torched.register
def _(layer: SparseFullyConnectedLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    return F.linear(x, p["kernel"].T, p.get("bias"))


@torched.register
def _(layer: MatrixFactorisation, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    rows, columns = x.T
    y = (F.embedding(rows, p["rows"]) * F.embedding(columns, p["columns"])).sum(1, keepdim=True)
    return y + p["offset"] + F.embedding(rows, p["row_bias"]) + F.embedding(columns, p["column_bias"])


@torched.register
def _(layer: GraphCut, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    whole = torch.cat([torch.eye(layer.n_labels, dtype=p["shares"].dtype), p["shares"]])
    return (F.embedding(x[:, 0], whole) - F.embedding(x[:, 1], whole)).abs().sum(1, keepdim=True) / 2


@torched.register
def _(layer: BatchNorm, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    # PyTorch's momentum is the share of the new value; its channels are axis 1 of a sequence too.
    axis = -1 if x.ndim == 3 else 1
    momentum = None if layer.momentum is None else 1 - layer.momentum
    if momentum is None and train:
        s["count"] += 1
        momentum = 1 / float(s["count"])
    rest = (s["mean"], s["var"], p.get("scale"), p.get("shift"), train, momentum or 0.0, layer.epsilon)
    return F.batch_norm(x.transpose(1, axis), *rest).transpose(1, axis)


def _named(layer: Any, x: Tensor) -> list[int]:
    """Return the axes of x that a layer names, in the order that they have inside: height, width, channels."""
    axes = [layer.axes] if isinstance(layer.axes, int) else list(layer.axes)
    return sorted(axes, key=lambda axis: (axis - 2) % 3 if x.ndim == 4 else axis)


def _shares(layer: Any, x: Tensor, function: Callable[..., Tensor]) -> Tensor:
    """Return a function of PyTorch along one axis, over the axes that a layer names: they are one for it."""
    axes = [1 if x.ndim == 4 else x.ndim - 1] if layer.axes is None else _named(layer, x)
    kept = x.ndim - len(axes)
    moved = x.movedim(axes, [*range(kept, x.ndim)])
    return function(moved.flatten(kept), dim=-1).reshape(moved.shape).movedim([*range(kept, x.ndim)], axes)


def _over(layer: Any, x: Tensor, norm: Callable[..., Tensor], *rest: Any) -> Tensor:
    """Return a norm of PyTorch over the axes that a layer names, which are moved to the end for it."""
    axes = _named(layer, x)
    ends = list(range(-len(axes), 0))
    moved = x.movedim(axes, ends)
    return norm(moved, moved.shape[-len(axes) :], *rest, layer.epsilon).movedim(ends, axes)


@torched.register
def _(layer: UnitNorm, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    axes = (1 if x.ndim == 4 else -1,) if layer.axes is None else _named(layer, x)
    return x / torch.linalg.vector_norm(x, dim=axes, keepdim=True)


@torched.register
def _(layer: LayerNorm, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    if layer.axes is not None:
        return _over(layer, x, F.layer_norm, p.get("scale"), p.get("shift"))
    if x.ndim == 4:  # mean over the whole image, scale per channel: in PyTorch a GroupNorm of one group
        return F.group_norm(x, 1, p.get("scale"), p.get("shift"), layer.epsilon)
    return F.layer_norm(x, x.shape[-1:], p.get("scale"), p.get("shift"), layer.epsilon)


@torched.register
def _(layer: GroupNorm, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    return F.group_norm(x, layer.n_groups, p.get("scale"), p.get("shift"), layer.epsilon)


@torched.register
def _(layer: InstanceNorm, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    axis = -1 if x.ndim == 3 else 1  # PyTorch's channels are axis 1 of a sequence too
    own = not layer.running or train
    momentum = 1 - layer.momentum if layer.running else 0.0
    rest = (s.get("mean"), s.get("var"), p.get("scale"), p.get("shift"), own, momentum, layer.epsilon)
    return F.instance_norm(x.transpose(1, axis), *rest).transpose(1, axis)


@torched.register
def _(layer: RMSNorm, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    if layer.axes is not None:
        return _over(layer, x, F.rms_norm, p.get("scale"))
    h = F.rms_norm(x, x.shape[1:] if x.ndim == 4 else x.shape[-1:], None, layer.epsilon)
    scale = p.get("scale", torch.ones(1, dtype=x.dtype))
    return h * (scale.reshape(-1, 1, 1) if x.ndim == 4 else scale)


@torched.register
def _(layer: PReLU, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    axis = -1 if x.ndim == 3 else 1
    return F.prelu(x.transpose(1, axis), p["slope"]).transpose(1, axis)


@torched.register
def _(layer: HardSigmoid, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    # PyTorch's own derivative of hardsigmoid has 1 / 6 in float32 only, in float64 too.
    return F.relu6(x + 3) / 6 if layer == HardSigmoid() else (layer.slope * x + layer.offset).clamp(0, 1)


@torched.register
def _(layer: Convolution1DLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    padding = layer.geometry(tuple(x.shape[1:])).padding[1]
    options = (layer.stride, 0, layer.dilation, layer.groups)
    return F.conv1d(F.pad(x.mT, padding), p["kernel"].permute(2, 1, 0), p.get("bias"), *options).mT


@torched.register
def _(layer: MaxPool1DLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    return F.max_pool1d(
        x.mT, layer.width_filter, layer.stride, layer.zero_padding, layer.dilation, ceil_mode=layer.ceil_mode
    ).mT


@torched.register
def _(layer: AveragePool1DLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    options = (layer.width_filter, layer.stride, layer.zero_padding, layer.ceil_mode, layer.count_padding)
    return F.avg_pool1d(x.mT, *options).mT


@torched.register
def _(layer: GlobalMaxPool1DLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    return F.adaptive_max_pool1d(x.mT, 1)[..., 0]


@torched.register
def _(layer: GlobalAveragePool1DLayer, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    return F.adaptive_avg_pool1d(x.mT, 1)[..., 0]


@torched.register
def _(layer: MultiHeadAttention, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    if layer.key_size or layer.value_size:
        return attended(layer, p, x)
    features, places = x.shape[2], x.shape[1]
    zeros = torch.zeros(3 * features, dtype=x.dtype)
    more = (p[name][None, None] if layer.learned_key else None for name in ("learned_key", "learned_value"))
    weights = p["kernel"].T, p.get("bias", zeros), *more, layer.zero_key, 0.0
    out = p["output_kernel"].T, p.get("output_bias", zeros[: layer.n_units or features])
    mask = hidden(layer, places).repeat(len(x), 1, 1) if layer.attention_mask or layer.causal else None
    rows = [x.transpose(0, 1)] * 3
    found, _ = F.multi_head_attention_forward(
        *rows, features, layer.n_heads, *weights, *out, training=train, need_weights=False, attn_mask=mask
    )
    return found.transpose(0, 1)


def hidden(layer: MultiHeadAttention, places: int) -> Tensor:
    """Return the layer's mask as PyTorch's, (n_heads, places, places): numbers, or what is not seen."""
    sees = torch.ones((1, places, places), dtype=torch.bool).tril(0 if layer.causal else places)
    table = torch.from_numpy(np.array(layer.attention_mask)) if layer.attention_mask else sees
    whole = ~(table & sees) if table.dtype == torch.bool else table.masked_fill(~sees, -torch.inf)
    return whole.expand(layer.n_heads, places, places)


def attended(layer: MultiHeadAttention, p: Tensors, x: Tensor) -> Tensor:
    """Return what the layer does where heads have sizes of their own, without PyTorch's layer, which has none."""
    places, sizes = x.shape[1], layer.sizes(x.shape[2])
    parts = F.linear(x, p["kernel"].T, p.get("bias")).split((sizes.keys, sizes.keys, sizes.values), 2)
    q, k, v = (part.unflatten(2, (layer.n_heads, -1)).transpose(1, 2) for part in parts)
    mask = hidden(layer, places)
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=~mask if mask.dtype == torch.bool else mask)
    return F.linear(found.transpose(1, 2).flatten(2), p["output_kernel"].T, p.get("output_bias"))


@torched.register
def _(layer: LearnedPositions, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    return x + p["table"]


@torched.register
def _(layer: SinePositions, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    places, features = x.shape[1:]
    rates = torch.exp(-np.log(layer.longest) * torch.arange(0, features, 2, dtype=x.dtype) / features)
    angles = torch.arange(places, dtype=x.dtype)[:, None] * rates
    return x + torch.stack([angles.sin(), angles.cos()], 2).reshape(places, -1)[:, :features]


@torched.register
def _(layer: Sequential, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    for i, one in enumerate(layer.layers):
        x = torched(one, _inner(str(i), p), _inner(str(i), s), x, train)
    return x


def _parts(names: Sequence[str], rows: Sequence[Any], p: Tensors, s: Tensors, x: Tensor, train: bool) -> list[Tensor]:
    pairs = zip(names, rows, strict=True)
    return [torched(Sequential(row), _inner(name, p), _inner(name, s), x, train) for name, row in pairs]


@torched.register
def _(layer: Residual, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    body, shortcut = _parts(("layers", "shortcut"), (layer.layers, layer.shortcut), p, s, x, train)
    return body + shortcut


@torched.register
def _(layer: Branches, p: Tensors, s: Tensors, x: Tensor, train: bool) -> Tensor:
    ys = _parts([str(i) for i in range(len(layer.branches))], layer.branches, p, s, x, train)
    if layer.merge == "concatenate":
        return torch.cat(ys, dim=1 if ys[0].ndim == 4 else -1)
    return _merged(layer.merge, ys)


def _merged(merge: str, ys: Sequence[Tensor]) -> Tensor:
    if merge == "subtract":
        return ys[0] - ys[1]
    if merge in ("dot", "cosine"):
        axis = 1 if ys[0].ndim == 4 else -1
        both = ys[0] * ys[1]
        return both.sum(axis, True) if merge == "dot" else F.cosine_similarity(*ys, dim=axis).unsqueeze(axis)
    found: Tensor = {
        "sum": torch.sum, "average": torch.mean, "multiply": torch.prod, "maximum": torch.amax, "minimum": torch.amin,
    }[merge](torch.stack([*ys]), dim=0)  # fmt: skip
    return found
