"""What every optimizer is, and weight decay."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from gedanken.checks import is_list, real, require, truth, whole
from gedanken.hyperparameters import Hyperparameters
from gedanken.ops import Ops
from gedanken.schedules import Schedule
from gedanken.types import Array, Arrays, Shape

PATTERNS = 'a list of patterns of names such as ("*.kernel",)'


@dataclass(frozen=True, eq=False, repr=False)
class Optimizer(Hyperparameters, ABC):
    """A rule, its learning rate, and what is done to a gradient before the rule.

    Args:
        learning_rate: a number > 0, or a Schedule of the number of updates.
        clip_norm: a gradient longer than this (over all parameters together) is shortened to it; > 0 or None.
        clip_value: every value of a gradient is cut to [-clip_value, clip_value]; > 0 or None. Comes before clip_norm.
        accumulate: mini-batches whose gradients make one update, at least 1. Their mean is weighted by their sizes,
            and what is left at the end of an epoch makes an update too.
    """

    learning_rate: float | Schedule
    _: KW_ONLY
    clip_norm: float | None = None
    clip_value: float | None = None
    accumulate: int = 1

    def __post_init__(self) -> None:
        name = type(self).__name__
        if not isinstance(self.learning_rate, Schedule):
            real(f"{name} learning_rate", self.learning_rate, "(0, inf)")
        if self.clip_norm is not None:
            real(f"{name} clip_norm", self.clip_norm, "(0, inf)")
        if self.clip_value is not None:
            real(f"{name} clip_value", self.clip_value, "(0, inf)")
        whole(f"{name} accumulate", self.accumulate)

    def slots(self) -> tuple[str, ...]:
        """Return the names of the vectors, zero at first, that the rule keeps beside the parameters."""
        return ()

    @property
    def lazy(self) -> bool:
        """Whether an update by a gradient of 0 changes neither a parameter nor its slots.

        Then of a matrix of which a step touches few rows only these are updated, with the same result.
        """
        return False

    @abstractmethod
    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        """Change the parameters, and the slots, in place.

        Args:
            rate: learning rate of this update.
            step: number of this update, counted from 0.
            p, g, slots: vectors of one length, or matrices of one shape, see takes_matrix and by_array.
        """

    def decays(self, name: str, declared: bool) -> bool:
        """Return whether weight decay applies to a parameter.

        Args:
            name: such as "0.kernel".
            declared: what its layer says, Param(decay=...): True for kernels.
        """
        return declared

    @property
    def patterns(self) -> dict[str, Sequence[str]]:
        """Patterns of parameters' names that the rule was given, by argument; each must name one of the network."""
        return {}

    def takes_matrix(self, name: str, shape: Shape) -> bool:
        """Return whether `update` gets a parameter by itself, with its gradient and slots, as a matrix (I, O).

        Args:
            name: such as "0.kernel".
            shape: (..., O), with at least two axes; all but the last become one. In kernels the last is the outputs.
        """
        return False

    @property
    def by_array(self) -> bool:
        """Whether `update` gets each array of parameters by itself: one with two axes or more as a matrix (I, O)."""
        return False

    @property
    def takes_gradients_as_they_are(self) -> bool:
        return self.clip_norm is None and self.clip_value is None and self.accumulate == 1

    def without_decay(self) -> "Optimizer":
        """Return the rule for parameters that weight decay does not apply to."""
        return self


@dataclass(frozen=True, eq=False, repr=False)
class Decaying(Optimizer):
    """An optimizer with weight decay.

    Args:
        weight_decay: its strength, >= 0.
        decayed: which parameters it applies to: "kernels" (those of convolutions, fully connected layers and others
            that say so, Param(decay=True)), "all", or a list of patterns of names such as ("0.*", "*.kernel").
    """

    _: KW_ONLY
    weight_decay: float = 0.0
    decayed: str | Sequence[str] = "kernels"

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        real(f"{name} weight_decay", self.weight_decay, "[0, inf)")
        if is_list(self.decayed) and len(self.decayed):
            object.__setattr__(self, "decayed", checked_patterns(f"{name} decayed", self.decayed))
        else:
            plain = isinstance(self.decayed, str) and self.decayed in ("kernels", "all")
            require(plain, f"{name} decayed", f'be "kernels", "all" or {PATTERNS}', self.decayed)

    @property
    def patterns(self) -> dict[str, Sequence[str]]:
        return {} if isinstance(self.decayed, str) else {"decayed": self.decayed}

    @property
    def decoupled(self) -> bool:
        """Whether weight decay stands beside the rule's step, instead of in the gradient."""
        return False

    @property
    def touches_all(self) -> bool:
        """Whether weight decay may apply to parameters that layers do not declare for it."""
        return self.weight_decay > 0 and self.decayed != "kernels"

    def decays(self, name: str, declared: bool) -> bool:
        if isinstance(self.decayed, str):
            return declared or self.decayed == "all"
        return any(fnmatchcase(name, pattern) for pattern in self.decayed)

    def numbers(self, step: int) -> dict[str, float]:
        """Return the rule's numbers that depend on the step; "rate" is what the learning rate is multiplied by."""
        return {}

    def penalised(self, p: Array, g: Array) -> Array:
        """Return the gradient of cost and L2 penalty together; or a step, and the weight decay beside it."""
        return g + self.weight_decay * p if self.weight_decay else g

    def without_decay(self) -> Optimizer:
        return replace(self, weight_decay=0.0)


@dataclass(frozen=True, eq=False, repr=False)
class Decoupling(Decaying):
    """An optimizer whose weight decay stands in the gradient or, if asked for, beside the step.

    Args:
        decoupled: whether an update takes rate * weight_decay of a parameter away by itself, as in AdamW.
    """

    _: KW_ONLY
    decoupled: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        truth(f"{type(self).__name__} decoupled", self.decoupled)

    def pulled(self, rate: float, p: Array, g: Array) -> Array:
        """Take away from the parameters what decays beside the step, and return the gradient that the rule sees."""
        if not self.decoupled:
            return self.penalised(p, g)
        if self.weight_decay:
            p -= rate * self.weight_decay * p
        return g


def checked_patterns(argument: str, patterns: Any) -> tuple[str, ...]:
    """Return patterns of the names of parameters as a tuple."""
    right = is_list(patterns) and all(isinstance(one, str) and one for one in patterns)
    require(right, argument, f"be {PATTERNS}", patterns)
    return tuple(map(str, patterns))
