"""More costs of values: of counts, of quantiles, and between the squared and the absolute one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gedanken.checks import is_list, real, require, truth
from gedanken.costs.base import Cost
from gedanken.costs.values import ValueCost
from gedanken.errors import DataError, ShapeError
from gedanken.ops import Ops
from gedanken.types import Array, Shape


class LogCosh(ValueCost):
    """Squared for small differences and straight for large ones, smooth everywhere.

        cost = mean over all values of log(cosh(e)),   e = y - t

    Args:
        reduction: see Cost.

    Shapes:
        y, t: (N, ...); t may be (N,), (N, T) or (N, H, W) where there is one output.

    Source:
        Green 1990, "Bayesian reconstructions from emission tomography data using a modified EM algorithm".
    """

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        size = abs(y - target)
        less = ops.xp.expm1(-2 * size)  # log(cosh(e)) = |e| + log1p((exp(-2|e|) - 1) / 2)
        small = size * size / 2 * (1 - size * size / 6)  # of what is so small, the sum above has no digits
        return ops.xp.where(size < 1e-2, small + size**6 / 45, size + ops.xp.log1p(less / 2)), ops.xp.tanh(y - target)


@dataclass(frozen=True, eq=False, repr=False)
class SmoothL1(ValueCost):
    """The absolute difference with its corner rounded: `Huber(beta)` divided by beta.

        cost = mean over all values of   e**2 / (2 * beta)   where |e| < beta
                                         |e| - beta / 2      elsewhere;   e = y - t

    Args:
        beta: where the two meet, > 0, in units of y.
        reduction: see Cost.

    Shapes:
        y, t: (N, ...); t may be (N,), (N, T) or (N, H, W) where there is one output.

    Source:
        Girshick 2015, "Fast R-CNN", arXiv:1504.08083, equation 3.
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real("SmoothL1 beta", self.beta, "(0, inf)")

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        error = y - target
        slope = ops.xp.clip(error / self.beta, -1, 1)
        return slope * (error - slope * self.beta / 2), slope


@dataclass(frozen=True, eq=False, repr=False)
class Poisson(ValueCost):
    """Negative logarithm of the probability of counts that are Poisson distributed, up to what depends on t alone.

        cost = mean over all values of   exp(y) - t * y               with log_input
                                         y - t * log(y + epsilon)     without

    Args:
        log_input: whether outputs are logarithms of the expected counts; else they are these counts, > 0, as behind
            Softplus.
        full: whether Stirling's t * log(t) - t + log(2 pi t) / 2, of counts above 1, is added.
        epsilon: keeps the logarithm finite at 0, > 0.
        reduction: see Cost.

    Shapes:
        y, t: (N, ...); t may be (N,), (N, T) or (N, H, W) where there is one output.

    Raises:
        DataError: a target is below 0.

    Source:
        Cameron & Trivedi 1998, "Regression analysis of count data", section 3.2.
    """

    log_input: bool = True
    full: bool = False
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        truth("Poisson log_input", self.log_input)
        truth("Poisson full", self.full)
        real("Poisson epsilon", self.epsilon, "(0, inf)")

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        xp = ops.xp
        if self.log_input:
            power = xp.exp(y)
            costs, slopes = power - target * y, power - target
        else:
            raised = y + self.epsilon
            costs, slopes = y - target * xp.log(raised), 1 - target / raised
        if self.full:
            counts = xp.where(target > 1, target, 1)
            stirling = counts * xp.log(counts) - counts + xp.log(2 * math.pi * counts) / 2
            costs = costs + xp.where(target > 1, stirling, 0)
        return costs, slopes

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        target = super().checked_target(argument, target, shape)
        if (target < 0).any():
            raise DataError(f"{argument} must be counts of at least 0 for Poisson, got {target.min()}")
        return target


@dataclass(frozen=True, eq=False, repr=False)
class Quantile(Cost):
    """The pinball cost, which is least where an output is a quantile of its target.

        cost = mean over all values of max(q * e, (q - 1) * e),   e = t - y

    The slope at e = 0 is 0.

    Args:
        quantiles: the share q of targets that lie below, in (0, 1); of one, every output stands for one target. Of a
            list of K, the last axis of outputs has K values for each target, one for each share, in this order.
        reduction: see Cost.

    Shapes:
        y, t: (N, ...); t may be (N,), (N, T) or (N, H, W) where there is one output.
        Of K quantiles y (N, K) and t (N,) or (N, 1).

    Raises:
        ShapeError: there are several quantiles, and the output is not (K,).

    Source:
        Koenker & Bassett 1978, "Regression quantiles".
    """

    quantiles: float | Sequence[float] = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        name, given = "Quantile quantiles", self.quantiles
        if is_list(given):
            require(len(given) > 0, name, "be a number or a list of them, in (0, 1)", given)
            object.__setattr__(self, "quantiles", tuple(real(name, share, "(0, 1)") for share in given))
        else:
            object.__setattr__(self, "quantiles", real(name, given, "(0, 1)"))

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        xp, shares = ops.xp, ops.asarray(self.quantiles, y.dtype)
        error = target.astype(y.dtype) - y
        slopes = xp.where(error > 0, -shares, xp.where(error < 0, 1 - shares, 0 * error))
        return -slopes * error, slopes

    def check_output(self, shape: Shape) -> None:
        if isinstance(self.quantiles, tuple) and shape != (len(self.quantiles),):
            raise ShapeError(f"{self} needs an output ({len(self.quantiles)},), one for each quantile, got {shape}")

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        return super().checked_target(argument, target, (1,) if isinstance(self.quantiles, tuple) else shape)


@dataclass(frozen=True, eq=False, repr=False)
class GaussianNLL(Cost):
    """Negative logarithm of the density of values that are normally distributed around outputs.

        cost = mean over all values of (log(v) + (t - m)**2 / v) / 2,   v = max(variance, epsilon)

    Args:
        full: whether log(2 pi) / 2 is added.
        epsilon: least variance, > 0; where it is taken no slope comes to the variance.
        reduction: see Cost; what is averaged over are the F values of each sample.

    Shapes:
        y: (N, 2 * F), F means and behind them F variances, which are to be >= 0, as of
            Branches([FullyConnectedLayer(F)], [FullyConnectedLayer(F), Softplus()]).
        t: (N, F), or (N,) where F is 1.

    Raises:
        ShapeError: the output is not (2 * F,).

    Source:
        Nix & Weigend 1994, "Estimating the mean and variance of the target probability distribution".
        Differs: the slope where the variance is below epsilon is 0.
    """

    full: bool = False
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        truth("GaussianNLL full", self.full)
        real("GaussianNLL epsilon", self.epsilon, "(0, inf)")

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        xp, size = ops.xp, y.shape[1] // 2
        mean, variance = y[:, :size], y[:, size:]
        v, error = xp.maximum(variance, self.epsilon), y[:, :size] - target.astype(y.dtype).reshape(mean.shape)
        costs = (xp.log(v) + error * error / v) / 2 + (math.log(2 * math.pi) / 2 if self.full else 0)
        by_variance = xp.where(variance < self.epsilon, 0, (1 - error * error / v) / (2 * v))
        return ops.sum(costs, axis=1) / size, xp.concatenate([error / v, by_variance], axis=1) / size

    def check_output(self, shape: Shape) -> None:
        if len(shape) != 1 or shape[0] % 2:
            raise ShapeError(f"GaussianNLL needs an output (2 * F,), F means and F variances, got {shape}")

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        return super().checked_target(argument, target, (shape[0] // 2,))
