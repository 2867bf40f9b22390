"""Files in the svmlight format: what is read, and what is refused with its line."""

import codecs
import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gedanken import SGD, ArgumentError, Hogwild, Network, Sigmoid, SparseFullyConnectedLayer, Zeros
from gedanken.datasets import load_svmlight
from gedanken.errors import DatasetError

DATA = Path(os.environ.get("GEDANKEN_DATA", "")) / "sparse"


def read(folder: Path, text: str | bytes, **options: Any) -> Any:
    file = folder / "rows.svm"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_svmlight(file, **options)


rows = st.lists(
    st.tuples(
        st.integers(-3, 3), st.dictionaries(st.integers(1, 9), st.floats(-1e9, 1e9, allow_nan=False), max_size=6)
    ),
    min_size=1,
    max_size=8,
)


@given(rows, st.booleans(), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_was_written_is_read(tmp_path_factory: Any, written: Any, comments: bool, end: str, packed: bool) -> None:
    lines, dense = [], np.zeros((len(written), 9))
    for place, (label, pairs) in enumerate(written):
        text = " ".join([f"{label:+d}", *(f"{k}:{v!r}" for k, v in sorted(pairs.items()))])
        lines.append(text + (" # 3:4 a comment" if comments else ""))
        for column, value in pairs.items():
            dense[place, column - 1] = value
    content = codecs.BOM_UTF8 * comments + (end.join(lines) + (end if comments else "")).encode()
    x, labels = read(
        tmp_path_factory.mktemp("rows"), gzip.compress(content) if packed else content, features=9, zero_based=False
    )
    np.testing.assert_array_equal(x.toarray(), dense)
    np.testing.assert_array_equal(labels, [label for label, _ in written])


def test_the_first_feature_may_be_called_0(tmp_path: Path) -> None:
    text = "1 0:5 2:7\n0 1:1\n"
    np.testing.assert_array_equal(read(tmp_path, text)[0].toarray(), [[5, 0, 7], [0, 1, 0]])
    np.testing.assert_array_equal(read(tmp_path, text, features=4)[0].toarray(), [[5, 0, 7, 0], [0, 1, 0, 0]])
    np.testing.assert_array_equal(read(tmp_path, "1 1:5\n", zero_based=True)[0].toarray(), [[0, 5]])
    np.testing.assert_array_equal(read(tmp_path, "1 1:5\n")[0].toarray(), [[5]])


def test_labels_are_whole_numbers_where_all_of_them_are(tmp_path: Path) -> None:
    assert read(tmp_path, "1 1:5\n-1\n")[1].dtype == np.int64
    np.testing.assert_array_equal(read(tmp_path, "1.5 1:5\n-1 qid:7 2:1\n\n")[1], [1.5, -1])
    for large in (1e300, float(2**63), -1e300):
        np.testing.assert_array_equal(read(tmp_path, f"{large} 1:5\n1 2:1\n")[1], [large, 1])


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "has no samples"),
        ("\n # nothing\n\n", "has no samples"),
        ("1 2\n", "line 1: must be a label and feature:value pairs, got '2'"),
        ("1 1:2\n\n1 2:3:4 5\n", "line 3: must be a label and feature:value pairs, got '2:3:4'"),
        ("1:2 3\n", "line 1: must be a label and feature:value pairs, got '1:2'"),
        ("1 1:2\nyes 1:2\n", "line 2: must be a label and feature:value pairs, got 'yes'"),
        ("1 1:2\n1 1:two\n", "line 2: must be a label and feature:value pairs, got '1:two'"),
        ("1 1: 2\n", "line 1: must be a label and feature:value pairs, got '1:'"),
        ("1 :2\n", "line 1: must be a label and feature:value pairs, got ':2'"),
        ("1 1 : 2\n", "line 1: must be a label and feature:value pairs, got '1'"),
        ("1 1.5:2\n", "line 1: must be a label and feature:value pairs, got '1.5:2'"),
        ("1 -1:2\n", "line 1: must be a label and feature:value pairs, got '-1:2'|features must be"),
        ("1,2 1:2\n", "line 1: must be a label and feature:value pairs, got '1,2'"),
        ("1 1:2\n1 1:nan\n", "line 2: numbers must be finite, got '1:nan'"),
        ("1 1:2\n1 1:-inf\n", "line 2: numbers must be finite, got '1:-inf'"),
        ("1 1:2 3:1e999\n", "line 1: numbers must be finite, got '3:1e999'"),
        ("1 1:2\nnan 1:1\n", "line 2: numbers must be finite, got 'nan'"),
        ("inf\n", "line 1: numbers must be finite, got 'inf'"),
        ("1 1:1_0\n", "line 1: must be a label and feature:value pairs, got '1:1_0'"),
        ("1 1:2\n1_0 1:2\n", "line 2: must be a label and feature:value pairs, got '1_0'"),
        ("1 1:2\n1 2147483648:1\n", "line 2: features must be below 2,147,483,647, got '2147483648:1'"),
        ("1 9223372036854775808:1\n", "line 1: features must be below 2,147,483,647"),
        (f"1 1:1\n1 {'9' * 400}:1\n", "line 2: features must be below 2,147,483,647"),
        (b"\x00\x01\x02", "line 1|not in the svmlight format"),
        (b"\x1f\x8b broken", "cannot be read"),
        (gzip.compress(b"1 1:2\n", mtime=0)[:10] + b"\xff" * 20, "cannot be read"),
        (gzip.compress(b"1 1:2\n" * 1000, mtime=0)[:30], "cannot be read"),
    ],
)
def test_what_is_no_sample_is_named(tmp_path: Path, text: Any, rule: str) -> None:
    with pytest.raises(DatasetError, match=rule):
        read(tmp_path, text)


def test_features_stay_in_their_range(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"features must be in \[1, 3\), got 3"):
        read(tmp_path, "1 1:1 3:1\n", features=2)
    with pytest.raises(
        DatasetError, match=r"features must be in \[1, \.\.\.\), got 0; with zero_based they count from 0"
    ):
        read(tmp_path, "1 0:1 3:1\n", zero_based=False)
    with pytest.raises(ArgumentError, match="features must be a whole number"):
        read(tmp_path, "1 0:1\n", features=0)
    with pytest.raises(ArgumentError, match="zero_based"):
        read(tmp_path, "1 0:1\n", zero_based="yes")
    with pytest.raises(DatasetError, match="cannot be read"):
        load_svmlight(tmp_path / "missing")


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real data: set GEDANKEN_DATA")
def test_real_rows_are_learnt_by_workers() -> None:
    x, labels = load_svmlight(DATA / "a9a", features=123)
    test, answers = load_svmlight(DATA / "a9a.t", features=123)
    assert (x.shape, x.count, test.shape) == ((32561, 123), 451592, (16281, 123))
    net = Network(seed=1).input((123,)).add(SparseFullyConnectedLayer(1, init=Zeros())).add(Sigmoid())
    net.regression(SGD(0.1), "binary_cross_entropy")
    net.fit(x, labels > 0, epochs=4, mini_batch_size=16, progress=False, parallel=Hogwild(workers=2))
    assert net.evaluate(test, answers > 0, progress=False)["accuracy"] > 0.84
