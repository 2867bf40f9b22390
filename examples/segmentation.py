"""Find digits on a noisy page, and say of each pixel which digit it is part of.

Shows: `networks.unet`, class maps as labels, class weights, pixels at the edge of a stroke that count for nothing, a
rate that falls to 0, the IoU of each class. The pages are made of drawn digits, so nothing is downloaded.
"""

import argparse
import math

import numpy as np

from gedanken import Accuracy, Adam, CosineDecay, CrossEntropy, IoU, Network, networks
from gedanken.datasets import load_drawn_digits

EPOCHS, BATCH, RATE, DEPTH, WIDTH = 8, 16, 0.005, 2, 8
SIDE, SMALL = 32, 14  # pixels of a page, and of a digit on it
PAPER, EDGE = 0, 255  # digit d has the class d + 1; what has the label EDGE is left out
WEIGHTS = [0.1] + 10 * [1.0]  # of the classes: nine pixels in ten are paper


def page(pictures, digits, rng):
    """Return a page (1, SIDE, SIDE) with a digit in each of some quarters, and its class map (SIDE, SIDE)."""
    shown, classes = np.zeros((SIDE, SIDE), np.float32), np.full((SIDE, SIDE), PAPER)
    for picture, digit, quarter in zip(pictures, digits, rng.permutation(4), strict=False):
        top, left = np.array(divmod(quarter, 2)) * (SIDE // 2) + rng.integers(0, 3, 2)
        here = slice(top, top + SMALL), slice(left, left + SMALL)
        shown[here] = picture
        classes[here] = np.where(picture > 0.4, digit + 1, np.where(picture > 0.2, EDGE, PAPER))
    return (shown + rng.normal(0, 0.15, shown.shape).astype(np.float32))[None], classes


def pages(pictures, labels, count, seed):
    """Return so many pages and their class maps, each with two to four digits."""
    rng, digits = np.random.default_rng(seed), labels.argmax(axis=1)
    small = pictures.reshape(-1, SMALL, 2, SMALL, 2).mean(axis=(2, 4))
    chosen = [rng.integers(0, len(small), rng.integers(2, 5)) for _ in range(count)]
    data, maps = zip(*(page(small[some], digits[some], rng) for some in chosen), strict=True)
    return np.stack(data), np.stack(maps)


def load(limit=2000):
    """Return so many pages to train on, and a quarter as many with other digits to test on."""
    train_pictures, train_labels, test_pictures, test_labels = load_drawn_digits(train=2 * limit, test=limit)
    train = pages(train_pictures, train_labels, limit, seed=1)
    return *train, *pages(test_pictures, test_labels, limit // 4, seed=2)


def network(steps, seed=0):
    net = Network(seed).input((1, SIDE, SIDE))
    for layer in networks.unet((1, SIDE, SIDE), classes=11, depth=DEPTH, width=WIDTH):
        net.add(layer)
    cost = CrossEntropy(class_weights=WEIGHTS, ignore_label=EDGE)
    return net.regression(Adam(CosineDecay(RATE, steps)), cost, metrics=[Accuracy(), IoU(), IoU(None)])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=2000, help="pages to train on")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    data, maps, test_data, test_maps = load(options.limit)
    net = network(options.epochs * math.ceil(len(data) / BATCH), options.seed)
    net.fit(data, maps, epochs=options.epochs, mini_batch_size=BATCH, progress=False)
    found = net.evaluate(test_data, test_maps, progress=False)
    print(f"IoU {found['iou']:.3f}, mean of 11 classes; accuracy of pixels {found['accuracy']:.3f}")
    print("IoU of paper and of each digit:", *(f"{value:.2f}" for value in found["iou_each"]))
    seen, true = net.predict(test_data), test_maps
    ink, counts = true > PAPER, true != EDGE
    of_ink = (ink & (seen > PAPER) & counts).sum() / ((ink | (seen > PAPER)) & counts).sum()
    chance = (ink & counts).sum() / counts.sum()
    print(f"IoU of ink, whatever the digit: {of_ink:.3f}; where all were called ink: {chance:.3f}")
    assert of_ink > chance, "all is paper yet: train longer (--epochs), or see docs/examples.md of seeds"


if __name__ == "__main__":
    main()
