"""Classify half-hidden digits by a picture and a table beside it, and guess how much ink is hidden.

Shows: several inputs, several outputs with a cost each, dicts of data, what an input is worth.
"""

import numpy as np

from gedanken import (
    Adam,
    Branches,
    ConvolutionLayer,
    Flatten,
    FullyConnectedLayer,
    Heads,
    MaxPoolLayer,
    Network,
    ReLU,
    SoftMax,
)
from gedanken.datasets import load_drawn_digits

# The upper half of each digit is seen as a picture. Of the lower one only the ink in each column is known.
pictures, one_hot, test_pictures, test_one_hot = load_drawn_digits(3000, 1000)


def halves(whole: np.ndarray, classes: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return inputs and labels by name."""
    upper, lower = whole[:, :, :14], whole[:, 0, 14:]
    columns = lower.sum(axis=1) / 14
    return {"upper": upper, "columns": columns}, {"digit": classes.argmax(axis=1), "ink": lower.mean(axis=(1, 2)) * 10}


data, labels = halves(pictures, one_hot)
test, test_labels = halves(test_pictures, test_one_hot)

net = Network(seed=0).input(upper=(1, 14, 28), columns=(28,))
net.add(
    Branches(
        upper=[ConvolutionLayer(12, 3, 3), ReLU(), MaxPoolLayer(2, 2), Flatten(), FullyConnectedLayer(48), ReLU()],
        columns=[FullyConnectedLayer(32), ReLU()],
    )
)
net.add(FullyConnectedLayer(48)).add(ReLU())
net.add(Heads(digit=[FullyConnectedLayer(10), SoftMax()], ink=[FullyConnectedLayer(1)]))
cost = {"digit": "cross_entropy", "ink": ("mean_squared", 0.3)}
net.regression(Adam(0.002), cost, metrics={"digit": ["accuracy"], "ink": ["r2"]})
net.fit(data, labels, epochs=8, mini_batch_size=32, progress=False)

found = net.evaluate(test, test_labels, progress=False)
blind = {**test, "columns": test["columns"].mean(axis=0) + 0 * test["columns"]}
without = net.evaluate(blind, test_labels, progress=False)
print(f"digits: {found['digit_accuracy']:.3f} right, {without['digit_accuracy']:.3f} where the table says nothing")
print(f"hidden ink: R2 {found['ink_r2']:.3f}")

answers = net.predict({name: array[:5] for name, array in test.items()})
print("the first five are", answers["digit"].tolist(), "in truth", test_labels["digit"][:5].tolist())
assert found["digit_accuracy"] > without["digit_accuracy"] + 0.05
assert found["ink_r2"] > 0.8
