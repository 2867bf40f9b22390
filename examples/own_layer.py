"""Write a layer: Swish with a trained slope, and check its gradients.

Shows: the five methods of a layer, a check by finite differences, a model file with a class of your own.
"""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from gedanken import Adam, Constant, FullyConnectedLayer, Layer, Network, Param


@dataclass(frozen=True)
class TrainedSwish(Layer):
    """y = x * q, q = 1 / (1 + exp(-beta * x)), one trained beta for each feature."""

    beta: float = 1.0

    def output_shape(self, shape):
        return shape

    def params(self, shape):
        return {"beta": Param((shape[-1],), Constant(self.beta))}

    def forward(self, ctx, p, s, x):
        q = 1 / (1 + ctx.ops.xp.exp(-p["beta"] * x))  # xp is NumPy, or CuPy on a GPU
        return x * q, (x, q)

    def backward(self, ctx, p, g, cache, dy):
        x, q = cache
        slope = dy * x * q * (1 - q)  # the gradient with respect to beta * x
        g["beta"][...] = (slope * x).reshape(-1, x.shape[-1]).sum(axis=0)
        return dy * q + slope * p["beta"]


def largest_error(step=1e-6):
    """Compare `backward` with differences of `forward`, for the cost sum(y * dy). A layer is pure functions."""
    rng, layer, ctx = np.random.default_rng(1), TrainedSwish(), SimpleNamespace(ops=SimpleNamespace(xp=np))
    x, dy, p, g = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), {"beta": rng.normal(size=3)}, {"beta": np.empty(3)}
    y, cache = layer.forward(ctx, p, {}, x)
    errors = []
    for values, gradient in ((x, layer.backward(ctx, p, g, cache, dy)), (p["beta"], g["beta"])):
        for place in np.ndindex(values.shape):
            values[place] += step
            more = layer.forward(ctx, p, {}, x)[0]
            values[place] -= step
            errors.append(abs(((more - y) * dy).sum() / step - gradient[place]))
    return max(errors)


print(f"largest error of a gradient: {largest_error():.0e}")
assert largest_error() < 1e-5

# A smooth function of two numbers.
rng = np.random.default_rng(0)
x = rng.uniform(-2, 2, size=(2000, 2))
y = np.sin(2 * x[:, :1]) * x[:, 1:]

net = Network(seed=0).input((2,))
net.add(FullyConnectedLayer(32)).add(TrainedSwish()).add(FullyConnectedLayer(32)).add(TrainedSwish(0.5))
net.add(FullyConnectedLayer(1))
net.regression(Adam(0.01), cost="mean_squared", metrics=["r2"])
net.fit(x, y, epochs=40, mini_batch_size=50, progress=False)
found = net.evaluate(x, y, progress=False)
print(f"R2 {found['r2']:.3f}")
assert found["r2"] > 0, "no better than the mean of all y, whose R2 is 0, yet: train for more epochs"

net.save("swish.safetensors")
again = Network.load("swish.safetensors", classes=[TrainedSwish])
assert (again.feedforward(x) == net.feedforward(x)).all()
