"""The networks that are timed, as plain data that every peer builds from, with one set of weights and samples.

A layer is a tuple: its kind and its numbers. Shapes are (C, H, W), kernels (rows, columns, in, out) and (in, out), and
"flatten" keeps the order of the channels first; each peer turns them into its own layouts.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

Layer = tuple[Any, ...]
Shape = tuple[int, ...]
CLASSES = 10
CHECKED_STEPS = 4
EPOCH = 60_000  # samples
# Adam's. A step is timed again and again on the same samples: at a usual rate they would soon be learnt by heart, and
# the gradients too small to be normal numbers, which slows some peers down.
RATES = {"check": 1e-4, "step": 1e-6, "epoch": 1e-3, "predict": 1e-3}


class Description(NamedTuple):
    """What a network is made of: one sample's shape, and the layers, the last one giving a value for each class."""

    shape: Shape
    layers: tuple[Layer, ...]


class Task(NamedTuple):
    """What is done with a network: "step", "epoch" or "predict", with so many samples at once."""

    network: str
    kind: str
    batch: int


def conv(filters: int, size: int = 3, padding: int = 0, stride: int = 1) -> Layer:
    return ("conv", filters, size, padding, stride)


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


NETWORKS = {"diary": diary, "mlp": mlp, "lenet": lenet, "vgg": vgg, "resnet": resnet}


def described(name: str, thin: bool = True) -> Description:
    """Return a network; with `thin` false its dropouts keep everything."""
    found = NETWORKS[name]()
    kept = [layer if thin or layer[0] != "dropout" else ("dropout", 1.0) for layer in found.layers]
    return Description(found.shape, tuple(kept))


def output_shape(layer: Layer, shape: Shape) -> Shape:
    """Return the shape of what a layer gives."""
    match layer:
        case ("conv", filters, size, padding, stride):
            return (filters, *((length + 2 * padding - size) // stride + 1 for length in shape[1:]))
        case ("maxpool", size, stride):
            return (shape[0], *((length - size) // stride + 1 for length in shape[1:]))
        case ("dense", width):
            return (width,)
        case ("flatten",):
            return (math.prod(shape),)
        case ("average",):
            return shape[:1]
        case ("residual", body, _):
            return walked(body, shape)[-1][2]
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
    if kind == "kernel":
        return rng.normal(0, math.prod(shape[:-1]) ** -0.5, shape)
    return rng.uniform(0.8, 1.2, shape) if kind in ("scale", "var") else rng.normal(0, 0.1, shape)


def _array_shapes(layers: Sequence[Layer], shape: Shape, path: str) -> Iterator[tuple[str, Shape]]:
    for position, (layer, entering, leaving) in enumerate(walked(layers, shape)):
        place = f"{path}{position}."
        match layer:
            case ("conv", filters, size, _, _):
                yield from ((f"{place}kernel", (size, size, entering[0], filters)), (f"{place}bias", (filters,)))
            case ("dense", width):
                yield from ((f"{place}kernel", (entering[0], width)), (f"{place}bias", (width,)))
            case ("norm",):
                yield from ((f"{place}{name}", leaving[:1]) for name in ("scale", "shift", "mean", "var"))
            case ("residual", body, shortcut):
                yield from _array_shapes(body, entering, f"{place}layers.")
                yield from _array_shapes(shortcut, entering, f"{place}shortcut.")


def samples(description: Description, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return so many inputs in [0, 1) and class numbers."""
    rng = np.random.default_rng(2)
    return rng.random((count, *description.shape), np.float32), rng.integers(0, CLASSES, count)


def checked_batches(description: Description, task: Task) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the mini-batches whose losses all peers must agree on."""
    x, labels = samples(description, CHECKED_STEPS * task.batch)
    return list(zip(np.split(x, CHECKED_STEPS), np.split(labels, CHECKED_STEPS), strict=True))


def loss_of(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean cross-entropy of probabilities."""
    return float(-np.log(np.maximum(outputs[np.arange(len(labels)), labels], 1e-30)).mean())
