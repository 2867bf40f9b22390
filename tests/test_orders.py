"""Inputs in any order of memory give the same bits, and are not copied more than once."""

import numpy as np
import pytest

from gedanken import SGD, ConvolutionLayer, Flatten, FullyConnectedLayer, MaxPoolLayer, Network, ReLU, SoftMax
from gedanken.types import Array, Shape

ORDERS = {
    "fortran": (3, 2, 1, 0),
    "channels last": (0, 2, 3, 1),
    "samples last": (2, 3, 0, 1),
    "by column": (3, 0, 1, 2),
}


def network(shape: Shape, engine: str) -> Network:
    net = Network(seed=1).input(shape)
    if len(shape) == 3:
        net.add(ConvolutionLayer(5, 3, 3)).add(ReLU()).add(MaxPoolLayer(2, 2)).add(Flatten())
    net.add(FullyConnectedLayer(4)).add(SoftMax())
    return net.regression(SGD(0.1), engine=engine)


def laid_out(x: Array, axes: tuple[int, ...]) -> Array:
    """Return the same array with its axes in another order in memory."""
    return np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))


@pytest.mark.parametrize("engine", ["cpu", "numpy"])
@pytest.mark.parametrize("order", ORDERS)
def test_pictures_in_any_order(order: str, engine: str) -> None:
    x = np.random.default_rng(0).random((70, 3, 12, 10), np.float32)
    other, net = laid_out(x, ORDERS[order]), network((3, 12, 10), engine)
    assert not other.flags.c_contiguous
    assert net.feedforward(other).tobytes() == net.feedforward(x).tobytes()
    classes = np.zeros(70, int)
    assert net.evaluate(other, classes, progress=False) == net.evaluate(x, classes, progress=False)
    wide = np.random.default_rng(1).random((40, 3, 19, 21), np.float32)
    assert net.slide(laid_out(wide, ORDERS[order]), stride=3).tobytes() == net.slide(wide, stride=3).tobytes()


@pytest.mark.parametrize("view", ["fortran", "columns", "reversed", "float64"])
def test_rows_in_any_order(view: str) -> None:
    x, net = np.random.default_rng(0).random((300, 50), np.float32), network((50,), "cpu")
    other = {
        "fortran": np.asfortranarray(x),
        "columns": np.repeat(x, 2, axis=1)[:, ::2],
        "reversed": np.ascontiguousarray(x[::-1])[::-1],
        "float64": np.asfortranarray(x.astype(float)),
    }[view]
    assert net.feedforward(other).tobytes() == net.feedforward(x).tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_found_in_any_order(bad: float) -> None:
    x = np.random.default_rng(0).random((70, 3, 12, 10), np.float32)
    x[66, 2, 5, 7] = bad
    with pytest.raises(ValueError, match=r"got (nan|inf) at index \(66, 2, 5, 7\)"):
        network((3, 12, 10), "cpu").feedforward(np.asfortranarray(x))
