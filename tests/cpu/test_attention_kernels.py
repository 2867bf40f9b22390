"""Kernels of attention against their specification: random options, shapes and lengths, any number of threads."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from gedanken import Adam, FullyConnectedLayer, MultiHeadAttention, Network, Sequences
from gedanken.engine.cpu.engine import CpuEngine
from gedanken.engine.select import select_engine
from gedanken.types import Array
from tests.cpu.agree import check_agreement
from tests.cpu.test_compiler import machine_like
from tests.cpu.test_recurrent_kernels import check, passes

DTYPES = ("float32", "float64")


def random_mask(rng: Any, places: int, heads: int) -> Array | None:
    """Return a mask of any kind, or none; each place sees itself."""
    kind = rng.integers(4)
    if kind == 0:
        return None
    sees = (rng.random((heads, places, places)) < rng.choice([0.1, 0.5, 0.9])) | np.eye(places, dtype=bool)
    table = sees if kind == 1 else np.where(sees, rng.normal(size=sees.shape), -np.inf)
    return table if kind == 2 else table[0]


@st.composite
def attentions(draw: st.DrawFn) -> tuple[MultiHeadAttention, Array, Array | None]:
    """Return a layer with any options, input and lengths."""
    truth, size = st.booleans(), st.sampled_from([None, 1, 3, 17, 40])
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    heads, places = draw(st.integers(1, 3)), draw(st.integers(1, 70))
    layer = MultiHeadAttention(
        heads, draw(truth), draw(truth), keep=draw(st.sampled_from([1.0, 0.6])), learned_key=draw(truth),
        zero_key=draw(truth), attention_mask=random_mask(rng, places, heads), key_size=draw(size),
        value_size=draw(size), n_units=draw(size),
    )  # fmt: skip
    samples, features = draw(st.integers(1, 4)), heads * draw(st.integers(1, 20))
    x = rng.normal(size=(samples, places, features)).astype(draw(st.sampled_from(DTYPES)))
    return layer, x, rng.integers(1, places + 1, samples) if draw(truth) else None


@settings(max_examples=60)
@given(attentions())
def test_any_options_shapes_and_lengths(row: tuple[MultiHeadAttention, Array, Array | None]) -> None:
    check([row[0]], *row[1:])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("place", [0, 3, 39])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_seen_by_those_that_see_it(bad: float, place: int, causal: bool, masked: bool) -> None:
    x = np.random.default_rng(place).normal(size=(3, 40, 2)).astype("float32")
    x[1, place, 1] = bad
    layer = MultiHeadAttention(
        2, causal, attention_mask=random_mask(np.random.default_rng(0), 40, 2) if masked else None
    )
    with np.errstate(all="ignore"):
        expected, found = (
            passes(select_engine(engine, "float32"), [layer], x, None)["y"] for engine in ("numpy", "cpu")
        )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    unseen = np.isfinite(found[1, :place]).all()
    assert np.isfinite(found[[0, 2]]).all() and (unseen or not causal) and not np.isfinite(found[1, place]).all()


def options(places: int) -> dict[str, Any]:
    mask = np.random.default_rng(1).normal(size=(2, places, places)) + np.where(np.eye(places, k=2), -np.inf, 0)
    return {"keep": 0.7, "learned_key": True, "zero_key": True, "attention_mask": mask, "value_size": 5, "n_units": 3}


def test_other_processors_tiles_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gedanken.engine.cpu.engine.this_machine", lambda: machine_like("neon"))
    x = np.random.default_rng(0).normal(size=(3, 41, 6)).astype("float32")
    check_agreement([MultiHeadAttention(2, **options(41))], (41, 6), x, CpuEngine("test", "float32"))


def test_any_number_of_threads_gives_the_same_bits() -> None:
    rng, found = np.random.default_rng(0), []
    data = Sequences(rng.normal(size=(40, 35, 6)).astype("float32"), rng.integers(1, 36, 40))
    for threads in (1, 2, 3):
        net = Network(seed=3).input((35, 6)).add(MultiHeadAttention(2, **options(35))).add(FullyConnectedLayer(1))
        net.regression(Adam(0.01), "mean_squared", engine="cpu", threads=threads)
        net.fit(data, rng.permutation(40 * 35).reshape(40, 35, 1) * 0 + 1.0, epochs=2, progress=False)
        found.append(np.concatenate([value.reshape(-1) for value in net._plan.state().values()]))  # type: ignore[union-attr]
        assert not net.summary().fallbacks
    assert np.isfinite(found[0]).all()
    assert all(one.tobytes() == found[0].tobytes() for one in found[1:])
