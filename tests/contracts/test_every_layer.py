"""What holds for every layer, checked on every row of the table."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gedanken
from gedanken import SGD, Branches, DataError, Layer, Network, Sequential, SparseRows
from gedanken.engine.base import Engine
from gedanken.engine.plan import Plan
from gedanken.io.architecture import known_classes
from gedanken.io.data import from_data, to_data
from gedanken.layers.shape import to_channels_first
from gedanken.ops import Ops
from gedanken.types import Array
from tests.cases import FUNCTIONS, LAYERS, PUBLIC, LayerCase, name_of, public_kinds
from tests.standin_cupy import StandInCupy

every_layer = pytest.mark.parametrize("case", LAYERS, ids=name_of)


class Whole(Sequential):
    """A Sequential that is not taken apart."""


def compiled(case: LayerCase, dtype: str = "float64", xp: Any = np) -> Plan:
    """Return the plan of a network of this layer alone, with parameters that are not at their first values."""
    # a plan takes a Sequential apart, so it is tested as a container of the user's own
    layer = Whole(case.layer.layers) if isinstance(case.layer, Sequential) else case.layer
    plan = Plan([layer], case.shape, Engine("numpy", Ops(xp, dtype), "test"), seed=3)
    plan.initialise()
    noise = np.random.default_rng(1).normal(size=plan.params.size) * 0.2
    plan.params += plan.ops.asarray(noise)
    return plan


def run(plan: Plan, x: Array, train: bool = True) -> tuple[Array, Array, Array]:
    """Return output, gradient by the input and all gradients by parameters of one pass."""
    ctx, (step,) = plan.context(train, epoch=1), plan.layers
    y, cache = step.forward(ctx, plan.enter(x))
    dy = np.random.default_rng(2).normal(size=y.shape)
    dx = step.backward(ctx, cache, plan.ops.asarray(dy))
    return tuple(np.array(plan.ops.to_host(array)) for array in (y, dx, plan.grads))  # type: ignore[return-value]


def slope(function: Any, array: Array, index: tuple[int, ...], h: float = 1e-5) -> float:
    """Return the derivative of function() by one entry of `array`, by five-point differences."""
    first, values = array[index], []
    for steps in (-2, -1, 1, 2):
        array[index] = first + steps * h
        values.append(function())
    array[index] = first
    far_left, left, right, far_right = values
    return (far_left - 8 * left + 8 * right - far_right) / (12 * h)


def numeric_gradient(function: Any, array: Array) -> Array:
    return np.array([slope(function, array, i) for i in np.ndindex(array.shape)]).reshape(array.shape)


def assert_close(got: Array, expected: Array, tolerance: float) -> None:
    scale = max(float(np.abs(expected).max(initial=0)), 1e-3)
    assert np.abs(got - expected).max(initial=0) <= tolerance * scale


@every_layer
@pytest.mark.parametrize("train", [True, False], ids=["training", "prediction"])
def test_gradients_agree_with_finite_differences(case: LayerCase, train: bool) -> None:
    plan, x = compiled(case), case.data(2)
    y, dx, grads = run(plan, x, train)
    weights = np.random.default_rng(2).normal(size=y.shape)
    ctx, (step,) = plan.context(train, epoch=1), plan.layers
    inner = plan.enter(x).copy()

    def cost() -> float:
        return float((step.forward(ctx, inner)[0] * weights).sum())

    assert_close(grads, numeric_gradient(cost, plan.params), 1e-6)
    if case.layer.tokens is None and not case.layer.sparse:  # nobody reads theirs
        assert_close(dx, numeric_gradient(cost, inner), 1e-6)


@every_layer
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_and_types_are_the_declared_ones(case: LayerCase, samples: int, dtype: str) -> None:
    plan, x = compiled(case, dtype), case.data(samples)
    y, dx, grads = run(plan, x)
    assert to_channels_first(y).shape == (samples, *case.output_shape)
    assert dx.shape == plan.enter(x).shape
    assert {array.dtype for array in (y, dx, grads)} == {np.dtype(dtype)}
    assert plan.params.size == case.parameters
    assert np.isfinite(y).all()
    assert np.isfinite(grads).all()


@every_layer
def test_costs_are_counted(case: LayerCase) -> None:
    shape = compiled(case).shapes[0]
    assert case.layer.multiply_adds(shape) == case.multiply_adds
    assert case.layer.activations(shape) >= math.prod(case.output_shape) or case.layer in (Sequential(), Branches([]))


@every_layer
def test_backward_writes_every_gradient_and_changes_nothing_else(case: LayerCase) -> None:
    plan, x = compiled(case), case.data(3)
    ctx, (step,) = plan.context(train=True), plan.layers
    inner = plan.enter(x)
    kept = dense(inner).copy()
    y, cache = step.forward(ctx, inner)
    dy = np.ones_like(y)
    plan.grads[...] = np.nan
    for part in plan.updated(SGD()).rows:  # what no step has touched is zero and is not written
        part.of(plan.grads)[...] = 0
        part.gradient.set(np.arange(2), np.full_like(part.gradient.array[:2], np.nan))
    params = plan.params.copy()
    first = step.backward(ctx, cache, dy)
    assert not np.isnan(plan.grads).any()
    grads = plan.grads.copy()
    again = step.backward(ctx, cache, dy)
    for now, before in (
        (dense(inner), kept),
        (plan.params, params),
        (dy, np.ones_like(y)),
        (plan.grads, grads),
        (again, first),
    ):
        np.testing.assert_array_equal(now, before)


@every_layer
def test_prediction_changes_nothing_and_does_not_see_the_other_samples(case: LayerCase) -> None:
    plan, x = compiled(case), case.data(4)
    run(plan, x)
    before = {name: array.copy() for name, array in plan.arrays().items()}
    together = plan.predict(x)
    alone = np.concatenate([plan.predict(x[n : n + 1]) for n in range(4)])
    np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-14)
    for name, array in plan.arrays().items():
        np.testing.assert_array_equal(array, before[name])


@every_layer
def test_one_seed_gives_one_result(case: LayerCase) -> None:
    x = case.data(3, dtype="float32")
    for one, other in zip(run(compiled(case, "float32"), x), run(compiled(case, "float32"), x), strict=True):
        np.testing.assert_array_equal(one, other)


@every_layer
def test_input_may_lie_anyhow_in_memory(case: LayerCase) -> None:
    plan, x = compiled(case), case.data(3)
    spread = np.zeros((3, *(2 * size for size in case.shape)), x.dtype)
    strided = spread[(slice(None), *(slice(None, None, 2) for _ in case.shape))]
    strided[...] = x
    reversed_twice = np.asarray(x[::-1], order="F")[::-1]
    expected = run(plan, x)
    for other in (strided, np.asfortranarray(x), reversed_twice):
        for got, wanted in zip(run(plan, other), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


@every_layer
def test_saved_and_loaded_it_gives_the_same(case: LayerCase, tmp_path: Path) -> None:
    net, x = network(case), case.data(3)
    net.save(tmp_path / "net.safetensors")
    again = Network.load(tmp_path / "net.safetensors", classes=FUNCTIONS)
    assert again.layers == (case.layer,)
    np.testing.assert_array_equal(again.feedforward(x), net.feedforward(x))


@every_layer
def test_as_data_and_as_text_it_is_the_same_layer(case: LayerCase) -> None:
    known, partly = known_classes(FUNCTIONS), (gedanken.Branches, gedanken.FunctionLayer)  # told in part
    assert from_data(to_data(case.layer), known) == case.layer
    assert isinstance(case.layer, partly) or eval(repr(case.layer), dict(PUBLIC)) == case.layer
    assert len({case.layer, from_data(to_data(case.layer), known)}) == 1


@every_layer
def test_no_samples_are_refused(case: LayerCase) -> None:
    with pytest.raises(DataError, match="data must have at least one sample"):
        network(case).feedforward(np.zeros((0, *case.shape)))


@every_layer
def test_on_cupy_arrays_it_gives_the_same(case: LayerCase, standin_cupy: StandInCupy) -> None:
    x = case.data(3)
    for got, expected in zip(run(compiled(case, xp=standin_cupy), x), run(compiled(case), x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.gpu
@every_layer
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-10)])
def test_on_a_gpu_it_gives_the_same(case: LayerCase, dtype: str, tolerance: float, gpu: Any) -> None:
    x = case.data(3)
    for got, expected in zip(run(compiled(case, dtype, gpu), x), run(compiled(case, dtype), x), strict=True):
        assert_close(got, expected, tolerance)


def test_every_public_layer_has_a_row() -> None:
    public = public_kinds(Layer)
    abstract = {gedanken.Layer, gedanken.Activation, gedanken.BasePool}
    # These give or take several, see tests/test_several.py, test_cross_attention.py and test_from_state.py.
    without_array = {gedanken.Heads, gedanken.CrossAttention, gedanken.FromState}
    assert public - abstract - without_array == {type(case.layer) for case in LAYERS}


def dense(x: Any) -> Any:
    return x.toarray() if isinstance(x, SparseRows) else x


def network(case: LayerCase) -> Network:
    net = Network(seed=5).input(case.shape).add(case.layer)
    return net.regression(cost="mean_squared", dtype="float64")
