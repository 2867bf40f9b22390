"""Programs that were written with former names go on working."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gedanken
from gedanken import ArgumentError, EarlyStopping, FullyConnectedLayer, Network, Sequential, SoftMax
from gedanken.training.callbacks import Callback

X = np.random.default_rng(0).random((12, 3))
Y = np.arange(12) % 2


@pytest.mark.parametrize(
    ("former", "now"),
    [("Chain", "Sequential"), ("UserCost", "CustomCost"), ("Shift", "Translate"), ("CutOut", "Cutout")],
)
def test_a_class_answers_to_both_names(former: str, now: str) -> None:
    assert getattr(gedanken, former) is getattr(gedanken, now)
    assert former not in gedanken.__all__


@pytest.mark.parametrize(
    ("options", "mode"),
    [({"figure": "accuracy", "better": "higher"}, "max"), ({"figure": "cost", "better": "lower"}, "min"), ({}, None)],
)
def test_early_stop_takes_its_former_words(options: dict[str, Any], mode: str | None) -> None:
    stop: Any = gedanken.EarlyStop(patience=1, **options)  # type: ignore[attr-defined]
    assert isinstance(stop, EarlyStopping)
    assert (stop.monitor, stop.mode, stop.patience) == (options.get("figure", "validation_cost"), mode, 1)


def test_early_stop_refuses_what_it_refused() -> None:
    with pytest.raises(ArgumentError, match="mode must be one of max, min, got 'up'"):
        gedanken.EarlyStop(better="up")  # type: ignore[attr-defined]


def test_options_of_the_engine_may_stand_beside_its_name() -> None:
    net = Network(1).input((3,)).add(FullyConnectedLayer(2)).add(SoftMax())
    net.regression(engine="cpu", dtype="float64", threads=1)  # type: ignore[call-arg]
    assert net.feedforward(X).dtype == "float64"
    assert net._engine == gedanken.Cpu(dtype="float64", threads=1)


def test_records_answer_to_both_names() -> None:
    heard: list[Any] = []

    class Listener(Callback):
        def on_step(self, run: Any, record: Any) -> None:
            heard.append((record.share, record.fraction))

    net = Network(1).input((3,)).add(FullyConnectedLayer(2)).add(SoftMax()).regression()
    record = net.fit(X, Y, mini_batch_size=6, callbacks=[Listener()], progress=False).epochs[0]
    assert heard == [(0.5, 0.5), (1.0, 1.0)]
    assert record.figures() == record.values()


def test_a_file_that_names_a_chain_is_read(tmp_path: Path) -> None:
    net = Network(1).input((3,)).add(Sequential([FullyConnectedLayer(2)])).add(SoftMax()).regression()
    Sequential.__name__ = "Chain"
    try:
        net.save(tmp_path / "net")
    finally:
        Sequential.__name__ = "Sequential"
    assert b"Chain" in (tmp_path / "net").read_bytes()
    found = Network.load(tmp_path / "net")
    np.testing.assert_array_equal(found.feedforward(X), net.feedforward(X))
    assert isinstance(found.layers[0], Sequential)
