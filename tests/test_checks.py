"""What the argument checks accept, what they return, and the sentence each refusal consists of."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gedanken.checks import extent, one_of, pair, real, require, seed_of_draws, whole
from gedanken.errors import ArgumentError, GedankenError

COLOURS = ["blue", "green", "red"]

ACCEPTED: list[tuple[Callable[[], Any], Any]] = [
    (lambda: whole("n", 1), 1),
    (lambda: whole("n", 0, at_least=0), 0),
    (lambda: whole("n", -3, at_least=-3), -3),
    (lambda: whole("n", np.int32(7)), 7),
    (lambda: whole("n", 2**63 - 1), 2**63 - 1),
    (lambda: extent("n", 2**31 - 1), 2**31 - 1),
    (lambda: seed_of_draws("n", 2**64 - 1), 2**64 - 1),
    (lambda: real("x", 0.5, "(0, 1)"), 0.5),
    (lambda: real("x", 0, "[0, 1)"), 0.0),
    (lambda: real("x", 1, "(0, 1]"), 1.0),
    (lambda: real("x", np.float32(0.25), "(0, 1)"), 0.25),
    (lambda: real("x", Fraction(1, 4), "(0, 1)"), 0.25),
    (lambda: real("x", math.inf, "(0, inf]"), math.inf),
    (lambda: real("x", -1e300, "(-inf, inf)"), -1e300),
    (lambda: pair("size", 3), (3, 3)),
    (lambda: pair("size", (3, 5)), (3, 5)),
    (lambda: pair("size", [np.int64(3), 5]), (3, 5)),
    (lambda: pair("size", (0, 2), at_least=0), (0, 2)),
    (lambda: pair("size", (2, 0), at_least=0), (2, 0)),
    (lambda: one_of("colour", "red", COLOURS), "red"),
    (lambda: one_of("colour", "red", {"red": 1}), "red"),
    (lambda: one_of("colour", "red", iter(COLOURS)), "red"),
]


@pytest.mark.parametrize(("check", "expected"), ACCEPTED)
def test_accepted_values_come_back_plain(check: Callable[[], Any], expected: Any) -> None:
    got = check()
    assert got == expected
    assert type(got) is type(expected)
    if isinstance(got, tuple):
        assert [type(part) for part in got] == [int, int]


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: require(False, "kernel", "be odd", 4), "kernel must be odd, got 4"),
    (lambda: require(False, "kernel", "be odd", "4"), "kernel must be odd, got '4'"),
    (lambda: whole("n", 0), "n must be a whole number of at least 1, got 0"),
    (lambda: whole("n", -1, at_least=0), "n must be a whole number of at least 0, got -1"),
    (lambda: whole("n", 2.0), "n must be a whole number of at least 1, got 2.0"),
    (lambda: whole("n", True), "n must be a whole number of at least 1, got True"),
    (lambda: whole("n", "2"), "n must be a whole number of at least 1, got '2'"),
    (lambda: whole("n", None), "n must be a whole number of at least 1, got None"),
    (lambda: whole("n", 2**63), f"n must be below 2**63, got {2**63}"),
    (lambda: whole("n", 10**5000), "n must be below 2**63, got one int"),
    (lambda: whole("n", np.array(3)), "n must be a whole number of at least 1, got array(3)"),
    (lambda: extent("n", 2**31), f"n must be below 2**31, got {2**31}"),
    (lambda: seed_of_draws("n", 2**64), f"n must be below 2**64, got {2**64}"),
    (lambda: real("x", 10**400, "[0, inf]"), f"x must be a number in [0, inf], got 1{'0' * 199} ... {'0' * 50}"),
    (lambda: pair("size", (3, 2**31)), f"size must be below 2**31, got {2**31}"),
    (lambda: real("x", 0, "(0, 1]"), "x must be a number in (0, 1], got 0"),
    (lambda: real("x", 1.0, "[0, 1)"), "x must be a number in [0, 1), got 1.0"),
    (lambda: real("x", -0.1, "[0, inf)"), "x must be a number in [0, inf), got -0.1"),
    (lambda: real("x", math.inf, "(0, inf)"), "x must be a number in (0, inf), got inf"),
    (lambda: real("x", -math.inf, "(-inf, inf)"), "x must be a number in (-inf, inf), got -inf"),
    (lambda: real("x", math.nan, "[-inf, inf]"), "x must be a number in [-inf, inf], got nan"),
    (lambda: real("x", True, "[0, 1]"), "x must be a number in [0, 1], got True"),
    (lambda: real("x", "0.5", "[0, 1]"), "x must be a number in [0, 1], got '0.5'"),
    (lambda: real("x", 0.5j, "[0, 1]"), "x must be a number in [0, 1], got 0.5j"),
    (lambda: pair("size", (1, 2, 3)), "size must be a number or a pair (height, width), got (1, 2, 3)"),
    (lambda: pair("size", []), "size must be a number or a pair (height, width), got []"),
    (lambda: pair("size", 0), "size must be a whole number of at least 1, got 0"),
    (lambda: pair("size", (3, 0)), "size must be a whole number of at least 1, got 0"),
    (lambda: pair("size", (1.5, 3)), "size must be a whole number of at least 1, got 1.5"),
    (lambda: pair("size", "33"), "size must be a whole number of at least 1, got '33'"),
    (
        lambda: one_of("colour", "gren", COLOURS),
        "colour must be one of blue, green, red, got 'gren'; did you mean 'green'?",
    ),
    *(
        (
            lambda name=name: one_of(
                "layer", name, ["ConvolutionLayer", "FullyConnectedLayer", "MaxPoolLayer", "SoftMax"]
            ),
            "layer must be one of ConvolutionLayer, FullyConnectedLayer, MaxPoolLayer, SoftMax, "
            f"got {name!r}" + (f"; did you mean {ours!r}?" if ours else ""),
        )
        for name, ours in [
            ("Conv2D", "ConvolutionLayer"),
            ("conv", "ConvolutionLayer"),
            ("Dense", "FullyConnectedLayer"),
            ("MaxPooling2D", "MaxPoolLayer"),
            ("Softmax", "SoftMax"),
            ("Recurrent", None),  # nothing here is like it
            ("LSTM", None),
        ]
    ),
    (lambda: one_of("colour", "xyz", COLOURS), "colour must be one of blue, green, red, got 'xyz'"),
    (lambda: one_of("colour", 3, COLOURS), "colour must be one of blue, green, red, got 3"),
    (lambda: one_of("colour", ["red"], COLOURS), "colour must be one of blue, green, red, got ['red']"),
]


@pytest.mark.parametrize(("check", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refusals_name_argument_rule_and_value(check: Callable[[], object], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        check()
    assert str(caught.value) == message
    assert isinstance(caught.value, GedankenError)
    assert isinstance(caught.value, ValueError)


def test_require_is_silent_where_the_rule_holds() -> None:
    require(True, "kernel", "be odd", 3)


@settings(deadline=None)
@given(st.floats(allow_nan=False), st.sampled_from(["(0, 1)", "[0, 1)", "(0, 1]", "[0, 1]"]))
def test_intervals_mean_what_mathematics_means(value: float, interval: str) -> None:
    inside = 0 < value < 1 or (value == 0 and interval[0] == "[") or (value == 1 and interval[-1] == "]")
    if inside:
        assert real("x", value, interval) == value
    else:
        with pytest.raises(ArgumentError):
            real("x", value, interval)
