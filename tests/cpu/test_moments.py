"""Normalisations of numbers far from zero: constants give exactly the shift, small noise keeps its digits."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gedanken import BatchNorm, ConvolutionLayer, GroupNorm, Layer, LayerNorm, ReLU, SoftMax
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.types import Array, Shape
from tests.cpu.agree import distance

ENGINES = ["numpy", "cpu"]
NORMS: list[Callable[[], Layer]] = [BatchNorm, LayerNorm, lambda: GroupNorm(1)]
SIZES = st.one_of(st.integers(1, 40), st.integers(1, 2000))
SHAPES = st.one_of(
    st.tuples(SIZES),
    st.tuples(st.integers(1, 5), st.integers(1, 300)),
    st.tuples(st.integers(1, 150), st.integers(1, 9), st.integers(1, 40)),
)


def norms(shape: Shape, epsilon: float = 1e-5) -> st.SearchStrategy[Layer]:
    channels = shape[0] if len(shape) == 3 else shape[-1]
    groups = [GroupNorm(n, epsilon) for n in range(1, min(channels, 40) + 1) if channels % n == 0]
    return st.sampled_from([BatchNorm(epsilon=epsilon), LayerNorm(epsilon=epsilon)]) | st.sampled_from(groups)


MAGNITUDES = {"float32": (-30, 38), "float64": (-290, 300)}


class Found(NamedTuple):
    """What a training step gives, and a prediction after it; the last layer is the normalisation."""

    y: Array
    dx: Array
    scale: Array  # its gradient
    shift: Array  # the parameter itself
    state: dict[str, Array]
    prediction: Array


def run(
    layers: Sequence[Layer], x: Array, engine: str, threads: int | None = None, steps: int = 1, **params: Any
) -> Found:
    """Run training steps; parameters are random but for the first layer's `params`, and so is dy."""
    dtype = str(x.dtype)
    plan = Plan(layers, x.shape[1:], select_engine(engine, dtype, threads), 0)
    plan._passes = plan._passes._replace(stages=plan.engine.stages(plan.layers, dx=True))
    plan.initialise()
    rng = np.random.default_rng(1)
    plan.params[...] = rng.uniform(0.5, 2, plan.params.shape).astype("float32")
    for name, value in params.items():
        plan.arrays()[f"0.{name}"][...] = value
    ctx = plan.context(train=True)
    for _ in range(steps):
        y, tape = plan.forward(ctx, x)
    y = y.copy()
    slopes = rng.normal(size=y.shape).astype("float32").astype(dtype)
    for step in reversed(plan.stages):
        slopes = step.backward(ctx, tape.pop(), slopes)
    norm, state = len(layers) - 1, {name.partition(".")[2]: value for name, value in plan._vectors.state.items()}
    scale, shift = plan.gradients()[f"{norm}.scale"], plan.arrays()[f"{norm}.shift"]
    return Found(y, slopes.copy(), scale.copy(), shift.copy(), state, plan.predict(x))


def check_constants(layers: Sequence[Layer], x: Array, engine: str, threads: int | None = None) -> Found:
    """Fail unless values that are all the same in what is normalised give exactly the shift."""
    found = run(layers, x, engine, threads)
    np.testing.assert_array_equal(found.y, np.broadcast_to(found.shift, found.y.shape))
    np.testing.assert_array_equal(found.scale, 0)
    assert np.isfinite(found.dx).all()
    return found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("value", "size"), [(123456.7, 5), (1e6, 6), (1234.5, 7), (0.1, 3000), (-1e38, 1500), (0, 4)])
def test_constants_give_exactly_the_shift(
    value: float, size: int, norm: Callable[[], Layer], dtype: str, engine: str
) -> None:
    x = np.full((9, size), value, dtype)
    found = check_constants([norm()], x, engine)
    if found.state:
        np.testing.assert_allclose(found.state["mean"], 0.1 * x[0], rtol=1e-6)
        np.testing.assert_allclose(found.state["var"], 0.9, rtol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=60)
@given(data=st.data())
def test_constants_of_any_magnitude_and_shape(engine: str, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    value = data.draw(st.sampled_from([1, -1])) * 10 ** data.draw(st.floats(*MAGNITUDES[dtype]))
    shape, samples = data.draw(SHAPES), data.draw(st.one_of(st.integers(1, 9), st.integers(1, 300)))
    samples = max(1, min(samples, 300_000 // int(np.prod(shape))))
    threads = data.draw(st.integers(1, 3)) if engine == "cpu" else None
    check_constants([data.draw(norms(shape))], np.full((samples, *shape), value, dtype), engine, threads)


@pytest.mark.parametrize(
    "before",
    [
        [ConvolutionLayer(5, 3, 3)],
        [ConvolutionLayer(40, 1, 1), ReLU()],
        [ConvolutionLayer(3, 3, 3, groups=3)],
        [ConvolutionLayer(20, 7, 5, stride=2)],
    ],
    ids=str,
)
@pytest.mark.parametrize("value", [0.1, 1234.5, 1e6])
def test_constants_after_a_convolution(before: list[Layer], value: float) -> None:
    check_constants([*before, BatchNorm()], np.full((3, 3, 21, 17), value, "float32"), "cpu")


def offset(shape: Shape, offset: float, noise: float, dtype: str, seed: int) -> Array:
    return (offset + noise * np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def check_digits(
    layers: Sequence[Layer], x: Array, engine: str, threads: int | None = None, bound: float = 1e-5, **params: Any
) -> None:
    """Fail unless a step gives what the specification gives in float64 of the same numbers."""
    exact = run(layers, x.astype("float64"), "numpy", **params)
    found = run(layers, x, engine, threads, **params)
    for name in ("y", "dx", "scale"):
        assert distance(getattr(exact, name), getattr(found, name)) < bound, name
    for name, value in exact.state.items():
        assert distance(value, found.state[name]) < 1e-6, name


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=60)
@given(data=st.data())
def test_small_noise_on_large_numbers_keeps_its_digits(engine: str, data: st.DataObject) -> None:
    centre, noise = 10 ** data.draw(st.floats(3, 7)), 10 ** data.draw(st.floats(-1, 1))
    shape, samples = data.draw(SHAPES), data.draw(st.one_of(st.integers(3, 9), st.integers(3, 300)))
    samples = max(3, min(samples, 100_000 // int(np.prod(shape))))
    threads = data.draw(st.integers(1, 3)) if engine == "cpu" else None
    x = offset((samples, *shape), centre, noise, "float32", data.draw(st.integers(0, 1000)))
    check_digits([data.draw(norms(shape, epsilon=0.01))], x, engine, threads)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("groups", [1, 6])
def test_statistics_that_a_convolution_takes(groups: int, engine: str) -> None:
    x = offset((4, 6, 30, 31), 1e6, 0.5, "float32", 0)
    identity = np.ones((1, 1, 1, 6)) if groups == 6 else np.eye(6)[None, None]
    layers = [ConvolutionLayer(6, 1, 1, groups=groups, bias=False), BatchNorm()]
    check_digits(layers, x, engine, kernel=identity)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("norm", NORMS)
def test_a_first_value_far_from_the_others(norm: Callable[[], Layer], engine: str) -> None:
    x = offset((700, 9, 9, 9), 0.0, 1.0, "float32", 0) if norm is BatchNorm else offset((5, 50_000), 0, 1, "float32", 0)
    x[0, ...] += 1e6
    x[:, 0] += 1e6
    check_digits([norm()], x, engine)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(7,), (3, 6, 5)])
def test_running_statistics_of_large_numbers_are_the_specification_s(shape: Shape, dtype: str) -> None:
    x = offset((40, *shape), 1e5, 1.0, dtype, 0)
    expected = run([BatchNorm()], x, "numpy", steps=80)
    found = run([BatchNorm()], x, "cpu", steps=80)
    for name, value in expected.state.items():
        np.testing.assert_allclose(found.state[name], value, rtol=1e-6 if dtype == "float32" else 1e-14, err_msg=name)
    # The running mean itself is a number of 24 bits, or 53.
    bound = 10 * 1e5 * np.finfo(dtype).eps
    np.testing.assert_allclose(found.prediction, expected.prediction, rtol=0, atol=bound)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("classes", [3, 40, 1000])
def test_large_slopes_of_shares(classes: int, engine: str) -> None:
    """Shares sum to 1, so what all slopes have in common does nothing."""
    x, found = np.random.default_rng(0).normal(size=(7, classes)).astype("float32"), []
    for name, dtype, noise in (("numpy", "float64", 1), (engine, "float32", 1), (engine, "float32", 0)):
        plan = Plan([SoftMax()], (classes,), select_engine(name, dtype), 0)
        plan._passes = plan._passes._replace(stages=plan.engine.stages(plan.layers, dx=True))
        _, tape = plan.forward(plan.context(train=True), x.astype(dtype))
        slopes = offset(x.shape, 1e6, noise, "float32", 0).astype(dtype)
        found.append(plan.stages[0].backward(plan.context(train=True), tape.pop(), slopes).copy())
    exact, rounded, constant = found
    assert distance(exact, rounded) < 1e-5
    np.testing.assert_allclose(constant, 0, atol=1e-7)
