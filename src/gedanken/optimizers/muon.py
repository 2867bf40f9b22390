"""Muon: steps of matrices whose singular values are all about 1."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from fnmatch import fnmatchcase

from gedanken.checks import one_of, real, truth, whole
from gedanken.ops import Ops
from gedanken.optimizers.base import checked_patterns
from gedanken.optimizers.moments import Moments
from gedanken.schedules import Schedule
from gedanken.types import Array, Arrays, Shape

POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # of Newton and Schulz' step: brings singular values fast into [0.7, 1.2]
SHORTEST = 1e-7  # what the length of a matrix is not taken to be less than


@dataclass(frozen=True, eq=False, repr=False)
class Muon(Moments):
    """Step along the nearest orthogonal matrix to a moving mean of the gradient; vectors by the rule of AdamW.

    For a matrix of I inputs and O outputs, a kernel whose windows and channels are laid into one axis:

        m = momentum * m + (1 - momentum) * g
        d = momentum * m + (1 - momentum) * g      with nesterov, else m
        x = d / |d|, then `steps` times:  a = x x^T,  x = 3.4445 * x - 4.775 * a x + 2.0315 * a a x
        p -= rate * (size * x + weight_decay * p)

    where size is 0.2 * sqrt(max(I, O)) with scale="rms", the usual length of AdamW's step, so that one rate fits all
    parameters, and sqrt(max(1, O / I)) with scale="shape".

    Parameters with one axis, tables of which a step touches few rows (`Embedding`), and what `by_adam` names, go by the
    rule of AdamW.

    The matrix products are those of the array module: NumPy's on the engine `cpu`, where only the rule for vectors has
    a kernel.

    Args:
        learning_rate: > 0, or a Schedule.
        beta1, beta2, epsilon: of the rule for vectors, see AdamW.
        momentum: fraction of the moving mean of a matrix kept, in [0, 1).
        nesterov: whether the step looks ahead.
        steps: of Newton and Schulz' iteration, at least 1.
        scale: "rms" or "shape".
        by_adam: patterns of names such as ("8.*",): of matrices that go by the rule for vectors too. The source advises
            it for the last layer.
        weight_decay: fraction of a kernel that an update at rate 1 removes, >= 0.
        decayed: what loses it: "kernels", "all" or patterns of names; see SGD.
        clip_norm, clip_value, accumulate: see Optimizer.

    Source:
        Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". scale="rms" and weight
        decay: Liu et al. 2025, arXiv:2502.16982, section 2.2.
    """

    learning_rate: float | Schedule = 0.001
    _: KW_ONLY
    weight_decay: float = 0.1
    momentum: float = 0.95
    nesterov: bool = True
    steps: int = 5
    scale: str = "rms"
    by_adam: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        real("Muon momentum", self.momentum, "[0, 1)")
        truth("Muon nesterov", self.nesterov)
        whole("Muon steps", self.steps, at_most=100)
        one_of("Muon scale", self.scale, ("rms", "shape"))
        object.__setattr__(self, "by_adam", checked_patterns("Muon by_adam", self.by_adam))

    @property
    def decoupled(self) -> bool:
        return True

    @property
    def patterns(self) -> dict[str, Sequence[str]]:
        return {**super().patterns, "by_adam": self.by_adam}

    def takes_matrix(self, name: str, shape: Shape) -> bool:
        return not any(fnmatchcase(name, pattern) for pattern in self.by_adam)

    def update(self, ops: Ops, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        if p.ndim == 1:
            super().update(ops, rate, step, p, g, slots)
            return
        m = ops.move(slots["mean"], self.momentum, (1 - self.momentum) * g)
        ahead = self.momentum * m + (1 - self.momentum) * g if self.nesterov else m
        inputs, outputs = p.shape
        size = 0.2 * math.sqrt(max(p.shape)) if self.scale == "rms" else math.sqrt(max(1.0, outputs / inputs))
        p -= rate * (size * orthogonalised(ops, ahead, self.steps) + self.weight_decay * p)


def orthogonalised(ops: Ops, matrix: Array, steps: int) -> Array:
    """Return a matrix with the singular vectors of another one, and singular values near 1.

    Shapes:
        matrix, result: (I, O).
    """
    a, b, c = POLYNOMIAL
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T) / max(ops.bound(matrix), SHORTEST)
    for _ in range(steps):
        gram = ops.product(x, x.T)
        x = a * x + ops.product(b * gram + c * ops.product(gram, gram), x)
    return x if wide else x.T
