"""Sequences of different length: what stands behind their ends changes nothing."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

from gedanken import (
    GRU,
    LSTM,
    SGD,
    Adam,
    ArgumentError,
    BatchNorm,
    BinaryCrossEntropy,
    Branches,
    CrossEntropy,
    DataError,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    Heads,
    Layer,
    LayerNorm,
    Network,
    ReLU,
    Residual,
    Sequences,
    ShapeError,
    Sigmoid,
    SoftMax,
    Vocabulary,
)

T, WORDS = 7, 9


@dataclass(frozen=True, eq=False, repr=False)
class MeanOverTime(Layer):
    """The mean over the real places."""

    def output_shape(self, shape):
        return shape[1:]

    def output_lengths(self, shape, lengths):
        return None

    def forward(self, ctx, p, s, x):
        count = np.full(len(x), x.shape[1]) if ctx.lengths is None else ctx.lengths
        return ctx.ops.real_places(x, ctx.lengths).sum(axis=1) / count[:, None].astype(x.dtype), (x.shape, count)

    def backward(self, ctx, p, g, cache, dy):
        shape, count = cache
        spread = np.broadcast_to((dy / count[:, None].astype(dy.dtype))[:, None], shape)
        return ctx.ops.real_places(spread, ctx.lengths)


def texts(samples: int = 12, seed: int = 0) -> tuple[list[list[int]], np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = [rng.integers(1, WORDS, rng.integers(1, T + 1)).tolist() for _ in range(samples)]
    return rows, np.array([row[0] % 2 for row in rows])


def network(*layers: Layer, shape=(T,), engine="cpu", cost="cross_entropy") -> Network:
    net = Network(seed=3).input(shape)
    for layer in layers:
        net.add(layer)
    return net.regression(SGD(0.1), cost, engine=engine)


def reader(mask: int | None = 0, engine: str = "cpu") -> Network:
    inner = Residual([FullyConnectedLayer(6), ReLU(), LayerNorm()], FullyConnectedLayer(6))
    layers = Embedding(WORDS, 5, mask=mask), inner, MeanOverTime(), FullyConnectedLayer(2), SoftMax()
    return network(*layers, engine=engine)


@pytest.mark.parametrize("engine", ["cpu", "numpy"])
def test_a_sample_gives_the_same_whatever_it_is_padded_with_and_alone(engine: str) -> None:
    rows, _ = texts()
    by_mask, by_lengths = reader(0, engine), reader(None, engine)
    padded = Sequences.of(rows, T)
    noise = np.where(padded.real(), padded.values, 5)
    found = by_mask.feedforward(padded.values)
    assert np.array_equal(found, by_lengths.feedforward(Sequences(noise, padded.lengths)))
    assert np.array_equal(found, by_lengths.feedforward(rows))
    np.testing.assert_allclose(by_lengths.feedforward([rows[0]]), found[:1], atol=1e-6)
    for row, expected in zip(rows, found, strict=True):
        short = network(*reader(None).layers, shape=(len(row),), engine=engine)
        np.testing.assert_allclose(short.feedforward(np.array([row]))[0], expected, atol=1e-6)


def test_the_gradient_is_that_of_the_real_places() -> None:
    rows, labels = texts()
    trained = [reader(mask) for mask in (0, None)]
    trained[0].fit(Sequences.of(rows, T).values, labels, epochs=2, mini_batch_size=5, progress=False)
    noisy = Sequences.of(rows, T)
    noisy.values[~noisy.real()] = 4
    trained[1].fit(noisy, labels, epochs=2, mini_batch_size=5, progress=False)
    for name, value in trained[0]._plan.state().items():
        assert np.array_equal(value, trained[1]._plan.state()[name]), name


def test_a_training_stands_where_all_sequences_are_whole() -> None:
    data, labels = np.random.default_rng(0).normal(size=(10, 4, 3)).astype("float32"), np.arange(10) % 2
    plain, told = (
        network(FullyConnectedLayer(4), MeanOverTime(), FullyConnectedLayer(2), SoftMax(), shape=(4, 3)) for _ in "ab"
    )
    plain.fit(data, labels, epochs=2, validation_set=0.2, progress=False)
    told.fit(Sequences(data, np.full(10, 4)), labels, epochs=2, validation_set=0.2, progress=False)
    assert all(np.array_equal(value, told._plan.state()[name]) for name, value in plain._plan.state().items())


def test_outputs_at_padded_places_are_0() -> None:
    net = network(FullyConnectedLayer(2), shape=(3, 4), cost="mean_squared")
    y = net.feedforward(Sequences(np.ones((2, 3, 4), "float32"), [1, 3]))
    assert (y[0, 1:] == 0).all() and (y[0, 0] != 0).all() and (y[1] != 0).all()


def test_what_was_learnt_of_words_is_kept(tmp_path) -> None:
    rows, labels = texts(40)
    net = network(Embedding(WORDS, 5, mask=0), MeanOverTime(), FullyConnectedLayer(2), SoftMax())
    net.regression(Adam(0.05), "cross_entropy")
    data = Sequences.of(rows, T).values
    net.fit(data, labels, epochs=3, progress=False)
    net.save(tmp_path / "net.safetensors")
    again = Network.load(tmp_path / "net.safetensors", classes=[MeanOverTime])
    assert again.layers[0].mask == 0
    assert np.array_equal(net.feedforward(data), again.feedforward(data))
    assert net.check(data, labels).findings is not None


def test_lengths_that_are_told_are_taken_where_there_is_a_mask_too() -> None:
    rows, labels = texts(20)
    nets = [reader(), reader(), reader()]
    data = Sequences.of(rows, T)
    for net, given in zip(nets, (data.values, data, rows), strict=True):
        net.fit(given, labels, epochs=1, validation_set=(given, labels), progress=False)
    masked, told, listed = (net.feedforward(given) for net, given in zip(nets, (data.values, data, rows), strict=True))
    assert np.array_equal(masked, told)
    assert np.array_equal(masked, listed)


MEANT = np.array([[3, 4, 0, 0, 0, 0, 0], [5, 0, 0, 0, 0, 0, 0]])
FORMS = {
    "an array": MEANT,
    "a narrower array": MEANT[:, :3],
    "a wider array": np.pad(MEANT, ((0, 0), (0, 2))),
    "lists": [[3, 4], [5]],
    "padded lists": [[3, 4, 0], [5, 0, 0]],
    "lists padded to T": MEANT.tolist(),
    "a list of which one row is padded": [[3, 4, 0], [5]],
    "tuples of arrays": (MEANT[0, :3], MEANT[1, :3]),
    "an array of lists": np.array([[3, 4], [5], None], object)[:2],
    "Sequences": Sequences.of([[3, 4], [5]], T),
    "Sequences of fewer places": Sequences.of([[3, 4], [5]]),
    "Sequences of more places": Sequences.of([[3, 4], [5]], T + 2),
    "Sequences that are padded": Sequences(MEANT, [3, T]),
    "words behind the end": Sequences(MEANT + 6 * (MEANT == 0), [2, 1]),
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_end_where_the_mask_begins_however_they_are_given(form: str) -> None:
    net = reader()
    assert np.array_equal(net.feedforward(FORMS[form]), net.feedforward(MEANT))
    both = Network(seed=3).input(a=(T,), b=(T,))
    inner = Embedding(WORDS, 5, mask=0), MeanOverTime()
    both.add(Branches(a=[*inner], b=[*inner])).add(FullyConnectedLayer(2)).add(SoftMax()).regression()
    given = {"a": FORMS[form], "b": FORMS[form]}
    assert np.array_equal(both.feedforward(given), both.feedforward({"a": MEANT, "b": MEANT}))


WRONG = np.array([[3, 0, 4], [5, 0, 0]])


@pytest.mark.parametrize("given", [WRONG, WRONG.tolist(), [[3, 0, 4], [5]], Sequences(WRONG, [3, 1])])
def test_a_mask_within_a_row_is_refused_however_it_is_given(given) -> None:
    with pytest.raises(DataError, match=r"data must have the mask 0 at the end of a row only, .* in row 0"):
        reader().predict(given)


def test_a_vocabulary_needs_no_length() -> None:
    vocabulary = Vocabulary.of(["a fine film", "bad"])
    net = network(Embedding(len(vocabulary), 4), MeanOverTime(), FullyConnectedLayer(2), SoftMax())
    found = net.feedforward(vocabulary.encode(["a fine film", "bad"]))
    assert np.array_equal(found, net.feedforward(vocabulary.encode(["a fine film", "bad"], T)))


ROWS = np.array([[1, 2, 0], [3, 0, 0]])


class Own(Layer):
    """y = x, and says of lengths what `told` does."""

    def __init__(self, told):
        object.__setattr__(self, "told", told)

    def output_shape(self, shape):
        return shape

    def output_lengths(self, shape, lengths):
        return self.told(lengths)

    def forward(self, ctx, p, s, x):
        return x, None

    def backward(self, ctx, p, g, cache, dy):
        return dy


class OverTime(Branches):
    """Branches that are joined along time, which no lengths go through."""

    def joined_shape(self, shapes):
        return (sum(one[0] for one in shapes), *shapes[0][1:])

    def join(self, ctx, ys):
        return np.concatenate(ys, axis=1)

    def split(self, ctx, dy, widths):
        return np.split(dy, len(widths), axis=1)


@pytest.mark.parametrize("engine", ["cpu", "numpy"])
@pytest.mark.parametrize(
    ("told", "kind", "message"),
    [
        (lambda lengths: lengths + 1, ShapeError, r"layer 0 Own\(\) must .*2 whole numbers in \[1, 3\], got 4"),
        (lambda lengths: lengths * 10**7, ShapeError, r"\[1, 3\], got 30000000"),
        (lambda lengths: lengths * 0, ShapeError, r"\[1, 3\], got 0"),
        (lambda lengths: lengths - 1, DataError, r"sequence 0 has 1 places, too few for layer 0 Own"),
        (lambda lengths: lengths * 1.0, ShapeError, r"one for each sequence, got a ndarray \(2,\) of float64"),
        (lambda lengths: lengths > 0, ShapeError, "of bool"),
        (lambda lengths: lengths[:1], ShapeError, r"got a ndarray \(1,\) of int64"),
        (lambda lengths: lengths.tolist(), ShapeError, "got a list"),
        (lambda lengths: np.ma.array(lengths, mask=[1, 0]), ShapeError, "MaskedArray"),
        (lambda lengths: 3, ShapeError, "got a int"),
        (lambda lengths: None, ShapeError, "one for each sequence, got a NoneType"),
        (lambda lengths: lengths.fill(1), ArgumentError, "must not change lengths in place"),
        (lambda lengths: 1 // 0, ZeroDivisionError, "division"),
    ],
)
def test_lengths_of_an_own_layer_are_looked_at(engine: str, told, kind, message: str) -> None:
    net = network(Own(told), GRU(4, last=True), FullyConnectedLayer(2), SoftMax(), shape=(3, 2), engine=engine)
    with pytest.raises(kind, match=message) as error:
        net.feedforward(Sequences(np.ones((2, 3, 2), "float32"), [1, 3]))
    assert kind is not ZeroDivisionError or "layer 0 Own()" in error.value.__notes__[0]


@pytest.mark.parametrize("engine", ["cpu", "numpy"])
@pytest.mark.parametrize("kind", ["int32", ">i8", "uint64", "every second"])
def test_lengths_of_an_own_layer_may_lie_as_they_like(engine: str, kind: str) -> None:
    def told(lengths):
        return np.repeat(lengths, 2)[::2] if kind == "every second" else lengths.astype(kind)

    data = Sequences(np.random.default_rng(0).normal(size=(5, 6, 3)).astype("float32"), [6, 1, 3, 2, 5])
    layers = GRU(4, last=True), FullyConnectedLayer(2), SoftMax()
    found = [network(Own(one), *layers, shape=(6, 3), engine=engine) for one in (told, lambda lengths: lengths)]
    for net in found:
        net.fit(data, np.arange(5) % 2, epochs=2, progress=False)
    assert np.array_equal(found[0].feedforward(data), found[1].feedforward(data))


REFUSED = {
    "joined along time": (
        lambda: network(OverTime([], []), MeanOverTime(), SoftMax(), shape=(3, 4)).predict(
            Sequences(np.ones((2, 3, 4)), [1, 2])
        ),
        ShapeError,
        r"OverTime.* joins sequences \(3, 4\) to \(6, 4\)",
    ),
    "a mask within": (
        lambda: reader().fit(np.tile([1, 0, 2, 0, 0, 0, 0], (2, 1)), [0, 1]),
        DataError,
        "end of a row",
    ),
    "nothing but the mask": (lambda: reader().predict(np.zeros((2, T), int)), DataError, "none in row 0"),
    "a narrower array": (
        lambda: reader(None).predict(MEANT[:, :3]),
        DataError,
        r"shape \(N, 7\), got \(2, 3\); use Sequences.of\(...\) for sequences that are shorter",
    ),
    "Sequences too long": (
        lambda: reader(None).predict(Sequences.of([[1], [1] * 8])),
        DataError,
        "data must have at most 7 places, got 8 in row 1",
    ),
    "fewer labels than places": (
        lambda: network(FullyConnectedLayer(3), SoftMax(), shape=(T, 3)).fit(PLACES, [[1] * 4, [1], [1] * 3, [1]]),
        DataError,
        "labels must have one for each place of the network's output, got 1 for 2 in row 1",
    ),
    "fewer labels than T": (
        lambda: network(FullyConnectedLayer(3), SoftMax(), shape=(T, 3)).fit(PLACES.values, TAGS),
        DataError,
        "got 4 for 7 in row 0",
    ),
    "labels of places for one output": (
        lambda: network(Flatten(), FullyConnectedLayer(3), SoftMax(), shape=(T, 3)).fit(PLACES.values, TAGS),
        DataError,
        r"labels must be an array, since outputs of shape \(3,\) have no places",
    ),
    "a wrong label at a real place": (
        lambda: network(FullyConnectedLayer(3), SoftMax(), shape=(T, 3)).fit(PLACES, TAGS.values + 1),
        DataError,
        r"from 0 to 2, got 3 in index \(0, 1\)",
    ),
    "too long": (lambda: reader(None).predict([[1] * T, [1] * (T + 1)]), DataError, "at most 7 places, got 8 in row 1"),
    "features": (
        lambda: network(FullyConnectedLayer(2), shape=(3,), cost="mean_squared").predict([[1.0, 2], [3]]),
        DataError,
        "different shapes",
    ),
    "features as sequences": (
        lambda: network(FullyConnectedLayer(2), shape=(3,), cost="mean_squared").predict(Sequences(ROWS, [1, 2])),
        DataError,
        r"takes no sequences but \(3,\)",
    ),
    "an empty one": (lambda: reader(None).predict([[1], []]), DataError, "at least one place"),
    "a mask beyond": (lambda: Embedding(4, 2, mask=4), ArgumentError, "Embedding mask"),
    "no sequence": (lambda: network(Embedding(4, 2, mask=0), shape=()), ShapeError, "for its mask"),
    "lengths beyond": (lambda: Sequences(ROWS, [1, 4]), DataError, r"in \[1, 3\], got 4 in row 1"),
    "lengths of 0": (lambda: Sequences(ROWS, [0, 1]), DataError, "got 0 in row 0"),
    "other lengths": (lambda: Sequences(ROWS, [1]), DataError, "2 whole numbers"),
    "no numbers": (lambda: Sequences(ROWS, [1.0, 2.0]), DataError, "whole numbers"),
    "nobody honours it": (
        lambda: network(Embedding(4, 2, mask=0), Flatten(), FullyConnectedLayer(2), SoftMax()),
        ShapeError,
        r"layer 1 Flatten\(\) does not honour the lengths of sequences",
    ),
    "nobody honours them": (
        lambda: network(BatchNorm(), Flatten(), FullyConnectedLayer(2), SoftMax(), shape=(3, 4)).predict(
            Sequences(np.ones((2, 3, 4)), [1, 2])
        ),
        ShapeError,
        r"layer 1 Flatten\(\) does not honour",
    ),
    "different masks": (
        lambda: network(Branches(Embedding(4, 2, mask=0), Embedding(4, 2)), MeanOverTime(), SoftMax()),
        ShapeError,
        "other masks",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_refused(name: str) -> None:
    work, kind, told = REFUSED[name]
    with pytest.raises(kind, match=told):
        work()


LENGTHS = np.array([4, 2, 3, 1])
PLACES = Sequences(np.random.default_rng(1).normal(size=(4, T, 3)).astype("float32"), LENGTHS)
TAGS = Sequences.of([[1, 2, 0, 1], [2, 0], [1, 1, 2], [1]], T)
BEHIND = ~TAGS.real()
ONE_HOT = np.eye(3)[TAGS.padded()]
LABELS = {
    "lists": [[1, 2, 0, 1], [2, 0], [1, 1, 2], [1]],
    "lists padded to the longest": [[1, 2, 0, 1], [2, 0, 9, 9], [1, 1, 2, 9], [1, 9, 9, 9]],
    "Sequences": TAGS,
    "Sequences of fewer places": Sequences.of([[1, 2, 0, 1], [2, 0], [1, 1, 2], [1]]),
    "-1": np.where(BEHIND, -1, TAGS.values),
    "-100": np.where(BEHIND, -100, TAGS.values),
    "NaN": np.where(BEHIND, np.nan, TAGS.values),
    "a class": np.where(BEHIND, 2, TAGS.values),
    "one-hot": ONE_HOT,
    "one-hot with NaN": np.where(BEHIND[..., None], np.nan, ONE_HOT),
    "one-hot Sequences": Sequences(ONE_HOT, LENGTHS),
    "one-hot lists": [row[:length].tolist() for row, length in zip(ONE_HOT, LENGTHS, strict=True)],
}


@pytest.mark.parametrize("cost", [CrossEntropy(), CrossEntropy(class_weights="balanced")])
@pytest.mark.parametrize("form", LABELS)
def test_labels_behind_the_ends_are_never_looked_at(form: str, cost: CrossEntropy) -> None:
    def trained(labels) -> tuple:
        net = network(LSTM(4), FullyConnectedLayer(3), SoftMax(), shape=(T, 3), cost=cost)
        history = net.fit(PLACES, labels, validation_set=(PLACES, labels), mini_batch_size=3, progress=False)
        return *history["cost"], *history["validation_accuracy"], net.check(PLACES, labels).figures.initial_cost

    assert trained(LABELS[form]) == trained(TAGS.padded())


def test_balanced_weights_count_real_places_of_every_head() -> None:
    labels = np.where(BEHIND, 0, TAGS.values)
    counts = np.bincount(labels[~BEHIND], minlength=3)
    yes = (labels > 0)[..., None]
    cost = {"tag": CrossEntropy(class_weights="balanced"), "yes": BinaryCrossEntropy(class_weights="balanced")}
    heads = Heads(tag=[FullyConnectedLayer(3), SoftMax()], yes=[FullyConnectedLayer(1), Sigmoid()])
    net = network(FullyConnectedLayer(4), heads, shape=(T, 3), cost=cost)
    net.fit(PLACES, {"tag": labels, "yes": yes}, progress=False)
    found = net._cost.costs
    np.testing.assert_allclose(found["tag"].class_weights, 10 / (3 * counts))
    np.testing.assert_allclose(found["yes"].class_weights, [10 / (2 * counts[0]), 10 / (2 * counts[1:].sum())])
    held = network(FullyConnectedLayer(3), SoftMax(), shape=(T, 3), cost=CrossEntropy(class_weights="balanced"))
    held.fit(PLACES, labels, validation_set=0.25, progress=False)
    assert sum(1 / weight for weight in held._cost.class_weights) == pytest.approx(3)


def test_a_checkup_counts_labels_of_real_places() -> None:
    net = network(FullyConnectedLayer(2), SoftMax(), shape=(50, 3))
    rng = np.random.default_rng(0)
    data = Sequences(rng.normal(size=(40, 50, 3)).astype("float32"), np.full(40, 2))
    labels = np.zeros((40, 50), int)
    labels[:, 1] = 1  # one of two real places, one of fifty that are there
    assert "class-imbalance" not in {one.code for one in net.check(data, labels).findings}


def test_sequences_are_taken_sliced_copied_and_pickled() -> None:
    whole = Sequences.of([[1, 2], [3], [4, 5, 6]])
    assert whole.shape == (3, 3) and len(whole) == 3 and "1 to 3" in repr(whole)
    for part in (whole[[2, 0]], whole[np.array([2, 0])], pickle.loads(pickle.dumps(whole))[[2, 0]]):
        assert part.padded().tolist() == [[4, 5, 6], [1, 2, 0]] and part.lengths.tolist() == [3, 2]
    assert whole[1:].copy().lengths.tolist() == [1, 3]
    with pytest.raises(DataError, match="slice or a list"):
        whole[0]


@pytest.mark.parametrize("other", [[1, 2], np.array([1, 2, 3], "int32"), np.array([1])])
def test_sequences_stay_as_they_are_made(other) -> None:
    whole = Sequences.of([[1, 2], [3], [4, 5, 6]])
    with pytest.raises(ArgumentError, match="Sequences must stay as they are made, got other lengths"):
        whole.lengths = other


@pytest.mark.parametrize("engine", ["cpu", "numpy"])
@pytest.mark.parametrize("length", [0, -5, 7, 10**7])
def test_lengths_that_are_changed_in_place_are_looked_at_again(engine: str, length: int) -> None:
    net = network(GRU(4, last=True), FullyConnectedLayer(2), SoftMax(), shape=(6, 3), engine=engine)
    data = Sequences(np.ones((5, 6, 3), "float32"), [6, 1, 3, 2, 5])
    data.lengths[3] = length
    with pytest.raises(DataError, match=rf"in \[1, 6\], got {length} in row 3"):
        net.feedforward(data)
