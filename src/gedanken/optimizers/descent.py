"""Gradient descent, with and without momentum, and by signs."""

from dataclasses import dataclass

from gedanken.checks import real, require
from gedanken.ops import Ops
from gedanken.optimizers.base import Decaying, Decoupling
from gedanken.schedules import Schedule
from gedanken.types import Array, Arrays


@dataclass(frozen=True, eq=False, repr=False)
class SGD(Decaying):
    """Step against the gradient.

        p -= rate * (g + weight_decay * p)

    Args:
        learning_rate: > 0, or a Schedule.
        weight_decay: strength of the L2 penalty weight_decay / 2 * |kernel|**2, >= 0.
        decayed: "kernels", "all" or patterns of names: what the penalty applies to; see Optimizers in the guide.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Robbins & Monro 1951, "A stochastic approximation method".
    """

    learning_rate: float | Schedule = 0.01

    @property
    def lazy(self) -> bool:
        return type(self) is SGD and self.takes_gradients_as_they_are and not self.touches_all

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        p -= rate * self.penalised(p, g)


@dataclass(frozen=True, eq=False, repr=False)
class Momentum(Decoupling):
    """Step with a velocity that remembers earlier gradients.

        v = momentum * v - rate * (1 - dampening) * (g + weight_decay * p)
        p += v

    Args:
        learning_rate: > 0, or a Schedule.
        momentum: fraction of the velocity kept, in [0, 1).
        dampening: fraction of a step that does not enter the velocity, in [0, 1); the first step enters whole. It must
            be 0 where weight decay is decoupled.
        weight_decay, decayed: strength of the L2 penalty, >= 0, and what it applies to; see SGD.
        decoupled: whether weight decay stands beside the step instead, as in AdamW.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Polyak 1964, "Some methods of speeding up the convergence of iteration methods", equation 9. Differs:
        dampening, as in PyTorch.
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.9
    dampening: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real(f"{type(self).__name__} momentum", self.momentum, "[0, 1)")
        real(f"{type(self).__name__} dampening", self.dampening, "[0, 1)")
        fits = self.dampening == 0 or not self.decoupled
        require(fits, f"{type(self).__name__} dampening", "be 0 with decoupled weight decay", self.dampening)

    def numbers(self, step: int) -> dict[str, float]:
        return {"rate": 1 - self.dampening if step else 1.0}

    def slots(self) -> tuple[str, ...]:
        return ("velocity",)

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        v, g = slots["velocity"], self.pulled(rate, p, g)
        ops.move(v, self.momentum, -rate * self.numbers(step)["rate"] * g)
        p += v


class Nesterov(Momentum):
    """Momentum whose gradient is taken where the velocity leads.

        v = momentum * v - rate * (g + weight_decay * p)
        p += momentum * v - rate * (g + weight_decay * p)

    Args:
        learning_rate: > 0, or a Schedule.
        momentum: fraction of the velocity kept, in [0, 1).
        dampening: must be 0: it would take from a step what the velocity foresees.
        weight_decay, decayed: strength of the L2 penalty, >= 0, and what it applies to; see SGD.
        decoupled: whether weight decay stands beside the step instead, as in AdamW.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning", equations 3 and 4,
        written for the point that the velocity leads to (Bengio et al. 2012, arXiv:1212.0901, equation 7).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.dampening == 0, "Nesterov dampening", "be 0", self.dampening)

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        v = slots["velocity"]
        change = rate * self.pulled(rate, p, g)
        ops.move(v, self.momentum, -change)
        p += self.momentum * v - change


@dataclass(frozen=True, eq=False, repr=False)
class Lion(Decaying):
    """Step by the sign of a moving mean of the gradient.

        c = beta1 * m + (1 - beta1) * g
        p -= rate * (sign(c) + weight_decay * p)
        m = beta2 * m + (1 - beta2) * g

    Args:
        learning_rate: > 0, or a Schedule; the paper advises a third to a tenth of Adam's.
        beta1, beta2: fractions of the moving mean kept, in [0, 1).
        weight_decay: fraction of a kernel that an update at rate 1 removes, >= 0.
        decayed: what loses it, see SGD.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Chen et al. 2023, arXiv:2302.06675, algorithm 2.
    """

    learning_rate: float | Schedule = 0.0001
    beta1: float = 0.9
    beta2: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        real("Lion beta1", self.beta1, "[0, 1)")
        real("Lion beta2", self.beta2, "[0, 1)")

    @property
    def decoupled(self) -> bool:
        return True

    def slots(self) -> tuple[str, ...]:
        return ("mean",)

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        m = slots["mean"]
        ahead = ops.move(m.copy(), self.beta1, (1 - self.beta1) * g)
        p -= rate * (ops.xp.sign(ahead) + self.weight_decay * p)
        ops.move(m, self.beta2, (1 - self.beta2) * g)


@dataclass(frozen=True, eq=False, repr=False)
class Rprop(Decaying):
    """Step against the sign of the gradient, by a length of its own for each parameter.

        size = size * grow      where g has the sign of the last one,      size = 1 before the first step
        size = size * shrink    where it has the other one; then g = 0, so p stays and the next size is this one
        p -= rate * size * sign(g),      size within [lowest, highest]

    It is for gradients of all data, one mini-batch an epoch: of small mini-batches signs change by chance.

    Args:
        learning_rate: the first length of a step, > 0, or a Schedule.
        shrink, grow: what a size is multiplied by, in (0, 1) and > 1.
        lowest, highest: bounds of a size, > 0, so in units of the learning rate.
        weight_decay, decayed: strength of the L2 penalty, a part of g, >= 0, and what it applies to; see SGD.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Riedmiller & Braun 1993, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm".
        Differs: a parameter whose gradient changed its sign stays where it is, as in PyTorch, instead of going back.
    """

    learning_rate: float | Schedule = 0.01
    shrink: float = 0.5
    grow: float = 1.2
    lowest: float = 1e-4
    highest: float = 5000.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real("Rprop shrink", self.shrink, "(0, 1)")
        real("Rprop grow", self.grow, "(1, inf)")
        real("Rprop lowest", self.lowest, "(0, inf)")
        real("Rprop highest", self.highest, "(0, inf)")
        require(self.lowest <= self.highest, "Rprop lowest", f"be at most highest={self.highest}", self.lowest)

    def slots(self) -> tuple[str, ...]:
        return ("last", "size")

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        xp, last, size = ops.xp, slots["last"], slots["size"]
        sign = xp.sign(self.penalised(p, g))
        turned = sign * last
        change = xp.where(turned > 0, self.grow, xp.where(turned < 0, self.shrink, 1.0))
        size[...] = xp.clip(xp.where(size == 0, 1.0, size) * change, self.lowest, self.highest)  # slots begin at 0
        last[...] = xp.where(turned < 0, 0.0, sign)
        p -= rate * size * last
