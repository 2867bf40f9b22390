"""What a user reads has public names in it: never that of a class which the library keeps to itself."""

import inspect
import re
from typing import Any

import numpy as np
import pytest

import gedanken
from gedanken import (
    SGD,
    BinaryCrossEntropy,
    ConvolutionLayer,
    CrossEntropy,
    FullyConnectedLayer,
    GedankenError,
    Heads,
    Network,
    Sigmoid,
    SoftMax,
    costs,
    engine,
    layers,
    metrics,
)
from tests.cases import COSTS, PUBLIC, CostCase, name_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3)).astype("float32")


def hidden() -> set[str]:
    """Return the names of classes of costs, layers, metrics and engines that are not public."""
    found = set()
    for package in (costs, layers, metrics, engine):
        for module in vars(package).values():
            if inspect.ismodule(module) and module.__name__.startswith("gedanken."):
                found |= {name for name, one in vars(module).items() if inspect.isclass(one) and name not in PUBLIC}
    return {name for name in found if re.fullmatch(r"[A-Z][a-z]+[A-Z]\w+|_[A-Z]\w+", name)} - {"ByName"}


HIDDEN = re.compile(rf"\b({'|'.join(sorted(hidden()))})\b")


def test_the_hidden_names_are_known() -> None:
    assert {"SoftMaxCrossEntropy", "SigmoidBinaryCrossEntropy"} <= hidden()


def compiled(case: CostCase, engine_name: str) -> tuple[Network, Any]:
    """Return a network that learns by a cost, and right targets for it."""
    y, target = case.draw(np.random.default_rng(0), len(X))
    net = Network(1).input((3, *y.shape[1:-1]) if y.ndim == 4 else (*y.shape[1:-1], 3))
    if y.ndim == 4:
        net.add(ConvolutionLayer(y.shape[-1], 1, 1))
    else:
        net.add(FullyConnectedLayer(y.shape[-1]))
    name = type(case.cost).__name__
    if name in ("CrossEntropy", "Focal", "Dice", "Tversky", "KullbackLeibler"):
        net.add(SoftMax())
    elif name in ("BinaryCrossEntropy", "BinaryFocal", "Poisson", "MeanSquaredLogarithmic", "GaussianNLL"):
        net.add(Sigmoid())
    return net.regression(SGD(1e37), cost=case.cost, metrics=[], engine=engine_name), target


def told(call: Any) -> str:
    try:
        return str(call())
    except GedankenError as error:
        return str(error)


@pytest.mark.filterwarnings("ignore::gedanken.GedankenWarning")
@pytest.mark.parametrize("engine_name", ["numpy", "cpu"])
@pytest.mark.parametrize("case", COSTS, ids=name_of)
def test_mistakes_with_a_cost_are_told_in_public_words(case: CostCase, engine_name: str) -> None:
    net, target = compiled(case, engine_name)
    x = RNG.normal(size=(6, *(net.input_shape or ()))).astype("float32")
    right = target if target.ndim < 4 else np.moveaxis(target, -1, 1)
    words = [
        str(net.summary()),
        told(lambda: net.fit(x, np.full(right.shape, -7.5), progress=False)),  # no target of most costs
        told(lambda: net.fit(x, np.ones((6, 9, 9, 9)), progress=False)),  # no shape of any
        told(lambda: net.fit(x, right, np.full(6, 3e38), progress=False)),  # what is not finite is told of
        told(lambda: net.fit(x, right, epochs=3, progress=False)),
        told(lambda: net.check(x, right)),
    ]
    for text in words:
        assert not HIDDEN.search(text), text


@pytest.mark.parametrize(
    ("cost", "last"), [(CrossEntropy(0.25), SoftMax()), (BinaryCrossEntropy(2.0), Sigmoid())], ids=["classes", "yes"]
)
@pytest.mark.parametrize("heads", [False, True])
def test_what_is_not_finite_is_told_in_public_words(cost: Any, last: Any, heads: bool) -> None:
    row = [FullyConnectedLayer(3), last]
    net = Network().input((3,))
    for layer in [Heads(a=row)] if heads else row:
        net.add(layer)
    net.regression(cost={"a": cost} if heads else cost, engine="numpy")
    labels = np.eye(3)[np.arange(6) % 3]
    weights = np.full(6, 3e38)
    with pytest.raises(gedanken.NonFiniteError, match=f"the cost {type(cost).__name__}"):
        net.fit(X, {"a": labels} if heads else labels, weights, progress=False)
