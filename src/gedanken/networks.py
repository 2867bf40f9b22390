"""Networks that are ready to be used, as rows of layers: for the command line, the benchmarks and as examples.

Each function returns a list of layers. Those that tell classes of whole samples take the number of classes, and their
last two layers are a fully connected one and SoftMax; what one sample looks like stands in each docstring, and other
sizes work where the layers fit. Those that give pictures, `unet` and `autoencoder`, take the shape of one, too.

Example:
    >>> from gedanken import networks
    >>> net = Network(seed=1).input((1, 28, 28))
    >>> for layer in networks.lenet5(10):
    ...     net = net.add(layer)
    >>> net
    Network of 13 layers, input (1, 28, 28)
"""

from collections.abc import Sequence

from gedanken.checks import extent, is_list, require, short
from gedanken.errors import ShapeError
from gedanken.init import Zeros
from gedanken.layers import (
    BatchNorm,
    Branches,
    ConvolutionLayer,
    Dropout,
    Flatten,
    FullyConnectedLayer,
    GlobalAveragePoolLayer,
    Layer,
    MaxPoolLayer,
    ReLU,
    Reshape,
    Residual,
    Sigmoid,
    SoftMax,
    SparseFullyConnectedLayer,
    TransposedConvolutionLayer,
)

__all__ = ["autoencoder", "diary", "lenet5", "linear", "mlp", "resnet20", "unet", "vgg"]

MOST_HALVINGS = 16  # of a picture


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


def unet(shape: Sequence[int], classes: int, depth: int = 4, width: int = 16) -> list[Layer]:
    """Return a U-Net, which gives a picture of classes for a picture: it says of each pixel what it is part of.

    Pictures are halved `depth` times and doubled as often; on each level the larger pictures of before stand beside
    those that come back, so that fine detail is not lost.

    Args:
        shape: one picture, (C, H, W); H and W are multiples of 2**depth.
        classes: how many; the network then ends with SoftMax over the channels, of one class, which
            is there or not, with Sigmoid; masks (N, H, W) are labels for both.
        depth: how often pictures are halved, at least 1.
        width: filters of the first convolutions, at least 1; each level has twice as many as the one above.

    Shapes:
        one sample: `shape`.   one output: (classes, H, W).

    Raises:
        ShapeError: height or width is no multiple of 2**depth.

    Source:
        Ronneberger, Fischer & Brox 2015, arXiv:1505.04597, figure 1. Differs: padding, so that a picture comes out as
        large as it went in, BatchNorm, and fewer filters.
    """
    _, rows, columns = _picture("unet", shape)
    classes, depth, width = (
        extent(f"unet {name}", value) for name, value in (("classes", classes), ("depth", depth), ("width", width))
    )
    require(depth <= MOST_HALVINGS, "unet depth", f"be at most {MOST_HALVINGS}", depth)
    if rows % 2**depth or columns % 2**depth:
        raise ShapeError(
            f"unet of depth {depth} needs height and width that are multiples of {2**depth}, got {short(tuple(shape))}",
            "use a smaller depth, or cut or pad the pictures",
        )
    last = Sigmoid() if classes == 1 else SoftMax()
    return [*_level(depth, width), ConvolutionLayer(classes, 1, 1), last]


def _level(below: int, filters: int) -> list[Layer]:
    """Return a level of a U-Net and those below it, which pictures of half the size go through."""
    row = [*_unbiased(filters), *_unbiased(filters)]
    if below == 0:
        return row
    larger = TransposedConvolutionLayer(filters, 2, 2, stride=2)
    way = [MaxPoolLayer(2, 2), *_level(below - 1, 2 * filters), larger]
    return [*row, Branches([], way), *_unbiased(filters), *_unbiased(filters)]


def autoencoder(shape: Sequence[int], code: int = 32, depth: int = 2, width: int = 16) -> list[Layer]:
    """Return a convolutional autoencoder: it makes few numbers of a picture, and of these the picture again.

    Its targets are its inputs, with values in [0, 1]. The code is what layer 3 * depth + 1 gives, counted from 0; a
    network of the layers up to it has the trained weights by `Network.take`.

    Args:
        shape: one picture, (C, H, W), of any size.
        code: numbers that a picture becomes, at least 1.
        depth: how often pictures are halved, at least 1.
        width: filters of the first convolution, at least 1; each further one has twice as many.

    Shapes:
        one sample, one output: `shape`.

    Source:
        Masci et al. 2011, "Stacked convolutional auto-encoders for hierarchical feature extraction". Differs: strides
        for poolings, a dense layer for the code, BatchNorm and ReLU.
    """
    channels, rows, columns = _picture("autoencoder", shape)
    code, depth, width = (
        extent(f"autoencoder {name}", value) for name, value in (("code", code), ("depth", depth), ("width", width))
    )
    require(depth <= MOST_HALVINGS, "autoencoder depth", f"be at most {MOST_HALVINGS}", depth)
    there: list[Layer] = []
    back: list[Layer] = [Sigmoid()]
    made = channels
    for level in range(depth):
        # A length and the next one are halved to the same; an even one comes back with one more pixel.
        more = (1 - rows % 2, 1 - columns % 2)
        larger = TransposedConvolutionLayer(made, 3, 3, 2, zero_padding=1, output_padding=more, bias=level == 0)
        back = [larger, *([BatchNorm(), ReLU()] if level else []), *back]
        made, rows, columns = width * 2**level, (rows + 1) // 2, (columns + 1) // 2
        there += _unbiased(made, stride=2)
    dense = [Flatten(), FullyConnectedLayer(code), FullyConnectedLayer(made * rows * columns), ReLU()]
    return [*there, *dense, Reshape((made, rows, columns)), *back]


def _unbiased(filters: int, stride: int = 1) -> list[Layer]:
    return [ConvolutionLayer(filters, 3, 3, stride=stride, zero_padding=1, bias=False), BatchNorm(), ReLU()]


def _picture(owner: str, shape: object) -> tuple[int, int, int]:
    """Return the checked shape of a picture."""
    right = is_list(shape) and len(shape) == 3
    require(right, f"{owner} shape", "be that of a picture, (C, H, W)", shape)
    channels, height, width = (extent(f"{owner} shape", size) for size in shape)  # type: ignore[attr-defined]
    return channels, height, width
