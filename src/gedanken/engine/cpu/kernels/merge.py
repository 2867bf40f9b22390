"""Updates of a vector that several workers change at the same time."""

from gedanken.engine.cpu.language import Int, Ints, Reals, exchange, lanes


def merge(task: Int, scratch: Reals, shared: Reals, before: Reals, after: Reals, size: Int):
    """Add after - before to `shared` such that nothing is lost that another thread adds meanwhile.

    Where nobody has changed a number since it was read, it becomes just what `after` says: the difference of two
    numbers, added to the first, is not always the second.
    """
    for i in range(size):
        if exchange(shared, i, before[i], after[i]) == 0:
            step = after[i] - before[i]
            seen = shared[i]
            while exchange(shared, i, seen, seen + step) == 0:
                seen = shared[i]


def collide(task: Int, scratch: Reals, shared: Reals, before: Reals, after: Reals, size: Int, lost: Ints):
    """Add after - before to `shared`, each number read just before it is written, as a plain update does.

    lost[0] = how many numbers another thread changed in between: a plain update would have lost these additions.
    """
    collisions = 0
    for i in range(size):
        step = after[i] - before[i]
        seen = shared[i]
        while exchange(shared, i, seen, after[i] if seen == before[i] else seen + step) == 0:
            collisions += 1
            seen = shared[i]
    lost[0] = collisions


def meet(task: Int, scratch: Reals, shared: Reals, mine: Reals, before: Reals, weights: Reals, size: Int):
    """Add, weighted, how a worker's copy has changed since `before` to what all share; make both what comes of it."""
    for i in lanes(size):
        now = shared[i] + weights[i] * (mine[i] - before[i])
        shared[i] = now
        mine[i] = now
        before[i] = now
