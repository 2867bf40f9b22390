"""CTC: label sequences that nobody has aligned with the places of the outputs."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    CTC,
    GRU,
    SGD,
    ArgumentError,
    ArrayGenerator,
    DataError,
    Flatten,
    FullyConnectedLayer,
    Generator,
    Heads,
    LogSoftMax,
    MeanAbsoluteError,
    Network,
    Sequences,
    ShapeError,
    SoftMax,
)
from gedanken.costs import Cost
from gedanken.costs.alignment import distance
from gedanken.errors import GedankenError
from gedanken.ops import Ops
from gedanken.types import Array

T, K = 8, 4
RNG = np.random.default_rng(0)
LENGTHS = [8, 5, 3, 6, 8, 2]
LABELS = [[1, 2, 3], [2, 2, 1], [], [3, 1, 3, 1], [1, 1], [3]]
SAMPLES = [RNG.normal(size=(length, 3)) for length in LENGTHS]


def net(*layers: Any, cost: Any = "ctc", engine: str = "cpu", places: int = T) -> Network:
    made = Network(seed=0).input((places, 3))
    for layer in layers or (GRU(4), FullyConnectedLayer(K)):
        made.add(layer)
    return made.regression(SGD(0.1), cost, engine=engine, dtype="float64")


def read(alignment: tuple[int, ...], blank: int) -> list[int]:
    """Return what an alignment says: without repeats, then without blanks."""
    return [one for one, _ in itertools.groupby(alignment) if one != blank]


def by_counting(y: Array, labels: list[int], blank: int) -> float:
    """Return the cost of outputs (T, K) of one sample: the sum over all alignments, one by one."""
    shares = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    total = 0.0
    for alignment in itertools.product(range(y.shape[1]), repeat=len(y)):
        if read(alignment, blank) == labels:
            total += math.prod(shares[place, one] for place, one in enumerate(alignment))
    return -math.log(total) if total else math.inf


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("labels", [[], [1], [1, 3], [1, 1], [3, 1, 3], [1, 1, 1], [1, 3, 1, 3, 1, 1]], ids=str)
def test_it_is_the_sum_over_all_alignments(labels: list[int], blank: int) -> None:
    y = np.random.default_rng(1).normal(size=(5, 4))
    target = np.array([[5, len(labels), *labels, *[blank] * (5 - len(labels))][:7]])
    cost = float(CTC(blank, reduction="sum")(Ops(dtype="float64"), y[None], target)[0])
    assert cost == pytest.approx(by_counting(y, labels, blank), rel=1e-12)


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize("reduction", ["mean", "batch_mean", "sum"])
def test_places_behind_the_end_do_not_count(engine: str, reduction: str) -> None:
    """Mini-batches are cut to what their longest sequence needs, which nobody sees either."""
    cost = CTC(reduction=reduction)
    made = net(cost=cost, engine=engine)
    alone = []
    for sample, labels in zip(SAMPLES, LABELS, strict=True):
        one = net(cost=cost, engine=engine, places=len(sample))
        alone.append(one.evaluate(sample[None], [labels], progress=False)["cost"])
    expected = sum(alone) / (1 if reduction == "sum" else len(alone))
    for samples in (SAMPLES, Sequences.of(SAMPLES, T)):
        assert made.evaluate(samples, LABELS, progress=False)["cost"] == pytest.approx(expected, rel=1e-9)
    history = made.fit(SAMPLES, LABELS, mini_batch_size=1, epochs=1, shuffle=False, progress=False)
    assert np.isfinite(history["cost"][0])


FORMS = {
    "lists": LABELS,
    "array": np.array([row + [0] * (4 - len(row)) for row in LABELS]),
    "wide array": np.array([row + [0] * (12 - len(row)) for row in LABELS]),
    "floats": np.array([row + [0.0] * (4 - len(row)) for row in LABELS]),
    "objects": np.array([*map(np.array, LABELS)], dtype=object),
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_come_in_any_form(form: str) -> None:
    outputs = np.zeros((len(LABELS), T, K))
    assert CTC().label_error_rate(outputs, FORMS[form]) == 1  # nothing is read, so that each label is missed once
    expected = net().evaluate(SAMPLES, LABELS, progress=False)["cost"]
    assert net().evaluate(SAMPLES, FORMS[form], progress=False)["cost"] == expected


class Spoken(Generator):
    def __init__(self, labels: list[list[int]]) -> None:
        super().__init__(mini_batch_size=2, pad_to={0: T, 1: T})
        self.labels = labels

    def __len__(self) -> int:
        return len(SAMPLES)

    def get_mini_batches(self, index: int) -> list[Any]:
        return [(SAMPLES[index], self.labels[index])]


def test_labels_come_as_sequences_and_from_a_generator() -> None:
    """Where there are none, as one blank."""
    expected = net().evaluate(SAMPLES, LABELS, progress=False)["cost"]
    labels = [row or [0] for row in LABELS]
    assert net().evaluate(SAMPLES, Sequences.of(labels), progress=False)["cost"] == expected
    for source in (
        ArrayGenerator(Sequences.of(SAMPLES, T), Sequences.of(labels), mini_batch_size=2),
        ArrayGenerator(SAMPLES, labels, mini_batch_size=2),
        Spoken(labels),
    ):
        assert net().evaluate(source, progress=False)["cost"] == pytest.approx(expected, rel=1e-12)
    hint = "of real numbers, got .* in row .; labels of CTC of which there are none are given as one blank"
    with pytest.raises(DataError, match=hint):
        ArrayGenerator(SAMPLES, LABELS)
    with pytest.raises(DataError, match=hint):
        net().evaluate(Spoken(LABELS), progress=False)


def test_what_fits_nowhere_costs_nothing_where_it_may() -> None:
    labels = [*LABELS[:5], [3, 3]]
    cost, few = CTC(zero_infinity=True, reduction="sum"), slice(0, 5)
    expected = net(cost=cost).evaluate(SAMPLES[few], LABELS[few], progress=False)["cost"]
    for engine in ("numpy", "cpu"):
        made = net(cost=cost, engine=engine)
        assert made.evaluate(SAMPLES, labels, progress=False)["cost"] == pytest.approx(expected, rel=1e-12)
        assert np.isfinite(made.fit(SAMPLES, labels, epochs=1, progress=False)["cost"][0])


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
def test_it_is_learnt_by_its_name_with_weights(engine: str) -> None:
    weights, made = np.array([1.0, 2.0, 0.0, 1.0, 1.0, 1.0]), net(engine=engine)
    history = made.fit(SAMPLES, LABELS, weights, epochs=20, mini_batch_size=3, validation_set=0.3, progress=False)
    assert history["cost"][-1] < history["cost"][0]
    assert made.predict(SAMPLES).shape == (6, T, K)
    alone = [made.evaluate([x], [y], progress=False)["cost"] for x, y in zip(SAMPLES, LABELS, strict=True)]
    weighed = made.evaluate(SAMPLES, LABELS, weights, progress=False)["cost"]
    assert weighed == pytest.approx((weights * alone).mean(), rel=1e-9)


def test_logarithms_of_probabilities_are_scores() -> None:
    one, other = net(), net(GRU(4), FullyConnectedLayer(K), LogSoftMax())
    first, second = (made.fit(SAMPLES, LABELS, epochs=3, progress=False)["cost"] for made in (one, other))
    np.testing.assert_allclose(first, second, rtol=1e-9)


def test_both_engines_train_alike_and_a_file_keeps_the_cost(tmp_path: Path) -> None:
    made = {engine: net(cost=CTC(blank=0), engine=engine) for engine in ("numpy", "cpu")}
    costs = [one.fit(SAMPLES, LABELS, epochs=3, progress=False)["cost"] for one in made.values()]
    np.testing.assert_allclose(*costs, rtol=1e-9)
    made["cpu"].save(tmp_path / "net.safetensors")
    again = Network.load(tmp_path / "net.safetensors")
    figures = [one.evaluate(SAMPLES, LABELS, progress=False) for one in (again, made["cpu"])]
    assert figures[0]["cost"] == figures[1]["cost"]


def test_it_is_the_cost_of_a_head() -> None:
    heads = Heads(words=[FullyConnectedLayer(K)], level=[FullyConnectedLayer(1)])
    costs: dict[str, str | Cost] = {"words": CTC(), "level": "mean_squared"}
    made = net(GRU(4), heads, cost=costs)
    level = [sample[:, :1] for sample in SAMPLES]
    history = made.fit(SAMPLES, {"words": LABELS, "level": level}, epochs=2, progress=False)
    assert history["cost"][1] < history["cost"][0]


def test_a_check_finds_nothing_wrong_with_labels_of_their_own_length() -> None:
    heads = Heads(words=[FullyConnectedLayer(K)], level=[FullyConnectedLayer(1)])
    costs: dict[str, str | Cost] = {"words": CTC(), "level": "mean_squared"}
    level = [sample[:, :1] for sample in SAMPLES]
    for report in (
        net().check(SAMPLES, LABELS),
        net(GRU(4), heads, cost=costs).check(SAMPLES, {"words": LABELS, "level": level}),
    ):
        assert not {finding.code for finding in report.findings} & {
            "labels-constant",
            "missing-class",
            "class-imbalance",
            "target-scale",
        }


def test_decoding() -> None:
    best = np.array([[0, 1, 1, 0, 1, 2], [2, 2, 1, 0, 0, 1]])
    outputs = np.eye(3)[best]
    assert [one.tolist() for one in CTC().decode(outputs)] == [[1, 1, 2], [2, 1, 1]]
    assert [one.tolist() for one in CTC().decode(outputs, [4, 1])] == [[1], [2]]
    assert [one.tolist() for one in CTC(blank=2).decode(outputs)] == [[0, 1, 0, 1], [1, 0, 1]]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("", "", 0), ("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ("kitten", "sitting", 3),
        ("saturday", "sunday", 3), ("ab", "ba", 2), ("aab", "ab", 1), ("abcd", "xabcd", 1),
    ],
)  # fmt: skip
def test_distances_of_labels(one: str, other: str, expected: int) -> None:
    first, second = (np.array([*map(ord, text)], int) for text in (one, other))
    assert distance(first, second) == distance(second, first) == expected


def test_label_error_rate() -> None:
    outputs = np.eye(3)[[[0, 1, 1, 0, 1, 2], [2, 2, 1, 0, 0, 1]]]  # read as 1 1 2 and 2 1 1
    assert CTC().label_error_rate(outputs, [[1, 1, 2], [2, 1, 1]]) == 0
    assert CTC().label_error_rate(outputs, [[1, 2], [2, 2, 1]]) == 2 / 5
    assert CTC().label_error_rate(outputs, [np.array([1]), [2, 1]], lengths=[2, 3]) == 0
    assert math.isnan(CTC().label_error_rate(outputs, [[], []]))
    assert math.isnan(CTC().label_error_rate(outputs[:0], []))
    assert CTC().label_error_rate(outputs, Sequences.of([[1, 1, 2], [2, 1]])) == 1 / 5


WRONG: list[tuple[Any, type[GedankenError], str]] = [
    (
        lambda: net().fit(SAMPLES, [*LABELS[:5], [3, 3]], progress=False), DataError,
        "labels must have no more labels and repeats than the output has places, or zero_infinity=True, got 3 for 2",
    ),
    (
        lambda: net().fit(SAMPLES, [*LABELS[:5], [4]], progress=False), DataError,
        "labels must be whole numbers from 0 to 3 without the blank 0, got 4 in row 5, label 0",
    ),
    (
        lambda: net().fit(SAMPLES, [[1, 0, 2], *LABELS[1:]], progress=False), DataError,
        "labels must be whole numbers from 0 to 3 without the blank 0, got 0 in row 0, label 1",
    ),
    (
        lambda: net().fit(SAMPLES, [[1, 1.5], *LABELS[1:]], progress=False), DataError,
        "labels must be whole numbers from 0 to 3 without the blank 0, got 1.5 in row 0, label 1",
    ),
    (
        lambda: net().fit(SAMPLES, LABELS[:5], progress=False), DataError,
        "labels must have one entry for each sample of data, got 5 for 6",
    ),
    (
        lambda: net().fit(SAMPLES, [1] * 6, progress=False), DataError,
        "labels must be sequences of whole numbers, got shape () in row 0",
    ),
    (
        lambda: net().fit(SAMPLES, [[[1]]] * 6, progress=False), DataError,
        "labels must be sequences of whole numbers, got shape (1, 1) in row 0",
    ),
    (
        lambda: net().fit(SAMPLES, np.ones(6), progress=False), DataError,
        "labels must be sequences of whole numbers: lists, Sequences or an array (N, S), got shape (6,) of float64",
    ),
    (
        lambda: net(cost=CTC(blank=4)), ShapeError,
        "CTC blank must be one of the 4 outputs of a place, from 0 on, got 4",
    ),
    (
        lambda: net(Flatten(), FullyConnectedLayer(4)), ShapeError,
        "ctc needs an output (T, K), at each place a number for each label and for the blank, got (4,)",
    ),
    (
        lambda: net(FullyConnectedLayer(4), SoftMax()), GedankenError,
        "cost ctc needs scores of any size, but the last layer is SoftMax(); leave it out",
    ),
    (
        lambda: net().regression("sgd", "ctc", metrics=["accuracy"]), ArgumentError,
        "metrics must be left out with CTC, whose labels have no places; CTC.label_error_rate tells how many are wrong",
    ),
    (
        lambda: net(Heads(words=[FullyConnectedLayer(K)]), cost={"words": "ctc"}).regression(
            "sgd", {"words": "ctc"}, metrics={"words": [MeanAbsoluteError()]}
        ),
        ArgumentError, "head 'words': metrics must be left out with CTC",
    ),
    (
        lambda: CTC().decode(np.zeros((2, 3))), DataError, "outputs must have shape (N, T, K), got (2, 3)",
    ),
    (
        lambda: CTC().decode(np.zeros((2, 3, 4)), [1]), DataError,
        "lengths must have shape (2,), one for each sample, got (1,)",
    ),
    (
        lambda: CTC().decode(np.zeros((2, 3, 4)), [3, 4]), DataError,
        "lengths must be whole numbers from 0 to 3, got 4 in row 1",
    ),
    (
        lambda: CTC().decode(np.zeros((2, 3, 4)), [-1, 3]), DataError,
        "lengths must be whole numbers from 0 to 3, got -1 in row 0",
    ),
    (
        lambda: CTC().decode(np.zeros((2, 3, 4)), [1.5, math.nan]), DataError,
        "lengths must be whole numbers from 0 to 3, got 1.5 in row 0",
    ),
    (
        lambda: CTC().decode(np.zeros((2, 3, 4)), ["a", "b"]), DataError,
        "lengths must be an array of numbers, got <U1: strings",
    ),
    (
        lambda: CTC().decode(np.full((1, 3, 4), "a")), DataError,
        "outputs must be an array of real numbers, got <U1: strings",
    ),
    (
        lambda: CTC().decode([[[0.0, 1.0], [0.0, math.nan]], [[0.0, 1.0], [0.0, math.nan]]], [1, 2]), DataError,
        "outputs must be numbers, got nan in row 1, place 1",
    ),
    (
        lambda: CTC(blank=9).decode(np.zeros((1, 3, 4))), ArgumentError,
        "CTC blank must be one of the 4 outputs of a place, from 0 on, got 9",
    ),
    (
        lambda: CTC().label_error_rate(np.zeros((2, 3, 4)), [[1]]), DataError,
        "labels must have one entry for each sample of outputs, got 1 for 2",
    ),
    (
        lambda: CTC().label_error_rate(np.zeros((1, 3, 4)), None), DataError,
        "labels must be an array of real numbers, got NoneType",
    ),
    (
        lambda: CTC().label_error_rate(np.zeros((1, 3, 4)), [1]), DataError,
        "labels must be sequences of whole numbers, got shape () in row 0",
    ),
    (
        lambda: CTC().label_error_rate(np.zeros((1, 3, 4)), [[[1, 2]]]), DataError,
        "labels must be sequences of whole numbers, got shape (1, 2) in row 0",
    ),
    (
        lambda: CTC().label_error_rate(np.zeros((2, 3, 4)), [[1], [2, 4]]), DataError,
        "labels must be whole numbers from 0 to 3 without the blank 0, got 4 in row 1, label 1",
    ),
    (
        lambda: net().evaluate(SAMPLES, [], progress=False), DataError,
        "labels must have one entry for each sample of data, got 0 for 6",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), WRONG, ids=[row[2][:40] for row in WRONG])
def test_what_is_wrong_is_told_before_the_training(call: Any, kind: type[GedankenError], message: str) -> None:
    with pytest.raises(kind) as error:
        call()
    assert str(error.value).startswith(message)
