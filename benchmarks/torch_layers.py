"""The layers of `networks.py` as PyTorch's modules, and the common weights in their layouts.

`tuned` chooses among layouts: sequences come to recurrent layers with time first, and to convolutions as pictures of
one row, which can be channels-last.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from networks import Layer, Shape, rows_of, walked
from torch import Tensor, nn

# The names of an array in PyTorch's modules. A recurrent one has two biases that are added; what Gedanken has of the
# second is its last third.
NAMES = {
    "kernel": ("weight", "weight_ih_l0"),
    "recurrent": ("weight_hh_l0",),
    "bias": ("bias", "bias_ih_l0"),
    "recurrent_bias": ("bias_hh_l0",),
    "output_kernel": ("output.weight",),
    "output_bias": ("output.bias",),
    "scale": ("weight",),
    "shift": ("bias",),
    "mean": ("running_mean",),
    "var": ("running_var",),
}


class Residual(nn.Module):
    """The sum of two ways."""

    def __init__(self, layers: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.layers, self.shortcut = layers, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.shortcut(x)


class Branches(nn.ModuleList):
    """What several ways give, with their channels beside each other."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([way(x) for way in self], dim=1)


class LastOfLSTM(nn.LSTM):
    """The state behind the last place."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[1][0][-1]


class LastOfGRU(nn.GRU):
    """The state behind the last place."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[1][-1]


class Attention(nn.Linear):
    """Self-attention; queries, keys and values are one product, the linear layer that this is."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__(features, 3 * features)
        self.heads, self.output = heads, nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        samples, places, features = x.shape
        q, k, v = super().forward(x).view(samples, places, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(q, k, v)
        return self.output(found.transpose(1, 2).reshape(samples, places, features))


class MeanOverTime(nn.Module):
    """The mean over all places of sequences (N, T, F)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def theirs(layer: Layer, shape: Shape, tuned: bool) -> nn.Module:
    """Return PyTorch's module for what takes an input of this shape."""
    match layer:
        case ("conv", filters, size, padding, stride, bias):
            return nn.Conv2d(shape[0], filters, size, stride, padding, bias=bias)
        case ("larger", filters, size, stride, padding, more, bias):
            return nn.ConvTranspose2d(shape[0], filters, size, stride, padding, more, bias=bias)
        case ("dense", width):
            return nn.Linear(shape[-1], width)
        case ("norm",):
            return nn.BatchNorm2d(shape[0], eps=1e-5, momentum=0.1)
        case ("maxpool", size, stride):
            return nn.MaxPool2d(size, stride)
        case ("dropout", keep):
            return nn.Dropout(1 - keep)
        case ("reshape", wanted):
            return nn.Unflatten(1, wanted)
        case ("residual" | "branches", *_):
            ways = {name: sequence(row, shape, tuned) for name, row in rows_of(layer).items()}
            return Residual(**ways) if layer[0] == "residual" else Branches(ways.values())
    plain = {"relu": nn.ReLU, "gelu": nn.GELU, "flatten": nn.Flatten, "mean": MeanOverTime, "average": _average}
    return plain[layer[0]]() if layer[0] in plain else _over_time(layer, shape, tuned)


def _over_time(layer: Layer, shape: Shape, tuned: bool) -> nn.Module:
    """Return the module for a layer that takes a sequence."""
    features = shape[1]
    match layer:
        case ("lstm", units):
            return LastOfLSTM(features, units, batch_first=not tuned)
        case ("gru", units):
            return LastOfGRU(features, units, batch_first=not tuned)
        case ("layernorm",):
            return nn.LayerNorm(features)
        case ("attention", heads):
            return Attention(features, heads)
        case ("conv1d", filters, width):
            one = nn.Conv2d(features, filters, (1, width), padding="same")
            return one if tuned else nn.Conv1d(features, filters, width, padding="same")
        case ("maxpool1d", size):
            return nn.MaxPool2d((1, size)) if tuned else nn.MaxPool1d(size)
        case ("average1d",):
            return _average() if tuned else nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten())
    raise NotImplementedError(f"no module for {layer[0]}")


def _average() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def sequence(layers: Sequence[Layer], shape: Shape, tuned: bool) -> nn.Sequential:
    return nn.Sequential(*(theirs(layer, entering, tuned) for layer, entering, _ in walked(layers, shape)))


def load(net: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Copy the common weights into PyTorch's layouts."""
    state = net.state_dict()
    for name, array in state.items():
        if "bias_hh" in name:
            array.zero_()
    for name, array in arrays.items():
        place, _, kind = name.rpartition(".")
        target = next(state[f"{place}.{one}"] for one in NAMES[kind] if f"{place}.{one}" in state)
        turned = array.transpose({4: (3, 2, 0, 1), 3: (2, 1, 0), 2: (1, 0), 1: (0,)}[array.ndim])
        target = target[-len(turned) :]  # less than all of it for "recurrent_bias"
        target.copy_(torch.from_numpy(turned.copy()).reshape(target.shape))


def entering(x: np.ndarray, layers: Sequence[Layer], tuned: bool) -> Tensor:
    """Return samples, or targets like them, in the layout that the network's first layer wants."""
    tensor = torch.from_numpy(x)
    if layers[0][0] == "conv1d":
        tensor = tensor.transpose(1, 2).contiguous()
        tensor = tensor.unsqueeze(2) if tuned else tensor
    if tuned and layers[0][0] in ("lstm", "gru"):
        tensor = tensor.transpose(0, 1).contiguous()
    return tensor.contiguous(memory_format=torch.channels_last) if tuned and tensor.ndim == 4 else tensor
