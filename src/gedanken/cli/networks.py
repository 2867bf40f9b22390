"""Networks by name and from architecture files."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gedanken import networks
from gedanken.checks import one_of, require
from gedanken.errors import ArgumentError
from gedanken.files import open_regular
from gedanken.io.architecture import known_classes, layers_from_data
from gedanken.io.safetensors import parsed
from gedanken.layers import Layer
from gedanken.network import Network
from gedanken.types import Shape

ARCHITECTURE_BYTES = 1 << 20  # of a file


class Design(NamedTuple):
    """What a network is made of before its data are known.

    Args:
        layers: gives the layers for a number of classes.
        input_shape: one sample, where the design settles it.
        flat: whether it takes a sample as a row, whatever its shape.
    """

    layers: Callable[[int], Sequence[Layer]]
    input_shape: Shape | None = None
    flat: bool = False


NETWORKS = {
    "diary": Design(networks.diary),
    "linear": Design(networks.linear, flat=True),
    "mlp": Design(networks.mlp),
    "lenet5": Design(networks.lenet5),
    "vgg": Design(networks.vgg),
    "resnet20": Design(networks.resnet20),
}


def find_design(network: str, scores: bool = False) -> Design:
    """Return the design that is called so, or that stands in the architecture file of this name (.json).

    Args:
        network: the name.
        scores: whether a design with a name gives scores of any size, for a cost that takes no probabilities.

    Raises:
        ArgumentError: unknown name, or the file holds no architecture.
        OSError: the file cannot be read.
    """
    if not network.lower().endswith(".json"):
        design = NETWORKS[one_of("network that is no .json file", network, NETWORKS)]
        return Design(lambda classes: design.layers(classes)[:-1]) if scores else design
    try:
        with open_regular(network) as file:
            content = file.read(ARCHITECTURE_BYTES + 1)
        require(
            len(content) <= ARCHITECTURE_BYTES, network, f"be of at most {ARCHITECTURE_BYTES:,} bytes", len(content)
        )
        data = parsed(content)
    except ArgumentError:
        raise
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{network} must be JSON: {error}") from None
    named = isinstance(data, dict) and set(data) == {"input", "layers"} and isinstance(data["input"], list)
    require(named, network, 'be {"input": [C, H, W] or [features], "layers": [{"type": ...}, ...]}', data)
    try:
        layers = layers_from_data(data["layers"], known_classes())
    except ArgumentError as error:
        raise ArgumentError(f"{network}: {error}") from None
    return Design(lambda _: layers, tuple(data["input"]))


def build(design: Design, input_shape: Shape, classes: int, seed: int) -> Network:
    """Return the network, not yet compiled.

    Raises:
        ShapeError: a layer does not fit.
    """
    taken = (math.prod(input_shape),) if design.flat else input_shape
    net = Network(seed).input(taken if design.input_shape is None else design.input_shape)
    for layer in design.layers(classes):
        net.add(layer)
    return net
