"""Changes of single samples, drawn anew each epoch, so that a network meets more pictures than there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gedanken.checks import real, require
from gedanken.data.changes import PictureTransform, Transform, is_numbers, kind_of, parts_of, with_new
from gedanken.data.moves import Crop, Cutout, Flip, Rotate, Translate
from gedanken.errors import DataError
from gedanken.types import Array

__all__ = [
    "Crop",
    "Cutout",
    "Flip",
    "MixUp",
    "Normalise",
    "PictureTransform",
    "Rotate",
    "Transform",
    "Translate",
]


@dataclass(frozen=True, eq=False, repr=False)
class Normalise(PictureTransform):
    """Bring the picture's channels to a common scale; nothing is random.

        y[c, i, j] = (x[c, i, j] - mean[c]) / std[c]

    Args:
        mean: what is subtracted, a number or one for each channel.
        std: what the difference is divided by, > 0, a number or one for each channel.
        key, channels: as of `PictureTransform`.

    Shapes:
        x, y: (C, H, W) or (H, W), which has one channel. y is float64 where x is, else float32.

    Raises:
        DataError: the picture has another number of channels (when called).
    """

    mean: float | Sequence[float] | Array
    std: float | Sequence[float] | Array

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, interval in (("mean", "(-inf, inf)"), ("std", "(0, inf)")):
            value = value.tolist() if isinstance(value := getattr(self, name), np.ndarray) else value
            several = isinstance(value, (tuple, list))
            require(not several or len(value) > 0, f"Normalise {name}", "be a number or one for each channel", value)
            numbers = tuple(real(f"Normalise {name}", each, interval) for each in (value if several else (value,)))
            object.__setattr__(self, name, numbers if several else numbers[0])

    def change(self, rng: "np.random.Generator", picture: Array) -> Array:
        channels = picture.reshape(-1, *picture.shape[-2:])
        dtype = np.float64 if picture.dtype.kind == "f" and picture.dtype.itemsize > 4 else np.float32
        mean, std = self._for_each("mean", channels), self._for_each("std", channels)
        work = np.float64 if (abs(mean) > 16 * std).any() else np.result_type(dtype, picture)  # for the digits
        y = np.subtract(channels, mean, dtype=work, casting="unsafe") / std.astype(work)
        return y.astype(dtype, copy=False).reshape(picture.shape)

    def _for_each(self, name: str, channels: Array) -> Array:
        values = np.array(getattr(self, name), np.float64).reshape(-1, 1, 1)
        if isinstance(getattr(self, name), tuple) and len(values) != len(channels):
            rule = f"Normalise needs a picture of {len(values)} channels, one for each {name}"
            raise DataError(f"{rule}, got {len(channels)} channels of {channels.shape[1:]}")
        return values


@dataclass(frozen=True, eq=False, repr=False)
class MixUp(Transform):
    """Mix every sample of a mini-batch with another one, and their targets in the same way.

        y[n] = k * x[n] + (1 - k) * x[p(n)],    k from Beta(alpha, alpha) and p a random order, one for all entries

    Args:
        alpha: > 0; near 0 one of the two nearly always wins, at 1 every share is as likely.

    Shapes:
        x, y: (N, ...), every entry of the mini-batch, floating numbers.

    Raises:
        DataError: an entry is no such array, or has another number of samples (when called).

    Source:
        Zhang et al. 2018, arXiv:1710.09412, section 2, with one k for the mini-batch as in their program.
    """

    on_mini_batches: ClassVar[bool] = True

    alpha: float = 0.2

    def __post_init__(self) -> None:
        real("MixUp alpha", self.alpha, "(0, inf)")

    def __call__(self, rng: "np.random.Generator", item: Any) -> Any:
        parts = parts_of(item)
        samples = self._samples(parts)
        share, order = float(rng.beta(self.alpha, self.alpha)), rng.permutation(samples)
        return with_new(item, {place: self._mixed(value, share, order) for place, value in parts.items()})

    def _samples(self, parts: Mapping[Any, Any]) -> int:
        for place, value in parts.items():
            if not is_numbers(value, "f") or not value.ndim:
                raise DataError(
                    f"MixUp needs floating numbers with a first axis of samples, got entry {place!r}: "
                    f"{kind_of(value)}; class numbers must become one-hot rows: "
                    "np.eye(classes, dtype=np.float32)[labels]"
                )
        lengths = {place: len(value) for place, value in parts.items()}
        if len(set(lengths.values())) != 1:
            raise DataError(f"MixUp needs entries with the same number of samples, got samples by entry: {lengths}")
        return next(iter(lengths.values()))

    @staticmethod
    def _mixed(value: Array, share: float, order: Array) -> Array:
        mixed = value.take(order, axis=0)
        mixed *= 1 - share
        mixed += share * value
        return mixed
