"""Whatever is given for an argument: it is taken, or refused at once by the library's own error that names it."""

import contextlib
import functools
import inspect
import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gedanken import (
    GRU,
    ArgumentError,
    ArrayGenerator,
    CheckpointError,
    Context,
    Evaluation,
    FullyConnectedLayer,
    IterableGenerator,
    Layer,
    Network,
    NonFiniteError,
    Optimizer,
    Samples,
    Schedule,
    ShapeError,
    SoftMax,
)
from tests.cases import PUBLIC

STRANGE: dict[str, Any] = {
    "2**31": 2**31, "2**63": 2**63, "2**70": 2**70, "10**5000": 10**5000, "-1": -1, "0": 0, "1.5": 1.5,
    "nan": float("nan"), "inf": float("inf"), "text": "3", "zero byte": "\0", "bytes": b"x", "None": None, "True": True,
    "half": np.float64(0.5), "no axes": np.array(3), "no axes, truth": np.array(True), "one number": np.array([3]),
    "two numbers": np.array([1, 2]), "empty array": np.array([]), "empty list": [], "dict": {}, "three": (1, 2, 3),
    "object": object(), "function": len, "sparse": SimpleNamespace(nnz=1, tocsr=None, shape=(2, 2), dtype="f4"),
}  # fmt: skip


def passed(xp: Any, x: Any, p: Any) -> Any:
    return x


RIGHT = {
    "learning_rate": 0.1, "n_filter": 2, "width_filter": 1, "height_filter": 1, "n_units": 2, "n_tokens": 5,
    "n_rows": 3, "n_columns": 3, "n_nodes": 3, "n_labels": 2, "rank": 2, "starts": [0, 1], "columns": [0],
    "values": [1.0], "features": 2, "n_heads": 1, "queries": "a", "keys": "b", "sequence": "a",
    "first_state": "b",
    "keep": 0.5, "n_features": 2, "n_groups": 1, "shape": (4,), "layers": [], "every": 3, "factor": 0.5, "steps": 3,
    "rate": 0.1, "peak": 0.1, "then": 0.1, "value": 1.0, "function": passed, "derivative": passed,
    "size": 2, "pixels": 1, "degrees": 5.0, "mean": 0.0, "std": 1.0, "x": [1.0], "dataset": [1.0], "iterable": [1.0],
    "array": np.zeros(3),
    "path": "run", "lengths": [1], "receive": len, "time": "10 s", "stages": [0],
    "first": 0.1, "last": 0.2, "low": 0.1, "high": 0.5, "rise": 3, "milestones": (3,), "schedules": (0.1, 0.2),
    "padding": 1, "cropping": 0, "axes": (2, 1),
    "layer": GRU(2),
    "tokens": ["a"],
}  # fmt: skip
RECORDS = (Context, Evaluation, Samples)  # which hold anything
X, Y = np.ones((6, 4), "float32"), np.arange(6) % 3


@functools.cache
def constructors() -> dict[str, tuple[Callable[..., Any], dict[str, inspect.Parameter]]]:
    """Return the public classes that a user makes objects of, with their arguments."""
    found = {}
    for name, kind in PUBLIC.items():
        record = issubclass(kind, (tuple, BaseException, *RECORDS)) or kind.__module__.endswith("records")
        if not (record or inspect.isabstract(kind)):
            parameters = inspect.signature(kind).parameters
            found[name] = kind, {n: p for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    return found


def made(name: str, argument: str, value: Any) -> Any:
    """Return an object with one argument of its own, and right ones where it needs any."""
    kind, parameters = constructors()[name]
    if parameters[argument].kind is inspect.Parameter.VAR_POSITIONAL:
        return kind(value)
    right = {**RIGHT, **({"values": [[1.0]]} if name == "Sequences" else {})}
    needed = {n: right[n] for n, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_POSITIONAL}
    return kind(**{**needed, argument: value})


def network(layer: Layer | None = None) -> Network:
    net = Network().input((1, 2, 2) if layer else (4,))
    return net.add(layer) if layer else net.add(FullyConnectedLayer(3)).add(SoftMax())


ROWS = [(name, argument) for name, (_, parameters) in constructors().items() for argument in parameters]


@pytest.mark.parametrize(("name", "argument"), ROWS)
def test_an_argument_of_an_object_is_taken_or_refused(name: str, argument: str, tmp_path: Path) -> None:
    for value in STRANGE.values():
        try:
            thing = made(name, argument, value)
        except ArgumentError:
            continue
        if isinstance(thing, Layer) and not thing.tokens:
            learn(lambda thing=thing: network(thing).regression(cost="mean_squared"), tmp_path)  # type: ignore[misc]
        elif isinstance(thing, Optimizer):
            learn(lambda thing=thing: network().regression(thing), tmp_path)  # type: ignore[misc]
        elif isinstance(thing, Schedule):
            assert np.isfinite([float(thing(step)) for step in (0, 1, 1000)]).all()


def learn(make: Callable[[], Network], folder: Path) -> None:
    """Train, tell of, save and load a network: what was taken does not fail later."""
    try:
        net = make()
    except ArgumentError:  # its shape, or its numbers in this number type
        return
    shape = net.input_shape or ()
    data = np.ones((3, *shape), "float32")
    labels = np.zeros((3, *net.predict(data).shape[1:])) if len(shape) == 3 else Y[:3]
    with contextlib.suppress(NonFiniteError):  # a rate may be large; the network is of use all the same
        net.fit(data, labels, progress=False)
    assert str(net.summary())
    net.save(folder / "model")
    assert Network.load(folder / "model", classes=[passed]).layers == net.layers


CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "regression": (lambda **given: network().regression(**given), {}),
    "fit": (lambda **given: network().regression().fit(**given), {"data": X, "labels": Y, "progress": False}),
    "evaluate": (lambda **given: network().regression().evaluate(**given), {"data": X, "labels": Y, "progress": False}),
    "check": (lambda **given: network().regression().check(**given), {"data": X, "labels": Y}),
    "find_learning_rate": (
        lambda **given: network().regression().find_learning_rate(**given),
        {"data": X, "labels": Y, "steps": 10},
    ),
    "predict": (lambda **given: network().regression().predict(**given), {"data": X}),
    "feedforward": (lambda **given: network().regression().feedforward(**given), {"data": X}),
    "summary": (lambda **given: network().regression().summary(**given), {}),
    "input": (lambda **given: Network().input(**given), {}),
    "add": (lambda **given: Network().add(**given), {}),
}
METHODS = [
    (name, argument)
    for name in CALLS
    for argument in inspect.signature(getattr(Network, name)).parameters
    if argument != "self"
]


@pytest.mark.filterwarnings("ignore::gedanken.GedankenWarning")
@pytest.mark.parametrize(("name", "argument"), METHODS)
def test_an_argument_of_a_call_is_taken_or_refused(
    name: str, argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call, right = CALLS[name]
    for text, value in STRANGE.items():
        if argument == "epochs" and text == "2**31":
            continue  # is taken, and takes its time
        with contextlib.suppress(ArgumentError, CheckpointError):  # a text may be the path of no checkpoint
            call(**{**right, argument: value})


@pytest.mark.parametrize("argument", [p for p in inspect.signature(ArrayGenerator.__mro__[1]).parameters])  # noqa: C416
def test_an_option_of_a_generator_is_taken_or_refused(argument: str) -> None:
    for kind, value in itertools.product(
        (lambda **o: ArrayGenerator(X, **o), lambda **o: IterableGenerator(X, **o)), STRANGE.values()
    ):
        try:
            kind(**{argument: value}).close()
        except ArgumentError:
            continue


@pytest.mark.parametrize("samples", [10**9, 10**12, 2**63 - 1])
def test_the_memory_of_any_mini_batch_is_told_and_grows_with_it(samples: int) -> None:
    net = network().regression(engine="cpu")
    one, two = (net.summary(count).step_bytes or 0 for count in (samples // 2, samples))
    assert 2 * one == pytest.approx(two, rel=1e-3)


def test_a_window_whose_padding_no_memory_holds_is_refused() -> None:
    pool = PUBLIC["MaxPoolLayer"](2**30, 2**30, zero_padding="same")
    with pytest.raises(ShapeError, match="has a padded image of 1073741824 x 1073741824"):
        network(pool)
