"""The library's own exceptions. Each message names the argument, the rule and the value."""

from typing import Any


class GedankenError(Exception):
    """Base of every exception that the library raises on purpose."""


class ArgumentError(GedankenError, ValueError):
    """An argument breaks its rule."""


class UnknownArgumentError(ArgumentError, TypeError):
    """A function or class was given an argument that it does not have, or not one that it needs."""


class ShapeError(ArgumentError):
    """A layer does not fit what it is given.

    Args:
        rule: what the layer needs, as the end of a sentence ("needs a flat input (F,)").
        hint: the likely fix, or nothing.
    """

    def __init__(self, rule: str, hint: str = "") -> None:
        super().__init__(f"{rule}; {hint}" if hint else rule)
        self.rule = rule
        self.hint = hint


class GradientError(ArgumentError):
    """The backward of a layer of the user's own is not the derivative of its forward, or a function has none."""


class DataError(ArgumentError):
    """An array of data or labels is not what the network was built for."""


class NonFiniteError(GedankenError, ArithmeticError):
    """A cost, gradient or running mean became not finite in a training, which ended; the network is of use.

    Attributes:
        fault: what it was, as a `Fault`.
        history: the training's `History` up to there.
    """

    def __init__(self, message: str, fault: Any = None, history: Any = None) -> None:
        super().__init__(message)
        self.fault, self.history = fault, history

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.fault, self.history)


class StateError(GedankenError, RuntimeError):
    """A call came before one that it needs."""


class EngineError(GedankenError, RuntimeError):
    """The asked-for engine cannot run on this machine."""


class DatasetError(GedankenError, OSError):
    """A data set could not be found, fetched or decoded."""


class CheckpointError(GedankenError):
    """A model file is damaged, foreign, or does not belong to this network."""


class MissingPackageError(GedankenError, ImportError):
    """An optional package is needed and not installed."""


class KernelError(GedankenError):
    """The text of a kernel is not of the kernels' language; the message begins with file and line."""


class WorkerError(GedankenError, RuntimeError):
    """A worker of a Generator died, hung, or could not start."""


class GedankenWarning(UserWarning):
    """Something is probably not what was meant; the work goes on."""
