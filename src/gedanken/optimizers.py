"""Optimizers: rules that turn a gradient into a change of the parameters, in place, on flat vectors."""

import math
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass, replace

from gedanken.checks import real, whole
from gedanken.hyperparameters import Hyperparameters
from gedanken.ops import Ops
from gedanken.schedules import Schedule
from gedanken.types import Array, Arrays


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
            p, g, slots: vectors of one length.
        """

    @property
    def _takes_gradients_as_they_are(self) -> bool:
        return self.clip_norm is None and self.clip_value is None and self.accumulate == 1

    def without_decay(self) -> "Optimizer":
        """Return the rule for parameters that weight decay does not apply to."""
        return self


@dataclass(frozen=True, eq=False, repr=False)
class _Decaying(Optimizer):
    """An optimizer with weight decay."""

    _: KW_ONLY
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real(f"{type(self).__name__} weight_decay", self.weight_decay, "[0, inf)")

    def without_decay(self) -> Optimizer:
        return replace(self, weight_decay=0.0)


@dataclass(frozen=True, eq=False, repr=False)
class SGD(_Decaying):
    """Step against the gradient.

        p -= rate * (g + weight_decay * p)

    Args:
        learning_rate: > 0, or a Schedule.
        weight_decay: strength of the L2 penalty weight_decay / 2 * |kernel|**2, >= 0; kernels only.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Robbins & Monro 1951, "A stochastic approximation method".
    """

    learning_rate: float | Schedule = 0.01

    @property
    def lazy(self) -> bool:
        return type(self) is SGD and self._takes_gradients_as_they_are

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        p -= rate * (g + self.weight_decay * p)


@dataclass(frozen=True, eq=False, repr=False)
class Momentum(_Decaying):
    """Step with a velocity that remembers earlier gradients.

        v = momentum * v - rate * (g + weight_decay * p)
        p += v

    Args:
        learning_rate: > 0, or a Schedule.
        momentum: fraction of the velocity kept, in [0, 1).
        weight_decay: strength of the L2 penalty, >= 0; see SGD.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Polyak 1964, "Some methods of speeding up the convergence of iteration methods", equation 9.
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        real(f"{type(self).__name__} momentum", self.momentum, "[0, 1)")

    def slots(self) -> tuple[str, ...]:
        return ("velocity",)

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        v = slots["velocity"]
        ops.move(v, self.momentum, -rate * (g + self.weight_decay * p))
        p += v


class Nesterov(Momentum):
    """Momentum whose gradient is taken where the velocity leads.

        v = momentum * v - rate * (g + weight_decay * p)
        p += momentum * v - rate * (g + weight_decay * p)

    Args:
        learning_rate: > 0, or a Schedule.
        momentum: fraction of the velocity kept, in [0, 1).
        weight_decay: strength of the L2 penalty, >= 0; see SGD.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning", equations 3 and 4,
        written for the point that the velocity leads to (Bengio et al. 2012, arXiv:1212.0901, equation 7).
    """

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        v = slots["velocity"]
        change = rate * (g + self.weight_decay * p)
        ops.move(v, self.momentum, -change)
        p += self.momentum * v - change


@dataclass(frozen=True, eq=False, repr=False)
class AdaGrad(Optimizer):
    """Divide each parameter's rate by the root of all its squared gradients so far.

        h += g**2
        p -= rate * g / (sqrt(h) + epsilon)

    Args:
        learning_rate: > 0, or a Schedule.
        epsilon: keeps the quotient finite, > 0, in units of g.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Duchi, Hazan & Singer 2011, "Adaptive subgradient methods", figure 1 with diagonal matrices.
    """

    learning_rate: float | Schedule = 0.01
    epsilon: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        real("AdaGrad epsilon", self.epsilon, "(0, inf)")

    @property
    def lazy(self) -> bool:
        return type(self) is AdaGrad and self._takes_gradients_as_they_are

    def slots(self) -> tuple[str, ...]:
        return ("squares",)

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        h = slots["squares"]
        h += g * g
        p -= rate * g / (ops.xp.sqrt(h) + self.epsilon)


@dataclass(frozen=True, eq=False, repr=False)
class RMSProp(Optimizer):
    """Divide each parameter's rate by the root of a moving mean of its squared gradients.

        h = decay * h + (1 - decay) * g**2
        p -= rate * g / (sqrt(h) + epsilon)

    Args:
        learning_rate: > 0, or a Schedule.
        decay: fraction of the moving mean kept, in [0, 1).
        epsilon: keeps the quotient finite, > 0, in units of g.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Tieleman & Hinton 2012, "Neural networks for machine learning", lecture 6.5. Differs: epsilon added.
    """

    learning_rate: float | Schedule = 0.001
    decay: float = 0.9
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        real("RMSProp decay", self.decay, "[0, 1)")
        real("RMSProp epsilon", self.epsilon, "(0, inf)")

    def slots(self) -> tuple[str, ...]:
        return ("squares",)

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        h = slots["squares"]
        ops.move(h, self.decay, (1 - self.decay) * g * g)
        p -= rate * g / (ops.xp.sqrt(h) + self.epsilon)


@dataclass(frozen=True, eq=False, repr=False)
class Adam(Optimizer):
    """Step along a moving mean of the gradient, divided by the root of a moving mean of its square.

        m = beta1 * m + (1 - beta1) * g,      v = beta2 * v + (1 - beta2) * g**2
        p -= rate * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + epsilon),      t = step + 1

    Args:
        learning_rate: > 0, or a Schedule.
        beta1, beta2: fractions of the moving means kept, in [0, 1).
        epsilon: keeps the quotient finite, > 0, in units of g.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Kingma & Ba 2014, arXiv:1412.6980, algorithm 1.
    """

    learning_rate: float | Schedule = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_betas(self, self.beta1, self.beta2)
        real("Adam epsilon", self.epsilon, "(0, inf)")

    def slots(self) -> tuple[str, ...]:
        return ("mean", "square")

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        p -= rate * _adam_direction(ops, self, step, g, slots)


@dataclass(frozen=True, eq=False, repr=False)
class AdamW(_Decaying):
    """Adam with weight decay beside the gradient instead of in it.

        p -= rate * (Adam's step + weight_decay * p)

    Args:
        learning_rate: > 0, or a Schedule.
        beta1, beta2: fractions of the moving means kept, in [0, 1).
        epsilon: keeps the quotient finite, > 0, in units of g.
        weight_decay: fraction of a kernel that an update at rate 1 removes, >= 0; biases and normalisations lose none.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Loshchilov & Hutter 2017, arXiv:1711.05101, algorithm 2.
    """

    learning_rate: float | Schedule = 0.001
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_betas(self, self.beta1, self.beta2)
        real("AdamW epsilon", self.epsilon, "(0, inf)")

    def slots(self) -> tuple[str, ...]:
        return ("mean", "square")

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        p -= rate * (_adam_direction(ops, self, step, g, slots) + self.weight_decay * p)


@dataclass(frozen=True, eq=False, repr=False)
class Lion(_Decaying):
    """Step by the sign of a moving mean of the gradient.

        c = beta1 * m + (1 - beta1) * g
        p -= rate * (sign(c) + weight_decay * p)
        m = beta2 * m + (1 - beta2) * g

    Args:
        learning_rate: > 0, or a Schedule; the paper advises a third to a tenth of Adam's.
        beta1, beta2: fractions of the moving mean kept, in [0, 1).
        weight_decay: fraction of a kernel that an update at rate 1 removes, >= 0; biases and normalisations lose none.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Chen et al. 2023, arXiv:2302.06675, algorithm 2.
    """

    learning_rate: float | Schedule = 0.0001
    beta1: float = 0.9
    beta2: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_betas(self, self.beta1, self.beta2)

    def slots(self) -> tuple[str, ...]:
        return ("mean",)

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        m = slots["mean"]
        ahead = ops.move(m.copy(), self.beta1, (1 - self.beta1) * g)
        p -= rate * (ops.xp.sign(ahead) + self.weight_decay * p)
        ops.move(m, self.beta2, (1 - self.beta2) * g)


def _check_betas(optimizer: Optimizer, beta1: float, beta2: float) -> None:
    real(f"{type(optimizer).__name__} beta1", beta1, "[0, 1)")
    real(f"{type(optimizer).__name__} beta2", beta2, "[0, 1)")


def _adam_direction(ops: Ops, rule: Adam | AdamW, step: int, g: Array, slots: Arrays) -> Array:
    m, v = slots["mean"], slots["square"]
    ops.move(m, rule.beta1, (1 - rule.beta1) * g)
    ops.move(v, rule.beta2, (1 - rule.beta2) * g * g)
    share1, share2 = seen_share(rule.beta1, step + 1), seen_share(rule.beta2, step + 1)
    return m / share1 / (ops.xp.sqrt(v / share2) + rule.epsilon)


def seen_share(kept: float, steps: int) -> float:
    """Return 1 - kept**steps; small ones keep their digits."""
    return 1 - kept**steps if kept < 0.5 else -math.expm1(steps * math.log(kept))
