"""Embedding and Reshape by kernels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gedanken import (
    SGD,
    Adam,
    Branches,
    ConvolutionLayer,
    DataError,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    Layer,
    LayerNorm,
    Network,
    Optimizer,
    Reshape,
    SoftMax,
)
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from tests.cpu.agree import check_agreement
from tests.cpu.test_kernels_agree import DTYPES, values

dtypes = st.sampled_from(DTYPES)


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 9), st.integers(1, 40), st.booleans(), dtypes)
def test_any_embedding(tokens: int, width: int, places: int, samples: int, norm: bool, dtype: str) -> None:
    shape = (places,) if places else ()
    x = np.random.default_rng(samples).integers(0, tokens, (samples, *shape))
    layers: list[Layer] = [Branches(Embedding(tokens, width), Embedding(tokens + 3, 2))]
    layers += [LayerNorm(epsilon=0.01)] if norm and places else []
    check_agreement([*layers, Flatten(), FullyConnectedLayer(3)], shape, x, dtype=dtype)


@settings(max_examples=25)
@given(st.permutations([2, 3, 4]), st.permutations([2, 3, 4]), st.integers(1, 5), dtypes)
def test_any_reshape(before: list[int], behind: list[int], samples: int, dtype: str) -> None:
    layers = [Reshape(tuple(behind)), ConvolutionLayer(2, 1, 1), Reshape((behind[2], 2, behind[1]))]
    layers.append(Reshape((2 * behind[1] * behind[2],)))
    check_agreement(layers, tuple(before), values(samples, tuple(before), 1, dtype))


def network(rule: Optimizer, engine: str, threads: int | None = None) -> Network:
    net = Network(seed=2).input((6,)).add(Embedding(30, 9)).add(Flatten()).add(FullyConnectedLayer(4)).add(SoftMax())
    return net.regression(rule, engine=engine, threads=threads, dtype="float64")


def trained(rule: Optimizer, engine: str, threads: int | None = None) -> np.ndarray:
    """Return all weights of a network that met some numbers in one epoch and others in the next."""
    rng, net = np.random.default_rng(1), network(rule, engine, threads)
    for low, high in ((0, 20), (10, 30), (3, 5)):
        data = rng.integers(low, high, (40, 6))
        net.fit(data, rng.integers(0, 4, 40), mini_batch_size=16, progress=False)
    return np.concatenate([array.ravel() for array in net._plan.arrays().values()])  # type: ignore[union-attr]


@pytest.mark.parametrize("rule", [SGD(0.5), Adam(0.05), SGD(0.5, clip_norm=0.1)], ids=repr)
def test_a_training_is_that_of_the_specification(rule: Optimizer) -> None:
    np.testing.assert_allclose(trained(rule, "cpu"), trained(rule, "numpy"), rtol=1e-9, atol=1e-12)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    assert len({trained(SGD(0.5), "cpu", threads).tobytes() for threads in (1, 2, 3)}) == 1


def test_nothing_of_it_falls_back() -> None:
    summary = network(SGD(0.1), "cpu").summary(64)
    assert not summary.fallbacks
    assert summary.step_bytes is not None


@pytest.mark.parametrize("number", [-1, 30])
def test_kernels_read_no_row_that_the_table_lacks(number: int) -> None:
    plan = Plan([Embedding(30, 9)], (2,), select_engine("cpu", "float32"), 0)
    with pytest.raises(DataError, match=f"must be whole numbers from 0 to 29, got .*{number}"):
        plan.predict(np.array([[3, number]]))
