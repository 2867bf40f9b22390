"""Classify half-hidden digits by a picture and a table beside it, and guess how much ink is hidden.

Shows: several inputs, several outputs with a cost each, dicts of data, what an input is worth.
"""

import argparse

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

EPOCHS, BATCH, RATE, INK = 8, 32, 0.002, 0.3  # the last is the weight of the second output's cost


def halves(pictures, classes):
    """Return inputs and labels by name: the upper half as a picture, of the lower one the ink in each column alone."""
    upper, lower = pictures[:, :, :14], pictures[:, 0, 14:]
    columns = lower.sum(axis=1) / 14
    return {"upper": upper, "columns": columns}, {"digit": classes.argmax(axis=1), "ink": lower.mean(axis=(1, 2)) * 10}


def load(limit=3000):
    """Return so many digits to train on, and a third as many to test on."""
    pictures, classes, test_pictures, test_classes = load_drawn_digits(limit, limit // 3)
    return *halves(pictures, classes), *halves(test_pictures, test_classes)


def network(seed=0):
    net = Network(seed).input(upper=(1, 14, 28), columns=(28,))
    looks = [ConvolutionLayer(12, 3, 3), ReLU(), MaxPoolLayer(2, 2), Flatten(), FullyConnectedLayer(48), ReLU()]
    net.add(Branches(upper=looks, columns=[FullyConnectedLayer(32), ReLU()]))
    net.add(FullyConnectedLayer(48)).add(ReLU())
    net.add(Heads(digit=[FullyConnectedLayer(10), SoftMax()], ink=[FullyConnectedLayer(1)]))
    cost = {"digit": "cross_entropy", "ink": ("mean_squared", INK)}
    return net.regression(Adam(RATE), cost, metrics={"digit": ["accuracy"], "ink": ["r2"]})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=3000, help="digits to train on")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    data, labels, test, test_labels = load(options.limit)
    net = network(options.seed)
    net.fit(data, labels, epochs=options.epochs, mini_batch_size=BATCH, progress=False)

    found = net.evaluate(test, test_labels, progress=False)
    blind = {**test, "columns": test["columns"].mean(axis=0) + 0 * test["columns"]}
    without = net.evaluate(blind, test_labels, progress=False)
    print(f"digits: {found['digit_accuracy']:.3f} right, {without['digit_accuracy']:.3f} where the table says nothing")
    print(f"hidden ink: R2 {found['ink_r2']:.3f}")

    answers = net.predict({name: array[:5] for name, array in test.items()})
    print("the first five are", answers["digit"].tolist(), "in truth", test_labels["digit"][:5].tolist())
    most = np.bincount(test_labels["digit"]).max() / len(test_labels["digit"])
    print(f"always the most frequent digit: {most:.3f}; always the mean ink: R2 0")
    learnt = found["digit_accuracy"] > max(most, without["digit_accuracy"]) and found["ink_r2"] > 0
    assert learnt, "no better than that yet: train longer (--epochs) or on more (--limit)"


if __name__ == "__main__":
    main()
