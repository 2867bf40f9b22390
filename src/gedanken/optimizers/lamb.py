"""LAMB: Adam whose steps have the length of the parameters that they change."""

from dataclasses import KW_ONLY, dataclass

from gedanken.ops import Ops
from gedanken.optimizers.moments import Moments
from gedanken.schedules import Schedule
from gedanken.types import Array


@dataclass(frozen=True, eq=False, repr=False)
class Lamb(Moments):
    """Step along Adam's direction, in each array of parameters by a fraction of its own length.

        m, v: as in Adam,      t = step + 1
        u = (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + epsilon) + weight_decay * p
        p -= rate * trust * u,      trust = |p| / |u|, or 1 where one of them is 0

    It keeps training stable with mini-batches of thousands and the large rates that go with them.

    Args:
        learning_rate: > 0, or a Schedule.
        beta1, beta2: fractions of the moving means kept, in [0, 1).
        epsilon: keeps the quotient finite, > 0, in units of g.
        weight_decay: beside Adam's direction, >= 0.
        decayed: what it applies to: "kernels", "all" or patterns of names; see SGD.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        You et al. 2019, arXiv:1904.00962, algorithm 2 with phi(z) = z.
    """

    learning_rate: float | Schedule = 0.001
    _: KW_ONLY
    epsilon: float = 1e-6

    @property
    def decoupled(self) -> bool:
        return True

    @property
    def by_array(self) -> bool:
        return True

    def scaled(self, ops: Ops, p: Array, change: Array) -> Array:
        lengths = ops.bound(p), ops.bound(change)
        return change * (lengths[0] / lengths[1]) if min(lengths) > 0 else change
