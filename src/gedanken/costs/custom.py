"""A cost of the user's own."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from gedanken.checks import require, required_arguments
from gedanken.costs.base import Cost
from gedanken.derivatives import traced
from gedanken.errors import ShapeError
from gedanken.ops import Ops
from gedanken.types import Array, Shape

TAKES = "take (y, t) or (xp, y, t)"


@dataclass(frozen=True, eq=False, repr=False)
class CustomCost(Cost):
    """A cost given by a function of your own, or by two of them.

        cost = mean over n of function(y, t)[n],   dy[n] = derivative(y, t)[n] / N

    Args:
        function: (y, t) or (xp, y, t) -> the cost of each sample, (N,); of outputs (N, T, F) it may be that of each
            place, (N, T). Without a derivative it computes with functions of `xp`, which is then autograd's form of
            NumPy, and with operators; it builds arrays and does not write into them. Else `xp` is NumPy or CuPy.
        derivative: (y, t) or (xp, y, t) -> the derivative of each cost with respect to its outputs, shaped like y; None
            is found by autograd, on a GPU by way of the host.
        reduction: see Cost.

    Shapes:
        y, t: (N, ...), arrays of the device that the network runs on; t as given to `fit`, but images are
            (N, H, W, C).

    Raises:
        ShapeError: a function returns another shape, or what it gives for a sample depends on the others, as it does
            where targets (N,) are broadcast beside outputs (N, 1) (before the first mini-batch).
        GradientError: `derivative` is another one than differences give; or what autograd finds is not the derivative,
            or it finds none (before the first mini-batch).
        MissingPackageError: there is no derivative, and autograd is not installed (before the first mini-batch).

    Source:
        none, it is yours; Maclaurin, Duvenaud & Adams 2015, "Autograd: Effortless gradients in Numpy" (the derivative).
    """

    of_functions: ClassVar[bool] = True

    function: Callable[..., Any]
    derivative: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(callable(self.function), "CustomCost function", "be callable", self.function)
        require(
            self.derivative is None or callable(self.derivative),
            "CustomCost derivative",
            "be callable",
            self.derivative,
        )
        for name, call in (("function", self.function), ("derivative", self.derivative)):
            require(call is None or required_arguments(call) in (0, 2, 3), f"CustomCost {name}", TAKES, call)

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        if self.derivative is None:
            costs, slopes = self._derived(ops, y, target)
        else:
            costs, slopes = (self._called(name, ops.xp, y, target) for name in ("function", "derivative"))
        self._check_shapes(costs, slopes, y, target)
        for name, values in (("function", costs), ("derivative", slopes)):
            require(
                values.dtype.kind in "fiub", f"CustomCost {name}", "give real numbers", f"numbers of {values.dtype}"
            )
        return costs, slopes

    def _derived(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        """Return costs, and the slopes of their sum: those of each, since it goes by its own outputs alone."""
        labels = ops.to_host(target)
        costs, back = traced("CustomCost function", ops, lambda xp, y: self._called("function", xp, y, labels), [y])
        (slopes,) = back(ops.xp.ones_like(costs))
        return costs, slopes

    def _called(self, name: str, xp: Any, y: Any, target: Any) -> Any:
        call = getattr(self, name)
        return call(xp, y, target) if name in self._over_xp else call(y, target)

    @cached_property
    def _over_xp(self) -> tuple[str, ...]:
        """Which of the two functions take the array module."""
        given = {"function": self.function, "derivative": self.derivative}
        return tuple(name for name, call in given.items() if call and required_arguments(call) == 3)

    def _check_shapes(self, costs: Any, slopes: Any, y: Array, target: Array) -> None:
        got = (getattr(costs, "shape", ()), getattr(slopes, "shape", ()))
        shapes = [(len(y),), *([y.shape[:2]] if y.ndim == 3 else [])]
        if got[0] not in shapes or got[1] != y.shape:
            wanted = " or ".join(map(str, shapes))
            rule = f"CustomCost must give costs of shape {wanted} and derivatives of shape {y.shape}"
            apart = f"NumPy broadcasts outputs {y.shape} and labels {target.shape}; give labels of the outputs' shape"
            raise ShapeError(f"{rule}, got {got[0]} and {got[1]}", "" if target.shape == y.shape else apart)

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        return target
