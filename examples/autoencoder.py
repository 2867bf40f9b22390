"""Press pictures of clothes into 32 numbers and draw them again from these.

Shows: `networks.autoencoder`, pictures as targets, the code as the output of a part of the network, a picture file of
pairs. The pictures are Fashion-MNIST's where $GEDANKEN_DATA says where they lie, else drawn digits.
"""

import argparse
import os

import numpy as np
from PIL import Image

from gedanken import Adam, MeanSquaredError, Network, networks
from gedanken.datasets import load_drawn_digits, load_fashion_conv

EPOCHS, BATCH, RATE, CODE, DEPTH, WIDTH = 5, 64, 0.003, 32, 2, 16


def load(limit=10000):
    """Return the first so many pictures to train on, and at most 2,000 to test on."""
    if "GEDANKEN_DATA" in os.environ:
        data, _, test_data, _ = load_fashion_conv()
    else:
        data, _, test_data, _ = load_drawn_digits(train=limit, test=min(limit, 2000))
    data, test_data = data[:limit], test_data[: min(limit, 2000)]
    return data, data, test_data, test_data


def network(seed=0):
    net = Network(seed).input((1, 28, 28))
    for layer in networks.autoencoder((1, 28, 28), CODE, DEPTH, WIDTH):
        net.add(layer)
    return net.regression(Adam(RATE), "mean_squared", metrics=[MeanSquaredError()])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=10000, help="pictures to train on")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    data, _, test_data, _ = load(options.limit)
    net = network(options.seed)
    net.fit(data, data, epochs=options.epochs, mini_batch_size=BATCH, progress=False)
    error = net.evaluate(test_data, test_data, progress=False)["mean_squared_error"]
    mean = ((test_data - data.mean(axis=0)) ** 2).mean()  # of the picture that is the mean of all
    print(f"mean squared error {error:.4f}, of the mean picture {mean:.4f}")

    # Above the pictures, below what came back of 32 numbers.
    shown = np.concatenate([test_data[:12, 0], net.feedforward(test_data[:12])[:, 0]], axis=1)
    rows = np.concatenate(list(shown), axis=1)
    Image.fromarray((rows * 255).astype(np.uint8)).resize((rows.shape[1] * 3, rows.shape[0] * 3)).save("pairs.png")
    print("pairs.png shows 12 pictures and what came back of each")
    assert error < mean, "no better than the mean picture yet: train longer (--epochs) or on more (--limit)"


if __name__ == "__main__":
    main()
