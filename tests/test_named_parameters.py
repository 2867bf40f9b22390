"""What an optimizer does with parameters by their names and shapes: weight decay for chosen ones, Muon's matrices."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    ArgumentError,
    BatchNorm,
    ConvolutionLayer,
    Cpu,
    DataParallel,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    Hogwild,
    Momentum,
    Muon,
    Network,
    Optimizer,
    ReLU,
    SoftMax,
)
from gedanken.types import Array

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 2, 5, 4)), RNG.integers(0, 3, 12)
TOKENS = RNG.integers(0, 4, (12, 3))  # of 6
RATE, DECAY = 0.05, 0.5
ENGINES = pytest.mark.parametrize("engine", ["numpy", "cpu"])


def pictures() -> Network:
    net = Network(3).input((2, 5, 4)).add(ConvolutionLayer(6, 3, 3)).add(BatchNorm()).add(Flatten())
    return net.add(FullyConnectedLayer(3)).add(SoftMax())


def texts() -> Network:
    return Network(3).input((3,)).add(Embedding(6, 4)).add(Flatten()).add(FullyConnectedLayer(3)).add(SoftMax())


def parameters(net: Network) -> dict[str, Array]:
    assert net._plan
    return {name: np.array(net._plan.arrays()[name]) for name in net._plan.gradients()}


def step(net: Network, rule: Optimizer, engine: str, **options: Any) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the parameters before and after one update."""
    net.regression(rule, engine=engine, dtype="float64")
    before = parameters(net)
    data = X if net.input_shape == (2, 5, 4) else TOKENS
    net.fit(data, Y, mini_batch_size=12, progress=False, **options)
    return before, parameters(net)


CHOICES = [
    (pictures, "kernels", {"0.kernel", "3.kernel"}),
    (pictures, "all", {"0.kernel", "0.bias", "1.scale", "1.shift", "3.kernel", "3.bias"}),
    (pictures, ["3.*"], {"3.kernel", "3.bias"}),
    (pictures, ("*.bias", "1.scale"), {"0.bias", "1.scale", "3.bias"}),
    (texts, "kernels", {"2.kernel"}),
    (texts, "all", {"0.table", "2.kernel", "2.bias"}),
    (texts, ("0.*",), {"0.table"}),
]


@ENGINES
@pytest.mark.parametrize("rule", [SGD, Momentum])
@pytest.mark.parametrize(("make", "decayed", "names"), CHOICES, ids=range(len(CHOICES)))
def test_weight_decay_applies_to_chosen_parameters(
    make: Any, decayed: Any, names: set[str], rule: Any, engine: str
) -> None:
    before, plain = step(make(), rule(RATE), engine)
    _, shrunk = step(make(), rule(RATE, weight_decay=DECAY, decayed=decayed), engine)
    for name, first in before.items():
        expected = plain[name] - RATE * DECAY * first * (name in names)
        np.testing.assert_allclose(shrunk[name], expected, rtol=1e-12, atol=1e-14)


@ENGINES
@pytest.mark.parametrize("rule", [SGD, AdaGrad])
def test_rows_that_no_step_touches_decay_too(rule: Any, engine: str) -> None:
    net = texts()
    before, after = step(net, rule(RATE, weight_decay=DECAY, decayed="all"), engine)
    assert (abs(after["0.table"][4:]) < abs(before["0.table"][4:])).all()
    before, after = step(texts(), rule(RATE, weight_decay=DECAY), engine)
    np.testing.assert_array_equal(after["0.table"][4:], before["0.table"][4:])


def test_a_frozen_layer_does_not_decay() -> None:
    net = pictures()
    net.regression(engine="cpu").freeze(0)
    before, after = step(net, Adam(RATE, weight_decay=DECAY, decayed="all"), "cpu")
    np.testing.assert_array_equal(after["0.kernel"], before["0.kernel"])
    assert (after["3.kernel"] != before["3.kernel"]).all()


@ENGINES
@pytest.mark.parametrize("scale", ["rms", "shape"])
def test_steps_of_matrices_are_nearly_orthogonal(scale: str, engine: str) -> None:
    before, after = step(pictures(), Muon(RATE, weight_decay=0, scale=scale), engine)
    for name in ("0.kernel", "3.kernel"):
        move = ((before[name] - after[name]) / RATE).reshape(-1, before[name].shape[-1])
        size = 0.2 * len(move) ** 0.5 if scale == "rms" else 1.0  # more inputs than outputs, both times
        values = np.linalg.svd(move / size, compute_uv=False)
        assert values[0] < 1.3
        assert (values > 0.5).sum() == (6 if name == "0.kernel" else 2)  # before SoftMax one direction of 3 stays


@ENGINES
def test_vectors_and_what_is_named_go_by_adam(engine: str) -> None:
    options = {"weight_decay": 0.1, "clip_norm": 0.3}
    _, adam = step(texts(), AdamW(RATE, **options), engine)
    _, muon = step(texts(), Muon(RATE, by_adam=["2.*"], **options), engine)
    for name, values in adam.items():
        np.testing.assert_allclose(muon[name], values, rtol=1e-12)
    _, muon = step(texts(), Muon(RATE, **options), engine)
    assert abs(muon["2.kernel"] - adam["2.kernel"]).max() > 1e-3
    np.testing.assert_allclose(muon["0.table"], adam["0.table"], rtol=1e-12)


RULES = [
    Muon(0.02, decayed=("3.*", "*.bias"), by_adam=("3.*",), clip_norm=1.0),
    Adam(0.02, weight_decay=0.1, decayed=("*.bias",), amsgrad=True, accumulate=2),
]
HOW: dict[str, Any] = {"mini_batch_size": 5, "shuffle": False, "progress": False}


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_network_that_was_saved_goes_on_with_the_same_bytes(rule: Optimizer, tmp_path: Path) -> None:
    straight, saved = (pictures().regression(rule, engine="cpu") for _ in range(2))
    straight.fit(X, Y, epochs=4, **HOW)
    saved.fit(X, Y, epochs=2, **HOW)
    saved.save(tmp_path / "net", optimizer=True)
    again = Network.load(tmp_path / "net", engine="cpu")
    again.fit(X, Y, epochs=2, **HOW)
    assert again.feedforward(X).tobytes() == straight.feedforward(X).tobytes()


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_workers_that_share_mini_batches_give_the_same_bytes(rule: Optimizer) -> None:
    serial, shared = (pictures().regression(rule, engine=Cpu(threads=1)) for _ in range(2))
    serial.fit(X, Y, epochs=3, **HOW)
    shared.fit(X, Y, epochs=3, parallel=DataParallel(workers=2), **HOW)
    assert shared.feedforward(X).tobytes() == serial.feedforward(X).tobytes()


@pytest.mark.filterwarnings("ignore:a momentum of")
def test_one_hogwild_worker_learns_the_same() -> None:
    serial, shared = (pictures().regression(RULES[0], engine=Cpu(threads=1)) for _ in range(2))
    serial.fit(X, Y, epochs=3, **HOW)
    shared.fit(X, Y, epochs=3, parallel=Hogwild(workers=1), **HOW)
    np.testing.assert_allclose(shared.feedforward(X), serial.feedforward(X), rtol=1e-5)


def test_a_pattern_for_a_network_without_parameters_is_an_error() -> None:
    net = Network().input((4,)).add(ReLU())
    with pytest.raises(ArgumentError, match=r"name parameters of the network, which has none, got '0\.\*'"):
        net.regression(SGD(decayed=["0.*"]), cost="mean_squared")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (SGD(decayed=["9.*"]), r"SGD decayed must name parameters of the network, such as 0.kernel, .*, got '9\.\*'"),
        (Muon(by_adam=["kernel"]), "Muon by_adam must name parameters of the network, such as .*, got 'kernel'"),
    ],
    ids=repr,
)
def test_a_pattern_that_names_nothing_is_an_error(rule: Optimizer, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        pictures().regression(rule)
