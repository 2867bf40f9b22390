"""The command line on files in the svmlight format: rows that are mostly zeros, with labels as classes."""

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import gedanken
from gedanken import SGD, Network, SparseFullyConnectedLayer, SparseRows

DATA = Path(os.environ.get("GEDANKEN_DATA", "")).absolute() / "sparse"
SPARSE = {"type": "SparseFullyConnectedLayer", "n_units": 2}
DENSE = {"type": "FullyConnectedLayer", "n_units": 2}
SOFTMAX = {"type": "SoftMax"}
FAST = ["--optimizer", "sgd", "--learning-rate", "0.5", "--mini-batch-size", "4"]
ROWS = 40

Write = Callable[..., Path]


def line(label: object, sign: int, k: int, base: int = 1) -> str:
    """Return a row of which the first feature or the second one tells the class; the third is noise."""
    return f"{label} {base + (sign > 0)}:{1 + k % 3} {base + 2}:{k % 2 + 0.5}\n"


def of_two(base: int = 1, labels: tuple[object, object] = ("-1", "+1")) -> str:
    return "".join(line(labels[k % 3 == 0], 1 if k % 3 == 0 else -1, k, base) for k in range(ROWS))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(content: str | bytes, name: str = "rows.svm") -> Path:
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return put


@pytest.fixture
def trained(cli, write) -> Path:
    write(of_two())
    result = cli("train", "rows.svm", *FAST, "--epochs", 5, "--quiet", "--output", "m")
    assert (result.status, result.err) == (0, "")
    return Path("m")


def accuracy(text: str) -> float:
    found = re.search(r"\baccuracy ([0-9.]+)", text)
    assert found, text
    return float(found[1])


# ---------------------------------------------------------------------------------------------- train


def test_a_linear_model_is_the_default(cli, write):
    write(of_two())
    result = cli("train", "rows.svm", *FAST, "--epochs", 5, "--output", "m")
    assert result.err.startswith("40 samples of (3,) in 2 classes; 8 parameters")
    assert "validation_accuracy" in result.err
    net = Network.load("m")
    assert (net.class_names, net.input_shape) == (("-1", "1"), (3,))
    assert type(net.layers[0]) is SparseFullyConnectedLayer
    assert cli("train", "rows.svm", *FAST, "--epochs", 5, "--network", "linear", "--output", "n").status == 0
    assert Path("m").read_bytes() == Path("n").read_bytes()
    assert accuracy(cli("evaluate", "m", "rows.svm").out) == 1


CLASSES = {
    "whole numbers of any form": ("2.0 1:1\n-3 2:1\n10 1:1\n+2 2:1\n", ("-3", "2", "10")),
    "gzipped": (gzip.compress(b"7 1:1\n0 2:1 # a comment\n\n7\n"), ("0", "7")),
    "large": (f"{2**62} 1:1\n-1 2:1\n", ("-1", str(2**62))),
}


@pytest.mark.parametrize(("content", "names"), CLASSES.values(), ids=CLASSES)
def test_classes_are_the_labels_in_order(cli, write, content, names):
    write(content)
    assert cli("train", "rows.svm", "--output", "m").status == 0
    assert Network.load("m").class_names == names


OPTIONS = {
    "hogwild": "--parallel hogwild --workers 2 --epochs 2",
    "single samples": "--optimizer sgd --learning-rate 0.5 --mini-batch-size 1",
    "validation": "--validation 0.5 --epochs 2 --no-shuffle",
    "early stop": "--early-stop 1 --epochs 3",
    "cost": "--cost mean_squared --dtype float64 --engine numpy",
    "dense": "--network mlp",
}


@pytest.mark.parametrize("words", OPTIONS.values(), ids=OPTIONS)
def test_options_of_train(cli, write, words):
    write(of_two())
    result = cli("train", "rows.svm", *words.split(), "--output", "m")
    assert result.status == 0, result.err
    assert "validation_cost" in result.err
    assert "evaluation of 40 samples" in cli("evaluate", "m", "rows.svm").out


def test_a_limit_takes_rows_from_everywhere(cli, write):
    """Rows are sorted by class, so the first ones alone would be of one."""
    write("".join(sorted(of_two().splitlines(keepends=True))))
    result = cli("train", "rows.svm", "--limit", 12, *FAST, "--epochs", 20, "--output", "m")
    assert result.err.startswith("12 samples of (3,) in 2 classes")
    assert accuracy(cli("evaluate", "m", "rows.svm").out) == 1
    assert "evaluation of 5 samples" in cli("evaluate", "m", "rows.svm", "--limit", 5).out


@pytest.mark.parametrize("first", [SPARSE, DENSE], ids=["sparse", "dense"])
@pytest.mark.parametrize("features", [3, 9])
def test_an_architecture_may_have_more_features(cli, write, architecture, first, features):
    write(of_two())
    file = architecture(first, SOFTMAX, input=[features])
    result = cli("train", "rows.svm", "--network", file, *FAST, "--epochs", 8, "--output", "m")
    assert f"40 samples of ({features},)" in result.err
    write("-1 9:1\n1 2:1\n" if features == 9 else "-1 1:1\n1 2:1\n", "test.svm")
    assert "2 samples" in cli("evaluate", "m", "test.svm").out
    assert len(cli("predict", "m", "test.svm").out.splitlines()) == 2


def test_features_that_count_from_0(cli, write):
    write(of_two(base=0))
    refused = cli("train", "rows.svm")
    assert refused.status == 2
    assert "rows.svm: features must be in [1, ...), got 0; with zero_based they count from 0" in refused.err
    words = ["--zero-based", *FAST, "--epochs", 5, "--quiet", "--output", "m"]
    assert cli("train", "rows.svm", *words) == (0, "", "")
    assert Network.load("m").input_shape == (3,)
    write("1 1:3\n", "test.svm")  # has no feature 0, and is read the same
    assert accuracy(cli("evaluate", "m", "test.svm", "--zero-based").out) == 1
    assert [cli("predict", "m", "test.svm", *one).out.split()[1] for one in (["--zero-based"], [])] == ["1", "-1"]


# ---------------------------------------------------------------------------------------------- evaluate, predict


def test_each_row_has_a_line(cli, write, trained):
    write("0 1:3 # no class, which nobody looks at\n\n0 2:3\n", "a.svm")
    write(of_two(), "longer.svm")
    result = cli("predict", trained, "a.svm", "longer.svm")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert [one.split()[:2] for one in lines[:3]] == [["a.svm:1", "-1"], ["a.svm:2", "1"], ["longer.svm:1", "1"]]
    assert len(lines) == 2 + ROWS
    assert len({len(one) for one in lines}) == 1
    rows = json.loads(cli("predict", trained, "a.svm", "longer.svm", "--json").out)
    assert [list(row) for row in rows] == [["file", "row", "class", "number", "probability"]] * len(lines)
    first = {key: rows[0][key] for key in ("file", "row", "class", "number")}
    assert first == {"file": "a.svm", "row": 1, "class": "-1", "number": 0}
    expected = Network.load(trained).feedforward(SparseRows([0, 1, 2], [0, 1], [3.0, 3.0], 3)).max(axis=1)
    np.testing.assert_allclose([row["probability"] for row in rows[:2]], expected)


def test_classes_are_matched_by_name(cli, write, trained):
    write("1 2:3\n1 2:2\n", "ones.svm")
    assert accuracy(cli("evaluate", trained, "ones.svm").out) == 1


ENDS = {
    "sigmoid": ([{"type": "Sigmoid"}], "binary_cross_entropy", 0.5),
    "hinge": ([], "hinge", 0.0),
}


@pytest.mark.parametrize(("last", "cost", "least"), ENDS.values(), ids=ENDS)
def test_a_single_output_tells_two_classes(cli, write, architecture, last, cost, least):
    write(of_two())
    file = architecture({**SPARSE, "n_units": 1}, *last, input=[3])
    words = ["--cost", cost, *FAST, "--epochs", 5, "--output", "m"]
    assert cli("train", "rows.svm", "--network", file, *words).status == 0
    assert accuracy(cli("evaluate", "m", "rows.svm").out) == 1
    rows = json.loads(cli("predict", "m", "rows.svm", "--json").out)
    assert [row["number"] for row in rows] == [int(k % 3 == 0) for k in range(ROWS)]
    assert min(row["probability"] for row in rows) > least


def test_hinge_takes_the_scores_of_a_design(cli, write):
    write(of_two())
    assert cli("train", "rows.svm", "--cost", "hinge", *FAST, "--epochs", 5, "--output", "m").status == 0
    assert [type(layer).__name__ for layer in Network.load("m").layers] == ["SparseFullyConnectedLayer"]
    assert accuracy(cli("evaluate", "m", "rows.svm").out) == 1


def test_hinge_says_yes_above_0(cli, write):
    """A score of 0.25 is a yes, though as a probability it would be a no."""
    net = Network().input((1,)).add(SparseFullyConnectedLayer(1)).regression(SGD(), "hinge")
    net._plan.layers[0].p["kernel"][...] = 1
    net.save("m")
    write("0 1:0.25\n0 1:-0.25\n")
    rows = json.loads(cli("predict", "m", "rows.svm", "--json").out)
    assert [(row["class"], row["probability"]) for row in rows] == [("1", 0.25), ("0", 0.25)]


def test_flat_pictures(cli, write):
    words = "train drawn-digits --network linear --limit 500 --output m"
    assert cli(*words.split()).status == 0
    assert accuracy(cli("evaluate", "m", "drawn-digits", "--limit", 300).out) > 0.2
    write("5 784:1\n")
    assert cli("predict", "m", "rows.svm").out.startswith("rows.svm:1  ")


def test_summary_of_many_features(cli):
    out = cli("summary", "linear", "--input", "1000000", "--classes", 2).out
    assert "2,000,002" in out


# ---------------------------------------------------------------------------------------------- mistakes

TWO = of_two()
TRAIN = {
    "damaged": ("1 1:1\n-1 2\n", [], "rows.svm, line 2: must be a label and feature:value pairs, got '2'"),
    "nothing": ("", [], "rows.svm has no samples"),
    "no cost of labels": (TWO, ["--cost", "weighted_mean"], "--cost must be one of"),
    "one class": ("1 1:1\n1 2:1\n", [], "the labels of 'rows.svm' must be of at least two classes, got ('1',)"),
    "measured": ("1 1:1\n0.5 2:1\n", [], "are classes here; they must be whole numbers, got 0.5"),
    "infinite": ("1 1:1\ninf 2:1\n", [], "rows.svm, line 2: numbers must be finite, got 'inf'"),
    "no numbers": ("1 1:1\nnan 2:1\n", [], "rows.svm, line 2: numbers must be finite, got 'nan'"),
    "beyond": ("1 1:1\n1e300 2:1\n", [], "are classes here; they must be whole numbers, got 1e+300"),
    "too many": (
        "".join(f"{k} 1:1\n" for k in range(1001)),
        [],
        "at most 1,000 different ones, got 1,001",
    ),
    "no value": ("1 1:1\n0 2:nan\n", [], "rows.svm, line 2: numbers must be finite, got '2:nan'"),
    "size": (TWO, ["--size", "9"], "--size and --grey must go with a folder of pictures, got 'rows.svm'"),
    "grey": (TWO, ["--grey"], "--size and --grey must go with a folder of pictures, got 'rows.svm'"),
    "limit": (TWO, ["--limit", "1"], "--limit must be a whole number of at least 2, got 1"),
    "validation": (TWO, ["--validation", "1"], "--validation must be a number in (0, 1), got 1.0"),
    "pictures' network": (TWO, ["--network", "diary"], "needs images (C, H, W), but the input gives (3,)"),
    "more classes": ("1 1:1\n2 1:1\n3 1:1\n" * 9, ["--cost", "binary_cross_entropy", "--network", [1]], "must"),
    "fewer features": (TWO, ["--network", [2]], "rows.svm: features must be in [1, 3), got 3"),
    "a picture's input": (TWO, ["--network", [1, 2, 3]], "mine.json must be [features] for a file in the svmlight"),
    "no input": (TWO, ["--network", []], "mine.json must be [features] for a file in the svmlight"),
}


def refused(result, fragment: str) -> None:
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("gedanken: error: ")
    assert result.err.count("\n") == 1
    assert fragment in result.err


@pytest.mark.parametrize(("content", "words", "fragment"), TRAIN.values(), ids=TRAIN)
def test_what_cannot_be_trained_with(cli, write, architecture, content, words, fragment):
    write(content)
    words = [
        word if isinstance(word, str) else architecture({**SPARSE, "n_units": 1}, {"type": "Sigmoid"}, input=word)
        for word in words
    ]
    refused(cli("train", "rows.svm", *words, "--output", "m"), fragment)
    assert not Path("m").exists()


def test_an_array_that_memory_has_no_room_for(cli, write, architecture):
    write("1 1:1\n-1 2:1\n" * 100_000)
    file = architecture({**DENSE, "n_units": 1}, input=[10_000_000])
    words = "--cost mean_squared --optimizer sgd --network"
    refused(cli("train", "rows.svm", *words.split(), file), "must fit into memory, got (200000, 10000000), which take")


USES = {
    "feature": ("1 4:1\n", [], "test.svm: features must be in [1, 4), got 4"),
    "feature 0": ("1 0:1\n", [], "test.svm: features must be in [1, 4), got 0"),
    "damaged": ("1 1:1\n1 2:x\n", [], "test.svm, line 2: must be a label and feature:value pairs, got '2:x'"),
    "a picture": (b"\x89PNG\r\n\x1a\n" * 9, [], "test.svm, line 1: must be a label and feature:value pairs"),
}


@pytest.mark.parametrize(("content", "words", "fragment"), USES.values(), ids=USES)
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_what_cannot_be_used(cli, write, trained, command, content, words, fragment):
    write(content, "test.svm")
    files = ["rows.svm", "test.svm"] if command == "predict" else ["test.svm"]
    refused(cli(command, trained, *files, *words), fragment)


def test_labels_that_the_model_does_not_know(cli, write, trained):
    write("1 1:1\n7 2:1\n", "test.svm")
    refused(cli("evaluate", trained, "test.svm"), "a class of DATA must be one of -1, 1, got '7'")
    write("0.5 2:1\n", "test.svm")
    refused(cli("evaluate", trained, "test.svm"), "the labels of 'test.svm' are classes here")


def test_a_model_without_names_needs_a_label_for_each_output(cli, write, trained):
    net = Network.load(trained)
    net.class_names = None
    net.save("bare")
    assert accuracy(cli("evaluate", "bare", "rows.svm").out) == 1
    write("1 2:3\n", "test.svm")
    refused(cli("evaluate", "bare", "test.svm"), "the labels of 'test.svm' must be 2 different ones")
    assert cli("predict", "bare", "test.svm").out.split()[:2] == ["test.svm:1", "1"]


def test_files_and_models_that_do_not_go_together(cli, write, trained, digits, pets):
    refused(cli("train", "missing.svm"), "DATA that is no existing file or folder must be one of")
    refused(cli("evaluate", trained, "missing.svm"), "DATA that is no existing file or folder must be one of")
    refused(cli("predict", trained, "missing.svm"), "missing.svm cannot be read: [Errno 2]")
    refused(cli("evaluate", digits, "rows.svm"), "the model's input must be (features,) for a file in the svmlight")
    refused(cli("evaluate", trained, pets), "the model's input must be pictures (1 or 3, H, W), got (3,)")
    refused(cli("predict", trained, "rows.svm", "--invert"), "--invert must go with a model of pictures")
    refused(cli("predict", digits, "rows.svm", "--zero-based"), "--zero-based must go with a model of rows")
    refused(cli("evaluate", digits, "drawn-digits", "--zero-based"), "--zero-based must go with a file")
    refused(cli("train", pets, "--zero-based"), "--zero-based must go with a file in the svmlight format")


# ---------------------------------------------------------------------------------------------- as a program


def test_train_evaluate_predict(write, tmp_path):
    write(of_two())
    environment = {**os.environ, "PYTHONPATH": str(Path(gedanken.__file__).parents[1])}

    def finish(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "gedanken", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        return done.returncode, done.stdout, done.stderr

    words = "train rows.svm --parallel hogwild --workers 2 --output m"
    status, out, err = finish(*words.split())
    assert (status, out) == (0, ""), err
    assert err.splitlines()[-1] == "model saved as m"
    status, out, err = finish("evaluate", "m", "rows.svm")
    assert (status, err) == (0, "")
    assert "evaluation of 40 samples: cost" in out
    status, out, err = finish("predict", "m", "rows.svm", "rows.svm")
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 2 * ROWS


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real data: set GEDANKEN_DATA")
def test_real_rows(cli):
    result = cli("train", DATA / "a9a", "--epochs", 5, "--output", "m")
    assert result.err.startswith("32,561 samples of (123,) in 2 classes; 248 parameters")
    found = cli("evaluate", "m", DATA / "a9a.t").out  # has fewer features
    assert "16,281 samples" in found
    assert accuracy(found) > 0.84
    rows = cli("predict", "m", DATA / "a9a.t").out.splitlines()
    truth = [one.split()[0] for one in (DATA / "a9a.t").read_text().splitlines()]
    right = [row.split()[1] == str(int(label)) for row, label in zip(rows, truth, strict=True)]
    assert np.mean(right) == pytest.approx(accuracy(found), abs=1e-4)
