"""Adam and its kin: a moving mean of the gradient, and one of its size."""

import math
from dataclasses import KW_ONLY, dataclass

from gedanken.checks import real, truth
from gedanken.ops import Ops
from gedanken.optimizers.base import Decaying, Decoupling
from gedanken.schedules import Schedule
from gedanken.types import Array, Arrays


@dataclass(frozen=True, eq=False, repr=False)
class Moments(Decaying):
    """A rule with moving means of the gradient and of its square."""

    learning_rate: float | Schedule = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        real(f"{name} beta1", self.beta1, "[0, 1)")
        real(f"{name} beta2", self.beta2, "[0, 1)")
        real(f"{name} epsilon", self.epsilon, "(0, inf)")

    def slots(self) -> tuple[str, ...]:
        return ("mean", "square")

    def numbers(self, step: int) -> dict[str, float]:
        """Return the shares of the moving means that were seen; by them they are divided."""
        return {"mean": seen_share(self.beta1, step + 1), "square": seen_share(self.beta2, step + 1)}

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        g = g if self.decoupled else self.penalised(p, g)
        ops.move(slots["mean"], self.beta1, (1 - self.beta1) * g)
        ops.move(slots["square"], self.beta2, (1 - self.beta2) * g * g)
        direction = self.direction(ops, self.numbers(step), g, slots)
        p -= rate * self.scaled(ops, p, self.penalised(p, direction) if self.decoupled else direction)

    def scaled(self, ops: Ops, p: Array, change: Array) -> Array:
        """Return a change of the parameters at rate 1 as long as the rule wants it."""
        return change

    def direction(self, ops: Ops, numbers: dict[str, float], g: Array, slots: Arrays) -> Array:
        """Return the step at rate 1, without weight decay: Adam's."""
        root = ops.xp.sqrt(slots["square"] / numbers["square"])
        return slots["mean"] / numbers["mean"] / (root + self.epsilon)


@dataclass(frozen=True, eq=False, repr=False)
class Adam(Moments):
    """Step along a moving mean of the gradient, divided by the root of a moving mean of its square.

        m = beta1 * m + (1 - beta1) * g,      v = beta2 * v + (1 - beta2) * g**2
        p -= rate * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + epsilon),      t = step + 1

    amsgrad: the largest v so far in place of v.

    Args:
        learning_rate: > 0, or a Schedule.
        beta1, beta2: fractions of the moving means kept, in [0, 1).
        epsilon: keeps the quotient finite, > 0, in units of g.
        amsgrad: whether a parameter's divisor may only grow.
        weight_decay, decayed: strength of the L2 penalty, a part of g, >= 0, and what it applies to; see SGD.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Kingma & Ba 2014, arXiv:1412.6980, algorithm 1. amsgrad: Reddi et al. 2018, "On the convergence of Adam
        and beyond", algorithm 2. Differs: with the corrections by 1 - beta**t, as in PyTorch.
    """

    amsgrad: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        truth(f"{type(self).__name__} amsgrad", self.amsgrad)

    def slots(self) -> tuple[str, ...]:
        return ("mean", "square", "highest") if self.amsgrad else ("mean", "square")

    def direction(self, ops: Ops, numbers: dict[str, float], g: Array, slots: Arrays) -> Array:
        if not self.amsgrad:
            return super().direction(ops, numbers, g, slots)
        highest = slots["highest"]
        highest[...] = ops.xp.maximum(highest, slots["square"])
        return super().direction(ops, numbers, g, {**slots, "square": highest})


@dataclass(frozen=True, eq=False, repr=False)
class AdamW(Adam):
    """Adam with weight decay beside the gradient instead of in it.

        p -= rate * (Adam's step + weight_decay * p)

    Args:
        learning_rate: > 0, or a Schedule.
        beta1, beta2: fractions of the moving means kept, in [0, 1).
        epsilon: keeps the quotient finite, > 0, in units of g.
        amsgrad: see Adam.
        weight_decay: fraction of a kernel that an update at rate 1 removes, >= 0.
        decayed: what loses it: "kernels", "all" or patterns of names; see SGD.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Loshchilov & Hutter 2017, arXiv:1711.05101, algorithm 2.
    """

    _: KW_ONLY  # a second number by its place would be beta1 in Adam and weight_decay here
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    amsgrad: bool = False
    weight_decay: float = 0.01

    @property
    def decoupled(self) -> bool:
        return True


@dataclass(frozen=True, eq=False, repr=False)
class AdaMax(Moments, Decoupling):
    """Adam by the largest gradient instead of the mean square.

        m = beta1 * m + (1 - beta1) * g,      u = max(beta2 * u, |g| + epsilon)
        p -= rate * (m / (1 - beta1**t)) / u,      t = step + 1

    Args:
        learning_rate: > 0, or a Schedule.
        beta1, beta2: fractions of mean and largest gradient kept, in [0, 1).
        epsilon: keeps the quotient finite, > 0, in units of g.
        weight_decay, decayed: strength of the L2 penalty, a part of g, >= 0, and what it applies to; see SGD.
        decoupled: whether weight decay stands beside the step instead, as in AdamW.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Kingma & Ba 2014, arXiv:1412.6980, algorithm 2. Differs: epsilon added, as in PyTorch.
    """

    learning_rate: float | Schedule = 0.002

    def slots(self) -> tuple[str, ...]:
        return ("mean", "largest")

    def numbers(self, step: int) -> dict[str, float]:
        return {"mean": seen_share(self.beta1, step + 1)}

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        m, u, g = slots["mean"], slots["largest"], self.pulled(rate, p, g)
        ops.move(m, self.beta1, (1 - self.beta1) * g)
        u[...] = ops.xp.maximum(self.beta2 * u, abs(g) + self.epsilon)
        p -= rate / self.numbers(step)["mean"] * m / u


@dataclass(frozen=True, eq=False, repr=False)
class NAdam(Moments):
    """Adam with Nesterov's momentum, which grows during the training.

        mu(t) = beta1 * (1 - 0.96**(t * momentum_decay) / 2),      seen(t) = 1 - mu(1) * ... * mu(t)
        m = beta1 * m + (1 - beta1) * g,      v = beta2 * v + (1 - beta2) * g**2
        ahead = mu(t + 1) * m / seen(t + 1) + (1 - mu(t)) * g / seen(t)
        p -= rate * ahead / (sqrt(v / (1 - beta2**t)) + epsilon),      t = step + 1

    Args:
        learning_rate: > 0, or a Schedule.
        beta1, beta2: fractions of the moving means kept, in [0, 1).
        epsilon: keeps the quotient finite, > 0, in units of g.
        momentum_decay: how fast mu grows to beta1, >= 0.
        weight_decay, decayed: strength of the L2 penalty, a part of g, >= 0, and what it applies to; see SGD.
        decoupled: whether weight decay stands beside the step instead, as in AdamW.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Dozat 2016, "Incorporating Nesterov momentum into Adam", algorithm 2, with the momentum of its section 3.
    """

    learning_rate: float | Schedule = 0.002
    momentum_decay: float = 0.004
    decoupled: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        real("NAdam momentum_decay", self.momentum_decay, "[0, inf)")
        truth("NAdam decoupled", self.decoupled)

    def numbers(self, step: int) -> dict[str, float]:
        now, next_one = self._momentum(step + 1), self._momentum(step + 2)
        product = self._product(step + 1)
        square = seen_share(self.beta2, step + 1)
        return {
            "mean": 1 - product * next_one, "square": square, "ahead": next_one, "direct": (1 - now) / (1 - product),
        }  # fmt: skip

    def direction(self, ops: Ops, numbers: dict[str, float], g: Array, slots: Arrays) -> Array:
        ahead = numbers["ahead"] / numbers["mean"] * slots["mean"] + numbers["direct"] * g
        return ahead / (ops.xp.sqrt(slots["square"] / numbers["square"]) + self.epsilon)

    def _momentum(self, t: int) -> float:
        return self.beta1 * (1 - 0.5 * 0.96 ** (t * self.momentum_decay))

    def _product(self, t: int) -> float:
        """Return mu(1) * ... * mu(t), a function of t, so that nothing has to be remembered."""
        product = 1.0
        for done in range(t):
            if product < TINY or (done + 1) * self.momentum_decay > GROWN:
                return float(product * self.beta1 ** (t - done))  # all further ones are beta1, or nothing is left
            product *= self._momentum(done + 1)
        return product


TINY, GROWN = 2.0**-60, 1100  # a product that 1 - product does not see; 0.96**1100 is that too


@dataclass(frozen=True, eq=False, repr=False)
class RAdam(Moments):
    """Adam that divides by the root of squared gradients only as far as their mean can be trusted.

        m, v: as in Adam,      t = step + 1
        r(t) = r_inf - 2 * t * beta2**t / (1 - beta2**t),      r_inf = 2 / (1 - beta2) - 1
        trust = sqrt((r - 4) * (r - 2) * r_inf / ((r_inf - 4) * (r_inf - 2) * r))
        p -= rate * trust * (m / (1 - beta1**t)) * sqrt(1 - beta2**t) / (sqrt(v) + epsilon)    where r > 5
        p -= rate * m / (1 - beta1**t)                                                         elsewhere

    Args:
        learning_rate: > 0, or a Schedule.
        beta1, beta2: fractions of the moving means kept, in [0, 1).
        epsilon: keeps the quotient finite, > 0, in units of g.
        weight_decay, decayed: strength of the L2 penalty, a part of g, >= 0, and what it applies to; see SGD.
        decoupled: whether weight decay stands beside the step instead, as in AdamW.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Liu et al. 2019, arXiv:1908.03265, algorithm 2. Differs: epsilon added, and r > 5 for r > 4, as in PyTorch.
    """

    decoupled: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        truth("RAdam decoupled", self.decoupled)

    def numbers(self, step: int) -> dict[str, float]:
        """Return the shares that were seen, and the trust, 0 where there is none."""
        t, numbers = step + 1, super().numbers(step)
        most = 2 / (1 - self.beta2) - 1
        r = most - 2 * t * (1 - numbers["square"]) / numbers["square"]
        ratio = (r - 4) * (r - 2) * most / ((most - 4) * (most - 2) * r) if r > 5 else 0.0
        return {**numbers, "trust": math.sqrt(ratio)}

    def direction(self, ops: Ops, numbers: dict[str, float], g: Array, slots: Arrays) -> Array:
        mean, trust = slots["mean"] / numbers["mean"], numbers["trust"]
        if not trust:
            return mean
        return mean * (trust * math.sqrt(numbers["square"])) / (ops.xp.sqrt(slots["square"]) + self.epsilon)


def seen_share(kept: float, steps: int) -> float:
    """Return 1 - kept**steps; small ones keep their digits."""
    return 1 - kept**steps if kept < 0.5 else -math.expm1(steps * math.log(kept))
