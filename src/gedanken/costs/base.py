"""The contract of a cost."""

from abc import ABC, abstractmethod
from typing import ClassVar

from gedanken.errors import DataError
from gedanken.hyperparameters import Hyperparameters
from gedanken.ops import Ops
from gedanken.types import Array, Shape

LEAST = 1e-30  # probability: what is nearer to 0 counts as this, so that logarithms and their slopes are numbers


class Cost(Hyperparameters, ABC):
    """A cost is a pure function of outputs and targets that also gives its gradient."""

    classifies: ClassVar[bool] = False
    yes_above: ClassVar[float | None] = None  # of costs of yes-or-no outputs: an output above this is a yes

    @abstractmethod
    def __call__(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        """Return the mean cost of the mini-batch, a scalar, and its gradient with respect to y.

        Shapes:
            y, second result: (N, ...).   target: as `checked_target` returns it.
        """

    def check_output(self, shape: Shape) -> None:
        """Raise ShapeError unless outputs of `shape` (batch axis left out) suit this cost."""

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        """Return all targets of a data set in the form that `__call__` takes, or raise DataError.

        Args:
            argument: what the caller calls these targets, for the error.
            target: (N, ...), on the host, finite.
            shape: shape of one output, channels first, batch axis left out.
        """
        if target.shape[1:] == () and shape == (1,):
            target = target.reshape(-1, 1)
        if target.shape[1:] != shape:
            raise DataError(f"{argument} must have shape (N, {', '.join(map(str, shape))}), got {target.shape}")
        return target
