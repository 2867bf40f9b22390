"""Adafactor: steps as long as the parameters allow, by mean squares that are kept as rows and columns."""

from dataclasses import dataclass

from gedanken.checks import real
from gedanken.ops import Ops
from gedanken.optimizers.base import Decaying
from gedanken.schedules import Schedule
from gedanken.types import Array, Arrays


@dataclass(frozen=True, eq=False, repr=False)
class Adafactor(Decaying):
    """Step by the root mean square of each array of parameters, divided by that of its gradients.

        t = step + 1,      new = t**-power,      s = g**2 + epsilon
        v = (1 - new) * v + new * s                                               of an array with one axis
        v[i, j] = row[i] * column[j] / mean of row                                of a matrix
        row = (1 - new) * row + new * (mean of s over columns), column likewise over rows
        u = g / sqrt(v),      u = u / max(1, rms(u) / longest)
        p -= min(rate, 1 / sqrt(t)) * max(rms(p), least) * u + rate * weight_decay * p

    A matrix is a kernel whose windows and channels are laid into one axis, (I, O). The rule keeps I + O numbers of it;
    here they lie in a vector as long as the parameters, which all rules have at least one of.

    It has no kernel on the engine `cpu`: NumPy makes its updates.

    Args:
        learning_rate: the largest share of its own size that an array moves by, > 0, or a Schedule.
        power: how fast the means become slower, > 0.
        epsilon: added to squares, > 0, in units of g**2.
        least: what an array is not taken to be smaller than, > 0, in units of p.
        longest: root mean square that u is cut to, > 0.
        weight_decay: fraction of a kernel that an update at rate 1 removes, >= 0.
        decayed: what loses it, see SGD.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Shazeer & Stern 2018, arXiv:1804.04235, algorithms 4 and 5. Differs: a learning rate in place of 0.01 and, as in
        PyTorch, weight decay; PyTorch and Keras take each window of a kernel as a matrix by itself.
    """

    learning_rate: float | Schedule = 0.01
    power: float = 0.8
    epsilon: float = 1e-30
    least: float = 1e-3
    longest: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("power", "epsilon", "least", "longest"):
            real(f"Adafactor {name}", getattr(self, name), "(0, inf)")

    @property
    def decoupled(self) -> bool:
        return True

    @property
    def by_array(self) -> bool:
        return True

    def slots(self) -> tuple[str, ...]:
        return ("square",)

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        t = step + 1
        change = g / ops.xp.sqrt(self._mean_squares(ops, t**-self.power, g, slots["square"]))
        change /= max(1.0, _size(ops, change) / self.longest)
        change *= min(rate, t**-0.5) * max(_size(ops, p), self.least)
        if self.weight_decay:
            change += rate * self.weight_decay * p
        p -= change

    def _mean_squares(self, ops: Ops, new: float, g: Array, kept: Array) -> Array:
        """Move what is kept towards squares of g, of which `new` is the share, and return the mean squares."""
        squares = g * g + self.epsilon
        if min(g.shape) == 1 or g.ndim == 1:  # of one row or column the product is the mean squares themselves
            return ops.move(kept, 1 - new, new * squares)
        inputs, outputs = g.shape
        flat = kept.reshape(-1)
        row = ops.move(flat[:inputs], 1 - new, new * ops.mean(squares, axis=1))
        column = ops.move(flat[inputs : inputs + outputs], 1 - new, new * ops.mean(squares, axis=0))
        product: Array = (row / ops.mean(row))[:, None] * column
        return product


def _size(ops: Ops, values: Array) -> float:
    """Return the root of the mean square."""
    return float(ops.bound(values)) / float(values.size) ** 0.5
