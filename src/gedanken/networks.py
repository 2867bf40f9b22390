"""Networks that are ready to be used, as rows of layers: for the command line, the benchmarks and as examples.

Each function takes the number of classes and returns a list of layers; the last two are a fully connected one and
SoftMax. What one sample looks like stands in each docstring; other sizes work where the layers fit.

Example:
    >>> from gedanken import networks
    >>> net = Network(seed=1).input((1, 28, 28))
    >>> for layer in networks.lenet5(10):
    ...     net = net.add(layer)
    >>> net
    Network of 13 layers, input (1, 28, 28)
"""

from gedanken.init import Zeros
from gedanken.layers import (
    BatchNorm,
    ConvolutionLayer,
    Dropout,
    Flatten,
    FullyConnectedLayer,
    GlobalAveragePoolLayer,
    Layer,
    MaxPoolLayer,
    ReLU,
    Residual,
    SoftMax,
    SparseFullyConnectedLayer,
)

__all__ = ["diary", "lenet5", "linear", "mlp", "resnet20", "vgg"]


def diary(classes: int) -> list[Layer]:
    """Return the convolutional network of the diary that this library began with.

    Args:
        classes: how many, at least 1.

    Shapes:
        one sample: (1, 28, 28).
    """
    return [
        ConvolutionLayer(n_filter=32, width_filter=3, height_filter=3),
        BatchNorm(),
        ReLU(),
        ConvolutionLayer(n_filter=64, width_filter=3, height_filter=3),
        BatchNorm(),
        ReLU(),
        MaxPoolLayer(width_filter=2, height_filter=2, stride=1),
        Dropout(0.75),
        Flatten(),
        FullyConnectedLayer(128),
        ReLU(),
        Dropout(0.5),
        FullyConnectedLayer(classes),
        SoftMax(),
    ]


def linear(classes: int) -> list[Layer]:
    """Return a linear model of rows that are mostly zeros: logistic regression. All its first values are 0.

    Args:
        classes: how many, at least 1.

    Shapes:
        one sample: (F,).

    Source:
        Bishop 2006, "Pattern recognition and machine learning", section 4.3.4.
    """
    return [SparseFullyConnectedLayer(classes, init=Zeros()), SoftMax()]


def mlp(classes: int) -> list[Layer]:
    """Return a network with one hidden layer of 128.

    Args:
        classes: how many, at least 1.

    Shapes:
        one sample: any.
    """
    return [Flatten(), FullyConnectedLayer(128), ReLU(), FullyConnectedLayer(classes), SoftMax()]


def lenet5(classes: int) -> list[Layer]:
    """Return LeNet-5 with rectifiers and max pooling.

    Args:
        classes: how many, at least 1.

    Shapes:
        one sample: (C, 28, 28).

    Source:
        LeCun et al. 1998, "Gradient-based learning applied to document recognition", figure 2. Differs: ReLU for tanh,
        max pooling for averages, all channels for its table of some, SoftMax for its radial functions.
    """
    return [
        ConvolutionLayer(6, 5, 5, zero_padding=2),
        ReLU(),
        MaxPoolLayer(2, 2, stride=2),
        ConvolutionLayer(16, 5, 5),
        ReLU(),
        MaxPoolLayer(2, 2, stride=2),
        Flatten(),
        FullyConnectedLayer(120),
        ReLU(),
        FullyConnectedLayer(84),
        ReLU(),
        FullyConnectedLayer(classes),
        SoftMax(),
    ]


def vgg(classes: int) -> list[Layer]:
    """Return a small network of the VGG kind: six convolutions of 3 x 3, normalised, and three poolings.

    Args:
        classes: how many, at least 1.

    Shapes:
        one sample: (C, 32, 32).

    Source:
        Simonyan & Zisserman 2014, arXiv:1409.1556, section 2. Differs: fewer layers, BatchNorm, one layer at the end.
    """
    row: list[Layer] = []
    for filters in (64, 128, 256):
        row += [*_normed(filters), ReLU(), *_normed(filters), ReLU(), MaxPoolLayer(2, 2, stride=2)]
    return [*row, Flatten(), FullyConnectedLayer(classes), SoftMax()]


def resnet20(classes: int) -> list[Layer]:
    """Return ResNet-20.

    Args:
        classes: how many, at least 1.

    Shapes:
        one sample: (C, 32, 32).

    Source:
        He et al. 2015, arXiv:1512.03385, section 4.2. Differs: where the shape changes, the shortcut is a convolution
        of 1 x 1.
    """
    row = [*_normed(16), ReLU()]
    for filters in (16, 32, 64):
        for block in range(3):
            changes = block == 0 and filters > 16
            stride = 2 if changes else 1
            body = [*_normed(filters, stride), ReLU(), *_normed(filters)]
            shortcut = ConvolutionLayer(filters, 1, 1, stride=stride) if changes else None
            row += [Residual(body, shortcut), ReLU()]
    return [*row, GlobalAveragePoolLayer(), FullyConnectedLayer(classes), SoftMax()]


def _normed(filters: int, stride: int = 1) -> list[Layer]:
    return [ConvolutionLayer(filters, 3, 3, stride=stride, zero_padding=1), BatchNorm()]
