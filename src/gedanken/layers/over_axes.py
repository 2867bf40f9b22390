"""What takes some axes of a sample together: normalisations, SoftMax, GLU."""

from typing import Any

from gedanken.checks import is_list, require, whole
from gedanken.errors import ShapeError
from gedanken.layers.base import ByPlace, Layer
from gedanken.types import Array, Shape


class OverAxes(ByPlace):
    """What works over the axes of a sample that it names, counted as users see them, from 1; see Permute."""

    axes: int | tuple[int, ...] | None
    whole_pictures = True  # without `axes`: pictures as a whole, else each pixel

    def _check_axes(self) -> None:
        if self.axes is None:
            return
        name, listed = f"{type(self).__name__} axes", is_list(self.axes)
        given: Any = self.axes
        axes = tuple(whole(name, axis) for axis in (given if listed else [given]))
        require(len(axes) > 0 and len({*axes}) == len(axes), name, "be different axes, such as (1, 2)", self.axes)
        object.__setattr__(self, "axes", axes if listed else axes[0])

    def output_shape(self, shape: Shape) -> Shape:
        if not shape:
            raise ShapeError("needs a channel axis: (F,), (T, F) or (C, H, W)")
        if self._named and max(self._named) > len(shape):
            raise ShapeError(f"works over axis {max(self._named)} of samples that have {len(shape)}")
        return shape

    def output_lengths(self, shape: Shape, lengths: Array) -> Array | None:
        return Layer.output_lengths(self, shape, lengths) if 1 in self._named else lengths

    def may_be_cut(self, shape: Shape, places: int) -> bool:
        return 1 not in self._named

    @property
    def _named(self) -> tuple[int, ...]:
        if self.axes is None:
            return ()
        return (self.axes,) if isinstance(self.axes, int) else tuple(self.axes)

    def inside(self, shape: Shape) -> tuple[int, ...]:
        """Return the axes that it works over, of a sample as it is inside, counted from 0 and in order."""
        if self._named:
            places = (2, 0, 1) if len(shape) == 3 else tuple(range(len(shape)))  # of channels, height and width
            return tuple(sorted(places[axis - 1] for axis in self._named))
        return (0, 1, 2) if len(shape) == 3 and self.whole_pictures else (len(shape) - 1,)

    def of_channels(self, shape: Shape) -> bool:
        """Return whether it takes together the channels of each place or pixel, and nothing else."""
        return self.inside(shape) == (len(shape) - 1,)

    def param_axes(self, shape: Shape) -> tuple[int, ...]:
        return self.inside(shape) if self._named else (len(shape) - 1,)

    def _over(self, x: Array) -> tuple[int, ...]:
        return tuple(axis + 1 for axis in self.inside(x.shape[1:]))
