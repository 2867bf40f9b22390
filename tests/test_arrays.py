"""Weights by name, out of a network and into one: `Network.arrays` and `Network.set_arrays`."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    GRU,
    LSTM,
    Adam,
    ArgumentError,
    BatchNorm,
    Bidirectional,
    Calls,
    ConvolutionLayer,
    DataError,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    GedankenError,
    Heads,
    Network,
    Residual,
    Sigmoid,
    SoftMax,
    SparseFullyConnectedLayer,
    StateError,
)

RNG = np.random.default_rng(5)
FEATURES = RNG.normal(size=(8, 6)).astype("float32")
PICTURES = RNG.normal(size=(8, 2, 5, 5)).astype("float32")
TOKENS = RNG.integers(0, 9, (8, 4))
LABELS = np.arange(8) % 3


def net_of(shape: Any, *layers: Any, engine: str = "cpu", seed: int = 1, cost: Any = "cross_entropy") -> Network:
    net = Network(seed).input(shape)
    for layer in layers:
        net.add(layer)
    return net.regression(Adam(0.01), cost, engine=engine)


def mlp(**options: Any) -> Network:
    return net_of((6,), FullyConnectedLayer(5), BatchNorm(), FullyConnectedLayer(3), SoftMax(), **options)


def cnn(**options: Any) -> Network:
    block = Residual([ConvolutionLayer(4, 3, 3, zero_padding=1), BatchNorm()])
    return net_of((2, 5, 5), ConvolutionLayer(4, 3, 2), block, Flatten(), FullyConnectedLayer(3), SoftMax(), **options)


def reader(**options: Any) -> Network:
    last = GRU(2, last=True), FullyConnectedLayer(3), SoftMax()
    return net_of((4,), Embedding(9, 3), Bidirectional(LSTM(2)), *last, **options)


def heads(**options: Any) -> Network:
    rows = Heads(kind=[FullyConnectedLayer(3), SoftMax()], odd=[FullyConnectedLayer(1), Sigmoid()])
    cost = {"kind": "cross_entropy", "odd": "binary_cross_entropy"}
    return net_of((6,), FullyConnectedLayer(5), rows, cost=cost, **options)


def sparse(**options: Any) -> Network:
    return net_of((6,), SparseFullyConnectedLayer(3), SoftMax(), **options)


NETWORKS: dict[str, tuple[Callable[..., Network], Any, Any, list[str]]] = {
    "features": (mlp, FEATURES, LABELS, ["0.kernel", "0.bias", "1.scale", "1.shift", "1.mean", "1.var", "2.kernel"]),
    "pictures": (cnn, PICTURES, LABELS, ["0.kernel", "0.bias", "1.layers.0.kernel"]),
    "tokens": (reader, TOKENS, LABELS, ["0.table", "1.forwards.0.kernel", "1.forwards.0.recurrent"]),
    "heads": (heads, FEATURES, {"kind": LABELS, "odd": LABELS % 2}, ["0.kernel", "0.bias", "1.kind.0.kernel"]),
    "sparse": (sparse, FEATURES, LABELS, ["0.kernel", "0.bias"]),
}


def outputs(net: Network, x: Any) -> list[bytes]:
    made = net.feedforward(x)
    return [one.tobytes() for one in (made.values() if isinstance(made, dict) else [made])]


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize("which", NETWORKS)
def test_a_network_becomes_another_one_by_its_arrays(which: str, engine: str, tmp_path: Path) -> None:
    make, x, labels, first = NETWORKS[which]
    net, other = make(engine=engine), make(engine=engine, seed=2)
    net.fit(x, labels, mini_batch_size=4, progress=False)
    arrays = net.arrays()
    assert [*arrays][: len(first)] == first
    net.save(tmp_path / "net.safetensors")
    text = (tmp_path / "net.safetensors").read_bytes()
    header = json.loads(text[8 : 8 + struct.unpack("<Q", text[:8])[0]])
    assert {name: tuple(header[name]["shape"]) for name in arrays} == {n: a.shape for n, a in arrays.items()}
    assert header.keys() == {*arrays, "__metadata__"}
    assert other.set_arrays({name: array.astype("float64") for name, array in arrays.items()}) is other
    assert outputs(other, x) == outputs(net, x)
    for array in arrays.values():  # they are copies
        array[...] = 7
    assert outputs(other, x) == outputs(net, x)


def test_arrays_that_are_not_named_stay() -> None:
    net = mlp()
    before = net.arrays()
    net.set_arrays({"2.bias": [1, 2, 3], "1.var": np.full(5, 2.0)})
    after = net.arrays()
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    assert changed == ["1.var", "2.bias"] and after["2.bias"].tolist() == [1, 2, 3]


def test_the_optimizer_starts_afresh_with_set_arrays() -> None:
    donor, net, fresh = mlp(), mlp(), mlp()
    for one in (donor, net):
        one.fit(FEATURES, LABELS, mini_batch_size=4, epochs=2, progress=False)
    for one in (net, fresh):
        one.set_arrays(donor.arrays())
    fresh.epoch = net.epoch
    for one in (net, fresh):
        one.fit(FEATURES, LABELS, mini_batch_size=4, progress=False)
    assert outputs(net, FEATURES) == outputs(fresh, FEATURES)


def test_a_training_lets_arrays_be_read_and_not_set() -> None:
    net, seen = mlp(), list[Any]()

    def look(run: Any, record: Any) -> None:
        seen.append(net.arrays())
        with pytest.raises(StateError, match="set_arrays cannot be called while fit of the same network runs"):
            net.set_arrays(seen[-1])

    net.fit(FEATURES, LABELS, epochs=2, callbacks=[Calls(on_epoch=look)], progress=False)
    assert len(seen) == 2 and not np.array_equal(seen[0]["0.kernel"], seen[1]["0.kernel"])


MISTAKES: dict[str, tuple[Any, type[Exception], str]] = {
    "no dict": ([1, 2], ArgumentError, "arrays must be a dict of arrays by their names"),
    "nothing": ({}, ArgumentError, "arrays must be a dict of arrays by their names"),
    "another name": (
        {"0.weight": np.ones((6, 5))}, ArgumentError,
        "arrays must have names of this network, 0.kernel, 0.bias, got '0.weight'",
    ),
    "no place": ({"kernel": 1}, ArgumentError, "names of this network, 0.kernel, .*, 2.bias, got 'kernel'"),
    "no text": ({0: 1}, ArgumentError, "arrays must have names of this network, 0.kernel, 0.bias, got 0"),
    "other axes": (
        {"0.kernel": np.ones((5, 6))}, ArgumentError,
        r"arrays\['0.kernel'\] must have shape \(6, 5\), whose axes .* see docs/coming-from.md, got \(5, 6\)",
    ),
    "another size": (
        {"0.bias": np.ones(6)}, ArgumentError, r"arrays\['0.bias'\] must have shape \(5,\), got \(6,\)"
    ),
    "NaN": ({"0.bias": [1, 2, np.nan, 4, 5]}, ArgumentError, r"arrays\['0.bias'\] must be finite in float32"),
    "too large": ({"0.bias": np.full(5, 1e39)}, ArgumentError, r"arrays\['0.bias'\] must be finite in float32"),
    "words": ({"0.bias": list("abcde")}, DataError, r"arrays\['0.bias'\] must be an array of real numbers"),
    "ragged": ({"0.kernel": [[1], [1, 2]]}, DataError, r"arrays\['0.kernel'\] must be an array, got rows of different"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_nothing_is_set_where_something_is_wrong(mistake: str) -> None:
    given, kind, message = MISTAKES[mistake]
    net = mlp()
    before = outputs(net, FEATURES)
    several = {"2.bias": np.ones(3), **given} if isinstance(given, dict) and given else given
    with pytest.raises(kind, match=message) as error:
        net.set_arrays(several)
    assert isinstance(error.value, GedankenError)
    assert outputs(net, FEATURES) == before


def test_a_network_that_is_not_compiled_has_no_arrays() -> None:
    for call in (lambda net: net.arrays(), lambda net: net.set_arrays({"0.bias": [1]})):
        with pytest.raises(StateError, match="arrays needs a compiled network: call regression"):
            call(Network().input((6,)).add(FullyConnectedLayer(1)))
