"""Small networks learn the real data sets, as well as such networks do."""

from pathlib import Path

import pytest

from gedanken import Adam, BatchNorm, ConvolutionLayer, Flatten, FullyConnectedLayer, Layer, Network, ReLU, SoftMax
from gedanken.datasets import load_conv, load_fashion_fc, load_fc

DENSE = [FullyConnectedLayer(128), ReLU(), FullyConnectedLayer(10), SoftMax()]
CONVOLUTION = [
    ConvolutionLayer(8, 5, 5, stride=2, bias=False),
    BatchNorm(),
    ReLU(),
    Flatten(),
    FullyConnectedLayer(10),
    SoftMax(),
]


def network(layers: list[Layer], shape: tuple[int, ...]) -> Network:
    net = Network().input(shape)
    for layer in layers:
        net.add(layer)
    return net.regression(Adam(learning_rate=0.002))


@pytest.mark.parametrize(
    ("load", "shape", "layers", "epochs", "accuracy"),
    [
        (load_fc, (784,), DENSE, 3, 0.96),
        (load_fashion_fc, (784,), DENSE, 3, 0.86),
        (load_conv, (1, 28, 28), CONVOLUTION, 1, 0.96),
    ],
    ids=["mnist-dense", "fashion-dense", "mnist-convolution"],
)
def test_a_small_network_learns_it(
    load: type, shape: tuple[int, ...], layers: list[Layer], epochs: int, accuracy: float, real_data: Path
) -> None:
    data, labels, test_data, test_labels = load()
    net = network(layers, shape)
    net.fit(data, labels, epochs=epochs, mini_batch_size=128, progress=False)
    assert net.evaluate(test_data, test_labels, progress=False)["accuracy"] > accuracy
