"""Predict a number from a table: what will a house cost?

Shows: a regression, a target in sensible units, a schedule of the learning rate, R2.
"""

import numpy as np

from gedanken import (
    ELU,
    R2,
    AdamW,
    FullyConnectedLayer,
    Huber,
    MeanAbsoluteError,
    Network,
    OneCycle,
)

# 5,000 houses: floor area, age, distance to the centre and number of rooms.
rng = np.random.default_rng(1)
area, age = rng.uniform(40, 250, 5000), rng.uniform(0, 100, 5000)
distance, rooms = rng.exponential(8, 5000), rng.integers(1, 9, 5000)
price = area * (4000 * np.exp(-distance / 15) + 900) * (1 - age / 300) + 8000 * rooms
price *= rng.lognormal(0, 0.05, 5000)

table = np.stack([area, age, distance, rooms], axis=1)
rows = (table - table[:4000].mean(axis=0)) / table[:4000].std(axis=0)
unit = 100_000  # targets near 1 suit the usual learning rates
targets = price[:, None] / unit

epochs, mini_batch_size = 30, 50
net = Network(seed=0).input((4,))
net.add(FullyConnectedLayer(64)).add(ELU()).add(FullyConnectedLayer(32)).add(ELU()).add(FullyConnectedLayer(1))
rate = OneCycle(peak=0.01, steps=epochs * 4000 // mini_batch_size)
net.regression(AdamW(rate, weight_decay=0.01), Huber(), metrics=[R2(), MeanAbsoluteError()])
net.fit(rows[:4000], targets[:4000], epochs=epochs, mini_batch_size=mini_batch_size, progress=False)

found = net.evaluate(rows[4000:], targets[4000:], progress=False)
print(f"R2 {found['r2']:.3f}, mean absolute error {found['mean_absolute_error'] * unit:,.0f}")
for estimate, paid in zip(net.predict(rows[4000:4003])[:, 0] * unit, price[4000:4003], strict=True):
    print(f"estimate {estimate:10,.0f}, price {paid:10,.0f}")
assert found["r2"] > 0.95
