"""Initial values: their mean, spread, bounds and shape, and that they follow from the generator alone."""

import inspect
import math
from typing import NamedTuple

import numpy as np
import pytest

import gedanken.init
from gedanken.errors import ArgumentError
from gedanken.init import (
    LEFT,
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Initializer,
    Orthogonal,
    TruncatedNormal,
    VarianceScaling,
    Zeros,
)
from gedanken.random import Purpose, generator
from gedanken.types import Array, Shape

FAN_IN, FAN_OUT = 50, 150


class Row(NamedTuple):
    """An initializer, the mean and variance it promises for the fans above, and the bound of its values."""

    rule: Initializer
    mean: float
    variance: float
    bound: float


TABLE = [
    Row(HeNormal(), 0, 2 / 50, math.inf),
    Row(HeUniform(), 0, 2 / 50, math.sqrt(6 / 50)),
    Row(GlorotNormal(), 0, 2 / 200, math.inf),
    Row(GlorotUniform(), 0, 2 / 200, math.sqrt(6 / 200)),
    Row(VarianceScaling(), 0, 1 / 50, 2 / LEFT / math.sqrt(50)),
    Row(VarianceScaling(2, "fan_out", "uniform"), 0, 2 / 150, math.sqrt(6 / 150)),
    Row(VarianceScaling(2, "fan_average", "normal"), 0, 2 / 100, math.inf),
    Row(TruncatedNormal(), 0, (0.05 * LEFT) ** 2, 0.1),
    Row(TruncatedNormal(0.1, 0, 3), 0, (0.1 * 0.98658) ** 2, 0.3),
    Row(Orthogonal(), 0, 1 / 500, math.inf),
    Row(Constant(-0.3), -0.3, 0, 0.3),
    Row(Zeros(), 0, 0, 0),
]
every_row = pytest.mark.parametrize("row", TABLE, ids=[repr(row.rule) for row in TABLE])


def values(rule: Initializer, shape: Shape, seed: int = 0, place: str = "0.kernel") -> Array:
    return rule(generator(seed, Purpose.WEIGHTS, place), shape, FAN_IN, FAN_OUT)


@every_row
def test_mean_variance_and_bound(row: Row) -> None:
    drawn = values(row.rule, (400, 500))
    # Five standard errors of a normal sample: var(mean) = v / n, var(variance) = 2 v^2 / n.
    slack = 5 / math.sqrt(drawn.size)
    assert drawn.mean() == pytest.approx(row.mean, rel=1e-12, abs=slack * math.sqrt(row.variance))
    assert drawn.var() == pytest.approx(row.variance, rel=slack * math.sqrt(2), abs=1e-30)
    assert np.abs(drawn).max() <= row.bound
    if math.isfinite(row.bound):
        assert np.abs(drawn).max() >= 0.999 * row.bound


@pytest.mark.parametrize("rule", [HeNormal(), GlorotNormal()], ids=repr)
def test_normal_values_have_normal_quantiles(rule: Initializer) -> None:
    drawn = values(rule, (200_000,))
    drawn /= drawn.std()
    within = [np.mean(np.abs(drawn) < deviations) for deviations in (1, 2, 3)]
    assert within == pytest.approx([0.6827, 0.9545, 0.9973], abs=0.005)


@pytest.mark.parametrize("rule", [HeUniform(), GlorotUniform()], ids=repr)
def test_uniform_values_fill_their_range_evenly(rule: Initializer) -> None:
    drawn = values(rule, (200_000,))
    bound = np.abs(drawn).max()
    shares = np.histogram(drawn, bins=10, range=(-bound, bound))[0] / drawn.size
    assert shares == pytest.approx(np.full(10, 0.1), abs=0.005)


@every_row
@pytest.mark.parametrize("shape", [(7,), (3, 3, 2, 5), (1, 1), (0, 4)])
def test_shape_and_precision(row: Row, shape: Shape) -> None:
    drawn = values(row.rule, shape)
    assert drawn.shape == shape
    assert drawn.dtype == np.float64
    assert drawn.flags.writeable


@every_row
def test_same_generator_same_values(row: Row) -> None:
    np.testing.assert_array_equal(values(row.rule, (5, 6)), values(row.rule, (5, 6)))
    others = [values(row.rule, (5, 6), seed=1), values(row.rule, (5, 6), place="1.kernel")]
    for other in others:
        assert (other != values(row.rule, (5, 6))).all() == (row.variance > 0)


@pytest.mark.parametrize(
    ("rule", "fan_in", "fan_out", "scale"),
    [
        (HeNormal(), 200, 150, 0.5),
        (HeNormal(), 50, 1, 1.0),
        (HeUniform(), 200, 150, 0.5),
        (HeUniform(), 50, 1, 1.0),
        (GlorotNormal(), 150, 50, 1.0),
        (GlorotNormal(), 50, 750, 0.5),
        (GlorotUniform(), 150, 50, 1.0),
        (VarianceScaling(), 200, 150, 0.5),
        (VarianceScaling(3, "fan_average", "normal"), 150, 50, 1.0),
        (GlorotUniform(), 50, 750, 0.5),
    ],
)
def test_fans_only_scale_the_values(rule: Initializer, fan_in: int, fan_out: int, scale: float) -> None:
    other = rule(generator(0, Purpose.WEIGHTS, "0.kernel"), (4, 5), fan_in, fan_out)
    np.testing.assert_allclose(other, scale * values(rule, (4, 5)), rtol=1e-12)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (3, 3, 2, 7), (2, 2, 1, 9), (7,), (1, 1)])
def test_orthogonal_values_keep_lengths(shape: Shape) -> None:
    drawn = values(Orthogonal(1.5), shape)
    matrix = drawn.reshape(-1, shape[-1] if len(shape) > 1 else 1)
    matrix = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    np.testing.assert_allclose(matrix.T @ matrix, 2.25 * np.eye(matrix.shape[1]), atol=1e-12)


def test_any_orthogonal_matrix_is_as_likely() -> None:
    corners = [values(Orthogonal(), (3, 3), seed)[0, 0] for seed in range(400)]
    assert np.mean(np.array(corners) > 0) == pytest.approx(0.5, abs=0.1)  # without its signs, 0.
    assert np.var(corners) == pytest.approx(1 / 3, abs=0.06)


@pytest.mark.parametrize("value", [math.nan, math.inf, "0", None])
def test_wrong_constants(value: float) -> None:
    with pytest.raises(ArgumentError, match=r"^Constant value must be a number in \(-inf, inf\), got "):
        Constant(value)


@every_row
def test_initializers_are_values(row: Row) -> None:
    again = type(row.rule)(**vars(row.rule))
    assert again == row.rule
    assert hash(again) == hash(row.rule)
    assert [other.rule for other in TABLE if other.rule == row.rule] == [row.rule]


def test_every_public_initializer_has_a_row() -> None:
    public = {
        kind
        for kind in vars(gedanken.init).values()
        if inspect.isclass(kind) and issubclass(kind, Initializer) and kind is not Initializer
    }
    assert public == {type(row.rule) for row in TABLE}
