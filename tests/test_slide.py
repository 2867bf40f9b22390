"""A network slid over a larger picture gives what it gives for each patch by itself."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gedanken import (
    GELU,
    GLU,
    Activation,
    AdaptiveAveragePoolLayer,
    AdaptiveMaxPoolLayer,
    AveragePoolLayer,
    BatchNorm,
    Branches,
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
    LeakyReLU,
    LocalResponseNorm,
    LogSoftMax,
    LpPoolLayer,
    MaxPoolLayer,
    Network,
    PReLU,
    ReLU,
    Residual,
    RMSNorm,
    Sequential,
    ShapeError,
    Sigmoid,
    SoftMax,
    SpatialDropout,
    TanH,
    UnitNorm,
)
from gedanken.slide import _widened
from gedanken.types import Array, Shape
from tests.standin_cupy import StandInCupy

ENGINES = [("numpy", "float64"), ("numpy", "float32"), ("cpu", "float32"), ("cpu", "float64")]
BOUND = {"float32": 1e-5, "float64": 1e-12}


def compiled(layers: list[Layer], patch: Shape, engine: str = "numpy", dtype: str = "float64") -> Network:
    """Return a network whose arrays, running statistics too, are no first values."""
    net = Network(seed=3).input(patch)
    for layer in layers:
        net.add(layer)
    net.regression(cost="mean_squared", engine=engine, dtype=dtype)
    plan, rng = net._plan, np.random.default_rng(7)
    assert plan is not None
    for name, view in plan.arrays().items():
        if name.endswith(("var", "scale")):
            view[...] = plan.ops.asarray(rng.uniform(0.5, 1.5, view.shape))
        elif not name.endswith("kernel"):
            view[...] = plan.ops.asarray(rng.normal(0, 0.3, view.shape))
    return net


def picture(shape: Shape, dtype: str = "float64") -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def patch_by_patch(net: Network, pictures: Array, stride: tuple[int, int]) -> Array:
    """Return (N, K, rows, columns), each patch run by itself."""
    assert net.input_shape is not None
    _, height, width = net.input_shape
    tops = range(0, pictures.shape[2] - height + 1, stride[0])
    lefts = range(0, pictures.shape[3] - width + 1, stride[1])
    cut = [pictures[:, :, top : top + height, left : left + width] for top in tops for left in lefts]
    outputs = net.feedforward(np.concatenate(cut))
    return outputs.reshape(len(tops), len(lefts), len(pictures), -1).transpose(2, 3, 0, 1)


def assert_same(layers: list[Layer], shape: Shape, patch: Shape, stride: Any, engine: str, dtype: str) -> None:
    net, pictures = compiled(layers, patch, engine, dtype), picture(shape, dtype)
    found = net.slide(pictures, stride=stride)
    wanted = patch_by_patch(net, pictures, stride if isinstance(stride, tuple) else (stride, stride))
    assert found.shape == wanted.shape
    assert found.dtype == dtype
    assert found.flags.c_contiguous
    bound = BOUND[dtype]
    np.testing.assert_allclose(found, wanted, rtol=bound, atol=bound * max(1, abs(wanted).max()))


# ------------------------------------------------------------------ any network

small = st.integers(1, 3)
pairs = st.tuples(small, small)


@st.composite
def windows(draw: st.DrawFn, n: int) -> Layer:
    """Return a layer with a window."""
    height, width, stride = draw(small), draw(small), draw(pairs)
    kind = draw(st.sampled_from([ConvolutionLayer, MaxPoolLayer, AveragePoolLayer, LpPoolLayer]))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    if kind is not ConvolutionLayer:
        return draw(st.sampled_from([kind(width, height, stride, dilation=dilation), CroppingLayer(((0, 1), (1, 0)))]))
    groups = draw(st.sampled_from([1, 2])) if n > 0 else 1
    bias = draw(st.booleans())
    return ConvolutionLayer(4, width, height, stride, dilation=dilation, groups=groups, bias=bias)


def pointwise() -> st.SearchStrategy[Layer]:
    kinds = [BatchNorm(), ReLU(), LeakyReLU(0.2), TanH(), GELU(), Dropout(0.5), SoftMax(), Sequential()]
    kinds += [PReLU(), LogSoftMax(), GLU(), SpatialDropout(0.5), GaussianNoise(0.1), LocalResponseNorm(3)]
    return st.sampled_from(kinds)


@st.composite
def networks(draw: st.DrawFn) -> list[Layer]:
    layers: list[Layer] = [ConvolutionLayer(4, draw(small), draw(small), draw(pairs))]
    for n in range(1, draw(st.integers(1, 4))):
        layers.append(draw(windows(n)))
        layers += draw(st.lists(pointwise(), max_size=2))
    layers.append(draw(st.sampled_from([Flatten(), GlobalAveragePoolLayer(), GlobalMaxPoolLayer()])))
    layers += draw(st.lists(st.sampled_from([ReLU(), BatchNorm(), Dropout(0.5), LayerNorm(), Flatten()]), max_size=2))
    dense = [FullyConnectedLayer(3, bias=draw(st.booleans())), Sigmoid(), FullyConnectedLayer(2), SoftMax()]
    layers += dense[: draw(st.integers(0, 4))]
    cut = draw(st.integers(0, len(layers)))
    return [Sequential(layers[:cut]), *layers[cut:]] if draw(st.booleans()) else layers


@pytest.mark.parametrize(("engine", "dtype"), ENGINES)
@settings(max_examples=40)
@given(data=st.data())
def test_any_network_slides(engine: str, dtype: str, data: st.DataObject) -> None:
    layers = data.draw(networks())
    patch = (data.draw(st.sampled_from([2, 3])), data.draw(st.integers(3, 12)), data.draw(st.integers(3, 12)))
    larger = data.draw(st.tuples(st.integers(0, 9), st.integers(0, 9)))
    shape = (data.draw(st.integers(1, 2)), patch[0], patch[1] + larger[0], patch[2] + larger[1])
    stride = data.draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    try:
        Network().input(patch).add(Sequential(layers))
    except ShapeError:
        assume(False)
    assert_same(layers, shape, patch, stride, engine, dtype)


# ------------------------------------------------------------------ layers made of layers


@dataclass(frozen=True)
class Shout(Layer):
    """A layer of a user: y = factor * x."""

    factor: float = 2.0

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Array) -> tuple[Array, Any]:
        return x * self.factor, None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Array) -> Array:
        return dy * self.factor


class Cube(Activation):
    """An activation of a user."""

    def function(self, ops: Any, x: Array) -> Array:
        return x**3

    def derivative(self, ops: Any, x: Array, y: Array) -> Array:
        return 3 * x * x


COARSE = ConvolutionLayer(4, 2, 2, stride=2)
MADE_OF_LAYERS: dict[str, list[Layer]] = {
    "residual of single pixels": [COARSE, Residual([ConvolutionLayer(4, 1, 1), BatchNorm(), ReLU()])],
    "residual with strides": [
        COARSE,
        Residual([MaxPoolLayer(2, 2), ConvolutionLayer(3, 1, 1), BatchNorm()], ConvolutionLayer(3, 2, 2, stride=2)),
    ],
    "ways of different reach": [Residual([MaxPoolLayer(2, 2), BatchNorm()], ConvolutionLayer(3, 1, 1, stride=2))],
    "branches": [COARSE, Branches(ConvolutionLayer(2, 3, 3), [AveragePoolLayer(3, 3, stride=1), Dropout(0.5)])],
    "branches in branches": [Branches(Branches(MaxPoolLayer(2, 2), COARSE), [COARSE, TanH()], merge="concatenate")],
    "branches that become flat": [
        COARSE, Branches(GlobalAveragePoolLayer(), [Flatten(), FullyConnectedLayer(4)], merge="sum"),
    ],
    "an extreme of branches": [
        COARSE, Branches([], TanH(), merge="maximum"), Branches(Sigmoid(), TanH(), merge="subtract"),
    ],
    "a product of branches": [
        COARSE, Branches([], Branches([], TanH(), merge="cosine")), Branches([], Sigmoid(), merge="dot"),
    ],
    "branches that gather": [COARSE, Branches([Flatten(), ReLU()], [BatchNorm(), Flatten()])],
    "residual of features": [COARSE, Flatten(), FullyConnectedLayer(4), Residual(FullyConnectedLayer(4))],
    "norms of features": [COARSE, Flatten(), FullyConnectedLayer(4), GroupNorm(2), LayerNorm()],
    "norms of pixels": [COARSE, InstanceNorm(running=True), LayerNorm(axes=1), UnitNorm(), RMSNorm(axes=(1,))],
    "shares of channels": [COARSE, SoftMax(axes=1), LogSoftMax(axes=(1,)), GLU(axes=1)],
    "layers of a user": [COARSE, Cube(), GlobalAveragePoolLayer(), Shout(), FullyConnectedLayer(2)],
    "poolings to a size": [
        COARSE, Branches(AdaptiveMaxPoolLayer((2, 4)), [MaxPoolLayer(1, 2), AdaptiveAveragePoolLayer((2, 4))]),
    ],
    "norms of windows": [COARSE, LpPoolLayer(2, 2, 1, power=3), Branches(GlobalLpPoolLayer(1.5), GlobalLpPoolLayer())],
    "cropping": [COARSE, CroppingLayer(((1, 0), (0, 1))), MaxPoolLayer(2, 2, 1, ceil_mode=True)],
    "padding that is none": [ConvolutionLayer(2, 1, 1, zero_padding="same"), Flatten()],
}  # fmt: skip


@pytest.mark.parametrize("stride", [1, 2, 3, 4, (4, 1)])
@pytest.mark.parametrize(("engine", "dtype"), ENGINES)
@pytest.mark.parametrize("name", MADE_OF_LAYERS)
def test_layers_made_of_layers_slide(name: str, engine: str, dtype: str, stride: Any) -> None:
    head = [] if "features" in name or "flat" in name else [Flatten(), FullyConnectedLayer(2), SoftMax()]
    head = [] if name in ("branches that gather", "layers of a user", "norms of windows") else head
    assert_same([*MADE_OF_LAYERS[name], *head], (2, 3, 15, 14), (3, 8, 8), stride, engine, dtype)


# ------------------------------------------------------------------ pictures


def digits(dtype: str = "float32", engine: str = "numpy") -> Network:
    layers: list[Layer] = [ConvolutionLayer(4, 3, 3), BatchNorm(), ReLU(), MaxPoolLayer(2, 2), Flatten()]
    return compiled([*layers, FullyConnectedLayer(5), SoftMax()], (1, 8, 8), engine, dtype)


def test_a_single_picture_is_a_batch_of_one() -> None:
    net, pictures = digits(), picture((3, 1, 12, 15), "float32")
    together = net.slide(pictures, stride=2)
    assert together.shape == (3, 5, 3, 4)
    for n in range(3):
        assert (net.slide(pictures[n], stride=2) == together[n]).all()


def test_a_patch_is_a_picture_with_one_patch() -> None:
    net, patches = digits("float64"), picture((6, 1, 8, 8))
    np.testing.assert_allclose(net.slide(patches)[:, :, 0, 0], net.feedforward(patches), atol=1e-12)


def test_many_pictures_go_through_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    net, pictures = digits("float64"), picture((5, 1, 9, 9))
    whole = net.slide(pictures)
    monkeypatch.setattr("gedanken.slide.PIXELS", 200)
    np.testing.assert_allclose(net.slide(pictures), whole, atol=1e-12)


def test_picture_need_not_be_contiguous_or_of_the_networks_type() -> None:
    net, pictures = digits(), picture((2, 1, 12, 24))
    wanted = net.slide(np.ascontiguousarray(pictures[:, :, ::-1, ::2]).astype("float32"))
    assert (net.slide(pictures[:, :, ::-1, ::2]) == wanted).all()
    assert (net.slide(pictures[:, :, ::-1, ::2].tolist()) == wanted).all()


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
def test_a_trained_network_with_a_folded_cost_slides_with_its_last_weights(engine: str) -> None:
    layers = [ConvolutionLayer(4, 3, 3, stride=2), BatchNorm(), ReLU(), Flatten(), FullyConnectedLayer(3), SoftMax()]
    net = Network().input((2, 9, 9))
    for layer in layers:
        net.add(layer)
    net.regression(engine=engine)
    large = picture((2, 2, 14, 13), "float32")
    for _ in range(2):
        net.fit(picture((64, 2, 9, 9), "float32"), np.arange(64) % 3, mini_batch_size=16, progress=False)
        before = net._plan.state()  # type: ignore[union-attr]
        np.testing.assert_allclose(net.slide(large), patch_by_patch(net, large, (1, 1)), atol=1e-5)
        np.testing.assert_allclose(net.slide(large).sum(axis=1), 1, atol=1e-5)
        after = net._plan.state()  # type: ignore[union-attr]
        assert all((before[name] == after[name]).all() for name in before), "sliding changed the network"


def test_a_network_on_a_gpu_slides(standin_cupy: StandInCupy) -> None:
    layers = [ConvolutionLayer(4, 3, 3, stride=2), BatchNorm(), MaxPoolLayer(2, 2), Flatten(), FullyConnectedLayer(3)]
    assert_same(layers, (2, 1, 15, 13), (1, 8, 8), (1, 2), "cuda", "float64")
    assert_same([COARSE, Flatten(), BatchNorm()], (2, 1, 15, 13), (1, 8, 8), 1, "cuda", "float64")


def test_work_falls_with_the_stride() -> None:
    """At strides that the network's own divide, nothing is computed between wanted patches."""
    layers = [ConvolutionLayer(4, 2, 2, stride=2), MaxPoolLayer(2, 2), Flatten(), FullyConnectedLayer(3)]
    plan = compiled(layers, (1, 8, 8))._plan
    assert plan is not None

    def products(stride: int) -> int:
        wide = _widened(plan, (1, 64, 64), (stride, stride))
        return sum(step.layer.multiply_adds(step.shape) for step in wide.layers)

    assert products(1) > 3 * products(2) > 3 * products(4)
    assert products(8) < products(4)
    convolution, dense = 32 * 32 * 4 * 4, 15 * 15 * 2 * 2 * 4 * 3
    assert products(4) == convolution + dense
