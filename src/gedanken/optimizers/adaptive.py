"""Rules that divide by the root of squared gradients."""

from dataclasses import dataclass

from gedanken.checks import real, truth
from gedanken.ops import Ops
from gedanken.optimizers.base import Decoupling
from gedanken.schedules import Schedule
from gedanken.types import Array, Arrays


@dataclass(frozen=True, eq=False, repr=False)
class AdaGrad(Decoupling):
    """Divide each parameter's rate by the root of all its squared gradients so far.

        h += g**2,      h = start before the first step
        p -= rate / (1 + rate_decay * step) * g / (sqrt(h) + epsilon)

    Args:
        learning_rate: > 0, or a Schedule.
        epsilon: keeps the quotient finite, > 0, in units of g.
        start: first value of h, >= 0, in units of g**2.
        rate_decay: how fast the rate falls beside that, >= 0.
        weight_decay, decayed: strength of the L2 penalty, a part of g, >= 0, and what it applies to; see SGD.
        decoupled: whether weight decay stands beside the step instead, as in AdamW.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Duchi, Hazan & Singer 2011, "Adaptive subgradient methods", figure 1 with diagonal matrices. Differs:
        `start` and `rate_decay`, as in PyTorch.
    """

    learning_rate: float | Schedule = 0.01
    epsilon: float = 1e-10
    start: float = 0.0
    rate_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real("AdaGrad epsilon", self.epsilon, "(0, inf)")
        real("AdaGrad start", self.start, "[0, inf)")
        real("AdaGrad rate_decay", self.rate_decay, "[0, inf)")

    @property
    def lazy(self) -> bool:
        return type(self) is AdaGrad and self.takes_gradients_as_they_are and not self.touches_all

    def slots(self) -> tuple[str, ...]:
        return ("squares",)

    def numbers(self, step: int) -> dict[str, float]:
        return {"rate": 1 / (1 + self.rate_decay * step)}

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        rate *= self.numbers(step)["rate"]
        h, g = slots["squares"], self.pulled(rate, p, g)  # h less its first value, since slots begin at 0
        h += g * g
        p -= rate * g / (ops.xp.sqrt(h + self.start) + self.epsilon)


@dataclass(frozen=True, eq=False, repr=False)
class RMSProp(Decoupling):
    """Divide each parameter's rate by the root of a moving mean of its squared gradients.

        h = decay * h + (1 - decay) * g**2
        v = momentum * v - rate * g / (sqrt(h) + epsilon)
        p += v

    centred: h - m**2 in place of h, the variance of g, with the moving mean m = decay * m + (1 - decay) * g.

    Args:
        learning_rate: > 0, or a Schedule.
        decay: fraction of the moving means kept, in [0, 1).
        epsilon: keeps the quotient finite, > 0, in units of g.
        momentum: fraction of the velocity v kept, in [0, 1).
        centred: whether to divide by the root of the variance instead of the mean square.
        weight_decay, decayed: strength of the L2 penalty, a part of g, >= 0, and what it applies to; see SGD.
        decoupled: whether weight decay stands beside the step instead, as in AdamW.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Tieleman & Hinton 2012, "Neural networks for machine learning", lecture 6.5. Differs: epsilon added.
        Centred, and with momentum: Graves 2013, arXiv:1308.0850, equations 38 to 41. Differs: epsilon outside the root.
    """

    learning_rate: float | Schedule = 0.001
    decay: float = 0.9
    epsilon: float = 1e-8
    momentum: float = 0.0
    centred: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        real("RMSProp decay", self.decay, "[0, 1)")
        real("RMSProp epsilon", self.epsilon, "(0, inf)")
        real("RMSProp momentum", self.momentum, "[0, 1)")
        truth("RMSProp centred", self.centred)

    def slots(self) -> tuple[str, ...]:
        return ("squares", *(["mean"] if self.centred else []), *(["velocity"] if self.momentum else []))

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        h, g, rest = slots["squares"], self.pulled(rate, p, g), 1 - self.decay
        if self.centred:  # h is the variance itself: two large numbers' difference would have few digits
            off = g - slots["mean"]
            ops.move(h, self.decay, (self.decay * rest * off) * off)
            ops.move(slots["mean"], self.decay, rest * g)
        else:
            ops.move(h, self.decay, rest * g * g)
        change = -rate * g / (ops.xp.sqrt(h) + self.epsilon)
        p += ops.move(slots["velocity"], self.momentum, change) if self.momentum else change


@dataclass(frozen=True, eq=False, repr=False)
class AdaDelta(Decoupling):
    """Step by the size of earlier steps, so that steps have the units of the parameters.

        h = decay * h + (1 - decay) * g**2
        change = sqrt(c + epsilon) / sqrt(h + epsilon) * g
        c = decay * c + (1 - decay) * change**2
        p -= rate * change

    Args:
        learning_rate: > 0, or a Schedule; 1 is the paper's rule.
        decay: fraction of the moving means kept, in [0, 1).
        epsilon: lets the first step begin, and keeps the quotient finite, > 0, in units of g**2.
        weight_decay, decayed: strength of the L2 penalty, a part of g, >= 0, and what it applies to; see SGD.
        decoupled: whether weight decay stands beside the step instead, as in AdamW.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Zeiler 2012, arXiv:1212.5701, algorithm 1. Differs: a learning rate.
    """

    learning_rate: float | Schedule = 1.0
    decay: float = 0.9
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        real("AdaDelta decay", self.decay, "[0, 1)")
        real("AdaDelta epsilon", self.epsilon, "(0, inf)")

    def slots(self) -> tuple[str, ...]:
        return ("squares", "changes")

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        h, c, g, xp = slots["squares"], slots["changes"], self.pulled(rate, p, g), ops.xp
        ops.move(h, self.decay, (1 - self.decay) * g * g)
        change = xp.sqrt(c + self.epsilon) / xp.sqrt(h + self.epsilon) * g
        ops.move(c, self.decay, (1 - self.decay) * change * change)
        p -= rate * change
