"""The networks that are timed, as plain data that every peer builds from, with one set of weights and samples.

A layer is a tuple: its kind and its numbers. Shapes are (C, H, W) or (T, F). Kernels are (rows, columns, in, out), that
of "larger" (rows, columns, out, in), (width, in, out) and (in, out); gates stand in Gedanken's order. "flatten" and
"reshape" keep the order of the channels first. "mean" and "average1d" are the mean over time, the second one behind
convolutions, which take sequences in another layout in PyTorch. Each peer turns all of it into its own layouts.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

Layer = tuple[Any, ...]
Shape = tuple[int, ...]
CLASSES = 10
PARTS = 4  # classes of pixels
CHECKED_STEPS = 4
EPOCH = 60_000  # samples
# Adam's. A step is timed again and again on the same samples: at a usual rate they would soon be learnt by heart, and
# the gradients too small to be normal numbers, which slows some peers down.
RATES = {"check": 1e-4, "step": 1e-6, "epoch": 1e-3, "predict": 1e-3}


class Description(NamedTuple):
    """What a network is made of: one sample's shape, and the layers, the last one giving a value for each class.

    With "cross_entropy" samples or pixels belong to a class; with "binary_cross_entropy" targets are the samples.
    """

    shape: Shape
    layers: tuple[Layer, ...]
    cost: str = "cross_entropy"

    @property
    def output(self) -> Shape:
        return walked(self.layers, self.shape)[-1][2]


class Task(NamedTuple):
    """What is done with a network: "step", "epoch" or "predict", with so many samples at once."""

    network: str
    kind: str
    batch: int


def conv(filters: int, size: int = 3, padding: int = 0, stride: int = 1, bias: bool = True) -> Layer:
    return ("conv", filters, size, padding, stride, bias)


def normed(filters: int, stride: int = 1) -> list[Layer]:
    return [conv(filters, 3, 1, stride), ("norm",)]


def diary() -> Description:
    head = [conv(32), ("norm",), ("relu",), conv(64), ("norm",), ("relu",), ("maxpool", 2, 1), ("dropout", 0.75)]
    tail = [("flatten",), ("dense", 128), ("relu",), ("dropout", 0.5), ("dense", CLASSES)]
    return Description((1, 28, 28), (*head, *tail))


def mlp() -> Description:
    return Description((784,), (("dense", 128), ("relu",), ("dense", CLASSES)))


def lenet() -> Description:
    head = [conv(6, 5, 2), ("relu",), ("maxpool", 2, 2), conv(16, 5), ("relu",), ("maxpool", 2, 2), ("flatten",)]
    tail = [("dense", 120), ("relu",), ("dense", 84), ("relu",), ("dense", CLASSES)]
    return Description((1, 28, 28), (*head, *tail))


def vgg() -> Description:
    layers: list[Layer] = []
    for filters in (64, 128, 256):
        layers += [*normed(filters), ("relu",)] * 2 + [("maxpool", 2, 2)]
    return Description((3, 32, 32), (*layers, ("flatten",), ("dense", CLASSES)))


def resnet() -> Description:
    layers = [*normed(16), ("relu",)]
    for filters in (16, 32, 64):
        for block in range(3):
            changes = block == 0 and filters > 16
            stride = 2 if changes else 1
            body = (*normed(filters, stride), ("relu",), *normed(filters))
            layers += [("residual", body, (conv(filters, 1, 0, stride),) if changes else ()), ("relu",)]
    return Description((3, 32, 32), (*layers, ("average",), ("dense", CLASSES)))


def lstm() -> Description:
    return Description((64, 128), (("lstm", 128), ("dense", CLASSES)))


def gru() -> Description:
    return Description((64, 128), (("gru", 128), ("dense", CLASSES)))


def transformer() -> Description:
    attention = ("residual", (("layernorm",), ("attention", 4)), ())
    mlp = ("residual", (("layernorm",), ("dense", 512), ("gelu",), ("dense", 128)), ())
    return Description((128, 128), (attention, mlp, ("mean",), ("dense", CLASSES)))


def conv1d() -> Description:
    layers = [("conv1d", 64, 5), ("relu",), ("maxpool1d", 2)] * 3
    return Description((256, 16), (*layers, ("average1d",), ("dense", CLASSES)))


def unet(depth: int = 4, width: int = 16) -> Description:
    layers = [*unbiased(width * 2**depth), *unbiased(width * 2**depth)]
    for filters in (width * 2**level for level in reversed(range(depth))):
        way = (("maxpool", 2, 2), *layers, ("larger", filters, 2, 2, 0, 0, True))
        layers = [*unbiased(filters), *unbiased(filters), ("branches", (), way), *unbiased(filters), *unbiased(filters)]
    return Description((3, 64, 64), (*layers, conv(PARTS, 1)))


def autoencoder() -> Description:
    there = [*unbiased(16, 2), *unbiased(32, 2), ("flatten",), ("dense", 32)]
    back = [("dense", 32 * 7 * 7), ("relu",), ("reshape", (32, 7, 7)), ("larger", 16, 3, 2, 1, 1, False), ("norm",)]
    layers = (*there, *back, ("relu",), ("larger", 1, 3, 2, 1, 1, True))
    return Description((1, 28, 28), layers, "binary_cross_entropy")


def unbiased(filters: int, stride: int = 1) -> list[Layer]:
    return [conv(filters, 3, 1, stride, bias=False), ("norm",), ("relu",)]


NETWORKS = {
    "diary": diary,
    "mlp": mlp,
    "lenet": lenet,
    "vgg": vgg,
    "resnet": resnet,
    "lstm": lstm,
    "gru": gru,
    "transformer": transformer,
    "conv1d": conv1d,
    "unet": unet,
    "autoencoder": autoencoder,
}


def described(name: str, thin: bool = True) -> Description:
    """Return a network; with `thin` false its dropouts keep everything."""
    found = NETWORKS[name]()
    kept = [layer if thin or layer[0] != "dropout" else ("dropout", 1.0) for layer in found.layers]
    return found._replace(layers=tuple(kept))


def output_shape(layer: Layer, shape: Shape) -> Shape:
    """Return the shape of what a layer gives."""
    match layer:
        case ("dense", width):
            return (*shape[:-1], width)
        case ("flatten",):
            return (math.prod(shape),)
        case ("reshape", wanted):
            return wanted
        case ("residual", body, _):
            return walked(body, shape)[-1][2]
    by_rank = {2: _shape_over_time, 3: _picture_shape}
    return by_rank[len(shape)](layer, shape) if len(shape) in by_rank else shape


def _picture_shape(layer: Layer, shape: Shape) -> Shape:
    match layer:
        case ("conv", filters, size, padding, stride, _):
            return (filters, *((length + 2 * padding - size) // stride + 1 for length in shape[1:]))
        case ("larger", filters, size, stride, padding, more, _):
            return (filters, *((length - 1) * stride + size - 2 * padding + more for length in shape[1:]))
        case ("maxpool", size, stride):
            return (shape[0], *((length - size) // stride + 1 for length in shape[1:]))
        case ("average",):
            return shape[:1]
        case ("branches", *ways):
            ends = [walked(way, shape)[-1][2] if way else shape for way in ways]
            return (sum(end[0] for end in ends), *shape[1:])
    return shape


def _shape_over_time(layer: Layer, shape: Shape) -> Shape:
    match layer:
        case ("conv1d", filters, _):
            return (shape[0], filters)
        case ("maxpool1d", size):
            return (shape[0] // size, shape[1])
        case ("lstm" | "gru", units):
            return (units,)
        case ("average1d" | "mean",):
            return shape[1:]
    return shape


def walked(layers: Sequence[Layer], shape: Shape) -> list[tuple[Layer, Shape, Shape]]:
    """Return each layer with the shapes of its input and output."""
    found = []
    for layer in layers:
        output = output_shape(layer, shape)
        found.append((layer, shape, output))
        shape = output
    return found


def weights(description: Description) -> dict[str, np.ndarray]:
    """Return weights and running values by Gedanken's names, such as "5.layers.0.kernel"."""
    rng = np.random.default_rng(1)
    named = _array_shapes(description.layers, description.shape, "")
    return {name: _first_values(rng, name.rpartition(".")[2], shape).astype(np.float32) for name, shape in named}


def _first_values(rng: np.random.Generator, kind: str, shape: Shape) -> np.ndarray:
    if kind.endswith("kernel") or kind == "recurrent":
        return rng.normal(0, math.prod(shape[:-1]) ** -0.5, shape)
    return rng.uniform(0.8, 1.2, shape) if kind in ("scale", "var") else rng.normal(0, 0.1, shape)


def _array_shapes(layers: Sequence[Layer], shape: Shape, path: str) -> Iterator[tuple[str, Shape]]:
    for position, (layer, entering, leaving) in enumerate(walked(layers, shape)):
        place = f"{path}{position}."
        for name, row in rows_of(layer).items():
            yield from _array_shapes(row, entering, f"{place}{name}.")
        for name, size in _arrays(layer, entering, leaving).items():
            yield f"{place}{name}", size


def rows_of(layer: Layer) -> dict[str, Sequence[Layer]]:
    """Return the rows of layers that stand in a layer, by their names in paths."""
    match layer:
        case ("residual", body, shortcut):
            return {"layers": body, "shortcut": shortcut}
        case ("branches", *ways):
            return {str(i): way for i, way in enumerate(ways)}
    return {}


def _arrays(layer: Layer, entering: Shape, leaving: Shape) -> dict[str, Shape]:
    """Return the shapes of a layer's weights and running values by their names."""
    features = entering[-1]
    match layer:
        case ("conv", filters, size, _, _, bias):
            return {"kernel": (size, size, entering[0], filters)} | ({"bias": (filters,)} if bias else {})
        case ("larger", filters, size, _, _, _, bias):
            return {"kernel": (size, size, filters, entering[0])} | ({"bias": (filters,)} if bias else {})
        case ("conv1d", filters, width):
            return {"kernel": (width, features, filters), "bias": (filters,)}
        case ("dense", width):
            return {"kernel": (features, width), "bias": (width,)}
        case ("norm",):
            return dict.fromkeys(("scale", "shift", "mean", "var"), leaving[:1])
        case ("layernorm",):
            return dict.fromkeys(("scale", "shift"), leaving[-1:])
        case ("lstm" | "gru" as kind, units):
            wide = {"lstm": 4, "gru": 3}[kind] * units
            last = {"recurrent_bias": (units,)} if kind == "gru" else {}
            return {"kernel": (features, wide), "recurrent": (units, wide), "bias": (wide,), **last}
        case ("attention", _):
            thirds = {"kernel": (features, 3 * features), "bias": (3 * features,)}
            return {**thirds, "output_kernel": (features, features), "output_bias": (features,)}
    return {}


def samples(description: Description, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return so many inputs in [0, 1) and their targets: class numbers, of pixels class maps, or the inputs."""
    rng = np.random.default_rng(2)
    x = rng.random((count, *description.shape), np.float32)
    if description.cost == "binary_cross_entropy":
        return x, x
    classes, *places = description.output
    return x, rng.integers(0, classes, (count, *places))


def checked_batches(description: Description, task: Task) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the mini-batches whose losses all peers must agree on."""
    x, labels = samples(description, CHECKED_STEPS * task.batch)
    return list(zip(np.split(x, CHECKED_STEPS), np.split(labels, CHECKED_STEPS), strict=True))


def loss_of(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean cross-entropy of probabilities."""
    return float(-np.log(np.maximum(outputs[np.arange(len(labels)), labels], 1e-30)).mean())
