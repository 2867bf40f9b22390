"""What holds for every layer of sequences that honours their lengths, on both engines."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gedanken import BatchNorm, FullyConnectedLayer, Layer, LayerNorm, RMSNorm, Sequences, ShapeError, TanH, UnitNorm
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.layers.base import ByPlace
from gedanken.layers.lengths import OUTPUT
from gedanken.types import Array
from tests.cases import LAYERS, LayerCase, name_of

SAMPLES = 5


def honours(case: LayerCase) -> bool:
    try:
        case.layer.output_lengths(case.shape, np.array([case.shape[0]]))
    except ShapeError:
        return False
    return True


OF_SEQUENCES = [case for case in LAYERS if len(case.shape) == 2 and case.layer.tokens is None and honours(case)]
each = pytest.mark.parametrize("case", OF_SEQUENCES, ids=name_of)


def lengths_of(case: LayerCase) -> Array:
    """Return lengths of all kinds, the shortest that the layer takes among them."""
    most = case.shape[0]
    shortest = next(n for n in range(1, most + 1) if _made(case, n) != 0)
    return np.array([most, shortest, (most + shortest) // 2, most - 1, shortest])


def _made(case: LayerCase, length: int) -> int | None:
    made = case.layer.output_lengths(case.shape, np.array([length]))
    return None if made is None else max(0, int(made[0]))


def passes(engine: str, case: LayerCase, x: Any, dy: Array, dtype: str = "float64") -> tuple[Array, ...]:
    """Return what a step and a prediction give: y, dx, gradients, prediction, state."""
    plan = Plan([case.layer], case.shape, select_engine(engine, dtype), seed=3)
    plan.initialise()
    plan.params += (np.random.default_rng(1).normal(size=plan.params.size) * 0.2).astype(dtype)
    ctx = plan.told_of_lengths(plan.context(train=True, epoch=1), x)
    plan._passes = plan._passes._replace(stages=plan.engine.stages(plan.layers))
    y, tape = plan.forward(ctx, x)
    y = y.copy()
    (stage,) = plan.stages
    dx = np.array(stage.backward(ctx, tape.pop(), dy.astype(dtype)))
    made = (ctx.lengths_at or {}).get(OUTPUT)
    found = plan.ops.real_places(y, made), plan.ops.real_places(dx, ctx.lengths), plan.grads.copy(), plan.predict(x)
    return *found, plan.layer_state.copy()


def gradient_of(case: LayerCase, lengths: Array, seed: int = 2) -> tuple[Array, Array | None]:
    dy = np.random.default_rng(seed).normal(size=(SAMPLES, *case.output_shape))
    return dy, case.layer.output_lengths(case.shape, lengths)


@each
@pytest.mark.parametrize("engine", ["numpy", "cpu"])
def test_what_stands_behind_the_end_changes_nothing(case: LayerCase, engine: str) -> None:
    x, lengths = case.data(SAMPLES), lengths_of(case)
    dy, made = gradient_of(case, lengths)
    noisy, other = x.copy(), case.data(SAMPLES, seed=9)
    behind = np.arange(case.shape[0]) >= lengths[:, None]
    noisy[behind] = other[behind]
    if made is not None:
        dy[np.arange(case.output_shape[0]) >= made[:, None]] = 0
    expected, got = (passes(engine, case, Sequences(data, lengths), dy) for data in (x, noisy))
    for one, two in zip(expected, got, strict=True):
        assert np.array_equal(one, two)


@each
@pytest.mark.parametrize("engine", ["numpy", "cpu"])
def test_a_padded_sequence_gives_what_it_gives_alone(case: LayerCase, engine: str) -> None:
    whole = Plan([case.layer], case.shape, select_engine(engine, "float64"), 3)
    whole.initialise()
    x, lengths = case.data(SAMPLES), lengths_of(case)
    padded = whole.predict(Sequences(x, lengths))
    made = case.layer.output_lengths(case.shape, lengths)
    for sample, length in enumerate(lengths.tolist()):
        alone = Plan([of_places(case.layer, length)], (length, *case.shape[1:]), select_engine(engine, "float64"), 3)
        if alone.params.shape != whole.params.shape:
            pytest.skip("it has parameters for each place")
        if getattr(case.layer, "zero_padding", None) == "same" and getattr(case.layer, "stride", 1) != 1:
            pytest.skip("its padding goes by the length")
        alone.params[...], alone.layer_state[...] = whole.params, whole.layer_state
        expected = alone.predict(x[sample : sample + 1, :length])[0]
        got = padded[sample] if made is None else padded[sample, : int(made[sample])]
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def of_places(layer: Layer, places: int) -> Layer:
    """Return a layer for the first places of a sequence; a mask is of so many."""
    mask: Any = getattr(layer, "attention_mask", None)
    return layer if mask is None else replace(layer, attention_mask=np.array(mask)[..., :places, :places])  # type: ignore[call-arg]


@each
def test_a_whole_sequence_is_one_without_lengths(case: LayerCase) -> None:
    x = case.data(SAMPLES)
    dy, _ = gradient_of(case, lengths_of(case))
    for engine in ("numpy", "cpu"):
        whole = Sequences(x, np.full(SAMPLES, case.shape[0]))
        for one, two in zip(passes(engine, case, x, dy), passes(engine, case, whole, dy), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-12)


@each
def test_gradients_at_padded_places_do_not_count_where_places_are_mixed(case: LayerCase) -> None:
    """A layer that works place by place gets zeros there from the layer behind it."""
    x, lengths = case.data(SAMPLES), lengths_of(case)
    dy, made = gradient_of(case, lengths)
    if made is None or isinstance(case.layer, (ByPlace, LayerNorm, RMSNorm, UnitNorm)):
        return
    noisy = dy.copy()
    noisy[np.arange(case.output_shape[0]) >= made[:, None]] = 7.0
    for engine in ("numpy", "cpu"):
        expected, got = (passes(engine, case, Sequences(x, lengths), given) for given in (dy, noisy))
        for one, two in zip(expected, got, strict=True):
            assert np.array_equal(one, two)


@each
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_give_what_the_specification_gives(case: LayerCase, dtype: str) -> None:
    lengths = lengths_of(case)
    x = Sequences(case.data(SAMPLES).astype(dtype), lengths)
    dy, made = gradient_of(case, lengths)
    if made is not None:
        dy[np.arange(case.output_shape[0]) >= made[:, None]] = 0
    expected, got = (passes(engine, case, x, dy, dtype) for engine in ("numpy", "cpu"))
    for one, two in zip(expected, got, strict=True):
        scale = max(float(abs(one).max(initial=0)), 1.0)
        np.testing.assert_allclose(two, one, atol=scale * (1e-5 if dtype == "float32" else 1e-12))


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_norm_measures_the_real_places_of_a_mini_batch(engine: str, dtype: str) -> None:
    """A padded mini-batch gives what its real places give, put beneath each other as samples."""
    rng, lengths = np.random.default_rng(3), np.array([6, 1, 3, 5])
    real = np.arange(6) < lengths[:, None]
    x, dy = (rng.normal(size=(4, 6, 3)).astype(dtype) + 5 for _ in range(2))
    x[~real], dy[~real] = 1e4, 7
    for row in ([BatchNorm()], [FullyConnectedLayer(2), BatchNorm(momentum=None), TanH()]):
        found = []
        for shape, given, slope in (((6, 3), Sequences(x, lengths), dy), ((3,), x[real], dy[real])):
            plan = Plan(row, shape, select_engine(engine, dtype), seed=3)
            plan.initialise()
            ctx = plan.told_of_lengths(plan.context(train=True), given)
            plan._passes = plan._passes._replace(stages=plan.engine.stages(plan.layers))
            y, tape = plan.forward(ctx, given)
            y, dx = y.copy(), slope[..., : y.shape[-1]]
            for stage in reversed(plan.stages):
                dx = stage.backward(ctx, tape.pop(), np.ascontiguousarray(dx))
            both = (y[real], np.array(dx)[real]) if y.ndim == 3 else (y, np.array(dx))
            found.append([*both, plan.grads.copy(), plan.layer_state.copy()])
        for padded, alone in zip(*found, strict=True):
            scale = max(float(abs(alone).max()), 1.0)
            np.testing.assert_allclose(padded, alone, atol=scale * (1e-5 if dtype == "float32" else 1e-11))
