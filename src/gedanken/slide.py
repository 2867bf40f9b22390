"""A network that was trained on patches, run over larger pictures in one pass.

The network is rewritten: what takes in a whole patch becomes a window that slides. Where it has strides, the patches
need values between those that one patch alone computes; every layer then keeps only as much of its stride as all
wanted patches share, and what comes after it looks at pixels further apart (Shelhamer, Long & Darrell 2016,
arXiv:1605.06211, section 3.2). Nothing is computed twice, and the dense part for wanted patches only.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from gedanken.checks import pair
from gedanken.data.inputs import checked_array, checked_inputs
from gedanken.engine.base import Placement
from gedanken.engine.plan import Plan
from gedanken.errors import ArgumentError, DataError
from gedanken.geometry import NO_SIDES, Geometry, Window, sides
from gedanken.layers import (
    GLU,
    Activation,
    AdaptiveAveragePoolLayer,
    AdaptiveMaxPoolLayer,
    AlphaDropout,
    AveragePoolLayer,
    BasePool,
    BatchNorm,
    Branches,
    Context,
    ConvolutionLayer,
    CroppingLayer,
    Dropout,
    Flatten,
    FullyConnectedLayer,
    GaussianNoise,
    GlobalAveragePoolLayer,
    GlobalLpPoolLayer,
    GlobalMaxPoolLayer,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    LocalResponseNorm,
    LogSoftMax,
    LpPoolLayer,
    MaxPoolLayer,
    PaddingLayer,
    Param,
    PReLU,
    RMSNorm,
    Sequential,
    SoftMax,
    SpatialDropout,
    StateValue,
    UnitNorm,
)
from gedanken.layers.containers import Container
from gedanken.layers.over_axes import OverAxes
from gedanken.layers.shape import channels_first_shape
from gedanken.layers.stages import ContainerStage, LayerStage
from gedanken.state import prefixed
from gedanken.types import AnyShape, Array, Arrays, Shape

Pooling = type[MaxPoolLayer] | type[AveragePoolLayer] | type[LpPoolLayer]
GLOBAL: dict[type, Pooling] = {
    GlobalAveragePoolLayer: AveragePoolLayer,
    GlobalMaxPoolLayer: MaxPoolLayer,
    GlobalLpPoolLayer: LpPoolLayer,
}
ADAPTIVE: dict[type, Pooling] = {AdaptiveAveragePoolLayer: AveragePoolLayer, AdaptiveMaxPoolLayer: MaxPoolLayer}
PIXELS = 1 << 20  # of the pictures in one pass
INSTEAD = "use feedforward on each patch"
NOISE = {Dropout, SpatialDropout, AlphaDropout, GaussianNoise}  # which do nothing at prediction
BY_PIXEL = {BatchNorm, GLU, SoftMax, LogSoftMax, PReLU, LocalResponseNorm}  # which look at one pixel at a time


def slide(plan: Plan, patch: AnyShape, image: Any, stride: Any) -> Array:
    """Return the network's outputs for all patches of larger pictures; see `Network.slide`.

    Args:
        plan: the network, compiled for patches.
        patch: what it takes: (C, H, W).
        image: (C, H2, W2) or (N, C, H2, W2).
        stride: pixels between two patches, a number or a pair (vertical, horizontal).
    """
    strides = pair("stride", stride)
    if isinstance(plan.shapes[-1], Mapping):
        raise ArgumentError(f"slide needs a network of one output, got the heads {[*plan.shapes[-1]]}; {INSTEAD}")
    if isinstance(patch, Mapping) or len(patch) != 3:
        raise ArgumentError(f"slide needs a network of pictures: input((C, H, W)), got input({patch})")
    pictures = _checked_pictures(image, patch, plan.ops.dtype)
    batch = pictures if pictures.ndim == 4 else pictures[None]
    wide = _widened(plan, batch.shape[1:], strides)
    rows, columns = ((batch.shape[axis + 2] - patch[axis + 1]) // strides[axis] + 1 for axis in (0, 1))
    block = max(1, PIXELS // math.prod(batch.shape[2:]))
    with np.errstate(all="ignore"):
        passes = [wide.predict(batch[start : start + block]) for start in range(0, len(batch), block)]
    # A layer that leaves pixels at a patch's edge unread finds room for windows that are no whole patch any more.
    found = np.concatenate(passes)[:, :, :rows, :columns]
    return np.ascontiguousarray(found if pictures.ndim == 4 else found[0])


def _checked_pictures(image: Any, patch: Shape, dtype: Any) -> Array:
    array = checked_array("image", image)
    channels, height, width = patch
    size = array.shape[-3:]
    if array.ndim not in (3, 4) or size[0] != channels or size[1] < height or size[2] < width:
        rule = f"({channels}, H, W) or (N, {channels}, H, W) with H >= {height} and W >= {width}"
        last = array.ndim in (3, 4) and size[0] != channels == size[2]
        turned = "(2, 0, 1)" if array.ndim == 3 else "(0, 3, 1, 2)"
        hint = f"; it looks channels-last: use transpose{turned}" if last else ""
        raise DataError(f"image must have shape {rule}, got {array.shape}{hint}")
    return checked_inputs("image", array, array.shape[1:], dtype)


def _widened(plan: Plan, picture: Shape, stride: tuple[int, int]) -> Plan:
    """Return the plan that gives for a picture (C, H2, W2) what `plan` gives for its patches, with its arrays."""
    row = _rewritten(plan.layers, _Grid(stride))
    if len(plan.shapes[-1]) != 1:
        shape, last = channels_first_shape(plan.shapes[-1]), plan.layers[-1]
        raise ArgumentError(f"slide needs outputs (K,), got {shape} from layer {last.path} {last.layer}; {INSTEAD}")
    wide = Plan(row.layers, picture, plan.engine, plan.seed)
    wide.restore({name: plan.ops.to_host(view) for name, view in row.arrays.items()})
    return wide


# ------------------------------------------------------------------ where values lie


class _Grid(NamedTuple):
    """How far apart the values of a map lie in the picture; all are pairs (vertical, horizontal) of pixels.

    Args:
        stride: between two wanted patches.
        pace: between neighbours within one patch, the product of the strides before.
        flat: whether a patch has become one row of features; then there is one value for each wanted patch.
    """

    stride: tuple[int, int]
    pace: tuple[int, int] = (1, 1)
    flat: bool = False

    @property
    def spacing(self) -> tuple[int, int]:
        """Between neighbours in the picture's map: as far as hits the values of all patches."""
        down, right = (math.gcd(*both) for both in zip(self.stride, self.pace, strict=True))
        return down, right

    def through(self, geometry: Geometry) -> tuple[Window, "_Grid"]:
        """Return a patch's window as it must be on the picture, and where the values are that it gives."""
        wider = self._replace(pace=_times(self.pace, geometry.stride))
        dilation = _times(geometry.dilation, _over(self.pace, self.spacing))
        return Window(geometry.size, _over(wider.spacing, self.spacing), 0, dilation, geometry.groups), wider

    def full_map(self, size: Shape) -> tuple[Window, "_Grid"]:
        """Return the window that takes in a patch's whole map, once for each wanted patch."""
        window = Window((size[0], size[1]), _over(self.stride, self.spacing), 0, _over(self.pace, self.spacing))
        return window, self._replace(flat=True)


def _times(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return a[0] * b[0], a[1] * b[1]


def _over(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return a[0] // b[0], a[1] // b[1]


# ------------------------------------------------------------------ rewriting


def _rewritten(stages: Sequence[Placement], grid: _Grid) -> "_Row":
    row = _Row(grid)
    for stage in stages:
        row.take(stage)
    row.gather()
    return row


class _Row:
    """Layers for a picture that do what some layers do for a patch, and the arrays they share with these, by name."""

    def __init__(self, grid: _Grid) -> None:
        self.grid = grid
        self.layers: list[Layer] = []
        self.arrays: dict[str, Array] = {}
        self._flattened: Shape | None = None  # the map of a Flatten that no layer has read yet

    def take(self, stage: Placement) -> None:
        """Add what does the work of one more layer, or raise ArgumentError."""
        layer, kind = stage.layer, type(stage.layer)
        if kind in NOISE or (isinstance(layer, Sequential) and not layer.layers):
            return
        if isinstance(layer, Activation) and not (stage.p or stage.s):
            self._add(layer, {})
        elif kind is Flatten:
            self._flattened = stage.shape if len(stage.shape) == 3 else self._flattened
        elif isinstance(layer, FullyConnectedLayer) and kind is FullyConnectedLayer:
            self._dense(stage, layer)
        elif self.grid.flat or self._flattened:
            self.gather()
            self._features(stage)
        elif _by_pixel(stage):
            self._add(layer, {**stage.p, **stage.s})
        else:
            self._window(stage)

    def gather(self) -> None:
        """Make features of a flattened map, where they were not taken in by a fully connected layer."""
        if self._flattened:
            window, self.grid = self.grid.full_map(self._flattened)
            self._add(_Gather(window), {})
            self._flattened = None

    def _add(self, layer: Layer, arrays: Arrays) -> None:
        self.arrays.update(prefixed(str(len(self.layers)), arrays))
        self.layers.append(layer)

    def _dense(self, stage: Placement, layer: FullyConnectedLayer) -> None:
        window, kernel = Window((1, 1), (1, 1), 0), stage.p["kernel"].reshape(1, 1, *stage.p["kernel"].shape)
        if self._flattened:
            window, self.grid = self.grid.full_map(self._flattened)
            by_channel = stage.p["kernel"].reshape(*channels_first_shape(self._flattened), layer.n_units)
            kernel = by_channel.transpose(1, 2, 0, 3)
            self._flattened = None
        height, width = window.size
        convolution = ConvolutionLayer(
            layer.n_units, width, height, window.stride, dilation=window.dilation, bias=layer.bias
        )
        self._add(convolution, {**stage.p, "kernel": kernel})

    def _features(self, stage: Placement) -> None:
        """Add a layer that takes a row of features and gives one."""
        if len(stage.output_shape) != 1:
            raise _cannot(stage, "it makes no row of features from one")
        by_channel = type(stage.layer) in BY_PIXEL
        self._add(stage.layer if by_channel else _EachPatch(stage.layer), {**stage.p, **stage.s})

    def _window(self, stage: Placement) -> None:
        """Add a layer that looks at more than one pixel of an image."""
        layer, kind = stage.layer, type(stage.layer)
        if isinstance(stage, ContainerStage):
            self._ways(stage)
        elif isinstance(layer, ConvolutionLayer) and kind is ConvolutionLayer:
            window, self.grid = self.grid.through(_without_padding(stage, layer.geometry(stage.shape)))
            self._add(replace(layer, stride=window.stride, zero_padding=0, dilation=window.dilation), stage.p)
        elif isinstance(layer, BasePool) and kind in (MaxPoolLayer, AveragePoolLayer, LpPoolLayer):
            window, self.grid = self.grid.through(_without_padding(stage, layer.geometry(stage.shape)))
            self._add(_pooling(kind, window, layer), {})
        elif kind in GLOBAL:
            window, self.grid = self.grid.full_map(stage.shape)
            self._add(_pooling(GLOBAL[kind], window, layer), {})
        elif isinstance(layer, CroppingLayer) and kind is CroppingLayer and len(stage.shape) == 3:
            apart = _over(self.grid.pace, self.grid.spacing)
            both = sides("cropping", layer.cropping)
            top_bottom, left_right = (_times(amounts, (step, step)) for amounts, step in zip(both, apart, strict=True))
            self._add(CroppingLayer((top_bottom, left_right)), {})
        elif kind in ADAPTIVE:
            window, self.grid = self.grid.through(_even(stage))
            self._add(_pooling(ADAPTIVE[kind], window, layer), {})
        elif kind in (LayerNorm, GroupNorm, InstanceNorm, RMSNorm, UnitNorm):
            raise _cannot(stage, "its mean is over all pixels of a patch")
        elif kind is PaddingLayer:
            raise _cannot(stage, "it puts something around a patch where the picture has pixels")
        else:
            raise _cannot(stage, "nothing says which pixels of a patch its outputs see")

    def _ways(self, stage: ContainerStage) -> None:
        """Add a layer that gives its input to several rows of layers."""
        if stage.layer.gives_names:
            raise _cannot(stage, "it gives several results")
        if type(stage.layer).join is not Container.join:
            raise _cannot(stage, "it joins its ways by a rule of its own")
        rows = [_rewritten(row, self.grid) for row in stage.rows.values()]
        if len({row.grid for row in rows}) > 1:
            raise _cannot(stage, "its ways have different strides")
        self.grid = rows[0].grid
        arrays = {k: v for place, row in enumerate(rows) for k, v in prefixed(str(place), row.arrays).items()}
        self._add(_Aligned(*(row.layers for row in rows), merge=stage.layer.merge), arrays)


def _without_padding(stage: Placement, geometry: Geometry) -> Geometry:
    if any(map(any, geometry.padding)):
        if getattr(stage.layer, "ceil_mode", False):
            raise _cannot(stage, "some of its windows reach beyond a patch, where the picture has pixels")
        if getattr(stage.layer, "padding_mode", "zeros") != "zeros":
            raise _cannot(stage, "its padding repeats pixels of a patch where the picture has others")
        raise _cannot(stage, "its zero_padding gives a patch zeros where the picture has pixels")
    return geometry


def _even(stage: Placement) -> Geometry:
    """Return the windows of a pooling to a size, where they stand side by side."""
    (height, width), (down, right) = stage.shape[:2], stage.output_shape[:2]
    if height % down or width % right:
        raise _cannot(stage, f"its windows on {height} x {width} pixels are of different sizes or overlap")
    size = (height // down, width // right)
    return Geometry(size, size, NO_SIDES)


def _by_pixel(stage: Placement) -> bool:
    """Say whether a layer looks at one pixel at a time."""
    layer, kind = stage.layer, type(stage.layer)
    if isinstance(layer, OverAxes) and kind in (LayerNorm, RMSNorm, UnitNorm, SoftMax, LogSoftMax, GLU):
        return len(stage.shape) == 3 and layer.of_channels(stage.shape)
    return kind in BY_PIXEL or (isinstance(layer, InstanceNorm) and kind is InstanceNorm and layer.running)


def _cannot(stage: Placement, why: str) -> ArgumentError:
    return ArgumentError(f"slide cannot run layer {stage.path} {stage.layer} over a larger picture: {why}; {INSTEAD}")


def _pooling(kind: Pooling, window: Window, layer: Layer) -> Layer:
    """Return a pooling of this kind that does in a window what `layer` does in its own."""
    told = {name: getattr(layer, name) for name in ("divisor", "power") if hasattr(layer, name)}
    return kind(window.size[1], window.size[0], window.stride, dilation=window.dilation, **told)


# ------------------------------------------------------------------ layers that only a larger picture needs


class _Predicting(Layer):
    """A layer of a network that is only used, never trained."""

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        raise AssertionError("a prediction has no way back")


@dataclass(frozen=True, eq=False, repr=False)
class _Gather(_Predicting):
    """Put the values of each window beside each other, in the order of Flatten.

    Shapes:
        x: (N, H, W, C).   y: (N, H', W', C * R * S).
    """

    window: Window

    def output_shape(self, shape: Shape) -> Shape:
        return (*self.window.on(shape).positions(shape), shape[2] * math.prod(self.window.size))

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        windows = ctx.ops.windows(x, self.window.on(x.shape[1:]))
        return windows.transpose(0, 1, 2, 5, 3, 4).reshape(*windows.shape[:3], -1), None


@dataclass(frozen=True, eq=False, repr=False)
class _EachPatch(_Predicting):
    """Give each patch's features to a layer that takes one row of features.

    Shapes:
        x: (N, H', W', F).   y: (N, H', W', what the layer gives).
    """

    layer: Layer

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape[:2], *self.layer.output_shape(shape[2:]))

    def params(self, shape: Shape) -> dict[str, Param]:
        return dict(self.layer.params(shape[2:]))

    def state(self, shape: Shape) -> dict[str, StateValue]:
        return dict(self.layer.state(shape[2:]))

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        shape, output_shape = x.shape[3:], self.layer.output_shape(x.shape[3:])
        stage = LayerStage(self.layer, ctx.path, shape, output_shape, p, {}, s)
        y, _ = stage.forward(replace(ctx, path=""), x.reshape(-1, *shape))
        return y.reshape(*x.shape[:3], -1), None


class _Aligned(Branches):
    """Branches whose maps begin at the same pixel; where one reaches further than another, its rest is left out."""

    def joined_shape(self, shapes: Sequence[Shape]) -> Shape:
        rows, columns = (min(one[axis] for one in shapes) for axis in (0, 1))
        return super().joined_shape([(rows, columns, one[2]) for one in shapes])

    def join(self, ctx: Context, ys: Sequence[Array]) -> Array:
        rows, columns = (min(y.shape[axis] for y in ys) for axis in (1, 2))
        return super().join(ctx, [y[:, :rows, :columns] for y in ys])
