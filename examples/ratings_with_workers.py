"""Guess what people think of things that they have not rated, with two workers that wait for nobody.

Shows: `MatrixFactorisation`, mini-batches of one entry, `Hogwild`, and what it reports.
"""

import numpy as np

from gedanken import SGD, ExponentialDecay, Hogwild, MatrixFactorisation, Network

PEOPLE, THINGS, TASTES = 1500, 500, 4
TRAIN, TEST = 100_000, 10_000


def ratings(rng, count):
    """Return pairs (person, thing) and ratings: how well their tastes go together, and some noise."""
    pairs = np.stack([rng.integers(0, PEOPLE, count), rng.integers(0, THINGS, count)], axis=1)
    fitting = (people[pairs[:, 0]] * things[pairs[:, 1]]).sum(axis=1)
    return pairs, fitting + 0.1 * rng.normal(size=count)


def network():
    """Return a network that knows nothing yet."""
    net = Network(seed=1).input((2,)).add(MatrixFactorisation(PEOPLE, THINGS, rank=TASTES, l2=0.01))
    return net.regression(SGD(ExponentialDecay(0.1, TRAIN, 0.9)), "mean_squared")


def main():
    """Train with one worker and with two."""
    rng = np.random.default_rng(0)
    pairs, stars = ratings(rng, TRAIN)
    errors = []
    for parallel in (None, Hogwild(workers=2)):
        net = network()
        history = net.fit(pairs, stars, epochs=12, mini_batch_size=1, parallel=parallel, progress=False)
        found = net.evaluate(*ratings(np.random.default_rng(1), TEST), progress=False)
        errors.append(found["cost"] ** 0.5)
        report = history.epochs[-1].parallel
        print(f"error {errors[-1]:.3f}", f"({report['workers']}; {report['course']})" if report else "(no workers)")
    print(f"the ratings themselves are spread by {stars.std():.3f}, their noise by 0.1")
    assert max(errors) < stars.std(), "no better than the mean of all ratings yet: train for more epochs"


people, things = (np.random.default_rng(seed).normal(size=(n, TASTES)) / 2 for seed, n in ((2, PEOPLE), (3, THINGS)))

if __name__ == "__main__":  # worker processes import the script
    main()
