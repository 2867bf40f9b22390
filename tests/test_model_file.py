"""Model files: what goes in comes out, what is damaged is refused, and what is there is never half overwritten."""

import io
import json
import pickletools
import re
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gedanken import (
    CELU,
    GELU,
    GLU,
    GRU,
    LSTM,
    SELU,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    AdaptiveAveragePool1DLayer,
    AdaptiveAveragePoolLayer,
    AdaptiveMaxPool1DLayer,
    AdaptiveMaxPoolLayer,
    AlphaDropout,
    ArgumentError,
    AveragePool1DLayer,
    AveragePoolLayer,
    BatchNorm,
    Bidirectional,
    Branches,
    CheckpointError,
    Constant,
    Convolution1DLayer,
    ConvolutionLayer,
    CosineDecay,
    CroppingLayer,
    CrossEntropy,
    CustomCost,
    Dropout,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    FunctionLayer,
    GaussianNoise,
    GlobalAveragePool1DLayer,
    GlobalAveragePoolLayer,
    GlobalLpPool1DLayer,
    GlobalLpPoolLayer,
    GlobalMaxPool1DLayer,
    GlobalMaxPoolLayer,
    GlorotUniform,
    GraphCut,
    GroupNorm,
    HardSigmoid,
    HardSwish,
    HardTanH,
    Huber,
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
    MeanSquared,
    Mish,
    Momentum,
    MultiHeadAttention,
    Network,
    OnPlateau,
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
    Schedule,
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
    SpatialDropout,
    StateError,
    TanH,
    TanHShrink,
    Threshold,
    TransposedConvolutionLayer,
    UnitNorm,
    UpsamplingLayer,
    WarmUp,
)
from gedanken.io.safetensors import read_arrays, read_contents, write_arrays
from gedanken.layers import __all__ as layer_names
from tests.cases import FUNCTIONS, beside, log_cosh, swish

RNG = np.random.default_rng(7)
X = RNG.standard_normal((12, 4)).astype(np.float32)
Y = np.arange(12) % 3
quietly = settings(deadline=None, max_examples=60)


def small(seed: int = 1) -> Network:
    net = Network(seed).input((4,)).add(FullyConnectedLayer(5)).add(BatchNorm()).add(TanH())
    return net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(Adam(0.01))


def fitted(net: Network) -> Network:
    """Return the network after two epochs, so that its weights and running values are no first values."""
    assert net.input_shape is not None
    tokens = bool(net.layers[0].tokens)
    shape = (6, *net.input_shape)
    data = RNG.integers(0, 5, shape) if tokens else RNG.standard_normal(shape)
    net.fit(data, np.zeros_like(net.feedforward(data)), epochs=2, mini_batch_size=3, progress=False)
    return net


# ------------------------------------------------------------------ there and back

IMAGE = [
    [ConvolutionLayer(4, 3, 2, stride=(1, 2), zero_padding="same"), BatchNorm(momentum=0.7, biased=True), ReLU()],
    [ConvolutionLayer(4, 3, 3, groups=2, dilation=2, bias=False, init=GlorotUniform(), zero_padding=(2, 1))],
    [MaxPoolLayer(2, 2, 1), LeakyReLU(0.2), GroupNorm(2, epsilon=1e-3)],
    [AveragePoolLayer(2, 3, zero_padding="same"), LayerNorm(), GELU()],
    [Dropout(0.9), Reshape((1, 12, 6)), SiLU(), ConvolutionLayer(2, 1, 1, bias_init=Constant(0.25))],
    [Residual([ConvolutionLayer(2, 3, 3, zero_padding="same"), BatchNorm()])],
    [Residual(ConvolutionLayer(3, 1, 1), shortcut=[ConvolutionLayer(3, 1, 1), ReLU()])],
    [Branches([ConvolutionLayer(2, 1, 1), ReLU()], ConvolutionLayer(4, 1, 1)), SoftMax()],
    [Branches(ReLU(), Sequential([TanH(), BatchNorm()]), merge="sum")],
    [Branches(ReLU(), TanH(), merge="dot"), Branches([], Sigmoid(), merge="cosine")],
    [Branches(ReLU(), TanH(), merge="subtract"), Branches([], [Sigmoid()], [TanH()], merge="multiply")],
    [Sequential([Sequential(), Flatten(), FullyConnectedLayer(6)])],
    [GlobalAveragePoolLayer(), Sigmoid()],
    [LpPoolLayer(2, 2, 1, ceil_mode=True, power=3), GlobalLpPoolLayer(1.5)],
    [
        TransposedConvolutionLayer(4, 3, 2, stride=(1, 2), zero_padding=1, output_padding=(0, 1), groups=2),
        PixelShuffle(2),
    ],
    [PixelUnshuffle(2), Permute((1, 3, 2))],
    [LayerNorm(axes=(1, 3)), InstanceNorm(running=True), RMSNorm(axes=1), UnitNorm()],
    [SoftMax(axes=(2, 3)), LogSoftMax(axes=2), GLU(axes=3)],
    [
        UpsamplingLayer(2),
        UpsamplingLayer(2, "bicubic"),
        UpsamplingLayer(size=(5, 7), mode="bilinear", align_corners=True),
        ReLU(),
    ],
    [ConvolutionLayer(4, 3, 3, zero_padding=((2, 0), (1, 3)), padding_mode="reflect"), LocalResponseNorm(3, k=2.0)],
    [MaxPoolLayer(2, 2, 3, ((0, 1), (1, 0)), dilation=2, ceil_mode=True), AdaptiveAveragePoolLayer((3, 1))],
    [AveragePoolLayer(3, 3, 2, 1, ceil_mode=True, count_padding=False, divisor=4), AdaptiveMaxPoolLayer(2), Flatten()],
    [PaddingLayer(((1, 0), (2, 3)), mode="constant", value=0.5), CroppingLayer((1, 2)), GlobalMaxPoolLayer()],
    [InstanceNorm(shift=False), RMSNorm(), BatchNorm(momentum=None, scale=False), PReLU(), SpatialDropout(0.5)],
    [PReLU(shared=True, init=Constant(0.1)), ReLU6(), HardTanH(-2, 2), HardSigmoid(0.2), HardSwish(), Mish()],
    [
        SELU(),
        AlphaDropout(0.9),
        CELU(2.0),
        Softplus(2.0),
        Softsign(),
        TanHShrink(),
        GELU(approximate=True),
        GaussianNoise(0.1),
    ],
    [Threshold(-1, -1), Shrink(0.1, 0.1), LogSigmoid(), LogSoftMax(), Flatten(), FullyConnectedLayer(4), GLU()],
]
ROWS = {
    **{f"{layers}": ((2, 6, 6), layers) for layers in IMAGE},
    "sequence": ((4, 3), [LayerNorm(), FullyConnectedLayer(5, bias=False), GELU()]),
    "over time": (
        (9, 3),
        [
            Convolution1DLayer(4, 3, zero_padding=[1, 0], dilation=2, groups=1, bias=False),
            MaxPool1DLayer(2, 1, "same", dilation=2),
            LearnedPositions(),
            AveragePool1DLayer(2, count_padding=False, ceil_mode=True, divisor=3),
            SinePositions(100.0),
        ],
    ),
    "attention": (
        (4, 6),
        [
            MultiHeadAttention(
                3, causal=True, bias=False, keep=0.5, learned_key=True, key_size=2, value_size=3, n_units=4
            ),
            MultiHeadAttention(2, attention_mask=np.eye(4, k=1) < 1, zero_key=True),
            MultiHeadAttention(1, attention_mask=np.where(np.eye(4, k=1) < 1, 0.25, -np.inf)),
        ],
    ),
    "over all time": ((4, 3), [Branches(GlobalMaxPool1DLayer(), GlobalAveragePool1DLayer(), GlobalLpPool1DLayer(3))]),
    "norms": ((4, 3), [LpPool1DLayer(2, 1, (1, 0), power=1.5)]),
    "to a size": ((4, 3), [Branches(AdaptiveMaxPool1DLayer(2), AdaptiveAveragePool1DLayer(2))]),
    "read": ((4, 3), [SimpleRNN(3, activation="relu", reverse=True), GRU(2, reset_after=False, last=True)]),
    "both directions": (
        (4, 3),
        [Bidirectional(LSTM(3, forget_bias=0.5, projection=2)), Bidirectional(GRU(2), merge="average")],
    ),
    "tokens": ((4,), [Embedding(5, 3), FullyConnectedLayer(2)]),
    "token": ((), [Embedding(5, 3)]),
    "rows": ((4,), [SparseFullyConnectedLayer(3, l2=0.5), TanH()]),
    "pairs": ((2,), [MatrixFactorisation(5, 5, 2, bias=False), TanH()]),
    "edges": ((2,), [GraphCut(3, 2), TanH()]),
    "no weights": ((4,), [ReLU()]),
    "functions": ((4,), [FunctionLayer(swish, {"beta": (4,)}), Sequential([FunctionLayer(beside), TanH()])]),
}


def assert_same(loaded: Network, net: Network, data: Any) -> None:
    assert np.array_equal(loaded.feedforward(data), net.feedforward(data))
    assert loaded.layers == net.layers
    assert (loaded.seed, loaded.epoch, loaded.input_shape) == (net.seed, net.epoch, net.input_shape)
    assert loaded.summary().rows == net.summary().rows
    kept, told = ([one for one in of.summary().fallbacks if "cost " not in one] for of in (loaded, net))
    assert kept == told  # a cost of a user's own may be left out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "layers"), ROWS.values(), ids=range(len(ROWS)))
def test_every_layer_comes_back(shape: Any, layers: list[Layer], dtype: str, tmp_path: Path) -> None:
    net = Network(3).input(shape)
    for layer in layers:
        net.add(layer)
    fitted(net.regression(cost="mean_squared", dtype=dtype)).save(tmp_path / "net")
    tokens = bool(layers[0].tokens)
    data = RNG.integers(0, 5, (3, *shape)) if tokens else RNG.standard_normal((3, *shape))
    loaded = Network.load(tmp_path / "net", classes=FUNCTIONS)
    assert_same(loaded, net, data)
    assert loaded.summary().dtype == dtype


def test_the_table_above_has_every_layer() -> None:
    text = repr(ROWS)
    abstract = {"Activation", "BasePool", "Context", "Layer", "Param", "StateValue"}
    abstract |= {
        "Heads",
        "CrossAttention",
        "FromState",
    }  # of several arrays, see tests/test_several.py and test_names.py
    assert [name for name in layer_names if name not in abstract and f"{name}(" not in text] == []


IMAGE_LAYERS = st.sampled_from(
    [
        ConvolutionLayer(4, 3, 3, zero_padding="same"),
        ConvolutionLayer(2, 1, 2, stride=2, zero_padding=1),
        MaxPoolLayer(2, 2, 1, zero_padding="same"),
        AveragePoolLayer(2, 2, 1, zero_padding="same"),
        BatchNorm(),
        GroupNorm(2),
        LayerNorm(),
        ReLU(),
        Dropout(0.5),
        TanH(),
    ]
)
PARTS = st.lists(IMAGE_LAYERS, min_size=1, max_size=3)
SAME = st.sampled_from([BatchNorm(), ReLU(), TanH(), GroupNorm(2), Dropout(0.5)])
BLOCKS = st.one_of(
    IMAGE_LAYERS,
    st.builds(Sequential, PARTS),
    st.builds(Residual, st.lists(SAME, min_size=1, max_size=3)),
    st.lists(st.lists(SAME, max_size=2), min_size=1, max_size=3).map(lambda branches: Branches(*branches)),
)


@quietly
@given(st.lists(BLOCKS, max_size=4), st.integers(0, 2**64 - 1), st.sampled_from(["float32", "float64"]))
def test_any_architecture_comes_back(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[Layer], seed: int, dtype: str
) -> None:
    net = Network(seed).input((2, 5, 4))
    for layer in [*blocks, Flatten(), FullyConnectedLayer(3), SoftMax()]:
        net.add(layer)
    data = RNG.standard_normal((4, 2, 5, 4))
    net.regression(dtype=dtype).fit(data, [0, 1, 2, 0], progress=False)
    path = tmp_path_factory.mktemp("any") / "net"
    net.save(path)
    loaded = Network.load(path)
    assert_same(loaded, net, data)
    again = path.with_name("again")
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()


LEARNERS = [
    (Adam(), "cross_entropy"),
    (SGD(0.2, weight_decay=0.1, clip_norm=1.0, clip_value=0.5, accumulate=2), CrossEntropy(0.1, [1, 2, 3])),
    (Momentum(WarmUp(CosineDecay(0.1, 100), 5)), "mean_squared"),
    (AdamW(OnPlateau(0.1, patience=2)), Huber(2.0)),
    (AdaGrad(0.1), "mean_absolute"),
]


@pytest.mark.parametrize(("optimizer", "cost"), LEARNERS)
def test_cost_and_optimizer_come_back_and_training_goes_on(optimizer: Any, cost: Any, tmp_path: Path) -> None:
    net = small().regression(optimizer, cost)
    labels = Y if cost == "cross_entropy" or isinstance(cost, CrossEntropy) else np.eye(3)[Y]
    net.fit(X, labels, epochs=2, progress=False)
    net.save(tmp_path / "net")
    loaded = Network.load(tmp_path / "net")
    assert loaded.evaluate(X, labels, progress=False) == net.evaluate(X, labels, progress=False)
    there, here = (one.fit(X, labels, epochs=3, mini_batch_size=5, progress=False) for one in (loaded, net))
    assert (there["epoch"], there["rate"]) == ([3, 4, 5], here["rate"])  # the schedule goes on
    if not optimizer.slots():  # others start their moving means afresh
        assert there["cost"] == here["cost"]
        assert np.array_equal(loaded.feedforward(X), net.feedforward(X))


def test_user_cost_is_left_out_and_the_weights_are_not(tmp_path: Path) -> None:
    net = small()
    net.fit(X, Y, progress=False)
    own = CustomCost(lambda y, t: ((y - t) ** 2).sum(axis=1), lambda y, t: 2 * (y - t))
    net.regression(SGD(0.1), own)
    net.save(tmp_path / "net")
    loaded = Network.load(tmp_path / "net")
    assert_same(loaded, net, X)
    assert np.array_equal(loaded.predict(X), net.feedforward(X).argmax(axis=1))
    for call in (loaded.fit, loaded.evaluate):
        with pytest.raises(StateError, match=r"call regression\(optimizer, cost\) before it"):
            call(X, Y)  # type: ignore[operator]
    loaded.save(tmp_path / "again")
    assert_same(Network.load(tmp_path / "again"), net, X)
    assert loaded.regression(SGD(0.1), own).fit(X, np.eye(3)[Y], progress=False)["epoch"] == [2]


class OwnCost(MeanSquared):
    """A cost that only this file knows."""


@dataclass(frozen=True, repr=False)
class OwnRate(Schedule):
    """A schedule that only this file knows."""

    def __call__(self, step: int) -> float:
        return 0.1 / (step + 1)


@pytest.mark.parametrize("learner", [(Adam(), OwnCost()), (SGD(OwnRate()), "mean_squared")], ids=["cost", "schedule"])
def test_a_network_whose_learner_is_unknown_still_gives_its_weights(learner: Any, tmp_path: Path) -> None:
    net = small().regression(*learner)
    net.save(tmp_path / "net")
    loaded = Network.load(tmp_path / "net")
    assert np.array_equal(loaded.feedforward(X), net.feedforward(X))
    with pytest.raises(StateError):  # and never learns by another rule than the one it was given
        loaded.fit(X, np.eye(3)[Y])


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    net = Network(np.int64(4)).input((np.int32(4),)).add(FullyConnectedLayer(np.int64(5))).add(Dropout(np.float32(0.5)))
    net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(Momentum(np.float32(0.25), momentum=np.float64(0.5)))
    net.fit(X, Y, progress=False)
    net.save(tmp_path / "net")
    loaded = Network.load(tmp_path / "net")
    assert np.array_equal(loaded.feedforward(X), net.feedforward(X))
    net.regression(Momentum(0.25, momentum=0.5))
    assert loaded.fit(X, Y, progress=False)["rate"] == net.fit(X, Y, progress=False)["rate"] == [0.25]
    assert np.array_equal(loaded.feedforward(X), net.feedforward(X))


@dataclass(frozen=True, repr=False)
class Scale(Layer):
    """A layer of one's own."""

    factor: float = 2.0

    def output_shape(self, shape: Any) -> Any:
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        return x * self.factor, None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        return dy * self.factor


def own(factor: Any) -> Network:
    return Network().input((4,)).add(Residual(Scale(factor))).add(FullyConnectedLayer(2)).add(SoftMax()).regression()


def test_classes_of_ones_own_come_back_where_they_are_named(tmp_path: Path) -> None:
    net = own(3.5)
    net.save(tmp_path / "net")
    with pytest.raises(CheckpointError, match=r"net: .*'Scale'.*; give load\(\.\.\., classes=\[\.\.\.\]\) your own"):
        Network.load(tmp_path / "net")
    assert_same(Network.load(tmp_path / "net", classes=[Scale]), net, X)


def test_a_cost_of_a_named_function_comes_back_where_it_is_given(tmp_path: Path) -> None:
    net = small().regression(Adam(0.01), CustomCost(log_cosh))
    net.fit(X, np.eye(3)[Y], progress=False)
    net.save(tmp_path / "net")
    loaded = Network.load(tmp_path / "net", classes=[log_cosh])
    assert loaded.evaluate(X, np.eye(3)[Y]) == net.evaluate(X, np.eye(3)[Y])
    with pytest.raises(StateError, match=r"call regression\(optimizer, cost\) before it"):
        Network.load(tmp_path / "net").evaluate(X, np.eye(3)[Y])


def test_functions_that_no_name_tells_are_refused(tmp_path: Path) -> None:
    def scaled(factor: float) -> Any:
        def function(xp: Any, x: Any) -> Any:
            return factor * x

        return FunctionLayer(function)

    for row, told in (
        (
            [FunctionLayer(lambda xp, x: 2 * x)],
            "layer 0: FunctionLayer function: .* functions with a name are data; use def",
        ),
        ([scaled(2), scaled(3)], "layer 1: .* another function is called function; rename it"),
    ):
        net = Network().input((4,))
        for layer in row:
            net.add(layer)
        with pytest.raises(ArgumentError, match=told):
            net.regression(cost="mean_squared").save(tmp_path / "net")
    net = Network().input((4,)).add(FunctionLayer(swish, {"beta": (4,)})).regression(cost="mean_squared")
    net.save(tmp_path / "net")
    for known in ([], [beside], [Scale]):
        with pytest.raises(CheckpointError, match=r"the function 'swish' is not known; give load\(\.\.\., classes="):
            Network.load(tmp_path / "net", classes=known)


def test_a_layer_that_holds_no_data_cannot_be_saved(tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(b"before")

    for factor in (np.ones(4), len, {1}):
        with pytest.raises(ArgumentError, match="cannot be saved: only numbers, strings, layers and their parts"):
            own(factor).save(tmp_path / "net")
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    assert (tmp_path / "net").read_bytes() == b"before"


@pytest.mark.parametrize("classes", [Scale, [Scale()], "Scale", [5], [type("ReLU", (TanH,), {})]], ids=repr)
def test_classes_must_be_a_list_of_classes_with_names_of_their_own(classes: Any, tmp_path: Path) -> None:
    small().save(tmp_path / "net")
    with pytest.raises(ArgumentError, match=r"classes must .*, got"):
        Network.load(tmp_path / "net", classes=classes)


# ------------------------------------------------------------------ the file itself


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("content") / "net"
    net = small()
    net.fit(X, Y, progress=False)
    net.save(path)
    return path.read_bytes()


def test_other_programs_read_the_weights(content: bytes) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    found = safetensors.load(content)
    assert {name: array.shape for name, array in found.items()} == {
        "0.kernel": (4, 5), "0.bias": (5,), "1.scale": (5,), "1.shift": (5,), "1.mean": (5,), "1.var": (5,),
        "3.kernel": (5, 3), "3.bias": (3,),
    }  # fmt: skip
    net = small()
    net.fit(X, Y, progress=False)
    h = (X @ found["0.kernel"] + found["0.bias"] - found["1.mean"]) / np.sqrt(found["1.var"] + 1e-5)
    scores = np.tanh(h * found["1.scale"] + found["1.shift"]) @ found["3.kernel"] + found["3.bias"]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, net.feedforward(X), atol=1e-6)


def test_the_same_network_is_the_same_file(content: bytes, tmp_path: Path) -> None:
    net = small()
    net.fit(X, Y, progress=False)
    net.save(tmp_path / "net")
    assert (tmp_path / "net").read_bytes() == content


def test_no_code_is_in_the_file(content: bytes) -> None:
    for start in (0, 8, content.index(b"}}") + 2):
        with pytest.raises((ValueError, IndexError, UnicodeDecodeError)):
            list(pickletools.genops(content[start:]))
    assert json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def refused(folder: Path, content: bytes) -> str:
    """Return the message that this file is refused with."""
    (folder / "bad").write_bytes(content)
    with pytest.raises(CheckpointError, match="bad") as caught:
        Network.load(folder / "bad")
    return str(caught.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad")


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_flipped_byte_is_seen(content: bytes, folder: Path, data: Any) -> None:
    place, flip = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(1, 255))
    refused(folder, content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :])


@pytest.mark.parametrize("units", range(1, 9))
def test_any_other_length_of_the_header_is_seen(units: int, folder: Path) -> None:
    net = Network(10 ** (units - 1)).input((4,)).add(FullyConnectedLayer(2)).regression(cost="mean_squared")
    net.save(folder / "good")
    content = (folder / "good").read_bytes()
    size = int.from_bytes(content[:8], "little")
    for other in {*range(size - 16, size + 17), 0, 2**63, 2**64 - 1} - {size}:
        refused(folder, other.to_bytes(8, "little") + content[8:])


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_any_truncation_is_seen(content: bytes, folder: Path, data: Any) -> None:
    refused(folder, content[: data.draw(st.integers(0, len(content) - 1))])


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=1, max_size=20))
def test_anything_more_is_seen(content: bytes, folder: Path, more: bytes) -> None:
    refused(folder, content + more)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=100))
def test_any_other_bytes_are_refused(folder: Path, content: bytes) -> None:
    refused(folder, content)


def file_with(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
FOREIGN = {
    "no metadata": file_with({"kernel": ENTRY}, bytes(4)),
    "metadata of another program": file_with({"__metadata__": {"format": "pt"}, "kernel": ENTRY}, bytes(4)),
    "a list": file_with([1, 2]),
    "a number": file_with(7),
    "metadata of text": file_with({"__metadata__": "x"}),
    "no UTF-8": file_with(b"\xff\xfe"),
    "deep": file_with(b"[" * 200_000),
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.",
    "an archive": b"PK\x03\x04" + bytes(100),
    "nothing": b"",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_foreign_files_are_refused(content: bytes, tmp_path: Path) -> None:
    assert "is not a model file of Gedanken" in refused(tmp_path, content)


def test_a_file_of_the_safetensors_package_is_refused(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    content = safetensors.save({"0.kernel": X}, {"format": "np"})
    assert "is not a model file of Gedanken" in refused(tmp_path, content)


def pack(values: Any, metadata: dict[str, str]) -> bytes:
    file = io.BytesIO()
    write_arrays(file, values, metadata)
    return file.getvalue()


def rewritten(path: Path, key: str, old: str, new: str) -> bytes:
    """Return the file with other metadata and the checksum that belongs to them, as another program would write it."""
    with path.open("rb") as file:
        found = read_contents(file)
        values = read_arrays(file, found)
    metadata = {name: text for name, text in found.metadata.items() if name != "checksum"}
    assert old in metadata[key]
    return pack(values, {**metadata, key: metadata[key].replace(old, new)})


CHANGES = {
    "newer version": ("version", "2", "3", "has version 3 of the format, this library reads up to 2: update it"),
    "no version": ("version", "2", "x", "is not a model file of Gedanken"),
    "another program": ("format", "gedanken", "thought", "is not a model file of Gedanken"),
    "no JSON": ("architecture", "{", "(", ""),
    "no architecture": ("architecture", '"input_shape"', '"input"', ""),
    "input of text": ("architecture", '"input_shape": [4]', '"input_shape": 4', ""),
    "something more": ("architecture", '"input_shape"', '"inputs": 1, "input_shape"', ""),
    "no seed": ("architecture", '"seed": 1', '"seed": -1', "seed must be"),
    "unknown layer": ("architecture", '"TanH"', '"TanG"', "must be one of .*, got 'TanG'; did you mean 'TanH'"),
    "unknown argument": ("architecture", '"n_units"', '"units"', "FullyConnectedLayer has no argument .units"),
    "value out of range": ("architecture", '"n_units": 5', '"n_units": 0', "n_units must be .* at least 1, got 0"),
    "no layer": ("architecture", '"TanH"', '"Adam"', "layers.2. must be a layer, got Adam"),
    "layers of text": ("architecture", '{"type": "TanH"}', '"TanH"', "layers.2. must be a layer, got 'TanH'"),
    "another shape": ("architecture", '"n_units": 3', '"n_units": 4', "must have shape .5, 4., got .5, 3."),
    "other layers": ("architecture", '"TanH"', '"LayerNorm"', "arrays .*2.scale.* are not in both"),
    "does not fit": ("architecture", "[4]", "[1, 2, 2]", "layer 0 FullyConnectedLayer.*; add Flatten"),
    "odd dtype": ("architecture", '"float32"', '"int8"', "dtype must be one of"),
}  # fmt: skip


@pytest.mark.parametrize(("key", "old", "new", "message"), CHANGES.values(), ids=CHANGES)
def test_what_no_save_of_this_version_writes_is_refused(
    key: str, old: str, new: str, message: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "good").write_bytes(content)
    assert re.search(message, refused(tmp_path, rewritten(tmp_path / "good", key, old, new)))


# ------------------------------------------------------------------ writing


def test_save_makes_folders_and_takes_any_kind_of_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "a" / "b" / "net", "net", "ünï cödé.safetensors", str(tmp_path / "c" / "net")):
        small().save(path)
        assert_same(Network.load(path), small(), X)


def test_save_replaces_the_older_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    net = small()
    net.save(tmp_path / "net")
    net.fit(X, Y, progress=False)
    net.save(tmp_path / "net")
    assert_same(Network.load(tmp_path / "net"), net, X)
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_two_threads_may_save_to_one_file(tmp_path: Path) -> None:
    nets, errors = [small(1), small(2)], []

    def often(net: Network) -> None:
        try:
            for _ in range(30):
                net.save(tmp_path / "net")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=often, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Network.load(tmp_path / "net").seed in (1, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_a_full_disk_leaves_the_older_file_whole(tmp_path: Path) -> None:
    small().save(tmp_path / "net")
    before = (tmp_path / "net").read_bytes()
    program = f"""
        import resource
        from gedanken import *
        net = Network().input((400,)).add(FullyConnectedLayer(50)).regression(cost="mean_squared")
        resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before)}, {len(before)}))
        try:
            net.save({str(tmp_path / "net")!r})
        except OSError as error:
            print("refused", error.strerror)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("refused"), done.stderr
    assert (tmp_path / "net").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_a_killed_program_leaves_the_older_file_whole(tmp_path: Path) -> None:
    small().save(tmp_path / "net")
    program = f"""
        from gedanken import *
        net = Network().input((900,)).add(FullyConnectedLayer(900)).regression(cost="mean_squared")
        print("ready", flush=True)
        while True:
            net.save({str(tmp_path / "net")!r})
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        for _ in range(20):
            assert len(Network.load(tmp_path / "net").layers) in (1, 5)
        running.kill()
    assert len(Network.load(tmp_path / "net").layers) in (1, 5)


@pytest.mark.parametrize("place", ["folder", "file/net"])
def test_a_place_that_takes_no_file_is_named_and_nothing_is_left(place: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    with pytest.raises(OSError, match=place.split("/", maxsplit=1)[0]):
        small().save(tmp_path / place)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "text"


def test_a_layer_with_the_name_of_a_librarys_is_not_mistaken_for_it(tmp_path: Path) -> None:
    ours = type("ReLU", (TanH,), {})
    net = Network().input((6,)).add(ours()).regression(cost="mean_squared")
    with pytest.raises(ArgumentError, match="its class has the name of another one, ReLU; rename it"):
        net.save(tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_names_of_classes_beside_an_older_model_are_read(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    net = Network().input((4,)).add(FullyConnectedLayer(2)).add(SoftMax()).regression()
    net.save(path)
    assert Network.load(path).class_names is None
    beside = tmp_path / "net.safetensors.classes.json"
    beside.write_text('["cat", "dog"]\n')
    assert Network.load(path).class_names == ("cat", "dog")
    net.class_names = ["one", "two"]
    net.save(path)
    assert Network.load(path).class_names == ("one", "two")
    net.class_names = None
    net.save(path)
    for damage in ("[1, 2]", "{", '["cat", "cat"]'):
        beside.write_text(damage)
        with pytest.raises(CheckpointError, match=r"net.safetensors.classes.json"):
            Network.load(path)
