"""Activations, norms and noise that came after the first ones: kernels against the specification, on random shapes."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gedanken import (
    CELU,
    GELU,
    GLU,
    SELU,
    AlphaDropout,
    AveragePoolLayer,
    BatchNorm,
    ConvolutionLayer,
    Cpu,
    Flatten,
    FullyConnectedLayer,
    GaussianNoise,
    GroupNorm,
    HardSigmoid,
    HardSwish,
    HardTanH,
    InstanceNorm,
    Layer,
    LayerNorm,
    LogSigmoid,
    LogSoftMax,
    MaxPoolLayer,
    Mish,
    Network,
    PReLU,
    ReLU6,
    RMSNorm,
    Shrink,
    SoftMax,
    Softplus,
    Softsign,
    SpatialDropout,
    TanHShrink,
    Threshold,
    UnitNorm,
)
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.random import Purpose, sample_normals
from gedanken.types import Array
from tests.cpu.agree import TOLERANCE, check_agreement
from tests.cpu.test_kernels_agree import DTYPES, values

SMOOTH: list[Layer] = [
    CELU(0.7), SELU(), Softplus(), Softplus(2.5), LogSigmoid(), Mish(), Softsign(), GELU(approximate=True), HardSwish(),
    TanHShrink(),
]  # fmt: skip
PIECES: list[Layer] = [ReLU6(), HardTanH(-0.4, 1), HardSigmoid(), Threshold(-0.3, 0.5), Shrink(0.4), Shrink(0.4, 0.4)]
CURVES = [*SMOOTH, *PIECES]
SMALL: list[Layer] = [CELU(1.5), SELU(), Softplus(), LogSigmoid(), Mish(), Softsign(), TanHShrink(), LogSoftMax()]
MEAN, VAR = partial(np.mean, axis=0), partial(np.var, axis=0, ddof=1)
shapes = st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple)
smaller = st.lists(st.integers(1, 14), min_size=1, max_size=3).map(tuple)
dtypes = st.sampled_from(DTYPES)


@settings(max_examples=25)
@given(st.sampled_from(CURVES), shapes, st.integers(1, 9), st.integers(0, 9), dtypes)
def test_any_activation(curve: Layer, shape: tuple[int, ...], samples: int, seed: int, dtype: str) -> None:
    check_agreement([curve], shape, values(samples, shape, seed, dtype))


@settings(max_examples=15)
@given(st.sampled_from(CURVES), st.booleans(), st.booleans(), st.integers(1, 20), st.integers(1, 4), dtypes)
def test_any_activation_in_a_group(
    curve: Layer, norm: bool, most: bool, channels: int, samples: int, dtype: str
) -> None:
    pool = MaxPoolLayer(2, 2, 1) if most else AveragePoolLayer(2, 2, 1)
    layers: list[Layer] = [ConvolutionLayer(channels, 2, 2), *([BatchNorm(shift=False)] if norm else []), curve, pool]
    x = values(samples, (2, 7, 6), 1, dtype)
    check_agreement([*layers, Flatten(), FullyConnectedLayer(5), curve], (2, 7, 6), x, tolerance=5 * TOLERANCE[dtype])


@settings(max_examples=25)
@given(
    st.sampled_from([RMSNorm, LayerNorm, InstanceNorm, GroupNorm, BatchNorm]),
    st.booleans(), st.booleans(), shapes, st.integers(2, 9), st.integers(0, 9), dtypes,
)  # fmt: skip
def test_any_norm(
    kind: Any, scale: bool, shift: bool, shape: tuple[int, ...], samples: int, seed: int, dtype: str
) -> None:
    shape = (*shape, 3) if kind is InstanceNorm and len(shape) == 1 else shape
    given = {"scale": scale} if kind is RMSNorm else {"scale": scale, "shift": shift}
    layer = kind(epsilon=0.01, **given, **({"n_groups": 1} if kind is GroupNorm else {}))
    check_agreement([layer], shape, values(samples, shape, seed, dtype), tolerance=3 * TOLERANCE[dtype])


@settings(max_examples=20)
@given(
    st.sampled_from([RMSNorm, LayerNorm, UnitNorm]), smaller, st.data(), st.integers(2, 9), st.integers(0, 9), dtypes
)
def test_any_norm_over_any_axes(
    kind: Any, shape: tuple[int, ...], data: st.DataObject, samples: int, seed: int, dtype: str
) -> None:
    axes = tuple(data.draw(st.lists(st.integers(1, len(shape)), min_size=1, unique=True)))
    layers = [kind(epsilon=0.01, axes=axes), ReLU6()]
    check_agreement(layers, shape, values(samples, shape, seed, dtype), tolerance=3 * TOLERANCE[dtype])


@settings(max_examples=20)
@given(st.sampled_from([SoftMax, LogSoftMax, GLU]), smaller, st.data(), st.integers(2, 9), st.integers(0, 9), dtypes)
def test_any_shares_over_any_axes(
    kind: Any, shape: tuple[int, ...], data: st.DataObject, samples: int, seed: int, dtype: str
) -> None:
    axes: Any = tuple(data.draw(st.lists(st.integers(1, len(shape)), min_size=1, unique=True)))
    if kind is GLU:
        axes = axes[0]
        shape = tuple(size + size % 2 for size in shape)
    check_agreement([kind(axes=axes), ReLU6()], shape, values(samples, shape, seed, dtype))


@settings(max_examples=12)
@given(st.booleans(), st.booleans(), smaller, st.integers(1, 9), st.integers(0, 9), dtypes)
def test_any_running_norm(
    scale: bool, shift: bool, shape: tuple[int, ...], samples: int, seed: int, dtype: str
) -> None:
    shape = (*shape, 3) if len(shape) == 1 else shape
    layer = InstanceNorm(epsilon=0.01, scale=scale, shift=shift, running=True, momentum=0.6)
    check_agreement([layer], shape, values(samples, shape, seed, dtype), tolerance=3 * TOLERANCE[dtype])


@settings(max_examples=15)
@given(st.booleans(), shapes, st.integers(1, 30), st.integers(0, 9), dtypes)
def test_any_prelu(shared: bool, shape: tuple[int, ...], samples: int, seed: int, dtype: str) -> None:
    check_agreement([PReLU(shared=shared), FullyConnectedLayer(3)] if len(shape) < 3 else [PReLU(shared=shared)], shape,
                    values(samples, shape, seed, dtype))  # fmt: skip


@settings(max_examples=25)
@given(
    st.sampled_from([SpatialDropout(0.6), AlphaDropout(0.6), GaussianNoise(0.3)]),
    shapes, st.integers(1, 5), st.integers(0, 9), dtypes,
)  # fmt: skip
def test_any_noise(layer: Layer, shape: tuple[int, ...], samples: int, seed: int, dtype: str) -> None:
    shape = (*shape, 3) if isinstance(layer, SpatialDropout) and len(shape) == 1 else shape
    check_agreement([layer, ReLU6(), layer], shape, values(samples, shape, seed, dtype))


@settings(max_examples=15)
@given(shapes, st.integers(1, 9), st.integers(0, 9), dtypes)
def test_gated_halves(shape: tuple[int, ...], samples: int, seed: int, dtype: str) -> None:
    """Of images the channels come first here; they are what is halved."""
    shape = (2 * shape[0], *shape[1:]) if len(shape) == 3 else (*shape[:-1], 2 * shape[-1])
    check_agreement([GLU()], shape, 3 * values(samples, shape, seed, dtype))


@settings(max_examples=15)
@given(st.integers(1, 200), st.integers(1, 20), st.floats(0.1, 40), dtypes)
def test_any_logarithms_of_shares(classes: int, samples: int, size: float, dtype: str) -> None:
    check_agreement([LogSoftMax()], (classes,), values(samples, (classes,), 1, dtype) * np.dtype(dtype).type(size))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("biased", [False, True])
def test_means_over_all_mini_batches(dtype: str, biased: bool) -> None:
    found = []
    for engine in ("numpy", "cpu"):
        plan = Plan([BatchNorm(momentum=None, biased=biased)], (3,), select_engine(engine, dtype), 0)
        plan.initialise()
        batches = [values(n, (3,), n, dtype) + 5 for n in (4, 1, 7, 2)]  # one sample has no variance and is left out
        for x in batches:
            plan.forward(plan.context(train=True), x)
        several = [x.astype(float) for x in batches if len(x) > 1]
        arrays = plan.arrays()
        np.testing.assert_allclose(arrays["0.mean"], np.mean([x.mean(axis=0) for x in several], axis=0), rtol=1e-6)
        np.testing.assert_allclose(
            arrays["0.var"], np.mean([x.var(axis=0, ddof=not biased) for x in several], axis=0), rtol=1e-6
        )
        assert arrays["0.count"].tolist() == [3]
        found.append(np.concatenate([arrays["0.mean"], arrays["0.var"]]))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6 if dtype == "float32" else 1e-13)


def outputs_and_slopes(layer: Layer, x: Array, engine: str) -> tuple[Array, Array]:
    plan = Plan([layer], x.shape[1:], select_engine(engine, str(x.dtype)), 0)
    plan._passes = plan._passes._replace(stages=plan.engine.stages(plan.layers, dx=True))
    ctx = plan.context(train=True)
    with np.errstate(all="ignore"):
        y, tape = plan.forward(ctx, x)
        return y.copy(), plan.stages[0].backward(ctx, tape.pop(), np.ones_like(y)).copy()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", SMALL, ids=str)
def test_small_results_keep_their_digits(layer: Layer, dtype: str) -> None:
    x = -np.logspace(-3, 1.8, 60).astype(dtype).reshape(20, 3)
    for y, expected in zip(*(outputs_and_slopes(layer, x, engine) for engine in ("cpu", "numpy")), strict=True):
        rtol, floor = (1e-5, 1e-6) if dtype == "float32" else (1e-12, 1e-14)
        sums = isinstance(layer, (LogSoftMax, Mish))  # whose slopes go through 0
        np.testing.assert_allclose(y, expected, rtol=rtol, atol=floor if sums else 0)


@pytest.mark.parametrize("layer", [*CURVES, PReLU(), LogSoftMax()], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_slopes_of_any_input(layer: Layer, dtype: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1e30, -1e30, 40, -40, 100, -100, 3, -3], dtype)[:, None]
    for got, expected in zip(*(outputs_and_slopes(layer, x, engine) for engine in ("cpu", "numpy")), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6 if dtype == "float32" else 1e-13)


def test_numbers_of_a_normal_distribution_belong_to_their_sample() -> None:
    whole = sample_normals(3, Purpose.NOISE, "1", 2, 5, 6, 11)
    np.testing.assert_array_equal(sample_normals(3, Purpose.NOISE, "1", 2, 7, 3, 11), whole[2:5])
    drawn = sample_normals(3, Purpose.NOISE, "1", 2, 0, 1000, 100)
    assert abs(drawn.mean()) < 0.02
    assert drawn.std() == pytest.approx(1, abs=0.01)
    within = [float(np.mean(np.abs(drawn) < deviations)) for deviations in (0.1, 1, 2, 3)]
    assert within == pytest.approx([0.0797, 0.6827, 0.9545, 0.9973], abs=0.005)


def trained(threads: int) -> bytes:
    rng = np.random.default_rng(0)
    net = Network(seed=3).input((2, 20, 20)).add(GaussianNoise(0.1)).add(ConvolutionLayer(8, 3, 3))
    net.add(BatchNorm(momentum=None, scale=False)).add(Mish()).add(InstanceNorm(running=True)).add(PReLU())
    net.add(LayerNorm(axes=1)).add(RMSNorm())
    net.add(SpatialDropout(0.8)).add(PReLU(shared=True)).add(Flatten()).add(AlphaDropout(0.9))
    net.add(FullyConnectedLayer(5)).add(SoftMax()).regression(engine=Cpu(threads=threads))
    assert not net.summary().fallbacks
    net.fit(rng.random((50, 2, 20, 20)), rng.integers(0, 5, 50), epochs=2, mini_batch_size=20, progress=False)
    return b"".join(array.tobytes() for array in net._plan.arrays().values())  # type: ignore[union-attr]


def test_any_number_of_threads_gives_the_same_bits() -> None:
    assert len({trained(threads) for threads in (1, 2, 3)}) == 1
