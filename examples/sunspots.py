"""Foretell how many spots the sun will have next year, beside two naive forecasts.

Shows: a series divided in time, windows, an `LSTM`, errors in the units of the series. The numbers of the years 1700 to
2008 come with the library.
"""

import argparse

import numpy as np

from gedanken import LSTM, Adam, FullyConnectedLayer, MeanAbsoluteError, Network
from gedanken.datasets import load_sunspots, split_in_time, windows

EPOCHS, BATCH, RATE = 40, 32, 0.01
YEARS, UNITS, CYCLE = 24, 16, 11  # a forecast sees two cycles of about eleven years
UNIT = 100  # spots


def load(limit=None):
    """Return windows (N, YEARS, 1) and the value after each, (N, 1), to train on, and later ones to test on."""
    _, numbers = load_sunspots()
    earlier, later = split_in_time(numbers[:, None] / UNIT, share=0.25, before=YEARS)
    data, target = windows(earlier, YEARS, columns=0)
    return data[:limit], target[:limit], *windows(later, YEARS, columns=0)


def network(seed=0):
    net = Network(seed).input((YEARS, 1)).add(LSTM(UNITS, last=True)).add(FullyConnectedLayer(1))
    return net.regression(Adam(RATE), "mean_squared", metrics=[MeanAbsoluteError()])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, help="windows to train on")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    data, target, test_data, test_target = load(options.limit)
    net = network(options.seed)
    net.fit(data, target, epochs=options.epochs, mini_batch_size=BATCH, progress=False)
    error = net.evaluate(test_data, test_target, progress=False)["mean_absolute_error"] * UNIT
    as_last_year = np.abs(test_data[:, -1] - test_target).mean() * UNIT
    as_a_cycle_ago = np.abs(test_data[:, -CYCLE] - test_target).mean() * UNIT
    print(f"mean absolute error of {len(test_data)} forecasts: {error:.1f} spots")
    print(f"as last year {as_last_year:.1f}, as {CYCLE} years ago {as_a_cycle_ago:.1f}")
    assert error < min(as_last_year, as_a_cycle_ago), "no better than these yet: train longer (--epochs)"


if __name__ == "__main__":
    main()
