"""The random streams against Philox 4x64-10 written from its paper; none depends on when it is read."""

import math
import zlib
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gedanken.random import DRAW_RANGE, Permutation, Purpose, _philox, generator, permutation, sample_draws
from gedanken.types import Array

quietly = settings(deadline=None, max_examples=50)
MASK = 2**64 - 1


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Return one block of four 64-bit words: ten rounds, the key raised by Weyl constants in between."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        first, second = c0 * 0xD2E7470EE14C6C93, c2 * 0xCA5A826395121157
        c0, c1, c2, c3 = (second >> 64) ^ c1 ^ k0, second & MASK, (first >> 64) ^ c3 ^ k1, first & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return [c0, c1, c2, c3]


def words(seed: int, purpose: int, place: str, epoch: int, block: int) -> list[int]:
    """Return block number `block` of a stream; NumPy counts up before the first block, hence + 1."""
    start = block + 1
    key = [seed, (purpose << 32) | zlib.crc32(place.encode())]
    return philox([start & MASK, start >> 64, epoch, 0], key)


@pytest.mark.parametrize(
    ("counter", "key", "block"),
    [
        (
            [0, 0, 0, 0],
            [0, 0],
            [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B],
        ),
        (
            [MASK] * 4,
            [MASK] * 2,
            [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0],
        ),
        (
            [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89],
            [0x452821E638D01377, 0xBE5466CF34E90C6C],
            [0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6],
        ),
    ],
)
def test_philox_of_this_file_gives_the_authors_known_answers(
    counter: list[int], key: list[int], block: list[int]
) -> None:
    assert philox(counter, key) == block


seeds = st.integers(0, 2**63 - 1)
places = st.text(max_size=12)
purposes = st.sampled_from(Purpose)
epochs = st.integers(0, 10**6)
positions = st.integers(0, 10**9)
sizes = st.integers(1, 40)


@quietly
@given(seeds, purposes, places, epochs, positions, st.integers(1, 4), sizes)
def test_draws_of_samples_are_philox(
    seed: int, purpose: Purpose, place: str, epoch: int, position: int, samples: int, each: int
) -> None:
    blocks = -(-each // 16)
    expected = []
    for sample in range(position, position + samples):
        draws = []
        for block in range(sample * blocks, (sample + 1) * blocks):
            for word in words(seed, purpose, place, epoch, block):
                draws += [(word >> shift) & 0xFFFF for shift in (0, 16, 32, 48)]
        expected.append(draws[:each])
    drawn = sample_draws(seed, purpose, place, epoch, position, samples, each)
    assert drawn.dtype == np.uint16
    assert drawn.tolist() == expected


@quietly
@given(seeds, purposes, places, epochs)
def test_generator_is_philox(seed: int, purpose: Purpose, place: str, epoch: int) -> None:
    expected = words(seed, purpose, place, epoch, 0) + words(seed, purpose, place, epoch, 1)
    drawn = generator(seed, purpose, place, epoch).integers(0, MASK, 8, np.uint64, endpoint=True)
    assert drawn.tolist() == expected


@quietly
@given(seeds, purposes, st.integers(1, 30), epochs)
def test_permutation_is_the_order_of_philox(seed: int, purpose: Purpose, size: int, epoch: int) -> None:
    keys = [word for block in range(-(-size // 4)) for word in words(seed, purpose, "", epoch, block)]
    assert permutation(seed, purpose, size, epoch).tolist() == sorted(range(size), key=keys.__getitem__)


@quietly
@given(seeds, positions, st.lists(st.integers(1, 6), min_size=1, max_size=5), sizes)
def test_draws_in_parts_equal_draws_at_once(seed: int, position: int, parts: list[int], each: int) -> None:
    def draws(start: int, samples: int) -> Array:
        return sample_draws(seed, Purpose.DROPOUT, "4", 2, start, samples, each)

    starts = [position + sum(parts[:i]) for i in range(len(parts))]
    pieces = [draws(start, samples) for start, samples in zip(starts, parts, strict=True)]
    np.testing.assert_array_equal(np.concatenate(pieces), draws(position, sum(parts)))


def test_every_argument_gives_a_stream_of_its_own() -> None:
    base = (1, Purpose.DROPOUT, "3", 0)
    streams = [
        base,
        (2, Purpose.DROPOUT, "3", 0),
        *[(1, purpose, "3", 0) for purpose in Purpose if purpose != Purpose.DROPOUT],
        (1, Purpose.DROPOUT, "4", 0),
        (1, Purpose.DROPOUT, "3.body.0", 0),
        (1, Purpose.DROPOUT, "", 0),
        (1, Purpose.DROPOUT, "3", 1),
    ]
    drawn = [sample_draws(*stream, position=0, samples=50, each=16) for stream in streams]
    for one, other in combinations(drawn, 2):
        assert np.mean(one == other) < 0.02  # chance alone: 1 in 65536
    generated = {float(generator(*stream).random()) for stream in streams}
    assert len(generated) == len(streams)


def test_samples_differ_from_each_other() -> None:
    drawn = sample_draws(0, Purpose.AUGMENTATION, "", 0, 0, samples=1000, each=5)
    assert len({tuple(row) for row in drawn.tolist()}) == 1000


def test_draws_are_uniform() -> None:
    drawn = sample_draws(7, Purpose.DROPOUT, "2", 3, 0, samples=1000, each=200)
    shares = np.bincount(drawn.ravel() >> 12, minlength=16) / drawn.size
    assert shares == pytest.approx(np.full(16, 1 / 16), abs=0.003)
    assert int(drawn.max()) < DRAW_RANGE
    assert int(drawn.max()) > 0.999 * DRAW_RANGE
    assert int(drawn.min()) < 0.001 * DRAW_RANGE


@pytest.mark.parametrize("size", [0, 1, 2, 1000])
def test_permutation_holds_every_number_once(size: int) -> None:
    order = permutation(5, Purpose.ORDER, size)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(size))


def test_permutation_follows_from_its_arguments() -> None:
    order = permutation(5, Purpose.ORDER, 500, epoch=3)
    np.testing.assert_array_equal(order, permutation(5, Purpose.ORDER, 500, epoch=3))
    for other in [
        permutation(6, Purpose.ORDER, 500, epoch=3),
        permutation(5, Purpose.HOLD_OUT, 500, epoch=3),
        permutation(5, Purpose.ORDER, 500, epoch=4),
        np.arange(500),
    ]:
        assert np.mean(order == other) < 0.02


def test_places_of_first_numbers_are_uniform() -> None:
    """Each of the 24 orders of four things comes up about equally often over many seeds."""
    orders = [tuple(permutation(seed, Purpose.ORDER, 4).tolist()) for seed in range(4800)]
    often = [orders.count(order) for order in set(orders)]
    assert len(often) == 24
    assert sum((count - 200) ** 2 / 200 for count in often) < 60  # chi-squared, 23 degrees: p = 4e-5


def test_no_global_state_is_read_or_written() -> None:
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    first = sample_draws(1, Purpose.DROPOUT, "3", 0, 0, 4, 4)
    generator(1, Purpose.WEIGHTS).random(10)
    permutation(1, Purpose.ORDER, 10)
    np.testing.assert_array_equal(first, sample_draws(1, Purpose.DROPOUT, "3", 0, 0, 4, 4))
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    np.testing.assert_equal(after, before)


def test_a_short_order_is_that_of_the_draws() -> None:
    for size in (1, 2, 100, 8191):
        order = permutation(3, Purpose.ORDER, size, 2)
        keys = np.atleast_1d(_philox(3, Purpose.ORDER, "", 2).random_raw(size))[order]
        assert sorted(order.tolist()) == list(range(size))
        assert (np.diff(keys.astype(object)) >= 0).all()


@pytest.mark.parametrize("size", [8192, 8281, 8282, 20_000])
def test_a_long_order_is_that_of_six_rounds(size: int) -> None:
    a = math.isqrt(size - 1) + 1
    b = -(-size // a)
    drawn = _philox(3, Purpose.ORDER, "", 2).random_raw(6 * a).tolist()
    found = permutation(3, Purpose.ORDER, size, 2)
    for place in (0, 1, b - 1, b, size // 2, size - 1):
        x = place
        while True:
            left, right = divmod(x, b)
            for number in range(6):
                if number % 2:
                    right = (right + ((drawn[number * a + left] >> 32) * b >> 32)) % b
                else:
                    left = (left + ((drawn[number * a + right] >> 32) * a >> 32)) % a
            x = left * b + right
            if x < size:
                break
        assert found[place] == x


@quietly
@given(st.integers(1, 70_000), seeds, st.data())
def test_a_part_of_an_order_is_found_by_itself(size: int, seed: int, data: st.DataObject) -> None:
    order = Permutation(seed, Purpose.ORDER, size, 1)
    whole = order.part(0, size)
    assert np.array_equal(np.sort(whole), np.arange(size))
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size))
    np.testing.assert_array_equal(order.part(start, stop), whole[start:stop])


def test_long_orders_are_as_any_others() -> None:
    """Over many seeds: where sixteenths of the places go, how often one stays, and how often two stay neighbours."""
    size, seeds_tried = 9000, 200
    places, bins = np.arange(size), np.zeros((16, 16))
    stayed = beside = 0
    for seed in range(seeds_tried):
        order = permutation(seed, Purpose.ORDER, size)
        np.add.at(bins, (places * 16 // size, order * 16 // size), 1)
        stayed += int((order == places).sum())
        beside += int((abs(np.diff(order)) == 1).sum())
    expected = bins.sum() / 256
    assert ((bins - expected) ** 2).sum() / expected < 330  # chi-squared, 225 degrees: p = 6e-6
    assert abs(stayed - seeds_tried) < 5 * seeds_tried**0.5  # one in the mean, as a Poisson variable
    assert abs(beside - 2 * seeds_tried) < 5 * (2 * seeds_tried) ** 0.5
