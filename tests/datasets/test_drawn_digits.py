"""Digits drawn from strokes."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gedanken.datasets import load_drawn_digits
from gedanken.errors import ArgumentError

DIGITS = load_drawn_digits(3000, 600)


def test_shapes_and_ranges():
    for data, labels, size in ((*DIGITS[:2], 3000), (*DIGITS[2:], 600)):
        assert data.shape == (size, 1, 28, 28)
        assert labels.shape == (size, 10)
        assert data.dtype == labels.dtype == np.float32
        assert data.min() == 0
        assert 0.9 < data.max() <= 1
        assert set(np.unique(labels)) == {0, 1}
        assert (labels.sum(1) == 1).all()
        assert data.flags.c_contiguous


def test_digits_are_equally_likely():
    np.testing.assert_allclose(DIGITS[1].mean(0), 0.1, atol=0.03)


@settings(max_examples=15, deadline=None)
@given(train=st.integers(0, 300), test=st.integers(0, 300))
def test_a_picture_does_not_depend_on_how_many_are_drawn(train, test):
    few = load_drawn_digits(train, test)
    for some, many, size in zip(few, DIGITS, (train, train, test, test), strict=True):
        np.testing.assert_array_equal(some, many[:size])


@pytest.mark.parametrize("threads", [1, 3])
def test_a_picture_does_not_depend_on_the_threads(threads, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: threads)
    for again, first in zip(load_drawn_digits(1000, 300), DIGITS, strict=True):
        np.testing.assert_array_equal(again, first[: len(again)])


def test_test_set_is_not_the_training_set():
    assert not np.array_equal(DIGITS[0][:600], DIGITS[2])
    assert not np.array_equal(DIGITS[1][:600], DIGITS[3])


def test_seeds_differ():
    assert not np.array_equal(load_drawn_digits(100, 0, seed=1)[0], DIGITS[0][:100])


def test_no_two_pictures_are_alike():
    assert len(np.unique(DIGITS[0].reshape(3000, -1), axis=0)) == 3000


def test_digits_are_told_apart_by_neighbours():
    """One in ten is chance; nearest neighbours on blurred pictures must do far better, yet not perfectly."""
    train, test = (np.lib.stride_tricks.sliding_window_view(x[:, 0], (3, 3), (1, 2)).mean((3, 4)) for x in DIGITS[::2])
    train, test = (
        x.reshape(len(x), -1) / np.linalg.norm(x.reshape(len(x), -1), axis=1)[:, None] for x in (train, test)
    )
    nearest = DIGITS[1].argmax(1)[(test @ train.T).argmax(1)]
    share = (nearest == DIGITS[3].argmax(1)).mean()
    assert 0.6 < share < 0.99


def test_a_linear_model_is_not_enough():
    rows, targets = (np.c_[DIGITS[0].reshape(3000, -1), np.ones(3000)], DIGITS[1] - 0.1)
    weights = np.linalg.solve(rows.T @ rows + 10 * np.eye(785), rows.T @ targets)
    guesses = np.c_[DIGITS[2].reshape(600, -1), np.ones(600)] @ weights
    share = (guesses.argmax(1) == DIGITS[3].argmax(1)).mean()
    assert 0.5 < share < 0.95


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"train": -1}, "train"), ({"test": 1.5}, "test"), ({"seed": -1}, "seed"), ({"seed": None}, "seed")],
)
def test_rules(arguments, name):
    with pytest.raises(ArgumentError, match=f"{name} must be a whole number of at least 0"):
        load_drawn_digits(**arguments)
