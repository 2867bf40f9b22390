"""`gedanken hogwild`: every problem in every way, a table, a figure, and mistakes told before anything is trained."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gedanken.experiments import PROBLEMS, WAYS

ROWS = "".join(f"{'+1' if n % 3 else '-1'} {1 + n % 3}:1 {4 + n % 7}:0.5\n" for n in range(300))
QUICK = ["--workers", 2, "--epochs", 2, "--samples", 500]


def test_all_problems_in_all_ways(cli, tmp_path):
    result = cli("hogwild", *QUICK, "--json")
    assert result.status == 0, result.err
    found = json.loads(result.out)
    assert [one["problem"] for one in found] == list(PROBLEMS)
    for one in found:
        assert [(row["way"], row["workers"]) for row in one["results"]] == [(way, n) for way in WAYS for n in (1, 2)]
        alone = {row["cost"] for row in one["results"] if row["workers"] == 1}
        assert max(alone) == pytest.approx(min(alone), rel=1e-6)  # one worker learns the same in every way
        assert all(row["rate"] > 0 and np.isfinite(row["cost"]) for row in one["results"])
    with Image.open(tmp_path / "hogwild.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 3 * picture.height // 2
        colours = {tuple(pixel[:3]) for pixel in np.array(picture.convert("RGB")).reshape(-1, 3)[::7].tolist()}
    assert len(colours) > 5  # a line for each way, not an empty frame
    assert "figure saved as hogwild.png" in result.err


def test_files_are_learnt_and_the_table_says_what_they_are(cli, tmp_path):
    (tmp_path / "one.svm").write_text(ROWS)
    (tmp_path / "many.svm").write_text(ROWS.replace("-1 1:1 5", "7 1:1 5"))
    result = cli("hogwild", "svm", "--data", "one.svm", "many.svm", *QUICK[:4], "--update", "locked", "--figure", "")
    assert result.status == 0, result.err
    tables = [table.splitlines() for table in result.out.strip().split("\n\n")]
    assert [table[0] for table in tables] == [
        "svm one.svm: 300 rows of one.svm, label 1; 10 features, 2 in a row",
        "svm many.svm: 300 rows of many.svm, label 1; 10 features, 2 in a row",
    ]
    assert tables[0][1].split("  ")[-2:] == ["cost with 1", "cost with 2"]
    assert [table[2].split()[0] for table in tables] == ["locked", "locked"]
    assert len(tables[0]) == 3
    assert " x 1.00 " in tables[0][2]
    assert sorted(os.listdir(tmp_path)) == ["many.svm", "one.svm"]


def test_ctrl_c_ends_it(tmp_path):
    words = ["hogwild", "svm", "--samples", "20000", "--epochs", "2000", "--workers", "2", "--figure", ""]
    child = subprocess.Popen(
        [sys.executable, "-m", "gedanken", *words],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stderr.readline().startswith("svm: 20,000 rows")
    time.sleep(1)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (130, "")
    assert err.strip().splitlines()[-1] == "gedanken: stopped: by Ctrl-C"
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["knapsack"], "PROBLEM must be one of"),
        (["--update", "wild"], "--update must be one of"),
        (["--epochs", 1], "--epochs must be"),
        (["--workers", 0], "--workers must be"),
        (["--samples", 5], "--samples must be"),
        (["cuts", "--data", "one.svm"], "--data must go with the problem svm"),
        (["svm", "--data", "none.svm"], "none.svm cannot be read"),
        (["svm", "--data", "single.svm"], "single.svm must have two labels or more, got only 1"),
        (["svm", "--data", "unknown.svm"], "unknown.svm, line 2: numbers must be finite, got '2:nan'"),
        (["svm", "--data", "nameless.svm"], "nameless.svm, line 2: numbers must be finite, got 'nan'"),
        (["--figure", "nowhere/\0"], "nowhere"),
        (["--figure", "folder"], "folder"),
    ],
    ids=str,
)
def test_mistakes_are_told_in_a_line(cli, tmp_path: Path, words, told):
    (tmp_path / "one.svm").write_text(ROWS)
    (tmp_path / "single.svm").write_text("1 1:1\n1 2:1\n")
    (tmp_path / "unknown.svm").write_text("1 1:1\n0 2:nan\n")
    (tmp_path / "nameless.svm").write_text("1 1:1\nnan 2:1\n")
    (tmp_path / "folder").mkdir()
    result = cli("hogwild", *words)
    assert result.status == 2
    assert result.out == ""
    assert told in result.err
    assert len(result.err.splitlines()) == 1
    assert sorted(os.listdir(tmp_path)) == ["folder", "nameless.svm", "one.svm", "single.svm", "unknown.svm"]
