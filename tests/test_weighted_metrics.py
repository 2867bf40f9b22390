"""Metrics of samples that have weights, and of outputs that have places."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gedanken import Accuracy, ConvolutionLayer, DataError, FullyConnectedLayer, Network, Sigmoid, SoftMax
from gedanken.errors import ArgumentError
from gedanken.metrics import F1, ROCAUC, IoU, LogLoss, Metric
from gedanken.metrics.base import takes_weights
from gedanken.ops import Ops
from gedanken.types import Array
from tests.standin_cupy import DeviceArray, StandInCupy
from tests.test_metrics import PER_LABEL, TABLE, Row, every_metric, samples_of, two_samples

few = settings(deadline=None, max_examples=5)
every_row = pytest.mark.parametrize("row", TABLE, ids=[repr(row.metric) for row in TABLE])
every_labelled = pytest.mark.parametrize("metric", [metric for metric, _ in PER_LABEL], ids=repr)


def same(figure: Any) -> Any:
    return pytest.approx(np.asarray(figure, float), rel=1e-9, abs=1e-9, nan_ok=True)


def figure_of(metric: Metric, *given: Any) -> Any:
    return metric.value(metric.measure(*given[:2], weight=given[2] if len(given) > 2 else None))


def weights_of(data: st.DataObject, samples: int) -> Array:
    return np.array(data.draw(st.lists(st.integers(0, 3), min_size=samples, max_size=samples)))


@every_row
@few
@given(data=st.data())
def test_a_weight_does_what_the_sample_given_so_often_does(row: Row, data: st.DataObject) -> None:
    y, target = samples_of(data, row.outputs)
    weight = weights_of(data, len(y))
    often = np.repeat(y, weight, axis=0), np.repeat(target, weight, axis=0)
    assert figure_of(row.metric, y, target, weight) == same(figure_of(row.metric, *often))
    cut = data.draw(st.integers(0, len(y)))
    parts = [row.metric.measure(y[half], target[half], weight=weight[half]) for half in (slice(cut), slice(cut, None))]
    assert row.metric.value(row.metric.merge(*parts)) == same(figure_of(row.metric, *often))
    if not hasattr(row.metric.value(parts[0]), "shape"):  # sums of weights grow with them
        assert figure_of(row.metric, y, target, 0.1 * weight) == same(figure_of(row.metric, *often))


@every_labelled
@few
@given(data=st.data())
def test_so_it_is_with_labels(metric: Metric, data: st.DataObject) -> None:
    y, target = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 9, (2, 7, 3)) / 8
    target = (target > 0.5).astype(float)
    weight = weights_of(data, len(y))
    often = np.repeat(y, weight, axis=0), np.repeat(target, weight, axis=0)
    assert figure_of(metric, y, target, weight) == same(figure_of(metric, *often))


@every_row
@few
@given(data=st.data())
def test_each_place_is_judged_as_a_sample_is(row: Row, data: st.DataObject) -> None:
    y, target = samples_of(data, row.outputs)
    samples, channels = len(y), y.shape[1]
    weight = weights_of(data, samples) / 4
    expected = figure_of(row.metric, y, target, weight)
    sequence = y.reshape(1, samples, channels)
    picture = y.T.reshape(1, channels, 1, samples)
    for outputs, places in ((sequence, (1, samples)), (picture, (1, 1, samples))):
        forms = [target.reshape(places)] if target.size == samples else []
        if target.ndim > 1:
            forms.append(target.reshape(sequence.shape) if outputs is sequence else target.T.reshape(picture.shape))
        elif channels > 1:
            one_hot = np.eye(channels)[target]
            forms.append(one_hot.reshape(sequence.shape) if outputs is sequence else one_hot.T.reshape(picture.shape))
        else:
            forms.append(target.reshape(outputs.shape))
        for form in forms:
            assert figure_of(row.metric, outputs, form, weight.reshape(places)) == same(expected)


@every_metric
def test_a_weight_of_a_sample_holds_for_its_places(metric: Metric) -> None:
    rows, labels = two_samples(metric)
    y, target = np.stack([rows, rows[::-1], rows]), np.stack([labels, labels, labels[::-1]])
    weight = np.array([0.5, 2.0, 1.0])
    of_places = figure_of(metric, y, target, np.repeat(weight[:, None], 2, axis=1))
    assert figure_of(metric, y, target, weight) == same(of_places)
    assert figure_of(metric, y, target) == same(figure_of(metric, y, target, np.ones(3)))


@pytest.mark.parametrize(
    ("weight", "rule"),
    [
        (np.ones(3), r"must have shape \(2,\), got \(3,\)"),
        (np.ones((2, 1)), r"must have shape \(2,\), got \(2, 1\)"),
        (np.array([1, -0.5]), "must be finite and at least 0, got -0.5"),
        (np.array([1, math.nan]), "must be finite and at least 0, got nan"),
        (np.array([1, math.inf]), "must be finite and at least 0, got inf"),
    ],
    ids=str,
)
def test_wrong_weights_are_named(weight: Array, rule: str) -> None:
    for metric in [row.metric for row in TABLE]:
        with pytest.raises(DataError, match=f"weight of {metric.name} {rule}"):
            metric.measure(*two_samples(metric), weight=weight)


@every_row
@few
@given(data=st.data())
def test_weights_of_a_device_stay_there(row: Row, data: st.DataObject) -> None:
    ops, (y, target) = Ops(StandInCupy(), "float64"), samples_of(data, row.outputs)
    weight = weights_of(data, len(y)) / 4
    there = ops.asarray(y), ops.asarray(target, target.dtype), ops.asarray(weight)
    found = row.metric.measure(ops, *there)
    assert isinstance(found, DeviceArray)
    np.testing.assert_array_equal(ops.to_host(found), row.metric.measure(y, target, weight=weight))


class OldForm(Metric):
    """Takes no ops and no weights, as it was written before there were any."""

    def measure(self, y: Any, target: Any) -> Array:  # type: ignore[override]
        return np.array([y.sum(), len(y)])

    def value(self, total: Array) -> float:
        return float(total[0] / total[1])


class OnHost(OldForm):
    """Takes weights as NumPy code does."""

    def measure(self, y: Any, target: Any, weight: Any = None) -> Array:  # type: ignore[override]
        assert type(y) is type(target) is np.ndarray
        each = np.ones(len(y)) if weight is None else weight
        return np.array([each @ y.sum(axis=1), each.sum()])


class OnDevice(OldForm):
    """Needs weights, and computes where the outputs are."""

    def measure(self, ops: Ops, y: Any, target: Any, *, weight: Any) -> Array:  # type: ignore[override]
        each = ops.xp.ones(len(y)) if weight is None else weight
        return ops.xp.stack([(each * y.sum(axis=1)).sum(), each.sum()])


def test_a_metric_of_ones_own_says_whether_it_takes_weights() -> None:
    y, target, weight = np.arange(6.0).reshape(3, 2), np.zeros(3, int), np.array([1.0, 0, 3])
    ops = Ops(StandInCupy(), "float64")
    there = ops.asarray(y), ops.asarray(target), ops.asarray(weight)
    for metric in (OnHost(), OnDevice()):
        assert takes_weights(metric)
        assert metric.value(metric.measure(y, target)) == 5.0
        assert metric.value(metric.measure(y, target, weight)) == 7.0
        assert metric.value(metric.measure(y=y, target=target, weight=weight)) == 7.0
        assert metric.value(ops.to_host(metric.measure(ops, *there))) == 7.0
        assert metric.value(ops.to_host(metric.measure(ops, *there[:2], weight=there[2]))) == 7.0
    assert not takes_weights(OldForm())
    assert OldForm().value(OldForm().measure(y, target, weight=None)) == 5.0
    with pytest.raises(
        ArgumentError, match=r"OldForm\.measure must take an argument weight where samples have weights"
    ):
        OldForm().measure(y, target, weight=weight)


def test_all_of_the_librarys_take_weights() -> None:
    assert all(takes_weights(row.metric) for row in TABLE)


def test_labels_of_places_are_the_channels() -> None:
    scores = np.random.default_rng(0).uniform(size=(2, 3, 4, 5))
    true = (scores + np.random.default_rng(1).normal(size=scores.shape) / 4 > 0.5).astype(float)
    flat, answers = (values.transpose(0, 2, 3, 1).reshape(40, 3) for values in (scores, true))
    sequence = flat.reshape(5, 8, 3), answers.reshape(5, 8, 3)
    for metric, _ in PER_LABEL:
        assert figure_of(metric, scores, true) == same(figure_of(metric, flat, answers))
        assert figure_of(metric, *sequence) == same(figure_of(metric, flat, answers))


@pytest.mark.parametrize("shape", [(1,), (4, 1)], ids=str)
def test_one_answer_at_each_place_is_of_two_classes(shape: tuple[int, ...]) -> None:
    net = Network().input((*shape[:-1], 3)).add(FullyConnectedLayer(1)).add(Sigmoid())
    net.regression(cost="binary_cross_entropy", metrics=["f1", Accuracy()])
    assert [metric.multi_label for metric in net._train_state.metrics] == [None, None]  # type: ignore[union-attr]


def test_a_network_judges_class_maps_and_masks_with_weights() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(6, 2, 4, 4)), np.array([1, 2, 0, 1, 1, 0.5])
    maps = (x[:, 0] > 0).astype(int)
    classes = Network().input((2, 4, 4)).add(ConvolutionLayer(2, 1, 1)).add(SoftMax())
    classes.regression(metrics=[IoU(), F1("binary"), ROCAUC()], dtype="float64")
    masks = Network().input((2, 4, 4)).add(ConvolutionLayer(1, 1, 1)).add(Sigmoid())
    masks.regression(cost="binary_cross_entropy", metrics=[IoU("binary"), LogLoss()], dtype="float64")
    for net, target in ((classes, maps), (masks, maps[:, None])):
        found = net.evaluate(x, target, weights=weight, mini_batch_size=4, progress=False)
        y = net.feedforward(x)
        for metric in net._train_state.metrics:  # type: ignore[union-attr]
            assert found[metric.name] == same(figure_of(metric, y, target, weight))
