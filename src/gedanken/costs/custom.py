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
        function: (y, t) -> the cost of each sample, (N,); of outputs (N, T, F) it may be that of each place, (N, T).
        derivative: (y, t) -> the derivative of each cost with respect to its outputs, shaped like y.
        reduction: see Cost.

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
        super().__post_init__()
        require(callable(self.function), "CustomCost function", "be callable", self.function)
        require(callable(self.derivative), "CustomCost derivative", "be callable", self.derivative)

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        costs, slopes = self.function(y, target), self.derivative(y, target)
        got = (getattr(costs, "shape", ()), getattr(slopes, "shape", ()))
        shapes = [(len(y),), *([y.shape[:2]] if y.ndim == 3 else [])]
        if got[0] not in shapes or got[1] != y.shape:
            wanted = " or ".join(map(str, shapes))
            rule = f"CustomCost must give costs of shape {wanted} and derivatives of shape {y.shape}"
            apart = f"NumPy broadcasts outputs {y.shape} and labels {target.shape}; give labels of the outputs' shape"
            raise ShapeError(f"{rule}, got {got[0]} and {got[1]}", "" if target.shape == y.shape else apart)
        for name, values in (("function", costs), ("derivative", slopes)):
            require(
                values.dtype.kind in "fiub", f"CustomCost {name}", "give real numbers", f"numbers of {values.dtype}"
            )
        return costs, slopes

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        return target
