"""Write a cost and a metric: predict the range in which nine of ten values lie.

Shows: `CustomCost` with the gradient beside it, a metric of your own, a callback that stops.
"""

import numpy as np

from gedanken import ELU, Adam, Callback, CustomCost, FullyConnectedLayer, Metric, Network, Stop

LEVELS = np.array([0.05, 0.95])


def pinball(y, target):
    """Return the cost of each sample: what lies above a 5 % quantile is cheap, what lies below it dear."""
    error = target - y
    return np.maximum(LEVELS * error, (LEVELS - 1) * error).sum(axis=1)


def pinball_gradient(y, target):
    """Return the derivative of each sample's cost with respect to y."""
    return np.where(target > y, -LEVELS, 1 - LEVELS)


class Coverage(Metric):
    """Fraction of the targets that lie within the predicted range."""

    def measure(self, y, target):  # of one mini-batch, in a form that can be added up
        inside = (y[:, 0] <= target[:, 0]) & (target[:, 0] <= y[:, 1])
        return np.array([inside.sum(), len(y)], float)

    def value(self, total):
        return total[0] / total[1]


class GoodEnough(Callback):
    """Stop when the cost of an epoch falls below a number."""

    def __init__(self, cost):
        self.cost = cost

    def on_epoch(self, run, record):
        return Stop(f"the cost is below {self.cost}") if record.cost < self.cost else None


# The noise grows with x, so the range has to widen.
rng = np.random.default_rng(0)
x = rng.uniform(0, 1, size=(4000, 1))
y = np.sin(5 * x) + rng.normal(size=(4000, 1)) * (0.1 + 0.4 * x)
both = np.repeat(y, 2, axis=1)  # targets have the shape of the outputs

net = Network(seed=0).input((1,))
net.add(FullyConnectedLayer(32)).add(ELU()).add(FullyConnectedLayer(32)).add(ELU()).add(FullyConnectedLayer(2))
net.regression(Adam(0.005), cost=CustomCost(pinball, pinball_gradient), metrics=[Coverage()])
history = net.fit(x[:3000], both[:3000], epochs=100, mini_batch_size=100, callbacks=[GoodEnough(0.064)], progress=False)
found = net.evaluate(x[3000:], both[3000:], progress=False)
print(f"{len(history.epochs)} epochs: {history.reason}")
print(f"{found['coverage']:.1%} of new values lie within their range")
for place in (0.1, 0.9):
    low, high = net.predict([[place]])[0]
    print(f"at x = {place}: from {low:.2f} to {high:.2f}")
assert 0.75 < found["coverage"] < 0.97
