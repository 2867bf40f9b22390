"""Kernels run as Python: they give what machine code gives, and keep to their arrays and scratch memory."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gedanken import (
    SGD,
    Adam,
    AdamW,
    ArgumentError,
    BatchNorm,
    ConvolutionLayer,
    Dropout,
    Flatten,
    FullyConnectedLayer,
    Layer,
    MaxPoolLayer,
    Momentum,
    MultiHeadAttention,
    Network,
    Optimizer,
    ReLU,
    RMSProp,
    SoftMax,
)
from gedanken.engine.cpu.engine import HOW, CpuEngine
from gedanken.engine.cpu.interpreted import memory_of
from gedanken.errors import KernelError
from tests.cases import LayerCase, name_of
from tests.cpu.agree import check_agreement
from tests.cpu.test_bf16 import EMULATED, nearest, on
from tests.cpu.test_kernels_agree import DTYPES, KNOWN, convolutions, depthwise, fits, groups_of_layers, values


@pytest.fixture(scope="module", autouse=True)
def as_python() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOW, "python")
        yield


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", KNOWN, ids=name_of)
def test_every_known_layer(case: LayerCase, dtype: str) -> None:
    check_agreement([case.layer], case.shape, case.data(3, dtype=dtype), CpuEngine("test", dtype), dtype=dtype)


@settings(max_examples=15)
@given(st.one_of(convolutions(), depthwise()), st.integers(1, 2), st.sampled_from(DTYPES))
def test_any_convolution(made: tuple[Layer, tuple[int, int, int]], samples: int, dtype: str) -> None:
    layer, (channels, height, width) = made
    shape = (channels, min(height, 7), min(width, 7))
    assume(fits([layer], shape))
    check_agreement([layer], shape, values(samples, shape, 1, dtype), CpuEngine("test", dtype))


@settings(max_examples=15)
@given(st.data(), st.integers(1, 9), st.integers(1, 6), st.integers(1, 6), st.sampled_from(DTYPES))
def test_any_group(data: st.DataObject, channels: int, height: int, width: int, dtype: str) -> None:
    try:
        layers = data.draw(groups_of_layers())
    except ArgumentError:  # a padding as large as the window
        assume(False)
    rows, shape = [*layers, Flatten()], (channels, height, width)
    assume(fits(rows, shape) and height * width > 1)
    check_agreement(rows, shape, values(2, shape, 1, dtype), CpuEngine("test", dtype))


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([ConvolutionLayer(9, 3, 3, zero_padding=1)], (3, 6, 6)),
        ([ConvolutionLayer(6, 2, 3, stride=2, groups=2)], (4, 7, 6)),
        ([ConvolutionLayer(5, 9, 2)], (2, 5, 9)),
        ([Flatten(), FullyConnectedLayer(18)], (2, 5, 4)),
    ],
    ids=str,
)
def test_products_in_bf16(layers: list[Layer], shape: tuple[int, int, int]) -> None:
    check_agreement(layers, shape, nearest(values(3, shape, 2, "float32")), on(EMULATED), nearest)


@pytest.mark.parametrize(
    "optimizer", [SGD(0.1), Momentum(0.1), Adam(0.01, clip_norm=0.5), AdamW(0.01), RMSProp(0.01)], ids=str
)
def test_a_training(optimizer: Optimizer, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((12, 1, 8, 8)).astype("float32"), rng.integers(0, 3, 12)
    ended = []
    for how in ("python", ""):
        monkeypatch.setenv(HOW, how)
        net = Network(seed=1).input((1, 8, 8))
        for layer in (
            ConvolutionLayer(4, 3, 3, bias=False),
            BatchNorm(),
            ReLU(),
            MaxPoolLayer(2, 2),
            Flatten(),
            Dropout(0.8),
        ):
            net.add(layer)
        net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(optimizer, cost="cross_entropy", engine="cpu")
        net.fit(x, y, epochs=2, mini_batch_size=4, progress=False)
        assert ("run as Python" in str(net.summary())) == (how == "python")
        ended.append(net.feedforward(x))
    np.testing.assert_allclose(*ended, rtol=1e-4, atol=1e-5)


def test_what_lies_behind_a_row_of_scores_may_be_anything() -> None:
    x, y = np.random.default_rng(0).normal(size=(3, 3, 2)), np.ones((3, 3, 2))
    costs = []
    for engine in ("numpy", "cpu"):
        net = Network(1).input((3, 2)).add(MultiHeadAttention(1)).regression(Adam(0.01), "mean_squared", engine=engine)
        costs.append(net.fit(x, y, epochs=1, progress=False)["cost"][0])
    assert costs[0] == pytest.approx(costs[1], rel=1e-6)


def test_a_read_outside_of_memory_is_told() -> None:
    pointer = memory_of(np.arange(4, dtype="float32"), "Reals", "float32")
    assert pointer.at(2)[1] == 3
    for index in (2, -3):
        with pytest.raises(KernelError, match="outside of its memory"):
            pointer.at(2)[index]
    with pytest.raises(KernelError, match="outside of its memory"):
        pointer[4] = 1.0


def test_the_environment_has_one_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOW, "compiled")
    with pytest.raises(ArgumentError, match=f'{HOW} must be "python" or not set, got'):
        CpuEngine("test", "float32")
