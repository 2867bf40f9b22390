"""SoftMax, LogSoftMax and GLU over axes that are chosen: what follows for costs, predictions and lengths."""

from typing import Any

import numpy as np
import pytest

from gedanken import GLU, SGD, ConvolutionLayer, CrossEntropy, FullyConnectedLayer, LogSoftMax, Network, SoftMax
from gedanken.costs import SoftMaxCrossEntropy
from gedanken.engine.fuse_cost import fuse_cost
from gedanken.errors import ShapeError
from gedanken.layers.containers import placed

X = np.random.default_rng(0).normal(size=(4, 2, 5, 6))


@pytest.mark.parametrize(("axes", "folded"), [(None, True), (1, True), ((1,), True), (2, False), ((1, 2), False)])
def test_only_shares_of_classes_are_folded_into_the_cost(axes: Any, folded: bool) -> None:
    cost, contains = fuse_cost(placed([SoftMax(axes=axes)], (5, 6, 3)), CrossEntropy())
    assert (type(cost) is SoftMaxCrossEntropy, contains) == (folded, folded)


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
def test_maps_of_shares_are_no_classes(engine: str) -> None:
    net = Network(seed=0).input((2, 5, 6)).add(ConvolutionLayer(3, 3, 3)).add(SoftMax(axes=(2, 3)))
    net.regression(SGD(), "mean_squared", engine=engine)
    shares = net.predict(X)
    np.testing.assert_allclose(shares.sum(axis=(2, 3)), 1, rtol=1e-5)
    np.testing.assert_array_equal(net.predict_proba(X), shares)
    assert net.summary().fallbacks == ()


def test_named_channels_are_classes_too() -> None:
    net = Network(seed=0).input((2, 5, 6)).add(ConvolutionLayer(3, 3, 3)).add(SoftMax(axes=1)).regression()
    assert net.predict(X).shape == (4, 3, 4)


@pytest.mark.parametrize("layer", [SoftMax(axes=1), LogSoftMax(axes=(1, 2)), GLU(axes=1)], ids=repr)
def test_places_taken_together_do_not_honour_lengths(layer: Any) -> None:
    net = Network().input((4, 3)).add(layer).add(FullyConnectedLayer(2)).regression(SGD(), "mean_squared")
    with pytest.raises(ShapeError, match="does not honour the lengths of sequences"):
        net.predict([np.zeros((3, 3)), np.zeros((4, 3))])
