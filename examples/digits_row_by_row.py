"""Read pictures of digits row by row, as a sequence of 28 steps of 28 pixels: sequential MNIST.

Shows: a `GRU` with its last state, pictures as sequences (T, F), gradients cut to a length. The digits are MNIST's
where $GEDANKEN_DATA says where they lie, else they are drawn.
"""

import argparse
import os

from gedanken import GRU, Adam, FullyConnectedLayer, Network, SoftMax
from gedanken.datasets import load_conv, load_drawn_digits

EPOCHS, BATCH, RATE, CLIP = 3, 128, 0.003, 1.0


def load(limit=20000):
    """Return the first so many training pictures with their labels, and at most 10,000 to test on."""
    if "GEDANKEN_DATA" in os.environ:
        train_data, train_labels, test_data, test_labels = load_conv()
    else:
        train_data, train_labels, test_data, test_labels = load_drawn_digits(train=limit, test=min(limit, 10000))
    tested = min(limit, len(test_data))
    # (N, 1, 28, 28) are pictures of one channel; (N, 28, 28) are sequences: 28 rows of 28 pixels.
    return train_data[:limit, 0], train_labels[:limit], test_data[:tested, 0], test_labels[:tested]


def network(seed=0):
    net = Network(seed).input((28, 28)).add(GRU(64, last=True)).add(FullyConnectedLayer(10)).add(SoftMax())
    return net.regression(Adam(RATE, clip_norm=CLIP), "cross_entropy")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=20000, help="pictures to train on")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    data, labels, test_data, test_labels = load(options.limit)
    net = network(options.seed)
    net.fit(data, labels, epochs=options.epochs, mini_batch_size=BATCH, progress=False)
    found = net.evaluate(test_data, test_labels, progress=False)
    most = test_labels.mean(axis=0).max()
    print(f"accuracy {found['accuracy']:.4f} on {len(test_data):,} new pictures, trained on {len(data):,}")
    print(f"always the most frequent digit: {most:.4f}")
    assert found["accuracy"] > most, (
        "no better than the same digit always: train longer (--epochs) or on more (--limit)"
    )


if __name__ == "__main__":
    main()
