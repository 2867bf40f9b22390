"""Sequences of different length from Generators: mini-batches have their lengths, whoever makes them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gedanken import (
    LSTM,
    ArgumentError,
    ArrayGenerator,
    Branches,
    DataError,
    DatasetGenerator,
    FullyConnectedLayer,
    Generator,
    IterableGenerator,
    Network,
    Samples,
    Sequences,
    SoftMax,
)

T, N = 8, 30
RNG = np.random.default_rng(0)
ROWS = [RNG.normal(size=(length, 3)).astype("float32") for length in RNG.integers(1, T + 1, N)]
LABELS = np.arange(N) % 2
TAGS = [RNG.integers(0, 2, len(row)) for row in ROWS]
WHOLE = Sequences.of(ROWS, T)
PAIRS = [*zip(ROWS, LABELS, strict=True)]


class Items(Generator):
    """Calls that each give so many items or, as one, so many samples."""

    def __init__(self, some: int, together: bool, labels: Any = LABELS, **options: Any) -> None:
        self.some, self.together, self.labels = some, together, labels
        super().__init__(**options)

    def __len__(self) -> int:
        return N // self.some

    def get_mini_batches(self, index: int) -> list[Any]:
        place = slice(index * self.some, (index + 1) * self.some)
        if self.together:
            return [Samples((ROWS[place], self.labels[place]))]
        return [*zip(ROWS[place], self.labels[place], strict=True)]


class Given(Generator):
    """The items of one call."""

    def __init__(self, *items: Any, **options: Any) -> None:
        self.items = items
        super().__init__(workers=0, **options)

    def __len__(self) -> int:
        return 1

    def get_mini_batches(self, index: int) -> list[Any]:
        return [*self.items]


def unchanged(rng: Any, item: Any) -> Any:
    assert item[0].ndim == 2  # a sequence of its own length
    return item


SOURCES: dict[str, Callable[..., Generator]] = {
    "items": lambda **o: Items(1, False, pad_to=T, **o),
    "several items": lambda **o: Items(5, False, pad_to=T, **o),
    "Samples": lambda **o: Items(5, True, pad_to=T, **o),
    "Samples of Sequences": lambda **o: Given(
        Samples((WHOLE[:11], LABELS[:11])), Samples((WHOLE[11:], LABELS[11:])), **{**o, "mode": "serial"}
    ),
    "Samples of Sequences of other places": lambda **o: Given(
        Samples((Sequences.of(ROWS[:9]), LABELS[:9])), Samples((Sequences.of(ROWS[9:]), LABELS[9:])), pad_to=T, **o
    ),
    "transforms": lambda **o: Items(1, False, pad_to=T, transforms=[unchanged], **o),
    "transforms of Samples": lambda **o: Items(5, True, pad_to=T, transforms=[unchanged], **o),
    "ArrayGenerator of Sequences": lambda **o: ArrayGenerator(WHOLE, LABELS, **o),
    "ArrayGenerator of a list": lambda **o: ArrayGenerator(ROWS, LABELS, **o),
    "ArrayGenerator of a tuple": lambda **o: ArrayGenerator((ROWS, LABELS), **o),
    "ArrayGenerator with transforms": lambda **o: ArrayGenerator(ROWS, LABELS, transforms=[unchanged], **o),
    "DatasetGenerator": lambda **o: DatasetGenerator(PAIRS, pad_to=T, **o),
    "IterableGenerator": lambda **o: IterableGenerator(PAIRS, pad_to=T, **o),
}


@pytest.mark.parametrize("name", SOURCES)
def test_mini_batches_have_the_lengths(name: str) -> None:
    with SOURCES[name](mini_batch_size=7) as generator:
        batches = [*generator]
    assert [len(x) for x, _ in batches] == [7, 7, 7, 7, 2]
    assert all(isinstance(x, Sequences) for x, _ in batches)
    assert np.array_equal(np.concatenate([x.values for x, _ in batches]), WHOLE.values)
    assert np.array_equal(np.concatenate([x.lengths for x, _ in batches]), WHOLE.lengths)
    assert np.array_equal(np.concatenate([y for _, y in batches]), LABELS)


@pytest.mark.parametrize("options", [{"mode": "threads"}, {"mode": "processes"}, {"order": "as ready"}], ids=str)
def test_workers_make_the_same(options: dict[str, Any]) -> None:
    with Items(5, False, pad_to=T, mini_batch_size=7, workers=2, **options) as generator:
        batches = [*generator, *generator]
    if options.get("order"):
        assert sum(int(x.lengths.sum()) for x, _ in batches) == 2 * WHOLE.lengths.sum()
        return
    assert np.array_equal(np.concatenate([x.values for x, _ in batches]), np.tile(WHOLE.values, (2, 1, 1)))
    assert np.array_equal(np.concatenate([x.lengths for x, _ in batches]), np.tile(WHOLE.lengths, 2))


def tagger(last: bool) -> Network:
    net = Network(seed=1).input((T, 3)).add(LSTM(4, last=last))
    return net.add(FullyConnectedLayer(2)).add(SoftMax()).regression(engine="cpu")


@pytest.mark.parametrize("name", SOURCES)
def test_a_network_learns_from_them_as_from_arrays(name: str) -> None:
    expected, found = tagger(True), tagger(True)
    told = expected.fit(WHOLE, LABELS, shuffle=False, mini_batch_size=7, progress=False)
    with SOURCES[name](mini_batch_size=7) as generator:
        assert found.fit(generator, validation_set=generator, progress=False)["cost"] == told["cost"]
        assert found.check(generator).figures.looked_at == N
    assert np.array_equal(found.feedforward(ROWS), expected.feedforward(ROWS))


def test_labels_of_places_have_lengths_too() -> None:
    told = tagger(False).fit(ROWS, TAGS, shuffle=False, mini_batch_size=7, progress=False)["cost"]
    for generator in (
        Items(3, False, TAGS, pad_to={0: T, 1: T}, mini_batch_size=7),
        Items(3, True, TAGS, pad_to={0: T, 1: T}, mini_batch_size=7),
        ArrayGenerator(ROWS, TAGS, mini_batch_size=7),
    ):
        with generator:
            assert tagger(False).fit(generator, progress=False)["cost"] == told


def test_inputs_by_name_have_lengths_of_their_own() -> None:
    data = {"text": ROWS, "table": RNG.normal(size=(N, 2)).astype("float32")}

    def made() -> Network:
        net = Network(seed=1).input(text=(T, 3), table=(2,)).add(Branches(text=[LSTM(4, last=True)], table=[]))
        return net.add(FullyConnectedLayer(2)).add(SoftMax()).regression()

    told = made().fit(data, LABELS, shuffle=False, mini_batch_size=7, progress=False)["cost"]
    with ArrayGenerator(data, LABELS, mini_batch_size=7) as generator:
        assert made().fit(generator, progress=False)["cost"] == told
    pairs = [({"text": row, "table": table}, label) for (row, label), table in zip(PAIRS, data["table"], strict=True)]
    with DatasetGenerator(pairs, pad_to={(0, "text"): T}, mini_batch_size=7) as generator:
        assert made().fit(generator, progress=False)["cost"] == told
    with ArrayGenerator({"text": ROWS, "label": LABELS}, mini_batch_size=7) as generator:
        assert [sorted(batch) for batch in generator] == [["label", "text"]] * 5
    with ArrayGenerator(ROWS, mini_batch_size=N) as generator:
        assert np.array_equal(next(iter(generator)).lengths, WHOLE.lengths)


def test_a_stream_of_sequences_goes_on_where_it_was() -> None:
    with Items(4, True, pad_to=T, mini_batch_size=5, shuffle=True) as generator:
        stream = iter(generator)
        next(stream)
        state = generator.state_dict()
        rest = [*stream]
    with Items(4, True, pad_to=T, mini_batch_size=5, shuffle=True) as again:
        again.load_state_dict(state)
        for (x, _), (same, _) in zip(rest, again, strict=True):
            assert np.array_equal(x.values, same.values) and np.array_equal(x.lengths, same.lengths)


ONE, OTHER = np.ones((3, 2)), np.ones((4, 2))
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no pad_to": (
        lambda: Given((ONE, 0), (OTHER, 1)), DataError,
        r"item 1 of .* must have shape \(3, 2\) as in the first item, got \(4, 2\); for sequences of .* pad_to=T"
    ),
    "longer": (lambda: Given((OTHER, 0), pad_to=3), DataError, "entry 0 must have at most 3 places, got 4 in row 0"),
    "longer in Samples": (lambda: Given(Samples(([ONE, OTHER], [0, 1])), pad_to=3), DataError, "got 4 in row 1"),
    "a number": (lambda: Given((1.0, 0), pad_to=3), DataError, "entry 0: samples must be sequences"),
    "a number in Samples": (
        lambda: Given(Samples((1.0, 0)), pad_to=3), DataError, "entry 0 must be sequences, got 1.0"
    ),
    "other features": (lambda: Given((ONE, 0), (ONE[:, :1], 1), pad_to=3), DataError, r"got \(3, 1\)"),
    "no such entry": (
        lambda: Given((ONE, 0), pad_to={"text": 3}), DataError, r"must have an entry 'text', .* got entries 0, 1"
    ),
    "Sequences as a sample": (lambda: Given((WHOLE, 0)), DataError, r"are several samples: put the item into Samples"),
    "Sequences as a sample, padded": (lambda: Given((WHOLE, 0), pad_to=T), DataError, r"put the item into Samples"),
    "an array later": (
        lambda: Given(Samples((WHOLE, LABELS)), Samples((WHOLE.values, LABELS))), DataError,
        "item 1 of .*: entry 0 must be Sequences as in the first item"
    ),
    "Sequences later": (
        lambda: Given(Samples((WHOLE.values, LABELS)), Samples((WHOLE, LABELS))), DataError,
        "item 1 of .*: entry 0 must be an array as in the first item, got Sequences of shape"
    ),
    "a sample later": (
        lambda: Given(Samples((WHOLE, LABELS)), (WHOLE.values[0], 1)), DataError,
        "item 1 of .* must be Samples with Sequences as the first item is"
    ),
    "another T": (
        lambda: Given(Samples((WHOLE, LABELS)), Samples((Sequences.of(ROWS, 9), LABELS))), DataError, "pad_to=T"
    ),
    "pad_to 0": (lambda: Given(pad_to=0), ArgumentError, "pad_to must be"),
    "pad_to of a word": (lambda: Given(pad_to={"text": "8"}), ArgumentError, r"pad_to\['text'\] must be"),
    "a wrong key": (lambda: Given(pad_to={1.5: 8}), ArgumentError, "pad_to must be"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    make, kind, told = WRONG[name]
    with pytest.raises(kind, match=told):
        list(make())
