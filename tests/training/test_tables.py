"""What evaluate prints of figures that are arrays: tables that name the classes as the network does."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    F1,
    Accuracy,
    ClassReport,
    ConfusionMatrix,
    Flatten,
    FullyConnectedLayer,
    Heads,
    IoU,
    Metric,
    Network,
    Precision,
    Sigmoid,
    SoftMax,
)
from gedanken.cli.main import main
from gedanken.texts import width
from gedanken.training.tables import table_lines

X = np.eye(3, dtype="float32")[[0, 0, 1, 2, 2, 2]]
NAN = float("nan")
HEAD = "confusion_matrix (rows: true classes; columns: predicted)"


def network(outputs: int, names: Any, multi: bool = False) -> Network:
    """Return a network that predicts class i, or says yes to label i, for feature i."""
    last, cost = (Sigmoid(), "binary_cross_entropy") if multi or outputs == 1 else (SoftMax(), "cross_entropy")
    net = Network().input((3,)).add(FullyConnectedLayer(outputs, bias=False)).add(last)
    net.regression(cost=cost, metrics=[ConfusionMatrix(), Accuracy()])
    assert net._plan is not None
    net._plan.params[...] = (20 * np.eye(3, outputs) - 10).ravel()
    net.class_names = names
    return net


TABLES = {
    "names": (
        network(3, ["cat", "a mouse of the field", "日本"]), [0, 1, 1, 2, 2, 0],
        [HEAD, "                  cat  a mouse of th...  日本", "cat                 1                 0     1",
         "a mouse of th...    1                 1     0", "日本                0                 0     2"],
    ),
    "no names": (network(3, None), [0, 0, 1, 2, 2, 2], [HEAD, "   0  1  2", "0  2  0  0", "1  0  1  0", "2  0  0  3"]),
    "other names": (network(3, ["a", "b"]), [0] * 6, [HEAD, "   0  1  2", "0  2  1  3", "1  0  0  0", "2  0  0  0"]),
    "control characters": (
        network(3, ["\x1b[2J", "b", "c"]), [0] * 6,
        [HEAD, r"         \x1b[2J  b  c", r"\x1b[2J        2  1  3", "b              0  0  0",
         "c              0  0  0"],
    ),
    "one answer": (
        network(1, ["no", "yes"]), [1, 1, 0, 1, 0, 0], [HEAD, "     no  yes", "no    3    0", "yes   1    2"],
    ),
    "labels": (
        network(2, ["red", "round"], multi=True), [[1, 0], [1, 1], [0, 1], [0, 0], [1, 0], [0, 0]],
        ["confusion_matrix (rows: labels, the true answer as the predicted one)",
         "       no as no  no as yes  yes as no  yes as yes", "red           3          0          1           2",
         "round         4          0          1           1"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("net", "labels", "table"), TABLES.values(), ids=TABLES)
def test_evaluate_shows_it(net: Network, labels: Any, table: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = net.evaluate(X, labels)
    lines = str(found).splitlines()
    assert lines[1:] == table
    assert lines[0].startswith("cost ")
    assert capsys.readouterr().err == f"evaluation of 6 samples: {found}\n"
    assert str(copy.deepcopy(found)) == str(pickle.loads(pickle.dumps(found))) == str(found)


def test_the_command_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = Network().input((1, 28, 28)).add(Flatten()).add(FullyConnectedLayer(10)).add(SoftMax())
    net.regression(metrics=[ConfusionMatrix(), F1(None)]).class_names = [str(digit) for digit in range(10)]
    net.save(tmp_path / "net")
    assert main(["evaluate", str(tmp_path / "net"), "drawn-digits", "--limit", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["f1_each"] and lines[12] == HEAD
    assert [line.split()[0] for line in lines[2:12]] == [str(digit) for digit in range(10)]
    assert [line.split()[0] for line in lines[13:]] == ["0", *map(str, range(10))]


def test_a_report_of_classes_is_a_table_with_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    net = network(3, ["cat", "a mouse of the field", "日本"])
    net.regression(metrics=["class_report"])
    found = net.evaluate(X, [0, 1, 1, 2, 2, 0])
    rows = str(found).splitlines()[1:]
    assert rows[0] == "class_report"
    assert [row.split("  ")[0].strip() for row in rows[2:]] == [
        "cat", "a mouse of th...", "日本", "micro", "macro", "weighted",
    ]  # fmt: skip
    assert len({width(row) for row in rows[1:]}) == 1
    assert rows[1].split() == ["precision", "recall", "f1", "support"]
    assert rows[3].split()[-4:] == ["1.0000", "0.5000", "0.6667", "2"]
    assert capsys.readouterr().err == f"evaluation of 6 samples: {found}\n"
    assert str(found["class_report"]).splitlines()[1].split() == ["0", "0.5000", "0.5000", "0.5000", "2"]
    many = Network().input((3,)).add(FullyConnectedLayer(101)).add(SoftMax()).regression(metrics=["class_report"])
    assert str(many.evaluate(X, [0] * 6, progress=False)).splitlines()[1:] == ["class_report of 104 rows"]


def test_weights_that_are_not_whole_are_shown() -> None:
    metric = ConfusionMatrix()
    matrix = metric.value(metric.measure(np.eye(2)[[0, 1]], np.array([0, 1]), weight=np.array([0.5, 1.25])))
    assert table_lines([metric], {metric.name: matrix}, None)[1:] == [
        "     0     1",
        "0  0.5     0",
        "1    0  1.25",
    ]


class Halves(Metric):
    """Whatever is told to it."""

    better = None

    def __init__(self, value: np.ndarray) -> None:
        self._value = value

    def measure(self, y: Any, target: Any, weight: Any = None) -> np.ndarray:
        return np.zeros(1)

    def value(self, total: Any) -> np.ndarray:
        return self._value


ARRAYS = {
    "names": ([F1(None), Precision(None)], ["cat", "a mouse of the field", "日本"], [
        "                  f1_each  precision_each", "cat                0.5000          0.5000",
        "a mouse of th...   0.6667          1.0000", "日本               0.8000          0.6667",
    ]),
    "no names": ([F1(None)], None, ["   f1_each", "0   0.5000", "1   0.6667", "2   0.8000"]),
    "another length": ([F1(None), Halves(np.array([NAN, 12345.678]))], list("abc"), [
        "   f1_each", "a   0.5000", "b   0.6667", "c   0.8000", "      halves", "0        nan", "1  1.235e+04",
    ]),
    "whole numbers": ([Halves(np.array([2, 300]))], list("ab"), ["   halves", "a       2", "b     300"]),
    "many": ([Halves(np.zeros(104))], None, ["halves of 104 numbers"]),
    "none": ([Halves(np.zeros(0))], None, ["halves of 0 numbers"]),
    "more axes": ([Halves(np.zeros((2, 3)))], None, ["halves of 2 x 3"]),
    "beside a report": ([ClassReport(), IoU(None)], list("abc"), [
        "   iou_each", "a    0.3333", "b    0.5000", "c    0.6667", "class_report",
    ]),
}  # fmt: skip


@pytest.mark.parametrize(("metrics", "names", "table"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_of_metrics_are_tables(metrics: Any, names: Any, table: list[str]) -> None:
    net = network(3, names).regression(metrics=metrics)
    lines = str(net.evaluate(X, [0, 1, 1, 2, 2, 0], progress=False)).splitlines()[1:]
    assert lines[: len(table)] == table


SUPPORT = {"small": (0.1, "1"), "whole": (1.0, "10"), "half": (0.25, "2.5"), "large": (1234.55, "12346")}


@pytest.mark.parametrize(("weight", "told"), SUPPORT.values(), ids=SUPPORT)
def test_what_samples_weigh_is_told_in_few_digits(weight: float, told: str) -> None:
    y, weights = np.eye(2, dtype="float32")[[0] * 10 + [1]], np.full(11, weight, "float32")
    report = ClassReport()
    lines = str(report.value(report.measure(y, y.argmax(axis=1), weight=weights))).splitlines()
    assert lines[1].split()[-1] == told
    matrix = ConfusionMatrix()
    counted = {matrix.name: matrix.value(matrix.measure(y, y.argmax(axis=1), weight=weights))}
    assert table_lines([matrix], counted, None)[2].split()[1] == told


def test_heads_have_tables_of_their_own() -> None:
    net = Network().input((3,)).add(Heads(kind=[FullyConnectedLayer(3), SoftMax()], size=[FullyConnectedLayer(1)]))
    net.regression(cost={"kind": "cross_entropy", "size": "mean_squared"}, metrics={"kind": [F1(None), ClassReport()]})
    lines = str(net.evaluate(X, {"kind": [0, 1, 1, 2, 2, 0], "size": X[:, :1]}, progress=False)).splitlines()
    assert lines[1].split() == ["kind_f1_each"] and lines[5] == "kind_class_report"


def test_a_matrix_of_many_classes_is_no_table() -> None:
    net = Network().input((3,)).add(FullyConnectedLayer(21)).add(SoftMax()).regression(metrics=["confusion_matrix"])
    assert str(net.evaluate(X, [0] * 6, progress=False)).splitlines()[1:] == ["confusion_matrix of 21 x 21"]
