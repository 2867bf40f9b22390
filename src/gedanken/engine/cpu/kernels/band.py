"""What all convolutions share: images with a border of zeros, and what follows once a band of outputs is there."""

from gedanken.engine.cpu.kernels.blocks import copy_row, zero_row
from gedanken.engine.cpu.kernels.moments import channel_moments
from gedanken.engine.cpu.kernels.rows import Activation, activate
from gedanken.engine.cpu.language import Int, Reals, Record, at, inline


class Weights(Record):
    """A convolution's parameters."""

    weights: Reals
    bias: Reals


class Slots(Record):
    """Where the gradients of weights and, if `biased`, of the bias are summed: each slot takes some of the images.

    weights: [slot][numbers of the kernel].   bias: [slot][out_channels]
    """

    weights: Reals
    bias: Reals
    biased: Int
    images: Int
    slots: Int


class Padded(Record):
    """Images, and the rows and columns of zeros before each; rows with their zeros are padded_width columns wide."""

    height: Int
    width: Int
    channels: Int
    top: Int
    left: Int
    padded_width: Int


class Finish(Record):
    """What follows the products: an activation and, where `measured` is set, the moments of each channel.

    statistics: [image][band][3][channels]
    """

    activation: Activation
    measured: Int
    statistics: Reals


@inline
def padded_rows(target, image, shape, first, rows, above):
    """Copy padded rows of an image into target, with zeros beside it, and where `above` is set also above and below."""
    height, width, channels = shape.height, shape.width, shape.channels
    left, padded_width = shape.left, shape.padded_width
    for number in range(rows):
        row = first + number - shape.top
        place = at(target, number * padded_width * channels)
        if (row < 0 or row >= height) and above:
            zero_row(place, padded_width * channels)
        if row >= 0 and row < height:
            inside = min(width, padded_width - left)
            zero_row(place, left * channels)
            copy_row(at(place, left * channels), at(image, row * width * channels), inside * channels)
            zero_row(at(place, (left + inside) * channels), (padded_width - left - inside) * channels)


@inline
def padded_bands(target, images, shape, count, first, rows, above):
    """Copy some padded rows of each of some images."""
    for n in range(count):
        place = at(target, n * rows * shape.padded_width * shape.channels)
        picture = at(images, n * shape.height * shape.width * shape.channels)
        padded_rows(place, picture, shape, first, rows, above)


@inline
def finish_band(out, start, rows, width, channels, finish, number):
    """Do what follows the products while their rows are in the cache: the activation, the statistics of channels."""
    first, pixels = at(out, start * width * channels), rows * width
    if finish.activation.kind:
        activate(first, first, pixels * channels, finish.activation)
    if finish.measured:
        channel_moments(first, pixels, channels, at(finish.statistics, number * 3 * channels))
