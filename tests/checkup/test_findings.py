"""Each code is found where it should be, and nothing else is; in the sound twin of the case it is not found."""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from gedanken import (
    SGD,
    Adam,
    BatchNorm,
    Constant,
    ConvolutionLayer,
    CustomCost,
    Flatten,
    FullyConnectedLayer,
    HeNormal,
    Initializer,
    MaxPoolLayer,
    Network,
    ReLU,
    Reshape,
    Sigmoid,
    SoftMax,
    TanH,
    TransposedConvolutionLayer,
    WarmUp,
)
from gedanken.checkup.codes import CODES
from gedanken.checkup.report import NOTE, Checkup

DOCS = Path(__file__).parents[2] / "docs/check.md"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 6)).astype("float32")
CLASSES = np.argmax(X[:, :3], axis=1)
NUMBERS = (X[:, 0] - X[:, 1])[:, None] / 1.4
PICTURES = RNG.random((64, 2, 8, 8)).astype("float32")


@dataclass(frozen=True, eq=False, repr=False)
class Scaled(Initializer):
    """First values of HeNormal, times a factor."""

    factor: float = 1.0

    def __call__(self, rng: Any, shape: Any, fan_in: int, fan_out: int) -> Any:
        return self.factor * HeNormal()(rng, shape, fan_in, fan_out)


def dense(units: int, factor: float = 1.0, **more: Any) -> FullyConnectedLayer:
    return FullyConnectedLayer(units, init=Scaled(factor), **more)


def classes(
    *inner: Any, x: Any = X, labels: Any = CLASSES, rule: Any = None, cost: Any = "cross_entropy", **more: Any
) -> Checkup:
    """Check a network of three classes."""
    layers = inner or (dense(16), ReLU(), dense(3), SoftMax())
    return checked(layers, x, labels, rule or Adam(0.01), cost, **more)


def numbers(*inner: Any, x: Any = X, targets: Any = NUMBERS, rule: Any = None, cost: Any = "mean_squared") -> Checkup:
    """Check a regression."""
    return checked(inner or (dense(16), ReLU(), dense(1, 0.7)), x, targets, rule or Adam(0.01), cost)


def checked(layers: Any, x: Any, labels: Any, rule: Any, cost: Any, **more: Any) -> Checkup:
    net = Network(seed=1).input(x.shape[1:])
    for layer in layers:
        net.add(layer)
    return net.regression(rule, cost, engine="numpy").check(x, labels, **more)


def deep(between: Any, factor: float) -> tuple[Any, ...]:
    hidden = [layer for _ in range(10) for layer in (dense(16, factor), between)]
    return (*hidden, dense(3), SoftMax())


class Free(CustomCost):
    """Its slopes need not be derivatives."""

    exact_gradient = False


def upside_down(sign: float) -> CustomCost:
    return Free(lambda y, t: ((y - t) ** 2)[:, 0], lambda y, t: sign * 2 * (y - t))


def pooled(stride: int | None) -> Checkup:
    layers = (ConvolutionLayer(4, 3, 3), ReLU(), MaxPoolLayer(2, 2, stride=stride), Flatten(), dense(16), ReLU())
    return classes(*layers, dense(3), SoftMax(), x=PICTURES, labels=np.arange(64) % 3)


def shared_out(axes: Any) -> Checkup:
    layers = ConvolutionLayer(4, 3, 3), SoftMax(axes=axes), Flatten(), dense(3), SoftMax()
    return classes(*layers, x=PICTURES, labels=np.arange(64) % 3)


def normed(bias: bool) -> Checkup:
    return classes(dense(16, bias=bias), BatchNorm(), ReLU(), dense(3), SoftMax())


def enlarged(bias: bool) -> Checkup:
    larger = TransposedConvolutionLayer(4, 2, 2, bias=bias)
    return classes(Reshape((X.shape[1], 1, 1)), larger, BatchNorm(), ReLU(), Flatten(), dense(3), SoftMax())


RARE = np.where(np.arange(600) < 10, 1, np.arange(600) % 2 * 2)
TWICE = np.concatenate([X[:300], X[:300]])
HELD = RNG.normal(size=(100, 6)).astype("float32")
LABELS = np.arange(100) % 3


class Case(NamedTuple):
    """What makes a checkup that has a finding, and one that has not."""

    sick: Callable[[], Checkup]
    sound: Callable[[], Checkup]


def column(place: int, values: Any) -> Any:
    return np.where(np.arange(6) == place, values, X).astype("float32")


CASES: dict[str, list[Case]] = {
    "unscaled-input": [
        Case(lambda: classes(x=128 + 60 * X), classes),
        Case(lambda: classes(x=0.002 * X), lambda: classes(x=0.2 * X)),
        Case(lambda: classes(x=column(4, 5 + 0.02 * X)), lambda: classes(x=column(4, 1 + X))),
    ],
    "constant-input": [
        Case(lambda: classes(x=np.where(np.arange(6) > 2, np.float32(1), X)), classes),
        Case(lambda: classes(x=np.ones_like(X)), classes),
    ],
    "target-scale": [
        Case(lambda: numbers(targets=200 * NUMBERS), numbers),
        Case(lambda: numbers(targets=40 + NUMBERS), lambda: numbers(targets=1 + NUMBERS)),
        Case(lambda: numbers(targets=0.001 * NUMBERS), lambda: numbers(targets=0.3 * NUMBERS)),
    ],
    "target-range": [
        Case(lambda: numbers(dense(16), TanH(), dense(1), Sigmoid()), numbers),
        Case(
            lambda: numbers(dense(16), TanH(), dense(1), TanH()),
            lambda: numbers(dense(16), TanH(), dense(1), TanH(), targets=np.tanh(NUMBERS)),
        ),
    ],
    "labels-constant": [
        Case(lambda: classes(labels=np.ones(600, int)), classes),
        Case(lambda: numbers(targets=np.ones((600, 1))), numbers),
        Case(
            lambda: numbers(dense(1), Sigmoid(), targets=np.zeros(600), cost="binary_cross_entropy"),
            lambda: numbers(dense(1), Sigmoid(), targets=CLASSES > 0, cost="binary_cross_entropy"),
        ),
    ],
    "missing-class": [
        Case(lambda: classes(dense(5), SoftMax()), classes),
        Case(
            lambda: classes(dense(4), SoftMax(), labels=np.eye(4)[CLASSES]), lambda: classes(labels=np.eye(3)[CLASSES])
        ),
    ],
    "class-imbalance": [
        Case(lambda: classes(labels=RARE), classes),
        Case(
            lambda: numbers(dense(1), Sigmoid(), targets=RARE == 1, cost="binary_cross_entropy"),
            lambda: numbers(dense(1), Sigmoid(), targets=CLASSES == 1, cost="binary_cross_entropy"),
        ),
    ],
    "leakage": [
        Case(
            lambda: classes(validation_set=(np.concatenate([X[:9], HELD[:91]]), LABELS)),
            lambda: classes(validation_set=(HELD, LABELS)),
        ),
        Case(lambda: classes(validation_set=(X, CLASSES)), lambda: classes(validation_set=0.2)),
        Case(lambda: classes(x=TWICE, labels=CLASSES[np.arange(600) % 300], validation_set=0.2), classes),
    ],
    "label-conflict": [
        Case(
            lambda: classes(x=TWICE.repeat(2, axis=1), labels=CLASSES),
            lambda: classes(x=TWICE.repeat(2, axis=1), labels=CLASSES[np.arange(600) % 300]),
        )
    ],
    "softmax-twice": [
        Case(lambda: classes(dense(16), ReLU(), dense(3), SoftMax(), SoftMax()), classes),
        Case(lambda: classes(dense(16), SoftMax(), dense(3), SoftMax()), classes),
        Case(lambda: shared_out(1), lambda: shared_out((2, 3))),
        Case(lambda: numbers(dense(16), SoftMax(), dense(1)), numbers),
        Case(
            lambda: classes(dense(3), SoftMax(), labels=np.eye(3)[CLASSES], cost="mean_squared"),
            lambda: classes(dense(3), Sigmoid(), labels=np.eye(3)[CLASSES], cost="mean_squared"),
        ),
    ],
    "bias-before-norm": [
        Case(lambda: normed(bias=True), lambda: normed(bias=False)),
        Case(lambda: enlarged(bias=True), lambda: enlarged(bias=False)),
    ],
    "pool-stride": [Case(lambda: pooled(1), lambda: pooled(None))],
    "not-finite": [Case(lambda: classes(dense(16, 1e30), ReLU(), dense(3, 1e30), SoftMax()), classes)],
    "exploding-gradient": [Case(lambda: classes(*deep(ReLU(), 4.0)), lambda: classes(*deep(ReLU(), 1.0)))],
    "dead-units": [
        Case(lambda: classes(dense(16, bias_init=Constant(-6)), ReLU(), dense(3), SoftMax()), classes),
    ],
    "vanishing-gradient": [
        Case(lambda: classes(*deep(Sigmoid(), 0.7)), lambda: classes(*deep(ReLU(), 1.0))),
    ],
    "initial-cost": [Case(lambda: classes(dense(16), ReLU(), dense(3, 20), SoftMax()), classes)],
    "learning-rate-high": [
        Case(lambda: numbers(dense(1, 0.7), rule=SGD(1.0)), lambda: numbers(dense(1, 0.7), rule=SGD(0.1))),
        Case(lambda: numbers(dense(1, 0.7), rule=SGD(1e30)), lambda: numbers(dense(1, 0.7), rule=SGD(0.1))),
        Case(lambda: classes(rule=Adam(20.0)), lambda: classes(rule=Adam(0.1))),
    ],
    "learning-rate-low": [
        Case(lambda: classes(rule=SGD(1e-9)), lambda: classes(rule=SGD(WarmUp(0.1, steps=1000)))),
        Case(lambda: classes(rule=SGD(1e-5)), lambda: classes(rule=SGD(0.1))),
    ],
    "cannot-learn": [Case(lambda: numbers(cost=upside_down(-1.0)), lambda: numbers(cost=upside_down(1.0)))],
}
ROWS = [pytest.param(code, case, id=f"{code} {n}") for code, cases in CASES.items() for n, case in enumerate(cases)]


once = functools.cache(lambda make: make())  # many cases have the same twin


def codes(checkup: Checkup, notes: bool) -> set[str]:
    return {one.code for one in checkup.findings if notes or one.severity != NOTE}


@pytest.mark.parametrize(("code", "case"), ROWS)
@pytest.mark.filterwarnings("ignore::gedanken.GedankenWarning")
def test_it_is_found_and_nothing_else_and_not_in_its_twin(code: str, case: Case) -> None:
    sick, sound = case.sick(), once(case.sound)
    notes = code in ("bias-before-norm", "pool-stride")
    assert codes(sick, notes) == {code}, sick
    assert code not in codes(sound, True), sound
    assert sound.ok, sound
    (found,) = [one for one in sick.findings if one.code == code]
    assert found.page == f"docs/check.md#{code}"
    assert sick.ok is notes


def test_every_code_has_a_case_and_a_heading_and_every_heading_is_a_code() -> None:
    assert list(CASES) == list(CODES)
    headings = re.findall(r"^### (.*)$", DOCS.read_text(), re.MULTILINE)
    assert headings == list(CODES)
