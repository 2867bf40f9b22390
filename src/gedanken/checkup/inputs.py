"""What is wrong with the samples: their scale, and numbers that say nothing."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gedanken.checkup.report import ERROR, NOTE, WARNING, Finding, finding
from gedanken.layers import Layer
from gedanken.layers.layer_norm import UnitNorm
from gedanken.layers.norm import Norm
from gedanken.sequences import Sequences, as_padded
from gedanken.sparse import SparseRows
from gedanken.types import Array

LARGE, SMALL = 10.0, 0.01  # of the root of the mean square
UNEVEN = 30.0  # mean over standard deviation
MANY = 0.5  # share of the columns
PIXELS = 64  # numbers of a flat picture, at least


class Columns(NamedTuple):
    """Figures of the columns of some samples: features, or channels of pictures.

    Shapes:
        each: (columns,).
    """

    mean: Array
    std: Array
    size: Array  # root of the mean square


def columns_of(x: Any) -> Columns:
    """Return the figures of the columns; of sparse rows one column, of the numbers that are kept."""
    if isinstance(x, SparseRows):
        _, _, values = x.listed()
        flat = values.astype("float64").reshape(-1, 1)
        flat = flat if len(flat) else np.zeros((1, 1))
    elif isinstance(x, Sequences):
        flat = x.values[x.real()].reshape(int(x.lengths.sum()), -1).astype("float64")
    elif x.ndim == 4:
        flat = x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1]).astype("float64")
    else:
        flat = x.reshape(-1, x.shape[-1] if x.ndim > 1 else 1).astype("float64")
    mean = flat.mean(axis=0)
    std = np.sqrt(np.square(flat - mean).mean(axis=0))
    return Columns(mean, std, np.hypot(mean, std))


def normalises(layer: Layer) -> bool:
    """Say whether a first layer brings any input to scale 1."""
    return isinstance(layer, (Norm, UnitNorm))


def scale(x: Any, told_as: str = "the input") -> Iterator[Finding]:
    """Yield what is wrong with the scale of inputs, which findings call `told_as`."""
    found = columns_of(x)
    worst = int(np.argmax(found.size))
    kind = "channel" if x.ndim == 4 else "column"
    place = "the numbers that are kept" if isinstance(x, SparseRows) else f"{kind} {worst}"
    told = f"{place} of {told_as}: mean {found.mean[worst]:.4g}, standard deviation {found.std[worst]:.4g}"
    if found.size[worst] > LARGE:
        large = int((found.size > LARGE).sum())
        more = f" ({large} of {len(found.size)} {kind}s are above {LARGE:g})" if len(found.size) > 1 else ""
        yield finding(
            "unscaled-input", WARNING, f"{told}{more}; networks learn badly from large numbers: {_remedy(x)}."
        )
        return
    if isinstance(x, SparseRows):
        return
    largest = float(abs(as_padded(x)).max())
    if 0 < largest < 10 * SMALL and math.sqrt(float(np.square(found.size).mean())) < SMALL:
        yield finding("unscaled-input", WARNING, f"{told}; networks learn slowly from small numbers: {_remedy(x)}.")
        return
    varies = found.std > 1e-7 * found.size
    uneven = np.where(varies, abs(found.mean), 0) > UNEVEN * found.std
    if uneven.any():
        one = int(np.argmax(uneven))
        told = f"{kind} {one} of {told_as}: mean {found.mean[one]:.4g}, standard deviation {found.std[one]:.4g}"
        why = "what differs between samples is little beside what is the same"
        yield finding("unscaled-input", WARNING, f"{told}; {why}: {_remedy(x)}.")


def _remedy(x: Any) -> str:
    if isinstance(x, SparseRows):
        return "divide each feature by its largest absolute value"
    x = as_padded(x)
    top = float(x.max())
    picture = x.ndim == 4 or math.prod(x.shape[1:]) >= PIXELS
    if picture and x.min() >= 0 and LARGE < top <= 255:
        return "use data / 255 as float32"
    return "use (data - mean) / std of each column, with mean and std of the training samples for validation, too"


def constants(x: Any, looked_at: int, told_as: str = "the input") -> Iterator[Finding]:
    """Yield what is said of inputs, called `told_as`, that are the same in all samples."""
    if isinstance(x, SparseRows) or looked_at < 2:
        return
    flat = as_padded(x).reshape(len(x), -1)
    same = (flat == flat[:1]).all(axis=0)
    count, numbers = int(same.sum()), flat.shape[1]
    if not count:
        return
    seen = f"in all {looked_at:,} samples that were looked at"
    if count == numbers:
        whose = "All samples are" if told_as == "the input" else f"Of all samples {told_as} is"
        yield finding("constant-input", ERROR, f"{whose} the same {seen}: nothing can be learnt from them.")
        return
    where = f"the first is number {int(np.argmax(same))}"
    severity = WARNING if count >= MANY * numbers and x.ndim == 2 else NOTE
    advice = "leave them out, or look at where they were lost" if severity == WARNING else "they say nothing"
    whose = "a sample" if told_as == "the input" else told_as
    told = f"{count:,} of the {numbers:,} numbers of {whose} are the same {seen} ({where}); {advice}."
    yield finding("constant-input", severity, told)
