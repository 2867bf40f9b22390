"""A cost of the user's own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gedanken.checks import require
from gedanken.costs.base import Cost
from gedanken.errors import ShapeError
from gedanken.ops import Ops
from gedanken.types import Array, Shape


@dataclass(frozen=True, eq=False, repr=False)
class CustomCost(Cost):
    """A cost given by two functions of your own.

        cost = mean over n of function(y, t)[n],   dy[n] = derivative(y, t)[n] / N

    Args:
        function: (y, t) -> the cost of each sample, (N,).
        derivative: (y, t) -> the derivative of each sample's cost with respect to its outputs, shaped like y.

    Shapes:
        y, t: (N, ...), arrays of the device that the network runs on; t as given to `fit`, but images are
            (N, H, W, C).

    Raises:
        ShapeError: a function returns another shape, or what it gives for a sample depends on the others, as it does
            where targets (N,) are broadcast beside outputs (N, 1) (before the first mini-batch).

    Source:
        none, it is yours.
    """

    function: Callable[[Any, Any], Any]
    derivative: Callable[[Any, Any], Any]

    def __post_init__(self) -> None:
        require(callable(self.function), "CustomCost function", "be callable", self.function)
        require(callable(self.derivative), "CustomCost derivative", "be callable", self.derivative)

    def __call__(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        costs, slopes = self.function(y, target), self.derivative(y, target)
        got = (getattr(costs, "shape", ()), getattr(slopes, "shape", ()))
        if got != ((len(y),), y.shape):
            rule = f"CustomCost must give costs of shape {(len(y),)} and derivatives of shape {y.shape}"
            apart = f"NumPy broadcasts outputs {y.shape} and labels {target.shape}; give labels of the outputs' shape"
            raise ShapeError(f"{rule}, got {got[0]} and {got[1]}", "" if target.shape == y.shape else apart)
        for name, values in (("function", costs), ("derivative", slopes)):
            require(
                values.dtype.kind in "fiub", f"CustomCost {name}", "give real numbers", f"numbers of {values.dtype}"
            )
        return ops.mean(costs), slopes / len(y)

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        return target
