"""The layers of `networks.py` as Keras's, and the common weights in their layouts. Images are channels-last here.

Keras's backend has to be chosen before this is imported.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import layers as kl
from networks import Description, Layer, rows_of, walked

Arrays = dict[str, np.ndarray]

ORDER = {
    "norm": ("scale", "shift", "mean", "var"),
    "layernorm": ("scale", "shift"),
    "lstm": ("kernel", "recurrent", "bias"),
}


def theirs(layer: Layer, unrolled: bool) -> Any:
    """Return Keras's layer; a recurrent one is a loop, or `unrolled` its rounds one after the other."""
    match layer:
        case ("conv", filters, size, padding, stride, bias):
            same = padding > 0 and stride == 1
            return kl.Conv2D(filters, size, strides=stride, padding="same" if same else "valid", use_bias=bias)
        case ("larger", filters, size, stride, _, _, bias):
            return kl.Conv2DTranspose(filters, size, strides=stride, use_bias=bias)
        case ("dense", width):
            return kl.Dense(width)
        case ("norm",):
            return kl.BatchNormalization(momentum=0.9, epsilon=1e-5)
        case ("maxpool", size, stride):
            return kl.MaxPooling2D(size, strides=stride)
        case ("dropout", keep):
            return kl.Dropout(1 - keep)
        case ("reshape", (channels, rows, columns)):
            return kl.Reshape((rows, columns, channels))
        case ("gelu",):
            return kl.Activation("gelu")
    plain = {"relu": kl.ReLU, "flatten": kl.Flatten, "average": kl.GlobalAveragePooling2D}
    return plain[layer[0]]() if layer[0] in plain else _over_time(layer, unrolled)


def _over_time(layer: Layer, unrolled: bool) -> Any:
    """Return the layer for what takes a sequence."""
    match layer:
        case ("conv1d", filters, width):
            return kl.Conv1D(filters, width, padding="same")
        case ("maxpool1d", size):
            return kl.MaxPooling1D(size)
        case ("mean" | "average1d",):
            return kl.GlobalAveragePooling1D()
        case ("layernorm",):
            return kl.LayerNormalization(epsilon=1e-5)
        case ("lstm", units):
            return kl.LSTM(units, unroll=unrolled)
        case ("gru", units):
            return kl.GRU(units, unroll=unrolled)
    raise NotImplementedError(f"no layer for {layer[0]}")


def applied(rows: Sequence[Layer], x: Any, path: str, made: dict[str, tuple[Layer, Any]], unrolled: bool) -> Any:
    """Return what the layers make of `x`; each layer is put into `made` under its place."""
    for position, layer in enumerate(rows):
        place = f"{path}{position}"
        match layer:
            case ("residual" | "branches", *_):
                ways = [applied(row, x, f"{place}.{name}.", made, unrolled) for name, row in rows_of(layer).items()]
                x = kl.Add()(ways) if layer[0] == "residual" else kl.Concatenate()(ways)
                continue
            case ("attention", heads):
                one = kl.MultiHeadAttention(heads, x.shape[-1] // heads)
                made[place], x = (layer, one), one(x, x)
                continue
            case ("conv", _, _, padding, stride, _) if padding and stride > 1:
                x = kl.ZeroPadding2D(padding)(x)
        made[place] = layer, theirs(layer, unrolled)
        x = made[place][1](x)
        match layer:
            case ("larger", _, _, _, padding, more, _) if padding:
                x = kl.Cropping2D(((padding, padding - more),) * 2)(x)
    return x


def load(description: Description, made: Mapping[str, tuple[Layer, Any]], arrays: Arrays) -> None:
    """Copy the common weights."""
    _turn_pictures(description, arrays)
    for place, (layer, one) in made.items():
        found = {name: arrays[f"{place}.{name}"] for name in _names(arrays, place)}
        if found:
            one.set_weights(_in_order(layer, found))


def _names(arrays: Arrays, place: str) -> list[str]:
    return [name.removeprefix(f"{place}.") for name in arrays if name.rpartition(".")[0] == place]


def _turn_pictures(description: Description, arrays: Arrays) -> None:
    """Put the features of dense layers behind "flatten", and before "reshape", into the order of channels-last."""
    for position, (layer, shape, made) in enumerate(walked(description.layers, description.shape)):
        if layer == ("flatten",):
            name = f"{position + 1}.kernel"
            arrays[name] = arrays[name][_channels_last_order(shape)]
        if layer[0] == "reshape":
            for name in (f"{position - 2}.kernel", f"{position - 2}.bias"):  # an activation stands between
                arrays[name] = arrays[name][..., _channels_last_order(made)]


def _channels_last_order(shape: Sequence[int]) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).transpose(1, 2, 0).ravel()


def _in_order(layer: Layer, found: Arrays) -> list[np.ndarray]:
    """Return a layer's arrays as Keras has them."""
    match layer:
        case ("gru", units):
            # Keras has z before r, and a second bias of which all but the last third is added to the first.
            order = np.concatenate([np.arange(units, 2 * units), np.arange(units), np.arange(2 * units, 3 * units)])
            second = np.concatenate([np.zeros(2 * units, np.float32), found["recurrent_bias"]])
            return [found["kernel"][:, order], found["recurrent"][:, order], np.stack([found["bias"][order], second])]
        case ("attention", heads):
            features = len(found["kernel"])
            kernels = np.split(found["kernel"], 3, axis=1)
            biases = np.split(found["bias"], 3)
            pairs = [
                (k.reshape(features, heads, -1), b.reshape(heads, -1)) for k, b in zip(kernels, biases, strict=True)
            ]
            last = found["output_kernel"].reshape(heads, -1, features), found["output_bias"]
            return [array for pair in (*pairs, last) for array in pair]
    return [found[name] for name in ORDER.get(layer[0], ("kernel", "bias")) if name in found]
