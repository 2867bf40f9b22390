"""What every Communicator does, run by each of its ranks; under mpiexec as `python -m tests.ranks.contract`."""

from collections.abc import Callable

import numpy as np

from gedanken.ranks.communicator import Communicator
from gedanken.ranks.mpi import world


def sums(ranks: Communicator) -> None:
    vector = np.arange(1000, dtype=np.float32) * (ranks.rank + 1)
    ranks.add(vector)
    assert np.array_equal(vector, np.arange(1000, dtype=np.float32) * (ranks.size * (ranks.size + 1) // 2))


def sums_have_the_same_bits_on_each_rank(ranks: Communicator) -> None:
    for size in (1, 7, 4_096, 300_000):
        vector = np.random.default_rng(ranks.rank).standard_normal(size).astype(np.float32)
        ranks.add(vector)
        assert len(set(ranks.gather(vector.tobytes()))) == 1


def broadcasts_from_each_rank(ranks: Communicator) -> None:
    for root in range(ranks.size):
        vector = np.full(5, ranks.rank, np.float64)
        ranks.broadcast(vector, root)
        assert np.array_equal(vector, np.full(5, root))


def gathers_values_of_any_length(ranks: Communicator) -> None:
    for longest in (0, 1, 3, 100_000):
        given = bytes([65 + ranks.rank]) * (longest * ranks.rank)
        assert ranks.gather(given) == [bytes([65 + rank]) * (longest * rank) for rank in range(ranks.size)]


def messages_come_in_order_and_by_tag(ranks: Communicator) -> None:
    if ranks.size == 1:
        return
    to, source = (ranks.rank + 1) % ranks.size, (ranks.rank - 1) % ranks.size
    for number in range(4):
        ranks.send(np.array([10 * ranks.rank + number]), to, tag=number % 2)
    found = np.empty(1, np.int64)
    for number in (1, 3, 0, 2):
        ranks.receive(found, source, tag=number % 2)
        assert found[0] == 10 * source + number


def two_ranks_swap_vectors_of_any_length(ranks: Communicator) -> None:
    """Sends that wait until somebody receives would wait for each other."""
    other = ranks.rank ^ 1
    if other >= ranks.size:
        return
    for size in (1, 1_000, 1_000_000):
        found = np.empty(size, np.float32)
        ranks.swap(np.full(size, ranks.rank, np.float32), other, found)
        assert np.array_equal(found, np.full(size, other))


def windows_take_what_all_add(ranks: Communicator) -> None:
    window = ranks.window(np.full(6, ranks.rank, np.float32))
    for rank in range(ranks.size):
        window.add(rank, 2, np.full(3, 1, np.float32))
    ranks.barrier()
    found = np.empty(6, np.float32)
    for rank in range(ranks.size):
        window.get(rank, 0, found)
        assert found.tolist() == [rank, rank, *(rank + ranks.size,) * 3, rank]
    ranks.barrier()
    window.close()


def numbers_are_counted_on_in_turn(ranks: Communicator) -> None:
    for kind in (np.float32, np.float64):
        window, rounds = ranks.window(np.full(3, 0.5, kind)), 50
        before = [window.advance(0, 1, 2) for _ in range(rounds)]
        every = np.concatenate([np.frombuffer(one) for one in ranks.gather(np.array(before, np.float64).tobytes())])
        assert sorted(every.tolist()) == [0.5 + 2 * number for number in range(rounds * ranks.size)], "each once"
        found = np.empty(3, kind)
        window.get(0, 0, found)
        assert found.tolist() == [0.5, 0.5 + 2 * rounds * ranks.size, 0.5]
        ranks.barrier()
        window.close()


def nobody_is_lost(ranks: Communicator) -> None:
    assert ranks.failed() == frozenset()


CONTRACT: list[Callable[[Communicator], None]] = [
    sums,
    sums_have_the_same_bits_on_each_rank,
    broadcasts_from_each_rank,
    gathers_values_of_any_length,
    messages_come_in_order_and_by_tag,
    two_ranks_swap_vectors_of_any_length,
    windows_take_what_all_add,
    numbers_are_counted_on_in_turn,
    nobody_is_lost,
]


def main() -> None:
    ranks = world()
    for check in CONTRACT:
        check(ranks)
        ranks.barrier()
    print(f"rank {ranks.rank} of {ranks.size}: {len(CONTRACT)} checks hold")  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main()
